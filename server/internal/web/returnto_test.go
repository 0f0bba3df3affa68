package web

import (
	"net/url"
	"strings"
	"testing"
)

func returning() *server {
	public, _ := url.Parse("http://localhost:8080")
	return &server{Options: Options{ReturnHosts: []string{"app.example.org", "app.example.org:8443"}}, public: public}
}

func TestReturnToLeadsToOurselvesAndToNamedHostsOnly(t *testing.T) {
	s := returning()
	for _, text := range []string{
		"", "/", "/account/sessions?a=b#c", "/a//b", "/%09/evil.example", "http://localhost:8080/account",
		"https://app.example.org", "https://app.example.org/x?y=z", "https://app.example.org:8443/",
	} {
		if got, err := s.returnTo(text); err != nil || got != text {
			t.Errorf("returnTo(%q) = %q, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"//evil.example", "///evil.example", `/\evil.example`, `\/evil.example`, `\\evil.example`, "/\t/evil.example", "\t//evil.example",
		"/\n/evil.example", " //evil.example", "https://evil.example", "https:evil.example", "https:/evil.example", "https:///evil.example",
		"http://app.example.org/", "https://app.example.org.evil.example", "https://app.example.org@evil.example",
		"https://user@app.example.org", "https://evil.example#@app.example.org", `https://evil.example\@app.example.org`,
		"https://APP.example.org", "https://app.example.org:443", "https://localhost:8080/", "http://localhost:9/", "javascript:alert(1)",
		"JaVaScRiPt:alert(1)", "data:text/html,x", "mailto:a@b", "account", "?a", "#a", "%2f%2fevil.example", "/ü", "/\x00",
		"/" + strings.Repeat("a", maxReturnTo),
	} {
		if got, err := s.returnTo(text); err == nil {
			t.Errorf("returnTo(%q) = %q, want a refusal", text, got)
		}
	}
}

// FuzzReturnTo looks for a text that leads elsewhere, read as a browser does:
// without tabs and line ends, with \ for /.
func FuzzReturnTo(f *testing.F) {
	for _, seed := range []string{"/a", "//e", `/\e`, "https://app.example.org/x", "https://app.example.org@e", "/\t/e", "javascript:x", "http://localhost:8080/"} {
		f.Add(seed)
	}
	s := returning()
	base, _ := url.Parse("http://localhost:8080/signin")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := s.returnTo(text)
		if err != nil || got == "" {
			return
		}
		read := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimFunc(got, func(c rune) bool { return c <= ' ' }))
		u, err := base.Parse(read)
		if err != nil {
			t.Fatalf("returnTo(%q) leads to what is no URL: %v", text, err)
		}
		switch u.Scheme + "://" + u.Host {
		case "http://localhost:8080", "https://app.example.org", "https://app.example.org:8443":
		default:
			t.Errorf("returnTo(%q) leads to %s", text, u)
		}
	})
}
