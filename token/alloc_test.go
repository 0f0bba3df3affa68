package token

import "testing"

func TestParseAndMatchesAllocateNothing(t *testing.T) {
	made := New(Session)
	text, digest := made.Reveal(), made.Digest()
	if n := testing.AllocsPerRun(1000, func() {
		if got, err := Parse(Session, text); err != nil || !got.Matches(digest) {
			t.Error("the token is not known any more")
		}
	}); n > 0 {
		t.Errorf("Parse and Matches allocate %v times", n)
	}
}
