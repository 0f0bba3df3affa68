package server_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/admit-auth/admit/server"
)

// page sends what a browser sends for a page, or with a form.
func (c *client) page(method, path string, form url.Values, change ...func(*http.Request)) *reply {
	c.t.Helper()
	var body io.Reader = http.NoBody
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequestWithContext(context.Background(), method, "http://localhost"+path, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return c.send(r, change...)
}

// leads fails the test unless the answer is a redirect to the address.
func (r *reply) leads(to string) {
	r.t.Helper()
	if got := r.header.Get("Location"); r.status != http.StatusSeeOther || got != to {
		r.t.Fatalf("%s: %d to %q, want 303 to %q\n%s", r.what, r.status, got, to, r.body)
	}
}

// says fails the test unless the page has all the texts.
func (r *reply) says(texts ...string) *reply {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(string(r.body), text) {
			r.t.Fatalf("%s: %d without %q:\n%s", r.what, r.status, text, r.body)
		}
	}
	return r
}

func TestAPageIsAnsweredByALeadToTheNextOne(t *testing.T) {
	s := newSite(t)
	c := s.client()
	c.page("POST", "/signup", url.Values{"identifier": {"ann"}, "password": {goodPassword}}).leads("/account")
	c.page("GET", "/signin", nil).leads("/account")
	c.page("POST", "/signout", url.Values{}).leads("/")
	c.page("GET", "/account/security", nil).leads("/signin?return_to=%2Faccount%2Fsecurity")
	in := url.Values{"identifier": {"ann"}, "password": {goodPassword}, "return_to": {"/account/sessions?a=b"}}
	c.page("POST", "/signin", in).leads("/account/sessions?a=b")
	c.page("GET", "/.well-known/change-password", nil).leads("/account/security")
	c.page("POST", "/account/security", url.Values{"password": {goodPassword}, "new_password": {otherPassword}}).leads("/account/security")
	c.page("GET", "/account/security", nil).want(200).says("The password is changed.")
	if page := c.page("GET", "/account/security", nil).body; strings.Contains(string(page), "The password is changed.") {
		t.Error("a page says twice what was done once")
	}
}

func TestPagesRefuseWithTheStatusOfTheAPI(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	c := s.client()
	big := strings.Repeat("a", 70<<10)
	for _, tt := range []struct {
		name   string
		reply  *reply
		status int
		text   string
	}{
		{"an unknown path", c.page("GET", "/nothing", nil), 404, "There is nothing here"},
		{"a method that is not taken", c.page("PUT", "/signin", nil), 405, "does not take this method"},
		{"an unknown host", c.page("GET", "/signin", nil, func(r *http.Request) { r.Host = "evil.example" }), 421, "does not answer for this host"},
		{"a wrong password", c.page("POST", "/signin", url.Values{"identifier": {"ann"}, "password": {"wrong"}}), 401, "The name or the password is wrong."},
		{"an unknown user", c.page("POST", "/signin", url.Values{"identifier": {"nobody"}, "password": {"wrong"}}), 401, "The name or the password is wrong."},
		{"a taken name", c.page("POST", "/signup", url.Values{"identifier": {"ann"}, "password": {goodPassword}}), 409, "This name is taken."},
		{"a weak password", c.page("POST", "/signup", url.Values{"identifier": {"bea"}, "password": {"12345678"}}), 400, "known from breaches"},
		{"a form that is too large", c.page("POST", "/signin", url.Values{"identifier": {big}}), 413, "too large"},
		{"a field twice", c.page("POST", "/signin", url.Values{"identifier": {"ann", "bea"}, "password": {goodPassword}}), 400, "cannot be read"},
		{"no form", c.page("POST", "/signin", url.Values{}, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }), 415, "takes forms only"},
		{"another site's form", c.page("POST", "/signin", url.Values{"identifier": {"ann"}, "password": {goodPassword}}, evil), 403, "another site"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.reply.want(tt.status).says(tt.text, "<h1>")
			if strings.Contains(string(tt.reply.body), goodPassword) {
				t.Error("the page shows the password again")
			}
			for _, k := range tt.reply.header.Values("Set-Cookie") {
				if strings.HasPrefix(k, "admit-=") {
					t.Error("a refusal set a session's cookie")
				}
			}
		})
	}
}

// Mallory sends a link to the sign-in page that leads on to a page of hers,
// which looks like ours and asks for the password once more.
func TestAttackAForeignReturnToLeadsFromTheRealSignInToAFalseOne(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.ReturnHosts = []string{"app.example.org"} })
	s.signedUp("ann")
	for _, to := range []string{
		"//evil.example", `/\evil.example`, "https://evil.example", "javascript:alert(1)", "/\t/evil.example", "\t//evil.example",
		"https://app.example.org@evil.example/", "https://app.example.org.evil.example/", "http://app.example.org/",
	} {
		c := s.client()
		c.page("GET", "/signin?return_to="+url.QueryEscape(to), nil).want(400).says("wanted to lead you on to another site")
		c.page("POST", "/signin", url.Values{"identifier": {"ann"}, "password": {goodPassword}, "return_to": {to}}).want(400)
		c.page("GET", "/account", nil).leads("/signin?return_to=%2Faccount") // nothing was done
	}
	c := s.client()
	c.page("POST", "/signin", url.Values{"identifier": {"ann"}, "password": {goodPassword}, "return_to": {"https://app.example.org/x"}}).leads("https://app.example.org/x")
}

// A reverse proxy on the same machine asks from a loopback address, whoever
// asks it: the codes and links of everybody would stand on the internet.
func TestAttackTheInboxIsAskedForThroughAProxy(t *testing.T) {
	s := newSite(t)
	c := s.client()
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via", "CF-Connecting-IP", "True-Client-IP"} {
		proxy := func(r *http.Request) { r.Header.Set(name, "x") }
		for _, path := range []string{"/dev/inbox", "/dev/inbox.json"} {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				r := c.page(method, path+"?key="+devKey, nil, proxy).want(404)
				if r.header.Get("Allow") != "" {
					t.Errorf("%s with %s tells what is there", r.what, name)
				}
			}
		}
	}
	afar := func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }
	c.page("GET", "/dev/inbox.json?key="+devKey, nil, afar).want(404)
	c.page("GET", "/dev/inbox.json?key="+devKey, nil).want(200)
	c.page("GET", "/dev/inbox.json?key=guess", nil).want(403)
	c.page("GET", "/dev/inbox", nil).want(403)
	c.page("GET", "/dev/inbox?key="+devKey, nil).leads("/dev/inbox")
	c.page("GET", "/dev/inbox", nil).want(200)
}

func TestThereIsNoInboxWithoutDev(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Dev = false })
	c := s.client()
	c.page("GET", "/dev/inbox?key="+devKey, nil).want(404)
	c.page("GET", "/dev/inbox.json?key="+devKey, nil).want(404)
	if page := c.page("GET", "/", nil).want(200); strings.Contains(string(page.body), "--dev") {
		t.Error("a banner without --dev")
	}
}

func TestThePagesOfferNoMailWhereNoneCanBeSent(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Dev = false })
	c := s.client()
	if page := c.page("GET", "/signup", nil).want(200).says("Choose a user name.", ">User name</label>"); strings.Contains(string(page.body), "mail") {
		t.Errorf("the page speaks of mail:\n%s", page.body)
	}
	r := c.page("POST", "/signup", url.Values{"identifier": {"ann@example.org"}, "password": {goodPassword}})
	r.want(503).says("Mail cannot be sent from here yet.", "Sign up with a user name.")
	if line := s.log.String(); !strings.Contains(line, "code=mail_unavailable") || strings.Contains(line, "level=ERROR") {
		t.Errorf("a sign-up with mail is logged as our fault, or not at all:\n%s", line)
	}
}

func TestTheActivityPageTellsWhichKeyRoleAndActionItWas(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	c.post("api-keys", m{"name": "nightly report", "scopes": []string{"profile"}}).want(201)
	c.post("approvals", m{"action": "transfer", "params": m{}}).want(200)
	c.page("GET", "/account/activity", nil).want(200).says("An API key was made", "nightly report", "Something was approved", "transfer")
}

func TestTheActivityPageTellsWhichSessionWasEnded(t *testing.T) {
	s := newSite(t)
	c, other := s.client(), s.client()
	other.userAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	in := url.Values{"identifier": {"ann"}, "password": {goodPassword}}
	c.page("POST", "/signup", in).leads("/account")
	other.page("POST", "/signin", in).leads("/account")
	sid := regexp.MustCompile(`name="sid" value="([^"]+)"`).FindSubmatch(c.page("GET", "/account/sessions", nil).want(200).body)
	if sid == nil {
		t.Fatal("no session can be ended")
	}
	c.page("POST", "/account/sessions", url.Values{"sid": {string(sid[1])}}).leads("/account/sessions")
	c.page("GET", "/account/activity", nil).want(200).says("A session was ended", "the session of Firefox on Linux, signed in ")
}

// Whoever gets mail of a stranger's sign-up, a scanner first of all, opens the
// link in it: nobody may be signed in by that, and nothing be spent.
func TestAttackAMailScannerOpensTheLink(t *testing.T) {
	s := newSite(t)
	s.run()
	asker, scanner := s.client(), s.client()
	asker.page("POST", "/signup", url.Values{"identifier": {"ann@example.org"}, "password": {goodPassword}}).leads("/signup/verify")
	code, link, _ := s.mailTo("ann@example.org")
	path := strings.TrimPrefix(link, "http://localhost")
	for range 3 {
		r := scanner.page("GET", path, nil)
		r.leads("/link")
		if got := r.header.Get("Referrer-Policy"); got != "no-referrer" {
			t.Errorf("the page with the secret in its address has Referrer-Policy %s", got)
		}
		scanner.page("GET", "/link", nil).want(200).says(code)
	}
	scanner.page("POST", "/link", url.Values{}).want(401)
	scanner.page("GET", "/account", nil).leads("/signin?return_to=%2Faccount")
	asker.page("GET", path, nil).leads("/link")
	asker.page("POST", "/link", url.Values{}).leads("/account")
	asker.page("GET", "/account", nil).want(200).says("ann@example.org")
}

func TestPagesAskedForAtAnAddressLeadToTheName(t *testing.T) {
	s := newSite(t)
	c := s.client()
	for host, want := range map[string]string{
		"127.0.0.1:8080": "http://localhost:8080/signin?return_to=/account",
		"[::1]:9":        "http://localhost:9/signin?return_to=/account",
		"127.0.0.1":      "http://localhost/signin?return_to=/account",
	} {
		at := func(r *http.Request) { r.Host = host }
		c.page("GET", "/signin?return_to=/account", nil, at).leads(want)
		c.get("session", at).want(401)
	}
}

func TestAFileOfThePagesIsKeptForEver(t *testing.T) {
	s := newSite(t)
	c := s.client()
	page := c.page("GET", "/", nil).want(200)
	found := regexp.MustCompile(`/static/admit-[0-9a-f]{16}\.css`).Find(page.body)
	r := c.page("GET", string(found), nil).want(200)
	if got := r.header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
		t.Errorf("Cache-Control is %q", got)
	}
	c.page("GET", string(found), nil, func(q *http.Request) { q.Header.Set("If-None-Match", r.header.Get("ETag")) }).want(304)
	if got := page.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("a page's Cache-Control is %q", got)
	}
}

func TestTheLanguageIsWhatTheBrowserAsksForUntilOneIsChosen(t *testing.T) {
	s := newSite(t)
	c := s.client()
	chinese := func(r *http.Request) { r.Header.Set("Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8") }
	c.page("GET", "/signin", nil, chinese).want(200).says(`<html lang="zh-CN"`, "登录")
	c.page("GET", "/signin?lang=en&return_to=%2Faccount", nil, chinese).leads("/signin?return_to=%2Faccount")
	c.page("GET", "/signin", nil, chinese).want(200).says(`<html lang="en"`, "Sign in")
	c.page("GET", "/signin?lang=xx", nil).want(200)
}

func TestAPageSaysWhenToTryAgain(t *testing.T) {
	s := newSite(t)
	c := s.client()
	form := url.Values{"identifier": {"ann@example.org"}, "password": {goodPassword}}
	for range 5 {
		c.page("POST", "/signup", form).leads("/signup/verify")
	}
	r := c.page("POST", "/signup", form).want(429).says("Too many tries.", "min, then try again.", `value="ann@example.org"`)
	// Less than the 600 of the budget by what the six requests took.
	if wait, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || wait < 540 || wait > 600 {
		t.Errorf("Retry-After is %q, want 540 to 600", r.header.Get("Retry-After"))
	}
}

func TestEveryTypeOfAProblemLeadsToAPageAboutIt(t *testing.T) {
	s := newSite(t)
	c := s.client()
	all := codes(t)
	for _, p := range all {
		for lang, accept := range map[string]string{"en": "en", "zh-CN": "zh-CN"} {
			r := c.page("GET", "/problems/"+p.Code, nil, func(r *http.Request) { r.Header.Set("Accept-Language", accept) })
			if r.status != 200 || !strings.Contains(string(r.body), "<code>"+p.Code+"</code>") || !strings.Contains(string(r.body), `lang="`+lang+`"`) {
				t.Errorf("/problems/%s in %s: %d", p.Code, lang, r.status)
			}
		}
	}
	list := c.page("GET", "/problems", nil)
	for _, p := range all {
		if there := strings.Contains(string(list.body), `href="/problems/`+p.Code+`"`); there == p.Terminal {
			t.Errorf("/problems lists %s: %v", p.Code, there)
		}
	}
	if r := c.page("GET", "/problems/nothing", nil); r.status != 404 {
		t.Errorf("an unknown code has a page: %d", r.status)
	}
}

func TestThePageOfTheAPIShowsEveryCall(t *testing.T) {
	s := newSite(t)
	page := string(s.client().page("GET", "/api", nil).body)
	operations(t, func(method, path string, op object) {
		for _, want := range []string{"<code>" + method + " " + path + "</code>", `id="` + op["operationId"].(string) + `"`} {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %s", want)
			}
		}
	})
	if strings.Count(page, "<script") > 1 {
		t.Error("the page has a script of its own")
	}
}

func TestWhoHasJustEndedTheSessionsIsNotAskedWhetherThatIsNews(t *testing.T) {
	s := newSite(t)
	c := s.client()
	c.page("POST", "/signup", url.Values{"identifier": {"ann"}, "password": {goodPassword}}).leads("/account")
	entry := regexp.MustCompile(`entry=(\d+)`).FindSubmatch(c.page("GET", "/account/activity", nil).want(200).body)
	if entry == nil {
		t.Fatal("nothing can be disowned")
	}
	c.page("POST", "/account/activity/disown", url.Values{"entry": {string(entry[1])}}).leads("/signin")
	page := c.page("GET", "/signin", nil).want(200).says("All sessions have ended. Sign in, and choose a new password.")
	if strings.Contains(string(page.body), "news to you") {
		t.Errorf("the page explains what its reader has just done:\n%s", page.body)
	}
}

func TestAPageUnderAnotherMarksItsTabAndLeadsBack(t *testing.T) {
	s := newSite(t)
	c := s.client()
	c.page("POST", "/signup", url.Values{"identifier": {"ann"}, "password": {goodPassword}}).leads("/account")
	c.page("GET", "/account", nil).says(`<a href="/account" aria-current="page">`)
	for _, path := range []string{"/account/identifiers", "/account/data", "/account/confirm"} {
		c.page("GET", path, nil).says(`<a href="/account" aria-current="true">`, `<p class="up"><a href="/account">Back</a></p>`)
	}
}

// Mallory, who can make a browser ask and sees how long the answers are, would
// guess what stands in a page from how well it packs (BREACH).
func TestAttackOnlyPagesThatHoldNothingOfTheReaderArePacked(t *testing.T) {
	s := newSite(t)
	c := s.client()
	c.page("POST", "/signup", url.Values{"identifier": {"ann"}, "password": {goodPassword}}).leads("/account")
	c.page("GET", "/account", nil).want(200) // says once that it is ready
	for _, tt := range []struct {
		path, accepts string
		packed        bool
	}{
		{"/api", "gzip, deflate, br, zstd", true},
		{"/problems", "br,gzip", true},
		{"/api", "", false},
		{"/api", "gzip;q=0, br", false},
		{"/", "gzip", false},
		{"/signout", "gzip", false},
		{"/account", "gzip", false},
		{"/account/sessions", "gzip", false},
		{"/problems/bad_credentials", "gzip", false},
	} {
		plain := c.page("GET", tt.path, nil).want(200)
		r := c.page("GET", tt.path, nil, func(r *http.Request) { r.Header.Set("Accept-Encoding", tt.accepts) }).want(200)
		if got := r.header.Get("Content-Encoding") == "gzip"; got != tt.packed {
			t.Errorf("%s for %q: packed %v, want %v", tt.path, tt.accepts, got, tt.packed)
			continue
		}
		if !tt.packed {
			continue
		}
		if len(r.body) > 40_000 || r.header.Get("Vary") != "Accept-Encoding" || r.header.Get("Content-Length") != strconv.Itoa(len(r.body)) {
			t.Errorf("%s: %d bytes, %v", tt.path, len(r.body), r.header)
		}
		z, err := gzip.NewReader(bytes.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, plain.body) {
			t.Errorf("%s unpacked is not the page: %v", tt.path, err)
		}
	}
}
