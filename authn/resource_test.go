package authn_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
)

const issuer = "https://id.example.org"

// RFC 9728 section 3.1.
func TestTheDocumentOfAResourceIsBetweenItsHostAndItsPath(t *testing.T) {
	for id, want := range map[string]string{
		"https://api.example.org":            "/.well-known/oauth-protected-resource",
		"https://api.example.org/":           "/.well-known/oauth-protected-resource",
		"https://api.example.org/v1":         "/.well-known/oauth-protected-resource/v1",
		"https://api.example.org/v1/":        "/.well-known/oauth-protected-resource/v1/",
		"https://api.example.org:8443/a/b/c": "/.well-known/oauth-protected-resource/a/b/c",
		"http://localhost:8082/v1":           "/.well-known/oauth-protected-resource/v1",
		"http://[::1]:8082":                  "/.well-known/oauth-protected-resource",
	} {
		s, err := authn.NewResource(id, issuer, &authn.ResourceOptions{Scopes: []string{"orders"}, DPoP: []string{"ES256"}})
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		mux := http.NewServeMux()
		mux.Handle(s.Path(), s)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", s.URL(), nil))
		var told struct {
			Resource string
			Issuers  []string `json:"authorization_servers"`
			Scopes   []string `json:"scopes_supported"`
			Methods  []string `json:"bearer_methods_supported"`
			DPoP     []string `json:"dpop_signing_alg_values_supported"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil || s.Path() != want || w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s is described at %s (%d): %v", id, s.Path(), w.Code, err)
		}
		// To the letter: a slash less is another resource (section 3.3).
		if told.Resource != id || !slices.Equal(told.Issuers, []string{issuer}) || !slices.Equal(told.Scopes, []string{"orders"}) ||
			!slices.Equal(told.Methods, []string{"header"}) || !slices.Equal(told.DPoP, []string{"ES256"}) {
			t.Errorf("%s says %+v", id, told)
		}
	}
}

func TestAResourceHasOneSpelling(t *testing.T) {
	for _, id := range []string{
		"", "api", "https://", "http://api.example.org", "https://api.example.org?a=b", "https://api.example.org#a", "https://API.example.org",
		"https://u@api.example.org", "https://api.example.org/a b", `https://api.example.org/"`, "https://api.example.org/{x}", "https://api.example.org/%2e",
		"https://api.example.org/a/../b", "https://api.example.org//a", "urn:example:api", "https://api.example.org/ä", "https://api.example.org?",
	} {
		if s, err := authn.NewResource(id, issuer, nil); err == nil {
			t.Errorf("%q is taken, and described at %s", id, s.URL())
		}
		if _, err := authn.NewResource("https://api.example.org", id, nil); err == nil {
			t.Errorf("the issuer %q is taken", id)
		}
	}
	if _, err := authn.NewResource("https://api.example.org", issuer, &authn.ResourceOptions{Scopes: []string{"a b"}}); err == nil {
		t.Error("a scope with a space is taken")
	}
}

// Mallory's service has the document of another answer at a place of hers, where a
// client would believe that it is hers.
func TestAttackADocumentIsServedWhereItIsAnothers(t *testing.T) {
	s, err := authn.NewResource("https://api.example.org/v1/", issuer, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", s)
	for _, path := range []string{"/", "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/v1", "/.well-known/oauth-protected-resource/v1/x"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 404 {
			t.Errorf("%s is answered %d", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("POST", s.Path(), nil))
	if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("a POST is answered %d", w.Code)
	}
}

// RFC 9728 section 5.1.
func TestEveryRefusalOfAResourceSaysWhereItDescribesItself(t *testing.T) {
	s, err := authn.NewResource("https://api.example.org/v1", issuer, nil)
	if err != nil {
		t.Fatal(err)
	}
	const where = `resource_metadata="https://api.example.org/.well-known/oauth-protected-resource/v1"`
	plain := authn.New(byHeader)
	who := plain.For(s)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for name, test := range map[string]struct {
		h      http.Handler
		r      *http.Request
		status int
		want   string
	}{
		"no token":                   {who.Require(ok), request(""), 401, "Bearer " + where},
		"a refused token":            {who.Require(ok), request("", "Bearer ended"), 401, `Bearer error="invalid_token", ` + where},
		"a refused token of a page":  {who.Handler(ok), request("", "Bearer ended"), 401, `Bearer error="invalid_token", ` + where},
		"a proof that is too old":    {who.Require(authn.RequireProof("", time.Minute, ok)), request("", "Bearer alice"), 401, (&admit.ProofError{MaxAge: time.Minute}).Challenge() + ", " + where},
		"nobody at a page":           {who.Handler(authn.RequireRole("admin", ok)), request(""), 401, "Bearer " + where},
		"a role that is wanting":     {who.Require(authn.RequireRole("admin", ok)), request("", "Bearer alice"), 403, ""},
		"one that describes nothing": {plain.Require(ok), request(""), 401, "Bearer"},
		"a token that counts":        {who.Require(ok), request("", "Bearer alice"), 200, ""},
		"a store that is away":       {who.Require(ok), request("", "Bearer away"), 503, ""},
	} {
		w := httptest.NewRecorder()
		test.h.ServeHTTP(w, test.r)
		if got := w.Header().Get("WWW-Authenticate"); w.Code != test.status || got != test.want {
			t.Errorf("%s: %d with %s, want %d with %s", name, w.Code, got, test.status, test.want)
		}
	}
}

func FuzzResource(f *testing.F) {
	for _, id := range []string{"https://api.example.org", "https://api.example.org/v1/", "http://[::1]:1/", "https://a/\"", "https://a/{b}"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		s, err := authn.NewResource(id, issuer, nil)
		if err != nil {
			return
		}
		mux := http.NewServeMux()
		mux.Handle(s.Path(), s) // panics for what is no pattern
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", s.URL(), nil))
		var told struct{ Resource string }
		if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil || told.Resource != id {
			t.Errorf("%q says %q: %v", id, w.Body, err)
		}
	})
}
