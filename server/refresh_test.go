package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/server"
)

// An app is a client that signs in for JWTs and keeps what it is given.
type app struct {
	*client
	refreshToken string
}

// appOf is a client with JWTs of a user who has an account.
func (s *site) appOf(name string) *app {
	s.t.Helper()
	a := &app{client: s.client()}
	a.userAgent = "AnnsApp/1.0"
	a.keep(a.post("signin", m{"identifier": name, "password": goodPassword, "as": "jwt"}).want(200))
	return a
}

// keep takes the tokens of an answer.
func (a *app) keep(r *reply) *reply {
	a.t.Helper()
	if a.token, a.refreshToken = r.at("access_token"), r.at("refresh_token"); a.token == "" || a.refreshToken == "" {
		a.t.Fatalf("no tokens in %s", r.body)
	}
	return r
}

// refreshed asks for new tokens as a client that has no other credential.
func (s *site) refreshed(token string, change ...func(*http.Request)) *reply {
	s.t.Helper()
	return s.client().post("refresh", m{"refresh_token": token}, change...)
}

// claims reads a JWT, and verifies nothing.
func claims(t testing.TB, jwt string) m {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", jwt)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var c m
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnAppSignsInForAJWTRefreshesItAndSignsOut(t *testing.T) {
	s := newSite(t)
	laptop := s.signedUp("ann")
	a := s.client()
	in := a.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt"}).want(200)
	if in.header["Set-Cookie"] != nil || in.at("token") != "" || in.at("expires_in") != "300" || in.at("session.credential") != "jwt" {
		t.Errorf("signed in for a JWT: %v %s", in.header, in.body)
	}
	c := claims(t, in.at("access_token"))
	for name, want := range map[string]any{"iss": "http://localhost", "sub": in.at("user.id"), "client_id": "admit", "sid": in.at("session.sid")} {
		if c[name] != want {
			t.Errorf("claim %s is %v, want %v", name, c[name], want)
		}
	}
	a.token = in.at("access_token")
	if now := a.get("session").want(200); now.at("session.sid") != in.at("session.sid") || now.at("session.credential") != "jwt" {
		t.Errorf("the session is %s", now.body)
	}
	if n := len(laptop.get("sessions").want(200).m["sessions"].([]any)); n != 2 {
		t.Errorf("%d sessions are listed, want 2", n)
	}
	next := s.refreshed(in.at("refresh_token")).want(200)
	if next.at("refresh_token") == in.at("refresh_token") || next.at("access_token") == in.at("access_token") {
		t.Errorf("the next tokens are %s", next.body)
	}
	a.token = next.at("access_token")
	a.post("signout", nil).want(204)
	a.get("session").want(401, "session_ended")
	s.refreshed(next.at("refresh_token")).want(401, "session_ended")
	laptop.get("session").want(200)
	_ = server.Config{}
	_ = time.Second
}
