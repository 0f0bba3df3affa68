package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/server"
)

// visit asks a page of the program around the server who the client is.
func (c *client) visit(h http.Handler) *reply {
	c.t.Helper()
	inside := c.site.handler
	defer func() { c.site.handler = inside }()
	c.site.handler = h
	r := httptest.NewRequest("GET", "http://localhost/own", nil)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	return c.send(r)
}

func TestAProgramAroundTheServerKnowsItsVisitors(t *testing.T) {
	s := newSite(t)
	s.run()
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := admit.FromContext(r.Context())
		fmt.Fprintf(w, "%v %v %s %v", ok, p.Guest(), p.Subject, p.Roles)
	})
	open := s.server.Visitors(own)
	closed := s.server.Visitors(authn.RequireRole("editor", own))

	nobody := s.client()
	if r := nobody.visit(open); string(r.body) != "false true  []" {
		t.Errorf("nobody is %s", r.body)
	}
	nobody.post("guest", m{}).want(201)
	if r := nobody.visit(open); string(r.body) != "true true  []" {
		t.Errorf("a guest is %s", r.body)
	}
	ann := s.signedUp("ann")
	id := ann.get("session").at("user.id")
	if r := ann.visit(open); string(r.body) != "true false "+id+" []" {
		t.Errorf("ann is %s", r.body)
	}
	for who, c := range map[string]*client{"nobody": s.client(), "a guest": nobody, "ann, no editor": ann} {
		if r := c.visit(closed); r.status != 401 && r.status != 403 {
			t.Errorf("%s may see what is for editors: %d", who, r.status)
		}
	}

	op, err := server.Connect(t.Context(), server.Config{Data: s.data})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	if err := op.GrantRole(t.Context(), "ann", "editor"); err != nil {
		t.Fatal(err)
	}
	if r := ann.visit(closed); r.status != 200 { // at once
		t.Errorf("an editor gets %d %s", r.status, r.body)
	}
	if u, err := s.server.User(t.Context(), id); err != nil || u.Identifiers[0].Value != "ann" {
		t.Errorf("the user is %+v, %v", u, err)
	}
	app := s.client()
	app.token = app.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200).at("token")
	if r := app.visit(closed); r.status != 200 {
		t.Errorf("an editor with a token gets %d %s", r.status, r.body)
	}
	if err := op.SetDisabled(t.Context(), "ann", true); err != nil {
		t.Fatal(err)
	}
	if r := ann.visit(open); string(r.body) != "false true  []" {
		t.Errorf("a disabled user is %s", r.body)
	}
	if r := app.visit(open); r.status != 401 {
		t.Errorf("a disabled user's token gets %d", r.status)
	}
	if _, err := s.server.User(t.Context(), "nobody"); admit.KindOf(err) != admit.NotFound {
		t.Errorf("nobody's user: %v", err)
	}
}

func TestInDevelopmentAProgramAroundTheServerSaysWhereLinksLead(t *testing.T) {
	s, err := server.New(t.Context(), server.Config{Data: t.TempDir(), Dev: true, PublicURL: "http://localhost:3000"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for what, link := range map[string]string{
		"the administrator's": s.Ready().SetupLink.Reveal(), "the inbox's": s.Ready().InboxURL.Reveal(),
	} {
		if !strings.HasPrefix(link, "http://localhost:3000/") {
			t.Errorf("%s link is %q", what, link)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "http://localhost:3000/api/v1/guest", nil))
	if cookie := w.Header().Get("Set-Cookie"); !strings.HasPrefix(cookie, "admit-3000=") {
		t.Errorf("the cookie of a guest is %q, want one of this port, for browsers do not keep ports apart", cookie)
	}
}
