package web

import (
	"strings"
	"testing"
)

const aTrace, aParent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

func TestATraceIsReadOnlyWhereItIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		header []string
		want   string
	}{
		"of version 0":             {[]string{"00-" + aTrace + "-" + aParent + "-01"}, aTrace},
		"of a later version":       {[]string{"01-" + aTrace + "-" + aParent + "-01-more"}, aTrace},
		"none":                     {nil, ""},
		"two":                      {[]string{"00-" + aTrace + "-" + aParent + "-01", "00-" + aTrace + "-" + aParent + "-01"}, ""},
		"empty":                    {[]string{""}, ""},
		"too short":                {[]string{"00-" + aTrace + "-" + aParent}, ""},
		"version 0 with more":      {[]string{"00-" + aTrace + "-" + aParent + "-01-more"}, ""},
		"version ff":               {[]string{"ff-" + aTrace + "-" + aParent + "-01"}, ""},
		"a trace of zeros":         {[]string{"00-" + strings.Repeat("0", 32) + "-" + aParent + "-01"}, ""},
		"a parent of zeros":        {[]string{"00-" + aTrace + "-" + strings.Repeat("0", 16) + "-01"}, ""},
		"capitals":                 {[]string{"00-" + strings.ToUpper(aTrace) + "-" + aParent + "-01"}, ""},
		"what would forge a line":  {[]string{"00-" + "level=ERROR\nmsg=forged__________" + "-" + aParent + "-01"}, ""},
		"no dash where one stands": {[]string{"00_" + aTrace + "-" + aParent + "-01"}, ""},
	} {
		if got := traceID(c.header); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func FuzzATraceIsThirtyTwoHexDigitsOrNothing(f *testing.F) {
	f.Add("00-" + aTrace + "-" + aParent + "-01")
	f.Add("01-" + aTrace + "-" + aParent + "-01-")
	f.Fuzz(func(t *testing.T, header string) {
		got := traceID([]string{header})
		if got != "" && (len(got) != 32 || !isHex(got) || header[3:35] != got) {
			t.Errorf("%q is read as %q", header, got)
		}
	})
}

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
