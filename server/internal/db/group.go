package db

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// maxGroup updates share a transaction, so that none waits for long before the
// commit that makes it durable: some 20 ms.
const maxGroup = 64

// writeTries bounds how often a write is run that met another at work.
const writeTries = 5

// A group lets updates that come at the same time share a transaction, for it is
// the sync to disk that costs. Whoever comes when nobody is at work leads, as in
// package sqlstore: it runs those that wait, each behind a savepoint, so that of
// one that is refused nothing is left; commits; and lets the first of those who
// came meanwhile lead.
type group struct {
	mu      sync.Mutex
	busy    bool      // somebody leads; guarded by mu
	waiting []*update // the first one leads next; guarded by mu
}

// An update is one call of Update. It may run more than once, each time where
// nothing is left of the time before.
type update struct {
	ctx  context.Context
	fn   func(account.Tx) error
	kept *txn // what was committed, or may have been
	err  error
	died any       // what fn panicked with
	turn chan bool // false: all that is there; true: lead
}

// do runs one, and returns the transaction where it may have been kept: always
// without an error, and with one where the commit failed.
func (g *group) do(ctx context.Context, db *DB, fn func(account.Tx) error) (*txn, error) {
	u := &update{ctx: ctx, fn: fn, turn: make(chan bool, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, u)
	lead := !g.busy
	g.busy = true
	g.mu.Unlock()
	if !lead {
		select {
		case lead = <-u.turn:
		case <-ctx.Done():
			if g.withdraw(u) {
				return nil, ctx.Err()
			}
			lead = <-u.turn // it is under way, and each group ends in time
		}
	}
	if lead {
		g.lead(db)
	}
	if u.died != nil {
		panic(u.died)
	}
	return u.kept, u.err
}

// withdraw takes one back that nobody runs yet.
func (g *group) withdraw(u *update) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, u)
	if i < 0 {
		return false
	}
	select {
	case <-u.turn: // it was to lead
		g.waiting = slices.Delete(g.waiting, i, i+1)
		g.pass()
	default:
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return true
}

// pass lets the next one lead. The group is locked.
func (g *group) pass() {
	if len(g.waiting) == 0 {
		g.busy, g.waiting = false, nil
		return
	}
	g.waiting[0].turn <- true
}

// lead runs those who wait. The caller's own is the first of them.
func (g *group) lead(db *DB) {
	g.mu.Lock()
	n := min(len(g.waiting), maxGroup)
	all := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.mu.Unlock()
	defer func() {
		for _, u := range all[1:] {
			u.turn <- false
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.pass()
	}()
	if n > 1 && db.together(all) {
		return
	}
	for i, u := range all {
		for try := 1; ; try++ {
			db.together(all[i : i+1])
			// It met another at work, such as who ends a session: of two in a
			// deadlock one goes on.
			if try == writeTries || u.kept != nil || u.died != nil || !db.write.sessions().Again(u.err) {
				break
			}
		}
	}
}

// together runs updates in one transaction. It reports false, and nothing is
// kept, where one of several failed in a way that a savepoint may not mend, such
// as a full disk, which takes the whole transaction along: each is then run in
// its own, so that it harms nobody else.
func (db *DB) together(all []*update) (done bool) {
	begun := time.Now()
	var failed error
	defer func() {
		db.counts.done.Add(1)
		db.counts.took.Add(int64(time.Since(begun)))
		if failed != nil {
			db.counts.failed.Add(1)
		}
	}()
	deadline := begun.Add(writeTimeout)
	if d, ok := all[0].ctx.Deadline(); ok && db.write.dialect == inPostgres && d.Before(deadline) {
		deadline = d // who waits for a database that does not answer waits once
	}
	ctx := context.WithoutCancel(all[0].ctx)
	whole, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if db.write.dialect == inPostgres {
		ctx = whole
	}
	seen := db.near.now()
	tx, err := db.write.beginWriting(whole)
	if err != nil {
		failed = err
		for _, u := range all {
			u.err = err
		}
		return true
	}
	defer tx.Rollback()
	var kept []*update
	var c closing // of those that are kept: last is what others wait for
	for _, u := range all {
		// What cancels one request must not interrupt a statement: SQLite would
		// undo the whole transaction. The driver of SQLite would start a goroutine for
		// each statement to watch for it, which is as much work as the statement.
		own := context.WithoutCancel(u.ctx)
		if db.write.dialect == inPostgres {
			var cancel context.CancelFunc
			own, cancel = context.WithDeadline(own, deadline)
			defer cancel()
		}
		t := &txn{ctx: own, under: tx, in: db.write.sessions(), now: begun, before: &c, began: seen, unsafe: len(all) > 1}
		unwritten := c
		db.one(u, t, len(all) > 1)
		switch {
		case u.err == nil && u.died == nil:
			u.kept = t
			kept = append(kept, u)
			c.add(t.closing)
		case u.died == nil && !refused(u.err):
			failed = u.err
			if len(all) > 1 {
				return false
			}
		default:
			c = unwritten // what it had flushed was undone with it
		}
	}
	if len(kept) == 0 {
		return true
	}
	// Also where the commit failed: it may have happened all the same.
	defer db.near.forgetOf(tx, c.accounts)
	if failed = tx.conclude(ctx, begun, c); failed != nil {
		if len(kept) > 1 {
			return false
		}
		kept[0].kept, kept[0].err = nil, failed
		return true
	}
	failed = tx.Commit()
	for _, u := range kept {
		u.err = failed
	}
	return true
}

const (
	savepoint = "SAVEPOINT one"
	back      = "ROLLBACK TO one"
	release   = "RELEASE one"
)

// one runs an update in a transaction that it may share.
func (db *DB) one(u *update, t *txn, shared bool) {
	u.kept, u.err, u.died = nil, nil, nil
	func() {
		defer func() { u.died = recover() }()
		u.err = u.fn(t)
	}()
	switch {
	case t.failed != nil:
		u.err, u.died = t.failed, nil // all of it runs once more
		return
	case !shared || u.err != nil && !refused(u.err):
		return
	case t.unsafe: // it has done without a statement
		return
	}
	var err error
	if u.err != nil || u.died != nil {
		err = t.exec(back)
	}
	if err == nil {
		err = t.exec(release)
	}
	if err != nil {
		u.err, u.died = err, nil // all of it runs once more
	}
}

// refused reports whether fn said no, and no statement failed.
func refused(err error) bool {
	e, ok := errors.AsType[*admit.Error](err)
	return ok && !errors.Is(e, admit.Unavailable)
}
