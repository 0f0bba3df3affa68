package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/token"
)

type visit struct {
	Count int            `json:"count,omitempty"`
	Cart  map[string]int `json:"cart,omitempty"`
}

// A browser is a client with a jar of one cookie.
type browser struct {
	t      testing.TB
	cookie string
}

func (b *browser) request() *http.Request {
	r := httptest.NewRequest("GET", "https://example.org/", nil)
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	return r
}

// do runs one request and keeps the cookies it sets.
func (b *browser) do(f func(w http.ResponseWriter, r *http.Request)) {
	b.t.Helper()
	w := httptest.NewRecorder()
	f(w, b.request())
	b.take(w)
}

func (b *browser) take(w *httptest.ResponseRecorder) {
	for _, c := range w.Result().Cookies() {
		b.cookie = c.Name + "=" + c.Value
		if c.MaxAge < 0 {
			b.cookie = ""
		}
	}
}

func newManager(t testing.TB, s Store, o *Options) *Manager[visit] {
	t.Helper()
	m, err := New[visit](s, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (b *browser) visit(m *Manager[visit]) (s *Session[visit], err error) {
	b.do(func(w http.ResponseWriter, r *http.Request) {
		s, err = m.Update(w, r, func(v *visit) error { v.Count++; return nil })
	})
	return s, err
}

func (b *browser) start(m *Manager[visit], subject string, o *StartOptions) *Session[visit] {
	b.t.Helper()
	var s *Session[visit]
	b.do(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if s, err = m.Start(w, r, subject, o); err != nil {
			b.t.Fatalf("Start: %v", err)
		}
	})
	return s
}

func TestSignInRenewsTheIDKeepsGuestDataAndKillsTheOldID(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	guest, err := b.visit(m)
	if err != nil || !guest.Guest() || guest.Data.Count != 1 {
		t.Fatalf("first visit: %+v, %v", guest, err)
	}
	old := *b
	s := b.start(m, "alice", &StartOptions{AMR: []string{"pwd"}, Device: Device{Name: "Firefox"}})
	if s.SID == guest.SID || s.Data.Count != 1 || s.Subject != "alice" || s.AMR()[0] != "pwd" || s.AuthTime.IsZero() {
		t.Errorf("after sign-in: %+v", s)
	}
	if _, err := m.Load(old.request()); !errors.Is(err, ErrEnded) {
		t.Errorf("the guest's id after sign-in: %v, want ErrEnded", err)
	}
	got, err := m.Load(b.request())
	if err != nil || got.Data.Count != 1 || got.Device.Name != "Firefox" {
		t.Errorf("Load: %+v, %v", got, err)
	}
}

func TestASignInGoesThroughThoughTheGuestsRecordVanishesMeanwhile(t *testing.T) {
	m := newManager(t, evictingStore{NewMemory(nil)}, nil)
	b := &browser{t: t}
	if _, err := b.visit(m); err != nil {
		t.Fatal(err)
	}
	if s := b.start(m, "alice", nil); s.Subject != "alice" || s.Data.Count != 0 {
		t.Errorf("after sign-in: %+v", s)
	}
	if _, err := m.Load(b.request()); err != nil {
		t.Errorf("Load: %v", err)
	}
}

// An evictingStore has just pushed out what is to be swapped, as a full memory
// does with guests.
type evictingStore struct{ Store }

func (s evictingStore) Swap(ctx context.Context, key string, old uint64, it Item) (uint64, error) {
	s.Store.Delete(ctx, key)
	return s.Store.Swap(ctx, key, old, it)
}

// Attack: session fixation. Mallory plants a session id of her own in Alice's
// browser and waits for her to sign in.
func TestAttackSessionFixation(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	mallory := &browser{t: t}
	if _, err := mallory.visit(m); err != nil {
		t.Fatal(err)
	}
	alice := &browser{t: t, cookie: mallory.cookie}
	alice.start(m, "alice", nil)
	if _, err := m.Load(mallory.request()); !errors.Is(err, ErrEnded) {
		t.Errorf("the planted id after Alice signed in: %v, want ErrEnded", err)
	}
	// An id that nobody issued is never adopted.
	made := &browser{t: t, cookie: "__Host-session=" + token.New(token.Session).Reveal()}
	s, err := made.visit(m)
	if err != nil || strings.Contains(mallory.cookie, s.SID) {
		t.Fatal(err)
	}
	if made.cookie == "" || strings.Contains(made.cookie, "planted") {
		t.Error("the invented id was kept")
	}
}

// Attack: replay after sign-out. Mallory copied the cookie before Alice left.
func TestAttackReplayAfterSignOut(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	alice := &browser{t: t}
	alice.start(m, "alice", nil)
	stolen := *alice
	alice.do(func(w http.ResponseWriter, r *http.Request) {
		if err := m.End(w, r, "sign_out"); err != nil {
			t.Fatal(err)
		}
	})
	if alice.cookie != "" {
		t.Errorf("the cookie is still there: %s", alice.cookie)
	}
	if _, err := m.Load(stolen.request()); !errors.Is(err, ErrEnded) {
		t.Errorf("the stolen cookie: %v, want ErrEnded", err)
	}
	if _, err := stolen.visit(m); !errors.Is(err, ErrEnded) {
		t.Errorf("Update with the stolen cookie: %v, want ErrEnded", err)
	}
}

// Attack: a request in flight writes after the session was ended.
func TestAttackAnEndedSessionIsNotRevivedByARequestInFlight(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	b.start(m, "alice", nil)
	slow := *b
	slow.do(func(w http.ResponseWriter, r *http.Request) {
		first := true
		_, err := m.Update(w, r, func(v *visit) error {
			if first { // while the slow request runs, the user ends the session elsewhere
				first = false
				i, err := m.Check(b.request())
				if err == nil {
					err = m.EndSID(t.Context(), "alice", i.SID, "ended_by_user")
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			v.Count = 99
			return nil
		})
		if !errors.Is(err, ErrEnded) || len(w.Header()["Set-Cookie"]) != 0 {
			t.Errorf("the slow request: %v and cookies %q, want ErrEnded and none", err, w.Header()["Set-Cookie"])
		}
	})
	if _, err := m.Load(b.request()); !errors.Is(err, ErrEnded) {
		t.Errorf("after it: %v, want ErrEnded", err)
	}
}

// Attack (or accident): a late request with the guest's cookie answers after
// the sign-in and puts a new guest's cookie over it.
func TestAttackALateGuestRequestDoesNotReplaceASignIn(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	if _, err := b.visit(m); err != nil {
		t.Fatal(err)
	}
	late := b.request()
	b.start(m, "alice", nil)
	w := httptest.NewRecorder()
	_, err := m.Update(w, late, func(v *visit) error { v.Count++; return nil })
	b.take(w)
	if !errors.Is(err, ErrEnded) {
		t.Errorf("the late request: %v, want ErrEnded", err)
	}
	if s, err := m.Load(b.request()); err != nil || s.Subject != "alice" {
		t.Errorf("the browser is now %+v, %v; want alice", s, err)
	}
}

func TestFiftyParallelUpdatesLoseNone(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	if _, err := b.visit(m); err != nil {
		t.Fatal(err)
	}
	seen := make([]bool, 1002)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				s, err := m.Update(httptest.NewRecorder(), b.request(), func(v *visit) error {
					v.Count++
					if v.Cart == nil {
						v.Cart = map[string]int{}
					}
					v.Cart["x"]++ // a map inside D: the race detector would tell
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[s.Data.Count] {
					t.Errorf("two updates got the number %d", s.Data.Count)
				}
				seen[s.Data.Count] = true
				mu.Unlock()
				s.Data.Cart["y"]++
			}
		})
	}
	wg.Wait()
	if s, err := m.Load(b.request()); err != nil || s.Data.Count != 1001 || s.Data.Cart["x"] != 1000 || s.Data.Cart["y"] != 0 {
		t.Errorf("after 1001 visits: %+v, %v", s, err)
	}
}

// Attack: a sub-domain plants junk, or a valid session of its own, under our
// cookie's name.
func TestAttackJunkAndValidCookieShadowing(t *testing.T) {
	m := newManager(t, NewMemory(nil), &Options{Domain: "example.org"})
	alice, mallory, guest := &browser{t: t}, &browser{t: t}, &browser{t: t}
	alice.start(m, "alice", nil)
	mallory.start(m, "mallory", nil)
	if _, err := guest.visit(m); err != nil {
		t.Fatal(err)
	}
	r := alice.request()
	junk := "__Secure-session=" + token.New(token.Session).Reveal()
	r.Header.Set("Cookie", "__Secure-session=junk; "+junk+"; "+alice.cookie)
	if i, err := m.Check(r); err != nil || i.Subject != "alice" {
		t.Errorf("behind junk: %+v, %v", i, err)
	}
	for _, other := range []*browser{mallory, guest} {
		r.Header.Set("Cookie", other.cookie+"; "+alice.cookie)
		w := httptest.NewRecorder()
		m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := m.Check(r); !errors.Is(err, ErrAmbiguous) {
				t.Errorf("beside another good one: %v, want ErrAmbiguous", err)
			}
			if _, err := m.Update(w, r, func(*visit) error { return nil }); !errors.Is(err, ErrAmbiguous) {
				t.Errorf("Update: %v, want ErrAmbiguous", err)
			}
		})).ServeHTTP(w, r)
		if len(w.Result().Cookies()) == 0 || w.Result().Cookies()[0].MaxAge >= 0 {
			t.Error("the cookies are not cleared")
		}
		w = httptest.NewRecorder()
		if _, err := m.Update(w, r, func(*visit) error { return nil }); !errors.Is(err, ErrAmbiguous) || len(w.Result().Cookies()) == 0 {
			t.Errorf("Update without Handler: %v, cookies %v; want ErrAmbiguous, and them cleared", err, w.Result().Cookies())
		}
	}
}

func TestEndAllEndsEveryOtherSessionInOneWrite(t *testing.T) {
	told := &sink{}
	m := newManager(t, NewMemory(nil), &Options{Feed: told})
	var all [5]browser
	for i := range all {
		all[i].t = t
		all[i].start(m, "alice", nil)
	}
	bob := &browser{t: t}
	bob.start(m, "bob", nil)
	keep, err := m.Check(all[2].request())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.EndAll(t.Context(), "alice", keep.SID, "ended_by_user"); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		_, err := m.Check(all[i].request())
		if (err == nil) != (i == 2) || i != 2 && !errors.Is(err, ErrEnded) {
			t.Errorf("session %d: %v", i, err)
		}
	}
	if _, err := m.Check(bob.request()); err != nil {
		t.Errorf("bob: %v", err)
	}
	if l, err := m.List(t.Context(), "alice"); err != nil || len(l) != 1 || l[0].SID != keep.SID {
		t.Errorf("List: %+v, %v", l, err)
	}
	if len(told.events) != 1 || told.events[0].Kind != feed.Subject || told.events[0].SEV == 0 || told.events[0].Subject != "alice" {
		t.Errorf("the feed was told %+v, want one raised subject", told.events)
	}
	again := &browser{t: t}
	again.start(m, "alice", nil)
	if _, err := m.Check(again.request()); err != nil {
		t.Errorf("a new sign-in after EndAll: %v", err)
	}
}

// Whoever stole a session says "end all others" over and over, for that spares
// his own: the owner's change of the password must not fall between its steps.
func TestAttackAStolenSessionEndsAllOthersUntilThePasswordIsChanged(t *testing.T) {
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprintf("the thief hangs up: %v", cut), func(t *testing.T) {
			memory := &overtakenStore{Store: NewMemory(nil)}
			m := newManager(t, memory, nil)
			owner, thief := &browser{t: t}, &browser{t: t}
			kept, stolen := owner.start(m, "alice", nil), thief.start(m, "alice", nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			change := func() {
				if err := m.EndAll(t.Context(), "alice", kept.SID, "password_changed"); err != nil {
					t.Fatal(err)
				}
			}
			memory.before = change
			if cut {
				memory.before = cancel
			}
			if err := m.EndAll(ctx, "alice", stolen.SID, "ended_by_user"); err == nil {
				t.Error("the thief's call went through")
			}
			if cut {
				change()
			}
			if _, err := m.Check(thief.request()); !errors.Is(err, ErrEnded) {
				t.Errorf("the stolen session: %v, want ErrEnded", err)
			}
			if _, err := m.Check(owner.request()); err != nil {
				t.Errorf("the owner's session: %v", err)
			}
		})
	}
}

// An overtakenStore lets something happen just before the first epoch is
// raised.
type overtakenStore struct {
	Store
	before func()
}

func (s *overtakenStore) Swap(ctx context.Context, key string, old uint64, it Item) (uint64, error) {
	if f := s.before; f != nil && strings.HasPrefix(key, epochPrefix) {
		s.before = nil
		f()
	}
	return s.Store.Swap(ctx, key, old, it)
}

// The public id is in lists, in tokens and in logs: it must tell nobody what
// became of the session.
func TestAttackAPublicIDAsksWhetherItsSessionWasEnded(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	b.start(m, "alice", nil)
	if err := m.EndAll(t.Context(), "alice", "", "sign_out_everywhere"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Check(b.request()); !errors.Is(err, ErrEnded) {
		t.Errorf("its holder: %v, want ErrEnded", err)
	}
	_, text, _ := strings.Cut(b.cookie, "=")
	tok, err := token.Parse(token.Session, text)
	if err != nil {
		t.Fatal(err)
	}
	forged := &browser{t, "__Host-session=" + tok.WithNewVerifier().Reveal()}
	if _, err := m.Check(forged.request()); !errors.Is(err, ErrNone) {
		t.Errorf("a stranger with the id: %v, want ErrNone", err)
	}
}

// A token for the header must never reach a cookie jar, not even when it is
// renewed.
func TestAPersistentTokenIsNeverPutIntoACookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), &Options{Bearer: true})
		s, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), "alice", &StartOptions{Bearer: true, Persistent: true})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+s.Token.Reveal())
		m.Handler(http.NotFoundHandler()).ServeHTTP(w, r)
		if set := w.Header()["Set-Cookie"]; set != nil {
			t.Errorf("a cookie was set, %d bytes", len(set[0]))
		}
		if i, err := m.Check(r); err != nil || time.Since(i.LastSeenAt) > time.Minute {
			t.Errorf("the session: last seen at %v, %v", i.LastSeenAt, err)
		}
	})
}

// A sink keeps what it is told.
type sink struct{ events []feed.Event }

func (s *sink) Append(_ context.Context, _ time.Time, events ...feed.Event) error {
	s.events = append(s.events, events...)
	return nil
}

func TestASessionOfAnotherSubjectIsNotFoundAndNotCarriedOver(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	b.start(m, "alice", nil)
	if _, err := b.visit(m); err != nil {
		t.Fatal(err)
	}
	i, _ := m.Check(b.request())
	if err := m.EndSID(t.Context(), "bob", i.SID, "x"); !errors.Is(err, ErrUnknown) {
		t.Errorf("bob ends alice's session: %v", err)
	}
	if s := b.start(m, "bob", nil); s.Data.Count != 0 {
		t.Errorf("bob got alice's data: %+v", s.Data)
	}
}

func TestIdleAndAbsoluteTimeOutsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), nil)
		b := &browser{t: t}
		b.start(m, "alice", nil)
		page := func() (err error) {
			b.do(func(w http.ResponseWriter, r *http.Request) {
				m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, err = m.Load(r) })).ServeHTTP(w, r)
			})
			return err
		}
		for range 13 { // each use keeps it for another hour, up to twelve
			time.Sleep(55 * time.Minute)
			if err := page(); err != nil {
				t.Fatalf("in use: %v", err)
			}
		}
		time.Sleep(10 * time.Minute)
		if err := page(); !errors.Is(err, ErrExpired) {
			t.Errorf("after twelve hours: %v, want ErrExpired", err)
		}
		b.start(m, "alice", nil)
		time.Sleep(time.Hour)
		if err := page(); !errors.Is(err, ErrExpired) {
			t.Errorf("after an idle hour: %v, want ErrExpired", err)
		}
		if s, err := b.visit(m); err != nil || !s.Guest() {
			t.Errorf("an expired session's next Update: %+v, %v, want a new guest", s, err)
		}
	})
}

func TestAReadWritesNothingAndATouchIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{Store: NewMemory(nil)}
		m := newManager(t, c, nil)
		b := &browser{t: t}
		b.start(m, "alice", &StartOptions{Persistent: true})
		writes := c.writes
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.Load(r); m.Check(r) }))
		reads := c.reads
		for range 100 {
			h.ServeHTTP(httptest.NewRecorder(), b.request())
		}
		if c.writes != writes || c.reads != reads+200 { // record and epoch: two trips without GetWithEpoch
			t.Errorf("100 requests: %d writes, %d reads; want 0 and 200", c.writes-writes, c.reads-reads)
		}
		time.Sleep(2 * time.Minute)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, b.request())
		h.ServeHTTP(httptest.NewRecorder(), b.request())
		if c.writes != writes+1 {
			t.Errorf("two minutes later: %d touches, want 1", c.writes-writes)
		}
		if len(w.Result().Cookies()) != 1 {
			t.Error("a persistent cookie was not renewed with the touch")
		}
	})
}

type counting struct {
	Store
	reads, writes int
}

func (c *counting) Get(ctx context.Context, key string) (Item, error) {
	c.reads++
	return c.Store.Get(ctx, key)
}

func (c *counting) Touch(ctx context.Context, key string, v uint64, e time.Time) error {
	c.writes++
	return c.Store.Touch(ctx, key, v, e)
}

func (c *counting) Swap(ctx context.Context, key string, v uint64, it Item) (uint64, error) {
	c.writes++
	return c.Store.Swap(ctx, key, v, it)
}

// broken answers every call with an error that is not a Store's own.
type broken struct{ Store }

func (broken) Get(context.Context, string) (Item, error) { return Item{}, errors.New("cable cut") }

func TestAStoreOutageIsAnErrorAndNeverANewSession(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	b.start(m, "alice", nil)
	out := newManager(t, broken{m.store}, nil)
	w := httptest.NewRecorder()
	_, err := out.Update(w, b.request(), func(*visit) error { return nil })
	if !errors.Is(err, admit.Unavailable) || len(w.Header()) != 0 {
		t.Errorf("Update: %v with headers %v, want Unavailable and none", err, w.Header())
	}
	if err := out.End(w, b.request(), "sign_out"); !errors.Is(err, admit.Unavailable) || len(w.Header()) != 0 {
		t.Errorf("End: %v with headers %v, want Unavailable and none", err, w.Header())
	}
}

func TestASparedSessionIsNeverRefusedWhileTheOthersEnd(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	here := &browser{t: t}
	i := here.start(m, "alice", nil)
	r := here.request()
	done := make(chan struct{})
	var asked atomic.Int64
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := m.Check(r); err != nil {
					t.Errorf("the spared session: %v", err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for n := range 200 {
		there := &browser{t: t}
		there.start(m, "alice", nil)
		if err := m.EndAll(t.Context(), "alice", i.SID, "ended"); err != nil {
			t.Fatalf("EndAll %d: %v", n, err)
		}
		if _, err := m.Check(there.request()); !errors.Is(err, ErrEnded) {
			t.Errorf("the other one: %v, want ErrEnded", err)
		}
	}
	close(done)
	readers.Wait()
	if asked.Load() == 0 {
		t.Error("nobody asked")
	}
}

func TestUnknownMembersOfTheDataSurviveAnOlderProgram(t *testing.T) {
	type newer struct {
		visit
		Theme string         `json:"theme,omitempty"`
		Deep  map[string]int `json:"deep,omitempty"`
	}
	s := NewMemory(nil)
	m2, err := New[newer](s, nil)
	if err != nil {
		t.Fatal(err)
	}
	m1 := newManager(t, s, nil)
	b := &browser{t: t}
	b.do(func(w http.ResponseWriter, r *http.Request) {
		_, err = m2.Update(w, r, func(n *newer) error {
			n.Theme, n.Deep, n.Count = `da"rk`, map[string]int{"count": 3}, 1
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := b.visit(m1); err != nil || s.Data.Count != 2 {
		t.Fatalf("the older program: %+v, %v", s, err)
	}
	got, err := m2.Load(b.request())
	if err != nil || got.Data.Theme != `da"rk` || got.Data.Deep["count"] != 3 || got.Data.Count != 2 {
		t.Errorf("the newer program sees %+v, %v", got, err)
	}
}

func TestNewRefusesContradictions(t *testing.T) {
	for promise, o := range map[string]*Options{
		"a __Host- cookie has no Domain":    {Name: "__Host-x", Domain: "example.org"},
		"a __Secure- cookie is Secure":      {Name: "__Secure-x", InsecureAllowHTTP: true},
		"a lifetime is at least a second":   {Lifetime: time.Millisecond},
		"an idle time is at least a second": {Idle: -time.Hour},
	} {
		if _, err := New[visit](NewMemory(nil), o); err == nil {
			t.Errorf("%s: accepted", promise)
		}
	}
	if _, err := New[visit](nil, nil); err == nil {
		t.Error("a Manager without a store")
	}
}

func TestACheckCostsOneAllocation(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	b.start(m, "alice", &StartOptions{AMR: []string{"pwd"}, Device: Device{Name: "Firefox on Linux", Address: "192.0.2.7"}})
	r := b.request()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := m.Check(r); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("Check allocates %v times, want 1", n)
	}
	w := httptest.NewRecorder()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.Check(r) }))
	if n := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) }); n > 2 {
		t.Errorf("Handler and Check allocate %v times, want 2", n)
	}
}

func FuzzRecord(f *testing.F) {
	rec := record{created: 1, auth: 2, idle: 3, lifetime: 4, epoch: 5, text: [5]string{"pwd", "", "a", "b", "c"}, data: "{}"}
	f.Add(rec.value([]byte(rec.data)))
	rec.flags |= flagPrevious
	f.Add(rec.value([]byte(rec.data)))
	f.Add(tombstone(token.Digest{}, "x"))
	f.Fuzz(func(t *testing.T, value string) {
		var rec, again record
		if !rec.parse(value) || rec.ended() {
			return
		}
		text := rec.value([]byte(rec.data))
		if !again.parse(text) || again.value([]byte(again.data)) != text {
			t.Errorf("%q reads as %+v and then as %+v", value, rec, again)
		}
	})
}

func BenchmarkCheckThroughHandler(b *testing.B) {
	m := newManager(b, NewMemory(nil), nil)
	br := &browser{t: b}
	br.start(m, "alice", nil)
	r := br.request()
	w := httptest.NewRecorder()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.Check(r) }))
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func BenchmarkLoadJSONThroughHandler(b *testing.B) {
	m := newManager(b, NewMemory(nil), nil)
	br := &browser{t: b}
	br.visit(m)
	r := br.request()
	w := httptest.NewRecorder()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.Load(r) }))
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func BenchmarkUpdate(b *testing.B) {
	m := newManager(b, NewMemory(nil), nil)
	br := &browser{t: b}
	br.visit(m)
	r := br.request()
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		m.Update(w, r, func(v *visit) error { v.Count++; return nil })
	}
}

func ExampleManager_Update() {
	type Visit struct{ Count int }
	sessions, err := New[Visit](NewMemory(nil), nil)
	if err != nil {
		panic(err)
	}
	page := func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Update(w, r, func(v *Visit) error { v.Count++; return nil })
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "visit %d", s.Data.Count)
	}
	w := httptest.NewRecorder()
	page(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(w.Body)
	// Output: visit 1
}

func TestATokenForTheHeaderIsNoCookieAndACookieNoHeader(t *testing.T) {
	m := newManager(t, NewMemory(nil), &Options{Bearer: true})
	w := httptest.NewRecorder()
	s, err := m.Start(w, httptest.NewRequest("GET", "https://example.org/", nil), "ann", &StartOptions{Bearer: true, AuthTime: time.UnixMilli(1_000)})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Header()["Set-Cookie"]; got != nil {
		t.Errorf("a bearer session set the cookie %q", got)
	}
	if s.Credential() != "token" || s.AuthTime.UnixMilli() != 1_000 {
		t.Errorf("Start = %+v", s.Info)
	}
	w = httptest.NewRecorder()
	if _, err := m.Start(w, httptest.NewRequest("GET", "https://example.org/", nil), "bob", nil); err != nil {
		t.Fatal(err)
	}
	browser := w.Result().Cookies()[0]
	for _, test := range []struct {
		name    string
		header  []string
		cookie  string
		subject string
		err     error
	}{
		{"the token in the header counts", []string{"Bearer " + s.Token.Reveal()}, "", "ann", nil},
		{"the scheme has no case", []string{"bearer " + s.Token.Reveal()}, "", "ann", nil},
		{"the header is judged alone", []string{"Bearer " + s.Token.Reveal()}, browser.Value, "ann", nil},
		{"a bad header does not fall back to the cookie", []string{"Bearer nonsense"}, browser.Value, "", ErrNone},
		{"another scheme does not fall back to the cookie", []string{"Basic YTpi"}, browser.Value, "", ErrNone},
		{"two headers are none", []string{"Bearer " + s.Token.Reveal(), "Bearer " + s.Token.Reveal()}, "", "", ErrNone},
		{"a header's token planted as a cookie does not sign in", nil, s.Token.Reveal(), "", ErrNone},
		{"a cookie's token is no header", []string{"Bearer " + browser.Value}, "", "", ErrNone},
		{"the cookie counts", nil, browser.Value, "bob", nil},
	} {
		r := httptest.NewRequest("GET", "https://example.org/", nil)
		r.Header["Authorization"] = test.header
		if test.header == nil {
			r.Header.Del("Authorization")
		}
		if test.cookie != "" {
			r.AddCookie(&http.Cookie{Name: browser.Name, Value: test.cookie})
		}
		i, err := m.Check(r)
		if i.Subject != test.subject || !errors.Is(err, test.err) {
			t.Errorf("%s: %q, %v; want %q, %v", test.name, i.Subject, err, test.subject, test.err)
		}
	}
	r := httptest.NewRequest("GET", "https://example.org/", nil)
	r.Header.Set("Authorization", "Bearer "+s.Token.Reveal())
	if err := m.End(httptest.NewRecorder(), r, "signed out"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Check(r); !errors.Is(err, ErrEnded) {
		t.Errorf("after End: %v", err)
	}
}

func TestAnOperatorFindsAndEndsAnySession(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	guest, ann := &browser{t: t}, &browser{t: t}
	g, err := guest.visit(m)
	if err != nil {
		t.Fatal(err)
	}
	a := ann.start(m, "ann", nil)
	ctx := t.Context()
	for _, sid := range []string{g.SID, a.SID} {
		if s, err := m.Find(ctx, sid); err != nil || s.SID != sid {
			t.Errorf("Find(%s) = %v, %v", sid, s, err)
		}
		if err := m.EndAny(ctx, sid, "operator"); err != nil {
			t.Errorf("EndAny(%s): %v", sid, err)
		}
		if _, err := m.Find(ctx, sid); !errors.Is(err, ErrUnknown) {
			t.Errorf("Find(%s) after EndAny: %v", sid, err)
		}
		if err := m.EndAny(ctx, sid, "operator"); !errors.Is(err, ErrUnknown) {
			t.Errorf("EndAny(%s) twice: %v", sid, err)
		}
	}
	for _, sid := range []string{"", EpochKey("ann"), "nonsense"} {
		if _, err := m.Find(ctx, sid); !errors.Is(err, ErrUnknown) {
			t.Errorf("Find(%q): %v", sid, err)
		}
	}
	if _, err := m.Check(ann.request()); !errors.Is(err, ErrEnded) {
		t.Errorf("Check after EndAny: %v", err)
	}
}

func TestPagesOfAListHaveEveryLiveSessionOnce(t *testing.T) {
	store := NewMemory(nil)
	m := newManager(t, store, nil)
	want := map[string]bool{}
	for i := range 25 {
		s, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), []string{"ann", "bob"}[i%2], nil)
		if err != nil {
			t.Fatal(err)
		}
		want[s.SID] = true
		if i%5 == 0 {
			if err := m.EndAny(t.Context(), s.SID, "test"); err != nil {
				t.Fatal(err)
			}
			delete(want, s.SID)
		}
	}
	got := map[string]bool{}
	for after, last := "", ""; ; {
		page, next, err := m.ListPage(t.Context(), "", after, 3)
		if err != nil || len(page) > 3 || next != "" && len(page) < 3 {
			t.Fatalf("a page of %d, then %q: %v", len(page), next, err)
		}
		for _, i := range page {
			if got[i.SID] || i.SID <= last {
				t.Errorf("%s comes again, or too late", i.SID)
			}
			got[i.SID], last = true, i.SID
		}
		if after = next; next == "" {
			break
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d sessions are listed, want %d", len(got), len(want))
	}
	if page, _, err := m.ListPage(t.Context(), "ann", "", 100); err != nil || len(page) == 0 || len(page) >= len(want) {
		t.Errorf("%d sessions are Ann's: %v", len(page), err)
	}
}
