package relying

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// The device grant as x/oauth2 has it, which waits for the interval that it is told.
func TestXOAuth2SignsInADevice(t *testing.T) {
	t.Parallel()
	h, ctx := home(t), t.Context()
	h.user(t, "viewer", "Ann Example")
	h.client(t, "tv", "--public", "--grant", "device_code,refresh_token")
	b := newPerson(t)
	b.open(h.url + "/signin")
	b.signIn("viewer")
	p, err := oidc.NewProvider(ctx, h.url)
	if err != nil {
		t.Fatal(err)
	}
	tv := oauth2.Config{ClientID: "tv", Endpoint: p.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "profile", oidc.ScopeOfflineAccess}}
	begin := func() *oauth2.DeviceAuthResponse {
		t.Helper()
		asked, err := tv.DeviceAuth(ctx)
		if err != nil || asked.VerificationURI != h.url+"/device" || asked.Interval != 5 {
			t.Fatalf("%+v, %v", asked, err)
		}
		return asked
	}
	decides := func(page, code, decision string) {
		t.Helper()
		b.open(page)
		b.press("Continue", "user_code", code)
		b.press(decision)
	}
	allowed, denied := begin(), begin()
	decides(denied.VerificationURI, denied.UserCode, "Do not allow")
	refused := make(chan error, 1)
	go func() {
		_, err := tv.DeviceAccessToken(context.WithoutCancel(ctx), denied)
		refused <- err
	}()
	decides(allowed.VerificationURI, strings.ToLower(allowed.UserCode), "Allow")
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
