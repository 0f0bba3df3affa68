package sql

import (
	"context"
	"database/sql"
	"errors"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sqlstore"
)

// within runs a transaction of the caller's as a program would, at the isolation
// that the database has by default.
func within(t testing.TB, s *server, db *sql.DB, fn func(*sql.Tx) error) {
	t.Helper()
	for range 50 {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Error(err)
			return
		}
		if err = fn(tx); err == nil {
			err = tx.Commit()
		}
		tx.Rollback()
		if err == nil || !s.dialect.Again(err) {
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("a transaction met others 50 times")
}

func TestEpochsRaisedInParallelTransactionsAreAllRaised(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		dsn := s.dsn(s.dir, s.database())
		now := time.Now()
		const replicas, raises = 4, 10
		var wg sync.WaitGroup
		firsts := make([]uint64, replicas)
		for i := range firsts {
			_, db := s.replica(t, dsn)
			wg.Go(func() {
				within(t, s, db, func(tx *sql.Tx) (err error) {
					firsts[i], err = s.dialect.BeginEpoch(t.Context(), tx, "alice", now.Add(time.Duration(i)*time.Second), now.Add(time.Hour))
					return err
				})
				for n := range raises {
					within(t, s, db, func(tx *sql.Tx) (err error) {
						if n%2 == 0 {
							_, err = s.dialect.RaiseClaims(t.Context(), tx, "alice")
						} else {
							_, err = s.dialect.RaiseEpoch(t.Context(), tx, "alice", "")
						}
						return err
					})
				}
			})
		}
		wg.Wait()
		_, db := s.replica(t, dsn)
		within(t, s, db, func(tx *sql.Tx) error {
			e, err := s.dialect.ReadEpoch(t.Context(), tx, "alice")
			first := uint64(now.UnixMilli())
			if d := e.N - first - replicas*raises; d > 3000 || d%1000 != 0 {
				t.Errorf("epoch %d, which is not the first (%v) and %d", e.N, firsts, replicas*raises)
			}
			return err
		})
	})
}

func TestATransactionOfTheCallersUsesEndsAndForgetsSessions(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		store, db := s.replica(t, s.dsn(s.dir, s.database()))
		m, err := session.New[struct{}](store, nil)
		if err != nil {
			t.Fatal(err)
		}
		begin := func() string {
			i, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil), "张伟", nil)
			if err != nil {
				t.Fatal(err)
			}
			return i.SID
		}
		a, b := begin(), begin()
		now := time.Now()
		within(t, s, db, func(tx *sql.Tx) error {
			info, err := s.dialect.Look(t.Context(), tx, a, now)
			if err != nil || info.Subject != "张伟" {
				t.Errorf("Look: %v, %v", info, err)
			}
			// Whoever ends it elsewhere waits for what was decided on it.
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := m.EndSID(ctx, "张伟", a, "sign_out"); err == nil {
				t.Error("a session ended under a transaction that looked at it")
			}
			return nil
		})
		within(t, s, db, func(tx *sql.Tx) error {
			if _, wrote, err := s.dialect.Use(t.Context(), tx, b, now.Add(10*time.Minute)); err != nil || !wrote {
				t.Errorf("Use: %v, %v", wrote, err)
			}
			return nil
		})
		within(t, s, db, func(tx *sql.Tx) error {
			_, err := s.dialect.End(t.Context(), tx, b, "sign_out", now)
			return err
		})
		within(t, s, db, func(tx *sql.Tx) error {
			if _, err := s.dialect.Look(t.Context(), tx, b, now); !errors.Is(err, session.ErrEnded) {
				t.Errorf("Look at what has ended: %v", err)
			}
			return s.dialect.Forget(t.Context(), tx, "张伟")
		})
		if l, err := store.List(t.Context(), "张伟", "", 10); len(l) != 0 || err != nil {
			t.Errorf("after Forget: %v, %v", l, err)
		}
		var none sqlstore.Dialect
		if none != sqlstore.SQLite {
			t.Error("the zero dialect is not SQLite")
		}
	})
}
