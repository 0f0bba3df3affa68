package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit/session"
)

const (
	// maxBatch writes share a transaction: with a sync of 1 ms and 15 µs a
	// statement, more would make each wait without making all faster.
	maxBatch = 128
	// writeTimeout bounds a write, waiting for its turn included.
	writeTimeout = 10 * time.Second
	// maxTries is how often a transaction is run again that met others at work:
	// of two in a deadlock one goes on, so few meet twice.
	maxTries = 4
)

// A queue lets writes share transactions, for it is the sync to disk that costs.
// Whoever comes when a lane is free leads: it runs what waits, tells each its own
// outcome, and lets the first of those who came meanwhile lead. So no goroutine is
// needed, and nobody works for others longer than one batch.
type queue struct {
	db      *sql.DB
	dialect Dialect
	mu      sync.Mutex
	leading int    // how many lead; guarded by mu
	called  bool   // the first who waits is one of them and has not begun; guarded by mu
	waiting []*job // guarded by mu

	done, failed atomic.Uint64 // transactions
	took         atomic.Int64  // nanoseconds
}

// A job is one write. It may run more than once, each time in a transaction
// that nothing is left of.
type job struct {
	key   string // of the record
	alone bool   // it can run without a transaction; tx is nil then
	run   func(context.Context, *sql.Tx) (uint64, error)
	last  []func(context.Context, *sql.Tx) error // what run has left for the end
	n     uint64
	err   error
	late  error     // its answer when its time is up
	turn  chan bool // false: n and err are there; true: lead
	left  bool      // nobody waits for it any more; guarded by queue.mu
}

// do runs a write. Its error is an answer of the write's, or it is unavailable,
// or the context's: then the write may yet happen or have happened.
func (q *queue) do(ctx context.Context, j *job) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	j.late, j.turn = context.DeadlineExceeded, make(chan bool, 1)
	end := time.Now().Add(writeTimeout)
	if own, ok := ctx.Deadline(); !ok || end.Before(own) {
		j.late = session.ErrUnavailable
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	q.mu.Lock()
	q.waiting = append(q.waiting, j)
	lead := q.leading < q.dialect.lanes() && len(q.waiting) == 1
	if lead {
		q.leading, q.called = q.leading+1, true
	}
	q.mu.Unlock()
	if !lead {
		select {
		case lead = <-j.turn:
		case <-ctx.Done():
			q.withdraw(j)
			if errors.Is(ctx.Err(), context.Canceled) {
				return 0, ctx.Err()
			}
			return 0, j.late
		}
	}
	if lead {
		q.lead(ctx)
	}
	if j.err != nil {
		return 0, j.err
	}
	return j.n, nil
}

// withdraw takes a write back that has not begun.
func (q *queue) withdraw(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j.left = true
	if i := slices.Index(q.waiting, j); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	select {
	case lead := <-j.turn:
		if lead {
			q.called = false
			q.pass()
		}
	default:
	}
}

// pass lets the next one lead, or nobody where none waits. The queue is locked.
func (q *queue) pass() {
	if q.called || len(q.waiting) == 0 {
		q.leading--
		return
	}
	q.called = true
	q.waiting[0].turn <- true
}

// lead runs one batch. The caller's own write is the first of it.
func (q *queue) lead(ctx context.Context) {
	q.mu.Lock()
	n := min(len(q.waiting), maxBatch)
	batch := q.waiting[:n:n]
	q.waiting, q.called = q.waiting[n:], false
	if len(q.waiting) == 0 {
		q.waiting = nil
	} else if q.leading < q.dialect.lanes() {
		q.leading++
		q.pass()
	}
	q.mu.Unlock()
	for _, j := range batch {
		j.err = session.ErrUnavailable // unless it is told otherwise: a driver may panic
	}
	var again []*job
	defer func() {
		for _, j := range batch[1 : n-len(again)] {
			j.turn <- false
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		again = slices.DeleteFunc(again, func(j *job) bool { return j.left }) // those could not lead
		at := 0
		if q.called {
			at = 1 // who leads is the first of its batch
		}
		q.waiting = slices.Insert(q.waiting, at, again...)
		q.pass()
	}()
	again = q.run(ctx, batch)
}

// run runs a batch in one transaction, or each write in its own where a
// statement fails, so that a bad one harms nobody else. It returns those that
// were not run because the leader's own time was up.
func (q *queue) run(ctx context.Context, batch []*job) []*job {
	// A request that is cancelled takes nobody along, but none may outstay its
	// deadline.
	end, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	size, tries := len(batch), 0
	for i := 0; i < len(batch); {
		part := batch[i : i+size]
		at, err := q.attempt(ctx, part)
		switch {
		case err == nil:
			i, tries = i+size, 0
		case at != committing && !time.Now().Before(end): // a driver may notice before the context does
			if i == 0 {
				batch[0].err = batch[0].late
				i = 1
			}
			return batch[i:]
		case tries < maxTries && (q.dialect.Again(err) || at == beginning && q.dialect != SQLite || at != committing && errors.Is(err, driver.ErrBadConn)):
			// A connection from before an outage may take a while to be found out,
			// and what did not begin has changed nothing.
			tries++
		case at == running && size > 1:
			size, tries = 1, 0
		default:
			for _, j := range part {
				j.err = fmt.Errorf("%w: %w", session.ErrUnavailable, err)
			}
			i, tries = i+size, 0
		}
	}
	return nil
}

// A stage is how far an attempt came: what fails in committing may have
// happened, what fails before has not.
type stage uint8

const (
	beginning stage = iota
	running
	committing
)

// attempt runs writes in one transaction.
func (q *queue) attempt(ctx context.Context, part []*job) (_ stage, err error) {
	if len(part) > 1 {
		// All replicas lock records in one order, so that they seldom wait for
		// each other in a circle. Whoever waits here has not been answered, so
		// any order is as good.
		part = slices.Clone(part)
		slices.SortStableFunc(part, func(a, b *job) int { return strings.Compare(a.key, b.key) })
	}
	defer func(begun time.Time) {
		q.done.Add(1)
		q.took.Add(int64(time.Since(begun)))
		if err != nil {
			q.failed.Add(1)
		}
	}(time.Now())
	if j := part[0]; len(part) == 1 && j.alone && q.dialect == PostgreSQL {
		// One trip, not three. In MySQL a statement whose caller has gone goes on
		// to wait for a lock, and would be kept when nobody expects it any more.
		if j.n, j.err = j.run(ctx, nil); failed(j.err) {
			return committing, j.err
		}
		return committing, nil
	}
	tx, err := q.db.BeginTx(ctx, q.dialect.isolation())
	if err != nil {
		return beginning, err
	}
	defer tx.Rollback()
	for _, j := range part {
		j.last = nil
		j.n, j.err = j.run(ctx, tx)
		if failed(j.err) {
			return running, j.err
		}
	}
	for _, j := range part {
		for _, fn := range j.last {
			if err := fn(ctx, tx); err != nil {
				return running, &alongError{err}
			}
		}
	}
	err = tx.Commit()
	if err == sql.ErrTxDone || err == context.DeadlineExceeded {
		// Its time was up before the commit was sent. A driver whose time was up
		// while it waited for the answer wraps its error.
		return running, err
	}
	return committing, err
}

// failed reports whether an error is none of the answers that a write can have.
func failed(err error) bool {
	return err != nil && !errors.Is(err, session.ErrConflict) && !errors.Is(err, session.ErrNotFound)
}
