package session

import (
	"errors"
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
	b.set(m, 0)
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
		last.wants(m, 6)
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
