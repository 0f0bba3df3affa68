package dpop

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A proof that is taken says what it must, whatever it looks like; a refused
// one crashes nothing.
func FuzzProof(f *testing.F) {
	forge := newForge(f)
	now := time.Unix(1562262618, 0)
	f.Add(rfcUse)
	f.Add(rfcProve)
	f.Add(forge.sign(forge.header(), object(claims(now, ""))))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := NewVerifier("https://resource.example.org", noNonce)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "https://resource.example.org/protectedresource", nil)
		r.Header["Dpop"] = []string{text}
		if err := v.checkAt(r, rfcToken, rfcKey, now); err == nil && !strings.HasPrefix(text, rfcHeader) {
			t.Errorf("%q is taken for the RFC's key's", text)
		}
	})
}

// What is said of a URI's spelling is said of all of them: a second look changes
// nothing, and net/url finds the same in it.
func FuzzURI(f *testing.F) {
	for _, s := range []string{target, "HTTP://A.test:80/%7e/../b/./?q#f", "https://[::1]:443", "https://a/%2f%2F/..", "https://a/..//.", "http://a.test:080/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, ok := normal(s)
		if !ok {
			return
		}
		if again, ok := normal(once); !ok || again != once {
			t.Errorf("%q is %q, and then %q", s, once, again)
		}
		u, err := url.Parse(once)
		if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasPrefix(u.EscapedPath(), "/") {
			t.Errorf("%q is %q: %v", s, once, err)
		}
	})
}

func TestAURIHasOneSpelling(t *testing.T) {
	for in, want := range map[string]string{
		"https://A.test":                  "https://a.test/",
		"https://a.test:443":              "https://a.test/",
		"https://a.test:80/":              "https://a.test:80/",
		"http://a.test:80/":               "http://a.test/",
		"https://a.test/%7Eb/%2f/%3F":     "https://a.test/~b/%2F/%3F",
		"https://a.test/a/b/c/./../../g":  "https://a.test/a/g",
		"https://a.test/a/..":             "https://a.test/",
		"https://a.test/../..":            "https://a.test/",
		"https://a.test/a/.":              "https://a.test/a/",
		"https://a.test/a//b/":            "https://a.test/a//b/",
		"https://a.test/.a/..b/c.":        "https://a.test/.a/..b/c.",
		"https://a.test/%E4%b8%ad?x#y":    "https://a.test/%E4%B8%AD",
		"https://a.test/中":                "https://a.test/%E4%B8%AD",
		"https://[2001:DB8::1]:443/":      "https://[2001:db8::1]/",
		"https://a.test/a;b=1,c@d:e!f'g*": "https://a.test/a;b=1,c@d:e!f'g*",
	} {
		if got, ok := normal(in); !ok || got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}
