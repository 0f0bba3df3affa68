package db

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"time"

	"github.com/admit-auth/admit/session/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate runs the migrations that this database has not seen, each in a
// transaction. They only go forward; one that was edited after it ran is an
// error, for nobody could say what the schema is.
func (db *DB) migrate(ctx context.Context) error {
	_, err := db.write.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (
		name TEXT PRIMARY KEY, checksum TEXT NOT NULL, at BIGINT NOT NULL)`)
	if err != nil {
		return classify(err)
	}
	steps, err := steps()
	if err != nil {
		return err
	}
	for _, s := range steps {
		if err := db.step(ctx, s); err != nil {
			return fmt.Errorf("migration %s: %w", s.name, err)
		}
	}
	var seen int
	if err := db.write.QueryRowContext(ctx, "SELECT count(*) FROM migrations").Scan(&seen); err != nil {
		return classify(err)
	}
	if seen > len(steps) {
		return ErrNewer
	}
	return nil
}

type step struct{ name, text string }

// steps are the migrations, in their order.
func steps() ([]step, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	steps := []step{{"0000_sessions", sqlstore.Schema}}
	for _, file := range files {
		text, err := migrations.ReadFile(file)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step{file, string(text)})
	}
	return steps, nil
}

func (s step) checksum() string {
	sum := sha256.Sum256([]byte(s.text))
	return hex.EncodeToString(sum[:])
}

func (db *DB) step(ctx context.Context, s step) error {
	checksum := s.checksum()
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	var ran string
	switch err := tx.QueryRowContext(ctx, "SELECT checksum FROM migrations WHERE name = ?", s.name).Scan(&ran); {
	case err == nil && ran == checksum:
		return nil
	case err == nil:
		return fmt.Errorf("it was changed after it ran: %w", ErrNewer)
	case !noRows(err):
		return classify(err)
	}
	if _, err := tx.ExecContext(ctx, s.text); err != nil {
		return classify(err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO migrations (name, checksum, at) VALUES (?, ?, ?)", s.name, checksum, time.Now().UnixMilli()); err != nil {
		return classify(err)
	}
	return classify(tx.Commit())
}
