package revocation

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
			// As long as a token can name it, with five minutes of leeway, it is
			// not forgotten; then it is.
			time.Sleep(until + 5*time.Minute)
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
		time.Sleep(time.Nanosecond)
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

// What ended twice, as a client does that is removed when its secret was taken
// back before, is kept for the longer.
func TestAnEndingToldTwiceIsKeptForTheLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := follow(t, nil)
		d := mine.Digest()
		for _, until := range []time.Duration{time.Hour, time.Minute} {
			if err := log.Append(t.Context(), time.Now(), feed.ClientEnded("c1", "removed", time.Now().Add(until))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Minute)
		if err := s.Check(&d, time.Now()); !errors.Is(err, ErrEnded) {
			t.Errorf("%v", err)
		}
	})
}

// A verifier with leeway takes a token that has just expired, and a snapshot
// says no more of it: what ended it must not be forgotten.
func TestAttackASnapshotRevivesNoTokenInItsLeeway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, restarted := range []bool{false, true} {
			s, d := New(nil), mine.Digest()
			epoch := feed.NewEpoch()
			ended, err := feed.SessionEnded("s1", "alice", "signed_out", time.Now().Add(time.Minute)).Stamp(feed.ID{Epoch: epoch, Seq: 1}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			raised, err := feed.SubjectRaised("alice", 9, "signed_out", time.Now().Add(time.Minute)).Stamp(feed.ID{Epoch: epoch, Seq: 2}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			s.Hear(feed.News{Head: raised.ID, At: time.Now(), Events: []feed.Event{ended, raised}})
			time.Sleep(3 * time.Minute)
			head := raised.ID
			if restarted {
				head = feed.ID{Epoch: feed.NewEpoch(), Seq: 1}
			}
			s.Hear(feed.News{Head: head, At: time.Now(), Reset: true})
			if err := s.Check(&d, time.Now()); !errors.Is(err, ErrEnded) {
				t.Errorf("another epoch %t: %v", restarted, err)
			}
			// The epochs of subjects count in their own feed alone: after a
			// restore they are given anew.
			subject := IDs{Subject: "alice", SEV: 8}.Digest()
			if err := s.Check(&subject, time.Now()); (err == nil) != restarted {
				t.Errorf("another epoch %t: its subject: %v", restarted, err)
			}
			time.Sleep(10 * time.Minute)
			s.Hear(feed.News{Head: head, At: time.Now()})
			if n := s.Len(); n != 0 {
				t.Errorf("%d endings are kept", n)
			}
		}
	})
}

// An issuer's clock that is ahead, or jumps, gains whoever cuts the feed no
// time, and forgets nothing before its time.
func TestAttackAnIssuersClockThatIsAheadGainsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := New(nil), mine.Digest()
		ended, err := feed.SessionEnded("s1", "alice", "signed_out", time.Now().Add(time.Hour)).Stamp(feed.ID{Epoch: feed.NewEpoch(), Seq: 1}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		s.Hear(feed.News{Head: ended.ID, At: time.Now(), Events: []feed.Event{ended}})
		s.Hear(feed.News{Head: ended.ID, At: time.Now().Add(24 * time.Hour)})
		if err := s.Check(&d, time.Now()); !errors.Is(err, ErrEnded) {
			t.Errorf("its clock jumped by a day: %v", err)
		}
		other := IDs{Session: "s2"}.Digest()
		if err := s.Check(&other, time.Now()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute + 1)
		if err := s.Check(&other, time.Now()); !errors.Is(err, ErrStale) {
			t.Errorf("a minute without news: %v", err)
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
	const ids = 100_000
	n := feed.News{At: time.Now()}
	for i := range ids {
		n.Events = append(n.Events, feed.Event{Kind: feed.Session, Digest: feed.DigestOf(feed.Session, fmt.Sprint(i)), Until: n.At.Add(time.Hour)})
	}
	before := heap()
	s := New(&Options{InsecureWhenStale: true})
	s.Hear(n)
	size := heap() - before
	d := mine.Digest()
	for b.Loop() {
		if err := s.Check(&d, n.At); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)/ids, "B/id")
	runtime.KeepAlive(n)
}

// heap is how many bytes are alive.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
