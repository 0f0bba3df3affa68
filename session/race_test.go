package session

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Every Load and Update gets data of its own, maps included: no two requests
// ever hold the same one. The race detector is the judge.
func TestAMapInTheDataIsNeverSharedByTwoRequests(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	if _, err := b.visit(m); err != nil {
		t.Fatal(err)
	}
	const workers, rounds = 4, 50
	var group sync.WaitGroup
	for i := range workers {
		mine := fmt.Sprintf("item %d", i)
		group.Go(func() {
			for range rounds {
				s, err := m.Update(httptest.NewRecorder(), b.request(), func(v *visit) error {
					if v.Cart == nil {
						v.Cart = map[string]int{}
					}
					v.Cart[mine]++
					return nil
				})
				if err != nil {
					t.Errorf("Update: %v", err)
					return
				}
				s.Data.Cart["scratch"]++ // of no concern to anyone else
			}
		})
		group.Go(func() {
			h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for range 2 { // the second Load is answered from the context
					s, err := m.Load(r)
					if err != nil {
						t.Errorf("Load: %v", err)
						return
					}
					if s.Data.Cart == nil {
						s.Data.Cart = map[string]int{}
					}
					s.Data.Cart["scratch"] = 1
				}
			}))
			for range rounds {
				h.ServeHTTP(httptest.NewRecorder(), b.request())
			}
		})
	}
	group.Wait()
	s, err := m.Load(b.request())
	if err != nil {
		t.Fatal(err)
	}
	for i := range workers {
		if got := s.Data.Cart[fmt.Sprintf("item %d", i)]; got != rounds {
			t.Errorf("item %d was counted %d times, want %d", i, got, rounds)
		}
	}
	if _, kept := s.Data.Cart["scratch"]; kept {
		t.Error("a change outside Update was kept")
	}
}

// Two goroutines of one request may each load the session too.
func TestAMapInTheDataIsNotSharedWithinOneRequest(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	b.do(func(w http.ResponseWriter, r *http.Request) {
		if _, err := m.Update(w, r, func(v *visit) error { v.Cart = map[string]int{"a": 1}; return nil }); err != nil {
			t.Fatal(err)
		}
	})
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				s, err := m.Load(r)
				if err != nil {
					t.Errorf("Load: %v", err)
					return
				}
				s.Data.Cart["a"]++
				if s.Data.Cart["a"] != 2 {
					t.Errorf("somebody else's change was seen: %v", s.Data.Cart)
				}
			})
		}
		group.Wait()
	}))
	h.ServeHTTP(httptest.NewRecorder(), b.request())
}

// A handler may read its session in one goroutine and change it in another.
func TestARequestMayBeUsedInSeveralGoroutines(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	b := &browser{t: t}
	b.start(m, "alice", nil)
	b.do(func(w http.ResponseWriter, r *http.Request) {
		m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var both sync.WaitGroup
			both.Go(func() {
				if _, err := m.Update(w, r, func(v *visit) error { v.Count++; return nil }); err != nil {
					t.Error(err)
				}
			})
			both.Go(func() {
				if _, err := m.Load(r); err != nil {
					t.Error(err)
				}
			})
			both.Wait()
		})).ServeHTTP(w, r)
	})
}
