package relying

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/admit-auth/admit/server"
)

var flowField = regexp.MustCompile(`name="flow" value="([^"]+)"`)

// decides is ann, who types a code in her browser and decides.
func (h *house) decides(page, code, decision string) {
	h.Helper()
	text := h.form(page, url.Values{"user_code": {code}})
	m := flowField.FindStringSubmatch(text)
	if m == nil {
		h.Fatalf("the page asks for no decision:\n%s", text)
	}
	h.form(page, url.Values{"flow": {m[1]}, "decision": {decision}})
}

func (h *house) form(to string, form url.Values) string {
	h.Helper()
	res, err := h.browser.PostForm(to, form)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		h.Fatalf("%s: %s %s", to, res.Status, text)
	}
	return string(text)
}

// The device grant as x/oauth2 has it, which waits for the interval that it is told.
func TestXOAuth2SignsInADevice(t *testing.T) {
	t.Parallel()
	h, ctx := newHouse(t, ""), t.Context()
	o, err := server.Connect(ctx, server.Config{Data: h.data})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := o.AddClient(ctx, server.NewClient{ID: "tv", Name: "A television", Public: true, GrantTypes: []string{"device_code", "refresh_token"}}); err != nil {
		t.Fatal(err)
	}
	p, err := oidc.NewProvider(ctx, h.issuer)
	if err != nil {
		t.Fatal(err)
	}
	tv := oauth2.Config{ClientID: "tv", Endpoint: p.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "profile", oidc.ScopeOfflineAccess}}
	begin := func() *oauth2.DeviceAuthResponse {
		t.Helper()
		asked, err := tv.DeviceAuth(ctx)
		if err != nil || asked.VerificationURI != h.issuer+"/device" || asked.Interval != 5 {
			t.Fatalf("%+v, %v", asked, err)
		}
		return asked
	}
	allowed, denied := begin(), begin()
	h.decides(denied.VerificationURI, denied.UserCode, "deny")
	refused := make(chan error, 1)
	go func() {
		_, err := tv.DeviceAccessToken(context.WithoutCancel(ctx), denied)
		refused <- err
	}()
	h.decides(allowed.VerificationURI, strings.ToLower(allowed.UserCode), "allow")
	tokens, err := tv.DeviceAccessToken(ctx, allowed)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := tokens.Extra("id_token").(string)
	id, err := p.Verifier(&oidc.Config{ClientID: "tv"}).Verify(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	next, err := tv.TokenSource(ctx, &oauth2.Token{RefreshToken: tokens.RefreshToken}).Token()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(next)); err != nil || info.Subject != id.Subject {
		t.Errorf("userinfo: %v, %+v", err, info)
	}
	if e, ok := errors.AsType[*oauth2.RetrieveError](<-refused); !ok || e.ErrorCode != "access_denied" {
		t.Errorf("the other device is told %v", e)
	}
}
