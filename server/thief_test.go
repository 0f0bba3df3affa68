package server_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// What is answered with 204 has ended. A client that is told so throws away its
// refresh token, and whoever has a copy of it goes on.
func TestAttackASignOutThatEndsNothingIsTakenForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.signedUp("ann")
		a := s.appOf("ann")
		browser := s.client()
		inCookie := browser.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "jwt", "cookie": true}).want(200).at("refresh_token")
		time.Sleep(5*time.Minute + time.Second)
		a.post("signout", nil).want(401, "jwt_expired")
		browser.post("signout", nil)
		_ = inCookie
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
