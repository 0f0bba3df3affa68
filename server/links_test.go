package server_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/server/internal/web"
)

// asks asks for a link and returns the flow with what was mailed.
func (c *client) asks(address string) (flow string, l letter) {
	c.t.Helper()
	flow = c.post("signin/link", m{"identifier": address}).want(202).at("flow")
	return flow, c.sent(address, func(l letter) bool {
		// A flow and its link begin alike.
		return len(l.Links) > 0 && strings.Contains(l.Links[0], flow[:20])
	})
}

// asksCode asks for a code alone, where none was sent before.
func (c *client) asksCode(address string) (flow string, l letter) {
	c.t.Helper()
	flow = c.post("signin/code", m{"identifier": address}).want(202).at("flow")
	return flow, c.sent(address, func(l letter) bool { return strings.HasPrefix(l.Subject, "Sign in") || l.Subject == "" })
}

// sent is the last message to an address that is so, waiting for the delivery.
func (s *site) sent(address string, so func(letter) bool) letter {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var in struct{ Messages []letter }
		r := s.client().page("GET", "/dev/inbox.json?key="+devKey, nil)
		if err := json.Unmarshal(r.body, &in); err != nil {
			s.t.Fatalf("%s: %d %s", r.what, r.status, r.body)
		}
		for _, l := range in.Messages {
			if l.To == address && so(l) {
				return l
			}
		}
	}
	s.t.Fatalf("no such message to %s", address)
	return letter{}
}

// opens follows a mailed link to the page where it arrives.
func (c *client) opens(l letter) *reply {
	c.t.Helper()
	c.page("GET", strings.TrimPrefix(l.Links[0], "http://localhost"), nil).leads("/link")
	return c.page("GET", "/link", nil)
}

var sixDigits = regexp.MustCompile(`<p class="code">(\d{6})</p>`)

// shown are the digits that a page shows, "" if there are none.
func shown(r *reply) string {
	if found := sixDigits.FindSubmatch(r.body); found != nil {
		return string(found[1])
	}
	return ""
}

func (c *client) amr() string {
	c.t.Helper()
	return fmt.Sprint(c.get("session").want(200).m["session"].(m)["amr"])
}

func TestAMailedLinkSignsInTheBrowserThatAsked(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	ann := s.client()
	ann.page("GET", "/signin", nil).want(200).says("Send me a link")
	ann.page("POST", "/signin/link", url.Values{"identifier": {"ann@example.org"}, "return_to": {"/account/sessions"}}).leads("/signin/code")
	ann.page("GET", "/signin/code", nil).want(200).says("ann@example.org", `autocomplete="one-time-code"`, `inputmode="numeric"`)
	l := s.letter("ann@example.org", "Sign in")
	ann.opens(l).want(200).says("One press signs you in as ann@example.org.", "data-at-once")
	ann.page("POST", "/link", url.Values{}).leads("/account/sessions")
	if got := ann.amr(); got != "[link]" {
		t.Errorf("signed in by %s", got)
	}
	ann.opens(l).want(401) // spent
	ann.page("GET", "/signin/code", nil).leads("/account")
}

func TestACodeByMailSignsInAndAnOpenedLinkShowsAnother(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")

	ann := s.client()
	flow, l := ann.asksCode("ann@example.org")
	if len(l.Links) > 0 {
		t.Errorf("who asks for a code is sent %v", l.Links)
	}
	ann.get("signin/flows/" + flow).want(200)
	ann.post("signin/code/verify", m{"flow": flow, "code": wrong(l.Code)}).want(401, "bad_code")
	ann.post("signin/code/verify", m{"flow": flow, "code": " " + l.Code[:3] + "\u00a0-" + l.Code[3:] + "\n"}).want(200)
	if got := ann.amr(); got != "[otp]" {
		t.Errorf("signed in by %s", got)
	}
	ann.get("signin/flows/"+flow).want(401, "flow_ended")
	ann.post("signin/code/verify", m{"flow": flow, "code": l.Code}).want(401, "flow_ended")

	// On a telephone the mail is read, on the desk somebody waits.
	desk, phone := s.client(), s.client()
	phone.userAgent, phone.address = "Mozilla/5.0 (iPhone) Safari/605", "198.51.100.7:4711"
	flow, l = desk.asks("ann@example.org")
	r := phone.opens(l).want(200).says("Firefox on Linux", "from another network than yours", "Not me")
	digits := shown(r)
	if digits == "" || digits == l.Code {
		t.Fatalf("the page shows %q, the mail %q", digits, l.Code)
	}
	phone.page("POST", "/link", url.Values{}).want(200).says("This page signs nobody in.")
	phone.get("session").want(401, "no_session")
	desk.post("signin/code/verify", m{"flow": flow, "code": digits}).want(200)
	if got := desk.amr(); got != "[link]" {
		t.Errorf("signed in by %s", got)
	}
}

func TestACodeByTextIsBoundToThisHost(t *testing.T) {
	s := newSite(t)
	s.run()
	ann := s.client()
	flow := ann.post("signup", m{"identifier": "+49 30 1234567", "password": goodPassword}).want(202).at("flow")
	l := s.letter("+49301234567", "")
	ann.post("signup/verify", m{"flow": flow, "code": l.Code}).want(200)

	c := s.client()
	c.page("GET", "/signin", nil).want(200).says("Send me a link or a code")
	c.page("POST", "/signin/link", url.Values{"identifier": {"+49 (0)30 123-45 67"}}).leads("/signin/code")
	c.page("GET", "/signin/code", nil).want(200).says("49301234567", `autocomplete="one-time-code"`, "data-texted")
	l = s.sent("+49301234567", func(l letter) bool { return strings.Contains(l.Text, "signs you in") })
	lines := strings.Split(strings.TrimSpace(l.Text), "\n")
	if last := lines[len(lines)-1]; last != "@localhost #"+l.Code || len(l.Links) > 0 {
		t.Errorf("the text ends in %q with %v", last, l.Links)
	}
	c.page("POST", "/signin/code", url.Values{"code": {l.Code}}).leads("/account")
	if got := c.amr(); got != "[sms]" {
		t.Errorf("signed in by %s", got)
	}
}

// A user name has no address of its own: that of the account is written to, and
// not told.
func TestAUserNameGetsItsLinkByTheMailOfTheAccount(t *testing.T) {
	s := newSite(t)
	s.run()
	s.signedUp("ann").addAddress("ann@example.org")
	c := s.client()
	c.page("POST", "/signin/link", url.Values{"identifier": {"Ann"}}).leads("/signin/code")
	if r := c.page("GET", "/signin/code", nil).want(200); strings.Contains(string(r.body), "example.org") {
		t.Error("the page tells the address of the account")
	}
	l := s.letter("ann@example.org", "Sign in")
	c.page("POST", "/signin/code", url.Values{"code": {l.Code}}).leads("/account")
}

func TestANewCodeEndsTheOldOneOfTheSameNetworkAndNoOther(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	first, second, stranger := s.client(), s.client(), s.client()
	stranger.address = "203.0.113.9:4711"
	old, l := first.asks("ann@example.org")
	flow, l2 := second.asks("ann@example.org")
	stranger.asks("ann@example.org")
	first.post("signin/code/verify", m{"flow": old, "code": l.Code}).want(401, "flow_ended")
	second.post("signin/code/verify", m{"flow": flow, "code": l2.Code}).want(200)
}

func TestASignInWaitsTenMinutesAndFiveTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.signedUp("ann") // nobody delivers mail here
		c := s.client()
		flow := c.post("signin/link", m{"identifier": "ann@example.org"}).want(202).at("flow")
		time.Sleep(10*time.Minute - time.Second)
		c.get("signin/flows/" + flow).want(200)
		time.Sleep(time.Second)
		c.get("signin/flows/"+flow).want(401, "flow_ended")
		flow = c.post("signin/link", m{"identifier": "ann@example.org"}).want(202).at("flow")
		for range 5 {
			c.post("signin/code/verify", m{"flow": flow, "code": "no code"}).want(401, "bad_code")
		}
		c.post("signin/code/verify", m{"flow": flow, "code": "no code"}).want(401, "flow_ended")
		c.get("signin/flows/"+flow).want(401, "flow_ended")
	})
}

// Somebody asks for code after code and guesses at each: the tries are the
// identifier's. The owner comes in by the link all the same, and by code where the
// browser is known.
func TestAttackGuessingAtManyCodesOfOneTarget(t *testing.T) {
	s := newSite(t)
	s.run()
	known := s.byMail("ann@example.org")
	guesses := 0
	for n := range 12 {
		mallory := s.client()
		mallory.address = fmt.Sprintf("203.0.113.%d:4711", n)
		flow := mallory.post("signin/code", m{"identifier": "ann@example.org"}).want(202).at("flow")
		for range 5 {
			if r := mallory.post("signin/code/verify", m{"flow": flow, "code": "000000"}); r.status == http.StatusUnauthorized {
				guesses++
			} else {
				r.want(429, "too_many_tries")
			}
		}
	}
	if guesses > 10 {
		t.Errorf("%d guesses were heard", guesses)
	}
	ann := s.client()
	flow, l := ann.asks("ann@example.org")
	ann.post("signin/code/verify", m{"flow": flow, "code": l.Code}).want(429, "too_many_tries")
	ann.page("GET", strings.TrimPrefix(l.Links[0], "http://localhost"), nil).leads("/link")
	ann.page("POST", "/link", url.Values{}).want(303)
	ann.get("session").want(200)

	known.post("signout", nil).want(204)
	flow, l = known.asks("ann@example.org")
	known.post("signin/code/verify", m{"flow": flow, "code": l.Code}).want(200)
}

// RFC 10027: an attacker asks for a sign-in and lures the owner, who gets the mail,
// to finish it. Whatever she opens and presses completes nothing. What she reads out
// of a sign-in of her own is good for nobody else.
func TestAttackWhoAsksLuresTheOwnerToOpenPressAndReadOut(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	ann, mallory := s.client(), s.client()
	mallory.address, mallory.userAgent = "203.0.113.9:4711", "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0"
	flow, l := mallory.asks("ann@example.org")

	out := func(after string) {
		t.Helper()
		mallory.page("GET", "/account", nil).leads("/signin?return_to=%2Faccount")
		mallory.get("session").want(401)
		mallory.page("GET", "/signin/code", nil).want(200) // waits on
		mallory.get("signin/flows/" + flow).want(200)
		ann.get("session").want(401)
		if t.Failed() {
			t.Fatal("after ", after)
		}
	}
	// Opened: the page says who asks, and from where.
	r := ann.opens(l).want(200).says("Chrome on Windows", "203.0.113.9", "from another network than yours", "Never read them out")
	out("the owner opened the link")
	// Pressed, each button there is, again and again.
	for range 3 {
		ann.page("POST", "/link", url.Values{}).want(200)
		ann.page("POST", "/link", url.Values{"code": {shown(r)}}).want(200)
		ann.page("POST", "/signin/code", url.Values{"code": {shown(r)}}).want(401)
		ann.page("POST", "/signin/code", url.Values{"code": {l.Code}}).want(401)
		out("the owner pressed")
	}
	ann.page("POST", "/link", url.Values{"not_me": {"yes"}}).leads("/")
	ann.page("GET", "/", nil).says("Thank you. It is noted")
	out("the owner said that it was not her")
	// The attacker has no half of the link, and what he has is not enough.
	mallory.page("POST", "/link", url.Values{}).want(401)
	out("the attacker pressed")

	// Read out: of a sign-in that she asked for herself at the same time.
	own, mine := ann.asks("ann@example.org")
	other := s.client()
	for _, code := range []string{mine.Code, shown(other.opens(mine))} {
		mallory.post("signin/code/verify", m{"flow": flow, "code": code}).want(401, "bad_code")
		mallory.post("signin/code/verify", m{"flow": own, "code": code}).want(401) // without her cookie
	}
	out("the owner read out her own codes")
	ann.post("signin/code/verify", m{"flow": own, "code": mine.Code}).want(200)

	// The report is in her activity, once, with the place of who asked.
	activity := string(ann.get("activity?limit=100").want(200).body)
	if n := strings.Count(activity, `"sign_in_disowned"`); n != 1 {
		t.Errorf("the activity has %d reports: %s", n, activity)
	}
	ann.page("GET", "/account/activity", nil).says("it was somebody else")
}

// What nobody can prevent: the code that was mailed, read out to who asked, is what
// the owner was told never to give away. The activity tells.
func TestACodeThatIsReadOutToWhoAskedSignsHimInAndIsSeen(t *testing.T) {
	s := newSite(t)
	s.run()
	known := s.byMail("ann@example.org")
	mallory := s.client()
	mallory.address = "203.0.113.9:4711"
	flow, l := mallory.asks("ann@example.org")
	if !strings.Contains(l.Text, "203.0.113.9") || !strings.Contains(l.Text, "Never give the code, or the link, to anyone") {
		t.Errorf("the mail does not warn: %s", l.Text)
	}
	mallory.post("signin/code/verify", m{"flow": flow, "code": l.Code}).want(200)
	known.page("GET", "/account/activity", nil).want(200).says("203.0.113.9", "A link or a code to sign in was asked for")
}

// A report counts against the network that asked, and the people who are reported
// by a scanner's presses are not kept out by it.
func TestAReportCountsAgainstWhoAskedAndOnce(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	begun := time.Now()
	mallory, scanner := s.client(), s.client()
	mallory.address = "203.0.113.9:4711"
	_, l := mallory.asks("ann@example.org")
	for range 5 {
		scanner.opens(l).want(200)
		scanner.page("POST", "/link", url.Values{"not_me": {"yes"}}).leads("/")
	}
	asked := 1
	for n := range 100 {
		if mallory.post("signin/link", m{"identifier": fmt.Sprintf("nobody%d@example.org", n)}).status == 202 {
			asked++
		}
	}
	// 60 at once, less what the report costs, and one more each five seconds.
	if least, most := 57, 57+int(time.Since(begun)/(5*time.Second))+1; asked < least || asked > most {
		t.Errorf("who was reported asked %d times, want %d to %d", asked, least, most)
	}
}

// Who looks at mail before people do is told of in the log, a few times for each
// link, however often it comes.
func TestScannersAreLoggedAFewTimesForEachLink(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	ann, scanner := s.client(), s.client()
	flow, l := ann.asks("ann@example.org")
	for range 10 {
		scanner.page("HEAD", strings.TrimPrefix(l.Links[0], "http://localhost"), nil).leads("/link")
		scanner.page("HEAD", "/link", nil).want(200)
		scanner.opens(l).want(200)
	}
	if n := strings.Count(s.log.String(), "a link was opened elsewhere"); n != 3 {
		t.Errorf("the log has %d lines of it, want 3", n)
	}
	if _, secret, _ := strings.Cut(l.Links[0], "/link/"); strings.Contains(s.log.String(), secret) {
		t.Error("the log has the link")
	}
	ann.get("signin/flows/" + flow).want(200)
}

// Pre-hijacking: somebody set up an account for an address that is not his, and
// waits in it. Its owner signs in by link, and is alone.
func TestAttackAnAccountThatWasSetUpForAnotherIsTheOwnersAtTheFirstSignInByLink(t *testing.T) {
	s := newSite(t)
	s.run()
	o := s.operator()
	in := server.NewUser{Identifiers: []string{"ann@example.org", "mallory"}, Name: "Mallory", Password: admit.NewSecret(goodPassword)}
	if _, err := o.AddUser(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	mallory := s.another("ann@example.org", goodPassword)
	mallory.post("api-keys", m{"name": "back door", "scopes": []string{"profile"}}).want(201)
	app := s.appOf("mallory")

	ann := s.client()
	flow, l := ann.asks("ann@example.org")
	ann.post("signin/code/verify", m{"flow": flow, "code": l.Code}).want(200)
	mallory.get("session").want(401)
	app.get("session").want(401)
	if r := s.refreshed(app.refreshToken); r.status != 401 {
		t.Errorf("a refresh token from before is answered with %d", r.status)
	}
	for _, name := range []string{"ann@example.org", "mallory"} {
		s.client().post("signin", m{"identifier": name, "password": goodPassword}).want(401, "bad_credentials")
	}
	if got := ann.values(); got != "ann@example.org*" {
		t.Errorf("she signs in with %s", got)
	}
	if keys := ann.get("api-keys").want(200).m["api_keys"].([]any); len(keys) > 0 && keys[0].(m)["ended_at"] == nil {
		t.Errorf("the API keys are %v", keys)
	}
}

// An identifier that nobody has proved stands in an account whose owner has proved
// another one: who proves it gets an account of its own, and nobody two.
func TestTheFirstProofByLinkMergesNoAccounts(t *testing.T) {
	s := newSite(t)
	s.run()
	o := s.operator()
	var in server.ImportedUser
	in.Identifiers = []web.Identifier{{Value: "bob@example.org", Verified: true, Primary: true}, {Value: "ann@example.org"}}
	if _, err := o.ImportUser(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	ann, bob := s.client(), s.client()
	for c, address := range map[*client]string{ann: "ann@example.org", bob: "bob@example.org"} {
		flow, l := c.asks(address)
		c.post("signin/code/verify", m{"flow": flow, "code": l.Code}).want(200)
	}
	if a, b := ann.values(), bob.values(); a != "ann@example.org*" || b != "bob@example.org*" {
		t.Errorf("ann signs in with %s, bob with %s", a, b)
	}
}

func TestADisabledUserIsSignedInByNothingThatWasSent(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	ann := s.client()
	flow, l := ann.asks("ann@example.org")
	if err := s.operator().SetDisabled(t.Context(), "ann@example.org", true); err != nil {
		t.Fatal(err)
	}
	ann.opens(l)
	ann.page("POST", "/link", url.Values{}).want(401)
	ann.post("signin/code/verify", m{"flow": flow, "code": l.Code}).want(401, "flow_ended")
	ann.post("signin/link", m{"identifier": "ann@example.org"}).want(202)
	if l := s.letter("ann@example.org", "There is no account to sign in to"); l.Code != "" {
		t.Errorf("a disabled user is sent %s", l.Text)
	}
}

// Who reads the mail has shown one factor. Where the account asks for two the link
// leads to the second, and then to where the person wanted to go.
func TestALinkIsOneFactorOfTwo(t *testing.T) {
	s := newSite(t)
	s.run()
	_, codes := enrolledNow(s.byMail("ann@example.org"))
	ann := s.client()
	ann.page("POST", "/signin/link", url.Values{"identifier": {"ann@example.org"}, "return_to": {"/account/sessions"}}).leads("/signin/code")
	ann.opens(s.letter("ann@example.org", "Sign in"))
	ann.page("POST", "/link", url.Values{}).leads("/signin/factor")
	ann.get("session").want(401, "no_session")
	ann.page("POST", "/signin/factor", url.Values{"factor": {"recovery"}, "code": {codes[0]}}).leads("/account/sessions")
	if got := ann.amr(); got != "[link rc mfa]" {
		t.Errorf("signed in by %s", got)
	}

	app := s.client()
	flow, l := app.asks("ann@example.org")
	half := app.post("signin/code/verify", m{"flow": flow, "code": l.Code, "as": "token"}).want(200)
	if half.at("state") != "factor_needed" || half.at("token") != "" {
		t.Fatalf("after a code: %s", half.body)
	}
	in := app.post("signin/factor", m{"flow": half.at("flow"), "factor": "recovery", "code": codes[1]}).want(200)
	if in.at("state") != "signed_in" || in.at("token") == "" {
		t.Errorf("after both: %s", in.body)
	}
}

// The flow is the browser's that asked: its session cookie goes nowhere else, even
// where somebody knows flow and code.
func TestASessionCookieGoesOnlyToTheBrowserThatAsked(t *testing.T) {
	s := newSite(t)
	s.run()
	s.byMail("ann@example.org")
	ann, other := s.client(), s.client()
	flow, l := ann.asks("ann@example.org")
	other.post("signin/code/verify", m{"flow": flow, "code": l.Code}).want(401, "flow_ended")
	other.get("session").want(401)
	// A program keeps no cookies: it keeps the flow.
	app := other.post("signin/code/verify", m{"flow": flow, "code": l.Code, "as": "token"}).want(200)
	if app.at("token") == "" {
		t.Errorf("no token in %s", app.body)
	}
}

// Enumeration: what is answered, and what is done, is the same for those who have
// an account, for those who have none, for one that is disabled and one that is
// not verified.
func TestAttackAskingForALinkTellsNotWhoHasAnAccount(t *testing.T) {
	random := regexp.MustCompile(`adm_o_\w+|admit-signin-?\w*=[^;]+`)
	for _, path := range []string{"signin/link", "signin/code"} {
		s := invited(t) // with the budgets of texts whole
		seen := map[string]string{}
		for kind, name := range map[string]string{
			"known": "ann@example.org", "unknown": "nobody@example.org", "disabled": "dis@example.org", "unverified": "new@example.org",
			"number": "+493012345678", "unknown number": "+493087654321", "user name": "ann", "user name without mail": "bob", "unknown user name": "nobody",
		} {
			c := s.client()
			c.address = fmt.Sprintf("203.0.113.%d:4711", len(name)) // each has budgets of its own
			before := s.rows()
			r := c.post(path, m{"identifier": name})
			work := ""
			for n, rows := range s.rows() {
				work += fmt.Sprint(" ", rows-before[n])
			}
			header := maps.Clone(r.header)
			header.Del("X-Request-Id")
			flow := r.at("flow")
			asked := fmt.Sprint(r.status, " ", random.ReplaceAllString(string(r.body), "…"), random.ReplaceAllString(fmt.Sprint(header), "…"), len(flow), work)
			for range 4 {
				asked += " " + c.post("signin/code/verify", m{"flow": flow, "code": "000000"}).want(401, "bad_code").at("detail")
			}
			seen[kind] = asked
		}
		for kind, got := range seen {
			if got != seen["unknown"] {
				t.Errorf("%s: for %s\n%s\nfor unknown\n%s", path, kind, got, seen["unknown"])
			}
		}
	}
}

// rows counts those of the tables that asking could write to.
func (s *site) rows() (all []int) {
	s.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.data, "admit.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	for _, table := range []string{"users", "identifiers", "credentials", "challenges", "audit", "outbox", "sessions"} {
		n := 0
		if err := db.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// invited is a site whose users an operator has made, and where nobody delivers
// mail.
func invited(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.server.Close()
	o := s.operator()
	for _, in := range []server.NewUser{
		{Identifiers: []string{"ann", "ann@example.org"}, Verified: true},
		{Identifiers: []string{"dis@example.org"}, Verified: true},
		{Identifiers: []string{"+493012345678"}, Verified: true},
		{Identifiers: []string{"new@example.org"}},
		{Identifiers: []string{"bob"}},
	} {
		if _, err := o.AddUser(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.SetDisabled(t.Context(), "dis@example.org", true); err != nil {
		t.Fatal(err)
	}
	o.Close()
	s.open()
	return s
}

// guess asks for a code to ann's address and types a wrong one.
func (c *client) guess() *reply {
	for n := range 5 { // from networks that have asked seldom
		c.address = fmt.Sprintf("203.0.113.%d:4711", n)
		if r := c.post("signin/code", m{"identifier": "ann@example.org"}); r.status == http.StatusAccepted {
			return c.post("signin/code/verify", m{"flow": r.at("flow"), "code": "none"})
		}
	}
	return c.post("signin/code", m{"identifier": "ann@example.org"})
}

func mailless(path, identifier string) trial {
	return func(s *site) *reply {
		s = newSite(s.t, func(c *server.Config) { c.Dev = false })
		return s.client().post(path, m{"identifier": identifier})
	}
}

func flooded(path string) trial {
	return func(s *site) *reply {
		return again(10, func() *reply { return s.client().post(path, m{"identifier": "ann@example.org"}) })
	}
}
