package provider

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// From the request to the tokens, and back again with the ID token as a hint.
func TestACodeFromTheAuthorizationEndpointBecomesTokens(t *testing.T) {
	const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
	for name, c := range map[string]struct{ sector, redirect string }{
		"a public subject":   {"", callback},
		"a pairwise subject": {"shop.example.net", callback},
		"no redirect URI":    {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.Provider = remade(t, s.Provider, func(o *Options) { o.Keys = deskSigning() })
			s.change("shop", func(k *Client) { k.Auth, k.Sector = NoAuth, c.sector })
			s.shelf.PutUser(User{Subject: "ann", Claims: map[string]any{"email": "ann@example.org", "name": "Ann"}})
			s.shelf.PutUser(User{Subject: "bob"})
			s.signIn("s1", "ann")
			s.signIn("s2", "bob")
			s.allowed("ann", "shop")
			s.allowed("bob", "shop")
			scope := "openid orders"
			if c.redirect == "" {
				scope = "orders"
			}
			w := s.get(ask("nonce", "n-1", "scope", scope, "redirect_uri", c.redirect, "claims", `{"id_token":{"email":null}}`), "s1")
			v := url.Values{"grant_type": {"authorization_code"}, "client_id": {"shop"}, "code": {s.answer(w, callback).Get("code")}, "code_verifier": {verifier}}
			if c.redirect != "" {
				v.Set("redirect_uri", c.redirect)
			}
			r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(v.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			rec := httptest.NewRecorder()
			s.ServeHTTP(rec, r)
			var got map[string]any
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != 200 {
				t.Fatalf("%d %s", rec.Code, rec.Body)
			}
			id, _ := got["id_token"].(string)
			if c.redirect == "" {
				return // and no ID token, which demands one
			}
			payload, _, err := s.hints.Verify(t.Context(), id)
			if err != nil || !strings.Contains(string(payload), `"email":"ann@example.org"`) || got["scope"] != scope {
				t.Errorf("%v with %s, %v", got, payload, err)
			}
			s.code(s.get(ask("id_token_hint", id, "prompt", "none"), "s1"), callback)
			s.refused(s.get(ask("id_token_hint", id, "prompt", "none"), "s2"), "login_required")
			s.get(ask("id_token_hint", id), "s2")
			s.shows("sign-in")
			s.code(s.resume("s1"), callback)
		})
	}
}
