package server_test

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
)

const thirdPassword = "a third password of the owner"

// forgets asks to replace the password behind an identifier, and returns the flow and
// what was written to an address.
func (c *client) forgets(identifier, address string) (flow string, l letter) {
	c.t.Helper()
	flow = c.post("password/forgot", m{"identifier": identifier}).want(202).at("flow")
	for l = c.letter(address, ""); len(l.Code) != 8; l = c.letter(address, "") {
	}
	return flow, l
}

// token is that of the link in a letter.
func (l letter) token() string {
	_, token, _ := strings.Cut(l.Links[0], "/link/")
	return token
}

func TestAForgottenPasswordIsReplacedByWhoReceivesTheCodeAndAllElseEnds(t *testing.T) {
	s := newSite(t)
	s.run()
	owner := s.byMail("ann@example.org")
	owner.addNumber("+49301234567")
	other := s.another("ann@example.org", goodPassword)
	app := s.appOf("ann@example.org")
	key := owner.key("profile").at("token")
	someone := s.client()
	flow, l := someone.forgets("ann@example.org", "ann@example.org")
	someone.post("password/reset", m{"flow": flow, "code": l.Code, "new_password": "short"}).want(400).field("new_password", "password_too_short")
	someone.post("password/reset", m{"flow": flow, "code": l.Code[:4] + " " + l.Code[4:], "new_password": thirdPassword}).want(204)
	someone.get("session").want(401, "no_session") // nobody is signed in by it
	for _, c := range []*client{owner, other} {
		c.get("session").want(401, "session_ended")
	}
	s.refreshed(app.refreshToken).want(401)
	keyed := s.client()
	keyed.token = key
	keyed.get("user").want(401)
	s.client().post("signin", m{"identifier": "ann@example.org", "password": goodPassword}).want(401, "bad_credentials")
	s.another("+49 30 1234567", thirdPassword)
	someone.post("password/reset", m{"flow": flow, "code": l.Code, "new_password": otherPassword}).want(401, "flow_ended")
	// The owner is told by everything that was proved.
	s.letter("ann@example.org", "forgotten password was replaced")
	for text := s.letter("+49301234567", ""); !strings.Contains(text.Text, "forgotten password was replaced"); text = s.letter("+49301234567", "") {
	}
	for _, secret := range []string{thirdPassword, l.Code, flow} {
		for table, text := range s.dump() {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %q", table, secret)
			}
		}
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

func TestAForgottenPasswordIsReplacedByTheMailedLinkInAnyBrowser(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	s.another("ann@example.org", goodPassword).post("identifiers", m{"identifier": "ann"}).want(201)
	_, l := s.client().forgets("ann", "ann@example.org") // by the user name, to the address
	// What scanners do: they open it, many times, and press what they find.
	for range 20 {
		scanner := s.client()
		for _, method := range []string{"HEAD", "GET"} {
			scanner.page(method, "/link/"+l.token(), nil).leads("/link")
			scanner.page(method, "/link", nil)
		}
		scanner.page("POST", "/link", url.Values{"new_password": {""}})
	}
	phone := s.client()
	phone.page("GET", "/link/"+l.token(), nil).leads("/link")
	phone.page("GET", "/link", nil).says("Choose a new password", "ann@example.org")
	phone.page("POST", "/link", url.Values{"new_password": {"short"}}).says("password")
	phone.page("POST", "/link", url.Values{"new_password": {thirdPassword}}).leads("/signin")
	phone.page("GET", "/signin", nil).says("The password is set")
	phone.page("POST", "/signin", url.Values{"identifier": {"ann"}, "password": {thirdPassword}}).leads("/account")
	s.client().post("password/reset", m{"token": l.token(), "new_password": otherPassword}).want(401, "flow_ended")
}

func TestAForgottenPasswordIsReplacedOnThePages(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	c := s.client()
	c.page("GET", "/signin?return_to=%2Faccount%2Fsessions", nil).says(`href="/recover?return_to=%2faccount%2fsessions"`)
	c.page("GET", "/recover/code", nil).leads("/recover")
	c.page("POST", "/recover", url.Values{"identifier": {"ann@example.org"}, "return_to": {"/account/sessions"}}).leads("/recover/code")
	c.page("GET", "/recover/code", nil).says("If there is an account with ann@example.org")
	code := s.letter("ann@example.org", "Choose a new password").Code
	c.page("POST", "/recover/code", url.Values{"code": {"00000000"}, "new_password": {thirdPassword}}).says("This code is wrong.")
	c.page("POST", "/recover/code", url.Values{"code": {code}, "new_password": {thirdPassword}}).leads("/signin?return_to=%2Faccount%2Fsessions")
	s.another("ann@example.org", thirdPassword)
}

func TestWhoHasNoPasswordSetsOneByProvingAnAddress(t *testing.T) {
	s := newSite(t)
	s.run()
	if _, err := s.operator().AddUser(t.Context(), server.NewUser{Identifiers: []string{"+4930 555 0199"}, Verified: true, Roles: []string{"editor"}}); err != nil {
		t.Fatal(err)
	}
	flow, l := s.client().forgets("+49305550199", "+49305550199")
	s.client().post("password/reset", m{"flow": flow, "code": l.Code, "new_password": thirdPassword}).want(204)
	c := s.another("+49305550199", thirdPassword)
	if roles := fmt.Sprint(c.get("user").want(200).m["user"].(m)["roles"]); roles != "[editor]" {
		t.Errorf("the roles are %s: an operator gave one", roles)
	}
}

func TestWithoutMailAForgottenPasswordIsForTheOperator(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Dev = false })
	for _, name := range []string{"ann", "ann@example.org", "+49301234567"} {
		s.client().post("password/forgot", m{"identifier": name}).want(503).field("identifier", "recovery_unavailable")
	}
	s.client().page("GET", "/recover", nil).says("an administrator can set a new password")
}

// Pre-hijacking by the unproved address: whoever receives the secret owns the
// account, and ends up alone in it.
func TestAttackAPlantedAccountIsRecoveredByTheOwnerOfItsAddress(t *testing.T) {
	s := newSite(t)
	s.run()
	const address = "owner@example.org"
	if _, err := s.operator().AddUser(t.Context(), server.NewUser{Identifiers: []string{address, "backdoor", "+49301234567"}, Password: admit.NewSecret(otherPassword)}); err != nil {
		t.Fatal(err)
	}
	mallory := s.another("backdoor", otherPassword)
	key := mallory.key("profile").at("token")
	flow, l := s.client().forgets(address, address)
	s.client().post("password/reset", m{"flow": flow, "code": l.Code, "new_password": thirdPassword}).want(204)
	mallory.get("session").want(401, "session_ended")
	mallory.token = key
	mallory.get("user").want(401)
	owner := s.another(address, thirdPassword)
	if names := owner.values(); names != address+"*" {
		t.Errorf("the owner signs in with %s", names)
	}
	if n := len(owner.get("sessions").want(200).m["sessions"].([]any)); n != 1 {
		t.Errorf("the owner sees %d sessions", n)
	}
	for _, name := range []string{"backdoor", "+49301234567", address} {
		s.client().post("signin", m{"identifier": name, "password": otherPassword}).want(401, "bad_credentials")
	}
}

// A thief who has added his own address recovers by it; the owner, who was told when
// he added it and again now, takes the account back.
func TestAttackAThiefRecoversByTheAddressThatHeAdded(t *testing.T) {
	s := newSite(t)
	s.run()
	owner := s.byMail("ann@example.org")
	thief := s.another("ann@example.org", goodPassword)
	thief.addAddress("thief@example.org")
	flow, l := s.client().forgets("thief@example.org", "thief@example.org")
	s.client().post("password/reset", m{"flow": flow, "code": l.Code, "new_password": otherPassword}).want(204)
	owner.get("session").want(401)
	if back := s.back("thief@example.org", "forgotten password was replaced"); back != "" {
		t.Error("the thief gets a way back")
	}
	for _, about := range []string{"new name can sign in", "forgotten password was replaced"} {
		if s.back("ann@example.org", about) == "" {
			t.Errorf("the owner gets no way back with %q", about)
		}
	}
	s.client().post("identifiers/restore", m{"token": s.back("ann@example.org", "new name can sign in"), "new_password": thirdPassword}).want(204)
	if names := s.another("ann@example.org", thirdPassword).values(); names != "ann@example.org*" {
		t.Errorf("the owner signs in with %s", names)
	}
	s.client().post("signin", m{"identifier": "thief@example.org", "password": otherPassword}).want(401)
}

// A stranger asks again and again, and guesses; the owner's own code is good.
func TestAttackAStrangerSpoilsTheRecoveryOfTheOwner(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	owner, stranger := s.client(), s.client()
	stranger.address = "203.0.113.9:4711"
	flow, l := owner.forgets("ann@example.org", "ann@example.org")
	for range 3 {
		bad := stranger.post("password/forgot", m{"identifier": "ann@example.org"}).want(202).at("flow")
		for range 5 {
			stranger.post("password/reset", m{"flow": bad, "code": "00000000", "new_password": otherPassword}).want(401, "bad_code")
		}
		stranger.post("password/reset", m{"flow": bad, "code": "00000000", "new_password": otherPassword}).want(401, "flow_ended")
		stranger.post("password/reset", m{"flow": bad, "code": l.Code, "new_password": otherPassword}).want(401, "flow_ended")
	}
	owner.post("password/reset", m{"flow": flow, "code": l.Code, "new_password": thirdPassword}).want(204)
	s.another("ann@example.org", thirdPassword)
}

// Enumeration: whoever asks, for whatever it may be, reads the same. That the same is
// done is counted beside the store.
func TestAttackWhatIsAnsweredTellsWhoHasAnAccount(t *testing.T) {
	s := newSite(t)
	s.run()
	op := s.operator()
	for _, u := range []server.NewUser{
		{Identifiers: []string{"known@example.org", "known", "+493012345670"}, Verified: true, Password: admit.NewSecret(goodPassword)},
		{Identifiers: []string{"gone@example.org", "gone", "+498912345670"}, Verified: true, Password: admit.NewSecret(goodPassword)},
		{Identifiers: []string{"unproved@example.org", "+494012345670"}, Password: admit.NewSecret(goodPassword)},
		{Identifiers: []string{"mute"}, Password: admit.NewSecret(goodPassword)},
	} {
		if _, err := op.AddUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if err := op.SetDisabled(t.Context(), "gone", true); err != nil {
		t.Fatal(err)
	}
	sorts := map[string][]string{
		"addresses":  {"nobody@example.org", "known@example.org", "gone@example.org", "unproved@example.org"},
		"numbers":    {"+4922112345670", "+493012345670", "+498912345670", "+494012345670"}, // each is of a prefix, which have budgets
		"user names": {"nobody", "known", "gone", "mute"},
	}
	random := regexp.MustCompile(`adm_o_\w+|admit-flow-?\w*=[^;]+`)
	for _, call := range []struct{ path, rest string }{
		{"signup", "signup/verify"}, {"signin", ""}, {"password/forgot", "password/reset"},
	} {
		for sort, names := range sorts {
			if call.path == "signup" && sort == "user names" {
				continue // that one is taken is told there, under a budget
			}
			var first string
			for i, name := range names {
				c := s.client()
				c.address = fmt.Sprintf("203.0.113.%d:4711", i) // each has budgets of its own
				body := m{"identifier": name, "password": otherPassword}
				if call.path == "password/forgot" {
					delete(body, "password")
				}
				r := c.post(call.path, body)
				header := maps.Clone(r.header)
				header.Del("X-Request-Id")
				text := strings.ReplaceAll(string(r.body), r.at("request_id"), "")
				seen := fmt.Sprint(r.status, " ", random.ReplaceAllString(text, "…"), random.ReplaceAllString(fmt.Sprint(header), "…"), " ", len(r.at("flow")))
				for range 6 {
					switch call.rest {
					case "signup/verify":
						seen += " " + c.post(call.rest, m{"flow": r.at("flow"), "code": "12345"}).want(401).at("code")
					case "password/reset":
						seen += " " + c.post(call.rest, m{"flow": r.at("flow"), "code": "12345", "new_password": thirdPassword}).want(401).at("code")
					}
				}
				if i == 0 {
					first = seen
					t.Logf("%s, %s: %s", call.path, sort, seen)
				} else if seen != first {
					t.Errorf("%s: for %s\n%s\nfor %s\n%s", call.path, name, seen, names[0], first)
				}
			}
		}
	}
}

func TestThatAUserNameIsTakenIsToldUnderABudget(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	spy := s.client()
	spy.address = "203.0.113.9:4711"
	told := 0
	for range 60 {
		if r := spy.post("signup", m{"identifier": "ann", "password": goodPassword}); r.status == 409 {
			told++
		} else {
			r.want(429)
		}
	}
	if told == 0 || told > 40 {
		t.Errorf("told %d times of 60", told)
	}
}

// The attack: who knew the password adds a passkey, which signs in by itself, and
// waits for the owner to choose another password.
func TestAttackAThiefsPasskeySurvivesTheRecovery(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	thief, his := s.another("ann@example.org", goodPassword), s.authenticator()
	thief.addPasskey(his, m{"second_factor": true}).want(201)
	owner := s.client()
	flow, l := owner.forgets("ann@example.org", "ann@example.org")
	owner.post("password/reset", m{"flow": flow, "code": l.Code, "new_password": thirdPassword}).want(204)
	s.client().signIn(his).want(401, "passkey_unknown")
	// Nor do the codes wait that came with it.
	owner = s.another("ann@example.org", thirdPassword)
	if left := owner.get("recovery-codes").want(200).at("left"); left != "0" {
		t.Errorf("%s codes of the thief's are left", left)
	}
}
