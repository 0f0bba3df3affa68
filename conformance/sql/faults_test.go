package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sqlstore"
)

func item(value string) session.Item {
	return session.Item{Value: value, Subject: "alice", Expires: time.Now().Add(time.Hour)}
}

// A writer writes one record over and over, and notes what it was told.
type writer struct {
	key          string
	told, unsure int // the last number that was acknowledged, and the last that was sent
	acknowledged int
}

func (w *writer) run(ctx context.Context, s *sqlstore.Store) error {
	var version uint64
	for n := 1; ctx.Err() == nil; n++ {
		w.unsure = n
		var err error
		if version == 0 {
			version, err = s.Add(context.Background(), w.key, item(fmt.Sprint(n)))
		} else {
			version, err = s.Swap(context.Background(), w.key, version, item(fmt.Sprint(n)))
		}
		if err == nil {
			w.told = n
			w.acknowledged++
			continue
		}
		if admit.KindOf(err) != admit.Unavailable {
			return fmt.Errorf("write %d of %s: %w", n, w.key, err)
		}
		// What happened to it is seen once the server is back.
		for version = 0; ctx.Err() == nil; {
			it, err := s.Get(context.Background(), w.key)
			if err == nil {
				version = it.Version
				if err := w.check(it.Value); err != nil {
					return err
				}
				break
			}
			if errors.Is(err, session.ErrNotFound) && w.told == 0 {
				break
			}
			if admit.KindOf(err) != admit.Unavailable {
				return fmt.Errorf("read %s: %w", w.key, err)
			}
		}
	}
	return nil
}

// check says whether a record may stand so.
func (w *writer) check(value string) error {
	if value != fmt.Sprint(w.told) && value != fmt.Sprint(w.unsure) {
		return fmt.Errorf("%s has %s; %d was acknowledged and %d was sent", w.key, value, w.told, w.unsure)
	}
	return nil
}

// The program goes on meanwhile, with the store that it has.
func TestNothingAcknowledgedIsLostWhenTheServerIsKilled(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		store, _ := s.replica(t, s.dsn(s.dir, s.database()))
		if d := store.Durability(); d != session.SurvivesMachine {
			t.Errorf("durability %d, want SurvivesMachine", d)
		}
		for round := range 3 {
			ctx, stop := context.WithCancel(t.Context())
			writers := make([]writer, 8)
			errs := make([]error, len(writers))
			var wg sync.WaitGroup
			for i := range writers {
				writers[i].key = fmt.Sprint("k", round, "-", i)
				wg.Go(func() { errs[i] = writers[i].run(ctx, store) })
			}
			time.Sleep(200*time.Millisecond + rand.N(300*time.Millisecond))
			s.kill()
			s.start()
			time.Sleep(200 * time.Millisecond) // so that it is seen to recover
			stop()
			wg.Wait()
			writes := 0
			for i := range writers {
				w := &writers[i]
				if errs[i] != nil {
					t.Error(errs[i])
					continue
				}
				it, err := store.Get(t.Context(), w.key)
				if err == nil {
					err = w.check(it.Value)
				}
				if err != nil {
					t.Errorf("after the restart: %v", err)
				}
				writes += w.acknowledged
			}
			if writes < len(writers) { // a slow machine may have been killed early
				t.Errorf("only %d writes were acknowledged: nothing was tested", writes)
			}
			t.Logf("%d writes acknowledged, none lost", writes)
		}
	})
}

func TestACheckIsOneTrip(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		w := s.wire(t)
		store, db := s.replica(t, s.dsn(w.dir, s.database()))
		db.SetMaxOpenConns(1)
		key, err := "k", error(nil)
		if _, err = store.Add(t.Context(), key, item("v")); err == nil {
			_, err = store.Add(t.Context(), session.EpochKey("alice"), session.Item{Value: "7", Subject: "*", Expires: time.Now().Add(time.Hour)})
		}
		if err != nil {
			t.Fatal(err)
		}
		check := func() {
			t.Helper()
			if it, epoch, err := store.GetWithEpoch(t.Context(), key); err != nil || it.Value != "v" || epoch.N != 7 {
				t.Fatalf("GetWithEpoch: %v, %v, %v", it, epoch, err)
			}
		}
		check()
		before := w.sent.Load()
		const checks = 200
		for range checks {
			check()
		}
		if sent := w.sent.Load() - before; sent != checks {
			t.Errorf("%d checks made %d trips", checks, sent)
		}
	})
}

// calls are every method of a store.
func calls(s *sqlstore.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get":          func(ctx context.Context) error { _, err := s.Get(ctx, "k"); return err },
		"GetWithEpoch": func(ctx context.Context) error { _, _, err := s.GetWithEpoch(ctx, "k"); return err },
		"List":         func(ctx context.Context) error { _, err := s.List(ctx, "alice", "", 10); return err },
		"Add":          func(ctx context.Context) error { _, err := s.Add(ctx, "new", item("v")); return err },
		"Swap":         func(ctx context.Context) error { _, err := s.Swap(ctx, "k", 1, item("v")); return err },
		"Touch":        func(ctx context.Context) error { return s.Touch(ctx, "k", 1, time.Now()) },
		"Delete":       func(ctx context.Context) error { return s.Delete(ctx, "none") },
		"Sweep":        func(ctx context.Context) error { _, err := s.Sweep(ctx, time.UnixMilli(0), 10); return err },
	}
}

func TestAnOutageIsAnAnswerInTime(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		name := s.database()
		w := s.wire(t)
		store, _ := s.replica(t, s.dsn(w.dir, name))
		other, _ := s.replica(t, s.dsn(s.dir, name))
		v, err := store.Add(t.Context(), "k", item("v"))
		if err != nil {
			t.Fatal(err)
		}
		// ask makes many calls at once, for they must not wait for each other.
		ask := func(what string, store *sqlstore.Store, limit, within time.Duration, ok func(error) bool) {
			t.Helper()
			var wg sync.WaitGroup
			for name, call := range calls(store) {
				for range 20 {
					wg.Go(func() {
						ctx, cancel := t.Context(), func() {}
						if limit > 0 {
							ctx, cancel = context.WithTimeout(ctx, limit)
						}
						defer cancel()
						begun := time.Now()
						err := call(ctx)
						if took := time.Since(begun); !ok(err) || took > within {
							t.Errorf("%s, %s: %v after %v", what, name, err, took)
						}
					})
				}
			}
			wg.Wait()
		}
		unavailable := func(err error) bool { return admit.KindOf(err) == admit.Unavailable }
		late := func(err error) bool { return errors.Is(err, context.DeadlineExceeded) || unavailable(err) }
		answered := func(err error) bool {
			return err == nil || errors.Is(err, session.ErrConflict) || errors.Is(err, session.ErrNotFound)
		}
		const slack = 3 * time.Second // of a machine that is busy
		thaw := w.freeze()
		ask("frozen, with a deadline", store, 200*time.Millisecond, slack, late)
		ask("frozen, without a deadline", store, 0, 10*time.Second+slack, unavailable)
		thaw()
		ask("thawed", store, 0, 10*time.Second, answered)

		s.kill()
		ask("killed", other, 0, slack, unavailable)
		s.start()
		ask("started", other, 0, 10*time.Second, answered)
		if it, err := other.Get(t.Context(), "k"); err != nil || it.Version != v {
			t.Errorf("the record afterwards: %v, %v", it, err)
		}
	})
}

func TestALookUpDoesNotWaitForAWriterOrASweep(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		store, db := s.replica(t, s.dsn(s.dir, s.database()))
		if _, err := store.Add(t.Context(), "k", item("v")); err != nil {
			t.Fatal(err)
		}
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if _, err := tx.Exec("DELETE FROM sessions"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, _, err := store.GetWithEpoch(ctx, "k"); err != nil {
			t.Errorf("a look-up beside a transaction that removes the record: %v", err)
		}
	})
}

// In PostgreSQL the lock is the transaction's, in MySQL the connection's: it must
// not stay behind in the pool.
func TestOneReplicaSweepsAtATime(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		dsn := s.dsn(s.dir, s.database())
		one, _ := s.replica(t, dsn)
		two, _ := s.replica(t, dsn)
		now := time.Now()
		for i := range 200 {
			it := item("v")
			it.Expires = now.Add(-time.Minute)
			if _, err := one.Add(t.Context(), fmt.Sprint("k", i), it); err != nil {
				t.Fatal(err)
			}
		}
		holder := s.open(dsn)
		defer holder.Close()
		tx, err := holder.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		lock, release := "SELECT pg_advisory_xact_lock(8315179226536832627)", "SELECT 1"
		if s.dialect == sqlstore.MySQL {
			const name = "(MD5(CONCAT(DATABASE(), '.sessions'))"
			lock, release = "SELECT GET_LOCK"+name+", 0)", "SELECT RELEASE_LOCK"+name+")"
		}
		if _, err := tx.Exec(lock); err != nil {
			t.Fatal(err)
		}
		if n, err := one.Sweep(t.Context(), now, 1000); n != 0 || err != nil {
			t.Errorf("Sweep while another sweeps: %d, %v, want nothing", n, err)
		}
		if _, err := tx.Exec(release); err != nil {
			t.Fatal(err)
		}
		tx.Rollback()
		for turn, s := range []*sqlstore.Store{one, two, one, two} {
			if n, err := s.Sweep(t.Context(), now, 50); n != 50 || err != nil {
				t.Errorf("Sweep in turn %d: %d, %v, want 50", turn, n, err)
			}
		}
	})
}

func TestATransactionThatMetOthersIsRunAgain(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		store, _ := s.replica(t, s.dsn(s.dir, s.database()))
		for _, times := range []int{1, 3, 1000} {
			var runs atomic.Int64
			ctx := sqlstore.Also(t.Context(), func(ctx context.Context, tx *sql.Tx, w sqlstore.Write) error {
				if runs.Add(1) <= int64(times) {
					_, err := tx.ExecContext(ctx, s.fails)
					return fmt.Errorf("audit: %w", err)
				}
				return nil
			})
			key := fmt.Sprint("k", times)
			_, err := store.Add(ctx, key, item("v"))
			_, kept := store.Get(t.Context(), key)
			if times < 10 && (err != nil || kept != nil) {
				t.Errorf("after %d deadlocks: %v, %v", times, err, kept)
			}
			if times > 10 && (admit.KindOf(err) != admit.Unavailable || !errors.Is(kept, session.ErrNotFound) || runs.Load() > 20) {
				t.Errorf("after %d deadlocks: %v, %v, want an end", runs.Load(), err, kept)
			}
		}
	})
}

func TestADatabaseThatForgetsIsRefused(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		dsn := s.dsn(s.dir, s.database())
		if s.dialect == sqlstore.PostgreSQL {
			dsn += " synchronous_commit=off"
		} else {
			db := s.open(dsn)
			defer db.Close()
			if _, err := db.Exec("SET GLOBAL innodb_flush_log_at_trx_commit = 0"); err != nil {
				t.Fatal(err)
			}
		}
		db := s.open(dsn)
		defer db.Close()
		if _, err := s.dialect.New(t.Context(), db, db); !errors.Is(err, sqlstore.ErrForgetful) {
			t.Errorf("New: %v, want ErrForgetful", err)
		}
	})
}
