package account

import (
	"fmt"
	"testing"
)

func TestTheDigitsOfAnOpenedLinkAreNeverItsMailedCode(t *testing.T) {
	key := []byte("a key of 32 bytes, or about that")
	retried := 0
	for n := range 200_000 {
		id := fmt.Sprint("id", n)
		code, digits := codeBy(key, id), digitsBy(key, id)
		if code == digits || len(digits) != 6 {
			t.Fatalf("the code of %s is %s, its digits are %q", id, code, digits)
		}
		if digits != codeBy(key, "digits 0 "+id) {
			retried++
		}
	}
	t.Logf("%d times they would have been the same", retried)
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
