package browser

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/server"
	"github.com/chromedp/chromedp"
)

// A shop is an application of somebody else, on another origin, which leads on to a
// third one when somebody has signed in.
type shop struct {
	t      *testing.T
	site   *site
	url    string
	home   string
	mu     sync.Mutex
	asked  map[string]string // state → verifier; guarded by mu
	tokens []string          // refresh tokens; guarded by mu
	id     string            // the latest ID token; guarded by mu
}

func newShop(t *testing.T, s *site) *shop {
	t.Helper()
	a := &shop{t: t, site: s, asked: map[string]string{}}
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>The Shop</title><h1>%s</h1>`, r.URL.Query().Get("says"))
	}))
	t.Cleanup(home.Close)
	mux := http.NewServeMux()
	mux.HandleFunc("/callback", a.callback)
	mux.HandleFunc("/gone", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, a.home+"/?says=gone+"+r.URL.Query().Get("state"), http.StatusFound)
	})
	app := httptest.NewServer(mux)
	t.Cleanup(app.Close)
	a.url, a.home = app.URL, home.URL
	for range 1000 { // until commands are heard
		if _, err := os.Stat(filepath.Join(s.data, "admit.sock")); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	o, err := server.Connect(t.Context(), server.Config{Data: s.data})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := o.AddClient(t.Context(), server.NewClient{
		ID: "shop", Name: "The Shop", Public: true, RedirectURIs: []string{a.url + "/callback"}, PostLogoutURIs: []string{a.url + "/gone"},
		GrantTypes: []string{"authorization_code", "refresh_token"}, Scopes: []string{"openid", "profile", "email", "offline_access"},
	}); err != nil {
		t.Fatal(err)
	}
	return a
}

// ask is the address that the shop sends browsers to.
func (a *shop) ask(more ...string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	state, verifier := rand.Text(), rand.Text()+rand.Text()
	a.asked[state] = verifier
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"client_id": {"shop"}, "redirect_uri": {a.url + "/callback"}, "response_type": {"code"}, "scope": {"openid profile email offline_access"},
		"state": {state}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return a.site.url + "/oauth/authorize?" + q.Encode()
}

// callback redeems the code, as a server does, and leads on.
func (a *shop) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a.mu.Lock()
	verifier := a.asked[q.Get("state")]
	a.mu.Unlock()
	says := "error " + q.Get("error")
	if q.Get("code") != "" {
		says = a.redeem(url.Values{"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {a.url + "/callback"}, "code_verifier": {verifier}, "client_id": {"shop"}})
	}
	http.Redirect(w, r, a.home+"/?says="+url.QueryEscape(says), http.StatusFound)
}

func (a *shop) redeem(form url.Values) string {
	res, err := http.PostForm(a.site.url+"/oauth/token", form)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	var in struct {
		Scope, Error string
		RefreshToken string `json:"refresh_token"`
		IDToken      string `json:"id_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&in); err != nil {
		return err.Error()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens, a.id = append(a.tokens, in.RefreshToken), in.IDToken
	return "scopes " + in.Scope + in.Error
}

// refresh asks for tokens with the latest refresh token.
func (a *shop) refresh() string {
	a.mu.Lock()
	last := a.tokens[len(a.tokens)-1]
	a.mu.Unlock()
	return a.redeem(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {last}, "client_id": {"shop"}})
}

// leave is the address that the shop signs people out at, who are asked without a hint.
func (a *shop) leave(hint bool) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := url.Values{"client_id": {"shop"}, "post_logout_redirect_uri": {a.url + "/gone"}, "state": {"4711"}}
	if hint {
		q.Set("id_token_hint", a.id)
	}
	return a.site.url + "/oauth/logout?" + q.Encode()
}

// comesTo waits until the browser is where a page says this.
func (p *profile) comesTo(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(p.text(), p.say(text)); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("no %q on this page:\n%s", text, p.text())
		}
	}
}

const granted = "scopes openid profile email offline_access"

func TestAnAppIsLetInAndTakenBack(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		a := newShop(t, s)
		s.profile(t, desktop).signUp("ann")

		p := s.profile(t, m)
		p.open(a.ask())
		p.fill("identifier", "ann")
		p.fill("password", goodPassword)
		p.do(p.pressing("Sign in"))
		p.comesTo("Let The Shop in?")
		p.judge()
		p.sees("see your name, your user name and your language", "see your e-mail address")
		p.do(p.pressing("Allow"))
		p.comesTo(granted)
		if got := a.refresh(); got != granted {
			t.Errorf("a refresh gives %s", got)
		}

		p.do(chromedp.Navigate(a.ask())) // what was allowed is remembered
		p.comesTo(granted)

		p.open("/account/apps")
		p.sees("The Shop")
		p.press("Take back")
		p.at("/account/apps")
		p.sees("You have let in no app yet.")
		if got := a.refresh(); got != "scopes invalid_grant" {
			t.Errorf("after it was taken back a refresh gives %s", got)
		}

		p.open(a.ask())
		p.do(p.pressing("Do not allow"))
		p.comesTo("error access_denied")
	})
}

func TestAnAppAsksWhoOneWantsToBe(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		a := newShop(t, s)
		s.profile(t, desktop).signUp("bob")
		p := s.profile(t, m)
		p.signUp("ann")

		p.open(a.ask("prompt", "select_account"))
		p.press("Go on as")
		p.sees("Let The Shop in?", "ann")
		p.press("Use another account")
		p.fill("identifier", "bob")
		p.fill("password", goodPassword)
		p.do(p.pressing("Sign in"))
		p.comesTo("Let The Shop in?")
		p.sees("bob")
		p.do(p.pressing("Allow"))
		p.comesTo(granted)

		// A fresh proof is asked for, and given on the page that there is for that.
		p.open(a.ask("prompt", "login"))
		p.fill("password", goodPassword)
		p.do(p.pressing("Confirm"))
		p.comesTo(granted)
	})
}

func TestAnAppSignsSomebodyOutAndALinkOnlyAsks(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		a := newShop(t, s)
		p := s.profile(t, m)
		p.signUp("ann")
		p.open(a.ask())
		p.do(p.pressing("Allow"))
		p.comesTo(granted)

		p.open(a.leave(false))
		p.sees("Sign out here, too?")
		p.press("Stay signed in")
		p.at("/account")
		p.open(a.leave(false))
		p.do(p.pressing("Sign out"))
		p.comesTo("gone 4711")
		p.open("/account")
		p.at("/signin?return_to=%2Faccount")

		p.signIn("ann", goodPassword)
		p.do(chromedp.Navigate(a.ask()))
		p.comesTo(granted)
		p.do(chromedp.Navigate(a.leave(true))) // with an ID token of this session
		p.comesTo("gone 4711")
		p.open("/account")
		p.at("/signin?return_to=%2Faccount")
	})
}
