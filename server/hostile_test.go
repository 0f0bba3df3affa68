package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/server/internal/web"
)

// More stories of attacks: on those who administer, and by a name or an address
// that was chosen for it.

// Mallory signs up with an address that begins with Bob's name and a slash. When
// she has misbehaved enough, the administrator deletes what it sees in its list.
func TestAttackAnAddressWithASlashTurnsAnAdministratorsHandOnSomebodyElse(t *testing.T) {
	s, root := administered(t)
	bob := s.signedUp("bob")
	const address = "bob/x@evil.example"
	mallory := s.byMail(address)
	named := "admin/users/" + url.PathEscape(address)
	if got := root.get(named).want(200).at("identifiers"); !strings.Contains(got, address) {
		t.Errorf("who is %s is %s", address, got)
	}
	root.do("PATCH", "/api/v1/"+named, m{"disabled": true}).want(200)
	bob.get("session").want(200)
	mallory.get("session").want(401, "session_ended")
	root.delete(named + "/sessions").want(204)
	root.do("PUT", "/api/v1/"+named+"/roles/guilty", nil).want(204)
	root.delete(named).want(204)
	bob.get("session").want(200)
	if roles := root.get("admin/users/bob").want(200).at("roles"); roles != "[]" {
		t.Errorf("Bob has the roles %s", roles)
	}
	root.get(named).want(404, "unknown_user")
}

// A user's id is known to every program that the user signs in to. Mallory takes
// Bob's for her own name: whoever is told to deal with her deals with Bob.
func TestAttackAUserNameIsAnotherUsersID(t *testing.T) {
	s := newSite(t)
	bob := s.signedUp("bob").get("session").want(200).at("user.id")
	mallory := s.client()
	mallory.post("signup", m{"identifier": bob, "password": goodPassword}).want(409, "identifier_taken")
	mallory = s.signedUp("mallory")
	mallory.post("identifiers", m{"identifier": strings.ToUpper(bob)}).want(409).field("identifier", "identifier_taken")
	s.server.Close()
	o := s.operator()
	if _, err := o.AddUser(t.Context(), server.NewUser{Identifiers: []string{"carol", bob}}); !errors.Is(err, admit.Conflict) {
		t.Errorf("a user is added under another one's id: %v", err)
	}
	// Nor is a name taken for an id.
	in := server.ImportedUser{User: server.User{User: web.User{ID: "mallory", Identifiers: []web.Identifier{{Value: "carol"}}}}}
	if _, err := o.ImportUser(t.Context(), in); !errors.Is(err, admit.Conflict) {
		t.Errorf("a user is imported whose id is another one's name: %v", err)
	}
	in.ID = "carol" // its own
	if _, err := o.ImportUser(t.Context(), in); err != nil {
		t.Errorf("a user is imported whose id is its name: %v", err)
	}
}

// Ann signs in with a user name and has no address yet. A thief who knows her
// password adds his own; she sees it and removes it, or says that it was not her.
func TestAttackTheThiefsAddressIsTheFirstOfAnAccountWithoutOne(t *testing.T) {
	s := newSite(t)
	s.run()
	owner := s.signedUp("ann")
	thief := s.another("ann", goodPassword)
	thief.addAddress("thief@example.org")
	owner.delete("identifiers/thief@example.org").want(204)
	if token := s.back("thief@example.org", "was removed"); token != "" {
		t.Error("the thief's address got a way back when the owner removed it")
	}

	thief.addAddress("thief@example.net")
	record := owner.get("activity").want(200).m["records"].([]any)[0].(m)
	owner.post(fmt.Sprint("activity/", record["id"], "/disown"), nil).want(204)
	if token := s.back("thief@example.net", "sessions were ended"); token != "" {
		t.Error("the thief's address got a way back when the owner said that it was not her")
	}
}

// An administrator has said that something was not done by it. Who did it knows
// the password, and is quicker to sign in.
func TestAttackAThiefAdministersBeforeTheOwnerHasANewPassword(t *testing.T) {
	s, root := administered(t)
	s.signedUp("bob")
	record := root.get("activity").want(200).m["records"].([]any)[0].(m)
	root.post(fmt.Sprint("activity/", record["id"], "/disown"), nil).want(204)
	thief := s.another("root", goodPassword)
	for _, c := range adminCalls(s) {
		thief.do(c[0], c[1], nil).want(403, "password_change_needed")
	}
	thief.get("session").want(200)
	thief.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
	thief.get("admin/users").want(200)
}

// Whoever has an account could write a record of the audit with each request,
// thousands a second, until the disk is full.
func TestAttackOneUserFillsTheAuditWithChangesOfItsName(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("mallory")
	last := 200
	for i := range 200 {
		if last = c.patch("user", m{"name": fmt.Sprint("Mallory ", i)}).status; last != 200 {
			break
		}
	}
	if last != 429 {
		t.Errorf("200 changes of a name are answered with %d at last, want 429", last)
	}
}

// A thief gives its browser a name that hides it in the owner's list of sessions.
func TestAttackADeviceTurnsTheLineItStandsInAround(t *testing.T) {
	s := newSite(t)
	owner := s.signedUp("ann")
	thief := s.client()
	thief.userAgent = "\u202eresworB ruoY\u2066\u200b\u00a0\u009b2J/1.0"
	thief.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	for _, path := range []string{"sessions", "activity", "user/export"} {
		if body := string(owner.get(path).want(200).body); !strings.Contains(body, "resworB ruoY2J/1.0") {
			t.Errorf("%s: %q", path, body)
		}
	}
}

// The name of a person is shown beside others': to administrators, in mail, by
// every program. One that turns the direction of the text around, or holds what
// nobody sees, makes a line say something else.
func TestAttackANameTurnsTheLineItStandsInAround(t *testing.T) {
	s := newSite(t)
	c := s.client()
	c.post("signup", m{"identifier": "mallory", "password": goodPassword, "name": "Mal\u202elory\u2066 \x00\x1b[2J\u009bO'Neil\u200f\u2028x"}).want(201)
	if got, want := c.get("session").want(200).at("user.name"), "Mallory [2JO'Neil x"; got != want {
		t.Errorf("the name is %q, want %q", got, want)
	}
	for _, name := range []string{"علی\u200cرضا", "👩\u200d💻 Ada", "ปราณี", "O’Neil", "李小龙"} {
		if got := c.patch("user", m{"name": name}).want(200).at("user.name"); got != name {
			t.Errorf("the name %q is kept as %q", name, got)
		}
	}
}

// A foreign page tries every call that changes something, with the session of an
// administrator who has just signed in, by every method that it has.
func TestAttackAForeignPageTriesEveryCallThatChangesSomething(t *testing.T) {
	s, root := administered(t)
	before, n := s.dump(), 0
	for _, path := range s.handler.(interface{ Paths() []string }).Paths() {
		path = strings.NewReplacer("{$}", "", "{user}", "root", "{role}", "admin", "{sid}", "x", "{value}", "root", "{id}", "1", "{token}", "x", "{code}", "x", "{file}", "x", "{name}", "x").Replace(path)
		for method := range strings.SplitSeq(s.client().do("BREW", path, nil).header.Get("Allow"), ", ") {
			if method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "" {
				continue
			}
			n++
			for what, sent := range map[string]func(*http.Request){
				"by a script":       evil,
				"of an old browser": from("https://evil.example"),
				"by a form of a page without an origin": func(r *http.Request) {
					r.Header.Set("Origin", "null")
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				},
				"with a method in a header": func(r *http.Request) {
					evil(r)
					r.Header.Set("X-HTTP-Method-Override", "GET")
				},
			} {
				if path == "/oauth/authorize" || path == "/oauth/logout" {
					// They are for pages of other sites, whose posts have no effect but to become a GET.
					r := root.page(method, path, url.Values{"client_id": {"shop"}, "scope": {"openid"}}, sent)
					if to := r.header.Get("Location"); r.status != 303 || !strings.HasPrefix(to, path+"?") || r.header["Set-Cookie"] != nil {
						t.Errorf("%s, %s: %d to %q", r.what, what, r.status, to)
					}
					continue
				}
				r := root.do(method, path, "{}", sent)
				want := []int{403}
				switch path {
				case "/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/userinfo", "/oauth/par", "/oauth/device":
					want = []int{400, 401} // they go by no cookie, and nobody has shown anything else
				}
				if !slices.Contains(want, r.status) {
					t.Errorf("%s, %s: %d %s, want %d", r.what, what, r.status, r.body, want)
				}
			}
		}
	}
	if n < 30 {
		t.Errorf("%d calls were tried", n)
	}
	same(t, before, s.dump())
}

// An image of a foreign page, a link in a mail, or a program that opens every
// link asks for any address, with the session of an administrator.
func TestAttackALinkChangesSomething(t *testing.T) {
	s, root := administered(t)
	root.byMail("bob@example.org")
	before := s.dump()
	for _, path := range s.handler.(interface{ Paths() []string }).Paths() {
		path = strings.NewReplacer("{$}", "", "{user}", "bob@example.org", "{role}", "admin", "{sid}", "x", "{value}", "root", "{id}", "1", "{token}", "x", "{code}", "x", "{file}", "x", "{name}", "x").Replace(path)
		for _, method := range []string{"GET", "HEAD"} {
			root.page(method, path, nil)
			root.page(method, path+"?reason=x&remove=root&primary=root&entry=1&confirm=root&locale=zh-CN&disabled=true", nil)
		}
	}
	same(t, before, s.dump())
	root.get("session").want(200)
}

// same compares what the tables hold, but for what is noted of a look.
func same(t *testing.T, before, after map[string]string) {
	t.Helper()
	for table, text := range before {
		if table != "audit" && table != "sessions" && text != after[table] {
			t.Errorf("%s held\n%s\nand holds\n%s", table, text, after[table])
		}
	}
}

// Half of the turns to hash are kept for browsers that are known. Mallory's is one,
// as soon as she has an account: with a right password, over and over, she would
// take them from everybody.
func TestAttackARightPasswordTakesEverybodysTurnsToHash(t *testing.T) {
	s := newSite(t)
	ann := s.signedUp("ann")
	mallory := s.signedUp("mallory")
	var refused atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			// Each with a browser of its own, that is known.
			c := s.client()
			for range 100 { // until it is refused, however fast a slow machine hashes
				c.jar = copied(mallory.jar)
				if r := c.post("signin", m{"identifier": "mallory", "password": goodPassword}); r.status == 429 {
					refused.Add(1)
					return
				}
			}
		})
	}
	all.Wait()
	if refused.Load() < 4 {
		t.Error("400 sign-ins in a row are taken")
	}
	mallory.post("signin", m{"identifier": "mallory", "password": goodPassword}).want(429, "guesses_spent")
	ann.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
}

// The link that makes the first administrator stands in a log. The administrator
// was made on the command line meanwhile.
func TestAttackTheSetUpLinkIsFoundInALog(t *testing.T) {
	s := newSite(t)
	s.run()
	_, link, _ := strings.Cut(s.server.Ready().SetupLink.Reveal(), "http://localhost")
	early, late := s.client(), s.client()
	early.page("GET", link, nil)
	if r := early.page("GET", "/link", nil); r.status != 200 {
		t.Fatalf("the link is answered with %d", r.status)
	}
	s.signedUp("root")
	if err := s.operator().GrantRole(t.Context(), "root", "admin"); err != nil {
		t.Fatal(err)
	}
	late.page("GET", link, nil)
	for _, thief := range []*client{early, late} {
		if r := thief.page("GET", "/link", nil); r.status != 401 {
			t.Errorf("the link is answered with %d", r.status)
		}
		thief.page("POST", "/link", url.Values{"identifier": {"mallory"}, "password": {goodPassword}})
		thief.get("session").want(401, "no_session")
	}
}

// A thief has a cookie, too old to change anything, and spends the budgets with
// which the owner would throw it out.
func TestAttackAStolenCookieSpendsTheBudgetsOfTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		owner := s.signedUp("ann")
		owner.post("identifiers", m{"identifier": "ann2"}).want(201)
		thief := s.client()
		thief.jar = copied(owner.jar)
		time.Sleep(11 * time.Minute)
		for range 30 {
			thief.delete("identifiers/ann2").want(401, "proof_needed")
			thief.post("activity/999/disown", nil).want(404, "unknown_record")
		}
		other := s.another("ann", goodPassword)
		other.delete("identifiers/ann2").want(204)
		record := other.get("activity").want(200).m["records"].([]any)[0].(m)
		other.post(fmt.Sprint("activity/", record["id"], "/disown"), nil).want(204)
		s.server.Close()
	})
}

// As with names: each is a record that is kept for long.
func TestAttackOneUserFillsTheAuditWithWhatChangesNothing(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("mallory")
	before := len(s.dump()["audit"])
	for range 50 {
		c.delete("sessions").want(204)
	}
	if after := len(s.dump()["audit"]); after != before {
		t.Errorf("the audit has grown by %d bytes", after-before)
	}
	last := 200
	for range 50 {
		last = c.get("user/export").status
	}
	if last != 429 {
		t.Errorf("50 exports are answered with %d at last, want 429", last)
	}
}

// A thief has the password and changes it: the owner is shut out, and there is
// nothing that it would notice.
func TestAttackAThiefChangesThePassword(t *testing.T) {
	s := newSite(t)
	s.run()
	owner := s.byMail("ann@example.org")
	thief := s.another("ann@example.org", goodPassword)
	thief.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
	owner.get("session").want(401, "session_ended")
	owner.post("signin", m{"identifier": "ann@example.org", "password": goodPassword}).want(401, "bad_credentials")

	token := s.back("ann@example.org", "Your password was changed")
	const again = "yet another horse and battery"
	owner.post("identifiers/restore", m{"token": token, "new_password": again}).want(204)
	thief.get("session").want(401, "session_ended")
	thief.post("signin", m{"identifier": "ann@example.org", "password": otherPassword}).want(401, "bad_credentials")
	owner.post("signin", m{"identifier": "ann@example.org", "password": again}).want(200)
}
