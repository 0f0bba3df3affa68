package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/admit-auth/admit/server"
)

// What the ASVS asks for and no other test shows.

func secure(c *server.Config) { c.Dev, c.PublicURL = false, "https://id.example.org" }

func TestEveryCookieIsForThisHostAloneAndHiddenFromScripts(t *testing.T) {
	s := newSite(t, secure)
	c := s.client()
	var set []string
	keep := func(r *reply) { set = append(set, r.header["Set-Cookie"]...) }
	keep(c.post("signup", m{"identifier": "ann", "password": goodPassword}).want(201))
	keep(c.post("signin", m{"identifier": "ann", "password": goodPassword, "remember": true}).want(200))
	keep(c.page("GET", "/link/adm_o_nobody", nil))
	keep(c.page("GET", "/?lang=zh-CN", nil))
	keep(c.page("POST", "/signin", url.Values{"identifier": {"ann"}, "password": {goodPassword}}))
	keep(c.page("POST", "/signout", url.Values{}))
	names := map[string]bool{}
	for _, line := range set {
		k, err := http.ParseSetCookie(line)
		if err != nil {
			t.Fatal(err)
		}
		names[k.Name] = true
		if !strings.HasPrefix(k.Name, "__Host-") || !k.Secure || !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Domain != "" || k.Path != "/" {
			t.Errorf("the cookie is %s", line)
		}
	}
	for _, name := range []string{"admit", "admit-device", "admit-link", "admit-lang", "admit-notice"} {
		if !names["__Host-"+name] {
			t.Errorf("no cookie %s was seen", name)
		}
	}
}

// memberPages need somebody who is signed in.
var memberPages = []string{
	"/account", "/account/security", "/account/sessions", "/account/activity", "/account/identifiers", "/account/data", "/account/confirm", "/account/keys",
	"/account/passkeys", "/account/factors", "/account/devices",
}

func TestEveryPageOfTheAccountIsLookedAt(t *testing.T) {
	// A file, and pages of what must have begun before.
	known := append([]string{"/account/export", "/account/identifiers/verify", "/account/activity/disown", "/account/confirm/asked",
		"/account/confirm/passkey", "/account/factors/totp", "/account/passkeys/offer"}, memberPages...)
	for _, path := range newSite(t).handler.(interface{ Paths() []string }).Paths() {
		if strings.HasPrefix(path, "/account") && !slices.Contains(known, path) {
			t.Errorf("no test of the ASVS looks at %s", path)
		}
	}
}

func TestEveryPageHasTheHeadersThatProtect(t *testing.T) {
	s := newSite(t, secure)
	ann := s.signedUp("ann")
	for _, path := range append([]string{"/", "/signin", "/signup", "/signout", "/nothing", "/api", "/problems", "/problems/internal"}, memberPages...) {
		c := ann
		if path == "/signin" || path == "/signup" {
			c = s.client()
		}
		h := c.page("GET", path, nil).header
		for name, want := range map[string]string{
			"Content-Security-Policy":   "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options":    "nosniff",
			"Referrer-Policy":           "same-origin",
			"Cache-Control":             "no-store",
			"Strict-Transport-Security": "max-age=31536000; includeSubDomains",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestEveryPageOfTheAccountLeadsToTheSignOut(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	for _, path := range append([]string{"/"}, memberPages...) {
		r := c.page("GET", path, nil)
		if r.status != 200 || path != "/" && !strings.Contains(string(r.body), `href="/signout"`) {
			t.Errorf("%s: %d without a link to /signout", path, r.status)
		}
	}
}

func TestWhatPeopleTypeIsShownAsText(t *testing.T) {
	s := newSite(t)
	const evil = `<script>alert(1)</script>"'`
	c := s.client()
	c.post("signup", m{"identifier": "ann", "password": goodPassword, "name": evil}).want(201)
	for _, path := range append([]string{"/"}, memberPages...) {
		if body := string(c.page("GET", path, nil).body); strings.Contains(body, "<script>") || !strings.Contains(body, "&lt;script&gt;") {
			t.Errorf("%s shows a name as HTML, or not at all:\n%s", path, body)
		}
	}
	r := s.client().page("POST", "/signin", url.Values{"identifier": {evil}, "password": {"x"}})
	if strings.Contains(string(r.body), "<script>") {
		t.Errorf("what was typed is HTML:\n%s", r.body)
	}
}

func TestASafeMethodEndsNothing(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	for _, path := range append([]string{"/", "/signin", "/signup", "/signout", "/link", "/api/v1/signout", "/api/v1/signin", "/api/v1/guest", "/api/v1/sessions"}, memberPages...) {
		for _, method := range []string{"GET", "HEAD"} {
			c.page(method, path, nil)
		}
	}
	if n := len(c.get("sessions").want(200).m["sessions"].([]any)); n != 1 {
		t.Errorf("%d sessions after looking around, want 1", n)
	}
	nobody := s.client()
	for _, path := range []string{"/", "/signin", "/signup", "/api"} {
		nobody.page("GET", path, nil)
	}
	nobody.get("session").want(401, "no_session") // looking begins nothing
}

func TestAPasswordIsTakenAsItIsTyped(t *testing.T) {
	s := newSite(t)
	for i, password := range []string{
		"onlysmallletterswithoutanythingelse", "    spaces are kept    ", "密码可以是任何文字，长一点就好", strings.Repeat("0123456789abcdef", 60),
	} {
		name := fmt.Sprintf("user-%d", i)
		s.client().post("signup", m{"identifier": name, "password": password}).want(201)
		s.client().post("signin", m{"identifier": name, "password": password}).want(200)
		for what, other := range map[string]string{
			"in other letters": strings.ToUpper(password), "trimmed": strings.TrimSpace(password), "with more": password + "x",
		} {
			if other != password {
				r := s.client().post("signin", m{"identifier": name, "password": other})
				if r.status == 200 {
					t.Errorf("password %d counts %s", i, what)
				}
			}
		}
	}
}

func TestPasswordFieldsAreMaskedAndFriendlyToManagers(t *testing.T) {
	s := newSite(t)
	input := regexp.MustCompile(`<input [^>]*>`)
	n := 0
	for path, complete := range map[string][]string{
		"/signin": {"current-password"}, "/signup": {"new-password"}, "/account/security": {"current-password", "new-password"},
		"/account/confirm": {"current-password"},
	} {
		c := s.client()
		if strings.HasPrefix(path, "/account") {
			c = s.signedUp(fmt.Sprintf("ann-%d", n))
		}
		var found []string
		for _, tag := range input.FindAllString(string(c.page("GET", path, nil).body), -1) {
			if !strings.Contains(tag, `password"`) || strings.Contains(tag, `type="hidden"`) {
				continue
			}
			n++
			if !strings.Contains(tag, `type="password"`) || strings.Contains(tag, "maxlength") || strings.Contains(tag, "pattern=") || strings.Contains(tag, "onpaste") {
				t.Errorf("%s: %s", path, tag)
			}
			for _, word := range complete {
				if strings.Contains(tag, `autocomplete="`+word+`"`) {
					found = append(found, word)
				}
			}
		}
		if slices.Sort(found); !slices.Equal(found, complete) {
			t.Errorf("%s has fields for %q, want %q", path, found, complete)
		}
	}
	if n != 5 {
		t.Errorf("%d password fields seen, want 5", n)
	}
}

func TestANewServerHasNoUsers(t *testing.T) {
	s := newSite(t)
	s.run()
	op := s.operator()
	if all, err := op.Users(t.Context(), server.UserFilter{Limit: 10}); err != nil || len(all) > 0 {
		t.Errorf("a new server has the users %v, %v", all, err)
	}
}

func TestADisabledOrDeletedUserHasNoSessionLeft(t *testing.T) {
	s := newSite(t)
	s.run()
	op := s.operator()
	for _, tc := range []struct {
		name string
		do   func(user string) error
	}{
		{"disabled", func(user string) error { return op.SetDisabled(t.Context(), user, true) }},
		{"deleted", func(user string) error { return op.DeleteUser(t.Context(), user) }},
		{"signed out by an operator", func(user string) error {
			_, err := op.EndAll(t.Context(), user)
			return err
		}},
	} {
		name := "ann-" + strings.ReplaceAll(tc.name, " ", "-")
		c := s.signedUp(name)
		if err := tc.do(name); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		c.get("session").want(401, "session_ended", "no_session") // of who is deleted nothing is known
	}
}
