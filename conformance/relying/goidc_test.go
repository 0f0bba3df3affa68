package relying

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const redirect = "https://app.example.org/callback"

// leads follows a browser to a client, which is nowhere.
func (p *person) leads(to string) url.Values {
	p.t.Helper()
	c := *p.http
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := c.Get(to)
	if err != nil {
		p.t.Fatal(err)
	}
	res.Body.Close()
	u, err := res.Location()
	if err != nil || !strings.HasPrefix(u.String(), redirect+"?") {
		p.t.Fatalf("%s leads to %v, %v", res.Status, u, err)
	}
	return u.Query()
}

// What most Go programs use, with its default settings, and each algorithm of ID tokens.
func TestGoOIDCSignsInRefreshesAndCallsUserInfo(t *testing.T) {
	h, ctx := home(t), t.Context()
	h.user(t, "gopher", "Ann Example")
	b := newPerson(t)
	b.open(h.url + "/signin")
	b.signIn("gopher")
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			client := "gopher-" + strings.ToLower(alg)
			secret := h.client(t, client, "--grant", "authorization_code,refresh_token", "--redirect", redirect, "--signing-alg", alg, "--first-party")
			p, err := oidc.NewProvider(ctx, h.url)
			if err != nil {
				t.Fatal(err)
			}
			app := oauth2.Config{
				ClientID: client, ClientSecret: secret, RedirectURL: redirect, Endpoint: p.Endpoint(),
				Scopes: []string{oidc.ScopeOpenID, "profile", oidc.ScopeOfflineAccess},
			}
			verifier := oauth2.GenerateVerifier()
			q := b.leads(app.AuthCodeURL("a state", oauth2.S256ChallengeOption(verifier), oidc.Nonce("a nonce")))
			if q.Get("state") != "a state" || q.Get("iss") != h.url {
				t.Fatalf("the answer is %v", q)
			}
			tokens, err := app.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			text, _ := tokens.Extra("id_token").(string)
			id, err := p.Verifier(&oidc.Config{ClientID: client}).Verify(ctx, text)
			if err != nil || id.Nonce != "a nonce" || id.VerifyAccessToken(tokens.AccessToken) != nil {
				t.Fatalf("the ID token: %v, %+v", err, id)
			}
			info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
			if err != nil || info.Subject != id.Subject {
				t.Fatalf("userinfo: %v, %+v", err, info)
			}
			var profile struct{ Name string }
			if err := info.Claims(&profile); err != nil || profile.Name != "Ann Example" {
				t.Errorf("the profile is %+v, %v", profile, err)
			}
			next, err := app.TokenSource(ctx, &oauth2.Token{RefreshToken: tokens.RefreshToken}).Token()
			if err != nil || next.RefreshToken == tokens.RefreshToken || next.AccessToken == tokens.AccessToken {
				t.Fatalf("refreshed: %v", err)
			}
			if _, err := app.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
				t.Error("a code is good twice")
			}
			if _, err := p.UserInfo(ctx, oauth2.StaticTokenSource(next)); err == nil {
				t.Error("tokens outlive the replay of their code")
			}
		})
	}
}
