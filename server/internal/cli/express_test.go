package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// testdata/express.json was made by running Express and its packages.
func golden(t testing.TB) (g struct {
	Sign   []struct{ Value, Secret, Signed, Cookie string }
	Unsign []struct {
		Input, Secret string
		Result        any // text, or false
	}
}) {
	text, err := os.ReadFile("testdata/express.json")
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil || len(g.Sign) == 0 || len(g.Unsign) == 0 {
		t.Fatalf("no golden values: %v", err)
	}
	return g
}

func TestExpressCookiesAreSignedByteForByte(t *testing.T) {
	for _, v := range golden(t).Sign {
		_, want, _ := strings.Cut(v.Cookie, "=")
		got, err := signExpress(v.Value, v.Secret)
		if err != nil || got != want {
			t.Errorf("sign %q with %q: %q, %v, want %q", v.Value, v.Secret, got, err, want)
		}
		for _, form := range []string{want, "s:" + v.Signed, `"s:` + v.Signed + `"`} {
			if form != want && strings.Contains(v.Value, "%") {
				continue // must be encoded, or Express decodes it
			}
			if value, old, err := verifyExpress(form, []string{v.Secret}); err != nil || old || value != v.Value {
				t.Errorf("verify %q: %q, %v, %v, want %q", form, value, old, err, v.Value)
			}
			if value, old, err := verifyExpress(form, []string{"new", v.Secret}); err != nil || !old || value != v.Value {
				t.Errorf("verify %q with an older secret: %q, %v, %v", form, value, old, err)
			}
		}
	}
}

func TestExpressRefusesWhatExpressRefuses(t *testing.T) {
	for _, v := range golden(t).Unsign {
		value, _, err := verifyExpress("s:"+v.Input, []string{v.Secret})
		if want, ok := v.Result.(string); ok != (err == nil) || value != want {
			t.Errorf("verify %q: %q, %v, want %v", v.Input, value, err, v.Result)
		}
	}
	if _, err := signExpress("\xff", "k"); err == nil {
		t.Error("bytes that are no text are signed")
	}
}

func FuzzExpress(f *testing.F) {
	for _, v := range golden(f).Sign {
		f.Add(v.Value, v.Cookie)
	}
	f.Fuzz(func(t *testing.T, value, foreign string) {
		if got, _, err := verifyExpress(foreign, []string{"a secret that nobody signed with"}); err == nil {
			t.Fatalf("%q is taken as %q", foreign, got)
		}
		text, err := signExpress(value, "k")
		if err != nil {
			if utf8.ValidString(value) {
				t.Fatal(err)
			}
			return
		}
		if got, _, err := verifyExpress(text, []string{"k"}); err != nil || got != value {
			t.Fatalf("%q reads back as %q, %v", value, got, err)
		}
	})
}
