package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sqlstore"
)

// A SessionStore is the store of sessions of a database. It tells the feed what
// ends, in the transaction that ends it.
type SessionStore struct {
	*sqlstore.Store
	feed *Feed
}

// Swap implements session.Store.
func (s *SessionStore) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	e, ends := session.Ending(ctx)
	if !ends {
		return s.Store.Swap(ctx, key, old, it)
	}
	e.Until = e.At.Add(account.ToldFor)
	// Also where it failed: a commit may have happened all the same.
	defer s.feed.Wake()
	return s.Store.Swap(sqlstore.Also(ctx, func(ctx context.Context, tx *sql.Tx, _ sqlstore.Write) error {
		return s.feed.tell(ctx, tx, e.At, e)
	}), key, old, it)
}

// Tell implements account.Feed. The events are numbered at the end of the
// transaction, so that the row that numbers them is the last that is locked.
func (t *txn) Tell(events ...feed.Event) error {
	t.told = append(t.told, events...)
	return nil
}

// firstEpoch is how long the epoch is kept of a user who has API keys and never
// signed in: longer than what was made from them lives.
const firstEpoch = 24 * time.Hour

func (t *txn) tellRaised(user string, n uint64, reason string, now time.Time, err error) error {
	if err == nil && n == 0 {
		n, err = sqlstore.SQLite.BeginEpoch(t.ctx, t.tx, user, now, now.Add(firstEpoch))
	}
	if err != nil {
		return err
	}
	return t.Tell(feed.SubjectRaised(user, n, reason, now.Add(account.ToldFor)))
}

// tell gives events the next numbers. Whoever has changed the row of feed_head
// holds it until the commit, so that numbers are given in the order of commits,
// and a later one is never visible before an earlier one.
func (f *Feed) tell(ctx context.Context, tx *sql.Tx, now time.Time, events ...feed.Event) error {
	if len(events) == 0 {
		return nil
	}
	var id feed.ID
	if err := tx.StmtContext(ctx, f.number).QueryRowContext(ctx, len(events)).Scan((*epochText)(&id.Epoch), &id.Seq); err != nil {
		return fmt.Errorf("number an event: %w", err)
	}
	id.Seq -= uint64(len(events))
	for _, e := range events {
		id.Seq++
		stamped, err := e.Stamp(id, now)
		if err != nil {
			return err
		}
		text, err := json.Marshal(stamped)
		if err != nil {
			return fmt.Errorf("tell an event: %w", err)
		}
		if _, err := tx.StmtContext(ctx, f.insert).ExecContext(ctx, id.Seq, stamped.Until.UnixMilli(), string(text)); err != nil {
			return fmt.Errorf("tell an event: %w", err)
		}
	}
	return nil
}

// What the feed asks. A reading is one statement, so that the head and the events
// up to it are of one moment.
const (
	sqlNumber = "UPDATE feed_head SET seq = seq + ? WHERE id = 1 RETURNING epoch, seq"

	sqlTell = "INSERT INTO feed (seq, until, event) VALUES (?, ?, ?)"

	sqlNews = `SELECT h.epoch, h.seq, f.seq, f.event FROM feed_head h
		LEFT JOIN feed f ON f.seq > max(?, h.seq - ?) ORDER BY f.seq`

	sqlAll = `SELECT h.epoch, h.seq, f.seq, f.event FROM feed_head h
		LEFT JOIN feed f ON f.until > ? ORDER BY f.seq`

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
// Each opening of the database begins an epoch: a file that was put back from a
// copy does not know what it lost.
type Feed struct {
	read           *sql.DB
	number, insert *sql.Stmt // of the pool for writing
	followers      atomic.Int64

	mu   sync.Mutex
	wake chan struct{} // closed by the next Wake; nil if nobody waits; guarded by mu

	// Who has sent to turn may read, and has all below.
	turn chan struct{}
	past feed.Past // a copy may be read without the turn
	asOf time.Time // as of when it is the whole truth
}

// open prepares what tells. Parsed anew each time it would double what an ending
// costs.
func (f *Feed) open(ctx context.Context, write, read *sql.DB) (err error) {
	f.read, f.turn = read, make(chan struct{}, 1)
	if f.number, err = write.PrepareContext(ctx, sqlNumber); err == nil {
		f.insert, err = write.PrepareContext(ctx, sqlTell)
	}
	return classify(err)
}

// Feed returns the log as a feed.Source.
func (db *DB) Feed() *Feed { return &db.feed }

// Followers returns how many follow.
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
	f.followers.Add(1)
	defer f.followers.Add(-1)
	beat := time.NewTicker(feed.Heartbeat)
	defer beat.Stop()
	for {
		wake := f.woken()
		n, err := f.since(ctx, after, time.Now())
		if err != nil {
			return err
		}
		if err := hear(n); err != nil {
			return err
		}
		after = n.Head
		select {
		case <-wake:
		case <-beat.C:
		case <-ctx.Done():
		}
	}
}

// since returns what a follower at this position has to hear, from a reading that
// is not older than now.
func (f *Feed) since(ctx context.Context, after feed.ID, now time.Time) (feed.News, error) {
	if err := ctx.Err(); err != nil {
		return feed.News{}, err
	}
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return feed.News{}, ctx.Err()
	}
	var err error
	if f.asOf.Before(now) {
		err = f.readOn(ctx)
	}
	past, asOf := f.past, f.asOf
	<-f.turn
	switch {
	case ctx.Err() != nil:
		return feed.News{}, ctx.Err()
	case err != nil:
		return feed.News{}, classify(err)
	}
	return past.Since(after, asOf), nil
}

// readOn reads what is new, or everything where that does not lead on from what
// is known: nobody followed for so long that events in between were swept. It
// needs the turn.
func (f *Feed) readOn(ctx context.Context) error {
	now := time.Now()
	known := f.past.Head()
	head, events, err := f.query(ctx, sqlNews, known.Seq, recent)
	if err != nil {
		return err
	}
	if known.Epoch == head.Epoch && known.Seq+uint64(len(events)) == head.Seq {
		f.past.Add(now, events...)
	} else {
		if head, events, err = f.query(ctx, sqlAll, now.UnixMilli()); err != nil {
			return err
		}
		f.past = feed.NewPast(head, events, recent)
	}
	f.asOf = now
	return nil
}

// query returns the head and events, in the epoch of the head.
func (f *Feed) query(ctx context.Context, query string, args ...any) (head feed.ID, events []feed.Event, err error) {
	rows, err := f.read.QueryContext(ctx, query, args...)
	if err != nil {
		return head, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq sql.NullInt64
		var text sql.NullString
		if err := rows.Scan((*epochText)(&head.Epoch), &head.Seq, &seq, &text); err != nil {
			return head, nil, err
		}
		if !seq.Valid {
			continue // the head alone
		}
		e, err := feed.ParseEvent([]byte(text.String))
		if err != nil || int64(e.ID.Seq) != seq.Int64 {
			return head, nil, fmt.Errorf("%w: event %d is none (%v)", ErrCorrupt, seq.Int64, err)
		}
		e.ID.Epoch = head.Epoch
		events = append(events, e)
	}
	return head, events, rows.Err()
}

// SweepFeed removes up to limit events that matter no more, and returns how many.
func (db *DB) SweepFeed(ctx context.Context, now time.Time, limit int) (int, error) {
	n, err := changed(db.write.ExecContext(ctx, sqlSweepFeed, now.UnixMilli(), limit))
	return n, classify(err)
}
