package db

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
	sqlite "modernc.org/sqlite"
)

// keepLocks makes SQLite's locks outlive a stray close of the file in this
// process: POSIX drops a process's locks on a file whenever any descriptor of
// it is closed, and then another program may take the database for unused and
// remove its write-ahead log. Where it cannot be had, as off Linux, nothing in
// this process may open the file beside SQLite.
func keepLocks() { _, _ = sqlite.OFDLocking(true) }

// integrity reports what is wrong with a database, as SQLite sees it.
func integrity(ctx context.Context, q *pool) error {
	if q.dialect == inPostgres {
		return nil // it looks after itself
	}
	said, err := texts(ctx, q, "PRAGMA quick_check(1)")
	if err != nil {
		return err
	}
	if text := strings.Join(said, " "); text != "ok" {
		return fmt.Errorf("quick_check says %s: %w", strings.Join(strings.Fields(text), " "), ErrCorrupt)
	}
	orphans, err := texts(ctx, q, `SELECT "table" FROM pragma_foreign_key_check LIMIT 1`)
	if err != nil {
		return err
	}
	if len(orphans) > 0 {
		return fmt.Errorf("a row of %s belongs to nothing: %w", orphans[0], ErrCorrupt)
	}
	return nil
}

// Check looks at the whole file, where Open did not because it is large: call it
// once the server is ready. It returns ErrCorrupt where something is wrong, and
// so does Ping from then on.
func (db *DB) Check(ctx context.Context) error {
	if db.checked {
		return nil
	}
	err := integrity(ctx, db.read)
	if errors.Is(err, ErrCorrupt) {
		db.damage.Store(&err)
	}
	return err
}

// pingTimeout bounds how long Ping waits.
const pingTimeout = 2 * time.Second

// Ping reports whether the database can be read, and whether what is read can be
// trusted.
func (db *DB) Ping(ctx context.Context) error {
	if damage := db.damage.Load(); damage != nil {
		return *damage
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	var epoch string
	return classify(db.read.QueryRowContext(ctx, "SELECT epoch FROM instance").Scan(&epoch))
}

// TryWrite reports whether the database can be written. It takes a sync of the
// disk, so it is not for whoever asks.
func (db *DB) TryWrite(ctx context.Context) error {
	_, err := db.write.ExecContext(ctx, "UPDATE instance SET probed_at = ?", time.Now().UnixMilli())
	return classify(err)
}

// begin makes the one row of the table instance, and begins an epoch of the feed.
func (db *DB) begin(ctx context.Context) error {
	if db.write.dialect == inPostgres {
		if err := db.checkLife(ctx); err != nil {
			return err
		}
	} else if _, err := db.write.ExecContext(ctx, "UPDATE feed_head SET epoch = ?", feed.NewEpoch().String()); err != nil {
		return classify(err)
	}
	_, err := db.write.ExecContext(ctx, `INSERT INTO instance (id, epoch, restored_at, backed_up_at, probed_at)
		VALUES (1, ?, 0, 0, 0) ON CONFLICT (id) DO NOTHING`, newEpoch())
	return classify(err)
}

// newEpoch names a life of a database: what is told of it under one name is one
// history. A restored database begins another, for it has lost some.
func newEpoch() string { return strings.ToLower(rand.Text()) }

// An Instance is what a database knows of itself.
type Instance struct {
	Epoch      string
	RestoredAt time.Time // zero: never
	BackedUpAt time.Time // zero: never
}

// Instance returns what the database knows of itself.
func (db *DB) Instance(ctx context.Context) (i Instance, err error) {
	var restored, backedUp int64
	err = db.read.QueryRowContext(ctx, "SELECT epoch, restored_at, backed_up_at FROM instance").Scan(&i.Epoch, &restored, &backedUp)
	if restored > 0 {
		i.RestoredAt = time.UnixMilli(restored)
	}
	if backedUp > 0 {
		i.BackedUpAt = time.UnixMilli(backedUp)
	}
	return i, classify(err)
}

// NoteBackup keeps when the last good backup was taken.
func (db *DB) NoteBackup(ctx context.Context, taken time.Time) error {
	_, err := db.write.ExecContext(ctx, "UPDATE instance SET backed_up_at = ?1 WHERE backed_up_at < ?1", taken.UnixMilli())
	return classify(err)
}

// Renew makes a copy that was restored a database of its own: a new epoch, no
// codes and links, for they may have been spent since, and, unless they are
// kept, no sessions, nor anything that was made from one, and no API keys.
func (db *DB) Renew(ctx context.Context, keepSessions bool, now time.Time) (sessions int, err error) {
	tx, err := db.write.beginWriting(ctx)
	if err != nil {
		return 0, classify(err)
	}
	defer tx.Rollback()
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sessions WHERE expires > ? AND NOT (id >= ? AND id < ?)", now.UnixMilli(), session.EpochKey(""), session.EpochKey("")+last).Scan(&sessions); err != nil {
		return 0, classify(err)
	}
	// A device may have been distrusted since, and the removal of factors stopped by
	// the owner, whose links are void now. What waited to be sent has been, most
	// likely, and offers what is void.
	statements := []string{"DELETE FROM challenges", "DELETE FROM codes", "DELETE FROM pushed", "DELETE FROM devices", "DELETE FROM factors WHERE kind = 'device'", "DELETE FROM factor_losses", "DELETE FROM outbox"}
	if !keepSessions {
		statements = append(statements, "DELETE FROM sessions", "DELETE FROM refresh_families", "DELETE FROM grants", "DELETE FROM access_tokens", "DELETE FROM api_keys")
	}
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return 0, classify(err)
		}
	}
	// What has been spent since is not known.
	t := &txn{ctx: ctx, under: tx, in: db.write.sessions()}
	if err := t.PutChallenge(account.SpentBefore(now)); err != nil {
		return 0, classify(err)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE instance SET epoch = ?, restored_at = ?", newEpoch(), now.UnixMilli()); err != nil {
		return 0, classify(err)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE feed_head SET epoch = ?", feed.NewEpoch().String()); err != nil {
		return 0, classify(err)
	}
	c := closing{records: []account.Record{{
		At: now, Actor: "operator", Event: "restored", Detail: map[bool]string{true: "sessions kept", false: "sessions ended"}[keepSessions],
	}}}
	if !keepSessions {
		// The backup does not know what was made after it: all of it is out of date.
		// Epochs begin anew, with the time.
		c.events = append(c.events, feed.EveryoneRaised(uint64(now.UnixMilli()), "restored", now.Add(account.ToldFor)))
	}
	if err := tx.conclude(ctx, now, c); err != nil {
		return 0, classify(err)
	}
	tx.all = true
	defer db.near.forgetOf(tx, true)
	return sessions, classify(tx.Commit())
}
