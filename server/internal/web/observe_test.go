package web

import (
	"strings"
	"testing"
)

func TestARequestIDOfAProxyIsPlainTextOrOurs(t *testing.T) {
	for _, id := range []string{"f3a9c2d1", "7b0e4c8e-90aa-4c28-8d4a-0b6f8f4d8f30", "a.b_c", strings.Repeat("x", 64)} {
		if !isRequestID(id) {
			t.Errorf("%q is refused", id)
		}
	}
	for _, id := range []string{"", strings.Repeat("x", 65), "a b", "a\nlevel=ERROR", `a"b`, "é", "a=b"} {
		if isRequestID(id) {
			t.Errorf("%q is taken", id)
		}
	}
}
