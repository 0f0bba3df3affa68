package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/revocation"
	"github.com/admit-auth/admit/server"
)

const password = "correct horse battery"

// A world is an issuer, a service that takes its tokens, and a phone.
type world struct {
	*Session
	service string
	stale   atomic.Bool  // the service takes no token that it has seen
	drop    atomic.Int32 // how many answers of the issuer are lost on their way
	stored  atomic.Pointer[string]
	asked   atomic.Int32 // refreshes
}

// RoundTrip is the network, which loses answers.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/refresh") {
		w.asked.Add(1)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && strings.HasPrefix(r.URL.Path, "/api/") && w.drop.Add(-1) >= 0 {
		answer.Body.Close()
		return nil, errors.New("connection lost")
	}
	return answer, err
}

func newWorld(t *testing.T) *world {
	w := &world{}
	front := httptest.NewUnstartedServer(nil)
	issuer := "http://" + strings.Replace(front.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	service := httptest.NewUnstartedServer(nil)
	w.service = "http://" + service.Listener.Addr().String()
	s, err := server.New(t.Context(), server.Config{Data: t.TempDir(), Dev: true, PublicURL: issuer, Audiences: []string{w.service}})
	if err != nil {
		t.Fatal(err)
	}
	front.Config.Handler = s
	front.Start()
	// The issuer has been up for a while: the first who asks has its keys made, which
	// takes longer than a verifier waits where a machine is slow and busy.
	keys, err := http.Get(issuer + "/oauth/jwks")
	if err != nil || keys.StatusCode != 200 {
		t.Fatal(keys, err)
	}
	keys.Body.Close()
	tokens, err := access.NewVerifier(issuer, w.service, &access.Options{InsecureNoFeed: true})
	if err != nil {
		t.Fatal(err)
	}
	var seen sync.Map
	service.Config.Handler = authn.New(tokens).Require(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if _, old := seen.Swap(r.Header.Get("Authorization"), true); old && w.stale.Load() {
			problem.Write(rw, revocation.ErrStaleClaims, "")
			return
		}
		p, _ := admit.FromContext(r.Context())
		io.WriteString(rw, "orders of "+p.SID)
	}))
	service.Start()
	t.Cleanup(func() { service.Close(); front.Close(); s.Close() })
	w.Session = w.phone(issuer)
	res, err := http.Post(issuer+"/api/v1/signup", "application/json", strings.NewReader(`{"identifier":"ann","password":"`+password+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 201 {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	return w
}

// phone is the app after a start: it has what was stored, and nothing else.
func (w *world) phone(issuer string) *Session {
	return &Session{
		Issuer: issuer, HTTP: &http.Client{Transport: w},
		Load: func() (string, error) {
			if p := w.stored.Load(); p != nil {
				return *p, nil
			}
			return "", ErrSignIn
		},
		Save: func(refresh string) error { w.stored.Store(&refresh); return nil },
	}
}

func get(t *testing.T, s *Session, url string) string {
	t.Helper()
	answer, err := s.Get(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != 200 {
		t.Fatalf("%d %s", answer.StatusCode, text)
	}
	return string(text)
}

func TestAnAppRefreshesWithoutAPromptAndSurvivesLostAnswers(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Get(t.Context(), w.service); !errors.Is(err, ErrSignIn) {
		t.Errorf("before the sign-in: %v", err)
	}
	if err := run(t.Context(), w.Session, []string{"signin", "ann"}, strings.NewReader("a guess of mine\n"), nil); !errors.Is(err, ErrSignIn) {
		t.Errorf("a wrong password: %v", err)
	}
	if err := run(t.Context(), w.Session, []string{"signin", "ann"}, strings.NewReader(password+"\n"), nil); err != nil {
		t.Fatal(err)
	}
	first := get(t, w.Session, w.service)

	// Roles have changed: the token is renewed, and the session is the same.
	w.stale.Store(true)
	if again := get(t, w.Session, w.service); again != first || w.asked.Load() != 1 {
		t.Errorf("%q, then %q, after %d refreshes", first, again, w.asked.Load())
	}
	// The answer is lost twice: the same token gives the same successor.
	w.drop.Store(2)
	if again := get(t, w.Session, w.service); again != first || w.asked.Load() != 4 {
		t.Errorf("%q, then %q, after %d refreshes", first, again, w.asked.Load())
	}
	// The app was closed: what it stored is enough.
	if again := get(t, w.phone(w.Issuer), w.service); again != first {
		t.Errorf("%q, then %q after a start", first, again)
	}
}

func TestManyRequestsAtOnceRefreshOnce(t *testing.T) {
	w := newWorld(t)
	if err := w.SignIn(t.Context(), "ann", password); err != nil {
		t.Fatal(err)
	}
	w.access = "" // as after a start
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { get(t, w.Session, w.service) })
	}
	all.Wait()
	if n := w.asked.Load(); n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

func TestAnAppWhoseSessionWasEndedAsksForASignIn(t *testing.T) {
	w := newWorld(t)
	if err := w.SignIn(t.Context(), "ann", password); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(context.Background(), "POST", w.Issuer+"/api/v1/signout", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.access)
	answer, err := http.DefaultClient.Do(r)
	if err != nil || answer.StatusCode != 204 {
		t.Fatal(answer, err)
	}
	answer.Body.Close()
	w.access = ""
	if _, err := w.Get(t.Context(), w.service); !errors.Is(err, ErrSignIn) || !strings.Contains(err.Error(), "session_ended") {
		t.Errorf("%v", err)
	}
}
