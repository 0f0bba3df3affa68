package relying

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// x/oauth2 knows nothing of pushed requests: what it would send a browser to is pushed as it
// stands, to the endpoint that discovery names.
func TestARequestOfOAuth2IsPushedAndAnsweredOnce(t *testing.T) {
	h, ctx := home(t), t.Context()
	h.user(t, "pat", "Pat Example")
	secret := h.client(t, "pushes", "--grant", "authorization_code", "--redirect", redirect, "--first-party", "--require-par")
	b := newPerson(t)
	b.open(h.url + "/signin")
	b.signIn("pat")
	p, err := oidc.NewProvider(ctx, h.url)
	if err != nil {
		t.Fatal(err)
	}
	var more struct {
		Pushed string `json:"pushed_authorization_request_endpoint"`
	}
	if err := p.Claims(&more); err != nil || more.Pushed == "" {
		t.Fatalf("discovery: %+v, %v", more, err)
	}
	app := oauth2.Config{ClientID: "pushes", ClientSecret: secret, RedirectURL: redirect, Endpoint: p.Endpoint(), Scopes: []string{oidc.ScopeOpenID}}
	verifier := oauth2.GenerateVerifier()
	whole, err := url.Parse(app.AuthCodeURL("a state", oauth2.S256ChallengeOption(verifier), oidc.Nonce("a nonce")))
	if err != nil {
		t.Fatal(err)
	}
	if q := b.leads(whole.String()); q.Get("error") != "invalid_request" {
		t.Errorf("a client that must push is answered %v", q)
	}
	ask, err := http.NewRequestWithContext(ctx, "POST", more.Pushed, strings.NewReader(whole.RawQuery))
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	ask.SetBasicAuth("pushes", secret)
	res, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	var pushed struct {
		URI  string `json:"request_uri"`
		Life int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(text(t, res.Body)), &pushed); err != nil || res.StatusCode != 201 || pushed.Life < 60 {
		t.Fatalf("%s: %+v, %v", res.Status, pushed, err)
	}
	whole.RawQuery = url.Values{"client_id": {"pushes"}, "request_uri": {pushed.URI}}.Encode()
	q := b.leads(whole.String())
	if q.Get("state") != "a state" || q.Get("iss") != h.url {
		t.Fatalf("the answer is %v", q)
	}
	tokens, err := app.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := tokens.Extra("id_token").(string)
	if id, err := p.Verifier(&oidc.Config{ClientID: "pushes"}).Verify(ctx, text); err != nil || id.Nonce != "a nonce" {
		t.Fatalf("the ID token: %v, %+v", err, id)
	}
	b.open(whole.String())
	if b.at.String() != whole.String() || !strings.Contains(b.page, "invalid_request_uri") {
		t.Errorf("the second time it leads to %s:\n%s", b.at, b.page)
	}
}

// openid-client pushes and signs by functions of its own, with its default settings.
func TestOpenIDClientPushesAndSignsItsRequests(t *testing.T) {
	node := find(t, "node")
	if _, err := os.Stat("node_modules"); err != nil {
		missing(t, "openid-client")
	}
	h := home(t)
	h.user(t, "quinn", "Quinn Example")
	b := newPerson(t)
	b.open(h.url + "/signin")
	b.signIn("quinn")
	dir := t.TempDir()
	keep := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	private := func(alg string) (key, public string) {
		public = filepath.Join(dir, alg+".public")
		out, err := exec.Command(built(t, "server", "./cmd/admit"), "jwt", "keygen", "--alg", alg, "--public", public).Output()
		if err != nil {
			t.Fatal(err)
		}
		return keep(alg, string(out)), public
	}
	of := []string{"--grant", "authorization_code", "--redirect", redirect, "--first-party"}
	secret := keep("secret", h.client(t, "pusher", append(of, "--require-par")...))
	es, esPublic := private("ES256")
	ed, edPublic := private("EdDSA")
	h.client(t, "signer", append(of, "--jwks-file", esPublic, "--require-signed-request")...)
	h.client(t, "both", append(of, "--jwks-file", edPublic, "--require-signed-request", "--require-par")...)
	for how, c := range map[string]struct{ client, proof string }{
		"push": {"pusher", "SECRET_FILE=" + secret}, "sign": {"signer", "KEY_FILE=" + es}, "sign and push": {"both", "KEY_FILE=" + ed},
	} {
		t.Run(how, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), node, "pushed.mjs")
			cmd.Env = append(os.Environ(), "ISSUER="+h.url, "CLIENT_ID="+c.client, "HOW="+how, "REDIRECT="+redirect, c.proof)
			cmd.Stderr = os.Stderr
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			said := bufio.NewScanner(out)
			if !said.Scan() {
				t.Fatalf("it sends nobody anywhere: %v", cmd.Wait())
			}
			to := said.Text()
			asked, err := url.Parse(to)
			if err != nil || asked.Query().Has("redirect_uri") && strings.Contains(how, "push") {
				t.Fatalf("it sends a browser to %s", to)
			}
			q := b.leads(to)
			if _, err := in.Write([]byte(redirect + "?" + q.Encode() + "\n")); err != nil {
				t.Fatal(err)
			}
			var claims struct{ Name, Aud string }
			if !said.Scan() || json.Unmarshal(said.Bytes(), &claims) != nil || claims.Name != "Quinn Example" || claims.Aud != c.client {
				t.Errorf("it has signed in %q", said.Text())
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			b.open(to)
			if !strings.Contains(b.page, "invalid_request_") {
				t.Errorf("the second time it leads to %s:\n%s", b.at, b.page)
			}
		})
	}
}
