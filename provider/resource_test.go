package provider

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"testing"
)

// RFC 9728: the id is that of the tokens, letter by letter, and a path of the issuer's
// stands behind the well-known one.
func TestTheProviderDescribesTheResourceThatItIsItself(t *testing.T) {
	s := newStage(t)
	for issuer, at := range map[string]string{
		"https://id.example.org":   "https://id.example.org/.well-known/oauth-protected-resource",
		"https://id.example.org/a": "https://id.example.org/.well-known/oauth-protected-resource/a",
	} {
		p := remade(t, s.Provider, func(o *Options) { o.Issuer = issuer })
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("GET", at, nil))
		var d struct {
			Resource string
			Issuers  []string `json:"authorization_servers"`
			Scopes   []string `json:"scopes_supported"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || d.Resource != issuer || !slices.Equal(d.Issuers, []string{issuer}) || !slices.Contains(d.Scopes, "orders") {
			t.Errorf("%s: %d %s", at, w.Code, w.Body)
		}
		w = httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("GET", p.base+"/userinfo", nil))
		if got, want := w.Header().Get("WWW-Authenticate"), `Bearer realm="userinfo", resource_metadata="`+at+`"`; w.Code != 401 || got != want {
			t.Errorf("userinfo: %d with %s, want %s", w.Code, got, want)
		}
	}
}
