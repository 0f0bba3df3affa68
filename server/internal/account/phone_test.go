package account

import (
	"errors"
	"strings"
	"testing"
)

func TestAPhoneNumberHasOneSpelling(t *testing.T) {
	for text, want := range map[string]string{
		"+49 30 1234-567":     "+49301234567",
		"+49 (0)30 1234567":   "+49301234567",
		"+49 (0) 30/123.4567": "+49301234567",
		" +1 (415) 555-2671 ": "+14155552671",
		"＋８６　１３８１２３４５６７８":     "+8613812345678",
		"+86 138 1234 5678":   "+8613812345678",
		"+852 2345 6789":      "+85223456789",
		"+123456789012345":    "+123456789012345",
	} {
		id, err := ParseIdentifier(text)
		if err != nil || id.Value != want || id.Kind != Phone || id.Verified {
			t.Errorf("%q is %+v, %v; want %s, a phone number that nobody has proved", text, id, err, want)
		}
	}
}

func TestWhatIsNoPhoneNumberIsRefusedAsOne(t *testing.T) {
	for name, text := range map[string]string{
		"seven digits":             "+4912345",
		"sixteen digits":           "+4912345678901234",
		"no country":               "+999 1234 5678",
		"a number of a satellite":  "+881 6 1234 5678",
		"a number that is free":    "+800 1234 5678",
		"a code that begins in 0":  "+0 30 1234 5678",
		"letters":                  "+49 30 FLOWERS",
		"digits of another script": "+٤٩٣٠١٢٣٤٥٦٧",
		"two pluses":               "++4930123456",
		"a line break":             "+4930123456\n7",
	} {
		if id, err := ParseIdentifier(text); !errors.Is(err, ErrPhoneMalformed) {
			t.Errorf("%s: %q is %+v, %v", name, text, id, err)
		}
	}
}

func TestEveryCountryCodeIsFoundByItselfOnly(t *testing.T) {
	codes := strings.Fields(countryCodes)
	if len(codes) < 200 {
		t.Fatalf("%d country codes: there are more", len(codes))
	}
	for _, code := range codes {
		if got := CountryCode("+" + code + "000000000"); got != code {
			t.Errorf("+%s… is of country %q", code, got)
		}
	}
}
