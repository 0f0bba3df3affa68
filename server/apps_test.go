package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
)

// A shop is an application of somebody else.
const (
	shopBack     = "https://shop.example.net/callback"
	shopVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // of RFC 7636 appendix B
)

// withShop registers the shop, after change.
func (s *site) withShop(change ...func(*provider.Client)) *site {
	s.t.Helper()
	c := provider.Client{
		ID: "shop", Name: "The Shop", Auth: provider.NoAuth, RedirectURIs: []string{shopBack},
		Grants: []provider.GrantType{provider.AuthorizationCode, provider.RefreshToken},
		Scopes: []string{"openid", "profile", "email", "offline_access"},
	}
	for _, fn := range change {
		fn(&c)
	}
	where := s.shared
	if where == "" {
		where = filepath.Join(s.data, "admit.db")
	}
	beside, err := db.Open(s.t.Context(), where)
	if err != nil {
		s.t.Fatal(err)
	}
	defer beside.Close()
	if err := beside.Update(s.t.Context(), func(tx account.Tx) error { return tx.PutClient(&c) }); err != nil {
		s.t.Fatal(err)
	}
	return s
}

// appAsks is the address that the shop sends a browser to, with more parameters.
func appAsks(more ...string) string {
	sum := sha256.Sum256([]byte(shopVerifier))
	q := url.Values{
		"client_id": {"shop"}, "redirect_uri": {shopBack}, "response_type": {"code"}, "scope": {"openid email offline_access"}, "state": {"xyz"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return "/oauth/authorize?" + q.Encode()
}

// target is the address that a redirect leads to.
func (r *reply) target() *url.URL {
	r.t.Helper()
	u, err := url.Parse(r.header.Get("Location"))
	if err != nil || r.status != http.StatusSeeOther {
		r.t.Fatalf("%s: %d to %q: %v\n%s", r.what, r.status, r.header.Get("Location"), err, r.body)
	}
	return u
}

// onward is where the page between a form and an application leads.
func (r *reply) onward() string {
	r.t.Helper()
	to, ok := strings.CutPrefix(r.want(200).header.Get("Refresh"), "0;url=")
	if !ok || !strings.Contains(string(r.body), "<h1>Back to the app</h1>") {
		r.t.Fatalf("%s leads on to %q:\n%s", r.what, r.header.Get("Refresh"), r.body)
	}
	return to
}

var flowField = regexp.MustCompile(`name="flow" value="([^"]+)"`)

// decides answers a consent page.
func (c *client) decides(page *reply, decision string, change ...func(*http.Request)) *reply {
	c.t.Helper()
	m := flowField.FindSubmatch(page.want(200).body)
	if m == nil {
		c.t.Fatalf("%s asks for no decision:\n%s", page.what, page.body)
	}
	return c.page("POST", "/oauth/authorize", url.Values{"flow": {string(m[1])}, "decision": {decision}}, change...)
}

// code fails the test unless an answer brings a code to the shop, and returns it.
func (r *reply) code() string {
	r.t.Helper()
	to := r.target()
	if got := to.Scheme + "://" + to.Host + to.Path; got != shopBack || to.Query().Get("code") == "" || to.Query().Get("iss") != "http://localhost" {
		r.t.Fatalf("%s leads to %s", r.what, to)
	}
	return to.Query().Get("code")
}

// redeem is the shop's server.
func (s *site) redeem(form url.Values) *reply {
	form.Set("client_id", "shop")
	return s.client().oauth(form)
}

func (c *client) oauth(form url.Values, change ...func(*http.Request)) *reply {
	c.t.Helper()
	r := c.page("POST", "/oauth/token", form, change...)
	decodeJSON(c.t, r)
	return r
}

func (s *site) redeemCode(code string) *reply {
	return s.redeem(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {shopBack}, "code_verifier": {shopVerifier}})
}

func (s *site) refreshApp(token string) *reply {
	return s.redeem(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// lets signs nobody in, and lets the shop in.
func (c *client) lets(more ...string) (tokens *reply) {
	c.t.Helper()
	return c.redeemCode(c.decides(c.page("GET", appAsks(more...), nil), "allow").code()).want(200)
}

func signingIn(name string) url.Values {
	return url.Values{"identifier": {name}, "password": {goodPassword}}
}

// signsIn fills in the sign-in page that an application's request has led to.
func (c *client) signsIn(at *reply, name string) *reply {
	c.t.Helper()
	to := at.target()
	c.page("GET", to.RequestURI(), nil).want(200)
	in := signingIn(name)
	in.Set("return_to", to.Query().Get("return_to"))
	return c.page("POST", "/signin", in)
}

func TestAPersonSignsInForAnAppAndIsAskedOnce(t *testing.T) {
	s := newSite(t).withShop()
	s.signedUp("ann")
	c := s.client()
	at := c.signsIn(c.page("GET", appAsks(), nil), "ann").onward()
	page := c.page("GET", at, nil)
	page.says("Let The Shop in?", "ann", "shop.example.net", "see your e-mail address", "while you are away")
	tokens := s.redeemCode(c.decides(page, "allow").code()).want(200)
	if tokens.at("refresh_token") == "" || tokens.at("id_token") == "" {
		t.Errorf("the shop gets %s", tokens.body)
	}
	c.page("GET", appAsks(), nil).code() // and not asked again
	page = c.page("GET", appAsks("scope", "openid email profile"), nil)
	page.says("It would then be able to", "see your name", "You have allowed it already to")
	if to := c.decides(page, "deny").target(); to.Query().Get("error") != "access_denied" || to.Query().Get("state") != "xyz" {
		t.Errorf("no leads to %s", to)
	}
}

func TestTheConsentPageSpeaksTheLanguageThatIsAskedForAndKeepsItsRequest(t *testing.T) {
	s := newSite(t).withShop()
	c := s.signedUp("ann")
	c.page("GET", appAsks("ui_locales", "fr zh-Hans"), nil).want(200).says(`lang="zh-CN"`, "要授权")
	page := s.another("ann", goodPassword)
	first := page.page("GET", appAsks("state", "kept"), nil).says("Let The Shop in?")
	link := regexp.MustCompile(`href="(\?flow=[^"]+lang=zh-CN)"`).FindSubmatch(first.body)
	if link == nil {
		t.Fatalf("no link to the other language:\n%s", first.body)
	}
	to := page.page("GET", "/oauth/authorize"+strings.ReplaceAll(string(link[1]), "&amp;", "&"), nil).target()
	if to := page.decides(page.page("GET", to.RequestURI(), nil).says("要授权"), "allow").target(); to.Query().Get("state") != "kept" {
		t.Errorf("it leads to %s", to)
	}
}

func TestTwoTabsOfAppsNeverMix(t *testing.T) {
	s := newSite(t).withShop()
	s.signedUp("ann")
	c := s.client()
	first, second := c.page("GET", appAsks("state", "first"), nil), c.page("GET", appAsks("state", "second", "scope", "openid"), nil)
	at := c.signsIn(first, "ann").onward()
	// The other tab finds somebody signed in when its page is looked at again.
	other := c.page("GET", second.target().RequestURI(), nil).target()
	pageTwo := c.page("GET", other.RequestURI(), nil)
	pageOne := c.page("GET", at, nil)
	for state, page := range map[string]*reply{"first": pageOne, "second": pageTwo} {
		if to := c.decides(page, "allow").target(); to.Query().Get("state") != state {
			t.Errorf("the %s tab leads to %s", state, to)
		}
	}
}

func TestTheSecondStepOfASignInLeadsOnToTheApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).withShop()
		a, _ := s.signedUp("ann").enrolled()
		c := s.client()
		c.signsIn(c.page("GET", appAsks(), nil), "ann").leads("/signin/factor")
		c.page("GET", c.page("POST", "/signin/factor", url.Values{"factor": {"totp"}, "code": {a.next()}}).onward(), nil).says("Let The Shop in?")
	})
}

// Each tab goes on with the sign-in that it began, whichever is the newest.
func TestTwoPeopleAtTheSecondStepInTwoTabsNeverMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).withShop()
		ann, _ := s.signedUp("ann").enrolled()
		bea, _ := s.signedUp("bea").enrolled()
		c := s.client()
		steps := map[string]string{}
		for _, name := range []string{"ann", "bea"} {
			c.signsIn(c.page("GET", appAsks("state", "of-"+name), nil), name).leads("/signin/factor")
			m := regexp.MustCompile(`name="step" value="([^"]+)"`).FindSubmatch(c.page("GET", "/signin/factor", nil).want(200).body)
			if m == nil {
				t.Fatal("the page does not say which step it is")
			}
			steps[name] = string(m[1])
		}
		step := func(name, code string) *reply {
			return c.page("POST", "/signin/factor", url.Values{"factor": {"totp"}, "code": {code}, "step": {steps[name]}})
		}
		step("bea", ann.next()).want(401)
		for name, a := range map[string]authenticator{"ann": ann, "bea": bea} {
			page := c.page("GET", step(name, a.next()).onward(), nil).says(name)
			if to := c.decides(page, "allow").target(); to.Query().Get("state") != "of-"+name {
				t.Errorf("the tab of %s leads to %s", name, to)
			}
		}
		step("ann", ann.next()).want(401) // it has been of use
	})
}

var returnField = regexp.MustCompile(`name="return_to" value="([^"]+)"`)

// fills fills in the form of the page that a redirect leads to, which carries where it
// leads on to.
func (c *client) fills(at *reply, form url.Values) *reply {
	c.t.Helper()
	to := at.target()
	page := c.page("GET", to.RequestURI(), nil).want(200)
	m := returnField.FindSubmatch(page.body)
	if m == nil {
		c.t.Fatalf("%s carries nothing on:\n%s", page.what, page.body)
	}
	form.Set("return_to", html.UnescapeString(string(m[1])))
	return c.page("POST", to.Path, form)
}

// A request that is longer than a cookie goes through every step of a sign-in whole.
func TestALongRequestOfAnAppSurvivesASignInOfTwoSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).withShop()
		s.signedUp("bea")
		a, _ := s.signedUp("ann").enrolled()
		state := strings.Repeat("s", 3000)
		c := s.client()
		c.page("GET", c.signsIn(c.page("GET", appAsks("state", state), nil), "bea").onward(), nil).says("Let The Shop in?")
		c = s.client()
		at := c.signsIn(c.page("GET", appAsks("state", state), nil), "ann")
		c.page("POST", "/signin/factor", url.Values{"factor": {"totp"}, "code": {a.next()}, "return_to": {"https://evil.example/"}}).want(400)
		asked := c.page("GET", c.fills(at, url.Values{"factor": {"totp"}, "code": {a.next()}}).onward(), nil).says("Let The Shop in?")
		if to := c.decides(asked, "allow").target(); to.Query().Get("code") == "" || to.Query().Get("state") != state {
			t.Errorf("it leads to %s", to)
		}
	})
}

func TestALongRequestOfAnAppSurvivesASignUp(t *testing.T) {
	s := newSite(t).withShop()
	s.run()
	state := strings.Repeat("s", 3000)
	c := s.client()
	back := c.page("GET", appAsks("state", state), nil).target().Query().Get("return_to")
	at := c.page("POST", "/signup", url.Values{"identifier": {"ann@example.org"}, "password": {goodPassword}, "return_to": {back}})
	code, _, _ := s.mailTo("ann@example.org")
	at = c.fills(at, url.Values{"code": {code}})
	if to := c.decides(c.page("GET", at.onward(), nil), "allow").target(); to.Query().Get("code") == "" || to.Query().Get("state") != state {
		t.Errorf("it leads to %s", to)
	}
}

func TestWhoChoosesANewPasswordGoesOnToTheApp(t *testing.T) {
	s := newSite(t).withShop()
	s.signedUp("ann").disown(m{}).want(204)
	newPassword := url.Values{"password": {goodPassword}, "new_password": {"another long pass phrase"}}
	c := s.client()
	at := c.signsIn(c.page("GET", appAsks(), nil), "ann")
	if at.target().Path != "/account/security" {
		t.Fatalf("it leads to %s", at.target())
	}
	c.page("GET", c.fills(at, newPassword).onward(), nil).says("Let The Shop in?")

	// So does who was signed in before, and only to an app.
	s.signedUp("bea").disown(m{}).want(204)
	c = s.client()
	c.page("POST", "/signin", signingIn("bea")).leads("/account/security")
	c.page("GET", c.fills(c.page("GET", appAsks(), nil), newPassword).onward(), nil).says("Let The Shop in?")
	c.page("GET", "/account/security?return_to=https://evil.example/", nil).want(400)
}

func TestAFreshAndAStrongerProofAreAskedForOnThePagesThatThereAre(t *testing.T) {
	s := newSite(t).withShop()
	c := s.signedUp("ann")
	c.lets()
	at := c.page("GET", appAsks("prompt", "login"), nil).target()
	if at.Path != "/account/confirm" {
		t.Fatalf("prompt=login leads to %s", at)
	}
	c.page("GET", at.RequestURI(), nil).want(200).says("asks that you show once more", "Use another account", "switch=yes")
	back := at.Query().Get("return_to")
	c.page("POST", "/account/confirm", url.Values{"password": {"wrong"}, "return_to": {back}}).want(403)
	c.page("GET", c.page("POST", "/account/confirm", url.Values{"password": {goodPassword}, "return_to": {back}}).onward(), nil).code()

	// Who has nothing stronger is not asked in vain, and the app is told where it insists.
	to := c.page("GET", appAsks("acr_values", "2fa"), nil).target()
	c.page("GET", to.RequestURI(), nil).code()
	essential := appAsks("claims", `{"id_token":{"acr":{"essential":true,"value":"2fa"}}}`)
	to = c.page("GET", c.page("GET", essential, nil).target().RequestURI(), nil).target()
	if got := to.Query().Get("error"); got != "unmet_authentication_requirements" {
		t.Errorf("the app is told %s", to)
	}
}

func TestAStrongerProofIsGivenByTheSecondFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).withShop()
		c := s.signedUp("ann")
		c.lets()
		a, _ := c.enrolled()
		c.post("signin", m{"identifier": "ann", "password": goodPassword})
		if c.get("session").at("session.acr") == "2fa" {
			t.Skip("the session is strong already")
		}
		at := c.page("GET", appAsks("acr_values", "2fa"), nil).target()
		if at.Path != "/account/confirm" || at.Query().Get("by") != "totp" {
			t.Fatalf("a stronger proof leads to %s", at)
		}
		in := url.Values{"by": {"totp"}, "code": {a.next()}, "return_to": {at.Query().Get("return_to")}}
		c.page("GET", c.page("POST", "/account/confirm", in).onward(), nil).code()
	})
}

func TestAnAppAsksWhoSomebodyWantsToBe(t *testing.T) {
	s := newSite(t).withShop()
	s.signedUp("bea")
	c := s.signedUp("ann")
	page := c.page("GET", appAsks("prompt", "select_account"), nil).want(200).says("Who do you want to be?", "Go on as ann", "Use another account")
	other := regexp.MustCompile(`href="(/signin\?[^"]+)"`).FindSubmatch(page.body)
	if other == nil {
		t.Fatalf("nobody else can sign in:\n%s", page.body)
	}
	to, err := url.Parse(strings.ReplaceAll(string(other[1]), "&amp;", "&"))
	if err != nil {
		t.Fatal(err)
	}
	c.page("GET", to.RequestURI(), nil).want(200).says("<h1>Sign in</h1>")
	in := signingIn("bea")
	in.Set("return_to", to.Query().Get("return_to"))
	c.page("GET", c.page("POST", "/signin", in).onward(), nil).says("Let The Shop in?", "bea")
}

func TestALoginHintIsFilledInAndNothingElse(t *testing.T) {
	s := newSite(t).withShop()
	c := s.client()
	c.page("GET", c.page("GET", appAsks("login_hint", "ann@example.org"), nil).target().RequestURI(), nil).says(`value="ann@example.org"`)
	page := c.page("GET", "/signin?login_hint="+url.QueryEscape(`"><script>`+strings.Repeat("x", 400)), nil)
	if strings.Contains(string(page.want(200).body), "xxx") {
		t.Error("a hint of any length is shown")
	}
}

// Mallory shows the page in a frame of hers under a game, so that Ann clicks what she
// does not see.
func TestAttackTheConsentPageIsFramed(t *testing.T) {
	s := newSite(t).withShop()
	c := s.signedUp("ann")
	for what, r := range map[string]*reply{
		"consent": c.page("GET", appAsks(), nil).want(200),
		"choice":  c.page("GET", appAsks("prompt", "select_account"), nil).want(200),
		"a fault": c.page("GET", appAsks("client_id", "nobody"), nil).want(400),
	} {
		if csp := r.header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "default-src 'none'") || r.header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s has the policy %q", what, csp)
		}
		if r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s is kept", what)
		}
	}
}

func TestOnlyTheConsentPageSendsItsFormElsewhere(t *testing.T) {
	for uri, want := range map[string]string{
		shopBack:                          "form-action 'self' https:;",
		"http://127.0.0.1:8123/callback":  "form-action 'self' https: http://127.0.0.1:*;",
		"http://[::1]:8123/callback":      "form-action 'self' https: http:;",
		"net.example.shop:/callback":      "form-action 'self' https: net.example.shop:;",
		"net.example.shop://x;script-src": "form-action 'self' https: net.example.shop:;",
	} {
		s := newSite(t).withShop(func(c *provider.Client) { c.RedirectURIs, c.Native = []string{uri}, true })
		c := s.signedUp("ann")
		if csp := c.page("GET", appAsks("redirect_uri", uri), nil).want(200).header.Get("Content-Security-Policy"); !strings.Contains(csp, want) || strings.Contains(csp, ";script-src;") {
			t.Errorf("for %s the policy is %q", uri, csp)
		}
		if csp := s.client().page("GET", "/signin", nil).header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self';") {
			t.Errorf("the policy of the sign-in page is %q", csp)
		}
	}
}

// Mallory has Ann's browser post what it should only be led to.
func TestAttackAnotherSitePostsToTheEndpointsOfPeople(t *testing.T) {
	s := newSite(t).withShop()
	c := s.signedUp("ann")
	to := c.decides(c.page("GET", appAsks(), nil), "allow", evil).target()
	if to.Host != "" || to.Path != "/oauth/authorize" {
		t.Errorf("a decision from another site leads to %s", to)
	}
	c.page("GET", to.RequestURI(), nil).says("Let The Shop in?")
	c.page("POST", "/account/apps", url.Values{"client": {"shop"}}, evil).want(403)
	c.page("POST", "/signout", url.Values{}, evil).want(403)
	// Programs prove themselves, whatever page they run in.
	s.client().oauth(url.Values{"grant_type": {"authorization_code"}, "client_id": {"shop"}, "code": {"x"}}, evil).want(400)
}

// What was said of an unknown client or address is told to the person: nobody is led
// there.
func TestAttackAFalseAppLeadsNobodyAnywhere(t *testing.T) {
	s := newSite(t).withShop()
	c := s.signedUp("ann")
	for _, query := range []string{
		appAsks("client_id", "nobody"), appAsks("redirect_uri", "https://evil.example/"), appAsks("redirect_uri", shopBack+"/../x"), "/oauth/authorize?flow=forged", "/oauth/authorize",
	} {
		r := c.page("GET", query, nil).want(400)
		r.says("This app cannot be let in like this", "For the makers of the app")
		if r.header.Get("Location")+r.header.Get("Refresh") != "" || strings.Contains(string(r.body), "evil.example") {
			t.Errorf("%s leads to %v", query, r.header)
		}
	}
}

// A program that was given a token of Ann's session would let itself in with it.
func TestAttackAProgramWithATokenConsentsInThePersonsPlace(t *testing.T) {
	s := newSite(t).withShop()
	s.signedUp("ann")
	token := s.client().post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200).at("token")
	r := s.client().page("GET", appAsks(), nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
	if to := r.target(); to.Path != "/signin" {
		t.Errorf("it comes to %s", to)
	}
}

func TestWhoMustChooseANewPasswordLetsNobodyIn(t *testing.T) {
	s := newSite(t).withShop()
	c := s.signedUp("ann")
	c.disown(m{}).want(204)
	c = s.client()
	c.page("POST", "/signin", signingIn("ann"))
	if to := c.page("GET", appAsks(), nil).target(); to.Path != "/account/security" {
		t.Errorf("it leads to %s", to)
	}
	if to := c.page("GET", appAsks("prompt", "none"), nil).target(); to.Query().Get("error") != "login_required" {
		t.Errorf("silently it is %s", to)
	}
}

func TestAGuestIsNobodyToAnApp(t *testing.T) {
	s := newSite(t).withShop()
	c := s.client()
	c.post("guest", m{}).want(201)
	if to := c.page("GET", appAsks(), nil).target(); to.Path != "/signin" {
		t.Errorf("a guest comes to %s", to)
	}
}

func TestWhatAnAppWasAllowedIsTakenBackAtOnce(t *testing.T) {
	s := newSite(t).withShop()
	c, other := s.signedUp("ann"), s.signedUp("bea")
	c.page("GET", "/account/apps", nil).want(200).says("You have let in no app yet.")
	hers, theirs := c.lets(), other.lets()
	c.page("GET", "/account/apps", nil).want(200).says("The Shop", "see your e-mail address", "Last used", `value="shop"`)
	c.page("GET", "/account/security", nil).want(200).says("Let in: 1")
	if got := c.get("apps").want(200); got.m["apps"].([]any)[0].(m)["client_id"] != "shop" {
		t.Errorf("the apps are %s", got.body)
	}
	s.refreshApp(hers.at("refresh_token")).want(200)

	c.page("POST", "/account/apps", url.Values{"client": {"shop"}}).leads("/account/apps")
	c.page("GET", "/account/apps", nil).says("It is taken back.", "You have let in no app yet.")
	c.page("POST", "/account/apps", url.Values{"client": {"shop"}}).leads("/account/apps") // as it was wanted
	if got := s.refreshApp(hers.at("refresh_token")).want(400); got.at("error") != "invalid_grant" {
		t.Errorf("its refresh token is answered %s", got.body)
	}
	s.refreshApp(theirs.at("refresh_token")).want(200)
	c.page("GET", appAsks(), nil).says("Let The Shop in?")

	for _, event := range []string{"client_authorized", "client_taken_back"} {
		if got := string(c.get("activity").want(200).body); !strings.Contains(got, `"event":"`+event+`","text"`) || !strings.Contains(got, `"detail":"shop","by":"user"`) {
			t.Errorf("the activity does not tell of %s: %s", event, got)
		}
		for _, r := range c.get("activity").m["records"].([]any) {
			if r := r.(m); r["event"] == event {
				if from, _ := r["device"].(m); from["address"] != "127.0.0.1" || from["name"] != "Firefox on Linux" {
					t.Errorf("%s comes from %v", event, r)
				}
			}
		}
	}

	other.delete("apps/shop").want(204)
	other.delete("apps/shop").want(404, "unknown_app")
}

func TestAnEndpointForProgramsAnswersPrograms(t *testing.T) {
	s := newSite(t).withShop()
	c := s.client()
	if r := c.page("GET", "/oauth/token", nil).want(405); !strings.Contains(r.header.Get("Allow"), "POST") {
		t.Errorf("the header Allow is %q", r.header.Get("Allow"))
	}
	if r := c.page("HEAD", appAsks(), nil); r.status != 405 {
		t.Errorf("a look ahead at a link is answered %d", r.status)
	}
	// Its secret would have been read on the way.
	far := func(r *http.Request) { r.RemoteAddr = "192.0.2.7:4711" }
	r := c.page("POST", "/oauth/token", url.Values{"client_id": {"shop"}}, far).want(403)
	if decodeJSON(t, r); r.at("code") != "https_required" {
		t.Errorf("a request in the clear is answered %s", r.body)
	}
}

// Pages of a registered client may ask for tokens from a script; another one's may not,
// and nobody's where people are asked.
func TestScriptsOfAClientsPagesAreAnsweredAndNoOthers(t *testing.T) {
	s := newSite(t).withShop()
	for path, shared := range map[string]bool{
		"/oauth/par": true, "/oauth/token": true, "/oauth/revoke": true, "/oauth/userinfo": true, "/.well-known/openid-configuration": true, "/.well-known/oauth-authorization-server": true,
		"/.well-known/oauth-protected-resource": true,
		"/oauth/introspect":                     false, "/oauth/authorize": false, "/oauth/logout": false,
	} {
		for origin, known := range map[string]bool{"https://shop.example.net": true, "https://evil.example": false} {
			r := s.client().page("OPTIONS", path, nil, func(r *http.Request) {
				r.Header.Set("Origin", origin)
				r.Header.Set("Access-Control-Request-Method", "POST")
				r.Header.Set("Sec-Fetch-Site", "cross-site")
			})
			want := ""
			if shared && known {
				want = origin
			}
			if got := r.header.Get("Access-Control-Allow-Origin"); got != want || r.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s is shared with %q for %s", path, got, origin)
			}
		}
	}
}

func TestTheDocumentsOfTheProviderNameItsEndpoints(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		r := s.client().page("GET", path, nil).want(200)
		decodeJSON(t, r)
		if r.at("issuer") != "http://localhost" || r.at("authorization_endpoint") != "http://localhost/oauth/authorize" || r.at("jwks_uri") != "http://localhost/oauth/jwks" {
			t.Errorf("%s says %s", path, r.body)
		}
	}
}

// A program that shows an access token learns of its person what was allowed.
func TestAnAppIsToldOfAPersonWhatWasAllowed(t *testing.T) {
	s := newSite(t).withShop()
	c := s.signedUp("ann")
	bearer := func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+c.lets("scope", "openid").at("access_token"))
	}
	r := s.client().page("GET", "/oauth/userinfo", nil, bearer).want(200)
	if decodeJSON(t, r); r.at("sub") == "" || len(r.m) != 1 {
		t.Errorf("it learns %s", r.body)
	}
}

func TestSigningOutLeadsOnToTheAppThatAsked(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	if to := c.page("POST", "/signout", url.Values{"return_to": {"/oauth/logout?flow=x"}}).onward(); to != "/oauth/logout?flow=x" {
		t.Errorf("it leads to %s", to)
	}
	c.page("GET", "/account", nil).leads("/signin?return_to=%2Faccount")
	c.page("POST", "/signout", url.Values{"return_to": {"https://evil.example/"}}).want(400)
}

// decodeJSON reads the JSON of an answer that openapi.json does not describe.
func decodeJSON(t testing.TB, r *reply) {
	t.Helper()
	if err := json.Unmarshal(r.body, &r.m); err != nil {
		t.Fatalf("%s: %d with %q: %v", r.what, r.status, r.body, err)
	}
}
