package db

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"time"
)

// A State is how a database file is.
type State struct {
	Damage string    // what the check found, "" where all is well
	Behind int       // migrations that it has not seen
	Newer  bool      // it has seen one that is not known here, or another text of one
	Latest time.Time // of the newest thing that happened, by the clock of then
}

// Examine looks at a database file and changes nothing in it, also while a server
// uses it. A file that is no database is an error of kind ErrCorrupt.
func Examine(ctx context.Context, file string) (*State, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	pool, err := open(file, "_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	s := &State{}
	if err := s.examine(ctx, pool); err != nil {
		return nil, classify(err)
	}
	return s, nil
}

func (s *State) examine(ctx context.Context, pool *sql.DB) error {
	var answer string
	if err := pool.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		s.Damage = strings.Join(strings.Fields(answer), " ")
		return nil
	}
	known, err := steps()
	if err != nil {
		return err
	}
	sums := map[string]string{}
	for _, k := range known {
		sums[k.name] = k.checksum()
	}
	rows, err := pool.QueryContext(ctx, "SELECT name, checksum FROM migrations")
	if err != nil {
		if strings.Contains(err.Error(), "no such table") {
			s.Behind = len(known)
			return nil
		}
		return err
	}
	defer rows.Close()
	seen := 0
	for rows.Next() {
		var name, checksum string
		if err := rows.Scan(&name, &checksum); err != nil {
			return err
		}
		seen++
		if sums[name] != checksum {
			s.Newer = true
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	s.Behind = max(0, len(known)-seen)
	var latest sql.NullInt64
	if err := pool.QueryRowContext(ctx, "SELECT max(at) FROM audit").Scan(&latest); err != nil {
		return err
	}
	if latest.Valid {
		s.Latest = time.UnixMilli(latest.Int64)
	}
	return nil
}
