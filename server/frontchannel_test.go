package server_test

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/admit-auth/admit/provider"
)

const (
	shopOut  = "https://shop.example.net/out;a,b?x=y"
	shopHome = "https://shop.example.net/"
)

func framed(c *provider.Client) {
	c.FrontchannelLogoutURI, c.PostLogoutURIs = shopOut, []string{shopHome}
}

var frameTag = regexp.MustCompile(`<iframe[^>]* src="([^"]+)"[^>]*>`)

// saysGoodbye fails the test unless a page shows the shop, and nobody else, in a frame, and
// returns where it goes on.
func (r *reply) saysGoodbye(idToken string) (to string) {
	r.t.Helper()
	frames := frameTag.FindAllStringSubmatch(string(r.want(200).body), -1)
	if len(frames) != 1 || !strings.Contains(frames[0][0], `sandbox="allow-scripts allow-same-origin"`) {
		r.t.Fatalf("%s has the frames %q", r.what, frames)
	}
	at, err := url.Parse(html.UnescapeString(frames[0][1]))
	if err != nil || !strings.HasPrefix(at.String(), shopOut) || at.Query().Get("iss") != "http://localhost" || at.Query().Get("sid") != claims(r.t, idToken)["sid"] {
		r.t.Errorf("%s has the frame %s", r.what, at)
	}
	csp := r.header.Get("Content-Security-Policy")
	if !strings.HasSuffix(csp, "; frame-src https://shop.example.net/out%3Ba%2Cb") || !strings.Contains(csp, "default-src 'none'") {
		r.t.Errorf("%s has the policy %s", r.what, csp)
	}
	to, ok := strings.CutPrefix(r.header.Get("Refresh"), "0;url=")
	if !ok || !strings.Contains(string(r.body), `href="`+html.EscapeString(to)+`"`) {
		r.t.Errorf("%s goes on by %q", r.what, r.header.Get("Refresh"))
	}
	return to
}

func TestAppsHearInFramesThatSomebodySignsOutHere(t *testing.T) {
	s := newSite(t).withShop(framed)
	c := s.signedUp("ann")
	tokens := c.lets()
	c.page("GET", "/signout", nil).want(200)
	if to := c.page("POST", "/signout", url.Values{}).saysGoodbye(tokens.at("id_token")); to != "/" {
		t.Errorf("it goes on to %s", to)
	}
	c.page("GET", "/", nil).says("You are signed out")
	c.page("GET", "/account", nil).leads("/signin?return_to=%2Faccount")
	// Nobody is there any more to tell of.
	if r := c.page("POST", "/signout", url.Values{}); r.status != 303 || strings.Contains(r.header.Get("Content-Security-Policy"), "frame-src") {
		t.Errorf("the next one is answered %d with %s", r.status, r.header.Get("Content-Security-Policy"))
	}
}

func TestAppsHearInFramesThatAnAppSignsSomebodyOut(t *testing.T) {
	for _, hinted := range []bool{true, false} {
		s := newSite(t).withShop(framed)
		c := s.signedUp("ann")
		tokens := c.lets()
		q := url.Values{"client_id": {"shop"}, "post_logout_redirect_uri": {shopHome}, "state": {"xyz"}}
		if hinted {
			q.Set("id_token_hint", tokens.at("id_token"))
		}
		page := c.page("GET", "/oauth/logout?"+q.Encode(), nil)
		if !hinted { // then the person is asked
			back := regexp.MustCompile(`name="return_to" value="([^"]+)"`).FindSubmatch(page.want(200).body)
			if back == nil {
				t.Fatalf("nobody is asked:\n%s", page.body)
			}
			page = c.page("POST", "/signout", url.Values{"return_to": {html.UnescapeString(string(back[1]))}})
		}
		to := c.page("GET", page.saysGoodbye(tokens.at("id_token")), nil).target()
		if to.String() != shopHome+"?state=xyz" {
			t.Errorf("hinted %v: it leads to %s", hinted, to)
		}
		c.page("GET", "/account", nil).leads("/signin?return_to=%2Faccount")
	}
}

// The shop has another person's session in the same browser's history, and must not hear
// of that one, nor of apps that the person uses elsewhere.
func TestAttackAFrameTellsOfAnotherSession(t *testing.T) {
	s := newSite(t).withShop(framed)
	s.signedUp("ann").lets()
	other := s.another("ann", goodPassword)
	if r := other.page("POST", "/signout", url.Values{}); strings.Contains(string(r.body), "iframe") || r.status != 303 {
		t.Errorf("a session that the shop does not know is told to it: %d %s", r.status, r.body)
	}
}
