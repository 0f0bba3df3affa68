package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/admit-auth/admit/server"
)

// enrols calls the address where applications register themselves, or one's own.
func (s *site) enrols(method, at, bearer string, body any) (m, *httptest.ResponseRecorder) {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	r := httptest.NewRequest(method, at, strings.NewReader(string(text)))
	r.Host, r.RemoteAddr = "localhost", "127.0.0.1:4711"
	r.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	a := m{}
	if w.Code != http.StatusNoContent {
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil && w.Code != http.StatusNotFound {
			s.t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
	}
	return a, w
}

func registrationBy(who string) func(*server.Config) {
	return func(c *server.Config) { c.Registration = who }
}

var stranger = m{
	"client_name": "The Shop", "client_uri": "https://shop.example.net/about", "redirect_uris": []string{shopBack}, "token_endpoint_auth_method": "none",
	"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid email offline_access",
}

func TestNobodyRegistersUnlessItIsSwitchedOn(t *testing.T) {
	s := newSite(t)
	if _, w := s.enrols("POST", "/oauth/register", "", stranger); w.Code != 404 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if r := s.client().page("GET", "/.well-known/openid-configuration", nil).want(200); strings.Contains(string(r.body), "registration_endpoint") {
		t.Error("it is named")
	}
}

func TestPeopleAreToldThatNobodyKnowsAStranger(t *testing.T) {
	s := newSite(t, registrationBy("open"))
	a, w := s.enrols("POST", "/oauth/register", "", stranger)
	if w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	id := a["client_id"].(string)
	ann := s.signedUp("ann")
	page := ann.page("GET", appAsks("client_id", id), nil).want(200)
	page.says("Nobody here has checked who is behind this app", "shop.example.net")
	if strings.Contains(string(page.body), "/about") {
		t.Error("a stranger's page is linked to")
	}
	if to := ann.decides(page, "allow").target(); to.Query().Get("code") == "" {
		t.Errorf("it leads to %s", to)
	}
	ann.page("GET", "/account/apps", nil).want(200).says("nobody has checked it")
	root := s.administrator()
	if c := root.get("admin/clients/" + id).want(200); c.m["unverified"] != true {
		t.Errorf("an administrator sees %s", c.body)
	}
	root.do("PATCH", "/api/v1/admin/clients/"+id, m{"first_party": true}).want(400, "invalid_client_metadata")
	root.do("PATCH", "/api/v1/admin/clients/"+id, m{"verified": true}).want(200)
	if r := ann.page("GET", appAsks("client_id", id, "prompt", "consent"), nil).want(200); strings.Contains(string(r.body), "Nobody here has checked") {
		t.Error("people are told so after somebody has looked at it")
	}
	if _, w := s.enrols("GET", "/oauth/register?client_id="+id, a["registration_access_token"].(string), nil); w.Code != 401 {
		t.Errorf("it still looks after itself: %d", w.Code)
	}
	for _, event := range []string{"client_registered", "client_changed"} {
		if r := root.get("admin/audit?event=" + event).want(200); !strings.Contains(string(r.body), id) {
			t.Errorf("the audit has no %s: %s", event, r.body)
		}
	}
}

// Whoever has a stranger's client as it was looked at would make of it what he likes.
func TestWhatAnAdministratorHasSaidOfAClientItChangesNoMore(t *testing.T) {
	s := newSite(t, registrationBy("open"))
	root := s.administrator()
	a, _ := s.enrols("POST", "/oauth/register", "", stranger)
	id, own := a["client_id"].(string), a["registration_access_token"].(string)
	at := "/oauth/register?client_id=" + id
	root.do("PATCH", "/api/v1/admin/clients/"+id, m{"disabled": true}).want(200)
	if _, w := s.enrols("DELETE", at, own, nil); w.Code != 401 {
		t.Errorf("a disabled one goes: %d", w.Code)
	}
	root.do("PATCH", "/api/v1/admin/clients/"+id, m{"disabled": false}).want(200)
	if _, w := s.enrols("GET", at, own, nil); w.Code != 200 {
		t.Errorf("an enabled one looks after itself: %d", w.Code)
	}
	root.do("PATCH", "/api/v1/admin/clients/"+id, m{"scopes": []string{"openid"}}).want(200)
	if _, w := s.enrols("PUT", at, own, stranger); w.Code != 401 {
		t.Errorf("one whose scopes were taken away asks for them: %d", w.Code)
	}
	if c := root.get("admin/clients/" + id).want(200); c.m["unverified"] != true {
		t.Errorf("it is %s", c.body)
	}
}

func TestAnInviteOfAnOperatorRegistersWhatItSays(t *testing.T) {
	s := newSite(t, registrationBy("token"))
	s.run()
	if a, w := s.enrols("POST", "/oauth/register", "", stranger); w.Code != 401 || a["error"] != "invalid_token" {
		t.Errorf("a stranger: %d %s", w.Code, w.Body)
	}
	o := s.operator()
	i, err := o.InviteClients(t.Context(), server.NewInvite{Name: "the shop", GrantTypes: []string{"authorization_code", "refresh_token"}, Scopes: []string{"openid", "offline_access", "orders"}})
	if err != nil {
		t.Fatal(err)
	}
	in := m{}
	for k, v := range stranger {
		in[k] = v
	}
	delete(in, "scope")
	a, w := s.enrols("POST", "/oauth/register", i.Token, in)
	if w.Code != 201 || a["scope"] != "openid offline_access orders" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if _, w := s.enrols("POST", "/oauth/register", i.Token, in); w.Code != 401 {
		t.Errorf("it is used twice: %d", w.Code)
	}
	c, err := o.Client(t.Context(), a["client_id"].(string))
	if err != nil || c.Unverified || c.Invite != i.ID || c.SigningAlg != "RS256" {
		t.Errorf("%+v, %v", c, err)
	}
	ann := s.signedUp("ann")
	page := ann.page("GET", appAsks("client_id", c.ID, "scope", "openid"), nil).want(200)
	if strings.Contains(string(page.body), "Nobody here has checked") {
		t.Error("an invited one counts as a stranger")
	}
	all, err := o.ClientInvites(t.Context())
	if err != nil || len(all) != 1 || all[0].Uses != 0 || all[0].Token != "" {
		t.Errorf("the invites are %+v, %v", all, err)
	}
	if err := o.EndClientInvite(t.Context(), i.ID); err != nil {
		t.Error(err)
	}
}

// One address registers without an end, and many do.
func TestAttackStrangersFloodTheServerWithClients(t *testing.T) {
	s := newSite(t, registrationBy("open"))
	s.run()
	last := 0
	for range 12 {
		_, w := s.enrols("POST", "/oauth/register", "", stranger)
		if last = w.Code; last == 429 {
			if w.Header().Get("Retry-After") == "" {
				t.Error("nobody is told when to come again")
			}
			break
		}
	}
	if last != 429 {
		t.Errorf("the last of 12 is answered %d", last)
	}
	all, err := s.operator().Clients(t.Context(), "", 100)
	if err != nil || len(all) != 10 {
		t.Errorf("there are %d clients, %v", len(all), err)
	}
}
