package provider

import (
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
)

const (
	ordersAPI = "https://api.example.org"
	stockAPI  = "https://b.example.org"
)

// trading is a hall with an app, and services that call each other: orders asks stock.
func trading(t testing.TB, jwt bool) *hall {
	h := newHall(t)
	h.app("app", func(c *Client) { c.JWT = jwt })
	h.app("orders", func(c *Client) {
		c.RedirectURIs, c.Grants, c.Scopes, c.JWT = nil, []GrantType{TokenExchange, ClientCredentials}, []string{"read", "count"}, jwt
		c.Resources, c.Audiences = []string{ordersAPI}, []string{stockAPI}
	})
	h.app("stock", func(c *Client) {
		c.RedirectURIs, c.Grants, c.Scopes, c.JWT = nil, []GrantType{TokenExchange}, []string{"read"}, jwt
		c.Resources, c.Audiences = []string{stockAPI}, []string{"https://c.example.org", "https://d.example.org"}
	})
	return h
}

// becomes changes a client.
func (h *hall) becomes(id string, how func(*Client)) {
	c := *h.m.clients[id]
	how(&c)
	h.m.PutClient(c)
}

func forOrders(c *Code) {
	c.Asked.Audiences, c.Asked.Scopes = []string{ordersAPI}, []string{"openid", "offline_access", "read", "write"}
}

// swaps asks for an exchange; more are changes, and without a value it is not sent.
func (h *hall) swaps(client, text string, more ...string) *reply {
	h.Helper()
	f := fields("grant_type", string(TokenExchange), "subject_token", text, "subject_token_type", accessTokenType)
	for i := 0; i < len(more); i += 2 {
		if f.Set(more[i], more[i+1]); more[i+1] == "" {
			f.Del(more[i])
		}
	}
	return h.post(f, basic(client, h.secrets[client]))
}

func TestAServiceExchangesATokenForOneForAnotherService(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		h := trading(t, jwt)
		first := h.tokens("app", forOrders)
		h.now = h.now.Add(time.Minute)
		a := h.given(h.swaps("orders", first.string("access_token")))
		if a.string("issued_token_type") != accessTokenType || a.string("scope") != "read" || a.json["expires_in"] != 240.0 {
			t.Errorf("jwt %v: %s", jwt, a.text)
		}
		for _, name := range []string{"refresh_token", "id_token"} {
			if _, there := a.json[name]; there {
				t.Errorf("jwt %v: it gives a %s", jwt, name)
			}
		}
		for _, asker := range []string{"orders", "stock"} {
			got := h.inspected(asker, a.string("access_token"))
			want := map[string]any{"active": true, "sub": "alice", "client_id": "orders", "scope": "read", "aud": []any{stockAPI}, "acr": "aal1",
				"act": map[string]any{"sub": "orders", "act": map[string]any{"sub": "app"}}, "gid": h.inspected("app", first.string("access_token"))["gid"],
				"exp": h.inspected("app", first.string("access_token"))["exp"]}
			for name, want := range want {
				if !reflect.DeepEqual(got[name], want) {
					t.Errorf("jwt %v: %s is %v, want %v", jwt, name, got[name], want)
				}
			}
		}
		// The app itself has nothing to do with it any more.
		h.silent("app", a.string("access_token"))
		if jwt {
			c := payload(t, a.string("access_token"))
			if want := map[string]any{"sub": "orders", "act": map[string]any{"sub": "app"}}; !reflect.DeepEqual(c["act"], want) || c["client_id"] != "orders" || c["sub"] != "alice" {
				t.Errorf("it says %v", c)
			}
		}
		// And on from there.
		b := h.given(h.swaps("stock", a.string("access_token"), "audience", "https://d.example.org", "scope", "read"))
		got := h.inspected("stock", b.string("access_token"))
		if want := map[string]any{"sub": "stock", "act": map[string]any{"sub": "orders", "act": map[string]any{"sub": "app"}}}; !reflect.DeepEqual(got["act"], want) {
			t.Errorf("jwt %v: act is %v", jwt, got["act"])
		}
	}
}

// Where only one resource can be meant it need not be named, by either of its names.
func TestAnExchangeIsForOneResource(t *testing.T) {
	h := trading(t, false)
	a := h.tokens("app", forOrders).string("access_token")
	h.given(h.swaps("orders", a, "resource", stockAPI))
	h.given(h.swaps("orders", a, "audience", stockAPI, "resource", stockAPI))
	h.refused(h.swaps("orders", a, "resource", ordersAPI), "invalid_target")
	h.refused(h.swaps("orders", a, "audience", deskIssuer), "invalid_target")
	b := h.given(h.swaps("orders", a)).string("access_token")
	h.refused(h.swaps("stock", b), "invalid_target")
	h.refused(h.swaps("stock", b, "resource", "https://c.example.org", "audience", "https://d.example.org"), "invalid_target")
}

func TestAnActorTokenIsTheClientsOwn(t *testing.T) {
	h := trading(t, false)
	a := h.tokens("app", forOrders).string("access_token")
	own := h.given(h.post(fields("grant_type", "client_credentials"), basic("orders", h.secrets["orders"]))).string("access_token")
	with := func(text, typ string) *reply {
		return h.swaps("orders", a, "actor_token", text, "actor_token_type", typ)
	}
	got := h.inspected("orders", h.given(with(own, accessTokenType)).string("access_token"))
	if want := map[string]any{"sub": "orders", "act": map[string]any{"sub": "app"}}; !reflect.DeepEqual(got["act"], want) {
		t.Errorf("act is %v", got["act"])
	}
	for name, r := range map[string]*reply{
		"without a type":      with(own, ""),
		"a type and no token": with("", accessTokenType),
		"of another type":     with(own, "urn:ietf:params:oauth:token-type:jwt"),
		"a person's":          with(a, accessTokenType),
		"nobody's":            with("adm_a_x", accessTokenType),
	} {
		if h.refused(r, "invalid_request"); strings.Contains(r.text, "person") {
			t.Errorf("%s: %s", name, r.text)
		}
	}
}

// Orders asks for more than the app had, or than orders may have.
func TestAttackAnExchangeWidensScopes(t *testing.T) {
	h := trading(t, false)
	h.becomes("orders", func(c *Client) { c.Scopes = append(c.Scopes, "openid", "offline_access") })
	a := h.tokens("app", forOrders).string("access_token")
	for _, scope := range []string{"write", "count", "read write", "read count", "openid", "offline_access", "profile", "admin"} {
		h.refused(h.swaps("orders", a, "scope", scope), "invalid_scope")
	}
	// Where nothing is left there is no token: one without scopes might do anything.
	b := h.tokens("app", func(c *Code) { c.Asked.Audiences, c.Asked.Scopes = []string{ordersAPI}, []string{"openid", "write"} }).string("access_token")
	h.refused(h.swaps("orders", b), "invalid_scope")
}

// The shop is not ours, and orders is: with the person's roles it would get through
// orders what it is not given itself.
func TestAttackAnExchangeWinsSomebodysRoles(t *testing.T) {
	for _, first := range []bool{false, true} {
		h := trading(t, true)
		for _, id := range []string{"orders", "stock"} {
			h.becomes(id, func(c *Client) { c.FirstParty = true })
		}
		h.becomes("app", func(c *Client) { c.FirstParty = first })
		a := h.given(h.swaps("orders", h.tokens("app", forOrders).string("access_token"))).string("access_token")
		b := h.given(h.swaps("stock", a, "resource", "https://c.example.org")).string("access_token")
		for _, text := range []string{a, b} {
			if _, has := payload(t, text)["roles"]; has != first {
				t.Errorf("first party %v: roles in %v", first, payload(t, text))
			}
		}
	}
}

// A token is exchanged by who it was sent to. The app that has it, another service, and
// who it was given to by an exchange have it for something else.
func TestAttackATokenIsExchangedByWhomItIsNotFor(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		h := trading(t, jwt)
		h.becomes("app", func(c *Client) { c.Grants = append(c.Grants, TokenExchange) })
		a := h.tokens("app", forOrders).string("access_token")
		b := h.given(h.swaps("orders", a)).string("access_token")
		issuers := h.tokens("app", func(c *Code) { c.Asked.Scopes = []string{"openid", "read"} }).string("access_token")
		for name, r := range map[string]*reply{
			"by the app it was given to":    h.swaps("app", a, "resource", ordersAPI),
			"by another service":            h.swaps("stock", a, "resource", "https://c.example.org"),
			"by who has exchanged it":       h.swaps("orders", b),
			"of the issuer's own":           h.swaps("orders", issuers),
			"by a client without the grant": func() *reply { h.app("plain", nil); return h.swaps("plain", a) }(),
			"by nobody who proves anything": h.post(fields("grant_type", string(TokenExchange), "subject_token", a, "subject_token_type", accessTokenType, "client_id", "orders")),
			"by who shows the wrong secret": h.post(fields("grant_type", string(TokenExchange), "subject_token", a, "subject_token_type", accessTokenType), basic("orders", h.secrets["app"])),
			"by a public client, whatever for": func() *reply {
				h.app("public", func(c *Client) {
					c.Auth, c.Secrets, c.Grants, c.Resources = NoAuth, nil, []GrantType{TokenExchange}, []string{ordersAPI}
				})
				return h.post(fields("grant_type", string(TokenExchange), "subject_token", a, "subject_token_type", accessTokenType, "client_id", "public"))
			}(),
		} {
			if r.status == 200 || r.string("access_token") != "" {
				t.Errorf("jwt %v, %s: %s", jwt, name, r.text)
			}
		}
	}
}

// Every class of token that is no access token, and every type that is named for one.
func TestAttackAnotherClassOfTokenIsExchanged(t *testing.T) {
	h := trading(t, true)
	a := h.tokens("app", forOrders)
	text := a.string("access_token")
	code := h.code("app", forOrders)
	own := h.given(h.post(fields("grant_type", "client_credentials"), basic("orders", h.secrets["orders"]))).string("access_token")
	logout, err := h.logoutToken(h.m.clients["orders"], &Delivery{ID: "x", Subject: "alice", SID: "s1"}, h.now)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := jose.GenerateKey(jose.ES256, "")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(text, ".")
	other, err := jose.Sign(forged, jose.Header{Type: "at+jwt"}, []byte(`{"iss":"`+deskIssuer+`","sub":"alice","aud":"`+ordersAPI+`","exp":9999999999,"jti":"x","gid":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{
		"an ID token": a.string("id_token"), "a refresh token": a.string("refresh_token"), "a code": code, "a secret": h.secrets["app"],
		"a client's own": own, "a logout token": logout, "an unsigned one": parts[0] + "." + parts[1] + ".", "another's signature": other, "noise": "x", "dots": "a.b.c",
	} {
		if r := h.refused(h.swaps("orders", subject), "invalid_request"); r.string("error_description") != errSubject.Error() {
			t.Errorf("%s is told apart: %s", name, r.text)
		}
	}
	for _, typ := range []string{"", "urn:ietf:params:oauth:token-type:refresh_token", "urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt", "access_token"} {
		h.refused(h.swaps("orders", text, "subject_token_type", typ), "invalid_request")
	}
	for _, typ := range []string{"urn:ietf:params:oauth:token-type:refresh_token", "urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt"} {
		h.refused(h.swaps("orders", text, "requested_token_type", typ), "invalid_request")
	}
	h.refused(h.swaps("orders", ""), "invalid_request")
	// And what it gives is none of another class either: nothing of the person is told for it.
	b := h.given(h.swaps("orders", text)).string("access_token")
	if w := h.userinfo(b); w.Code != 403 && w.Code != 401 {
		t.Errorf("userinfo answers %d", w.Code)
	}
}

// What was exchanged ends with what it came of, whoever ends it.
func TestAttackAnExchangedTokenOutlivesWhatItCameOf(t *testing.T) {
	ends := map[string]func(h *hall, a *reply){
		"the grant is revoked":                 func(h *hall, a *reply) { h.ask("revoke", "app", "token", a.string("refresh_token")) },
		"the session ends":                     func(h *hall, _ *reply) { h.m.RemoveSession("s1"); h.SessionEnded(h.Context(), "s1") },
		"it is taken back":                     func(h *hall, _ *reply) { h.TakeBack(h.Context(), "alice", "app") },
		"the person is gone":                   func(h *hall, _ *reply) { h.m.RemoveUser("alice") },
		"the person has signed out everywhere": func(h *hall, _ *reply) { h.m.PutUser(User{Subject: "alice", Epoch: 8}) },
		"it has expired":                       func(h *hall, _ *reply) { h.now = h.now.Add(5 * time.Minute) },
	}
	for _, id := range []string{"app", "orders", "stock"} {
		ends["the client "+id+" is disabled"] = func(h *hall, _ *reply) {
			h.becomes(id, func(c *Client) { c.Disabled = true })
		}
	}
	for name, end := range ends {
		for _, jwt := range []bool{false, true} {
			h := trading(t, jwt)
			h.app("asker", func(c *Client) { c.Resources = []string{ordersAPI, stockAPI, "https://c.example.org"} })
			a := h.tokens("app", func(c *Code) { forOrders(c); c.Asked.Scopes = []string{"read"} })
			b := h.given(h.swaps("orders", a.string("access_token"))).string("access_token")
			c := h.given(h.swaps("stock", b, "resource", "https://c.example.org")).string("access_token")
			if !h.active("asker", c) {
				t.Fatalf("%s, jwt %v: it does not count before", name, jwt)
			}
			end(h, a)
			for i, text := range []string{a.string("access_token"), b, c} {
				alone := strings.HasPrefix(name, "the client") && (i == 0 && !strings.Contains(name, "app") || i == 1 && strings.Contains(name, "stock"))
				if h.active("asker", text) != alone {
					t.Errorf("%s, jwt %v: token %d counts: %v", name, jwt, i, !alone)
				}
			}
			// Nor does anything come of it any more.
			if r := h.swaps("orders", a.string("access_token")); r.status == 200 && !strings.Contains(name, "stock") {
				t.Errorf("%s, jwt %v: it is exchanged: %s", name, jwt, r.text)
			}
			if r := h.swaps("stock", b, "resource", "https://c.example.org"); r.status == 200 {
				t.Errorf("%s, jwt %v: it is exchanged once more: %s", name, jwt, r.text)
			}
		}
	}
}

// Two services hand a token to each other, and hope that it lives for ever, or that
// nobody reads so long a story.
func TestAttackAChainOfExchangesIsBounded(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		h := trading(t, jwt)
		h.becomes("stock", func(c *Client) { c.Audiences = []string{ordersAPI} })
		first := h.tokens("app", forOrders)
		text, ends := first.string("access_token"), h.now.Add(5*time.Minute)
		for n := range 10 {
			h.now = h.now.Add(10 * time.Second)
			r := h.swaps([]string{"orders", "stock"}[n%2], text)
			if n >= maxActors-1 {
				h.refused(r, "invalid_request")
				break
			}
			text = h.given(r).string("access_token")
			if got, want := r.json["expires_in"], ends.Sub(h.now).Seconds(); got != want {
				t.Errorf("jwt %v, exchange %d: it is good for %v s, want %v", jwt, n, got, want)
			}
		}
	}
}

// A token that is bound to a key was stolen from who has the key.
func TestAttackABoundTokenIsExchangedWithoutItsKey(t *testing.T) {
	h := trading(t, false)
	a := h.tokens("app", forOrders).string("access_token")
	for selector, row := range h.m.tokens {
		row.JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
		h.m.tokens[selector] = row
	}
	h.refused(h.swaps("orders", a), "invalid_request")
}

func TestAServiceIsToldInDiscoveryThatItMayExchange(t *testing.T) {
	h := newHall(t)
	w := h.serve(httptest.NewRequest("GET", deskIssuer+"/.well-known/oauth-authorization-server", nil))
	if !strings.Contains(w.Body.String(), fmt.Sprintf("%q", TokenExchange)) {
		t.Errorf("%s", w.Body)
	}
}

func FuzzSwap(f *testing.F) {
	h := trading(f, true)
	a := h.tokens("app", forOrders)
	f.Add(a.string("access_token"), accessTokenType, "", "", "read")
	f.Add(a.string("id_token"), accessTokenType, a.string("access_token"), accessTokenType, "read write")
	f.Fuzz(func(t *testing.T, subject, typ, actor, actorType, scope string) {
		h.TB = t
		r := h.swaps("orders", subject, "subject_token_type", typ, "actor_token", actor, "actor_token_type", actorType, "scope", scope)
		if r.status == 200 && (subject != a.string("access_token") || r.string("scope") != "read") {
			t.Errorf("%q becomes %s", subject, r.text)
		}
	})
}
