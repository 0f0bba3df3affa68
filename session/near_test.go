package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// slow is a store whose reads take a while after they have read.
type slow struct {
	Store
	reads atomic.Int64
	gate  chan struct{} // if not nil, a read waits here after reading
}

func (s *slow) Get(ctx context.Context, key string) (Item, error) {
	it, err := s.Store.Get(ctx, key)
	s.reads.Add(1)
	if s.gate != nil {
		<-s.gate
	}
	return it, err
}

func TestNearAnswersFromMemoryAndHearsItsOwnWrites(t *testing.T) {
	ctx := t.Context()
	s := &slow{Store: NewMemory(nil)}
	n := NewNear(s, 0)
	exp := time.UnixMilli(time.Now().Add(time.Hour).UnixMilli())
	v, err := n.Add(ctx, "k", Item{Value: "one", Subject: "a", Expires: exp})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if it, err := n.Get(ctx, "k"); err != nil || it.Value != "one" || it.Version != v || it.Subject != "a" {
			t.Fatalf("Get = %+v, %v", it, err)
		}
	}
	if r := s.reads.Load(); r != 0 {
		t.Errorf("ten reads of what was just written took %d trips, want none", r)
	}
	n.Forget("k")
	for range 10 {
		if it, err := n.Get(ctx, "k"); err != nil || it.Value != "one" || it.Version != v || it.Subject != "a" {
			t.Fatalf("Get = %+v, %v", it, err)
		}
	}
	if r := s.reads.Load(); r != 1 {
		t.Errorf("ten reads took %d trips, want 1", r)
	}
	later := exp.Add(time.Hour)
	if err := n.Touch(ctx, "k", v, later); err != nil {
		t.Fatal(err)
	}
	if it, _ := n.Get(ctx, "k"); !it.Expires.Equal(later) {
		t.Errorf("after a touch: %v, want %v", it.Expires, later)
	}
	if v, err = n.Swap(ctx, "k", v, Item{Value: "two", Expires: exp}); err != nil {
		t.Fatal(err)
	}
	if it, _ := n.Get(ctx, "k"); it.Value != "two" || it.Version != v {
		t.Errorf("after a swap: %+v", it)
	}
	if err := n.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Get(ctx, "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after a delete: %v", err)
	}
}

// A read is under way when the record is ended: its answer must not become a
// copy, or the ended session would live on in the cache.
func TestAWriteDuringAFillPoisonsIt(t *testing.T) {
	ctx := t.Context()
	s := &slow{Store: NewMemory(nil), gate: make(chan struct{})}
	n := NewNear(s, 0)
	v, err := n.Add(ctx, "k", Item{Value: "alive", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	n.Forget("k") // which the Add has left
	read := make(chan string)
	go func() {
		it, _ := n.Get(ctx, "k")
		read <- it.Value
	}()
	for s.reads.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := n.Swap(ctx, "k", v, Item{Value: "ended", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	close(s.gate)
	if got := <-read; got != "alive" {
		t.Fatalf("the early reader got %q: the test tests nothing", got)
	}
	if it, err := n.Get(ctx, "k"); err != nil || it.Value != "ended" {
		t.Errorf("after the swap: %+v, %v, want ended", it, err)
	}
}

func TestNearIsNeverOlderThanAnAnsweredWrite(t *testing.T) {
	ctx := t.Context()
	n := NewNear(NewMemory(nil), 64<<10) // small, so that copies are pushed out too
	exp := time.Now().Add(time.Hour)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			key := fmt.Sprint("k", w)
			v, err := n.Add(ctx, key, Item{Value: "0", Expires: exp})
			if err != nil {
				t.Error(err)
				return
			}
			var readers sync.WaitGroup
			stop := make(chan struct{})
			for range 2 {
				readers.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							n.Get(ctx, key)
							n.Get(ctx, fmt.Sprint("k", rand.IntN(4)))
							if rand.IntN(4) == 0 {
								n.Forget(key) // so that there are fills, too
							}
							runtime.Gosched()
						}
					}
				})
			}
			for i := 1; i <= 2000; i++ {
				want := fmt.Sprint(i)
				if v, err = n.Swap(ctx, key, v, Item{Value: want, Expires: exp}); err != nil {
					t.Error(err)
					break
				}
				if it, err := n.Get(ctx, key); err != nil || it.Value != want {
					t.Errorf("after writing %s: %+v, %v", want, it, err)
					break
				}
			}
			close(stop)
			readers.Wait()
		})
	}
	wg.Wait()
}

// A copy of the epoch that is older than the session must not end it: the feed
// that would have told is on its way.
func TestAnOldCopyOfTheEpochEndsNoSessionThatBeganSince(t *testing.T) {
	shared := NewMemory(nil)
	here, there := newManager(t, NewNear(shared, 0), nil), newManager(t, shared, nil)
	old, b := &browser{t: t}, &browser{t: t}
	old.start(there, "alice", nil)
	if _, err := here.Load(old.request()); err != nil { // and now has copies
		t.Fatal(err)
	}
	if err := there.EndAll(t.Context(), "alice", "", "test"); err != nil {
		t.Fatal(err)
	}
	b.start(there, "alice", nil)
	if _, err := here.Load(b.request()); err != nil {
		t.Errorf("Load of the new session: %v", err)
	}
	if _, err := here.Load(old.request()); !errors.Is(err, ErrEnded) {
		t.Errorf("Load of the ended session: %v, want ErrEnded", err)
	}
}
