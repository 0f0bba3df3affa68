// Package db keeps the server's accounts and sessions in a SQL database: SQLite
// in a file, or PostgreSQL, which servers share.
//
// Open makes or migrates it. A [DB] is an account.Store; its pools serve
// sqlstore too, so that what ends sessions and what keeps them is one
// transaction.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	sqlite "modernc.org/sqlite"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/postgres"
	"github.com/admit-auth/admit/server/internal/trace"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sqlstore"
)

// What can be wrong with a database.
var (
	ErrCorrupt     = admit.Unavailable.New("database_corrupt", "The database file is damaged or is no database.").WithHint("restore a backup: the runbook's page database-corrupt.md tells how, and what to try first")
	ErrNewer       = admit.Unavailable.New("database_newer", "The database was made by a newer version of admit.").WithHint("run that version: the runbook's page roll-back.md tells what else there is")
	ErrSchema      = admit.Unavailable.New("schema_unknown", "The database's schema is not one that this program made.").WithHint("run the version that made it: the runbook's page roll-back.md tells what else there is")
	ErrFull        = admit.Unavailable.New("disk_full", "The disk is full.").WithHint("make room; nothing that was acknowledged is lost")
	ErrUnavailable = admit.Unavailable.New("database_unavailable", "The database cannot be used just now.").WithHint("is the disk full, the folder not writable, or PostgreSQL away?")
)

// writeTimeout bounds a transaction, waiting for its turn included.
const writeTimeout = 10 * time.Second

// quickCheck is the size up to which a file is checked before the server
// starts: 32 MiB take some 100 ms. A larger one is checked by Check.
const quickCheck = 32 << 20

// A DB is an open database.
type DB struct {
	file        string // "" where it is none
	write, read *pool
	counts      counts
	group       group
	near        *near // nil where others write to the database

	feed  Feed
	heard atomic.Int64 // when Heed read last, in nanoseconds since begun
	begun time.Time
	url   string // of PostgreSQL

	schema  Schema
	checked bool // before the start was over
	damage  atomic.Pointer[error]

	// Raised is told, after the commit and before Update returns, which
	// subjects may have a new epoch, and whether their sessions ended with it.
	// Set it before the first use.
	Raised func(subject string, ended bool)
	// Changed is told likewise which sessions were used or ended.
	Changed func(sid string)
	// Told is told likewise what the feed is told.
	Told func([]feed.Event)
}

// Open opens the SQLite database in a file, which it makes where there is none,
// or the PostgreSQL database of a URL, and brings its schema up to date.
//
// A write is on disk before it is acknowledged (synchronous=FULL in WAL mode).
func Open(ctx context.Context, where string) (*DB, error) {
	if IsURL(where) {
		return openShared(ctx, where)
	}
	return openFile(ctx, where)
}

func openFile(ctx context.Context, file string) (*DB, error) {
	info, err := os.Stat(file)
	fresh := errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0
	if err != nil && !fresh {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if fresh {
		// Made here, so that nobody else can read it for a moment.
		f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("make database: %w", err)
		}
		f.Close()
	}
	keepLocks()
	db := &DB{file: file, near: &near{}, begun: time.Now(), checked: fresh || info.Size() <= quickCheck}
	if db.write, err = open(file, "_txlock=immediate", "_pragma=synchronous(FULL)", "_pragma=journal_mode(WAL)", "_pragma=secure_delete(FAST)"); err != nil {
		return nil, err
	}
	db.write.SetMaxOpenConns(1)
	if db.read, err = open(file, "_pragma=query_only(1)"); err != nil {
		return nil, err
	}
	db.read.SetMaxOpenConns(8)
	db.read.SetMaxIdleConns(8)
	if err := db.start(ctx, !fresh && db.checked); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

func open(file string, params ...string) (*pool, error) {
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath()}
	dsn.RawQuery = "_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=cache_size(-4096)"
	for _, p := range params {
		dsn.RawQuery += "&" + p
	}
	opened, err := sql.Open("sqlite", dsn.String())
	return &pool{DB: opened}, err
}

func (db *DB) start(ctx context.Context, check bool) error {
	if check {
		if err := integrity(ctx, db.write); err != nil {
			return err
		}
	}
	if err := db.migrate(ctx); err != nil {
		return err
	}
	if err := errors.Join(db.write.prepare(ctx), db.read.prepare(ctx)); err != nil {
		return err
	}
	db.feed.read, db.feed.turn = db.read, make(chan struct{}, 1)
	return db.begin(ctx)
}

// Close closes the database; nothing acknowledged is lost with or without it.
func (db *DB) Close() error { return errors.Join(db.read.Close(), db.write.Close()) }

// Sessions returns the session store that shares this database.
func (db *DB) Sessions(ctx context.Context) (*SessionStore, error) {
	s, err := db.write.sessions().New(ctx, db.write.DB, db.read.DB)
	return &SessionStore{s, db}, classify(err)
}

// View implements account.Store.
func (db *DB) View(ctx context.Context, fn func(account.Tx) error) (err error) {
	ctx, span := trace.Start(ctx, "accounts read")
	defer func() { span.End(err) }()
	ctx, cancel := db.read.bound(ctx)
	defer cancel()
	tx, err := db.read.BeginTx(ctx, db.read.reading())
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	return classify(fn(&txn{ctx: ctx, under: tx, in: db.read.sessions().Reading()}))
}

// Update implements account.Store.
func (db *DB) Update(ctx context.Context, fn func(account.Tx) error) (err error) {
	ctx, span := trace.Start(ctx, "accounts write")
	defer func() { span.End(err) }()
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	t, err := db.group.do(ctx, db, fn)
	// Also where the commit failed: it may have happened all the same.
	if t != nil {
		db.committed(t)
	}
	return classify(err)
}

// committed tells what a transaction has changed that others keep copies of.
func (db *DB) committed(t *txn) {
	if db.Raised != nil {
		for _, r := range t.raised {
			db.Raised(r.subject, r.ended)
		}
	}
	if db.Changed != nil {
		for _, sid := range t.sessions {
			db.Changed(sid)
		}
	}
	if len(t.closing.events) > 0 {
		if db.Told != nil {
			db.Told(t.closing.events)
		}
		db.feed.Wake()
	}
}

// Auditing implements account.Store.
func (db *DB) Auditing(ctx context.Context, of account.Change, r *account.Record) context.Context {
	return db.along(ctx, r.At, func(_ context.Context, _ *tx, w sqlstore.Write) (closing, error) {
		change := account.SessionEnded
		switch {
		case strings.HasPrefix(w.Key, session.EpochKey("")):
			change = account.EpochRaised
		case w.Added:
			change = account.SessionBegun
		}
		// The first epoch of a subject is added at its first sign-in.
		if of == account.SessionProved && change == account.SessionEnded {
			change = of // each swaps a record, and who asks knows which it is
		}
		if change != of || change == account.EpochRaised && w.Added {
			return closing{}, nil
		}
		told := *r
		if change != account.EpochRaised {
			told.SID, told.Subject = w.Key, w.Subject
		}
		return closing{records: []account.Record{told}}, nil
	})
}

// classify tells failures of the database from refusals. What is already a
// refusal passes.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*admit.Error](err); ok {
		return err
	}
	const corrupt, full, notADB = 11, 13, 26 // SQLite result codes
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case corrupt, notADB:
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		case full:
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	if postgres.Code(err) == "53100" { // disk_full
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
