package session

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/admit-auth/admit"
)

// A bearer is a client whose credential names a session.
type bearer struct {
	*Manager[visit]
	named *Named
	err   error
}

func newBearer(t testing.TB) *bearer {
	t.Helper()
	b := &bearer{}
	m, err := New[visit](NewMemory(nil), &Options{Bearer: true, Named: func(r *http.Request) (*Named, error) {
		if r.Header.Get("X-Named") == "" {
			return nil, nil
		}
		return b.named, b.err
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.Manager = m
	return b
}

func (b *bearer) request() *http.Request {
	r := httptest.NewRequest("GET", "https://example.org/", nil)
	r.Header.Set("X-Named", "yes")
	return r
}

// start begins a session of ann's.
func (b *bearer) start(t testing.TB, o StartOptions) *Session[visit] {
	t.Helper()
	w := httptest.NewRecorder()
	s, err := b.Start(w, httptest.NewRequest("GET", "https://example.org/", nil), "ann", &o)
	if err != nil {
		t.Fatal(err)
	}
	if o.JWT && (w.Header().Get("Set-Cookie") != "" || !s.Token.IsZero()) {
		t.Fatalf("a session that is named has a token: %v", w.Header())
	}
	return s
}

// of is what a credential says that was made of the session now.
func of(s *Session[visit]) *Named {
	return &Named{SID: s.SID, Subject: s.Subject, Epoch: s.Epoch, AuthTime: s.AuthTime}
}

func TestASessionIsFoundByWhatACredentialNames(t *testing.T) {
	b := newBearer(t)
	s := b.start(t, StartOptions{JWT: true, Persistent: true})
	b.named = of(s)
	i, err := b.Check(b.request())
	if err != nil || i.SID != s.SID || i.Credential() != "jwt" || i.Persistent {
		t.Fatalf("Check = %+v, %v", i, err)
	}
	if p, found, err := b.Authenticate(b.request()); err != nil || !found || p.Credential != "jwt" || p.Subject != "ann" {
		t.Errorf("Authenticate = %+v, %t, %v", p, found, err)
	}
	if _, err := b.Update(httptest.NewRecorder(), b.request(), func(v *visit) error { v.Count++; return nil }); err != nil {
		t.Errorf("Update: %v", err)
	}
	b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		again, err := b.Load(r)
		if err != nil || again.SID != s.SID || again.Data.Count != 1 {
			t.Errorf("Load inside Handler = %+v, %v", again, err)
		}
	})).ServeHTTP(httptest.NewRecorder(), b.request())
	if list, err := b.List(t.Context(), "ann"); err != nil || len(list) != 1 || list[0].Credential() != "jwt" {
		t.Errorf("List = %+v, %v", list, err)
	}
	if err := b.End(httptest.NewRecorder(), b.request(), "signed_out"); err != nil {
		t.Fatal(err)
	}
	_, err = b.Check(b.request())
	if e, ok := errors.AsType[*EndedError](err); !ok || e.Why != "signed_out" {
		t.Errorf("after End: %v", err)
	}
}

func TestWhatACredentialNamesMayNotCount(t *testing.T) {
	b := newBearer(t)
	s := b.start(t, StartOptions{JWT: true})
	cookie, opaque := b.start(t, StartOptions{}), b.start(t, StartOptions{Bearer: true})
	change := func(fn func(*Named)) *Named {
		n := of(s)
		fn(n)
		return n
	}
	for _, test := range []struct {
		name  string
		named *Named
		want  error
	}{
		{"of this epoch", change(func(*Named) {}), nil},
		{"of a later epoch", change(func(n *Named) { n.Epoch++ }), nil},
		{"of an earlier epoch", change(func(n *Named) { n.Epoch-- }), ErrStale},
		{"without an epoch", change(func(n *Named) { n.Epoch = 0 }), ErrStale},
		{"another subject", change(func(n *Named) { n.Subject = "bob" }), ErrNone},
		{"nobody", change(func(n *Named) { n.Subject = "" }), ErrNone},
		{"no session", change(func(n *Named) { n.SID = "" }), ErrNone},
		{"an epoch's key", change(func(n *Named) { n.SID = EpochKey("ann") }), ErrNone},
		{"an unknown session", change(func(n *Named) { n.SID = "0123456789012345678901" }), ErrNone},
		{"a session of a cookie", of(cookie), ErrNone},
		{"a session of a token", of(opaque), ErrNone},
	} {
		b.named = test.named
		if _, err := b.Check(b.request()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	// A credential that is refused never falls back to a cookie.
	w := httptest.NewRecorder()
	if _, err := b.Start(w, httptest.NewRequest("GET", "https://example.org/", nil), "bob", nil); err != nil {
		t.Fatal(err)
	}
	refused := admit.Unauthenticated.New("refused", "Refused.")
	b.named, b.err = nil, refused
	r := b.request()
	r.AddCookie(w.Result().Cookies()[0])
	if _, err := b.Check(r); err != error(refused) {
		t.Errorf("with a good cookie: %v", err)
	}
	// Nor is it taken for a sign-out: its session may live.
	if err := b.End(httptest.NewRecorder(), r, "signed_out"); err != error(refused) {
		t.Errorf("End: %v", err)
	}
	r.Header.Del("X-Named")
	if _, err := b.Check(r); err != nil {
		t.Errorf("the cookie's session has ended by a refused credential: %v", err)
	}
}

func TestAStaleCredentialStillSignsOut(t *testing.T) {
	b := newBearer(t)
	s := b.start(t, StartOptions{JWT: true})
	b.named = of(s)
	if err := b.EndAll(t.Context(), "ann", s.SID, "ended_by_user"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Check(b.request()); !errors.Is(err, ErrStale) {
		t.Fatalf("after EndAll: %v", err)
	}
	if err := b.End(httptest.NewRecorder(), b.request(), "signed_out"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Check(b.request()); !errors.Is(err, ErrEnded) {
		t.Errorf("after End: %v", err)
	}
}

func TestAProofCountsForCredentialsThatAreMadeAfterIt(t *testing.T) {
	b := newBearer(t)
	s := b.start(t, StartOptions{JWT: true, AuthTime: time.Now().Add(-time.Hour)})
	b.named = of(s)
	proved, err := b.Prove(httptest.NewRecorder(), b.request(), "otp")
	if err != nil || !proved.Token.IsZero() || time.Since(proved.AuthTime) > time.Minute {
		t.Fatalf("Prove = %+v, %v", proved, err)
	}
	if i, err := b.Check(b.request()); err != nil || !i.AuthTime.Equal(s.AuthTime) {
		t.Errorf("the credential from before tells of a proof at %v, %v", i.AuthTime, err)
	}
	b.named = of(proved)
	if i, err := b.Check(b.request()); err != nil || !i.AuthTime.Equal(proved.AuthTime) {
		t.Errorf("the next one tells of a proof at %v, %v", i.AuthTime, err)
	}
}

func TestASessionForCredentialsNeedsWhoVerifiesThem(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	if _, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), "ann", &StartOptions{JWT: true}); err == nil {
		t.Error("it was begun")
	}
}
