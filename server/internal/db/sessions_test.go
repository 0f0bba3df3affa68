package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sessiontest"
	"github.com/admit-auth/admit/session/sqlstore"
)

// openSessions opens the database in a file, and its session store.
func openSessions(t testing.TB, file string) (*DB, *SessionStore) {
	t.Helper()
	db, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := db.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return db, s
}

func newSessions(t testing.TB) (*DB, *SessionStore) {
	return openSessions(t, NewPlace(t))
}

func TestSessionsInSQLiteKeepThePromises(t *testing.T) {
	runSuite(t, func(s *SessionStore) session.Store { return s })
}

func TestSessionsInSQLiteWithCopiesNearKeepThePromises(t *testing.T) {
	OfAFile(t) // copies are for a lone writer
	runSuite(t, func(s *SessionStore) session.Store { return session.NewNear(s, 0) })
}

func runSuite(t *testing.T, wrap func(*SessionStore) session.Store) {
	sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
		file := NewPlace(t)
		db, s := openSessions(t, file)
		return sessiontest.Backend{Store: wrap(s), Restart: func() session.Store {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			_, s := openSessions(t, file)
			return wrap(s)
		}}
	})
}

func TestSessionsAreOnDiskBeforeTheyAreAcknowledged(t *testing.T) {
	_, s := newSessions(t)
	if d := s.Durability(); d != session.SurvivesMachine {
		t.Errorf("durability %d, want SurvivesMachine: is synchronous=FULL?", d)
	}
}

// hold keeps all connections for writing, so that writes queue up.
func hold(t *testing.T, db *DB) (release func()) {
	t.Helper()
	var all []*tx
	for range max(1, db.write.Stats().MaxOpenConnections) {
		tx, err := db.write.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tx)
	}
	return func() {
		for _, tx := range all {
			tx.Rollback()
		}
	}
}

// waiting lets n goroutines come to wait for the held connection or for the one
// that does.
func waiting() { time.Sleep(50 * time.Millisecond) }

func item(value string) session.Item {
	return session.Item{Value: value, Subject: "alice", Expires: time.Now().Add(time.Hour)}
}

func TestOneFailedWriteHarmsNobodyInItsBatch(t *testing.T) {
	db, s := newSessions(t)
	release := hold(t, db)
	errBad := errors.New("bad")
	bad := sqlstore.Also(t.Context(), func(ctx context.Context, tx *sql.Tx, w sqlstore.Write) error {
		if w.Key == "k5" {
			return errBad
		}
		return session.ErrConflict // an answer of somebody else's is none of the store's
	})
	errs := make([]error, 12)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			ctx := t.Context()
			if i == 5 || i == 6 {
				ctx = bad
			}
			_, errs[i] = s.Add(ctx, fmt.Sprint("k", i%11), item("v")) // k0 twice
		})
	}
	waiting()
	release()
	wg.Wait()
	conflicts := 0
	for i, err := range errs {
		_, kept := s.Get(t.Context(), fmt.Sprint("k", i%11))
		switch {
		case i == 5 || i == 6:
			if admit.KindOf(err) != admit.Unavailable || !errors.Is(kept, session.ErrNotFound) {
				t.Errorf("the bad write: %v, and then Get: %v", err, kept)
			}
		case errors.Is(err, session.ErrConflict) && i%11 == 0:
			conflicts++
		case err != nil || kept != nil:
			t.Errorf("write %d beside a bad one: %v, and then Get: %v", i, err, kept)
		}
	}
	if conflicts != 1 {
		t.Errorf("of two adds of one key %d were conflicts", conflicts)
	}
}

// Who numbers events in the transaction of a session would else hold their row while
// it waits for the sessions of others.
func TestWhatIsLeftForTheEndIsWrittenAfterAllThatSharesTheTransaction(t *testing.T) {
	db, s := newSessions(t)
	release := hold(t, db)
	var mu sync.Mutex
	var order string // guarded by mu
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order += what
	}
	ctx := sqlstore.Also(t.Context(), func(_ context.Context, _ *sql.Tx, w sqlstore.Write) error {
		note("w")
		w.Last(func(ctx context.Context, tx *sql.Tx) error {
			note("l")
			if w.Key == "bad" {
				return session.ErrConflict // an answer of somebody else's is none of the store's
			}
			return nil
		})
		return nil
	})
	add := func(keys ...string) (errs []error) {
		errs = make([]error, len(keys))
		var wg sync.WaitGroup
		for i, key := range keys {
			wg.Go(func() { _, errs[i] = s.Add(ctx, key, item("v")) })
		}
		waiting()
		if release != nil {
			release()
			release = nil
		}
		wg.Wait()
		return errs
	}
	for _, err := range add("a", "b", "c", "d") {
		if err != nil {
			t.Error(err)
		}
	}
	// The first may have led alone.
	if order != "wwwwllll" && order != "wlwwwlll" && !TestsPostgres() {
		t.Errorf("the order is %s", order)
	}
	for _, err := range add("bad") {
		if admit.KindOf(err) != admit.Unavailable {
			t.Errorf("one that fails at the end: %v", err)
		}
	}
	if _, err := s.Get(t.Context(), "bad"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("and then Get: %v", err)
	}
}

func TestAWriterThatGivesUpTakesNobodyAlong(t *testing.T) {
	db, s := newSessions(t)
	for _, end := range []string{"deadline", "cancel"} {
		t.Run(end, func(t *testing.T) {
			release := hold(t, db)
			short := 100 * time.Millisecond
			var wg sync.WaitGroup
			var patient [4]error
			for i := range 12 {
				wg.Go(func() {
					key := fmt.Sprint(end, i)
					if i%3 == 2 {
						_, patient[i/3] = s.Add(t.Context(), key, item("v"))
						return
					}
					ctx, cancel := context.WithTimeout(t.Context(), short)
					if end == "cancel" {
						ctx, cancel = context.WithCancel(t.Context())
						time.AfterFunc(short, cancel)
					}
					defer cancel()
					begun := time.Now()
					_, err := s.Add(ctx, key, item("v"))
					took := time.Since(begun)
					if end == "deadline" && (!errors.Is(err, context.DeadlineExceeded) || took > time.Second) {
						t.Errorf("a write with a deadline of %v: %v after %v", short, err, took)
					}
				})
			}
			time.Sleep(2 * short)
			release()
			wg.Wait()
			for i, err := range patient {
				if err != nil {
					t.Errorf("patient write %d: %v", i, err)
				}
			}
			if _, err := s.Add(t.Context(), end, item("v")); err != nil {
				t.Errorf("a write afterwards: %v", err)
			}
		})
	}
}

func TestAWriteThatPanicsLeavesTheStoreUsable(t *testing.T) {
	_, s := newSessions(t)
	ctx := sqlstore.Also(t.Context(), func(context.Context, *sql.Tx, sqlstore.Write) error { panic("no") })
	func() {
		defer func() { recover() }()
		s.Add(ctx, "bad", item("v"))
		t.Error("no panic came through")
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.Add(ctx, "good", item("v")); err != nil {
		t.Errorf("the next write: %v", err)
	}
	if _, err := s.Get(ctx, "bad"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("the write that panicked: %v, want ErrNotFound", err)
	}
}

func TestAFullDiskIsAnAnswer(t *testing.T) {
	OfAFile(t)
	db, s := newSessions(t)
	v, err := s.Add(t.Context(), "before", item("v"))
	if err != nil {
		t.Fatal(err)
	}
	var pages int
	if err := db.write.QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if _, err := db.write.Exec(fmt.Sprint("PRAGMA max_page_count=", pages+4)); err != nil {
		t.Fatal(err)
	}
	big := item(strings.Repeat("x", session.MaxValue))
	if _, err := s.Add(t.Context(), "big", big); admit.KindOf(err) != admit.Unavailable {
		t.Errorf("Add on a full disk: %v, want Unavailable", err)
	}
	if _, err := s.Swap(t.Context(), "before", v, big); admit.KindOf(err) != admit.Unavailable {
		t.Errorf("Swap on a full disk: %v, want Unavailable", err)
	}
	if it, err := s.Get(t.Context(), "before"); err != nil || it.Value != "v" || it.Version != v {
		t.Errorf("the record that was to be replaced: %v, %v", it, err)
	}
	// What needs no room still works, so that sessions can be ended.
	if err := s.Delete(t.Context(), "before"); err != nil {
		t.Errorf("Delete on a full disk: %v", err)
	}
}

func TestAnEpochRaisedInATransactionEndsSessionsWithTheCommit(t *testing.T) {
	db, s := newSessions(t)
	near := session.NewNear(s, 0)
	m, err := session.New[struct{}](near, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := func(subject string) (*session.Session[struct{}], *http.Request) {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil)
		i, err := m.Start(w, r, subject, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range w.Result().Cookies() {
			r.AddCookie(c)
		}
		return i, r
	}
	raise := func(subject, except string, commit bool) uint64 {
		tx, err := db.write.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		n, err := db.write.sessions().RaiseEpoch(t.Context(), tx, subject, except)
		if err != nil {
			t.Fatal(err)
		}
		if commit {
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			near.Forget(session.EpochKey(subject))
		}
		return n
	}
	if n := raise("nobody", "", true); n != 0 {
		t.Errorf("the epoch of one who never signed in: %d, want 0", n)
	}
	for _, subject := range []string{"alice", "张伟", "#"} {
		kept, here := start(subject)
		_, there := start(subject)
		raise(subject, kept.SID, false)
		for _, r := range []*http.Request{here, there} {
			if _, err := m.Check(r); err != nil {
				t.Errorf("after a transaction that was rolled back: %v", err)
			}
		}
		n := raise(subject, kept.SID, true)
		if _, err := m.Check(here); err != nil {
			t.Errorf("the session that was spared: %v", err)
		}
		if _, err := m.Check(there); !errors.Is(err, session.ErrEnded) {
			t.Errorf("the other one: %v, want ErrEnded", err)
		}
		if err := m.EndAll(t.Context(), subject, "", "sign_out"); err != nil {
			t.Fatal(err)
		}
		if next := raise(subject, kept.SID, true); next != n+2 {
			t.Errorf("epochs %d and, two later, %d", n, next)
		}
		if _, err := m.Check(here); !errors.Is(err, session.ErrEnded) {
			t.Errorf("sparing revived what was ended: %v", err)
		}
	}
}

func TestAChangeOfClaimsEndsNoSession(t *testing.T) {
	db, s := newSessions(t)
	near := session.NewNear(s, 0)
	m, err := session.New[struct{}](near, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.Raised = func(subject string, ended bool) {
		if ended {
			t.Errorf("sessions of %s have ended", subject)
		}
		near.Forget(session.EpochKey(subject))
	}
	for _, subject := range []string{"alice", "张伟", "#"} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil)
		begun, err := m.Start(w, r, subject, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", strings.Split(w.Header().Get("Set-Cookie"), ";")[0])
		for n := begun.Epoch + 1; n < begun.Epoch+4; n++ {
			var read uint64
			if err := db.Update(t.Context(), func(tx account.Tx) (err error) {
				if err := tx.RaiseClaims(subject, time.Now()); err != nil {
					return err
				}
				read, _, err = tx.Epoch(subject)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if i, err := m.Check(r); err != nil || i.Epoch != n || read != n {
				t.Fatalf("%s: the epoch is %d and %d, %v; want %d", subject, i.Epoch, read, err, n)
			}
		}
		if err := m.EndAll(t.Context(), subject, "", "sign_out"); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Check(r); !errors.Is(err, session.ErrEnded) {
			t.Errorf("%s: after all have ended: %v", subject, err)
		}
	}
}

// The disk may have a commit of which it said that it failed. A cache that was
// not told would go on with sessions that have ended.
func TestACommitThatFailedIsToldToTheCache(t *testing.T) {
	db, s := newSessions(t)
	if _, err := s.Add(t.Context(), session.EpochKey("alice"), session.Item{Value: "1", Subject: "*", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	told := ""
	db.Raised = func(subject string, ended bool) { told += fmt.Sprint(subject, " ", ended) }
	err := db.Update(t.Context(), func(tx account.Tx) error {
		if err := tx.RaiseEpoch("alice", ""); err != nil {
			return err
		}
		if err := tx.(*txn).exec(db.write.of(both{
			sqlite:   "PRAGMA defer_foreign_keys = 1",
			postgres: "ALTER TABLE credentials ALTER CONSTRAINT credentials_user_id_fkey DEFERRABLE INITIALLY DEFERRED",
		})); err != nil {
			return err
		}
		return tx.SetPasswordHash("nobody", "a hash", time.Now()) // refused by the commit
	})
	if admit.KindOf(err) != admit.Unavailable || told != "alice true" {
		t.Errorf("%v, and the cache was told of %q, want Unavailable and alice", err, told)
	}
	if err := db.Update(t.Context(), func(tx account.Tx) error { return nil }); err != nil {
		t.Errorf("the next transaction: %v", err)
	}
}

func TestALookUpDoesNotWaitForAWriter(t *testing.T) {
	db, s := newSessions(t)
	if _, err := s.Add(t.Context(), "k", item("v")); err != nil {
		t.Fatal(err)
	}
	release := hold(t, db)
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.Get(ctx, "k"); err != nil {
		t.Errorf("Get beside an open transaction: %v", err)
	}
}

// Each request may touch its session: where that changes nothing it must not
// cost a sync of the disk.
func TestATouchThatIsNotLaterWritesNothing(t *testing.T) {
	OfAFile(t)
	file := NewPlace(t)
	_, s := openSessions(t, file)
	it := item("v")
	v, err := s.Add(t.Context(), "k", it)
	if err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		info, err := os.Stat(file + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	for _, d := range []time.Duration{0, -time.Minute} {
		if err := s.Touch(t.Context(), "k", v, it.Expires.Add(d)); err != nil {
			t.Fatal(err)
		}
	}
	if after := size(); after != before {
		t.Errorf("the log grew from %d to %d bytes", before, after)
	}
}

func BenchmarkSessionGet(b *testing.B) {
	_, s := newSessions(b)
	v := item(strings.Repeat("v", 200))
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for i := range 160 {
				s.Add(b.Context(), fmt.Sprintf("%022d", g*160+i), v)
			}
		})
	}
	wg.Wait()
	if _, err := s.Add(b.Context(), session.EpochKey(v.Subject), session.Item{Value: "1", Expires: v.Expires}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, _, err := s.GetWithEpoch(context.Background(), fmt.Sprintf("%022d", n*7919%10240)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSessionWrites(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(writers, " writers"), func(b *testing.B) {
			_, s := newSessions(b)
			v := item(strings.Repeat("v", 200))
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for {
						n := next.Add(1)
						if n > int64(b.N) {
							return
						}
						if _, err := s.Add(b.Context(), fmt.Sprintf("%022d", n*7919%1000003), v); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
