package db

import (
	"context"
	"os"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit/session"
)

// Stats is what whoever watches a server wants to know of its database.
type Stats struct {
	Transactions uint64        // of accounts, since Open
	Failed       uint64        // of them, refusals not counted
	Took         time.Duration // together, waiting for their turn included
	Waits        int64         // times that a write waited for the one before
	Waited       time.Duration // together
	Bytes        int64         // of the file and of its write-ahead log
}

// counts is what Update counts.
type counts struct {
	done, failed atomic.Uint64
	took         atomic.Int64 // nanoseconds
}

// Stats reads the numbers; no query is made.
func (db *DB) Stats() Stats {
	pool := db.write.Stats()
	s := Stats{
		Transactions: db.counts.done.Load(), Failed: db.counts.failed.Load(), Took: time.Duration(db.counts.took.Load()),
		Waits: pool.WaitCount, Waited: pool.WaitDuration,
	}
	for _, file := range []string{db.file, db.file + "-wal"} {
		if info, err := os.Stat(file); err == nil {
			s.Bytes += info.Size()
		}
	}
	return s
}

// Outbox returns how many messages wait, and since when the oldest does.
func (db *DB) Outbox(ctx context.Context) (waiting int, oldest time.Time, err error) {
	var at int64
	err = db.read.QueryRowContext(ctx, "SELECT count(*), coalesce(min(at), 0) FROM outbox").Scan(&waiting, &at)
	if waiting > 0 {
		oldest = time.UnixMilli(at)
	}
	return waiting, oldest, classify(err)
}

// SessionRecords counts the records of sessions that have not expired. It reads
// an index from end to end, 50 ns a record, and must not be called often. Those
// that a user's new epoch ended are counted until they would have expired, and
// those that were ended one by one for a minute.
func (db *DB) SessionRecords(ctx context.Context, now time.Time) (n int64, err error) {
	// Epochs are records of the same table, whose keys begin with a prefix that
	// no session's has.
	prefix := session.EpochKey("")
	err = db.read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM sessions WHERE expires > ?) -
		(SELECT count(*) FROM sessions WHERE id >= ? AND id < ?)`, now.UnixMilli(), prefix, prefix+string(utf8.MaxRune)).Scan(&n)
	return max(n, 0), classify(err)
}
