package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A random history of one Memory agrees, step by step, with a plain map.
func TestMemoryAgreesWithAMap(t *testing.T) {
	ctx := t.Context()
	m := NewMemory(nil)
	want := map[string]Item{}
	rng := rand.New(rand.NewPCG(1, 2))
	base := time.UnixMilli(1_700_000_000_000)
	now := base
	swept := 0
	for step := range 200_000 {
		key := fmt.Sprintf("k%d", rng.IntN(3000))
		it := Item{
			Value:   strings.Repeat("v", rng.IntN(300)) + fmt.Sprint(step),
			Expires: now.Add(time.Duration(rng.IntN(7_200_000)) * time.Millisecond),
		}
		if rng.IntN(50) == 0 {
			it.Value += strings.Repeat("w", rng.IntN(5000))
		}
		if rng.IntN(2) == 0 {
			it.Subject = fmt.Sprintf("s%d", rng.IntN(40))
		}
		old, there := want[key]
		switch op := rng.IntN(10); op {
		case 0, 1, 2, 3:
			v, err := m.Add(ctx, key, it)
			if there != errors.Is(err, ErrConflict) {
				t.Fatalf("step %d: Add(%q) of a key that is there %v: %v", step, key, there, err)
			}
			if !there {
				it.Version = v
				want[key] = it
			}
		case 4, 5, 6:
			version := old.Version
			if rng.IntN(5) == 0 {
				version++
			}
			v, err := m.Swap(ctx, key, version, it)
			switch {
			case !there && !errors.Is(err, ErrNotFound), there && version != old.Version && !errors.Is(err, ErrConflict), there && version == old.Version && err != nil:
				t.Fatalf("step %d: Swap(%q): %v", step, key, err)
			case err == nil:
				if v == old.Version {
					t.Fatalf("step %d: Swap kept the version", step)
				}
				it.Version = v
				want[key] = it
			}
		case 7:
			later := now.Add(time.Duration(rng.IntN(7_200_000)) * time.Millisecond)
			if err := m.Touch(ctx, key, old.Version, later); there != (err == nil) {
				t.Fatalf("step %d: Touch(%q): %v", step, key, err)
			}
			if there && later.After(old.Expires) {
				old.Expires = later
				want[key] = old
			}
		case 8:
			if err := m.Delete(ctx, key); err != nil {
				t.Fatal(err)
			}
			delete(want, key)
		case 9:
			now = now.Add(time.Duration(rng.IntN(60_000)) * time.Millisecond)
			n, err := m.Sweep(ctx, now, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			gone := 0
			for k, w := range want {
				if !w.Expires.After(now) {
					delete(want, k)
					gone++
				}
			}
			if n != gone {
				t.Fatalf("step %d: Sweep removed %d records, %d had expired", step, n, gone)
			}
			swept += n
		}
		if got, err := m.Get(ctx, key); (err == nil) != has(want, key) {
			t.Fatalf("step %d: Get(%q): %v", step, key, err)
		} else if w := want[key]; err == nil && (got.Value != w.Value || got.Subject != w.Subject || !got.Expires.Equal(w.Expires) || got.Version != w.Version) {
			t.Fatalf("step %d: Get(%q) = %+v, want %+v", step, key, got, w)
		}
	}
	if swept < 1000 {
		t.Fatalf("only %d records expired: the test tests nothing", swept)
	}
	all, err := m.List(ctx, "", "", 1<<30)
	if err != nil || len(all) != len(want) || m.Len() != len(want) {
		t.Fatalf("List has %d records, Len says %d, want %d (%v)", len(all), m.Len(), len(want), err)
	}
	if _, err := m.Sweep(ctx, now.Add(24*time.Hour), 1<<30); err != nil {
		t.Fatal(err)
	}
	if n, b := m.Len(), m.bytes.Load(); n != 0 || b != 0 {
		t.Errorf("after all expired: %d records, %d bytes accounted, want none", n, b)
	}
	for i := range m.shards {
		if s := &m.shards[i]; s.arena.bytes != 0 || s.arena.chunks != nil || s.index != nil {
			t.Fatalf("shard %d keeps %d bytes of chunks after all expired", i, s.arena.bytes)
		}
	}
}

func has(m map[string]Item, key string) bool { _, ok := m[key]; return ok }

// A flood of guests pushes out guests, never somebody who is signed in.
func TestAFullMemoryPushesOutGuestsOnly(t *testing.T) {
	ctx := t.Context()
	m := NewMemory(&MemoryOptions{MaxRecords: 100})
	exp := time.Now().Add(time.Hour)
	for i := range 50 {
		if _, err := m.Add(ctx, fmt.Sprintf("member%d", i), Item{Subject: "alice", Expires: exp}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		if _, err := m.Add(ctx, fmt.Sprintf("guest%d", i), Item{Expires: exp.Add(time.Duration(i) * time.Second)}); err != nil {
			t.Fatalf("guest %d: %v", i, err)
		}
	}
	if m.Len() != 100 {
		t.Errorf("%d records, want 100", m.Len())
	}
	for i := range 50 {
		if _, err := m.Get(ctx, fmt.Sprintf("member%d", i)); err != nil {
			t.Errorf("member %d was pushed out: %v", i, err)
		}
	}
	for i := range 50 {
		if _, err := m.Add(ctx, fmt.Sprintf("more%d", i), Item{Subject: "bob", Expires: exp}); err != nil {
			t.Fatalf("a member in place of a guest: %v", err)
		}
	}
	if _, err := m.Add(ctx, "onemore", Item{Subject: "bob", Expires: exp}); !errors.Is(err, ErrFull) {
		t.Errorf("Add to a store full of members = %v, want ErrFull", err)
	}
	if _, err := m.Get(context.Background(), "onemore"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a refused record is there: %v", err)
	}
}
