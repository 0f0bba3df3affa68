package db

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A Schema says how far a database's schema is, and who can work on it.
type Schema struct {
	Version int      `json:"version"` // number of the last migration that ran
	Oldest  int      `json:"oldest"`  // version of the oldest program that works on it
	Program int      `json:"program"` // the last migration that this program knows
	Pending []string `json:"pending"` // migrations that this program would run, in order

	// AfterPending is the oldest program that works once they have run.
	AfterPending int `json:"oldest_after"`
}

// A step is one migration. Its file is named after its number, and a first
// line "-- oldest: 0003" says that programs which know the migrations up to
// that one keep working after it: it only adds what they do not look at, and
// demands nothing of what they write. Without the line older programs refuse.
type step struct {
	name, text     string
	number, oldest int
}

// A second line "-- sum: …" is the checksum that the file had before it was
// mended: databases that ran it so are brought to the same by a later one.
func (s step) checksum() string {
	if _, rest, ok := strings.Cut(s.text, "\n"); ok {
		if line, _, _ := strings.Cut(rest, "\n"); strings.HasPrefix(line, "-- sum: ") {
			return line[len("-- sum: "):]
		}
	}
	sum := sha256.Sum256([]byte(s.text))
	return hex.EncodeToString(sum[:])
}

// steps returns all migrations that this program knows, in order, as they are in
// a dialect.
func steps(d dialect) ([]step, error) {
	all := []step{{name: "0000_sessions", text: d.sessions().Schema()}}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := migrations.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s := step{name: file, text: d.schema(string(text)), number: number(file)}
		s.oldest = s.number
		line, _, _ := strings.Cut(s.text, "\n")
		if declared, ok := strings.CutPrefix(line, "-- oldest: "); ok {
			if s.oldest, err = strconv.Atoi(declared); err != nil || s.oldest > s.number {
				return nil, fmt.Errorf("migration %s: %q is no earlier version", file, declared)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// number is that of a migration's name, 0 where it has none.
func number(name string) int {
	digits, _, _ := strings.Cut(path.Base(name), "_")
	n, _ := strconv.Atoi(digits)
	return n
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// columnsOf are the columns of the table of what ran.
var columnsOf = both{
	sqlite:   "SELECT name FROM pragma_table_info('migrations')",
	postgres: "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'migrations'",
}

// schemaOf reads what ran, and returns ErrNewer or ErrSchema where this program
// cannot work on it. The database may be empty.
func schemaOf(ctx context.Context, d dialect, q querier) (s Schema, todo []step, err error) {
	known, err := steps(d)
	if err != nil {
		return s, nil, err
	}
	s.Program = known[len(known)-1].number
	s.Pending = []string{}
	ran := map[string]string{}
	oldest := map[string]int{}
	columns, err := texts(ctx, q, d.of(columnsOf))
	if err != nil {
		return s, nil, err
	}
	if len(columns) > 0 {
		query := "SELECT name, checksum, oldest FROM migrations"
		if len(columns) < 4 { // made before there was this column
			query = "SELECT name, checksum, NULL FROM migrations"
		}
		rows, err := q.QueryContext(ctx, query)
		if err != nil {
			return s, nil, classify(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name, checksum string
			var declared sql.NullInt64
			if err := rows.Scan(&name, &checksum, &declared); err != nil {
				return s, nil, classify(err)
			}
			ran[name], oldest[name] = checksum, number(name)
			if declared.Valid {
				oldest[name] = int(declared.Int64)
			}
			s.Version = max(s.Version, number(name))
		}
		if err := rows.Err(); err != nil {
			return s, nil, classify(err)
		}
	}
	for _, k := range known {
		checksum, done := ran[k.name]
		switch {
		case !done:
			todo = append(todo, k)
			s.Pending = append(s.Pending, path.Base(k.name))
			s.AfterPending = max(s.AfterPending, k.oldest)
			continue
		case checksum != k.checksum():
			return s, nil, fmt.Errorf("migration %s was changed after it ran: %w", k.name, ErrSchema)
		}
		// What the code says counts: a wrong declaration can be mended.
		s.Oldest = max(s.Oldest, k.oldest)
		delete(ran, k.name)
	}
	for name := range ran {
		s.Oldest = max(s.Oldest, oldest[name])
	}
	s.AfterPending = max(s.AfterPending, s.Oldest)
	if s.Oldest > s.Program {
		return s, nil, fmt.Errorf("its schema is %04d and wants a program of %04d or later, this is %04d: %w", s.Version, s.Oldest, s.Program, ErrNewer)
	}
	return s, todo, nil
}

// texts returns the first column of all rows.
func texts(ctx context.Context, q querier, query string) (all []string, err error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, classify(err)
		}
		all = append(all, s)
	}
	return all, classify(rows.Err())
}

// migrate runs the migrations that this database has not seen, each in a
// transaction. They only go forward; one that was edited after it ran is an
// error, for nobody could say what the schema is. An older server may be at
// work meanwhile: it waits for one migration at a time.
func (db *DB) migrate(ctx context.Context) error {
	schema, todo, err := schemaOf(ctx, db.write.dialect, db.write)
	if err != nil {
		return err
	}
	if len(todo) > 0 {
		done, err := db.migrators(ctx)
		if err != nil {
			return err
		}
		defer done()
		if err := db.noteMigrations(ctx); err != nil {
			return err
		}
	}
	for _, s := range todo {
		if err := db.run(ctx, s); err != nil {
			return fmt.Errorf("migration %s: %w", s.name, err)
		}
		schema.Version = max(schema.Version, s.number)
	}
	schema.Oldest, schema.Pending = schema.AfterPending, []string{}
	db.schema = schema
	return nil
}

// migrators waits until no other replica migrates: of those that start at once one
// does, and the others then find nothing to do.
func (db *DB) migrators(ctx context.Context) (done func(), err error) {
	if db.write.dialect == inSQLite {
		return func() {}, nil
	}
	// It is the connection's, so that it ends with whoever holds it.
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return nil, classify(err)
	}
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("SELECT pg_advisory_lock(%d)", migratorsLock)); err != nil {
		conn.Close()
		return nil, classify(err)
	}
	return func() {
		conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf("SELECT pg_advisory_unlock(%d)", migratorsLock))
		conn.Close()
	}, nil
}

// noteMigrations makes the table of what ran, or brings it up to date.
func (db *DB) noteMigrations(ctx context.Context) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (
		name TEXT PRIMARY KEY, checksum TEXT NOT NULL, at BIGINT NOT NULL)`); err != nil {
		return classify(err)
	}
	columns, err := texts(ctx, tx, db.write.of(columnsOf))
	if err != nil {
		return err
	}
	if len(columns) < 4 {
		if _, err := tx.ExecContext(ctx, "ALTER TABLE migrations ADD COLUMN oldest BIGINT"); err != nil {
			return classify(err)
		}
	}
	return classify(tx.Commit())
}

func (db *DB) run(ctx context.Context, s step) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	// Another process may have been faster.
	ran, err := texts(ctx, tx, "SELECT name FROM migrations")
	if err != nil {
		return err
	}
	for _, name := range ran {
		if name == s.name {
			return nil
		}
	}
	if _, err := tx.ExecContext(ctx, s.text); err != nil {
		return classify(err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO migrations (name, checksum, at, oldest) VALUES (?, ?, ?, ?)",
		s.name, s.checksum(), time.Now().UnixMilli(), s.oldest); err != nil {
		return classify(err)
	}
	return classify(tx.Commit())
}

// Schema returns how far the schema is.
func (db *DB) Schema() Schema { return db.schema }

// Migrate brings the schema of a database up to date and returns what it was. A
// server of an older program may be working on it, if it is not older than
// Schema.AfterPending.
func Migrate(ctx context.Context, where string) (before Schema, err error) {
	db := &DB{}
	if IsURL(where) {
		db.write, err = openPostgres(where, 2, false)
	} else if db.write, err = open(where, "_txlock=immediate", "_pragma=synchronous(FULL)", "_pragma=journal_mode(WAL)"); err == nil {
		db.write.SetMaxOpenConns(1)
	}
	if err != nil {
		return before, err
	}
	defer db.write.Close()
	if before, _, err = schemaOf(ctx, db.write.dialect, db.write); err != nil {
		return before, err
	}
	return before, db.migrate(ctx)
}
