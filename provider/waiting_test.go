package provider

import (
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// waits fails the test unless a client waits at an address, "" for none.
func (s *stage) waits(at, client, redirect string) {
	s.Helper()
	writes := s.shelf.writes
	w, err := s.Waiting(s.Context(), at)
	var gotClient, gotRedirect string
	if w != nil {
		gotClient, gotRedirect = w.Client.ID, w.RedirectURI
	}
	if err != nil || gotClient != client || gotRedirect != redirect {
		s.Errorf("at %.60s waits %q at %q, %v, want %q at %q", at, gotClient, gotRedirect, err, client, redirect)
	}
	if s.shelf.writes != writes {
		s.Error("to ask who waits writes")
	}
}

func TestAPageOfASignInIsToldWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPusher(t)
		s.takeBack()
		s.get(ask(), "")
		s.shows("sign-in")
		at := s.a.Resume()
		s.waits(at, "shop", callback)
		s.resume("s1")
		s.shows("consent")
		s.waits(s.a.Resume(), "shop", callback)
		s.get(ask("client_id", "phone", "redirect_uri", "http://127.0.0.1:5/cb", "scope", "openid"), "")
		s.waits(s.a.Resume(), "phone", "http://127.0.0.1:5/cb")
		time.Sleep(flowLife - time.Minute)
		s.waits(at, "shop", callback)
		time.Sleep(2 * time.Minute)
		s.waits(at, "", "")
	})
}

// A request that is good once waits until it is answered.
func TestWhatWasAnsweredWaitsNoMore(t *testing.T) {
	s := newPusher(t)
	s.allowed("ann", "phone")
	s.change("firm", func(c *Client) { c.RedirectURIs = append(c.RedirectURIs, callback+"2") })
	for name, c := range map[string]struct {
		query, client, redirect string
		again                   bool // it is good for another code
	}{
		"pushed":                {s.pushed(ask()), "shop", callback, false},
		"pushed, and not kept":  {s.pushed(ask("client_id", "phone", "redirect_uri", "http://127.0.0.1:5/cb", "scope", "openid"), nobody), "phone", "http://127.0.0.1:5/cb", false},
		"signed":                {byObject(s.signed(map[string]any{"redirect_uri": callback + "2"})), "firm", callback + "2", false},
		"signed, and mixed up":  {byObject(s.signed(nil), "redirect_uri", callback+"2"), "firm", callback, false},
		"signed, without an id": {byObject(s.signed(map[string]any{"jti": nil})), "firm", callback, true},
		"as it is":              {ask(), "shop", callback, true},
	} {
		s.get(c.query, "")
		if s.shown != "sign-in" {
			t.Fatalf("%s: the page is %q (%v)", name, s.shown, s.fault)
		}
		at := s.a.Resume()
		s.waits(at, c.client, c.redirect)
		s.code(s.send(httptest.NewRequest("GET", at, nil), "s1"), c.redirect)
		if c.again {
			s.waits(at, c.client, c.redirect)
		} else {
			s.waits(at, "", "")
		}
	}
}

// The attack: a stranger writes into a link whose name our sign-in page is to show.
func TestAttackWhoWaitsIsForged(t *testing.T) {
	s := newPusher(t)
	s.get(ask(), "")
	at := s.a.Resume()
	sealed := strings.TrimPrefix(at, "/oauth/authorize?flow=")
	v, err := url.ParseQuery(s.pushed(ask("client_id", "phone", "redirect_uri", "http://127.0.0.1:5/cb", "scope", "openid"), nobody))
	if err != nil {
		t.Fatal(err)
	}
	other := newStage(t) // another server, which has a shop, too
	other.get(ask(), "")
	changed := []byte(at)
	changed[len(changed)/2] ^= 1
	for _, at := range []string{
		"", "/", "/oauth/authorize?flow=",
		"/oauth/authorize?" + ask(),                       // a request that nobody has looked at
		"/oauth/authorize?flow=" + url.QueryEscape(ask()), // the same, named a flow
		string(changed), at[:len(at)-4],                   // a seal that does not fit
		at + "&client_id=home", "/oauth/authorize?client_id=home&flow=" + sealed, // and more beside it
		"/oauth/logout?flow=" + sealed, "https://evil.example/oauth/authorize?flow=" + sealed,
		"/oauth/authorize?flow=" + strings.TrimPrefix(v.Get("request_uri"), pushedPrefix), // sealed for something else
		other.a.Resume(),
	} {
		s.waits(at, "", "")
	}
	s.waits(at, "shop", callback)
	was := *s.client("shop")
	for _, change := range []func(*Client){
		func(c *Client) { c.Disabled = true },
		func(c *Client) { c.RedirectURIs = []string{callback + "2"} },
	} {
		s.change("shop", change)
		s.waits(at, "", "")
		s.shelf.PutClient(was)
	}
	s.waits(at, "shop", callback)
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if w, err := s.Waiting(cut, at); err == nil {
		t.Errorf("without a store waits %v", w)
	}
	s.shelf.RemoveClient("shop")
	s.waits(at, "", "")
}
