package server_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/provider"
)

// withTV registers the shop as a program on a device without a browser.
func (s *site) withTV() *site {
	return s.withShop(func(c *provider.Client) {
		c.Name, c.RedirectURIs = "The TV", nil
		c.Grants = []provider.GrantType{provider.DeviceCode, provider.RefreshToken}
	})
}

// device is one that shows a code, somewhere else.
func (s *site) device(scope string) (deviceCode, userCode string) {
	s.t.Helper()
	r := s.client().page("POST", "/oauth/device", url.Values{"client_id": {"shop"}, "scope": {scope}}).want(200)
	decodeJSON(s.t, r)
	if r.at("verification_uri") != "http://localhost/device" || r.at("verification_uri_complete") != "http://localhost/device?user_code="+r.at("user_code") {
		s.t.Errorf("a device is told %s", r.body)
	}
	return r.at("device_code"), r.at("user_code")
}

func (s *site) poll(deviceCode string) *reply {
	return s.redeem(url.Values{"grant_type": {string(provider.DeviceCode)}, "device_code": {deviceCode}})
}

func (r *reply) tells(code string) {
	r.t.Helper()
	if r.want(400); r.at("error") != code {
		r.t.Errorf("%s: %s, want %s", r.what, r.body, code)
	}
}

// types is a person who types a code.
func (c *client) types(userCode string) *reply {
	return c.page("POST", "/device", url.Values{"user_code": {userCode}})
}

// settles decides on the page that a code has led to.
func (c *client) settles(page *reply, decision string, change ...func(*http.Request)) *reply {
	c.t.Helper()
	m := flowField.FindSubmatch(page.want(200).body)
	if m == nil {
		c.t.Fatalf("%s asks for no decision:\n%s", page.what, page.body)
	}
	return c.page("POST", "/device", url.Values{"flow": {string(m[1])}, "decision": {decision}}, change...)
}

func TestAPersonLetsADeviceInAndTakesItBack(t *testing.T) {
	s := newSite(t).withTV()
	s.signedUp("ann")
	code, user := s.device("openid email offline_access")
	c := s.client()
	at := c.page("GET", "/device?user_code="+user, nil).target()
	if at.Path != "/signin" || at.Query().Get("return_to") != "/device?user_code="+user {
		t.Fatalf("nobody is led to %s", at)
	}
	in := signingIn("ann")
	in.Set("return_to", at.Query().Get("return_to"))
	to := c.page("POST", "/signin", in).target()
	c.page("GET", to.RequestURI(), nil).want(200).says(user, "the very same one", "Type no code that somebody has sent you")
	page := c.types(strings.ToLower(strings.ReplaceAll(user, "-", " "))).want(200)
	page.says("Let The TV in on a device?", user, "ann", "just now", "from the network that you are in", "see your e-mail address", "while you are away")
	s.poll(code).tells("authorization_pending")
	c.settles(page, "allow").want(200).says("The device is let in", "The TV goes on by itself")
	tokens := s.poll(code).want(200)
	if tokens.at("refresh_token") == "" || tokens.at("id_token") == "" {
		t.Errorf("the device gets %s", tokens.body)
	}
	s.refreshApp(tokens.at("refresh_token")).want(200)
	c.page("GET", "/account/apps", nil).says("The TV", "see your e-mail address")
	c.page("POST", "/account/apps", url.Values{"client": {"shop"}})
	s.refreshApp(tokens.at("refresh_token")).tells("invalid_grant")
}

func TestAPersonDeniesADevice(t *testing.T) {
	s := newSite(t).withTV()
	c := s.signedUp("ann")
	code, user := s.device("openid")
	page := c.types(user)
	c.settles(page, "deny").want(200).says("The device is not let in", "The TV gets nothing", "If somebody has sent you the code")
	s.poll(code).tells("access_denied")
	c.types(user).want(400).says("not a code that a device shows just now")
	c.settles(page, "allow").want(400)
	c.settles(page, "perhaps").want(400).says("Type the code again.")
}

func TestADeviceIsAskedForInBothLanguages(t *testing.T) {
	s := newSite(t).withTV()
	c := s.signedUp("ann")
	_, user := s.device("openid")
	page := c.page("GET", "/device?user_code="+user, nil)
	if !strings.Contains(string(page.body), "?lang=zh-CN&amp;user_code="+user) {
		t.Errorf("the other language forgets the code:\n%s", page.body)
	}
	c.page("GET", "/device?lang=zh-CN&user_code="+user, nil).leads("/device?user_code=" + user)
	c.page("GET", "/device?user_code="+user, nil).says("授权设备", user)
	page = c.types(user).says("要在设备上授权“The TV”吗", "请求来自您所在的网络")
	c.settles(page, "allow").says("已授权设备")
	c.types("BCDF-GHJK").says("现在没有设备显示这个代码")
}

// Who signs in with a second factor lets a device in with it.
func TestADeviceIsToldHowItsPersonHasSignedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).withTV()
		a, _ := s.signedUp("ann").enrolled()
		code, user := s.device("openid")
		c := s.client()
		in := signingIn("ann")
		in.Set("return_to", "/device?user_code="+user)
		c.page("POST", "/signin", in).leads("/signin/factor")
		c.types(user).leads("/signin?return_to=" + url.QueryEscape("/device?user_code="+user)) // half a sign-in is none
		c.page("POST", "/signin/factor", url.Values{"factor": {"totp"}, "code": {a.next()}}).leads("/device?user_code=" + user)
		c.settles(c.types(user), "allow").want(200)
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(s.poll(code).want(200).at("id_token"), ".")[1])
		if err != nil || !strings.Contains(string(payload), `"acr":"2fa"`) {
			t.Errorf("the ID token says %s, %v", payload, err)
		}
	})
}

func TestWhatADeviceWasAllowedEndsWithTheSession(t *testing.T) {
	s := newSite(t).withTV()
	c := s.signedUp("ann")
	code, user := s.device("openid")
	c.settles(c.types(user), "allow").want(200)
	tokens := s.poll(code).want(200)
	s.refreshApp(tokens.at("refresh_token")).want(200)
	c.page("POST", "/signout", url.Values{})
	s.refreshApp(tokens.at("refresh_token")).tells("invalid_grant")
}

// Mallory sends Ann the link to a device of hers: RFC 8628 section 5.4.
func TestAttackAPrefilledLinkAllowsNothing(t *testing.T) {
	s := newSite(t).withTV()
	c := s.signedUp("ann")
	code, user := s.device("openid")
	for _, link := range []string{
		"/device?user_code=" + user, "/device?user_code=" + user + "&decision=allow", "/device?decision=allow&flow=x&user_code=" + user, "/device?user_code=" + user + "&allow=yes",
	} {
		r := c.page("GET", link, nil).want(200).says("Continue")
		if strings.Contains(string(r.body), "The TV") || flowField.Match(r.body) {
			t.Errorf("%s gets as far as\n%s", link, r.body)
		}
		s.poll(code).want(400)
	}
	c.page("POST", "/device?user_code="+user, url.Values{"decision": {"allow"}}).want(400)
	far := s.another("ann", goodPassword)
	far.address = "198.51.100.7:4711"
	long := c.page("GET", "/device?user_code="+strings.Repeat("x", 500)+"%3Cscript%3E", nil).want(200)
	if strings.Contains(string(long.body), "xxx") {
		t.Error("a link fills in what it likes")
	}
	if got := s.poll(code); got.at("error") != "authorization_pending" && got.at("error") != "slow_down" {
		t.Errorf("the device is answered %s", got.body)
	}
}

// Mallory has Ann's browser post for her.
func TestAttackAnotherSitePostsToThePageForDevices(t *testing.T) {
	s := newSite(t).withTV()
	c, mallory := s.signedUp("ann"), s.signedUp("mallory")
	code, user := s.device("openid")
	c.page("POST", "/device", url.Values{"user_code": {user}}, evil).want(403)
	page := c.types(user)
	c.settles(page, "allow", evil).want(403)
	// A flow that she was given herself is good in no other session.
	c.settles(mallory.types(user), "allow").want(400).says("made for somebody else")
	s.poll(code).tells("authorization_pending")
	// A program has no such page, and proves itself.
	s.client().page("POST", "/oauth/device", url.Values{"client_id": {"shop"}}, evil).want(200)
}

func TestAttackThePageForDevicesIsFramed(t *testing.T) {
	s := newSite(t).withTV()
	c := s.signedUp("ann")
	_, user := s.device("openid")
	ask := c.types(user)
	for what, r := range map[string]*reply{"the code": c.page("GET", "/device", nil), "the decision": ask, "what came of it": c.settles(ask, "allow")} {
		if csp := r.want(200).header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "form-action 'self';") || r.header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s has the policy %q", what, csp)
		}
		if r.header.Get("Cache-Control") != "no-store" || r.header.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s is kept, or tells its address: %v", what, r.header)
		}
	}
}

func TestAttackUserCodesAreGuessedOnThePage(t *testing.T) {
	s := newSite(t).withTV()
	mallory := s.signedUp("mallory")
	_, user := s.device("openid")
	for range 10 {
		mallory.types("BCDF-GHJK").want(400).says("not a code that a device shows")
	}
	if r := mallory.types(user).want(429).says("Too many codes were wrong."); r.header.Get("Retry-After") == "" {
		t.Error("nobody says when to try again")
	}
	s.another("mallory", goodPassword).types(user).want(429) // another session is no other person
	mallory.page("GET", "/device?user_code="+user, nil).want(200)
}

// Ann has signed out, and her page is still there.
func TestAttackADeviceIsAllowedOnAPageAfterTheSignOut(t *testing.T) {
	s := newSite(t).withTV()
	c := s.signedUp("ann")
	code, user := s.device("openid offline_access")
	page := c.types(user)
	c.page("POST", "/signout", url.Values{})
	c.settles(page, "allow").leads("/signin?return_to=%2Fdevice")
	again := s.another("ann", goodPassword)
	again.settles(page, "allow").want(400).says("made for somebody else")
	s.poll(code).tells("authorization_pending")
}

// A program with a token of Ann's session, a guest, and who must choose a new password
// first let nothing in.
func TestAttackADeviceIsLetInByWhoIsNoPersonAtAPage(t *testing.T) {
	s := newSite(t).withTV()
	ann := s.signedUp("ann")
	_, user := s.device("openid")
	token := s.client().post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200).at("token")
	to := s.client().page("POST", "/device", url.Values{"user_code": {user}}, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }).target()
	if to.Path != "/signin" {
		t.Errorf("a program comes to %s", to)
	}
	guest := s.client()
	guest.post("guest", m{}).want(201)
	if to := guest.types(user).target(); to.Path != "/signin" {
		t.Errorf("a guest comes to %s", to)
	}
	ann.disown(m{}).want(204)
	c := s.client()
	c.page("POST", "/signin", signingIn("ann"))
	c.types(user).leads("/account/security")
}

// Whoever reads the database has no code to show, and none to type.
func TestAttackTheCodesOfDevicesAreReadInTheDatabase(t *testing.T) {
	s := newSite(t).withTV()
	c := s.signedUp("ann")
	code, user := s.device("openid")
	c.settles(c.types(user), "allow").want(200)
	for _, text := range []string{user, strings.ReplaceAll(user, "-", ""), code, code[28:]} {
		if s.holds(text) {
			t.Errorf("the database holds %s", text)
		}
	}
	if !s.holds(code[6:28]) {
		t.Error("not even the public half is there: nothing was looked at")
	}
}

func TestADeviceIsForgottenWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).withTV()
		c := s.signedUp("ann")
		code, user := s.device("openid")
		page := c.types(user)
		time.Sleep(10 * time.Minute)
		c.settles(page, "allow").want(400)
		s.poll(code).tells("expired_token")
		time.Sleep(10 * time.Minute)
		s.poll(code).tells("invalid_grant")
	})
}
