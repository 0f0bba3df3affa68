package cookie

import (
	"net/http"
	"testing"
)

func TestValuesAllocatesNothing(t *testing.T) {
	h := http.Header{"Cookie": {"theme=dark; session=abc; _ga=GA1.2.1234567.7654321", "session=def"}}
	var room [4]string
	if n := testing.AllocsPerRun(1000, func() {
		if got := Values(h, "session", room[:0]); len(got) != 2 {
			t.Errorf("Values = %q", got)
		}
	}); n > 0 {
		t.Errorf("Values allocates %v times", n)
	}
}
