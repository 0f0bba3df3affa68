package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/revocation"
)

// editors is a page of a program around the server, for those with a role.
func (s *site) editors() http.Handler {
	return s.server.Visitors(authn.RequireRole("editor", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := admit.FromContext(r.Context())
		w.Write([]byte(p.SID))
	})))
}

func TestARoleIsGoneWithTheNextRequestAndTheSessionLives(t *testing.T) {
	s, root := administered(t)
	h := s.editors()
	ann := s.signedUp("ann")
	app := s.client()
	app.token = app.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200).at("token")
	for range 3 {
		for name, c := range map[string]*client{"a cookie": ann, "a token": app} {
			if r := c.visit(h); r.status != 403 || !strings.Contains(string(r.body), `"code":"role_needed"`) {
				t.Errorf("%s without the role: %d %s", name, r.status, r.body)
			}
		}
		root.do("PUT", "/api/v1/admin/users/ann/roles/editor", nil).want(204)
		for name, c := range map[string]*client{"a cookie": ann, "a token": app} {
			sid := c.get("session").want(200).at("session.sid")
			if r := c.visit(h); r.status != 200 || string(r.body) != sid {
				t.Errorf("%s with the role: %d %s", name, r.status, r.body)
			}
			if roles := c.get("session").at("user.roles"); roles != "[editor]" {
				t.Errorf("%s has roles %s", name, roles)
			}
		}
		root.delete("admin/users/ann/roles/editor").want(204)
		ann.get("session").want(200)
		app.get("session").want(200)
	}
}

// The promise: a role that was taken is dead in every JWT in less than a second,
// and nobody signs in again.
func TestARevokedRoleMakesJWTsStaleInLessThanASecondAndTheNextRefreshCarriesTheNewSet(t *testing.T) {
	s, root := administered(t)
	s.signedUp("ann")
	root.do("PUT", "/api/v1/admin/users/ann/roles/editor", nil).want(204)
	a, other := s.appOf("ann"), s.appOf("ann")

	service := revocation.New(nil) // somewhere else, as far as it knows
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go service.Run(ctx, s.server.Feed())
	judge := func(jwt string) error {
		c := claims(t, jwt)
		text := func(name string) string { v, _ := c[name].(string); return v }
		d := revocation.IDs{
			Session: text("sid"), Grant: text("gid"), Token: text("jti"), Subject: text("sub"), SEV: uint64(c["sev"].(float64)),
		}.Digest()
		return service.Check(&d, time.Now())
	}
	within := func(limit time.Duration, what string, good func() bool) time.Duration {
		t.Helper()
		begun := time.Now()
		for !good() {
			if time.Since(begun) > limit {
				t.Fatalf("%s: not within %v", what, limit)
			}
			time.Sleep(time.Millisecond)
		}
		return time.Since(begun)
	}
	within(10*time.Second, "the feed is heard", func() bool { return judge(a.token) == nil })

	h := s.editors()
	for n := range 10 {
		old, of := a.token, []string{"editor"}
		if n%2 == 1 {
			of = []string{}
		}
		sid := a.get("session").want(200).at("session.sid")
		if got, want := fmt.Sprint(claims(t, old)["roles"]), fmt.Sprint(of); got != want && got != "<nil>" {
			t.Fatalf("%d: the JWT has the roles %s, want %s", n, got, want)
		}
		if n%2 == 0 {
			if r := a.visit(h); r.status != 200 {
				t.Fatalf("%d: an editor gets %d", n, r.status)
			}
			root.delete("admin/users/ann/roles/editor").want(204)
		} else {
			root.do("PUT", "/api/v1/admin/users/ann/roles/editor", nil).want(204)
		}
		a.get("session").want(401, "stale_claims") // here with the very next request
		if r := a.visit(h); r.status != 401 || !strings.Contains(string(r.body), `"code":"stale_claims"`) {
			t.Errorf("%d: a stale JWT gets %d %s", n, r.status, r.body)
		}
		took := within(time.Second, "a service refuses the JWT", func() bool { return errors.Is(judge(old), revocation.ErrStaleClaims) })
		t.Logf("%d: a service heard it %v after the answer", n, took)
		a.keep(s.refreshed(a.refreshToken).want(200))
		if err := judge(a.token); err != nil {
			t.Errorf("%d: the next JWT at a service: %v", n, err)
		}
		if now := a.get("session").want(200); now.at("session.sid") != sid {
			t.Errorf("%d: the session was %s, and is %s", n, sid, now.at("session.sid"))
		}
		if r := a.visit(h); (r.status == 200) != (n%2 == 1) {
			t.Errorf("%d: with the next JWT an editor's page is %d", n, r.status)
		}
	}
	other.keep(s.refreshed(other.refreshToken).want(200)) // ten changes later, no sign-in
	other.get("session").want(200)
}
