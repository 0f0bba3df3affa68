package relying

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

var flowField = regexp.MustCompile(`name="flow" value="([^"]+)"`)

// Go programs have no library for this: the body is what the RFCs have in their examples.
func TestAGoProgramRegistersItselfAndSignsIn(t *testing.T) {
	h, ctx := newHouse(t, t.TempDir(), "localhost:0", "--client-registration", "open"), t.Context()
	defer h.stop()
	h.user(t, "ann", "Ann Example")
	b := newPerson(t)
	b.open(h.url + "/signin")
	b.signIn("ann")
	var at struct {
		Registration string `json:"registration_endpoint"`
	}
	p, err := oidc.NewProvider(ctx, h.url)
	if err == nil {
		err = p.Claims(&at)
	}
	if err != nil {
		t.Fatal(err)
	}
	var app struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
		Token  string `json:"registration_access_token"`
		At     string `json:"registration_client_uri"`
	}
	calls := func(method, to, token, body string, want int) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != want {
			t.Fatalf("%s %s: %s", method, to, res.Status)
		}
		if want/100 == 2 && want != http.StatusNoContent {
			if err := json.NewDecoder(res.Body).Decode(&app); err != nil {
				t.Fatal(err)
			}
		}
	}
	calls("POST", at.Registration, "", `{"application_type": "web", "redirect_uris": ["`+redirect+`"], "client_name": "My Example", "client_name#ja-Jpan-JP": "クライアント名",
		"logo_uri": "https://client.example.org/logo.png", "subject_type": "pairwise", "token_endpoint_auth_method": "client_secret_basic",
		"contacts": ["ve7jtb@example.org"], "grant_types": ["authorization_code", "refresh_token"]}`, 201)
	config := oauth2.Config{ClientID: app.ID, ClientSecret: app.Secret, RedirectURL: redirect, Endpoint: p.Endpoint(), Scopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess}}
	verifier := oauth2.GenerateVerifier()
	code := b.allows(config.AuthCodeURL("a state", oauth2.S256ChallengeOption(verifier)))
	tokens, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := tokens.Extra("id_token").(string)
	id, err := p.Verifier(&oidc.Config{ClientID: app.ID, SupportedSigningAlgs: []string{oidc.RS256}}).Verify(ctx, text)
	if err != nil || id.Subject == "" {
		t.Fatalf("%v, %+v", err, id)
	}
	before := app.Token
	calls("PUT", app.At, before, `{"client_id": "`+app.ID+`", "redirect_uris": ["`+redirect+`"], "subject_type": "pairwise", "grant_types": ["authorization_code", "refresh_token"]}`, 200)
	calls("GET", app.At, before, "", 401)
	calls("DELETE", app.At, app.Token, "", 204)
	if _, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: tokens.RefreshToken}).Token(); err == nil {
		t.Error("what a client was allowed outlives it")
	}
}

// allows has somebody allow what the page asks for, and returns the code.
func (p *person) allows(to string) string {
	p.t.Helper()
	p.open(to)
	m := flowField.FindStringSubmatch(p.page)
	if m == nil {
		p.t.Fatalf("nobody is asked:\n%s", p.page)
	}
	c := *p.http
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := c.PostForm(p.at.Scheme+"://"+p.at.Host+"/oauth/authorize", url.Values{"flow": {m[1]}, "decision": {"allow"}})
	if err != nil {
		p.t.Fatal(err)
	}
	res.Body.Close()
	u, err := res.Location()
	if err != nil || !strings.HasPrefix(u.String(), redirect+"?") {
		p.t.Fatalf("%s leads to %v, %v", res.Status, u, err)
	}
	return u.Query().Get("code")
}
