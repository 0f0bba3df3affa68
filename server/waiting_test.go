package server_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/provider"
)

var forLine = regexp.MustCompile(`<p class="for">(.*)</p>`)

// isFor fails the test unless a page says for whom somebody signs in, "" for nothing.
func (r *reply) isFor(want string) *reply {
	r.t.Helper()
	got := ""
	if m := forLine.FindSubmatch(r.body); m != nil {
		got = string(m[1])
	}
	if got != want {
		r.t.Errorf("%s: %d is %q, want %q", r.what, r.status, got, want)
	}
	return r
}

const forTheShop = "to continue to <bdi>The Shop</bdi>"

// inApp is the address of the sign-in page that a request of an application leads to, and
// where that leads on to.
func (c *client) inApp(more ...string) (at, back string) {
	c.t.Helper()
	to := c.page("GET", appAsks(more...), nil).target()
	return to.RequestURI(), to.Query().Get("return_to")
}

func TestEachPageOfASignInSaysForWhichAppItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).withShop()
		a, _ := s.signedUp("ann").enrolled()
		c := s.client()
		at, back := c.inApp()
		to := "?" + url.Values{"return_to": {back}}.Encode()
		c.page("GET", at, nil).want(200).isFor(forTheShop)
		chinese := func(r *http.Request) { r.Header.Set("Accept-Language", "zh-CN") }
		c.page("GET", at, nil, chinese).want(200).isFor("以继续前往 <bdi>The Shop</bdi>")
		for _, path := range []string{"/signup", "/signin/link", "/recover"} {
			c.page("GET", path+to, nil).want(200).isFor(forTheShop)
			c.page("GET", path, nil).want(200).isFor("")
		}
		in := signingIn("ann")
		in.Set("return_to", back)
		in.Set("password", "wrong")
		c.page("POST", "/signin", in).want(401).isFor(forTheShop)
		in.Set("password", goodPassword)
		c.page("POST", "/signin", in).leads("/signin/factor") // where a cookie leads on
		c.page("GET", "/signin/factor", nil).want(200).isFor(forTheShop)
		c.page("POST", "/signin/factor", url.Values{"factor": {"totp"}, "code": {"000000"}}).want(401).isFor(forTheShop)
		c.page("GET", c.page("POST", "/signin/factor", url.Values{"factor": {"totp"}, "code": {a.next()}}).onward(), nil).says("Let The Shop in?")

		// Who is signed in is asked again, or who it wants to be.
		at, back = c.inApp("prompt", "login")
		c.page("GET", at, nil).want(200).says("Confirm that it is you").isFor(forTheShop)
		c.page("POST", "/account/confirm", url.Values{"password": {"wrong"}, "return_to": {back}}).want(403).isFor(forTheShop)
		c.page("GET", appAsks("prompt", "select_account"), nil).want(200).says("Who do you want to be?").isFor(forTheShop)
		c.page("GET", "/signin?"+url.Values{"switch": {"yes"}, "return_to": {back}}.Encode(), nil).want(200).isFor(forTheShop)
		time.Sleep(time.Minute)
		at, _ = c.inApp("max_age", "30")
		c.page("GET", at, nil).want(200).says("Confirm that it is you").isFor(forTheShop)
	})
}

func TestWhatIsSentByMailSaysForWhichAppItIsInTheBrowserThatAsked(t *testing.T) {
	s := newSite(t).withShop()
	s.run()
	c, scanner := s.client(), s.client()
	_, back := c.inApp()
	asks := url.Values{"identifier": {"ann@example.org"}, "password": {goodPassword}, "return_to": {back}}
	c.page("POST", "/signup", asks).leads("/signup/verify")
	c.page("GET", "/signup/verify", nil).want(200).isFor(forTheShop)
	c.page("POST", "/signup/verify", url.Values{"code": {"000000"}}).want(401).isFor(forTheShop)
	_, link, _ := s.mailTo("ann@example.org")
	path := strings.TrimPrefix(link, "http://localhost")
	for who, want := range map[*client]string{c: forTheShop, scanner: ""} {
		who.page("GET", path, nil).leads("/link")
		who.page("GET", "/link", nil).want(200).isFor(want)
	}
	c.page("GET", c.page("POST", "/link", url.Values{}).onward(), nil).says("Let The Shop in?")

	c, scanner = s.client(), s.client()
	c.page("POST", "/signin/link", asks).leads("/signin/code")
	c.page("GET", "/signin/code", nil).want(200).isFor(forTheShop)
	link = s.letter("ann@example.org", "Sign in").Links[0]
	path = strings.TrimPrefix(link, "http://localhost")
	for who, want := range map[*client]string{c: forTheShop, scanner: ""} {
		who.page("GET", path, nil).leads("/link")
		who.page("GET", "/link", nil).want(200).isFor(want)
	}
	c.page("GET", c.page("POST", "/link", url.Values{}).onward(), nil).says("Let The Shop in?")

	c, scanner = s.client(), s.client()
	c.page("POST", "/recover", asks).leads("/recover/code")
	c.page("GET", "/recover/code", nil).want(200).isFor(forTheShop)
	path = "/link/" + s.letter("ann@example.org", "password").token()
	for who, want := range map[*client]string{c: forTheShop, scanner: ""} {
		who.page("GET", path, nil).leads("/link")
		who.page("GET", "/link", nil).want(200).says("Choose a new password").isFor(want)
	}
	signIn := "/signin?" + url.Values{"return_to": {back}}.Encode()
	c.page("POST", "/link", url.Values{"new_password": {thirdPassword}}).leads(signIn)
	c.page("GET", signIn, nil).want(200).isFor(forTheShop)

	asks.Set("password", thirdPassword)
	c.page("POST", "/signin", asks)
	c.page("GET", "/account/passkeys/offer?"+url.Values{"return_to": {back}}.Encode(), nil).want(200).isFor(forTheShop)
}

func TestWhoLostEveryFactorIsToldForWhichAppAndComesBackToIt(t *testing.T) {
	s := newSite(t).withShop()
	s.run()
	enrolledNow(s.byMail("ann@example.org"))
	c := s.client()
	_, back := c.inApp()
	c.page("POST", "/signin", url.Values{"identifier": {"ann@example.org"}, "password": {goodPassword}, "return_to": {back}}).leads("/signin/factor")
	step := regexp.MustCompile(`/signin/factor/lost\?step=([^"]+)`).FindSubmatch(c.page("GET", "/signin/factor?factor=recovery", nil).want(200).body)
	if step == nil {
		t.Fatal("the page of the second step leads to none for who lost it")
	}
	of := url.Values{"step": {string(step[1])}}
	c.page("GET", "/signin/factor/lost?"+of.Encode(), nil).want(200).isFor(forTheShop)
	c.page("POST", "/signin/factor/lost", of).want(200).isFor(forTheShop)
	s.waited()
	proof := regexp.MustCompile(`name="proof" value="([^"]+)"`).FindSubmatch(c.page("POST", "/signin/factor/lost", of).want(200).isFor(forTheShop).body)
	if proof == nil {
		t.Fatal("the page asks for no code")
	}
	of.Set("proof", string(proof[1]))
	of.Set("code", s.letter("ann@example.org", "Remove your second factors").Code)
	c.page("POST", "/signin/factor/lost", of).leads("/signin?" + url.Values{"return_to": {back}}.Encode())
}

// A page that is opened later is one to sign in with, for nobody.
func TestASignInWhoseRequestIsOverIsForNoApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).withShop()
		c := s.client()
		at, _ := c.inApp()
		time.Sleep(59 * time.Minute)
		c.page("GET", at, nil).want(200).isFor(forTheShop)
		time.Sleep(2 * time.Minute)
		c.page("GET", at, nil).want(200).says("<h1>Sign in</h1>").isFor("")
	})
	s := newSite(t).withShop(func(c *provider.Client) { c.CreatedAt = time.Now() })
	root := s.administrator()
	c := s.client()
	at, _ := c.inApp()
	root.do("PATCH", "/api/v1/admin/clients/shop", m{"disabled": true}).want(200)
	c.page("GET", at, nil).want(200).says("<h1>Sign in</h1>").isFor("")
	root.do("PATCH", "/api/v1/admin/clients/shop", m{"disabled": false, "name": "Another Shop"}).want(200)
	c.page("GET", at, nil).want(200).isFor("to continue to <bdi>Another Shop</bdi>")
}

func TestANameOfAnAppIsTextOfItsOwnDirection(t *testing.T) {
	for _, name := range []string{`</bdi><script>alert(1)</script> & "friends"`, "החנות שלי", strings.Repeat("長", 100)} {
		s := newSite(t).withShop(func(c *provider.Client) { c.Name = name })
		c := s.client()
		at, _ := c.inApp()
		c.page("GET", at, nil).want(200).isFor("to continue to <bdi>" + html.EscapeString(name) + "</bdi>")
	}
}

// Mallory mails links to our own sign-in page, which is to say that it leads to Ann's bank:
// whoever believes that signs in, and goes on to wherever it leads.
func TestAttackALinkHasTheSignInPageNameAnApp(t *testing.T) {
	s := newSite(t, registrationBy("open")).withShop()
	s.signedUp("ann")
	c := s.client()
	_, back := c.inApp()
	flow := strings.TrimPrefix(back, "/oauth/authorize?flow=")
	for _, link := range []url.Values{
		{"app": {"Your Bank"}, "client_name": {"Your Bank"}, "client_id": {"shop"}, "name": {"Your Bank"}},
		{"client_id": {"shop"}, "flow": {flow}}, // of no page but the consent page
		{"return_to": {appAsks()}},
		{"return_to": {appAsks("client_name", "Your Bank")}},
		{"return_to": {"/oauth/authorize?flow=Your+Bank"}},
		{"return_to": {"/oauth/authorize?flow=" + url.QueryEscape(appAsks())}},
		{"return_to": {"/oauth/authorize?flow=" + flow[1:]}},
		{"return_to": {back + "&client_name=Your+Bank"}},
		{"return_to": {"/oauth/authorize?client_name=Your+Bank&flow=" + flow}},
		{"return_to": {"/oauth/logout?flow=" + flow}},
		{"return_to": {"/account?flow=" + flow}},
		{"return_to": {"http://localhost" + back}},
		{"return_to": {"/account", back}}, // the first one counts, for the page as for where it leads
	} {
		for _, path := range []string{"/signin", "/signup", "/signin/link", "/recover"} {
			page := c.page("GET", path+"?"+link.Encode(), nil).want(200).isFor("")
			if strings.Contains(strings.ReplaceAll(string(page.body), "+", " "), ">Your Bank") {
				t.Errorf("%s says so:\n%s", page.what, page.body)
			}
		}
	}

	// A host is known where a request need not say it, too.
	a, w := s.enrols("POST", "/oauth/register", "", stranger)
	if w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	const theHost = `to continue to <bdi>shop.example.net</bdi> <span class="tag warn">nobody has checked it</span>`
	of := []string{"client_id", a["client_id"].(string), "redirect_uri", "", "scope", "email"}
	at, _ := s.client().inApp(of...)
	c.page("GET", at, nil).want(200).isFor(theHost)
	s.another("ann", goodPassword).page("GET", appAsks(append(of, "prompt", "select_account")...), nil).want(200).isFor(theHost)

	// Where strangers register, she has an application of that name, and of whatever host.
	for redirect, want := range map[string]string{
		"https://your-bank.evil.example/callback":                               `to continue to <bdi>your-bank.evil.example</bdi> <span class="tag warn">nobody has checked it</span>`,
		"http://127.0.0.1/callback":                                             `to continue to a program on this device <span class="tag warn">nobody has checked it</span>`,
		"https://" + strings.Repeat("your-bank.", 30) + "evil.example/callback": "",
	} {
		a, w := s.enrols("POST", "/oauth/register", "", m{
			"client_name": "Your Bank", "redirect_uris": []string{redirect, "https://another.evil.example/"}, "token_endpoint_auth_method": "none",
			"grant_types": []string{"authorization_code"}, "scope": "openid email",
		})
		if w.Code != 201 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		of := []string{"client_id", a["client_id"].(string), "redirect_uri", redirect, "scope", "openid email"}
		at, _ := s.client().inApp(of...)
		ann := s.another("ann", goodPassword)
		again, _ := ann.inApp(append(of, "prompt", "login")...)
		for _, page := range []*reply{
			c.page("GET", at, nil), c.page("GET", strings.Replace(at, "/signin", "/signup", 1), nil),
			ann.page("GET", again, nil), ann.page("GET", appAsks(append(of, "prompt", "select_account")...), nil),
		} {
			page.want(200).isFor(want)
			if strings.Contains(string(page.body), "Your Bank") {
				t.Errorf("%s has the name that she has chosen:\n%s", page.what, page.body)
			}
		}
		// Nor does the page on which she asks to sign people out.
		leaving := ann.page("GET", "/oauth/logout?"+url.Values{"client_id": {a["client_id"].(string)}}.Encode(), nil).want(200)
		if text := string(leaving.body); !strings.Contains(text, "An app asks to sign you out here.") || strings.Contains(text, "Your Bank") {
			t.Errorf("the page that asks to sign out says\n%s", text)
		}
	}
}
