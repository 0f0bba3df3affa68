package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sqlstore"
)

// A SessionStore is the store of sessions of a database. It tells the feed what
// ends, in the transaction that ends it.
type SessionStore struct {
	*sqlstore.Store
	db *DB
}

// Swap implements session.Store.
func (s *SessionStore) Swap(ctx context.Context, key string, old uint64, it session.Item) (version uint64, err error) {
	e, ends := session.Ending(ctx)
	if !ends {
		defer func() { s.forget(key, err, nil) }()
		return s.Store.Swap(ctx, key, old, it)
	}
	var beside *tx // the last that was tried
	e.Until = e.At.Add(account.ToldFor)
	// Also where it failed: a commit may have happened all the same.
	defer func() {
		s.forget(key, err, &beside) // before anybody hears of it
		s.db.feed.Wake()
	}()
	return s.Store.Swap(s.db.along(ctx, e.At, func(ctx context.Context, t *tx, _ sqlstore.Write) (closing, error) {
		beside = t
		grants, err := t.endedBy(ctx, e, it)
		return closing{events: append(grants, e)}, err
	}), key, old, it)
}

// Add implements session.Store. It may be the epoch of a subject that had none.
func (s *SessionStore) Add(ctx context.Context, key string, it session.Item) (version uint64, err error) {
	defer func() { s.forget(key, err, nil) }()
	return s.Store.Add(ctx, key, it)
}

// Delete implements session.Store.
func (s *SessionStore) Delete(ctx context.Context, key string) (err error) {
	defer func() { s.forget(key, err, nil) }()
	return s.Store.Delete(ctx, key)
}

// forget forgets copies of what was written under a key, and beside it. A write that has
// run out of time, or that nobody waits for any more, may happen yet: grants that end
// beside it stand on the session or the user, of which nothing is kept until then.
func (s *SessionStore) forget(key string, err error, beside **tx) {
	n := s.db.near
	if n == nil {
		return
	}
	rows := []nearRow{{ofSession, key}}
	if subject, ok := strings.CutPrefix(key, session.EpochKey("")); ok {
		rows = []nearRow{{ofEpoch, subject}, {ofUser, subject}}
	}
	switch {
	case errors.Is(err, admit.Unavailable):
		n.doubt(time.Now())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		n.doubt(time.Now(), rows...)
	default:
		n.forget(rows...)
		if beside != nil && *beside != nil {
			n.forget((*beside).stale...)
		}
	}
}

// along returns a context under which what fn returns is written last in the
// transaction of a session's.
func (db *DB) along(ctx context.Context, now time.Time, fn func(context.Context, *tx, sqlstore.Write) (closing, error)) context.Context {
	return sqlstore.Also(ctx, func(ctx context.Context, t *sql.Tx, w sqlstore.Write) error {
		c, err := fn(ctx, &tx{Tx: t, pool: db.write}, w)
		if err == nil && len(c.records)+len(c.events) > 0 {
			w.Last(func(ctx context.Context, t *sql.Tx) error {
				return (&tx{Tx: t, pool: db.write}).conclude(ctx, now, c)
			})
		}
		return err
	})
}

// Tell implements account.Feed. The events are numbered at the end of the
// transaction, so that the row that numbers them is the last that is locked.
func (t *txn) Tell(events ...feed.Event) error {
	t.closing.events = append(t.closing.events, events...)
	return nil
}

// firstEpoch is how long the epoch is kept of a user who has API keys and never
// signed in: longer than what was made from them lives.
const firstEpoch = 24 * time.Hour

func (t *txn) tellRaised(user string, n uint64, reason string, now time.Time, err error) error {
	if err == nil && n == 0 {
		n, err = t.in.BeginEpoch(t.ctx, t.tx().Tx, user, now, now.Add(firstEpoch))
	}
	if err != nil {
		return err
	}
	return t.Tell(feed.SubjectRaised(user, n, reason, now.Add(account.ToldFor)))
}

// What the feed asks. A reading is one statement, so that the head and the events
// up to it are of one moment.
var sqlNews = both{
	sqlite:   sqlHead + "LEFT JOIN feed f ON f.seq > max(?, h.seq - ?) ORDER BY f.seq",
	postgres: sqlHead + "LEFT JOIN feed f ON f.seq > greatest(?, h.seq - ?) ORDER BY f.seq",
}

const (
	sqlHead = "SELECT h.epoch, h.seq, h.accounts, h.keys, f.seq, f.event FROM feed_head h "
	sqlAll  = sqlHead + "LEFT JOIN feed f ON f.until > ? ORDER BY f.seq"

	sqlSweepFeed = "DELETE FROM feed WHERE seq IN (SELECT seq FROM feed WHERE until <= ? ORDER BY until LIMIT ?)"
)

// epochText is an epoch as feed_head has it.
type epochText feed.Epoch

// Scan implements sql.Scanner.
func (e *epochText) Scan(value any) error {
	text, _ := value.(string)
	id, err := feed.ParseID(text + "-0")
	*e = epochText(id.Epoch)
	return err
}

// recent is how many of the latest events a follower may be behind before it
// hears a snapshot instead.
const recent = 4096

// A Feed is the database's log of what has ended, as its followers see it. All of
// them share one reader: it reads on when one of them asks for what is newer than
// the last reading. So a wake only wakes, and what counts is read from the log.
//
// Each opening of a file begins an epoch: one that was put back from a copy does
// not know what it lost. In PostgreSQL replicas share one (see checkLife).
type Feed struct {
	read      *pool
	followers atomic.Int64

	mu   sync.Mutex
	wake chan struct{} // closed by the next Wake; nil if nobody waits; guarded by mu

	// Who has sent to turn may read, and has all below.
	turn chan struct{}
	past feed.Past // a copy may be read without the turn
	asOf time.Time // as of when it is the whole truth
	seen copies    // likewise
}

// copies count the changes of what others keep copies of.
type copies struct{ accounts, keys int64 }

// Feed returns the log as a feed.Source.
func (db *DB) Feed() *Feed { return &db.feed }

// Served is the feed as services follow it: those are counted, and the server itself is not.
func (f *Feed) Served() feed.Source { return served{f} }

type served struct{ *Feed }

// Follow implements feed.Source.
func (s served) Follow(ctx context.Context, after feed.ID, hear func(feed.News) error) error {
	s.followers.Add(1)
	defer s.followers.Add(-1)
	return s.Feed.Follow(ctx, after, hear)
}

// Followers returns how many services follow.
func (f *Feed) Followers() int { return int(f.followers.Load()) }

// Wake has followers look whether there is something new.
func (f *Feed) Wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

func (f *Feed) woken() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wake == nil {
		f.wake = make(chan struct{})
	}
	return f.wake
}

// Follow implements feed.Source.
func (f *Feed) Follow(ctx context.Context, after feed.ID, hear func(feed.News) error) error {
	beat := time.NewTicker(feed.Heartbeat)
	defer beat.Stop()
	for asOf := time.Now(); ; {
		wake := f.woken()
		n, err := f.since(ctx, after, asOf)
		if err != nil {
			return err
		}
		if err := hear(n); err != nil {
			return err
		}
		after = n.Head
		select {
		case <-wake:
			asOf = time.Now()
		case <-beat.C:
			// Nobody waits for it, so followers share a reading of a moment ago.
			asOf = time.Now().Add(-feed.Heartbeat / 10)
		case <-ctx.Done():
		}
	}
}

// since returns what a follower at this position has to hear, from a reading that
// is not older than now.
func (f *Feed) since(ctx context.Context, after feed.ID, now time.Time) (feed.News, error) {
	past, asOf, _, err := f.reading(ctx, now)
	if err != nil {
		return feed.News{}, err
	}
	return past.Since(after, asOf), nil
}

// reading is one that is not older than now.
func (f *Feed) reading(ctx context.Context, now time.Time) (past feed.Past, asOf time.Time, seen copies, err error) {
	if err := ctx.Err(); err != nil {
		return past, asOf, seen, err
	}
	bounded, cancel := f.read.bound(ctx) // the turn included: many wait while the database does not answer
	defer cancel()
	select {
	case f.turn <- struct{}{}:
	case <-bounded.Done():
		if ctx.Err() != nil {
			return past, asOf, seen, ctx.Err()
		}
		return past, asOf, seen, classify(bounded.Err())
	}
	if f.asOf.Before(now) {
		err = f.readOn(bounded)
	}
	past, asOf, seen = f.past, f.asOf, f.seen
	<-f.turn
	if ctx.Err() != nil {
		return past, asOf, seen, ctx.Err()
	}
	return past, asOf, seen, classify(err)
}

// readOn reads what is new, or everything where that does not lead on from what
// is known: nobody followed for so long that events in between were swept. It
// needs the turn.
func (f *Feed) readOn(ctx context.Context) error {
	now := time.Now()
	known := f.past.Head()
	head, seen, events, err := f.query(ctx, f.read.of(sqlNews), known.Seq, recent)
	if err != nil {
		return err
	}
	if known.Epoch == head.Epoch && known.Seq+uint64(len(events)) == head.Seq {
		f.past.Add(now, events...)
	} else {
		if head, seen, events, err = f.query(ctx, sqlAll, now.UnixMilli()); err != nil {
			return err
		}
		f.past = feed.NewPast(head, events, recent)
	}
	f.asOf, f.seen = now, seen
	return nil
}

// query returns the head and events, in the epoch of the head.
func (f *Feed) query(ctx context.Context, query string, args ...any) (head feed.ID, seen copies, events []feed.Event, err error) {
	rows, err := f.read.QueryContext(ctx, query, args...)
	if err != nil {
		return head, seen, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq sql.NullInt64
		var text sql.NullString
		if err := rows.Scan((*epochText)(&head.Epoch), &head.Seq, &seen.accounts, &seen.keys, &seq, &text); err != nil {
			return head, seen, nil, err
		}
		if !seq.Valid {
			continue // the head alone
		}
		e, err := feed.ParseEvent([]byte(text.String))
		if err != nil || int64(e.ID.Seq) != seq.Int64 {
			return head, seen, nil, fmt.Errorf("%w: event %d is none (%v)", ErrCorrupt, seq.Int64, err)
		}
		e.ID.Epoch = head.Epoch
		events = append(events, e)
	}
	return head, seen, events, rows.Err()
}

// SweepFeed removes up to limit events that matter no more, and returns how many.
func (db *DB) SweepFeed(ctx context.Context, now time.Time, limit int) (int, error) {
	n, err := changed(db.write.ExecContext(ctx, sqlSweepFeed, now.UnixMilli(), limit))
	return n, classify(err)
}
