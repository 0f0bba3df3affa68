package server

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

func TestRecordsGoWhenTheyAreOldEnoughAndNotBefore(t *testing.T) {
	for _, c := range []struct {
		name, keep string
		days, left int
	}{
		{"young ones stay", "400d", 399, 1200},
		{"old ones go, in steps", "400d", 401, 0},
		{"400 days is what holds where nothing is set", "", 401, 0},
		{"with 0 they stay for ever", "0", 4000, 1200},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := New(t.Context(), Config{Data: t.TempDir(), AuditKeep: c.keep, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				for range 1200 {
					r := account.By{Actor: "operator"}.Record(time.Now().AddDate(0, 0, -c.days), "ann", "old", "")
					if err := s.accounts.Note(t.Context(), r); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan bool)
				go func() { s.sweepAudit(ctx); close(done) }()
				count := func() int {
					records, _, err := s.accounts.Records(t.Context(), &account.RecordQuery{Event: "old", Limit: 5000})
					if err != nil {
						t.Fatal(err)
					}
					return len(records)
				}
				time.Sleep(59 * time.Minute)
				if n := count(); n != 1200 {
					t.Errorf("%d records are left before the first hour is over", n)
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if n := count(); n != c.left {
					t.Errorf("%d records are left, want %d", n, c.left)
				}
				cancel()
				<-done
			})
		})
	}
}
