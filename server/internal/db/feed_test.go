package db

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/feed/feedtest"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// A teller is the feed's other end, for the suite.
type teller struct{ *DB }

func (t teller) Append(ctx context.Context, now time.Time, events ...feed.Event) error {
	tx, err := t.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	defer t.feed.Wake()
	if err := tx.conclude(ctx, now, closing{events: events}); err != nil {
		return err
	}
	return tx.Commit()
}

func TestTheDatabasesLogIsAFeed(t *testing.T) {
	feedtest.Run(t, func(t testing.TB) (feed.Sink, feed.Source) {
		db, _ := newSessions(t)
		return teller{db}, db.Feed()
	})
}

// heard follows a feed until it has told n events, and returns them.
func heard(t *testing.T, f *Feed, n int) (events []feed.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	enough := errors.New("enough")
	if err := f.Follow(ctx, feed.ID{}, func(news feed.News) error {
		if events = append(events, news.Events...); len(events) >= n {
			return enough
		}
		return nil
	}); err != enough {
		t.Fatalf("%v after %d events, want %d", err, len(events), n)
	}
	return events
}

func TestWhatEndsIsToldInItsOwnTransaction(t *testing.T) {
	db, s := newSessions(t)
	m, err := session.New[struct{}](session.NewNear(s, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	start := func() *session.Session[struct{}] {
		i, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil), "alice", nil)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	one, two := start(), start()
	begun := time.Now()
	update := func(fn func(account.Tx) error) error { return db.Update(t.Context(), fn) }
	for _, err := range []error{
		m.EndSID(t.Context(), "alice", one.SID, "signed_out"),
		m.EndAll(t.Context(), "alice", two.SID, "ended_by_user"),
		update(func(tx account.Tx) error { return tx.RaiseClaims("alice", time.Now()) }),
		update(func(tx account.Tx) error {
			return errors.Join(tx.Tell(feed.GrantEnded("g", "alice", "replayed", begun.Add(time.Hour))), tx.RaiseEpoch("alice", ""))
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := update(func(tx account.Tx) error {
		return errors.Join(tx.Tell(feed.TokenEnded("lost", "alice", "", begun.Add(time.Hour))), errors.New("undone"))
	}); err == nil {
		t.Fatal("a transaction that fails was kept")
	}
	n := one.Epoch
	want := []string{
		"1 sid " + one.SID + " alice 0 signed_out",
		fmt.Sprintf("2 sub alice alice %d ended_by_user", n+1),
		fmt.Sprintf("3 sub alice alice %d claims_changed", n+2),
		"4 gid g alice 0 replayed",
		fmt.Sprintf("5 sub alice alice %d account_changed", n+3),
	}
	for i, e := range heard(t, db.Feed(), len(want)) {
		if got := fmt.Sprint(e.ID.Seq, " ", e.Kind, " ", e.Target, " ", e.Subject, " ", e.SEV, " ", e.Reason); got != want[i] {
			t.Errorf("told %q, want %q", got, want[i])
		}
		life := account.ToldFor
		if e.Kind == feed.Grant {
			life = time.Hour
		}
		if until := e.Until.Sub(begun); until < life-time.Second || until > life+10*time.Second {
			t.Errorf("event %v matters for %v, want %v", e.ID, until, life)
		}
	}
	if kept, err := texts(t.Context(), db.read, "SELECT event FROM feed WHERE event LIKE '%lost%'"); err != nil || len(kept) > 0 {
		t.Errorf("a transaction that was undone has told %q, %v", kept, err)
	}
}

// A write that is told and cannot be kept would be an ending that is none; one
// that is kept and cannot be told would never be heard of.
func TestAnEndingThatCannotBeToldIsNone(t *testing.T) {
	db, s := newSessions(t)
	m, err := session.New[struct{}](session.NewNear(s, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil)
	i, err := m.Start(w, r, "alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", strings.Split(w.Header().Get("Set-Cookie"), ";")[0])
	if _, err := db.write.Exec("ALTER TABLE feed RENAME TO gone"); err != nil {
		t.Fatal(err)
	}
	for what, end := range map[string]func() error{
		"a session": func() error { return m.EndSID(t.Context(), "alice", i.SID, "signed_out") },
		"all":       func() error { return m.EndAll(t.Context(), "alice", "", "signed_out") },
		"an epoch": func() error {
			return db.Update(t.Context(), func(tx account.Tx) error { return tx.RaiseEpoch("alice", "") })
		},
	} {
		if err := end(); err == nil {
			t.Errorf("%s was ended and not told", what)
		}
		if _, err := m.Check(r); err != nil {
			t.Fatalf("after %s was not ended: %v", what, err)
		}
	}
}

// The gap between numbering and commit is where a later number may be seen first:
// with many writers of both kinds, whose transactions are shared or their own.
func TestNoLaterNumberIsSeenBeforeAnEarlierOne(t *testing.T) {
	const writers, each = 32, 40
	db, s := newSessions(t)
	m, err := session.New[struct{}](session.NewNear(s, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var acknowledged atomic.Uint64
	var writing, following sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				var err error
				if w%2 == 0 {
					err = db.Update(ctx, func(tx account.Tx) error {
						return tx.Tell(feed.TokenEnded(fmt.Sprint(w, "-", i), "", "", time.Now().Add(time.Hour)))
					})
				} else {
					var begun *session.Session[struct{}]
					if begun, err = m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil), fmt.Sprint("u", w), nil); err == nil {
						err = m.EndAny(ctx, begun.SID, "signed_out")
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				acknowledged.Add(1)
			}
		})
	}
	// Whoever asks is told everything that was acknowledged before, and of the
	// numbers that it was told before no new one.
	for range 4 {
		following.Go(func() {
			var seen uint64
			enough := errors.New("enough")
			for seen < writers*each {
				least := acknowledged.Load()
				err := db.Feed().Follow(ctx, feed.ID{}, func(n feed.News) error {
					if uint64(len(n.Events)) < least || n.Head.Seq < seen {
						t.Errorf("%d events up to %v, of %d that were acknowledged and %d that were seen", len(n.Events), n.Head, least, seen)
					}
					for i, e := range n.Events {
						if e.ID.Seq != uint64(i+1) {
							t.Errorf("number %d is seen without %d", e.ID.Seq, i+1)
							break
						}
					}
					seen = n.Head.Seq
					return enough
				})
				if err != enough {
					t.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	following.Wait()
}

func TestEachOpeningOfADatabaseBeginsAnEpochThatKnowsWhatWasTold(t *testing.T) {
	OfAFile(t) // replicas share an epoch
	file := EmptyPlace(t)
	epochs := map[feed.Epoch]bool{}
	for i := range 3 {
		db, _ := openSessions(t, file)
		if err := db.Update(t.Context(), func(tx account.Tx) error {
			return tx.Tell(feed.TokenEnded(fmt.Sprint("t", i), "", "", time.Now().Add(time.Hour)))
		}); err != nil {
			t.Fatal(err)
		}
		events := heard(t, db.Feed(), i+1)
		for j, e := range events {
			if e.Target != fmt.Sprint("t", j) || e.ID.Seq != uint64(j+1) || e.ID.Epoch != events[0].ID.Epoch {
				t.Errorf("opening %d: event %d is %s with the id %v", i, j, e.Target, e.ID)
			}
		}
		epochs[events[0].ID.Epoch] = true
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(epochs) != 3 {
		t.Errorf("3 openings began %d epochs", len(epochs))
	}
}

func TestEventsThatMatterNoMoreAreSweptAndNobodyLosesHisPlace(t *testing.T) {
	db, _ := newSessions(t)
	tell := func(n int, until time.Time) {
		var events []feed.Event
		for i := range n {
			events = append(events, feed.TokenEnded(fmt.Sprint(i), "", "", until))
		}
		if err := db.Update(t.Context(), func(tx account.Tx) error { return tx.Tell(events...) }); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	tell(1, now.Add(time.Hour))
	first := heard(t, db.Feed(), 1)[0].ID
	tell(150, now.Add(time.Minute))
	tell(2, now.Add(time.Hour))
	if n, err := db.SweepFeed(t.Context(), now, 100); n != 0 || err != nil {
		t.Errorf("%d swept that matter, %v", n, err)
	}
	for _, want := range []int{100, 50, 0} {
		if n, err := db.SweepFeed(t.Context(), now.Add(time.Minute+time.Millisecond), 100); n != want || err != nil {
			t.Errorf("%d swept, %v; want %d", n, err, want)
		}
	}
	// The reader has not seen what was swept.
	enough := errors.New("enough")
	for _, after := range []feed.ID{first, {}} {
		if err := db.Feed().Follow(t.Context(), after, func(n feed.News) error {
			if !n.Reset || len(n.Events) != 3 || n.Head.Seq != 153 {
				t.Errorf("after %v: %d events up to %v, a reset: %t", after, len(n.Events), n.Head, n.Reset)
			}
			return enough
		}); err != enough {
			t.Fatal(err)
		}
	}
}

// What was made before a restore says the state of a time that the database has
// forgotten.
func TestAfterARestoreEverythingThatWasMadeBeforeIsStale(t *testing.T) {
	db, s := newSessions(t)
	m, err := session.New[struct{}](s, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := func() uint64 {
		i, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil), "alice", nil)
		if err != nil {
			t.Fatal(err)
		}
		return i.Epoch
	}
	epoch := func(user string) (n uint64) {
		if err := db.View(t.Context(), func(tx account.Tx) (err error) { n, _, err = tx.Epoch(user); return err }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := start()
	time.Sleep(2 * time.Millisecond) // epochs begin with the time
	if n := epoch("bob"); n != 0 {
		t.Errorf("the epoch of who never signed in is %d", n)
	}
	if _, err := db.Renew(t.Context(), false, time.Now()); err != nil {
		t.Fatal(err)
	}
	events := heard(t, db.Feed(), 1)
	if len(events) != 1 || events[0].Kind != feed.Everyone || events[0].SEV <= before {
		t.Fatalf("told %+v, and a session of before had the epoch %d", events, before)
	}
	if n := start(); n < events[0].SEV {
		t.Errorf("a session of after has the epoch %d, less than %d", n, events[0].SEV)
	}
	if n := epoch("bob"); n < events[0].SEV {
		t.Errorf("who never signed in has the epoch %d, less than %d", n, events[0].SEV)
	}
	if _, err := db.Renew(t.Context(), true, time.Now()); err != nil {
		t.Fatal(err)
	}
	if more := heard(t, db.Feed(), 1); len(more) != 1 {
		t.Errorf("after a restore that keeps sessions: %+v", more)
	}
}

// An API key makes tokens for a user who never signed in.
func TestClaimsOfWhoNeverSignedInAreRaisedToo(t *testing.T) {
	db, _ := newSessions(t)
	var last uint64
	for i := range 3 {
		var read uint64
		if err := db.Update(t.Context(), func(tx account.Tx) (err error) {
			if err := tx.RaiseClaims("bob", time.Now()); err != nil {
				return err
			}
			read, _, err = tx.Epoch("bob")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		events := heard(t, db.Feed(), i+1)
		if told := events[i].SEV; told != read || told <= last {
			t.Errorf("told %d after %d, and tokens are made with %d", told, last, read)
		}
		last = read
	}
}

func BenchmarkAReadingWithoutNews(b *testing.B) {
	db, _ := newSessions(b)
	for b.Loop() {
		if _, err := db.Feed().since(b.Context(), feed.ID{}, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
