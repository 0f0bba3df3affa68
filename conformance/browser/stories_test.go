package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// stories returns the paths of all stories, after it has opened the inbox, whose
// key is theirs too.
func (p *profile) stories() []string {
	p.t.Helper()
	p.open("/dev/inbox?key=" + devKey)
	p.open("/dev/stories")
	paths := strings.Fields(evaluate[string](p, `[...document.querySelectorAll("main .log a:first-child")].map(a => a.getAttribute("href")).join(" ")`))
	if len(paths) < 40 {
		p.t.Fatalf("%d stories found", len(paths))
	}
	return paths
}

func TestEveryStoryIsAccessibleAndFits(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		name  string
		mode  mode
		query string
	}{
		{"on a phone", mode{width: 375, height: 812}, ""},
		{"on a phone, in 中文 and dark", mode{width: 375, height: 812, lang: "zh-CN", dark: true}, ""},
		{"on a desktop, dark and from right to left", mode{width: 1280, height: 900, dark: true}, "?dir=rtl"},
		{"on a desktop, in 中文", mode{width: 1280, height: 900, lang: "zh-CN"}, ""},
		{"on a tiny one without scripts, from right to left", mode{width: 320, height: 568, noScript: true}, "?dir=rtl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // a page waits for more than it computes
			p := s.profile(t, tt.mode)
			for _, path := range p.stories() {
				p.open(path + tt.query)
			}
		})
	}
}

// WCAG 2.2, 1.4.4: text is twice as large, and nothing is lost.
func TestEveryStoryFitsWhereTextIsTwiceAsLarge(t *testing.T) {
	s := newSite(t)
	for _, width := range []int64{320, 1280} {
		p := s.profile(t, mode{width: width, height: 800})
		for _, path := range p.stories() {
			p.do(chromedp.Navigate(s.url + path))
			const over = `(() => {
				document.documentElement.style.fontSize = "200%"
				const cut = [...document.querySelectorAll("button, .button, h1, label, .tabs a, .tag")].filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline").map(e => e.outerHTML)
				return [document.documentElement.scrollWidth > innerWidth ? "scrolls sideways" : "", ...cut].join("")
			})()`
			if got := evaluate[string](p, over); got != "" {
				t.Errorf("%s at %d px: %s", path, width, got)
			}
		}
	}
}

func TestAPasswordCanBeSeenAndPasted(t *testing.T) {
	p := newSite(t).profile(t, desktop)
	p.open("/signin")
	p.do(chromedp.Focus(chromedp.CSS("[name=password]")))
	if !evaluate[bool](p, fmt.Sprintf(`document.execCommand("insertText", false, %q)`, goodPassword)) { // as a paste does
		t.Error("nothing can be pasted")
	}
	const state = `[...document.querySelectorAll("[name=password], .reveal")].map(e => e.type + " " + (e.ariaLabel || e.value)).join("|")`
	if got, want := evaluate[string](p, state), "password "+goodPassword+"|button Show · Password"; got != want {
		t.Errorf("the field and its button are %q, want %q", got, want)
	}
	p.tabTo("Show")
	p.do(chromedp.KeyEvent(kb.Enter))
	if got, want := evaluate[string](p, state), "text "+goodPassword+"|button Hide · Password"; got != want {
		t.Errorf("the field and its button are %q, want %q", got, want)
	}
	p.at("/signin") // the button sends nothing
	p.do(chromedp.SetValue(chromedp.CSS("[name=identifier]"), "nobody"))
	p.pressTo("Sign in", 401)
}

func TestPasswordManagersKnowEveryField(t *testing.T) {
	p := newSite(t).profile(t, desktop)
	for path, want := range map[string]string{
		"/signin": "identifier username webauthn, password current-password",
		"/signup": "identifier username, name name, password new-password",
	} {
		p.open(path)
		if got := evaluate[string](p, `[...document.forms[0].querySelectorAll("input:not([type=checkbox], [type=hidden])")].map(i => i.name + " " + i.autocomplete).join(", ")`); got != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
}

func TestTheFirstViewIsSmall(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/", "/signin", "/signup", "/api", "/problems", "/nothing"} {
		p := s.profile(t, desktop) // which keeps nothing of the page before
		p.do(chromedp.Navigate(s.url + path))
		sum := evaluate[int](p, `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((n, e) => n + e.transferSize, 0)`)
		if sum < 5_000 || sum > 60_000 {
			t.Errorf("the first view of %s takes %d bytes", path, sum)
		}
		t.Logf("the first view of %s takes %d bytes", path, sum)
	}
}

// Lighthouse judges as a stranger does. It starts a browser of its own.
func TestLighthouseFindsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 15 s a page")
	}
	path, err := find("chromium", "chromium-browser", "google-chrome")
	if err != nil {
		t.Fatal(err)
	}
	program, err := filepath.Abs(filepath.Join("node_modules", "lighthouse", "cli", "index.js"))
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("there is no Lighthouse: npm ci in conformance/browser: %v", err)
	}
	s := newSite(t)
	cookies := s.signedUp(t, "ann")
	for _, page := range []string{"/signin", "/signup", "/problems", "/account", "/account/identifiers", "/account/sessions"} {
		headers := "{}"
		if strings.HasPrefix(page, "/account") {
			headers = fmt.Sprintf(`{"Cookie": %q}`, cookies)
		}
		cmd := exec.CommandContext(t.Context(), "node", program, s.url+page, "--quiet", "--output=json", "--only-categories=accessibility,best-practices",
			"--extra-headers="+headers, "--chrome-flags=--headless --no-sandbox --disable-gpu", "--no-enable-error-reporting")
		cmd.Env = append(os.Environ(), "CHROME_PATH="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("lighthouse: %v", err)
		}
		var report struct {
			FinalDisplayedURL string
			Categories        map[string]struct{ Score float64 }
			Audits            map[string]struct {
				Title            string
				Score            *float64
				ScoreDisplayMode string
			}
		}
		if err := json.Unmarshal(out, &report); err != nil {
			t.Fatal(err)
		}
		if report.FinalDisplayedURL != s.url+page || len(report.Categories) != 2 {
			t.Fatalf("%s: %d categories of %s", page, len(report.Categories), report.FinalDisplayedURL)
		}
		for name, c := range report.Categories {
			t.Logf("%s: %s %.0f", page, name, c.Score*100)
			if c.Score < 0.95 {
				t.Errorf("%s: %s is %.0f", page, name, c.Score*100)
				for id, a := range report.Audits {
					if a.ScoreDisplayMode == "binary" && a.Score != nil && *a.Score < 1 {
						t.Logf("%s: %s", id, a.Title)
					}
				}
			}
		}
	}
}

// signedUp returns the cookies of a new user.
func (s *site) signedUp(t *testing.T, name string) string {
	t.Helper()
	form := url.Values{"identifier": {name}, "password": {goodPassword}}
	var all []string
	for _, k := range s.cookiesOf(t, "/signup", "application/x-www-form-urlencoded", form.Encode()) {
		all = append(all, k.Name+"="+k.Value)
	}
	return strings.Join(all, "; ")
}

// cookiesOf returns the cookies that a program gets which posts this.
func (s *site) cookiesOf(t *testing.T, path, kind, body string) []*http.Cookie {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := http.Client{Jar: jar}
	res, err := c.Post(s.url+path, kind, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	at, _ := url.Parse(s.url)
	if len(jar.Cookies(at)) == 0 {
		t.Fatalf("%s answers %d and no cookie", path, res.StatusCode)
	}
	return jar.Cookies(at)
}
