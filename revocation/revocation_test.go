package revocation

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
)

var mine = IDs{Session: "s1", Grant: "g1", Token: "j1", Subject: "alice", Client: "c1", Key: "k1", SEV: 3}

// follow runs a Set on a log until the test ends.
func follow(t *testing.T, o *Options) (*Set, *feed.Log) {
	t.Helper()
	log := feed.NewLog(nil)
	s := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
	return s, log
}

func TestATokenEndsWithAnythingThatItNames(t *testing.T) {
	until := time.Hour
	for name, test := range map[string]struct {
		event func(time.Time) feed.Event
		want  error
	}{
		"its session":           {func(u time.Time) feed.Event { return feed.SessionEnded("s1", "alice", "signed_out", u) }, ErrEnded},
		"its grant":             {func(u time.Time) feed.Event { return feed.GrantEnded("g1", "alice", "revoked", u) }, ErrEnded},
		"itself":                {func(u time.Time) feed.Event { return feed.TokenEnded("j1", "alice", "used", u) }, ErrEnded},
		"its client":            {func(u time.Time) feed.Event { return feed.ClientEnded("c1", "removed", u) }, ErrEnded},
		"its key":               {func(u time.Time) feed.Event { return feed.KeyEnded("k1", "leaked", u) }, ErrEnded},
		"its subject's epoch":   {func(u time.Time) feed.Event { return feed.SubjectRaised("alice", 4, "password_changed", u) }, ErrStaleClaims},
		"everyone's epoch":      {func(u time.Time) feed.Event { return feed.EveryoneRaised(4, "everyone_out", u) }, ErrStaleClaims},
		"an epoch that it has":  {func(u time.Time) feed.Event { return feed.SubjectRaised("alice", 3, "password_changed", u) }, nil},
		"another session":       {func(u time.Time) feed.Event { return feed.SessionEnded("s2", "alice", "signed_out", u) }, nil},
		"another subject":       {func(u time.Time) feed.Event { return feed.SubjectRaised("bob", 9, "password_changed", u) }, nil},
		"a grant with its name": {func(u time.Time) feed.Event { return feed.GrantEnded("s1", "alice", "revoked", u) }, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, log := follow(t, nil)
			d := mine.Digest()
			if err := s.Check(&d, time.Now()); err != nil {
				t.Fatalf("%s: before: %v", name, err)
			}
			if err := log.Append(t.Context(), time.Now(), test.event(time.Now().Add(until))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if err := s.Check(&d, time.Now()); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
			// As long as a token can name it, it is not forgotten; then it is.
			time.Sleep(until - time.Second)
			if err := s.Check(&d, time.Now()); !errors.Is(err, test.want) {
				t.Errorf("%s, an hour later: %v, want %v", name, err, test.want)
			}
			time.Sleep(3 * time.Minute)
			if n := s.Len(); n != 0 {
				t.Errorf("%s: %d endings are kept when nothing can name them", name, n)
			}
		})
	}
}

// The later of two epochs is remembered as long as the longer of them needs.
func TestAnEpochRaisedTwiceIsKeptForTheLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := follow(t, nil)
		d := mine.Digest()
		for _, e := range []feed.Event{
			feed.SubjectRaised("alice", 9, "password_changed", time.Now().Add(time.Hour)),
			feed.SubjectRaised("alice", 5, "late", time.Now().Add(time.Minute)),
		} {
			if err := log.Append(t.Context(), time.Now(), e); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Minute)
		if err := s.Check(&d, time.Now()); !errors.Is(err, ErrStaleClaims) {
			t.Errorf("%v", err)
		}
	})
}

// A cut feed never signs anybody out: after its bound nothing can be told.
func TestStaleIsNotUnauthenticated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := mine.Digest()
		s := New(nil)
		err := s.Check(&d, time.Now())
		if !errors.Is(err, ErrStale) || admit.KindOf(err) != admit.Unavailable {
			t.Errorf("before the first news: %v", err)
		}
		if retry, ok := errors.AsType[*admit.RetryError](err); !ok || retry.After <= 0 {
			t.Errorf("no word of when to try again: %v", err)
		}
		at := time.Now()
		ended := feed.SessionEnded("s2", "bob", "signed_out", at.Add(time.Hour))
		ended, err = ended.Stamp(feed.ID{Epoch: feed.NewEpoch(), Seq: 1}, at)
		if err != nil {
			t.Fatal(err)
		}
		s.Hear(feed.News{Head: ended.ID, At: at, Reset: true, Events: []feed.Event{ended}})
		time.Sleep(time.Minute)
		if err := s.Check(&d, time.Now()); err != nil {
			t.Errorf("at its bound: %v", err)
		}
		time.Sleep(1)
		if err := s.Check(&d, time.Now()); !errors.Is(err, ErrStale) {
			t.Errorf("after its bound: %v", err)
		}
		known := IDs{Session: "s2"}.Digest()
		if err := s.Check(&known, time.Now()); !errors.Is(err, ErrEnded) {
			t.Errorf("what has ended stays ended: %v", err)
		}
		// News that arrives now and is old says nothing of now.
		s.Hear(feed.News{Head: ended.ID, At: at})
		if err := s.Check(&d, time.Now()); !errors.Is(err, ErrStale) {
			t.Errorf("held back by a proxy: %v", err)
		}
		open := New(&Options{InsecureWhenStale: true})
		if err := open.Check(&d, time.Now()); err != nil {
			t.Errorf("asked to fail open: %v", err)
		}
	})
}

// A restored database begins a new epoch of the feed: what it says replaces
// what was heard, and only that.
func TestASnapshotReplacesWhatWasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := mine.Digest()
		s := New(nil)
		first, second := feed.NewEpoch(), feed.NewEpoch()
		event := func(sid string, epoch feed.Epoch) feed.Event {
			e := feed.SessionEnded(sid, "", "signed_out", time.Now().Add(time.Hour))
			e, err := e.Stamp(feed.ID{Epoch: epoch, Seq: 1}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		s.Hear(feed.News{Head: feed.ID{Epoch: first, Seq: 1}, At: time.Now(), Reset: true, Events: []feed.Event{event("s1", first)}})
		if err := s.Check(&d, time.Now()); !errors.Is(err, ErrEnded) {
			t.Error(err)
		}
		s.Hear(feed.News{Head: feed.ID{Epoch: second, Seq: 1}, At: time.Now(), Reset: true, Events: []feed.Event{event("s2", second)}})
		if err := s.Check(&d, time.Now()); err != nil || s.Len() != 1 {
			t.Errorf("%v, %d kept", err, s.Len())
		}
	})
}

func TestACheckAllocatesNothing(t *testing.T) {
	s := New(&Options{InsecureWhenStale: true})
	d := mine.Digest()
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() { s.Check(&d, now) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	s := New(&Options{InsecureWhenStale: true})
	n := feed.News{At: time.Now()}
	for i := range 100_000 {
		n.Events = append(n.Events, feed.Event{Kind: feed.Session, Digest: feed.DigestOf(feed.Session, fmt.Sprint(i)), Until: n.At.Add(time.Hour)})
	}
	s.Hear(n)
	d := mine.Digest()
	for b.Loop() {
		if err := s.Check(&d, n.At); err != nil {
			b.Fatal(err)
		}
	}
}
