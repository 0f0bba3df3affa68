package db

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

func (t *txn) Keys() ([]account.Key, error) {
	var keys []account.Key
	err := t.query(func(rows *sql.Rows) error {
		var k account.Key
		var created, notAfter int64
		err := rows.Scan(&k.ID, &k.Purpose, &k.State, &created, &notAfter, &k.Sealed)
		k.CreatedAt = time.UnixMilli(created)
		if notAfter != 0 {
			k.NotAfter = time.UnixMilli(notAfter)
		}
		keys = append(keys, k)
		return err
	}, "SELECT id, purpose, state, created_at, not_after, sealed FROM keys ORDER BY purpose, created_at DESC, id")
	return keys, err
}

func (t *txn) PutKey(k account.Key) error {
	t.closing.keys = true
	notAfter := int64(0)
	if !k.NotAfter.IsZero() {
		notAfter = k.NotAfter.UnixMilli()
	}
	return t.exec(`INSERT INTO keys (id, purpose, state, created_at, not_after, sealed) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, not_after = excluded.not_after, sealed = excluded.sealed`,
		k.ID, k.Purpose, k.State, k.CreatedAt.UnixMilli(), notAfter, k.Sealed)
}

func (t *txn) SealedBy(head string, now time.Time) (mail, challenges int, err error) {
	err = t.row(`SELECT
		(SELECT count(*) FROM outbox WHERE substr(sealed, 1, length(?)) = ?),
		(SELECT count(*) FROM challenges WHERE substr(sealed, 1, length(?)) = ? AND expires_at > ?)`,
		head, head, head, head, now.UnixMilli()).Scan(&mail, &challenges)
	return mail, challenges, err
}

func (t *txn) DeleteSealedBy(head string) error {
	if err := t.exec("DELETE FROM outbox WHERE substr(sealed, 1, length(?)) = ?", head, head); err != nil {
		return err
	}
	return t.exec("DELETE FROM challenges WHERE substr(sealed, 1, length(?)) = ?", head, head)
}

// Scrub implements account.Store. Cells that are freed are overwritten
// (secure_delete), and older pages stand in the write-ahead log until it is cut.
//
// PostgreSQL cannot be made to promise it: what was overwritten stands in its
// files, its log and its replicas for a while. There only a master key helps.
func (db *DB) Scrub(ctx context.Context) error {
	if db.write.dialect == inPostgres {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for {
		var busy, log, done int
		if err := db.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &done); err != nil {
			return classify(err)
		}
		if busy == 0 {
			return nil
		}
		// Somebody reads an older state; it waited for them for 5 seconds.
		if err := ctx.Err(); err != nil {
			return classify(fmt.Errorf("cut the write-ahead log: %w", err))
		}
	}
}
