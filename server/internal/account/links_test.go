package account

import "testing"

func TestTheDigitsOfAnOpenedLinkAreNeverItsMailedCode(t *testing.T) {
	// Of this challenge the first try is the code itself: one in a million are so.
	key, id := []byte("a key of 32 bytes, or about that"), "id189060"
	code, digits := codeBy(key, id), digitsBy(key, id)
	if codeBy(key, "digits 0 "+id) != code {
		t.Fatal("the case is not the one that it was")
	}
	if code == digits || len(digits) != 6 {
		t.Errorf("the code is %s, and the digits are %q", code, digits)
	}
}

func TestACodeIsReadAsPeopleCopyIt(t *testing.T) {
	for text, want := range map[string]string{
		"123456": "123456", " 123 456\n": "123456", "123-456": "123456", "123\u00a0456": "123456", "123\u2013456": "123456",
		"\u200b123456\ufeff": "123456", "１２３４５６": "123456", "12345a": "12345a", "": "",
	} {
		if got := cleanCode(text); got != want {
			t.Errorf("%q is read as %q, want %q", text, got, want)
		}
	}
}
