package relying

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/otp"
)

// Of three clients in three tabs each gets its own answer, though sign-in, second step and
// consent of one come between those of the others.
func TestSignInFactorAndConsentInSeveralTabsNeverMix(t *testing.T) {
	h := home(t)
	// The second step is set up first.
	p := signedIn(t, h, "kim", "Kim Example")
	p.open(h.url + "/account/factors")
	p.press("Add an authenticator app")
	m := regexp.MustCompile(`otpauth://totp/[^"]*secret=([A-Z2-7]+)`).FindStringSubmatch(p.page)
	if m == nil {
		t.Fatalf("no key on this page:\n%s", p.page)
	}
	key, err := otp.Parse(m[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	p.press("Add", "code", key.At(time.Now()), "name", "a phone")
	codes := regexp.MustCompile(`<code>([^<]+)</code>`).FindAllStringSubmatch(p.page, -1)
	if len(codes) < 3 {
		t.Fatalf("there are %d recovery codes:\n%s", len(codes), p.page)
	}

	b := newPerson(t) // three tabs have one jar of cookies
	type page struct {
		*person
		client string
	}
	var tabs []page
	for _, client := range []string{"tab-one", "tab-two", "tab-three"} {
		h.client(t, client, "--public", "--grant", "authorization_code", "--redirect", "https://"+client+".example/callback", "--scope", "openid profile")
		tab := *b
		tabs = append(tabs, page{&tab, client})
	}
	for _, tab := range tabs {
		tab.open(h.url + "/oauth/authorize?" + authorizing(tab.client, "https://"+tab.client+".example/callback").Encode())
	}
	for _, tab := range tabs {
		tab.signIn("kim")
		if !strings.Contains(tab.page, "One more step") {
			t.Fatalf("the tab of %s is not asked for the second step:\n%s", tab.client, tab.page)
		}
	}
	// The first one takes it, by another factor than it was asked for.
	by := regexp.MustCompile(`href="(/signin/factor\?by=recovery[^"]*)"`).FindStringSubmatch(tabs[0].page)
	if by == nil {
		t.Fatalf("there is no other way:\n%s", tabs[0].page)
	}
	tabs[0].open(h.url + html.UnescapeString(by[1]))
	tabs[0].press("Go on", "code", codes[0][1])
	// The others are led to their own clients, and spend nothing.
	for _, tab := range tabs[1:] {
		tab.press("Go on", "code", "000000")
	}
	for _, tab := range tabs {
		if !strings.Contains(tab.page, "Let The "+tab.client+" in?") {
			t.Fatalf("the tab of %s asks:\n%s", tab.client, tab.page)
		}
	}
	for i := range tabs {
		tab := tabs[(i+1)%len(tabs)]
		_, fields := tab.form()
		res, _ := tab.ask(request(t, "POST", h.url+"/oauth/authorize", url.Values{"flow": {fields["flow"]}, "decision": {"allow"}}, "Origin", h.url))
		to, err := res.Location()
		if err != nil || to.Host != tab.client+".example" || to.Query().Get("state") != "of-"+tab.client || to.Query().Get("code") == "" {
			t.Errorf("the tab of %s leads to %v, %v", tab.client, to, err)
		}
	}
}
