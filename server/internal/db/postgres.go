package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/postgres"
)

const (
	// A replica has so many connections at most, and one that listens: five fit
	// into the hundred that PostgreSQL has by default. Of those that write, four
	// are of sessions (see sqlstore), and one or two of accounts.
	maxWriting, maxReading = 6, 12

	// stalled is how long a replica that was stopped, or cut off, may keep what it
	// has locked: others wait for it.
	stalled = 5 * time.Second

	// Advisory locks are numbers that nobody else is likely to have: names in ASCII.
	writersLock   = 0x61646d6974777274 // "admitwrt"
	migratorsLock = 0x61646d69746d6967 // "admitmig"

	channel = "admit_feed" // of NOTIFY
)

// IsURL reports whether a place of a database is PostgreSQL's, and not a file.
func IsURL(where string) bool { return postgres.IsURL(where) }

// CheckURL reports what is wrong with a URL. The error does not quote it, for
// there may be a password in it.
func CheckURL(where string) error {
	_, err := postgres.Parse(where)
	return err
}

func openPostgres(where string, connections int, readOnly bool) (*pool, error) {
	a, err := postgres.Parse(where)
	if err != nil {
		return nil, err
	}
	setup := fmt.Sprintf("SET idle_in_transaction_session_timeout = %d", stalled.Milliseconds())
	if readOnly {
		setup += "; SET default_transaction_read_only = on"
	}
	return &pool{DB: postgres.Open(a, connections, setup), dialect: inPostgres}, nil
}

// openShared opens a database that other servers may be using.
func openShared(ctx context.Context, where string) (_ *DB, err error) {
	db := &DB{url: where, begun: time.Now(), checked: true}
	if db.write, err = openPostgres(where, maxWriting, false); err != nil {
		return nil, err
	}
	if db.read, err = openPostgres(where, maxReading, false); err != nil {
		return nil, errors.Join(err, db.write.Close())
	}
	if err := db.start(ctx, false); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// Shared reports whether other servers may use the database at the same time.
func (db *DB) Shared() bool { return db.write.dialect == inPostgres }

// sqlLife names a life of a PostgreSQL database: of which cluster, after which
// failover or recovery to a point in time, and made by which CREATE DATABASE.
const sqlLife = `SELECT system_identifier || '-' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '-' ||
	(SELECT CAST(oid AS text) FROM pg_database WHERE datname = current_database()) FROM pg_control_system()`

// checkLife begins an epoch of the feed where the database has begun another life:
// it may have lost some of what was told. All replicas that find it so begin the
// same one.
func (db *DB) checkLife(ctx context.Context) error {
	var life string
	err := db.write.QueryRowContext(ctx, sqlLife).Scan(&life)
	switch postgres.Code(err) {
	case "42883", "42501", "0A000": // no such function, not allowed, not supported
		life, err = "", nil // one that is only spoken to like PostgreSQL does not tell
	}
	if err == nil {
		_, err = db.write.ExecContext(ctx, "UPDATE feed_head SET epoch = ?1, life = ?2 WHERE epoch = '' OR life <> ?2", feed.NewEpoch().String(), life)
	}
	return classify(err)
}

const (
	listenPause = 100 * time.Millisecond // before another connection is tried
	// listenProbe is how often one that has heard nothing is tried.
	listenProbe = 5 * time.Second
)

// Listen hears of what other servers commit, and has followers look, until ctx is
// done: at once, where they otherwise look once in a heartbeat. In a database that
// is not shared it has nothing to do.
func (db *DB) Listen(ctx context.Context) {
	if !db.Shared() {
		return
	}
	a, err := postgres.Parse(db.url)
	for err == nil && ctx.Err() == nil {
		fresh := true
		// Whoever looks at the database says what is wrong with it.
		_ = postgres.Listen(ctx, a, channel, listenProbe, func() error {
			if fresh { // it may be another server that answers now
				fresh = false
				if err := db.checkLife(ctx); err != nil {
					return err
				}
			}
			db.feed.Wake()
			return nil
		})
		select {
		case <-ctx.Done():
		case <-time.After(listenPause):
		}
	}
}

// Heed calls changed, until ctx is done, when other servers may have changed what
// this one keeps copies of: users and API keys, and, if keys, the server's own. A
// failure of it is tried again. In a database that is not shared it has nothing to
// do.
func (db *DB) Heed(ctx context.Context, changed func(keys bool) error) {
	if !db.Shared() {
		return
	}
	beat := time.NewTicker(feed.Heartbeat / 2)
	defer beat.Stop()
	var known copies
	for first := true; ctx.Err() == nil; {
		wake := db.feed.woken()
		_, asOf, seen, err := db.feed.reading(ctx, time.Now())
		if err == nil && (first || seen != known) {
			err = changed(first || seen.keys != known.keys)
		}
		if err == nil {
			known, first = seen, false
			db.heard.Store(int64(asOf.Sub(db.begun)))
		}
		select {
		case <-wake:
		case <-beat.C:
		case <-ctx.Done():
		}
	}
}

// copiesLive is how long a copy is good of which nobody knows whether others have
// changed it.
const copiesLive = 2 * time.Second

// Current reports whether copies of users and API keys are what the database has,
// but for what was changed a moment ago: always where no other server writes, and
// otherwise while Heed runs and reads.
func (db *DB) Current() bool {
	return !db.Shared() || time.Since(db.begun)-time.Duration(db.heard.Load()) <= copiesLive && db.heard.Load() > 0
}
