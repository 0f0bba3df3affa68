package relying

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/admit-auth/admit/server"
)

const redirect = "https://app.example.org/callback"

// A house is a development server with one client, and a browser in which ann is signed in.
type house struct {
	*testing.T
	issuer  string
	secret  string
	browser *http.Client
}

func newHouse(t *testing.T, alg string) *house {
	t.Helper()
	return houseOf(t, nil, &server.NewClient{
		ID: "app", Name: "An app", RedirectURIs: []string{redirect}, GrantTypes: []string{"authorization_code", "refresh_token"},
		SigningAlg: alg, FirstParty: true,
	})
}

// houseOf is a house after change, with a client, nil for none.
func houseOf(t *testing.T, change func(*server.Config), app *server.NewClient) *house {
	t.Helper()
	data := t.TempDir()
	cfg := server.Config{Listen: "localhost:0", Data: data, Dev: true, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	s, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{T: t, issuer: s.Ready().URL, browser: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(data, "admit.sock")); err == nil {
			break // commands are heard
		}
	}
	o, err := server.Connect(t.Context(), server.Config{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if app != nil {
		made, err := o.AddClient(t.Context(), *app)
		if err != nil {
			t.Fatal(err)
		}
		h.secret = made.Secret
	}
	h.send("/api/v1/signup", `{"identifier":"ann","password":"a long password of ann","name":"Ann Example"}`)
	return h
}

func (h *house) send(path, body string) {
	h.Helper()
	res, err := h.browser.Post(h.issuer+path, "application/json", strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode/100 != 2 {
		h.Fatalf("%s: %s", path, res.Status)
	}
}

// leads follows a browser to the client.
func (h *house) leads(to string) url.Values {
	h.Helper()
	res, err := h.browser.Get(to)
	if err != nil {
		h.Fatal(err)
	}
	res.Body.Close()
	u, err := res.Location()
	if err != nil || !strings.HasPrefix(u.String(), redirect+"?") {
		h.Fatalf("%s leads to %v, %v", res.Status, u, err)
	}
	return u.Query()
}

// What most Go programs use, with its default settings.
func TestGoOIDCSignsInRefreshesAndCallsUserInfo(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			h, ctx := newHouse(t, alg), t.Context()
			p, err := oidc.NewProvider(ctx, h.issuer)
			if err != nil {
				t.Fatal(err)
			}
			app := oauth2.Config{
				ClientID: "app", ClientSecret: h.secret, RedirectURL: redirect, Endpoint: p.Endpoint(),
				Scopes: []string{oidc.ScopeOpenID, "profile", oidc.ScopeOfflineAccess},
			}
			verifier := oauth2.GenerateVerifier()
			q := h.leads(app.AuthCodeURL("a state", oauth2.S256ChallengeOption(verifier), oidc.Nonce("a nonce")))
			if q.Get("state") != "a state" || q.Get("iss") != h.issuer {
				t.Fatalf("the answer is %v", q)
			}
			tokens, err := app.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			text, _ := tokens.Extra("id_token").(string)
			id, err := p.Verifier(&oidc.Config{ClientID: "app"}).Verify(ctx, text)
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
