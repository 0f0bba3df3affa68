package relying

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// An app is a site that lets people in by a client that we did not write.
type app struct {
	url     string
	signIn  string // path that begins it
	profile string // path of a page that refreshes
	gone    string // path after a sign-out, "" for that of the page that tells who is signed in
	signOut func(p *person)
}

// clients are the clients, each in an app that is registered at the house.
var clients = []struct {
	name  string
	start func(t testing.TB, h *house, id string) *app
}{
	{"go-oidc and x-oauth2", goApp},
	{"openid-client", nodeApp},
	{"oauth4webapi", oauth4webapi},
	{"zitadel-oidc", zitadel},
	{"mod_auth_openidc", apache},
}

func TestEveryClientSignsInRefreshesSignsOutAndHearsOfTheEnd(t *testing.T) {
	for _, tt := range clients {
		t.Run(tt.name, func(t *testing.T) {
			h, id := home(t), strings.ReplaceAll(tt.name, " ", "-")
			a := tt.start(t, h, id)
			user := "user-of-" + id
			h.user(t, user, "Ann Example")
			p := newPerson(t)
			knows := func(path string, in bool) error {
				p.open(a.url + path)
				if strings.Contains(p.page, "Ann Example") != in {
					return fmt.Errorf("that somebody is signed in is not %v, says %s:\n%s", in, p.at, p.page)
				}
				return nil
			}
			signIn := func() {
				t.Helper()
				p.open(a.url + a.signIn)
				p.signIn(user)
				if strings.Contains(p.page, "Allow") { // which is asked once
					p.press("Allow")
				}
				if got := p.at.Scheme + "://" + p.at.Host; got != a.url {
					t.Fatalf("after the sign-in at %s:\n%s", p.at, p.page)
				}
				if err := knows("/", true); err != nil {
					t.Fatal(err)
				}
			}

			infos := h.asked("GET /oauth/userinfo")
			signIn()
			tokens := h.asked("POST /oauth/token")
			if err := knows(a.profile, true); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() error { // the log is written after the answer
				if h.asked("POST /oauth/token") == tokens || h.asked("GET /oauth/userinfo") == infos {
					return errors.New("it has not refreshed, or not asked who that is")
				}
				return nil
			})
			p.signOut(h)
			eventually(t, func() error { return knows("/", false) })

			signIn()
			h.endAll(t, user)
			eventually(t, func() error { return knows("/", false) })

			signIn()
			a.signOut(p)
			if got := p.at.Scheme + "://" + p.at.Host + p.at.Path; got != a.url+cmp.Or(a.gone, "/") {
				t.Errorf("after the sign-out at %s:\n%s", p.at, p.page)
			}
			if err := knows("/", false); err != nil {
				t.Error(err)
			}
			p.open(h.url + "/account")
			if p.at.Path != "/signin" {
				t.Errorf("the session at the provider goes on: %s", p.at)
			}
		})
	}
}

// Who signs up need not say a name.
func TestTheExamplesKnowSomebodyWithoutAName(t *testing.T) {
	h := home(t)
	for name, start := range map[string]func(testing.TB, *house, string) *app{"go": goApp, "node": nodeApp} {
		t.Run(name, func(t *testing.T) {
			id := "nameless-" + name
			a := start(t, h, id)
			p := signedIn(t, h, "user-of-"+id, "")
			p.open(a.url + a.signIn)
			p.press("Allow")
			if p.open(a.url + "/"); !strings.Contains(p.page, "Sign out") || strings.Contains(p.page, "undefined") {
				t.Errorf("after the sign-in:\n%s", p.page)
			}
			if p.open(a.url + a.profile); strings.Contains(p.page, "nil") || strings.Contains(p.page, "undefined") {
				t.Errorf("the profile:\n%s", p.page)
			}
		})
	}
}

// register registers an app. Its access tokens are good for so short that each use of one
// is after a refresh.
func register(t testing.TB, h *house, id, url, callback string, more ...string) (secret string) {
	t.Helper()
	return h.client(t, id, append([]string{
		"--grant", "authorization_code,refresh_token", "--redirect", url + callback, "--post-logout", url + "/",
		"--backchannel-logout", url + "/backchannel-logout", "--access-ttl", "10s",
	}, more...)...)
}

// pressesSignOut presses the button of an app's own page.
func pressesSignOut(url string) func(*person) {
	return func(p *person) {
		p.t.Helper()
		p.open(url + "/")
		p.press("Sign out")
	}
}

// goApp is the example that a Go program begins with.
func goApp(t testing.TB, h *house, id string) *app {
	t.Helper()
	at := "127.0.0.1:" + freePort(t)
	a := &app{url: "http://" + at, signIn: "/signin", profile: "/profile"}
	a.signOut = pressesSignOut(a.url)
	secret := register(t, h, id, a.url, "/callback")
	p := launch(t, nil, built(t, "examples", "./web-app"), "-listen", at, "-issuer", h.url, "-client-id", id, "-secret-file", secretFile(t, secret))
	t.Cleanup(p.stop)
	reachable(t, p, at)
	return a
}

// nodeApp is the example that a program for Node begins with.
func nodeApp(t testing.TB, h *house, id string) *app {
	t.Helper()
	a := node(t, h, id, filepath.Join("..", "..", "examples", "node-web-app"), "server.mjs")
	a.signOut = pressesSignOut(a.url)
	return a
}

func oauth4webapi(t testing.TB, h *house, id string) *app {
	t.Helper()
	a := node(t, h, id, ".", "oauth4webapi.mjs")
	a.signOut = func(p *person) { p.t.Helper(); p.post(a.url+"/signout", a.url, nil) }
	return a
}

// node starts a site of Node.
func node(t testing.TB, h *house, id, dir, script string) *app {
	t.Helper()
	program := find(t, "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "jose")); err != nil {
		missing(t, "node_modules of "+dir)
	}
	port := freePort(t)
	a := &app{url: "http://127.0.0.1:" + port, signIn: "/signin", profile: "/profile"}
	secret := register(t, h, id, a.url, "/callback")
	p := launch(t, []string{"ISSUER=" + h.url, "CLIENT_ID=" + id, "SECRET_FILE=" + secretFile(t, secret), "PORT=" + port, "URL=" + a.url}, program, filepath.Join(dir, script))
	t.Cleanup(p.stop)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s says:\n%s", script, p.log())
		}
	})
	p.says(t, regexp.MustCompile("^serving"))
	return a
}
