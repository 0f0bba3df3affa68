package session

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
)

func newKeys(t testing.TB) *cookie.Keys {
	t.Helper()
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func newSealed(t testing.TB, guards Store, keys *cookie.Keys, o *Options) *Manager[visit] {
	t.Helper()
	m, err := NewSealed[visit](guards, keys, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// set makes the count n.
func (b *browser) set(m *Manager[visit], n int) {
	b.t.Helper()
	b.do(func(w http.ResponseWriter, r *http.Request) {
		if _, err := m.Update(w, r, func(v *visit) error { v.Count = n; return nil }); err != nil {
			b.t.Fatalf("Update: %v", err)
		}
	})
}

// see returns the count that a request through Handler sees.
func (b *browser) see(m *Manager[visit]) (n int, err error) {
	b.t.Helper()
	b.do(func(w http.ResponseWriter, r *http.Request) {
		m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var s *Session[visit]
			if s, err = m.Load(r); err == nil {
				n = s.Data.Count
			}
		})).ServeHTTP(w, r)
	})
	return n, err
}

func (b *browser) wants(m *Manager[visit], want int) {
	b.t.Helper()
	if n, err := b.see(m); n != want || err != nil {
		b.t.Errorf("the count is %d, %v; want %d", n, err, want)
	}
}

func (b *browser) refused(m *Manager[visit], want error) {
	b.t.Helper()
	if n, err := b.see(m); !errors.Is(err, want) {
		b.t.Errorf("the count is %d, %v; want %v", n, err, want)
	}
}

// Attack: Mallory has 100 points, spends 20, and pastes the cookie from before.
func TestAttackAnOldCookieIsPastedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSealed(t, NewMemory(nil), newKeys(t), nil)
		mallory := &browser{t: t}
		mallory.set(m, 100)
		before := *mallory
		mallory.set(m, 80)
		pasted := before
		pasted.wants(m, 80) // her browser may not have got the newer one
		pasted.wants(m, 80) // and now it has

		time.Sleep(10 * time.Second)
		mallory.wants(m, 80) // a newer one is presented
		pasted = before
		pasted.refused(m, ErrEnded)
		pasted.do(func(w http.ResponseWriter, r *http.Request) {
			_, err := m.Update(w, r, func(v *visit) error { v.Count++; return nil })
			var ended *EndedError
			if !errors.As(err, &ended) || ended.Why != ReasonReplaced || len(w.Header()) != 0 {
				t.Errorf("Update: %v with headers %v", err, w.Header())
			}
		})
		mallory.wants(m, 80)
	})
}

func TestALostAnswerNeverEndsASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSealed(t, NewMemory(nil), newKeys(t), nil)
		b := &browser{t: t}
		b.start(m, "alice", nil)
		for n := range 5 {
			lost := *b
			lost.set(m, n) // the browser never hears of it
			time.Sleep(20 * time.Minute)
			b.wants(m, n)
		}
	})
}

func TestSixParallelRequestsLoseNothingInOrOutOfOrder(t *testing.T) {
	m := newSealed(t, NewMemory(nil), newKeys(t), nil)
	other := newSealed(t, m.seal.guards, m.seal.keys, nil) // another process
	b := &browser{t: t}
	b.set(m, 1)
	var all sync.WaitGroup
	answers := make([]*browser, 6)
	for i := range answers {
		answers[i] = &browser{t: t, cookie: b.cookie}
		all.Go(func() {
			if _, err := answers[i].visit([]*Manager[visit]{m, other}[i%2]); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, last := range answers { // whichever answer came last
		last.wants(m, 7)
	}
}

func TestSignOutEndsASealedSession(t *testing.T) {
	m := newSealed(t, NewMemory(nil), newKeys(t), nil)
	b := &browser{t: t}
	b.start(m, "alice", nil)
	stolen := *b
	b.do(func(w http.ResponseWriter, r *http.Request) {
		if err := m.End(w, r, "signed_out"); err != nil {
			t.Fatal(err)
		}
	})
	if b.cookie != "" {
		t.Error("the cookie is still there")
	}
	var ended *EndedError
	if _, err := m.Load(stolen.request()); !errors.As(err, &ended) || ended.Why != "signed_out" {
		t.Errorf("Load: %v", err)
	}
}

func TestAnUpdateThatABrowserWouldDropIsRefusedAndChangesNothing(t *testing.T) {
	m := newSealed(t, NewMemory(nil), newKeys(t), nil)
	b := &browser{t: t}
	b.set(m, 1)
	w := httptest.NewRecorder()
	_, err := m.Update(w, b.request(), func(v *visit) error {
		v.Count, v.Cart = 2, map[string]int{strings.Repeat("x", 3000): 1}
		return nil
	})
	if !errors.Is(err, ErrTooLarge) || !errors.Is(err, cookie.ErrTooLarge) || !errors.Is(err, admit.Invalid) || len(w.Header()) != 0 {
		t.Errorf("Update: %v with headers %v", err, w.Header())
	}
	t.Log(err)
	b.wants(m, 1)
}

func TestASealedSessionIsFoundThoughACopyOfItsGuardIsOld(t *testing.T) {
	store := NewMemory(nil)
	keys := newKeys(t)
	here, there := newSealed(t, NewNear(store, 0), keys, nil), newSealed(t, store, keys, nil)
	b := &browser{t: t}
	b.set(here, 1)
	b.wants(here, 1) // a copy is kept
	b.set(there, 2)
	b.wants(here, 2)
}

func TestASealedCookieThatOutlivesTheBrowserIsSetAnewWhenItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSealed(t, NewMemory(nil), newKeys(t), nil)
		b := &browser{t: t}
		b.start(m, "alice", &StartOptions{Persistent: true, Idle: 24 * time.Hour, Lifetime: 72 * time.Hour})
		b.set(m, 7)
		for range 5 {
			time.Sleep(10 * time.Hour)
			w := httptest.NewRecorder()
			m.Handler(http.NotFoundHandler()).ServeHTTP(w, b.request())
			set := w.Result().Cookies()
			if len(set) != 1 || set[0].MaxAge < 22*3600 {
				t.Fatalf("the cookies are %v", set)
			}
			b.take(w)
			b.wants(m, 7)
		}
		time.Sleep(23 * time.Hour)
		b.refused(m, ErrExpired) // its lifetime is over
	})
}

func TestASealedSessionEndsWhenItIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for promise, m := range map[string]*Manager[visit]{
			"with a guard": newSealed(t, NewMemory(nil), newKeys(t), nil),
			"without one":  newSealed(t, nil, newKeys(t), &Options{InsecureNoGuard: true}),
		} {
			b := &browser{t: t}
			b.set(m, 7)
			for range 3 {
				time.Sleep(50 * time.Minute)
				b.wants(m, 7)
			}
			time.Sleep(time.Hour)
			if _, err := b.see(m); !errors.Is(err, ErrExpired) {
				t.Errorf("%s: %v, want ErrExpired", promise, err)
			}
		}
	})
}

// What InsecureNoGuard spells.
func TestAttackWithoutAGuardAnOldCookieCounts(t *testing.T) {
	m := newSealed(t, nil, newKeys(t), &Options{InsecureNoGuard: true})
	mallory := &browser{t: t}
	mallory.set(m, 100)
	before := *mallory
	mallory.set(m, 80)
	mallory.wants(m, 80)
	before.wants(m, 100)

	s := mallory.start(m, "mallory", nil)
	signedIn := *mallory
	mallory.do(func(w http.ResponseWriter, r *http.Request) {
		if err := m.End(w, r, "signed_out"); err != nil {
			t.Error(err)
		}
	})
	if mallory.cookie != "" {
		t.Error("the cookie is still there")
	}
	signedIn.wants(m, 80)
	for what, err := range map[string]error{
		"EndAll":      m.EndAll(t.Context(), "mallory", "", "ended"),
		"RaiseClaims": m.RaiseClaims(t.Context(), "mallory", "roles"),
		"EndSID":      m.EndSID(t.Context(), "mallory", s.SID, "ended"),
	} {
		if err == nil {
			t.Errorf("%s: it cannot, and says that it did", what)
		}
	}
}

func TestASealedSessionIsEndedByItsID(t *testing.T) {
	m := newSealed(t, NewMemory(nil), newKeys(t), nil)
	b := &browser{t: t}
	s := b.start(m, "alice", nil)
	b.set(m, 7)
	list, err := m.List(t.Context(), "alice")
	if err != nil || len(list) != 1 || list[0].SID != s.SID || list[0].Subject != "alice" || !list[0].CreatedAt.IsZero() ||
		list[0].ExpiresAt.Sub(s.ExpiresAt).Abs() > time.Second || list[0].Epoch != s.Epoch {
		t.Fatalf("List: %+v, %v", list, err)
	}
	if err := m.EndSID(t.Context(), "bob", s.SID, "ended"); !errors.Is(err, ErrUnknown) {
		t.Errorf("EndSID by another: %v, want ErrUnknown", err)
	}
	if err := m.EndSID(t.Context(), "alice", s.SID, "ended_by_user"); err != nil {
		t.Fatal(err)
	}
	var ended *EndedError
	if _, err := b.see(m); !errors.As(err, &ended) || ended.Why != "ended_by_user" {
		t.Errorf("Load: %v", err)
	}
	if n, err := m.EndEveryone(t.Context(), "ended"); n != 0 || err != nil {
		t.Errorf("EndEveryone: %d, %v", n, err)
	}
}

func TestASealedManagerRefusesContradictions(t *testing.T) {
	keys := newKeys(t)
	for promise, err := range map[string]error{
		"guards need a store":                 second(NewSealed[visit](nil, keys, nil)),
		"URLs carry no sealed session":        second(NewSealed[visit](NewMemory(nil), keys, &Options{InsecureURLSessions: true})),
		"no guards need none":                 second(NewSealed[visit](NewMemory(nil), keys, &Options{InsecureNoGuard: true})),
		"sealed sessions need keys":           second(NewSealed[visit](NewMemory(nil), nil, nil)),
		"a header holds no sealed session":    second(NewSealed[visit](NewMemory(nil), keys, &Options{Bearer: true})),
		"a kept session is not without guard": second(New[visit](NewMemory(nil), &Options{InsecureNoGuard: true})),
	} {
		if err == nil {
			t.Errorf("%s: accepted", promise)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Attack: who can write the store, and has no key, gives Bob's guard Alice's kept
// cookie, or Alice's guard another owner.
func TestAttackTheStoreIsRewritten(t *testing.T) {
	store := NewMemory(nil)
	m := newSealed(t, store, newKeys(t), nil)
	alice, bob := &browser{t: t}, &browser{t: t}
	a, b := alice.start(m, "alice", nil), bob.start(m, "bob", nil)
	old := *bob
	alice.set(m, 1)
	bob.set(m, 2)
	from, err := store.Get(t.Context(), a.SID)
	if err != nil {
		t.Fatal(err)
	}
	to, err := store.Get(t.Context(), b.SID)
	if err != nil {
		t.Fatal(err)
	}
	from.Subject = "bob"
	if to.Version, err = store.Swap(t.Context(), b.SID, to.Version, from); err != nil {
		t.Fatal(err)
	}
	if s, err := m.Load(old.request()); err == nil {
		t.Errorf("bob is rolled forward to %+v", s)
	}
	from.Subject = "mallory"
	if _, err := store.Swap(t.Context(), a.SID, from.Version, from); err != nil {
		t.Fatal(err)
	}
	if s, err := m.Load(alice.request()); err == nil {
		t.Errorf("alice's session is %q's", s.Subject)
	}
}

func FuzzGuard(f *testing.F) {
	f.Add((&guard{generation: 7, end: 8}).value(), false)
	f.Add((&guard{generation: 7, end: 8, epoch: 9, floor: 5, mark: 6, since: 10, cookie: "x"}).value(), true)
	f.Fuzz(func(t *testing.T, value string, owned bool) {
		it := Item{Value: value}
		if owned {
			it.Subject = "alice"
		}
		var g guard
		if g.parse(&it) && (!owned || g.epoch != 0) && g.value() != value {
			t.Errorf("%q is read as %+v", value, g)
		}
	})
}

func FuzzSealedCookie(f *testing.F) {
	tok := strings.Repeat("x", 56)
	f.Add(string((&carried{generation: 7, token: tok, subject: "alice", record: "{}"}).append(nil)))
	f.Add(string((&carried{generation: 7, expires: 9, token: tok, record: "{}"}).append(nil)))
	f.Fuzz(func(t *testing.T, plain string) {
		var o carried
		if o.parse(plain) && string(o.append(nil)) != plain {
			t.Errorf("%q is read as %+v", plain, o)
		}
	})
}

func ExampleNewSealed() {
	keys, err := cookie.ParseKeys(cookie.GenerateKey()) // or from a file, so that a restart keeps everybody
	if err != nil {
		panic(err)
	}
	type points struct{ Left int }
	sessions, err := NewSealed[points](NewMemory(nil), keys, nil)
	if err != nil {
		panic(err)
	}
	change := func(r *http.Request, to int) (cookie string) {
		w := httptest.NewRecorder()
		if _, err := sessions.Update(w, r, func(p *points) error { p.Left = to; return nil }); err != nil {
			panic(err)
		}
		return w.Result().Cookies()[0].String()
	}
	r := httptest.NewRequest("GET", "https://example.org/", nil)
	old, _, _ := strings.Cut(change(r, 100), ";")
	r.Header.Set("Cookie", old)
	change(r, 80)
	s, err := sessions.Load(r) // with the old cookie
	fmt.Println(s.Data.Left, err)
	// Output: 80 <nil>
}
