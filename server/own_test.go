package server_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/server/internal/web"
)

// byMail is a client who has signed up with an e-mail address.
func (s *site) byMail(address string) *client {
	s.t.Helper()
	c := s.client()
	flow := c.post("signup", m{"identifier": address, "password": goodPassword}).want(202).at("flow")
	code, _, _ := s.mailTo(address)
	c.post("signup/verify", m{"flow": flow, "code": code}).want(200)
	return c
}

// another is a browser in which the same user signs in.
func (s *site) another(identifier, password string) *client {
	s.t.Helper()
	c := s.client()
	c.post("signin", m{"identifier": identifier, "password": password}).want(200)
	return c
}

func (c *client) patch(path string, body any) *reply { return c.do("PATCH", "/api/v1/"+path, body) }

// values are what the client signs in with, the primary one marked.
func (c *client) values() string {
	c.t.Helper()
	var all []string
	list, _ := c.get("identifiers").want(200).m["identifiers"].([]any)
	for _, each := range list {
		id := each.(m)
		mark := ""
		if id["primary"] == true {
			mark = "*"
		}
		all = append(all, fmt.Sprint(id["value"])+mark)
	}
	return strings.Join(all, " ")
}

// addAddress adds and proves an address.
func (c *client) addAddress(address string) {
	c.t.Helper()
	flow := c.post("identifiers", m{"identifier": address}).want(202).at("flow")
	code, _, _ := c.mailTo(address)
	c.post("identifiers/verify", m{"flow": flow, "code": code}).want(200)
}

// A letter is a mail as the inbox shows it.
type letter struct {
	To, Code, Subject, Text string
	Links                   []string
}

// letter is the last mail to an address with this in its subject, waiting for the
// delivery that Run does.
func (s *site) letter(address, subject string) letter {
	s.t.Helper()
	c := s.client()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var in struct{ Messages []letter }
		r := c.page("GET", "/dev/inbox.json?key="+devKey, nil)
		if err := json.Unmarshal(r.body, &in); err != nil {
			s.t.Fatalf("%s: %d %s", r.what, r.status, r.body)
		}
		for _, l := range in.Messages {
			if l.To == address && strings.Contains(l.Subject, subject) {
				return l
			}
		}
	}
	s.t.Fatalf("no mail %q to %s", subject, address)
	return letter{}
}

// back returns the token of the way back in such a mail, "" if it has none.
func (s *site) back(address, subject string) string {
	s.t.Helper()
	_, token, _ := strings.Cut(s.letter(address, subject).Links[0], "/link/")
	return token
}

// copied is a jar with what another one holds now.
func copied(jar http.CookieJar) http.CookieJar {
	u := &url.URL{Scheme: "http", Host: "localhost"}
	c, _ := cookiejar.New(nil) // nil options do not fail
	c.SetCookies(u, jar.Cookies(u))
	return c
}

// dump is what the tables of the database hold, as text.
func (s *site) dump() map[string]string {
	s.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.data, "admit.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	all := map[string]string{}
	for _, table := range []string{"users", "user_roles", "identifiers", "credentials", "challenges", "audit", "outbox", "sessions"} {
		rows, err := db.Query("SELECT * FROM " + table)
		if err != nil {
			s.t.Fatal(err)
		}
		columns, _ := rows.Columns()
		for rows.Next() {
			values := make([]sql.RawBytes, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				s.t.Fatal(err)
			}
			for _, v := range values {
				all[table] += string(v) + "|"
			}
			all[table] += "\n"
		}
		if err := rows.Err(); err != nil {
			s.t.Fatal(err)
		}
	}
	return all
}

func TestAPersonChangesNameAndLanguage(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	r := c.patch("user", m{"name": "  Ann   Lee "}).want(200)
	if r.at("user.name") != "Ann Lee" || r.at("user.locale") != "en" {
		t.Errorf("%s", r.body)
	}
	r = c.patch("user", m{"locale": "zh-CN"}).want(200)
	if r.at("user.name") != "Ann Lee" || r.at("user.locale") != "zh-CN" {
		t.Errorf("%s", r.body)
	}
	c.patch("user", m{"locale": "fr"}).want(400).field("locale", "locale_unsupported")
	c.patch("user", m{"name": strings.Repeat("a", 201)}).want(400).field("name", "name_too_long")
	c.patch("user", m{"roles": []string{"admin"}}).want(400).field("roles", "unknown_field")
	if got := c.get("user").want(200).at("user.name"); got != "Ann Lee" {
		t.Errorf("the name is %q", got)
	}
	s.client().get("user").want(401, "no_session")
	c.page("POST", "/account", url.Values{"name": {"Ann"}}).leads("/account")
	c.page("GET", "/account", nil).want(200).says("Saved.", `value="Ann"`)
	c.page("POST", "/account", url.Values{"locale": {"en"}}).leads("/account")
	if got := c.get("user").at("user.locale"); got != "en" {
		t.Errorf("the language is %q", got)
	}
}

func TestWhatIsSensitiveNeedsARecentProof(t *testing.T) {
	synctest.Test(t, whatIsSensitive)
}

func whatIsSensitive(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	c.post("identifiers", m{"identifier": "ann.lee"}).want(201)
	time.Sleep(11 * time.Minute)
	for _, r := range []*reply{
		c.post("identifiers", m{"identifier": "other"}),
		c.post("identifiers/ann/primary", nil),
		c.delete("identifiers/ann"),
		c.get("user/export"),
		c.do("DELETE", "/api/v1/user", m{"confirm": "ann"}),
	} {
		if r.status != 401 || r.m["code"] != "proof_needed" || r.m["hint"] == nil {
			t.Errorf("%s: %d %s", r.what, r.status, r.body)
		}
	}
	c.page("GET", "/account/export", nil).leads("/account/confirm?return_to=%2Faccount%2Fexport")
	c.page("POST", "/account/identifiers", url.Values{"identifier": {"other"}}).leads("/account/confirm?return_to=%2Faccount%2Fidentifiers")
	c.page("GET", "/account/confirm?return_to=%2Faccount%2Fidentifiers", nil).want(200).says(`name="return_to" value="/account/identifiers"`, `autocomplete="current-password"`)
	c.page("POST", "/account/confirm", url.Values{"password": {otherPassword}, "return_to": {"/account/identifiers"}}).want(403).says("The current password is wrong.")
	before := c.get("session").want(200)
	stolen := *c
	stolen.jar = copied(c.jar)
	c.page("POST", "/account/confirm", url.Values{"password": {goodPassword}, "return_to": {"/account/identifiers"}}).leads("/account/confirm/asked")
	// Nothing is typed twice, and nothing has happened before it is asked for again.
	if got := c.values(); got != "ann* ann.lee" {
		t.Errorf("names are %s", got)
	}
	c.page("GET", "/account/confirm/asked", nil).want(200).says(`action="/account/identifiers"`, `name="identifier" value="other"`, "Add other")
	c.page("GET", "/account/confirm/asked", nil).leads("/account")
	after := c.get("session").want(200)
	if before.at("session.sid") != after.at("session.sid") || before.at("session.auth_time") >= after.at("session.auth_time") {
		t.Errorf("%s became %s", before.body, after.body)
	}
	// What was stolen before the proof is not raised along with it.
	if r := stolen.get("user/export").want(401, "session_ended"); r.at("reason") != "proved_again" {
		t.Errorf("%s", r.body)
	}
	c.post("identifiers", m{"identifier": "other"}).want(201)

	// What one user asked for is not done by the next one in the same browser.
	time.Sleep(11 * time.Minute)
	c.page("POST", "/account/identifiers", url.Values{"remove": {"other"}}).leads("/account/confirm?return_to=%2Faccount%2Fidentifiers")
	c.post("signout", nil).want(204)
	c.post("signup", m{"identifier": "bob", "password": goodPassword}).want(201)
	c.page("GET", "/account/confirm/asked", nil).leads("/account")
	c.page("POST", "/account/confirm", url.Values{"password": {goodPassword}, "return_to": {"/account/identifiers"}}).leads("/account/identifiers")
}

func TestAClientWithATokenProvesAgainAndGetsItsNextToken(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	c := s.client()
	c.token = c.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200).at("token")
	c.post("reauthenticate", m{"password": otherPassword}).want(403).field("password", "bad_password")
	next := c.post("reauthenticate", m{"password": goodPassword}).want(200).at("token")
	if next == "" || next == c.token {
		t.Fatalf("token %q", next)
	}
	c.get("session").want(401, "session_ended")
	c.token = next
	c.get("session").want(200)
	for range 30 {
		if r := c.post("reauthenticate", m{"password": otherPassword}); r.status == 429 {
			return
		}
	}
	t.Error("a session may guess at its password without end")
}

func TestNamesAreAddedProvedMadePrimaryAndRemoved(t *testing.T) {
	s := newSite(t)
	s.run()
	s.signedUp("taken")
	c := s.signedUp("ann")
	c.delete("identifiers/ann").want(409, "last_identifier")
	c.post("identifiers", m{"identifier": "taken"}).want(409).field("identifier", "identifier_taken")
	c.post("identifiers", m{"identifier": "ann"}).want(409).field("identifier", "identifier_yours")
	c.post("identifiers", m{"identifier": "+4912345"}).want(400).field("identifier", "phone_malformed")
	c.post("identifiers", m{"identifier": "Ann.Lee"}).want(201)
	c.post("identifiers", m{"identifier": "verify"}).want(201)
	c.delete("identifiers/verify").want(204)
	c.addAddress("ann/x@example.org")
	if got := c.values(); got != "ann* ann.lee ann/x@example.org" {
		t.Fatalf("names are %s", got)
	}
	c.post("identifiers/"+url.PathEscape("ann/x@example.org")+"/primary", nil).want(200)
	c.delete("identifiers/"+url.PathEscape("ann/x@example.org")).want(409, "identifier_primary")
	c.delete("identifiers/ann").want(204)
	c.delete("identifiers/ann").want(404, "unknown_identifier")
	if got := c.values(); got != "ann.lee ann/x@example.org*" {
		t.Errorf("names are %s", got)
	}
	s.another("ann/x@example.org", goodPassword)
	s.client().post("signin", m{"identifier": "ann", "password": goodPassword}).want(401, "bad_credentials")
}

func TestAUserSignsInWithTenNamesAtMost(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	for n := range 9 {
		c.post("identifiers", m{"identifier": fmt.Sprintf("more%d", n)}).want(201)
	}
	c.post("identifiers", m{"identifier": "more9"}).want(409).field("identifier", "too_many_identifiers")
}

func TestAnAddressIsProvedInTheBrowserThatAskedAndByItsUserOnly(t *testing.T) {
	s := newSite(t)
	s.run()
	c := s.byMail("ann@example.org")
	c.page("POST", "/account/identifiers", url.Values{"identifier": {"new@example.org"}}).leads("/account/identifiers/verify")
	c.page("GET", "/account/identifiers/verify", nil).want(200).says("new@example.org")
	code, link, _ := s.mailTo("new@example.org")
	path := strings.TrimPrefix(link, "http://localhost")
	// A scanner opens it, and so does the same person elsewhere: nothing happens.
	other := s.another("ann@example.org", goodPassword)
	other.page("GET", path, nil).leads("/link")
	other.page("GET", "/link", nil).want(200).says(code)
	other.page("POST", "/link", url.Values{}).want(401)
	if got := c.values(); got != "ann@example.org*" {
		t.Fatalf("names are %s", got)
	}
	c.page("POST", "/account/identifiers/verify", url.Values{"code": {wrong(code)}}).want(401).says("This code is wrong.")
	c.page("GET", path, nil).leads("/link")
	c.page("GET", "/link", nil).want(200).says("One press adds new@example.org")
	c.page("POST", "/link", url.Values{}).leads("/account/identifiers")
	c.page("GET", "/account/identifiers", nil).want(200).says("new@example.org")
	if got := c.values(); got != "ann@example.org* new@example.org" {
		t.Errorf("names are %s", got)
	}
	// Somebody else's flow is nobody's.
	bob := s.signedUp("bob")
	flow := c.post("identifiers", m{"identifier": "third@example.org"}).want(202).at("flow")
	code, _, _ = s.mailTo("third@example.org")
	bob.post("identifiers/verify", m{"flow": flow, "code": code}).want(401, "flow_ended")
	s.client().post("signup/verify", m{"flow": flow, "code": code}).want(401, "flow_ended")
	c.post("identifiers/verify", m{"flow": flow, "code": code}).want(200)
}

func wrong(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

// Somebody who wants to know who has an account adds addresses to his own.
func TestAttackAddingAnAddressTellsNotWhoHasAnAccount(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	took := map[string][]time.Duration{}
	texts := map[string]bool{}
	random := regexp.MustCompile(`adm_o_\w+`)
	for n := range 7 { // as often as the budgets allow for one address, and from two accounts
		mallory := s.signedUp(fmt.Sprintf("mallory%d", n))
		for _, address := range []string{"ann@example.org", fmt.Sprintf("nobody%d@example.org", n)} {
			begun := time.Now()
			r := mallory.post("identifiers", m{"identifier": address})
			if r.status == 429 && address == "ann@example.org" && n >= 3 {
				continue // anybody's mail is bounded, taken or not
			}
			r.want(202)
			kind := address[:3]
			took[kind] = append(took[kind], time.Since(begun))
			texts[random.ReplaceAllString(string(r.body), "…")] = true
		}
	}
	if len(texts) != 1 {
		t.Errorf("the answers differ: %v", texts)
	}
	median := func(kind string) time.Duration {
		slices.Sort(took[kind])
		return took[kind][len(took[kind])/2]
	}
	// A write to disk each; what is generous here is still far less than a look
	// that saves one.
	if a, b := median("ann"), median("nob"); a > 4*b+5*time.Millisecond || b > 4*a+5*time.Millisecond {
		t.Errorf("it takes %v for a taken address and %v for a free one", a, b)
	}
	s.back("ann@example.org", "has an account already")
}

// A thief who knows the password adds an address of his own, makes it primary and
// removes the owner's. The owner reads the mail.
func TestAttackAThiefWhoChangesTheAddressIsUndoneByTheWayBack(t *testing.T) {
	s := newSite(t)
	s.run()
	owner := s.byMail("ann@example.org")
	thief := s.another("ann@example.org", goodPassword)
	thief.addAddress("thief@example.org")
	thief.post("identifiers/thief@example.org/primary", nil).want(200)
	thief.delete("identifiers/ann@example.org").want(204)
	thief.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
	if r := owner.get("session").want(401, "session_ended"); r.at("reason") != "password_changed" {
		t.Errorf("%s", r.body)
	}
	owner.page("GET", "/signin", nil).want(200).says("because the password was changed")
	owner.post("signin", m{"identifier": "ann@example.org", "password": goodPassword}).want(401, "bad_credentials")

	token := s.back("ann@example.org", "was removed from your account")
	if token == "" {
		t.Fatal("the removed address got no way back")
	}
	// A scanner opens the link, twice. Nothing happens.
	scanner := s.client()
	for range 2 {
		scanner.page("GET", "/link/"+token, nil).leads("/link")
		scanner.page("GET", "/link", nil).want(200).says("Take your account back", "ann@example.org", "Nothing has happened yet.")
		thief.get("session").want(200)
	}
	owner.page("GET", "/link/"+token, nil).leads("/link")
	owner.page("POST", "/link", url.Values{"new_password": {"short"}}).want(400)
	owner.page("POST", "/link", url.Values{"new_password": {"a third password of mine"}}).leads("/signin")
	if r := thief.get("session").want(401, "session_ended"); r.at("reason") != "way_back_taken" {
		t.Errorf("%s", r.body)
	}
	for _, id := range []string{"thief@example.org", "ann@example.org"} {
		thief.post("signin", m{"identifier": id, "password": otherPassword}).want(401, "bad_credentials")
	}
	owner.post("signin", m{"identifier": "ann@example.org", "password": "a third password of mine"}).want(200)
	if got := owner.values(); got != "ann@example.org*" {
		t.Errorf("names are %s", got)
	}
	// It is good once, and no other way back outlives it.
	s.client().post("identifiers/restore", m{"token": token, "new_password": otherPassword}).want(401, "way_back_ended")
	if first := s.back("ann@example.org", "A new name can sign in"); first != "" {
		s.client().post("identifiers/restore", m{"token": first, "new_password": otherPassword}).want(401, "way_back_ended")
	}
}

// The thief keeps the mailbox that he added, and waits for the owner to remove it.
func TestAttackTheThiefsOwnAddressGetsNoWayBack(t *testing.T) {
	s := newSite(t)
	s.run()
	owner := s.byMail("ann@example.org")
	thief := s.another("ann@example.org", goodPassword)
	thief.addAddress("thief@example.org")
	thief.post("identifiers/thief@example.org/primary", nil).want(200)
	// And back, so that his is the old address.
	thief.post("identifiers/ann@example.org/primary", nil).want(200)
	if token := s.back("thief@example.org", "another primary name"); token != "" {
		t.Error("the thief's address got a way back when it was no longer primary")
	}
	owner.delete("identifiers/thief@example.org").want(204)
	if token := s.back("thief@example.org", "was removed"); token != "" {
		t.Error("the thief's address got a way back when it was removed")
	}
}

func TestParallelChangesLeaveOnePrimaryAndAWayToSignIn(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	for _, name := range []string{"ann1", "ann2", "ann3"} {
		c.post("identifiers", m{"identifier": name}).want(201)
	}
	var wg sync.WaitGroup
	for _, name := range []string{"ann", "ann1", "ann2", "ann3"} {
		mine := s.another("ann", goodPassword)
		wg.Go(func() {
			for range 2 {
				if r := mine.post("identifiers/"+name+"/primary", nil); r.status >= 500 {
					t.Errorf("%s: %d", r.what, r.status)
				}
			}
		})
		wg.Go(func() {
			if r := mine.delete("identifiers/" + name); r.status >= 500 {
				t.Errorf("%s: %d", r.what, r.status)
			}
		})
	}
	wg.Wait()
	values := c.values()
	if strings.Count(values, "*") != 1 {
		t.Errorf("names are %q", values)
	}
	s.another(strings.TrimSuffix(strings.Fields(values)[0], "*"), goodPassword)
}

func TestWhatIsRemovedIsNotBroughtBackByAProofUnderWay(t *testing.T) {
	s := newSite(t)
	s.run()
	c := s.signedUp("ann")
	c.addAddress("ann@example.org")
	flow := c.post("identifiers", m{"identifier": "new@example.org"}).want(202).at("flow")
	code, _, _ := s.mailTo("new@example.org")
	c.delete("identifiers/ann@example.org").want(204)
	c.post("identifiers/verify", m{"flow": flow, "code": code}).want(401, "flow_ended")
}

// An operator, or an import, gave one user an address that nobody proved.
func TestTheFirstProofTakesAnUnverifiedAddressAway(t *testing.T) {
	s := newSite(t)
	s.run()
	operator := s.operator()
	for _, names := range [][]string{{"squatter1@example.org"}, {"bob", "squatter2@example.org"}} {
		if _, err := operator.AddUser(t.Context(), server.NewUser{Identifiers: names, Password: admit.NewSecret(otherPassword)}); err != nil {
			t.Fatal(err)
		}
	}
	one, two := s.another("squatter1@example.org", otherPassword), s.another("bob", otherPassword)
	c := s.signedUp("ann")
	c.addAddress("squatter1@example.org")
	c.addAddress("squatter2@example.org")
	if got := c.values(); got != "ann* squatter1@example.org squatter2@example.org" {
		t.Fatalf("names are %s", got)
	}
	if r := one.get("session").want(401, "session_ended"); r.at("reason") != "first_proof_took_all" {
		t.Errorf("%s", r.body)
	}
	one.post("signin", m{"identifier": "squatter1@example.org", "password": otherPassword}).want(401, "bad_credentials")
	if got := two.values(); got != "bob*" {
		t.Errorf("bob's names are %s", got)
	}
}

// Mallory has an account in which an import put the victim's address, and
// prepares a way back before the victim comes.
func TestAttackAWayBackTakesNoAddressThatItsOwnerHasProvedSince(t *testing.T) {
	s := newSite(t)
	s.run()
	operator := s.operator()
	in := server.ImportedUser{User: server.User{User: web.User{Identifiers: []web.Identifier{{Value: "victim@example.org"}, {Value: "mallory@example.org", Verified: true}}}}}
	if _, err := operator.ImportUser(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if err := operator.SetPassword(t.Context(), "mallory@example.org", admit.NewSecret(otherPassword)); err != nil {
		t.Fatal(err)
	}
	mallory := s.another("mallory@example.org", otherPassword)
	mallory.post("identifiers", m{"identifier": "mallory2"}).want(201)
	token := s.back("mallory@example.org", "A new name can sign in")
	if token == "" {
		t.Fatal("there is no way back to attack with")
	}
	victim := s.byMail("victim@example.org")
	// Mallory's account stays his, without her address: what he takes back is his.
	mallory.post("identifiers/restore", m{"token": token, "new_password": goodPassword}).want(204)
	victim.get("session").want(200)
	if got := victim.values(); got != "victim@example.org*" {
		t.Errorf("names are %s", got)
	}
}

func TestWhoSaysThisWasNotMeMustChooseANewPassword(t *testing.T) {
	s := newSite(t)
	s.run()
	c := s.byMail("ann@example.org")
	thief := s.another("ann@example.org", goodPassword)
	r := c.get("activity?limit=1").want(200)
	entry := r.m["records"].([]any)[0].(m)
	if entry["event"] != "signed_in" || entry["text"] != "Signed in" || entry["sid"] == "" {
		t.Fatalf("%v", entry)
	}
	s.signedUp("bob").post("activity/"+fmt.Sprint(entry["id"])+"/disown", nil).want(404, "unknown_record")
	c.page("GET", "/account/activity", nil).want(200).says("This was not me")
	c.page("GET", "/account/activity/disown?entry="+fmt.Sprint(entry["id"]), nil).want(200).says("Signed in", "End all sessions")
	c.page("POST", "/account/activity/disown", url.Values{"entry": {fmt.Sprint(entry["id"])}}).leads("/signin")
	c.page("GET", "/signin", nil).want(200).says("All sessions have ended.")
	for _, each := range []*client{c, thief} {
		if r := each.get("session").want(401, "session_ended"); r.at("reason") != "disowned" {
			t.Errorf("%s", r.body)
		}
		each.page("GET", "/signin", nil).want(200).says("You were signed out because you told us")
	}
	c.page("POST", "/signin", url.Values{"identifier": {"ann@example.org"}, "password": {goodPassword}, "return_to": {"/account/data"}}).leads("/account/security")
	c.page("GET", "/account", nil).leads("/account/security")
	c.page("GET", "/account/security", nil).want(200).says("Choose a new password first", "ann@example.org")
	c.get("session").want(200)
	c.post("identifiers", m{"identifier": "other"}).want(403, "password_change_needed")
	c.page("POST", "/account/security", url.Values{"password": {goodPassword}, "new_password": {goodPassword}}).want(400).says("This is the password that you have now.")
	c.page("POST", "/account/security", url.Values{"password": {goodPassword}, "new_password": {otherPassword}}).leads("/account/security")
	c.page("GET", "/account", nil).want(200)
	c.post("identifiers", m{"identifier": "other"}).want(201)
	if s.back("ann@example.org", "All your sessions were ended") == "" {
		t.Error("the address got no way back")
	}
}

func TestActivityIsReadPageByPageInTheLanguageOfWhoAsks(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	for n := range 5 {
		c.patch("user", m{"name": fmt.Sprint("Ann ", n)}).want(200)
	}
	s.signedUp("bob")
	var ids []string
	for after := ""; ; {
		r := c.get("activity?limit=3" + after).want(200)
		for _, e := range r.m["records"].([]any) {
			ids = append(ids, fmt.Sprint(e.(m)["id"]))
		}
		if r.at("next") == "" {
			break
		}
		after = "&after=" + r.at("next")
	}
	if len(ids) != 7 || len(slices.Compact(slices.Clone(ids))) != 7 {
		t.Errorf("records %v", ids)
	}
	r := c.get("activity?limit=1", func(r *http.Request) { r.Header.Set("Accept-Language", "zh-CN") }).want(200)
	if got := r.m["records"].([]any)[0].(m)["text"]; got != "修改了名字或语言" {
		t.Errorf("the text is %v", got)
	}
	for _, q := range []string{"limit=0", "limit=201", "limit=x", "after=x", "after=-1"} {
		c.get("activity?"+q).want(400, "bad_parameter")
	}
}

func TestAPersonTakesItsDataAlong(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	r := c.get("user/export").want(200)
	if got := r.header.Get("Content-Disposition"); got != `attachment; filename="admit-account.json"` {
		t.Errorf("Content-Disposition %q", got)
	}
	if r.at("user.identifiers") == "" || len(r.m["sessions"].([]any)) != 1 || len(r.m["activity"].([]any)) < 2 {
		t.Errorf("%s", r.body)
	}
	if strings.Contains(string(r.body), "argon2") || strings.Contains(string(r.body), "adm_") {
		t.Error("an export holds a secret")
	}
	c.page("GET", "/account/export", nil).want(200)
	c.page("GET", "/account/data", nil).want(200).says("/account/export", "To delete it, type ann")
}

func TestADeletedAccountLeavesNothingThatTellsOfThePerson(t *testing.T) {
	s := newSite(t)
	s.run()
	c := s.byMail("ann@example.org")
	other := s.another("ann@example.org", goodPassword)
	id := c.get("user").at("user.id")
	c.addAddress("second@example.org")
	c.post("identifiers", m{"identifier": "third@example.org"}).want(202)
	s.client().post("signin/link", m{"identifier": "second@example.org"}).want(202)
	c.do("DELETE", "/api/v1/user", m{"confirm": "bob"}).want(400).field("confirm", "confirmation_wrong")
	c.page("POST", "/account/data", url.Values{"confirm": {" Ann@example.org"}}).leads("/")
	c.page("GET", "/", nil).want(200).says("Your account is deleted. Goodbye.", "/signup")
	for _, each := range []*client{c, other} {
		each.get("session").want(401)
	}
	s.letter("ann@example.org", "Your account is deleted")
	left := s.dump()
	for _, secret := range []string{id, "ann@example.org", "second@example.org", "third@example.org", "Firefox"} {
		for table, rows := range left {
			if strings.Contains(strings.ReplaceAll(rows, "e:"+id, ""), secret) {
				t.Errorf("%s still has %q:\n%s", table, secret, rows)
			}
		}
	}
	if !strings.Contains(left["audit"], "erased-") || !strings.Contains(left["audit"], "user_deleted") {
		t.Errorf("the audit says\n%s", left["audit"])
	}
}

func TestTheLastAdministratorCannotDeleteItself(t *testing.T) {
	s := newSite(t)
	s.run()
	operator := s.operator()
	ann, bob := s.signedUp("ann"), s.signedUp("bob")
	for _, name := range []string{"ann", "bob"} {
		if err := operator.GrantRole(t.Context(), name, "admin"); err != nil {
			t.Fatal(err)
		}
	}
	ann.do("DELETE", "/api/v1/user", m{"confirm": "ann"}).want(204)
	bob.do("DELETE", "/api/v1/user", m{"confirm": "bob"}).want(409, "last_admin")
	bob.get("session").want(200)
}

func TestTheHolderOfASessionLearnsWhyItEnded(t *testing.T) {
	s := newSite(t)
	s.run()
	operator := s.operator()
	c := s.signedUp("ann")
	for _, tt := range []struct {
		reason string
		end    func(sid string)
	}{
		{"ended_by_user", func(sid string) { c.delete("sessions/" + sid).want(204) }},
		{"ended_by_user", func(string) { c.delete("sessions").want(204) }},
		{"password_changed", func(string) {
			c.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
			c.post("password/change", m{"password": otherPassword, "new_password": goodPassword}).want(204)
		}},
		{"ended_by_operator", func(sid string) {
			if err := operator.EndSession(t.Context(), sid); err != nil {
				t.Fatal(err)
			}
		}},
		{"ended_by_operator", func(string) {
			if _, err := operator.EndAll(t.Context(), "ann"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		other := s.another("ann", goodPassword)
		tt.end(other.get("session").at("session.sid"))
		if r := other.get("session").want(401, "session_ended"); r.at("reason") != tt.reason {
			t.Errorf("%s, want %s", r.body, tt.reason)
		}
		if r := other.get("sessions").want(401, "session_ended"); r.at("reason") != tt.reason {
			t.Errorf("%s, want %s", r.body, tt.reason)
		}
		other.page("GET", "/signin", nil).want(200).says(`role="status"><p>You were signed out`)
	}
}
