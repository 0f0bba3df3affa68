package session

import (
	"errors"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit"
)

// eachForgetful runs fn on stores that may drop any record at any time, as
// memcached does. To forget is to delete, and nobody is asked.
func eachForgetful(t *testing.T, fn func(*testing.T, *Manager[visit], Store)) {
	t.Helper()
	for name, store := range map[string]Store{
		"a store that reads the epoch along": NewMemory(nil),
		"one that reads it by a second trip": struct{ Store }{NewMemory(nil)},
		"one with copies near":               NewNear(NewMemory(nil), 0),
	} {
		t.Run(name, func(t *testing.T) { fn(t, newManager(t, store, nil), store) })
	}
}

func drop(t *testing.T, store Store, key string) {
	t.Helper()
	if _, err := store.Get(t.Context(), key); err != nil {
		t.Fatalf("there is no %q to forget: %v", key, err)
	}
	if err := store.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

func dead(t *testing.T, what string, m *Manager[visit], b *browser) {
	t.Helper()
	if _, err := m.Load(b.request()); admit.KindOf(err) != admit.Unauthenticated {
		t.Errorf("Load of %s: %v, want that it does not count", what, err)
	}
}

// The attack: a request is in flight while its owner signs out, and the store
// forgets the tombstone that would have stopped it.
func TestAForgottenTombstoneLetsNoUpdateInFlightBringTheSessionBack(t *testing.T) {
	eachForgetful(t, func(t *testing.T, m *Manager[visit], store Store) {
		b := &browser{t: t}
		s := b.start(m, "alice", nil)
		var once sync.Once
		w := httptest.NewRecorder()
		_, err := m.Update(w, b.request(), func(v *visit) error {
			once.Do(func() { // after it was read, before it is written
				if err := m.EndSID(t.Context(), "alice", s.SID, "sign_out"); err != nil {
					t.Fatal(err)
				}
				drop(t, store, s.SID)
			})
			v.Count++
			return nil
		})
		if admit.KindOf(err) != admit.Unauthenticated || len(w.Result().Cookies()) > 0 {
			t.Errorf("Update: %v and %d cookies, want a refusal and none", err, len(w.Result().Cookies()))
		}
		if _, err := store.Get(t.Context(), s.SID); !errors.Is(err, ErrNotFound) {
			t.Errorf("the record is back: %v", err)
		}
		dead(t, "the session", m, b)
	})
}

// The attack: whoever stole a cookie waits until the store forgets that its owner
// signed out everywhere.
func TestAForgottenEpochRevivesNobody(t *testing.T) {
	eachForgetful(t, func(t *testing.T, m *Manager[visit], store Store) {
		stolen, spared, later := &browser{t: t}, &browser{t: t}, &browser{t: t}
		s := stolen.start(m, "alice", nil)
		sid := spared.start(m, "alice", nil).SID
		if err := m.EndAll(t.Context(), "alice", sid, "password_changed"); err != nil {
			t.Fatal(err)
		}
		drop(t, store, EpochKey("alice"))
		dead(t, "the stolen session", m, stolen)
		dead(t, "the spared session, whose epoch is gone", m, spared)
		if err := m.EndAll(t.Context(), "alice", "", "again"); err != nil { // there is nothing to raise
			t.Fatal(err)
		}
		for uint64(time.Now().UnixMilli()) <= s.Epoch+1 { // the new epoch is the time
		}
		later.start(m, "alice", nil)
		dead(t, "the stolen session, after its owner signed in again", m, stolen)
		dead(t, "the spared session, which was forgotten", m, spared)
		if _, err := m.Load(later.request()); err != nil {
			t.Errorf("Load of the new session: %v", err)
		}
	})
}

// The epoch begins anew on a machine whose clock is behind, or by a sign-in that
// asked for the time, was stopped, and goes on only now.
func TestAForgottenEpochThatBeginsAnewByAnOldClockRevivesNobody(t *testing.T) {
	eachForgetful(t, func(t *testing.T, m *Manager[visit], store Store) {
		stolen := &browser{t: t}
		s := stolen.start(m, "alice", nil)
		if err := m.EndAll(t.Context(), "alice", "", "sign_out_everywhere"); err != nil {
			t.Fatal(err)
		}
		drop(t, store, EpochKey("alice"))
		old := Item{Value: Epoch{N: s.Epoch - 3_600_000}.String(), Subject: epochOwner, Expires: time.Now().Add(time.Hour)}
		if _, err := store.Add(t.Context(), EpochKey("alice"), old); err != nil {
			t.Fatal(err)
		}
		dead(t, "the stolen session", m, stolen)
		b := &browser{t: t}
		b.start(m, "alice", nil)
		if err := m.RaiseClaims(t.Context(), "alice", "role_changed"); err != nil {
			t.Fatal(err)
		}
		dead(t, "the stolen session, after claims changed", m, stolen)
		if _, err := m.Load(b.request()); err != nil {
			t.Errorf("Load of a session of the new epoch: %v", err)
		}
	})
}
