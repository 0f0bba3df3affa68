package session

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
)

// over returns the cause of a context that must have ended by now.
func over(t *testing.T, ctx context.Context) error {
	t.Helper()
	synctest.Wait()
	if ctx.Err() == nil {
		t.Fatal("the connection is still open")
	}
	return context.Cause(ctx)
}

func open(t *testing.T, ctx context.Context) {
	t.Helper()
	synctest.Wait()
	if ctx.Err() != nil {
		t.Fatalf("the connection is closed: %v", context.Cause(ctx))
	}
}

func TestAConnectionEndsAtOnceWithItsSessionAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), nil)
		b, other := &browser{t: t}, &browser{t: t}
		s, o := b.start(m, "alice", nil), other.start(m, "alice", nil)
		mine, stop := m.Watch(t.Context(), s.SID, nil)
		defer stop()
		others, stop := m.Watch(t.Context(), o.SID, nil)
		defer stop()
		if err := m.EndSID(t.Context(), "alice", s.SID, "stolen"); err != nil {
			t.Fatal(err)
		}
		err := over(t, mine)
		ended, ok := errors.AsType[*EndedError](err)
		if !ok || ended.Why != "stolen" || !errors.Is(err, ErrEnded) {
			t.Errorf("the cause is %v, want ErrEnded for it was stolen", err)
		}
		open(t, others)
		if err := m.EndAll(t.Context(), "alice", "", "password_changed"); err != nil {
			t.Fatal(err)
		}
		if err := over(t, others); !errors.Is(err, ErrEnded) {
			t.Errorf("after EndAll: %v", err)
		}
	})
}

func TestAConnectionThatBeginsAfterTheEndingIsClosedFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), nil)
		s := (&browser{t: t}).start(m, "alice", nil)
		if err := m.EndAny(t.Context(), s.SID, "x"); err != nil {
			t.Fatal(err)
		}
		for _, sid := range []string{s.SID, "", "no sid"} {
			ctx, stop := m.Watch(t.Context(), sid, nil)
			if ctx.Err() == nil || admit.KindOf(context.Cause(ctx)) != admit.Unauthenticated {
				t.Errorf("Watch(%q): %v", sid, context.Cause(ctx))
			}
			stop()
		}
	})
}

func TestAGuestsConnectionEndsWhenItSignsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), nil)
		b := &browser{t: t}
		guest, err := b.visit(m)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := m.Watch(t.Context(), guest.SID, nil)
		defer stop()
		b.start(m, "alice", nil)
		if ended, ok := errors.AsType[*EndedError](over(t, ctx)); !ok || ended.Why != "renewed" {
			t.Errorf("the cause is %v", context.Cause(ctx))
		}
	})
}

func TestAProofKeepsConnectionsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), nil)
		b := &browser{t: t}
		s := b.start(m, "alice", nil)
		ctx, stop := m.Watch(t.Context(), s.SID, nil)
		defer stop()
		b.do(func(w http.ResponseWriter, r *http.Request) {
			if _, err := m.Prove(w, r, "otp"); err != nil {
				t.Fatal(err)
			}
		})
		time.Sleep(time.Minute)
		open(t, ctx)
	})
}

func TestAnEndingInAnotherProcessClosesConnectionsWithinTheStatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory(nil)
		here, there := newManager(t, store, nil), newManager(t, store, nil)
		s := (&browser{t: t}).start(here, "alice", nil)
		ctx, stop := here.Watch(t.Context(), s.SID, &WatchOptions{Every: 2 * time.Second})
		defer stop()
		if err := there.EndAny(t.Context(), s.SID, "x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1999 * time.Millisecond)
		open(t, ctx)
		time.Sleep(2 * time.Millisecond)
		if err := over(t, ctx); !errors.Is(err, ErrEnded) {
			t.Error(err)
		}
	})
}

func TestNewsOfAnotherProcessClosesConnectionsAtOnce(t *testing.T) {
	for name, told := range map[string]func(feed.News) feed.News{
		"of the same house":         func(n feed.News) feed.News { return n },
		"who may hear only digests": func(n feed.News) feed.News { return n.For("https://api.example.org") },
	} {
		t.Run(name, func(t *testing.T) { newsCloses(t, told) })
	}
}

func newsCloses(t *testing.T, told func(feed.News) feed.News) {
	for name, end := range map[string]func(*Manager[visit], string) error{
		"one session":          func(m *Manager[visit], sid string) error { return m.EndAny(context.Background(), sid, "x") },
		"all of the subject's": func(m *Manager[visit], _ string) error { return m.EndAll(context.Background(), "alice", "", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, log := NewMemory(nil), feed.NewLog(nil)
				here, there := newManager(t, store, nil), newManager(t, store, &Options{Feed: log})
				following, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() {
					done <- log.Follow(following, feed.ID{}, func(n feed.News) error { return here.Hear(told(n)) })
				}()
				s := (&browser{t: t}).start(here, "alice", nil)
				spared := (&browser{t: t}).start(here, "bob", nil)
				ctx, stop := here.Watch(t.Context(), s.SID, &WatchOptions{Every: time.Hour})
				defer stop()
				bobs, stop := here.Watch(t.Context(), spared.SID, &WatchOptions{Every: time.Hour})
				defer stop()
				synctest.Wait()
				began := time.Now()
				if err := end(there, s.SID); err != nil {
					t.Fatal(err)
				}
				if err := over(t, ctx); !errors.Is(err, ErrEnded) || time.Since(began) > 0 {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
				if err := there.RaiseClaims(t.Context(), "bob", "roles"); err != nil {
					t.Fatal(err)
				}
				open(t, bobs)
				cancel()
				<-done
			})
		})
	}
}

func TestAnOpenConnectionCountsAsUseOnlyWhereThatIsChosen(t *testing.T) {
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newManager(t, NewMemory(nil), &Options{Idle: 10 * time.Minute, Lifetime: 2 * time.Hour})
			s := (&browser{t: t}).start(m, "alice", nil)
			ctx, stop := m.Watch(t.Context(), s.SID, &WatchOptions{KeepAlive: keep, Every: 7 * time.Second})
			defer stop()
			time.Sleep(10*time.Minute + 10*time.Millisecond)
			if !keep {
				if err := over(t, ctx); !errors.Is(err, ErrExpired) {
					t.Errorf("idle: %v, want ErrExpired", err)
				}
				return
			}
			open(t, ctx)
			time.Sleep(2 * time.Hour)
			if err := over(t, ctx); !errors.Is(err, ErrExpired) {
				t.Errorf("at the end of its life: %v, want ErrExpired", err)
			}
		})
	}
}

// An awayStore can be cut off.
type awayStore struct {
	Store
	away atomic.Bool
}

func (s *awayStore) Get(ctx context.Context, key string) (Item, error) {
	if s.away.Load() {
		return Item{}, errors.New("cut off")
	}
	return s.Store.Get(ctx, key)
}

func TestAnOutageOfTheStoreClosesConnectionsAfterAMinuteAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &awayStore{Store: NewMemory(nil)}
		m := newManager(t, store, nil)
		s := (&browser{t: t}).start(m, "alice", nil)
		ctx, stop := m.Watch(t.Context(), s.SID, nil)
		defer stop()
		time.Sleep(time.Second)
		store.away.Store(true)
		time.Sleep(50 * time.Second)
		open(t, ctx)
		store.away.Store(false)
		time.Sleep(10 * time.Second)
		store.away.Store(true)
		time.Sleep(50 * time.Second)
		open(t, ctx)
		time.Sleep(20 * time.Second)
		if err := over(t, ctx); admit.KindOf(err) != admit.Unavailable {
			t.Errorf("after a minute without an answer: %v, want unavailable", err)
		}
	})
}

func TestAClosedConnectionIsWatchedNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), nil)
		s := (&browser{t: t}).start(m, "alice", nil)
		request, gone := context.WithCancel(t.Context())
		_, stop := m.Watch(request, s.SID, nil)
		gone()
		synctest.Wait()
		defer stop()
		_, stop = m.Watch(t.Context(), s.SID, nil)
		stop()
		synctest.Wait()
		if n := len(m.watches.all); n != 0 {
			t.Errorf("%d sessions are still watched", n)
		}
	})
}

// A lateStore does something once, between reading an epoch and telling it.
type lateStore struct {
	Store
	once func()
}

func (s *lateStore) Get(ctx context.Context, key string) (Item, error) {
	it, err := s.Store.Get(ctx, key)
	if do := s.once; do != nil && key == EpochKey("alice") {
		s.once = nil
		do()
	}
	return it, err
}

func TestAnEndingDuringTheFirstLookClosesTheConnectionAtOnce(t *testing.T) {
	for name, elsewhere := range map[string]bool{"here": false, "elsewhere": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &lateStore{Store: NewMemory(nil)}
				here, there := newManager(t, store, nil), newManager(t, store.Store, nil)
				s := (&browser{t: t}).start(here, "alice", nil)
				store.once = func() {
					by := here
					if elsewhere {
						by = there
					}
					if err := by.EndAll(t.Context(), "alice", "", "x"); err != nil {
						t.Error(err)
					}
					if elsewhere {
						here.Hear(feed.News{Events: []feed.Event{{Kind: feed.Subject, Digest: feed.DigestOf(feed.Subject, "alice")}}})
					}
				}
				began := time.Now()
				ctx, stop := here.Watch(t.Context(), s.SID, &WatchOptions{Every: time.Hour})
				defer stop()
				if err := over(t, ctx); !errors.Is(err, ErrEnded) || time.Since(began) > 0 {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
			})
		})
	}
}

func TestConnectionsOfSiblingsCloseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parents, children := family(t)
		p := (&browser{t: t}).start(parents, "alice", nil)
		one, other := &browser{t: t}, &browser{t: t}
		mine := one.start(children, "alice", &StartOptions{Parent: p.SID})
		theirs := other.start(children, "alice", &StartOptions{Parent: p.SID})
		ctx, stop := children.Watch(t.Context(), theirs.SID, &WatchOptions{Every: time.Hour})
		defer stop()
		own, stop := children.Watch(t.Context(), mine.SID, &WatchOptions{Every: time.Hour})
		defer stop()
		began := time.Now()
		if err := one.end(children); err != nil {
			t.Fatal(err)
		}
		if err := over(t, ctx); !errors.Is(err, ErrEnded) || time.Since(began) > 0 {
			t.Errorf("the sibling's, after %v: %v", time.Since(began), err)
		}
		if ended, ok := errors.AsType[*EndedError](over(t, own)); !ok || ended.Why != "signed_out" {
			t.Errorf("its own: %+v", ended)
		}
	})
}

// A hangingStore answers a Get when it is let go.
type hangingStore struct {
	Store
	letGo atomic.Pointer[chan struct{}] // nil: at once
	gets  atomic.Int64
}

func (s *hangingStore) Get(ctx context.Context, key string) (Item, error) {
	s.gets.Add(1)
	if c := s.letGo.Load(); c != nil {
		<-*c
	}
	return s.Store.Get(ctx, key)
}

// The feed breaks off again and again, and each time all is looked at. One look and one
// that waits for it will do, for it reads after whatever there was to see. (A bubble's
// time would stand still while one waits for a lock.)
func TestLooksAtAStoreThatHangsDoNotPileUp(t *testing.T) {
	store := &hangingStore{Store: NewMemory(nil)}
	m := newManager(t, store, nil)
	s := (&browser{t: t}).start(m, "alice", nil)
	ctx, stop := m.Watch(t.Context(), s.SID, &WatchOptions{Every: time.Hour})
	defer stop()
	letGo := make(chan struct{})
	store.letGo.Store(&letGo)
	before := store.gets.Load()
	for range 100 {
		m.Hear(feed.News{Reset: true})
		time.Sleep(time.Millisecond)
	}
	for w := range m.watches.all[feed.DigestOf(feed.Session, s.SID)] {
		if n := w.looking.Load(); n != 2 {
			t.Errorf("%d look or wait", n)
		}
	}
	if err := newManager(t, store.Store, nil).EndAll(t.Context(), "alice", "", "x"); err != nil {
		t.Fatal(err)
	}
	m.Hear(feed.News{Events: []feed.Event{{Kind: feed.Subject, Digest: feed.DigestOf(feed.Subject, "alice")}}})
	store.letGo.Store(nil)
	close(letGo)
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Error("what was to be seen was not")
	}
	if n := store.gets.Load() - before; n > 6 {
		t.Errorf("it was asked %d times", n)
	}
}
