package server_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/server"
)

// What is answered with 204 has ended. A client that is told so throws away its
// refresh token, and whoever has a copy of it goes on.
func TestAttackASignOutThatEndsNothingIsTakenForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.signedUp("ann")
		a := s.appOf("ann")
		time.Sleep(5*time.Minute + time.Second)
		a.post("signout", nil).want(401, "jwt_expired")
		a.keep(s.refreshed(a.refreshToken).want(200))
		good := a.token
		a.token += "x"
		a.post("signout", nil).want(401, "jwt_invalid")
		a.token = good
		a.post("signout", nil).want(204)
		s.refreshed(a.refreshToken).want(401, "session_ended")
		a.post("signout", nil).want(204)

		k := s.boundAppOf("ann")
		k.post("signout", nil).want(401, "token_bound")
		time.Sleep(2 * time.Minute) // its nonce is old by then
		k.learn(k.post("signout", nil, k.proof).want(401, "use_dpop_nonce"))
		k.post("signout", nil, k.proof).want(204)
		k.post("refresh", m{"refresh_token": k.refreshToken}, k.proof).want(401, "session_ended")
	})
}

// unableToSignOut signs out with a JWT that does not count.
func unableToSignOut(code string) trial {
	return func(s *site) *reply {
		s.signedUp("ann")
		k, a := s.boundAppOf("ann"), s.appOf("ann")
		change := k.proof
		switch code {
		case "jwt_invalid":
			k.token += "x"
		case "token_bound":
			return k.post("signout", nil)
		case "token_unbound":
			k.token = a.token
		case "invalid_dpop_proof":
			change = func(r *http.Request) { k.proof(r); r.Header.Del("DPoP") }
		case "dpop_proof_replayed":
			k.post("signout", nil, k.proof, func(r *http.Request) {
				same := r.Header.Clone()
				change = func(r *http.Request) { r.Header = same }
			}).want(204)
		case "use_dpop_nonce":
			k.learn(&reply{header: http.Header{"Dpop-Nonce": {"old"}}})
		case "dpop_other_key":
			other := s.keyholder()
			other.token = k.token
			k, change = other, other.proof
		}
		return k.post("signout", nil, change)
	}
}

// Whoever asks a service shows it the token. A service that is hostile, or was
// broken into, has what its visitors' minutes-old sign-ins have proved.
func TestAttackAServiceTakesTheAccountWithTheTokenThatItIsShown(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Audiences = []string{"https://api.example.org", "http://localhost"} })
	s.administrator()
	owner := s.appOf("root")
	service := s.client()
	service.token = owner.token
	evil := m{"name": "evil", "scopes": []string{"admin"}, "never_expires": true}
	service.post("api-keys", evil).want(403, "jwt_for_services")
	service.do("PUT", "/api/v1/admin/users/root/roles/x", m{}).want(403, "jwt_for_services")
	service.do("DELETE", "/api/v1/user", m{"confirm": "root"}).want(403, "jwt_for_services")
	page := httptest.NewRequest("POST", "http://localhost/account/keys", strings.NewReader("name=evil&scope-profile=on&days=0"))
	page.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	page.Header.Set("Authorization", "Bearer "+owner.token)
	if r := service.send(page); bytes.Contains(r.body, []byte("adm_k_")) {
		t.Errorf("the page of API keys gave one out: %d", r.status)
	}

	// In a cookie it is no other, and as it is the session is good.
	service.token = ""
	service.post("api-keys", evil, func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: "admit-jwt-", Value: owner.token})
	}).want(403, "jwt_for_services")
	owner.get("session").want(200)
	owner.get("user").want(200)

	// The key of one that is bound no service has.
	k := s.boundAppOf("root")
	k.post("api-keys", m{"name": "mine", "scopes": []string{"profile"}}, k.proof).want(201)
	owner.post("signout", nil).want(204)
}
