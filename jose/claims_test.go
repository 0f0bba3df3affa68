package jose

import (
	"testing"
	"time"
)

func TestADateIsReadToTheNanosecond(t *testing.T) {
	for text, want := range map[string]time.Time{
		"0": time.Unix(0, 0), "1.5": time.Unix(1, 500_000_000), "1.000000001": time.Unix(1, 1), "2.0000000019": time.Unix(2, 1),
		"253402300799.999999999": time.Unix(maxDate, 999_999_999),
	} {
		if got, ok := dateValue(text); !ok || !got.Equal(want) {
			t.Errorf("%s is %v, %t, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "-1", "1e3", "1.5e3", "253402300800", "1.x", "1.123456789x", "1.1234567890123456789", "0x1", " 1", "9999999999999"} {
		if got, ok := dateValue(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}
