package db

import (
	"context"
	"database/sql"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// What may be asked of a database from outside, also while servers use it. Nothing
// in it is changed: not even a log that a killed server left is put into a file.

func look(where string) (*pool, error) {
	if IsURL(where) {
		return openPostgres(where, 1, true)
	}
	return open(where, "mode=ro", "_pragma=query_only(1)")
}

// Examine checks a database, and returns how far its schema is and when the
// newest thing in it happened, by the clock of then.
func Examine(ctx context.Context, where string) (s Schema, latest time.Time, err error) {
	pool, err := look(where)
	if err != nil {
		return s, latest, err
	}
	defer pool.Close()
	if err := integrity(ctx, pool); err != nil {
		return s, latest, err
	}
	if s, _, err = schemaOf(ctx, pool.dialect, pool); err != nil || s.Version == 0 {
		return s, latest, err
	}
	var at sql.NullInt64
	if err := pool.QueryRowContext(ctx, "SELECT max(at) FROM audit").Scan(&at); err != nil {
		return s, latest, classify(err)
	}
	if at.Valid {
		latest = time.UnixMilli(at.Int64)
	}
	return s, latest, nil
}

// SchemaOf returns how far the schema of a database is.
func SchemaOf(ctx context.Context, where string) (Schema, error) {
	pool, err := look(where)
	if err != nil {
		return Schema{}, err
	}
	defer pool.Close()
	s, _, err := schemaOf(ctx, pool.dialect, pool)
	return s, err
}

// Keys reads the keys of a database.
func Keys(ctx context.Context, where string) (keys []account.Key, err error) {
	pool, err := look(where)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	if s, _, err := schemaOf(ctx, pool.dialect, pool); err != nil || s.Version < 2 { // there are none yet
		return nil, err
	}
	err = (&DB{read: pool}).View(ctx, func(tx account.Tx) (err error) {
		keys, err = tx.Keys()
		return err
	})
	return keys, err
}
