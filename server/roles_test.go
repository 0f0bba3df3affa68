package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
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
