// Package sqlstore keeps sessions in a SQL database.
//
// Most programs need [Dialect.Schema], run once by whoever makes the database, and
// [Dialect.New]. The database is SQLite, PostgreSQL, MySQL or MariaDB, through
// the program's own driver of database/sql; this package imports none.
//
// Reads never wait for writes. Writes that come at the same time share a
// transaction, and so a sync to disk: that is what bounds them.
package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit/session"
)

// Store is a [session.Store]. It also implements EpochGetter, Lister, Sweeper
// and Durable. It lives as long as its two pools, and needs no closing of its
// own. In SQLite a look-up takes about 10 µs; a lone writer waits for one sync of
// the disk, and 64 at once write six times as much a second, or more.
//
// Where the database does not answer, a read fails as unavailable after 5 s and a
// write after 10 s, if the context does not end before.
//
// A write whose context ends while it waits may still happen. What happened to
// a write that failed as unavailable is not known either, if it was the commit
// that failed.
type Store struct {
	dialect    Dialect
	durability session.Durability
	queue      queue

	swept     atomic.Int64 // the latest expiry that was removed: where the next step begins
	lookAgain atomic.Int64 // when Sweep may look behind that, in Unix nanoseconds

	get, getWithEpoch, list, listAll, due    *sql.Stmt // of the pool for reading
	add, swap, touch, version, remove, sweep *sql.Stmt // of the pool for writing
}

// New is SQLite.New.
func New(ctx context.Context, write, read *sql.DB) (*Store, error) {
	return SQLite.New(ctx, write, read)
}

// New returns a store in the database of two pools, which may be one and the same
// unless it is SQLite. For SQLite the one for writing must be of one connection
// (SetMaxOpenConns(1)) that begins with BEGIN IMMEDIATE, and the file in WAL mode;
// with synchronous=FULL what is acknowledged is on disk. The pool for writing is
// shared with whoever else writes to this database.
//
// In a pool of PostgreSQL or MySQL let as many connections be idle as may be open
// (SetMaxIdleConns), or every other look-up waits for a new one. A DSN of MySQL needs
// timeout, readTimeout and writeTimeout: without them its driver waits for ever for
// the answer to a commit.
func (d Dialect) New(ctx context.Context, write, read *sql.DB) (*Store, error) {
	durability, err := d.durability(ctx, write)
	if err != nil {
		return nil, fmt.Errorf("open session store: %w", err)
	}
	s := &Store{dialect: d, durability: durability, queue: queue{db: write, dialect: d}}
	t := d.texts()
	for _, p := range []struct {
		stmt **sql.Stmt
		db   *sql.DB
		text string
	}{
		{&s.get, read, t.get},
		{&s.getWithEpoch, read, t.getWithEpoch},
		{&s.list, read, t.list},
		{&s.listAll, read, t.listAll},
		{&s.due, read, t.due},
		{&s.add, write, t.add},
		{&s.swap, write, t.swap},
		{&s.touch, write, t.touch},
		{&s.version, write, t.version},
		{&s.remove, write, t.remove},
		{&s.sweep, write, t.sweep},
	} {
		if *p.stmt, err = p.db.PrepareContext(ctx, p.text); err != nil {
			return nil, fmt.Errorf("open session store: %w (is its table there? Dialect.Schema makes it)", err)
		}
	}
	return s, nil
}

// Stats is what a store has written.
type Stats struct {
	Transactions uint64
	Failed       uint64        // of them
	Took         time.Duration // together, waiting for the database's turn included
}

// Stats returns what the store has written since New. Most programs never call
// it: it is for whoever watches a server.
func (s *Store) Stats() Stats {
	return Stats{s.queue.done.Load(), s.queue.failed.Load(), time.Duration(s.queue.took.Load())}
}

// Get implements [session.Store].
func (s *Store) Get(ctx context.Context, key string) (session.Item, error) {
	if !keeps(key) {
		return session.Item{}, session.ErrNotFound
	}
	var r row
	err := s.read(ctx, func(ctx context.Context) error {
		return s.get.QueryRowContext(ctx, key).Scan(&r.value, &r.subject, &r.expires, &r.version)
	})
	if err != nil {
		return session.Item{}, err
	}
	return r.item(), nil
}

// GetWithEpoch implements [session.EpochGetter].
func (s *Store) GetWithEpoch(ctx context.Context, key string) (session.Item, session.Epoch, error) {
	if !keeps(key) {
		return session.Item{}, session.Epoch{}, session.ErrNotFound
	}
	var r row
	var epoch sql.NullString
	err := s.read(ctx, func(ctx context.Context) error {
		return s.getWithEpoch.QueryRowContext(ctx, key).Scan(&r.value, &r.subject, &r.expires, &r.version, &epoch)
	})
	if err != nil {
		return session.Item{}, session.Epoch{}, err
	}
	it := r.item()
	if it.Subject == "" {
		return it, session.Epoch{}, nil
	}
	if key := session.EpochKey(it.Subject); key[len(epochPrefix):] != it.Subject {
		// A subject that makes no key has its digest there, which SQL did not
		// look for.
		e, err := s.Get(ctx, key)
		if err != nil && !errors.Is(err, session.ErrNotFound) {
			return session.Item{}, session.Epoch{}, err
		}
		return it, session.ParseEpoch(e.Value), nil
	}
	return it, session.ParseEpoch(epoch.String), nil
}

// Add implements [session.Store].
func (s *Store) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	if err := session.CheckRecord(key, it); err != nil {
		return 0, err
	}
	// A random first version is none that the key had before.
	version := rand.Uint64N(maxFirst) + 1
	also := alsoOf(ctx)
	j := &job{key: key, alone: also == nil}
	j.run = func(ctx context.Context, tx *sql.Tx) (uint64, error) {
		n, err := exec(ctx, tx, s.add, key, []byte(it.Value), it.Subject, millis(it.Expires), int64(version))
		if err == nil && n == 0 {
			err = session.ErrConflict
		}
		if err == nil && also != nil {
			err = also(ctx, tx, Write{Key: key, Subject: it.Subject, Added: true, job: j})
		}
		return version, err
	}
	return s.queue.do(ctx, j)
}

// Swap implements [session.Store].
func (s *Store) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	if err := session.CheckRecord(key, it); err != nil {
		return 0, err
	}
	also := alsoOf(ctx)
	j := &job{key: key, alone: also == nil}
	j.run = func(ctx context.Context, tx *sql.Tx) (uint64, error) {
		n, err := exec(ctx, tx, s.swap, []byte(it.Value), it.Subject, millis(it.Expires), key, int64(old))
		if err == nil && n == 0 {
			if err = s.missed(ctx, tx, key, old); err == nil {
				err = session.ErrConflict
			}
		}
		if err == nil && also != nil {
			err = also(ctx, tx, Write{Key: key, Subject: it.Subject, job: j})
		}
		return old + 1, err
	}
	return s.queue.do(ctx, j)
}

// Touch implements [session.Store].
func (s *Store) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	if !keeps(key) {
		return session.ErrNotFound
	}
	ms := millis(expires)
	_, err := s.queue.do(ctx, &job{key: key, alone: true, run: func(ctx context.Context, tx *sql.Tx) (uint64, error) {
		n, err := exec(ctx, tx, s.touch, ms, key, int64(version), ms)
		if err == nil && n == 0 {
			err = s.missed(ctx, tx, key, version)
		}
		return 0, err
	}})
	return err
}

// missed says why an update found no record to change: nil where one has the key
// and the version, at least by now.
func (s *Store) missed(ctx context.Context, tx *sql.Tx, key string, version uint64) error {
	var stands int64
	err := within(ctx, tx, s.version).QueryRowContext(ctx, key).Scan(&stands)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return session.ErrNotFound
	case err == nil && uint64(stands) != version:
		return session.ErrConflict
	}
	return err
}

// Delete implements [session.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if !keeps(key) {
		return nil
	}
	_, err := s.queue.do(ctx, &job{key: key, alone: true, run: func(ctx context.Context, tx *sql.Tx) (uint64, error) {
		return exec(ctx, tx, s.remove, key)
	}})
	return err
}

// List implements [session.Lister].
func (s *Store) List(ctx context.Context, subject, after string, limit int) (found []session.Entry, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		found = nil
		var rows *sql.Rows
		var err error
		if subject == "" {
			rows, err = s.listAll.QueryContext(ctx, after, max(limit, 0))
		} else {
			rows, err = s.list.QueryContext(ctx, subject, after, max(limit, 0))
		}
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key string
			var r row
			if err := rows.Scan(&key, &r.value, &r.subject, &r.expires, &r.version); err != nil {
				return err
			}
			found = append(found, session.Entry{Key: key, Item: r.item()})
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

const (
	// sweepStep records are removed at a time, in about 1 ms, before other writes
	// have their turn.
	sweepStep = 64
	// Where looking behind takes longer than slowLook, it is done for a twentieth of
	// the time at most.
	slowLook   = 10 * time.Millisecond
	slowLookIn = 20
)

// Sweep implements [session.Sweeper]. While another replica sweeps a database that
// they share, it finds nothing to do.
//
// PostgreSQL and MySQL keep what was removed in the index, until nobody can see it
// any more: beside a backup, for hours. A step that began at the index's start would
// step over all that those before it removed, and 100,000 records would take a
// hundred times as long as 10,000. So a step begins where the one before it ended.
// Behind that there may be a record that was added late, or that somebody was at
// work on: it is looked for once there is nothing else to do, and as seldom as that
// is slow.
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int) (swept int, err error) {
	ms, from := millis(now), s.swept.Load()
	var turn *sql.Conn
	defer func() { s.endTurn(ctx, turn) }()
	for swept < limit {
		step := min(sweepStep, limit-swept)
		found, first, last, err := s.find(ctx, from, ms, step)
		if err == nil && found < step && from > 0 && time.Now().UnixNano() >= s.lookAgain.Load() {
			from = 0
			begun := time.Now()
			found, first, last, err = s.find(ctx, from, ms, step)
			if took := time.Since(begun); took > slowLook {
				s.lookAgain.Store(begun.Add(slowLookIn * took).UnixNano())
			}
		}
		if err != nil || found == 0 {
			return swept, err
		}
		if turn == nil && s.dialect == MySQL {
			if turn, err = s.takeTurn(ctx); turn == nil {
				return swept, err
			}
		}
		n, err := s.removeDue(ctx, turn, first, last, step)
		swept += int(n)
		if err != nil || int(n) < found {
			return swept, err // others are at work there
		}
		from = last
		s.swept.Store(last)
		if found < step {
			return swept, nil
		}
	}
	return swept, nil
}

// find looks for records that expired from one time to another, and returns how
// many there are, up to a limit, and the first and the last of those times.
func (s *Store) find(ctx context.Context, from, to int64, limit int) (found int, first, last int64, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		return s.due.QueryRowContext(ctx, from, to, limit).Scan(&found, &first, &last)
	})
	return found, first, last, err
}

// removeDue removes what find has found, as far as nobody else is at work on it. Turn is
// MySQL's: what is removed with it is a transaction by itself, and not one of those
// that wait for each other in the queue.
func (s *Store) removeDue(ctx context.Context, turn *sql.Conn, first, last int64, limit int) (uint64, error) {
	if turn == nil {
		return s.queue.do(ctx, &job{run: func(ctx context.Context, tx *sql.Tx) (uint64, error) {
			return exec(ctx, tx, s.sweep, first, last, limit)
		}})
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	res, err := turn.ExecContext(ctx, s.dialect.texts().sweep, first, last, limit)
	if s.dialect.Again(err) {
		return 0, nil
	} else if err != nil {
		return 0, readError(ctx, err)
	}
	n, err := res.RowsAffected()
	return uint64(n), err
}

// takeTurn takes the right to sweep, which one replica has at a time, and returns the
// connection whose it is; nil where another has it.
func (s *Store) takeTurn(ctx context.Context) (*sql.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	conn, err := s.queue.db.Conn(ctx)
	if err != nil {
		return nil, readError(ctx, err)
	}
	var ours sql.NullBool
	if err := conn.QueryRowContext(ctx, s.dialect.texts().turn).Scan(&ours); err != nil {
		s.endTurn(ctx, conn) // it may be ours all the same
		return nil, readError(ctx, err)
	}
	if !ours.Bool {
		conn.Close()
		return nil, nil
	}
	return conn, nil
}

// endTurn gives it back. A connection that went back into the pool with it would
// keep everybody else from sweeping for as long as it lives.
func (s *Store) endTurn(ctx context.Context, turn *sql.Conn) {
	if turn == nil {
		return
	}
	defer turn.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	if _, err := turn.ExecContext(ctx, s.dialect.texts().done); err != nil {
		turn.Raw(func(any) error { return driver.ErrBadConn }) // the connection goes, and its lock
	}
}

// Durability implements [session.Durable].
func (s *Store) Durability() session.Durability { return s.durability }

// RaiseEpoch raises a subject's epoch in a transaction of the caller's, so that
// all its sessions but one end with the commit, and returns the new epoch; 0
// where the subject has none and so no session. An empty except spares none,
// and one that was not good before stays so. A [session.Near] in front of the
// store must be told to forget session.EpochKey(subject) then.
func (d Dialect) RaiseEpoch(ctx context.Context, tx *sql.Tx, subject, except string) (uint64, error) {
	return d.raise(ctx, tx, subject, func(e session.Epoch) session.Epoch { return e.Next(except) })
}

// RaiseClaims is RaiseEpoch that ends no session, only the tokens that were made
// from the subject's sessions: what they say of it, such as its roles, has
// changed.
func (d Dialect) RaiseClaims(ctx context.Context, tx *sql.Tx, subject string) (uint64, error) {
	return d.raise(ctx, tx, subject, session.Epoch.NextClaims)
}

// BeginEpoch gives a subject its first epoch in a transaction of the caller's, as
// its first sign-in would, and returns it; it changes nothing where there is one.
// It is for subjects that have other credentials than sessions. Forgotten at
// expires, the epoch after it is later all the same, for it is the time.
func (d Dialect) BeginEpoch(ctx context.Context, tx *sql.Tx, subject string, now, expires time.Time) (uint64, error) {
	epoch := session.Epoch{N: uint64(max(now.UnixMilli(), 1))}
	// The owner is that of all epochs, who has no sessions.
	if _, err := tx.ExecContext(ctx, d.texts().add, session.EpochKey(subject), []byte(epoch.String()), "*", millis(expires), rand.Int64N(maxFirst)+1); err != nil {
		return 0, fmt.Errorf("begin epoch: %w", err)
	}
	epoch, err := d.ReadEpoch(ctx, tx, subject)
	return epoch.N, err
}

// ReadEpoch returns a subject's epoch as a transaction of the caller's sees it,
// the zero one where it has none: the "sev" of tokens that say what else is read
// in the same transaction.
func (d Dialect) ReadEpoch(ctx context.Context, tx *sql.Tx, subject string) (session.Epoch, error) {
	var r row
	err := tx.QueryRowContext(ctx, d.texts().forShare, session.EpochKey(subject)).Scan(&r.value, &r.subject, &r.expires, &r.version)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return session.Epoch{}, fmt.Errorf("read epoch: %w", err)
	}
	return session.ParseEpoch(r.value), nil
}

func (d Dialect) raise(ctx context.Context, tx *sql.Tx, subject string, next func(session.Epoch) session.Epoch) (uint64, error) {
	key := session.EpochKey(subject)
	for {
		var r row
		err := tx.QueryRowContext(ctx, d.texts().forUpdate, key).Scan(&r.value, &r.subject, &r.expires, &r.version)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("raise epoch: %w", err)
		}
		epoch := next(session.ParseEpoch(r.value))
		res, err := tx.ExecContext(ctx, d.texts().raise, []byte(epoch.String()), key, r.version)
		if err != nil {
			return 0, fmt.Errorf("raise epoch: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return epoch.N, err
		}
	}
}

// within returns a statement of a transaction, or one that is its own where there
// is none.
func within(ctx context.Context, tx *sql.Tx, stmt *sql.Stmt) *sql.Stmt {
	if tx == nil {
		return stmt
	}
	return tx.StmtContext(ctx, stmt)
}

// exec returns how many rows were touched.
func exec(ctx context.Context, tx *sql.Tx, stmt *sql.Stmt, args ...any) (uint64, error) {
	res, err := within(ctx, tx, stmt).ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return uint64(n), err
}

// readTimeout bounds a read of a database that is elsewhere.
const readTimeout = 5 * time.Second

// readTries bounds how often a read is asked for, over another connection each
// time: after an outage a pool may hold several that are broken, and a read that was
// lost has changed nothing.
const readTries = 5

// bound returns the context of one read. SQLite needs none: it is in the process,
// and waits for nobody.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.dialect == SQLite {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, readTimeout)
}

// keeps reports whether a key can be that of a record. A database whose text is
// UTF-8 takes any other for a mistake.
func keeps(key string) bool { return session.CheckRecord(key, session.Item{}) == nil }

// read runs fn, which only reads, until it has an answer or there is no time left.
func (s *Store) read(ctx context.Context, fn func(context.Context) error) error {
	within, cancel := s.bound(ctx)
	defer cancel()
	for try := 1; ; try++ {
		err := fn(within)
		if err == nil {
			return nil
		}
		if try == readTries || s.dialect == SQLite || errors.Is(err, sql.ErrNoRows) || within.Err() != nil {
			return readError(ctx, err)
		}
	}
}

// readError tells "no such record" and the context's end from a failure.
func readError(ctx context.Context, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return session.ErrNotFound
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
}

// A row is a record as it is kept.
type row struct {
	value, subject   string
	expires, version int64
}

func (r *row) item() session.Item {
	return session.Item{
		Value:   r.value,
		Subject: r.subject,
		Expires: time.UnixMilli(r.expires),
		Version: uint64(r.version),
	}
}

// maxFirst leaves room to count up: versions stay below 1<<48.
const maxFirst = 1 << 47

// millis is the expiry as it is kept.
func millis(t time.Time) int64 { return max(t.UnixMilli(), 0) }
