package express

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

// PostgresOptions are what connect-pg-simple was given.
type PostgresOptions struct {
	Schema string        // schemaName; "" for the connection's own
	Table  string        // tableName; "session" for ""
	TTL    time.Duration // ttl, for cookies that end with the browser; a day for 0

	// Timeout bounds every call; 5 s for 0.
	Timeout time.Duration
}

// Postgres keeps sessions in the rows of connect-pg-simple. It is a [Store].
//
// A change compares the text of the JSON that was read, in the database, so that
// it meets no one else's. The column expire has no time zone: the connections'
// TimeZone must be that of Node's, as it is where nobody sets it.
type Postgres struct {
	db           *sql.DB
	ttl, timeout time.Duration

	get, add, swap, there, touch, remove, sweep string
}

// NewPostgres returns a store over a pool of any driver for PostgreSQL. Nil
// options are the defaults. It sends nothing yet: connect-pg-simple or its
// table.sql makes the table.
func NewPostgres(db *sql.DB, o *PostgresOptions) (*Postgres, error) {
	if o == nil {
		o = &PostgresOptions{}
	}
	p := &Postgres{db: db, ttl: o.TTL, timeout: o.Timeout}
	if p.ttl == 0 {
		p.ttl = 24 * time.Hour
	}
	if p.timeout == 0 {
		p.timeout = 5 * time.Second
	}
	table := o.Table
	if table == "" {
		table = "session"
	}
	table = identifier(table)
	if o.Schema != "" {
		table = identifier(o.Schema) + "." + table
	}
	if db == nil || p.ttl < time.Second || p.timeout < 0 || strings.ContainsRune(table, 0) {
		return nil, fmt.Errorf("pool %t, table %q, ttl %v, timeout %v: %w", db != nil, table, p.ttl, p.timeout, errPostgresOptions)
	}
	text := strings.NewReplacer("TABLE", table).Replace
	// What is passed goes through ::text and ::float8, so that no driver has to
	// know the columns' types.
	p.get = text(`SELECT sess::text, extract(epoch FROM expire::timestamptz)::float8 FROM TABLE
		WHERE sid = $1 AND expire >= to_timestamp($2::float8)`)
	p.add = text(`INSERT INTO TABLE AS t (sid, sess, expire) VALUES ($1, $2::text::json, to_timestamp($3::float8))
		ON CONFLICT (sid) DO UPDATE SET sess = excluded.sess, expire = excluded.expire WHERE t.expire < to_timestamp($4::float8)
		RETURNING sess::text`)
	p.swap = text(`UPDATE TABLE SET sess = $2::text::json, expire = to_timestamp($3::float8)
		WHERE sid = $1 AND sess::text = $5::text AND expire >= to_timestamp($4::float8) RETURNING sess::text`)
	p.there = text(`SELECT count(*) FROM TABLE WHERE sid = $1 AND expire >= to_timestamp($2::float8)`)
	p.touch = text(`UPDATE TABLE SET expire = to_timestamp($2::float8) WHERE sid = $1 AND sess::text = $3::text`)
	p.remove = text(`DELETE FROM TABLE WHERE sid = $1 AND ($2::text = '' OR sess::text = $2::text)`)
	p.sweep = text(`DELETE FROM TABLE WHERE sid IN (SELECT sid FROM TABLE WHERE expire < to_timestamp($1::float8) LIMIT $2)`)
	return p, nil
}

var errPostgresOptions = admit.Invalid.New("express_postgres_options", "These options of the table of Express's sessions cannot be right.")

func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// seconds are the whole ones that connect-pg-simple compares with, rounded up.
func seconds(t time.Time) int64 {
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return s
}

func (p *Postgres) until(rec Record, now time.Time) time.Time {
	if rec.Until.IsZero() {
		return now.Add(p.ttl)
	}
	return rec.Until
}

// do bounds a call. Its error is one of package session's, unavailable, or the
// context's.
func (p *Postgres) do(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	switch err := fn(bounded); {
	case err == nil, admit.KindOf(err) != admit.Internal:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
}

// keeps reports whether the column can have an id: PostgreSQL knows no NUL, and
// takes no text that is no UTF-8.
func keeps(sid string) bool { return !strings.Contains(sid, "\x00") && utf8.ValidString(sid) }

// Get implements [Store].
func (p *Postgres) Get(ctx context.Context, sid string) (rec Record, err error) {
	if !keeps(sid) {
		return rec, session.ErrNotFound
	}
	err = p.do(ctx, func(ctx context.Context) error {
		var until float64
		err := p.db.QueryRowContext(ctx, p.get, sid, seconds(time.Now())).Scan(&rec.JSON, &until)
		if errors.Is(err, sql.ErrNoRows) {
			return session.ErrNotFound
		}
		rec.Until = time.UnixMilli(int64(until * 1000))
		return err
	})
	return rec, err
}

// Add implements [Store].
func (p *Postgres) Add(ctx context.Context, sid string, rec Record) (Record, error) {
	now := time.Now()
	rec.Until = p.until(rec, now)
	err := p.do(ctx, func(ctx context.Context) error {
		err := p.db.QueryRowContext(ctx, p.add, sid, rec.JSON, seconds(rec.Until), seconds(now)).Scan(&rec.JSON)
		if errors.Is(err, sql.ErrNoRows) {
			return session.ErrConflict
		}
		return err
	})
	return rec, err
}

// Swap implements [Store].
func (p *Postgres) Swap(ctx context.Context, sid string, old, next Record) (Record, error) {
	now := time.Now()
	next.Until = p.until(next, now)
	err := p.do(ctx, func(ctx context.Context) error {
		err := p.db.QueryRowContext(ctx, p.swap, sid, next.JSON, seconds(next.Until), seconds(now), old.JSON).Scan(&next.JSON)
		if errors.Is(err, sql.ErrNoRows) {
			return p.missed(ctx, sid, now)
		}
		return err
	})
	return next, err
}

// missed says why a change met no row.
func (p *Postgres) missed(ctx context.Context, sid string, now time.Time) error {
	var n int
	err := p.db.QueryRowContext(ctx, p.there, sid, seconds(now)).Scan(&n)
	switch {
	case err != nil:
		return err
	case n == 0:
		return session.ErrNotFound
	}
	return session.ErrConflict
}

// Touch implements [Store].
func (p *Postgres) Touch(ctx context.Context, sid string, old Record, until time.Time) error {
	now := time.Now()
	until = p.until(Record{Until: until}, now)
	return p.do(ctx, func(ctx context.Context) error {
		met, err := p.exec(ctx, p.touch, sid, seconds(until), old.JSON)
		if err != nil || met > 0 {
			return err
		}
		if err := p.missed(ctx, sid, now); !errors.Is(err, session.ErrConflict) {
			return err
		}
		return nil
	})
}

// Delete implements [Store].
func (p *Postgres) Delete(ctx context.Context, sid string, old Record) error {
	if !keeps(sid) {
		if old.JSON == "" {
			return nil
		}
		return session.ErrNotFound
	}
	return p.do(ctx, func(ctx context.Context) error {
		met, err := p.exec(ctx, p.remove, sid, old.JSON)
		if err != nil || met > 0 || old.JSON == "" {
			return err
		}
		return p.missed(ctx, sid, time.Now())
	})
}

// Sweep removes up to limit rows whose time was over at now, and returns how
// many. Connect-pg-simple does it every quarter of an hour, as long as there is
// a server with it.
func (p *Postgres) Sweep(ctx context.Context, now time.Time, limit int) (met int, err error) {
	err = p.do(ctx, func(ctx context.Context) error {
		met, err = p.exec(ctx, p.sweep, seconds(now), limit)
		return err
	})
	return met, err
}

func (p *Postgres) exec(ctx context.Context, query string, args ...any) (int, error) {
	result, err := p.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	met, err := result.RowsAffected()
	return int(met), err
}
