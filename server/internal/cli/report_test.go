package cli

import (
	"errors"
	"strings"
	"testing"
)

func TestAnErrorOfSeveralLinesIsToldOnOne(t *testing.T) {
	for err, want := range map[error]string{
		errors.Join(errors.New("one"), errors.New("two")):                                      "admit: error: one; two (internal)\n",
		errors.New("failed to connect to `user=admit`:\n\ta:5432: refused\n\tb:5432: refused"): "admit: error: failed to connect to `user=admit`: a:5432: refused; b:5432: refused (internal)\n",
		errors.New("\x1b[2J"): "admit: error: \uFFFD[2J (internal)\n",
	} {
		var talk strings.Builder
		if report(&talk, err); talk.String() != want {
			t.Errorf("%q, want %q", talk.String(), want)
		}
	}
}
