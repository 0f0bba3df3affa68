package session

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

func TestEndEveryoneEndsUsersAndGuestsAndCountsThem(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	var all []*browser
	for i := range 100 {
		b := &browser{t: t}
		if i%3 == 0 {
			if _, err := b.visit(m); err != nil {
				t.Fatal(err)
			}
		} else {
			b.start(m, []string{"alice", "bob"}[i%2], nil)
		}
		all = append(all, b)
	}
	n, err := m.EndEveryone(t.Context(), "test")
	if n != len(all) || err != nil {
		t.Fatalf("EndEveryone: %d, %v, want %d", n, err, len(all))
	}
	for i, b := range all {
		if s, err := m.Load(b.request()); err == nil {
			t.Errorf("browser %d has %v", i, s.SID)
		}
	}
	if n, err := m.EndEveryone(t.Context(), "test"); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}

// tired is a store that fails after some swaps.
type tired struct {
	*Memory
	left atomic.Int64
}

func (s *tired) Swap(ctx context.Context, key string, old uint64, it Item) (uint64, error) {
	if s.left.Add(-1) < 0 {
		return 0, errors.New("cable cut")
	}
	return s.Memory.Swap(ctx, key, old, it)
}

func TestEndEveryoneTellsHowManyEndedBeforeTheStoreFailed(t *testing.T) {
	store := &tired{Memory: NewMemory(nil)}
	store.left.Store(1 << 30)
	m := newManager(t, store, nil)
	for range 100 {
		if _, err := (&browser{t: t}).visit(m); err != nil {
			t.Fatal(err)
		}
	}
	store.left.Store(40)
	if n, err := m.EndEveryone(t.Context(), "test"); n != 40 || !errors.Is(err, ErrUnavailable) {
		t.Errorf("EndEveryone: %d, %v, want 40 and that the store is away", n, err)
	}
	store.left.Store(1 << 30)
	if n, err := m.EndEveryone(t.Context(), "test"); n != 60 || err != nil {
		t.Errorf("again: %d, %v, want 60", n, err)
	}
}
