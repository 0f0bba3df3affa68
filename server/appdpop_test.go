package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
)

// A keyed app is one of somebody else that has a key.
type keyedApp struct {
	*client
	*dpop.Prover
}

func (s *site) keyedApp() *keyedApp {
	s.t.Helper()
	key, err := jose.GenerateKey(jose.EdDSA, "")
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := dpop.NewProver(key)
	if err != nil {
		s.t.Fatal(err)
	}
	return &keyedApp{s.client(), p}
}

// proves adds a proof to a request, for an access token unless that is "".
func (k *keyedApp) proves(token string) func(*http.Request) {
	return func(r *http.Request) {
		if token != "" {
			r.Header.Set("Authorization", "DPoP "+token)
		}
		proof, err := k.Proof(r, token, time.Now())
		if err != nil {
			k.t.Fatal(err)
		}
		r.Header.Set("DPoP", proof)
	}
}

func (k *keyedApp) learns(r *reply) *reply {
	k.Learn(&http.Response{Request: httptest.NewRequest("GET", "http://localhost/", nil), Header: r.header})
	return r
}

// asks sends a form to the token endpoint, with a proof.
func (k *keyedApp) asks(form url.Values) *reply {
	k.t.Helper()
	form.Set("client_id", "shop")
	return k.learns(k.oauth(form, k.proves("")))
}

func (k *keyedApp) userinfo(change ...func(*http.Request)) *reply {
	k.t.Helper()
	r := k.learns(k.page("GET", "/oauth/userinfo", nil, change...))
	if len(r.body) > 0 {
		decodeJSON(k.t, r)
	}
	return r
}

func TestAnAppOfSomebodyElseBindsItsTokensToItsKey(t *testing.T) {
	s := newSite(t).withShop(func(c *provider.Client) { c.DPoP = true })
	ann, app, thief := s.signedUp("ann"), s.keyedApp(), s.keyedApp()
	code := ann.decides(ann.page("GET", appAsks("dpop_jkt", app.Thumbprint()), nil), "allow").code()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {shopBack}, "code_verifier": {shopVerifier}}

	// Nobody gets anything for it but with a proof of this key, which must name a nonce;
	// and nobody who tries spends it.
	if r := s.redeem(form); r.status != 400 || r.at("error") != "invalid_dpop_proof" {
		t.Errorf("without a proof: %d %s", r.status, r.body)
	}
	for _, k := range []*keyedApp{app, thief} {
		if r := k.asks(form); r.status != 400 || r.at("error") != "use_dpop_nonce" || r.header.Get("DPoP-Nonce") == "" {
			t.Fatalf("without a nonce: %d %s with %v", r.status, r.body, r.header)
		}
	}
	if r := thief.asks(form); r.status != 400 || r.at("error") != "invalid_grant" {
		t.Errorf("with a proof of another key: %d %s", r.status, r.body)
	}
	tokens := app.asks(form).want(200)
	access := tokens.at("access_token")
	if tokens.at("token_type") != "DPoP" {
		t.Errorf("the answer is %s", tokens.body)
	}

	if r := app.userinfo(app.proves(access)); r.status != 200 || r.at("sub") == "" {
		t.Errorf("with its proof: %d %s", r.status, r.body)
	}
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+access) }
	for name, change := range map[string]func(*http.Request){
		"as a bearer token": bearer, "with a proof of another key": thief.proves(access),
		"with a proof as a bearer token": func(r *http.Request) { app.proves(access)(r); bearer(r) },
		"with no proof":                  func(r *http.Request) { app.proves(access)(r); r.Header.Del("DPoP") },
	} {
		if r := thief.userinfo(change); r.status != 401 || !strings.HasPrefix(r.header.Get("WWW-Authenticate"), `DPoP error="invalid_`) || r.at("sub") != "" {
			t.Errorf("%s: %d %s with %v", name, r.status, r.body, r.header)
		}
	}

	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.at("refresh_token")}}
	if r := thief.asks(refresh); r.status != 400 || r.at("error") != "invalid_grant" {
		t.Errorf("a stolen refresh token: %d %s", r.status, r.body)
	}
	if r := app.asks(refresh).want(200); r.at("token_type") != "DPoP" || r.at("refresh_token") == "" {
		t.Errorf("the answer is %s", r.body)
	}
}

// A page of the app may send a proof, and read the nonce.
func TestAScriptOfAClientsPageMaySendAProof(t *testing.T) {
	s := newSite(t).withShop()
	app := s.keyedApp()
	from := func(r *http.Request) {
		r.Header.Set("Origin", "https://shop.example.net")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	r := app.page("OPTIONS", "/oauth/token", nil, from, func(r *http.Request) {
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "dpop")
	})
	if !strings.Contains(r.header.Get("Access-Control-Allow-Headers"), "DPoP") {
		t.Errorf("the headers allowed are %q", r.header.Get("Access-Control-Allow-Headers"))
	}
	r = app.oauth(url.Values{"client_id": {"shop"}, "grant_type": {"authorization_code"}, "code": {"x"}}, from, app.proves(""))
	if !strings.Contains(r.header.Get("Access-Control-Expose-Headers"), "DPoP-Nonce") || r.header.Get("DPoP-Nonce") == "" {
		t.Errorf("the answer has %v", r.header)
	}
}
