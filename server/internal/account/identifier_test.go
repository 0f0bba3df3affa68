package account

import (
	"strings"
	"testing"
	"unicode"
)

func TestAttackAnAddressHoldsWhatNobodySees(t *testing.T) {
	for name, text := range map[string]string{
		"a zero-width space before the @":  "ann\u200b@example.org",
		"a zero-width space in the domain": "ann@ex\u200bample.org",
		"a soft hyphen":                    "a\u00adnn@example.org",
		"text that runs backwards":         "ann\u202e@example.org",
		"a tag character":                  "ann\U000e0061@example.org",
		"a line break":                     "ann@example.org\r\nBcc: all@example.org",
		"NUL":                              "ann\x00@example.org",
		"a space of another width":         "ann\u2003b@example.org",
	} {
		if id, err := ParseIdentifier(text); err == nil {
			t.Errorf("%s is taken for %q", name, id.Value)
		}
	}
	for _, text := range []string{"ann+a@example.org", "张伟@example.org", "ann@例子.广告", "Ann@Example.ORG"} {
		if _, err := ParseIdentifier(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseIdentifier(f *testing.F) {
	for _, s := range []string{"ann", " Ann@Example.org ", "+44 20 7946 0000", "\u212aim", "a@b.c", "ann\u200b@example.org", "a..b@example.org", "a@127.0.0.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseIdentifier(s)
		if err != nil {
			return
		}
		if again, err := ParseIdentifier(id.Value); err != nil || again != id {
			t.Errorf("%q is %+v, and that is %+v, %v: a name has one spelling", s, id, again, err)
		}
		if strings.ContainsFunc(id.Value, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }) {
			t.Errorf("%q holds what nobody sees", id.Value)
		}
	})
}
