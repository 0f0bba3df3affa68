package relying

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// A buyer redeems codes and refreshes tokens, and notes what it was told.
type buyer struct {
	h       *house
	p       *person
	secret  string
	code    string // that was sent to it, and that it has not presented
	proof   string // its code_verifier
	refresh string // the one that is good
	doubt   bool   // whether that was used: there was no answer
	spent   map[string]string
	old     []string // refresh tokens whose successors were used
	access  []string
}

type grantAnswer struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

// token asks the token endpoint; ok is false where there was no answer.
func (b *buyer) token(form url.Values) (a grantAnswer, ok bool) {
	form.Set("client_id", "buyer")
	form.Set("client_secret", b.secret)
	return a, b.post("/oauth/token", form, &a)
}

func (b *buyer) post(path string, form url.Values, into any) bool {
	res, err := http.PostForm(b.h.url+path, form)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into) == nil
}

// authorize gets a code; "" where there was no answer.
func (b *buyer) authorize(t *testing.T) (code, proof string) {
	proof = oauth2.GenerateVerifier()
	app := oauth2.Config{ClientID: "buyer", RedirectURL: redirect, Endpoint: oauth2.Endpoint{AuthURL: b.h.url + "/oauth/authorize"}}
	c := *b.p.http
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := c.Get(app.AuthCodeURL("", oauth2.S256ChallengeOption(proof), oauth2.SetAuthURLParam("scope", "openid offline_access")))
	if err != nil {
		return "", ""
	}
	res.Body.Close()
	u, err := res.Location()
	if err != nil || u.Query().Get("code") == "" {
		t.Errorf("authorize answers %s %v", res.Status, u)
		return "", ""
	}
	return u.Query().Get("code"), proof
}

// buy goes on until the server is gone.
func (b *buyer) buy(t *testing.T) {
	b.code, b.proof = b.authorize(t)
	for {
		code, proof := b.authorize(t)
		if code == "" {
			return
		}
		b.refresh = "" // of the code that is asked with nobody knows, from here on
		a, ok := b.token(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {proof}})
		if !ok {
			return
		}
		if a.Error != "" {
			t.Errorf("a fresh code: %s", a.Error)
			return
		}
		b.spent[code] = proof
		b.refresh = a.Refresh
		for range 3 {
			b.doubt = true
			a, ok := b.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {b.refresh}})
			if !ok {
				return
			}
			if a.Error != "" {
				t.Errorf("a good refresh token: %s", a.Error)
				return
			}
			b.old, b.refresh, b.doubt = append(b.old, b.refresh), a.Refresh, false
			b.access = append(b.access, a.Access)
		}
	}
}

// check presents, after a restart, all that was acknowledged.
func (b *buyer) check(t *testing.T, killed time.Time) {
	if b.code != "" {
		if a, ok := b.token(url.Values{"grant_type": {"authorization_code"}, "code": {b.code}, "redirect_uri": {redirect}, "code_verifier": {b.proof}}); !ok || a.Error != "" {
			t.Errorf("a code is lost: %q", a.Error)
		}
	}
	// The last answer was heard, or it was lost on its way: for 10 seconds the same token is
	// good, either way.
	if b.refresh != "" && (!b.doubt || time.Since(killed) < 9*time.Second) {
		if a, ok := b.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {b.refresh}}); !ok || a.Error != "" || a.Refresh == b.refresh {
			t.Errorf("a refresh token is lost (in doubt: %v): %q", b.doubt, a.Error)
		}
	}
	for _, access := range b.access[max(0, len(b.access)-3):] {
		var known struct{ Active bool }
		if !b.post("/oauth/introspect", url.Values{"token": {access}, "client_id": {"buyer"}, "client_secret": {b.secret}}, &known) || !known.Active {
			t.Error("an access token is lost")
		}
	}
	// What was good once is good no second time.
	for _, old := range b.old[:max(0, len(b.old)-1)] {
		if a, ok := b.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old}}); !ok || a.Error != "invalid_grant" {
			t.Errorf("a refresh token was spent twice: %q", a.Error)
		}
	}
	for code, proof := range b.spent {
		if a, ok := b.token(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {proof}}); !ok || a.Error != "invalid_grant" {
			t.Errorf("a code was spent twice: %q", a.Error)
		}
	}
}

func TestKilledWhileManyRedeemAndRefreshTheBinarySpendsNothingTwiceAndLosesNothing(t *testing.T) {
	data, port := filepath.Join(t.TempDir(), "data"), freePort(t)
	h := newHouse(t, data, "localhost:"+port)
	defer func() { h.stop() }()
	h.user(t, "dave", "Dave Example")
	secret := h.client(t, "buyer", "--grant", "authorization_code,refresh_token", "--redirect", redirect, "--first-party")
	p := newPerson(t)
	p.open(h.url + "/signin")
	p.signIn("dave")
	done := 0
	for round := range 3 {
		buyers := make([]*buyer, 8)
		var all sync.WaitGroup
		for i := range buyers {
			buyers[i] = &buyer{h: h, p: p, secret: secret, spent: map[string]string{}}
			all.Go(func() { buyers[i].buy(t) })
		}
		time.Sleep(time.Duration(300+97*round) * time.Millisecond) // amid whatever they do then
		h.cmd.Process.Kill()
		killed := time.Now()
		all.Wait()
		<-h.ended
		h = newHouse(t, data, "localhost:"+port)
		http.DefaultClient.CloseIdleConnections()
		for _, b := range buyers {
			b.h = h
			all.Go(func() { b.check(t, killed) })
			done += len(b.spent) + len(b.old)
		}
		all.Wait()
		if log := h.log(); strings.Contains(log, "ERROR") {
			t.Errorf("the server says:\n%s", log)
		}
	}
	if done < 30 {
		t.Errorf("only %d codes and tokens were spent: nothing was shown", done)
	}
	t.Logf("%d codes and refresh tokens were spent", done)
}
