package session

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A heldStore is one whose first write waits, after it is done and before it is answered.
// Reads wait too while there is a gate for them.
type heldStore struct {
	*slow
	answer chan struct{} // of the first write; nil later
	fail   error         // what a write is answered with that was done
}

func (s *heldStore) Swap(ctx context.Context, key string, old uint64, it Item) (uint64, error) {
	v, err := s.Store.Swap(ctx, key, old, it)
	if answer := s.answer; answer != nil {
		s.answer = nil
		<-answer
	}
	if err == nil {
		err = s.fail
	}
	return v, err
}

// What was written is the next update's copy. Each of the things that may happen to a
// record beside a write takes that away; a copy that stays then would be older than
// what somebody was told, for as long as nobody writes again.
func TestAWriteLeavesACopyOnlyIfItWasAloneWithItsRecord(t *testing.T) {
	type scene struct {
		*testing.T
		near  *Near
		truth *Memory // which other processes write to, unheard
		store *heldStore
		wrote uint64 // the version of the write under way
		end   func() // has the write answered, and waits until its caller has it
	}
	far := time.Now().Add(24 * 365 * 100 * time.Hour)
	item := func(value string) Item { return Item{Value: value, Expires: far} }
	elsewhere := func(s *scene, value string) {
		s.Helper()
		if _, err := s.truth.Swap(s.Context(), "k", s.wrote, item(value)); err != nil {
			s.Fatal(err)
		}
	}
	here := func(s *scene, value string) {
		s.Helper()
		if _, err := s.near.Swap(s.Context(), "k", s.wrote, item(value)); err != nil {
			s.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		beside func(*scene)
		trips  int64 // that the next read takes
	}{
		"alone": {func(s *scene) { s.end() }, 0},
		"news of its record": {func(s *scene) {
			elsewhere(s, "younger")
			s.near.Forget("k")
			s.end()
		}, 1},
		"news that nobody knows what changed": {func(s *scene) {
			elsewhere(s, "younger")
			s.near.ForgetAll()
			s.end()
		}, 1},
		"a write here that is answered before": {func(s *scene) {
			here(s, "younger")
			s.end()
		}, 1},
		"a write here that is answered after": {func(s *scene) {
			s.store.answer = make(chan struct{})
			answer := s.store.answer
			go s.near.Swap(s.Context(), "k", s.wrote, item("younger"))
			synctest.Wait()
			s.end()
			close(answer)
			synctest.Wait()
		}, 1},
		"a deletion here": {func(s *scene) {
			if err := s.near.Delete(s.Context(), "k"); err != nil {
				s.Fatal(err)
			}
			s.truth.Add(s.Context(), "k", item("younger"))
			s.end()
		}, 1},
		"a touch here": {func(s *scene) {
			if err := s.near.Touch(s.Context(), "k", s.wrote, far.Add(time.Hour)); err != nil {
				s.Fatal(err)
			}
			s.end()
		}, 1},
		"a read that saw more": {func(s *scene) {
			elsewhere(s, "younger")
			if it, err := s.near.Get(s.Context(), "k"); err != nil || it.Value != "younger" {
				s.Fatal(it, err)
			}
			s.end()
		}, 1},
		"a read that is answered after, and younger": {func(s *scene) {
			elsewhere(s, "younger")
			s.store.gate = make(chan struct{})
			go s.near.Get(s.Context(), "k")
			synctest.Wait()
			s.end()
			close(s.store.gate)
			synctest.Wait()
		}, 1},
		"an answer that it may not have happened": {func(s *scene) {
			s.store.fail = ErrUnavailable
			s.end()
		}, 1},
		"a feed that says nothing any more": {func(s *scene) {
			s.end()
			elsewhere(s, "younger")
			time.Sleep(NearLease)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				s := &scene{T: t, truth: NewMemory(nil)}
				s.store = &heldStore{slow: &slow{Store: s.truth}}
				s.near = NewSharedNear(s.store, 0)
				s.near.Heard(time.Now())
				v, err := s.near.Add(ctx, "k", item("old"))
				if err != nil {
					t.Fatal(err)
				}
				s.near.Forget("k") // or reads beside the write would find that
				answer := make(chan struct{})
				s.store.answer = answer
				s.end = func() {
					close(answer)
					synctest.Wait()
				}
				go s.near.Swap(ctx, "k", v, item("new"))
				synctest.Wait()
				it, err := s.truth.Get(ctx, "k")
				if err != nil || it.Value != "new" {
					t.Fatalf("the store has %+v, %v: the test tests nothing", it, err)
				}
				s.wrote = it.Version
				c.beside(s)
				want, err := s.truth.Get(ctx, "k")
				if err != nil {
					t.Fatal(err)
				}
				before := s.store.reads.Load()
				got, err := s.near.Get(ctx, "k")
				if err != nil || got.Value != want.Value || got.Version != want.Version || !got.Expires.Equal(want.Expires) {
					t.Errorf("a read gives %+v, %v, and the store has %+v", got, err, want)
				}
				if n := s.store.reads.Load() - before; n != c.trips {
					t.Errorf("the next read took %d trips, want %d", n, c.trips)
				}
			})
		})
	}
}

// A read began before the write and answers after it, with what was there before.
func TestAReadFromBeforeAWriteDoesNotReplaceWhatItLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		far := time.Now().Add(time.Hour)
		s := &slow{Store: NewMemory(nil)}
		n := NewNear(s, 0)
		v, err := n.Add(ctx, "k", Item{Value: "old", Expires: far})
		if err != nil {
			t.Fatal(err)
		}
		n.Forget("k")
		gate := make(chan struct{})
		s.gate = gate
		go n.Get(ctx, "k")
		synctest.Wait()
		n.Forget("k") // so that the next write knows of no read
		if _, err := n.Swap(ctx, "k", v, Item{Value: "new", Expires: far}); err != nil {
			t.Fatal(err)
		}
		s.gate = nil
		close(gate)
		synctest.Wait()
		if it, err := n.Get(ctx, "k"); err != nil || it.Value != "new" {
			t.Errorf("after the write: %+v, %v", it, err)
		}
	})
}

func TestAWriteBeforeAnythingWasHeardLeavesNoCopy(t *testing.T) {
	ctx := t.Context()
	truth := NewMemory(nil)
	n := NewSharedNear(truth, 0)
	v, err := n.Add(ctx, "k", Item{Value: "ours", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := truth.Swap(ctx, "k", v, Item{Value: "theirs", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	n.Heard(time.Now())
	if it, err := n.Get(ctx, "k"); err != nil || it.Value != "theirs" {
		t.Errorf("Get = %+v, %v, want theirs", it, err)
	}
}

// A write that the store refuses takes the copy along that it was made from: it was old.
func TestAConflictIsReadAnew(t *testing.T) {
	ctx := t.Context()
	far := time.Now().Add(time.Hour)
	truth := NewMemory(nil)
	n := NewSharedNear(truth, 0)
	n.Heard(time.Now())
	v, err := n.Add(ctx, "k", Item{Value: "ours", Expires: far})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := truth.Swap(ctx, "k", v, Item{Value: "theirs", Expires: far}); err != nil {
		t.Fatal(err)
	}
	if it, _ := n.Get(ctx, "k"); it.Value != "ours" {
		t.Fatalf("Get = %q: the test tests nothing", it.Value)
	}
	if _, err := n.Swap(ctx, "k", v, Item{Value: "mine", Expires: far}); !errors.Is(err, ErrConflict) {
		t.Fatalf("Swap of an old copy: %v, want ErrConflict", err)
	}
	if it, err := n.Get(ctx, "k"); err != nil || it.Value != "theirs" {
		t.Errorf("after the conflict: %+v, %v", it, err)
	}
}

// A record that is too large for the room there is for copies is none, and takes along
// the one before it.
func TestWhatThereIsNoRoomForLeavesNoOldCopy(t *testing.T) {
	ctx := t.Context()
	far := time.Now().Add(time.Hour)
	n := NewNear(NewMemory(nil), 1000)
	v, err := n.Add(ctx, "k", Item{Value: "small", Expires: far})
	if err != nil {
		t.Fatal(err)
	}
	large := string(make([]byte, 2000))
	if _, err := n.Swap(ctx, "k", v, Item{Value: large, Expires: far}); err != nil {
		t.Fatal(err)
	}
	if it, err := n.Get(ctx, "k"); err != nil || it.Value != large {
		t.Errorf("Get = %d bytes, %v, want %d", len(it.Value), err, len(large))
	}
}

// With copies near, an update after an update is one trip: the compare-and-set.
func TestAnUpdateAfterAnUpdateReadsNothing(t *testing.T) {
	s := &slow{Store: NewMemory(nil)}
	m := newManager(t, NewNear(s, 0), nil)
	b := &browser{t: t}
	b.start(m, "alice", nil)
	before := s.reads.Load()
	for i := range 10 {
		if got, err := b.visit(m); err != nil || got.Data.Count != i+1 {
			t.Fatalf("visit %d: %+v, %v", i+1, got, err)
		}
	}
	// The epoch was read when the session began.
	if n := s.reads.Load() - before; n > 1 {
		t.Errorf("ten updates took %d reads of the store, want one at most, of the epoch", n)
	}
}
