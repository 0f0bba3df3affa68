package server_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/authn"
)

func TestAProofReachesAJWTWithTheNextRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.signedUp("ann")
		a := s.appOf("ann")
		own := s.server.Visitors(authn.RequireProof("1fa", 5*time.Minute, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		begun := claims(t, a.token)["auth_time"]
		if acr := claims(t, a.token)["acr"]; acr != "1fa" {
			t.Errorf("acr is %v", acr)
		}
		if r := a.visit(own); r.status != 200 {
			t.Errorf("just signed in: %d %s", r.status, r.body)
		}
		time.Sleep(11 * time.Minute)
		a.keep(s.refreshed(a.refreshToken).want(200))
		if at := claims(t, a.token)["auth_time"]; at != begun {
			t.Errorf("a refresh moved the proof from %v to %v", begun, at)
		}
		a.get("user/export").want(401, "proof_needed")
		if r := a.visit(own); r.status != 401 || r.header.Get("WWW-Authenticate") != `Bearer error="insufficient_user_authentication", `+
			`error_description="A more recent or a stronger proof of the user is needed", acr_values="1fa 2fa phr", max_age="300"` {
			t.Errorf("an old proof: %d %s", r.status, r.header.Get("WWW-Authenticate"))
		}
		a.post("reauthenticate", m{"password": otherPassword}).want(403).field("password", "bad_password")
		r := a.post("reauthenticate", m{"password": goodPassword}).want(200)
		if at, err := time.Parse(time.RFC3339, r.at("session.auth_time")); err != nil || time.Since(at) > time.Second || r.at("token") != "" {
			t.Errorf("%s", r.body)
		}
		// A JWT that was stolen before is not raised along.
		a.get("user/export").want(401, "proof_needed")
		a.keep(s.refreshed(a.refreshToken).want(200))
		if at := claims(t, a.token)["auth_time"]; at == begun {
			t.Errorf("auth_time is still %v", at)
		}
		a.get("user/export").want(200)
		if r := a.visit(own); r.status != 200 {
			t.Errorf("after the proof: %d %s", r.status, r.body)
		}
		a.post("approvals/redeem", m{"approval": a.approved("transfer", transfer("1")), "action": "transfer", "params": transfer("1")}).want(204)
	})
}
