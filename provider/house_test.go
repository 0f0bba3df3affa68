package provider

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
)

// A shelf is the store, and remembers what was written.
type shelf struct {
	*Memory
	codes   map[string]*Code
	notes   []Note
	writes  int
	between func()       // is called once, before the next Update begins
	fails   func() error // of Update, after it ran
}

func (s *shelf) Update(ctx context.Context, fn func(Tx) error) error {
	if f := s.between; f != nil {
		s.between = nil
		f()
	}
	s.writes++
	var made []*Code
	err := s.Memory.Update(ctx, func(tx Tx) error {
		if err := fn(shelfTx{tx, &made}); err != nil || s.fails == nil {
			return err
		}
		return s.fails()
	})
	if err == nil {
		for _, c := range made {
			s.codes[c.Selector] = c
		}
	}
	return err
}

type shelfTx struct {
	Tx
	made *[]*Code
}

func (tx shelfTx) AddCode(c *Code) error {
	*tx.made = append(*tx.made, c)
	return tx.Tx.AddCode(c)
}

type noKeys struct{ Keys }

// A stage is a provider with the people around it. Who is signed in stands in the
// cookie "sid".
type stage struct {
	testing.TB
	*Provider
	shelf *shelf

	shown string         // the page that was shown last, "" for none
	a     *Authorization // that it was shown for
	fault error
	away  error // of whoever keeps the sessions
}

func (s *stage) Session(r *http.Request) (*Session, error) {
	c, err := r.Cookie("sid")
	if err != nil || s.away != nil {
		return nil, s.away
	}
	return s.session(c.Value), nil
}

func (s *stage) session(sid string) (v *Session) {
	s.shelf.View(context.Background(), func(tx Tx) (err error) {
		v, err = tx.Session(sid, time.Now())
		return err
	})
	return v
}
func (s *stage) page(w http.ResponseWriter, status int, name string, a *Authorization, err error) {
	s.shown, s.a, s.fault = name, a, err
	w.WriteHeader(status)
}
func (s *stage) SignIn(w http.ResponseWriter, _ *http.Request, a *Authorization) {
	s.page(w, 200, "sign-in", a, nil)
}
func (s *stage) Consent(w http.ResponseWriter, _ *http.Request, a *Authorization) {
	s.page(w, 200, "consent", a, nil)
}
func (s *stage) Fault(w http.ResponseWriter, _ *http.Request, err error) {
	_, status := answerOf(err)
	s.page(w, status, "fault", nil, err)
}
func (s *stage) SignOut(http.ResponseWriter, *http.Request, *Logout) { s.Error("a sign-out") }

const (
	callback  = "https://shop.example.net/cb"
	challenge = deskChallenge
)

func newStage(t testing.TB) *stage {
	t.Helper()
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{TB: t, shelf: &shelf{codes: map[string]*Code{}}}
	s.shelf.Memory = NewMemory(&MemoryOptions{Note: func(n Note) { s.shelf.notes = append(s.shelf.notes, n) }})
	for _, c := range []Client{
		{ID: "shop", Auth: SecretBasic, RedirectURIs: []string{callback}, Grants: []GrantType{AuthorizationCode, RefreshToken},
			Scopes: []string{"openid", "profile", "email", "offline_access", "orders"}, Audiences: []string{"https://api.example.org", "https://pay.example.org"}},
		{ID: "home", RedirectURIs: []string{"https://home.example.org/cb?a=b"}, Grants: []GrantType{AuthorizationCode}, Scopes: []string{"openid", "offline_access"}, FirstParty: true},
		{ID: "phone", Auth: NoAuth, Native: true, RedirectURIs: []string{"http://127.0.0.1/cb", "http://[::1]:1/cb?x=y", "http://localhost:7000/cb", "org.example.phone:/cb"}, Grants: []GrantType{AuthorizationCode}, Scopes: []string{"openid"}},
		{ID: "gone", RedirectURIs: []string{callback}, Grants: []GrantType{AuthorizationCode}, Disabled: true},
		{ID: "robot", RedirectURIs: []string{callback}, Grants: []GrantType{ClientCredentials}},
	} {
		s.shelf.PutClient(c)
	}
	s.Provider, err = New(Options{Issuer: "https://id.example.org", Store: s.shelf, Keys: noKeys{}, Secrets: keys, People: s, Log: slog.New(slog.DiscardHandler), Scopes: map[string][]string{"orders": {"last_order"}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signIn begins a session, or proves its subject again.
func (s *stage) signIn(sid, subject string) { s.prove(sid, subject, "1fa") }

func (s *stage) prove(sid, subject, acr string) {
	now := time.Now()
	s.shelf.PutSession(Session{SID: sid, Subject: subject, AuthTime: now, ACR: acr, AMR: []string{"pwd"}, Expires: now.Add(12 * time.Hour)})
}

// change changes a client.
func (s *stage) change(id string, how func(*Client)) {
	c := *s.client(id)
	how(&c)
	s.shelf.PutClient(c)
}

func (s *stage) client(id string) (c *Client) {
	s.shelf.View(context.Background(), func(tx Tx) (err error) {
		c, err = tx.Client(id)
		return err
	})
	return c
}

// allowed has somebody allow a client what it may ask for.
func (s *stage) allowed(subject, client string) {
	s.Helper()
	c := s.client(client)
	err := s.shelf.Memory.Update(context.Background(), func(tx Tx) error {
		return tx.PutConsent(&Consent{Subject: subject, Client: client, Scopes: c.Scopes, Audiences: c.Audiences, LastUsed: time.Now()})
	})
	if err != nil {
		s.Fatal(err)
	}
}

// takeBack has ann take back what she has allowed the shop.
func (s *stage) takeBack() {
	s.shelf.Memory.Update(context.Background(), func(tx Tx) error { return tx.PutConsent(&Consent{Subject: "ann", Client: "shop"}) })
}

// consent is what ann has allowed the shop.
func (s *stage) consent() (k *Consent) {
	s.shelf.View(context.Background(), func(tx Tx) (err error) {
		k, err = tx.Consent("ann", "shop")
		return err
	})
	return k
}

// ask is a good request of the shop with changes: name, value, name, value. Without a
// value it is not sent.
func ask(changes ...string) string {
	v := url.Values{"client_id": {"shop"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid profile"}, "state": {"xyz"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}}
	for pair := range slices.Chunk(changes, 2) {
		v.Set(pair[0], pair[1])
	}
	maps.DeleteFunc(v, func(_ string, v []string) bool { return v[0] == "" })
	return v.Encode()
}

func (s *stage) send(r *http.Request, sid string) *httptest.ResponseRecorder {
	s.Helper()
	if sid != "" {
		r.AddCookie(&http.Cookie{Name: "sid", Value: sid})
	}
	s.shown, s.a, s.fault = "", nil, nil
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Frame-Options": "DENY"} {
		if got := w.Header().Get(name); got != want {
			s.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		s.Error("the answer may be framed")
	}
	return w
}

func (s *stage) get(query, sid string) *httptest.ResponseRecorder {
	s.Helper()
	return s.send(httptest.NewRequest("GET", "/oauth/authorize?"+query, nil), sid)
}

// post posts a form as a page of ours does; headers are name, value, name, value.
func (s *stage) post(form, sid string, headers ...string) *httptest.ResponseRecorder {
	s.Helper()
	r := httptest.NewRequest("POST", "/oauth/authorize", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Del(pair[0])
		if pair[1] != "" {
			r.Header.Set(pair[0], pair[1])
		}
	}
	return s.send(r, sid)
}

// decide posts what was decided on the consent page that is shown.
func (s *stage) decide(decision, sid string, headers ...string) *httptest.ResponseRecorder {
	s.Helper()
	if s.shown != "consent" {
		s.Fatalf("the page is %q, want the consent page", s.shown)
	}
	return s.post(url.Values{"flow": {s.a.Flow()}, "decision": {decision}}.Encode(), sid, headers...)
}

// resume goes on from the sign-in page that is shown.
func (s *stage) resume(sid string) *httptest.ResponseRecorder {
	s.Helper()
	if s.shown != "sign-in" {
		s.Fatalf("the page is %q, want the sign-in page", s.shown)
	}
	return s.send(httptest.NewRequest("GET", s.a.Resume(), nil), sid)
}

// follow follows a redirect within the provider.
func (s *stage) follow(w *httptest.ResponseRecorder, sid string) *httptest.ResponseRecorder {
	s.Helper()
	to := w.Header().Get("Location")
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(to, "/oauth/authorize?") {
		s.Fatalf("%d to %q, want 303 to the authorization endpoint", w.Code, to)
	}
	return s.send(httptest.NewRequest("GET", to, nil), sid)
}

// answer is what a client is sent at its redirect URI.
func (s *stage) answer(w *httptest.ResponseRecorder, uri string) url.Values {
	s.Helper()
	to := w.Header().Get("Location")
	rest, ok := strings.CutPrefix(to, uri)
	if w.Code != http.StatusSeeOther || !ok || s.shown != "" {
		s.Fatalf("%d to %q, page %q (%v), want 303 to %s", w.Code, to, s.shown, s.fault, uri)
	}
	v, err := url.ParseQuery(rest[1:])
	if err != nil || v.Get("iss") != "https://id.example.org" {
		s.Fatalf("the answer is %q", to)
	}
	return v
}

// code is the code that a client is sent, as it is kept.
func (s *stage) code(w *httptest.ResponseRecorder, uri string) *Code {
	s.Helper()
	v := s.answer(w, uri)
	text := v.Get("code")
	if len(text) < 50 {
		s.Fatalf("no code: %v", v)
	}
	c := s.shelf.codes[text[6:28]]
	if c == nil {
		s.Fatalf("the code %s is not kept", text)
	}
	return c
}

// refused tells which error a client is sent.
func (s *stage) refused(w *httptest.ResponseRecorder, want string) {
	s.Helper()
	if v := s.answer(w, callback); v.Get("error") != want || v.Has("code") {
		s.Errorf("the answer is %v, want the error %s", v, want)
	}
}

// shows tells which page is shown.
func (s *stage) shows(page string) {
	s.Helper()
	if s.shown != page {
		s.Fatalf("the page is %q (%v), want %q", s.shown, s.fault, page)
	}
}
