package db

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/admit-auth/admit/server/internal/trace"
)

// A pool asks a database in its own dialect. What is written for all is written
// with ? for parameters.
type pool struct {
	*sql.DB
	dialect
	often   map[string]*sql.Stmt // what is asked often, prepared once for each connection
	clients clientCopies
}

// often is what to prepare in SQLite: to parse it was a third of what a refresh
// costs the database, and would double what an ending costs. The driver of
// PostgreSQL does it by itself.
var often = []string{sqlUser, sqlIdentifiers, sqlRoles, sqlFamily, sqlRotate, savepoint, release, sqlNumber, sqlTell,
	sqlClient, sqlCode, sqlSpendCode, sqlGrant, sqlAddGrant, sqlRotateGrant, sqlToken, sqlAddTokens[0], sqlAddTokens[1], sqlAddTokens[2]}

func (p *pool) prepare(ctx context.Context) error {
	if p.dialect != inSQLite {
		return nil
	}
	p.often = map[string]*sql.Stmt{}
	for _, query := range often {
		stmt, err := p.PrepareContext(ctx, query)
		if err != nil {
			return classify(err)
		}
		p.often[query] = stmt
	}
	return nil
}

func (p *pool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return p.DB.ExecContext(ctx, p.say(query), p.args(args)...)
}

func (p *pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return p.DB.QueryContext(ctx, p.say(query), p.args(args)...)
}

func (p *pool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return p.DB.QueryRowContext(ctx, p.say(query), p.args(args)...)
}

// BeginTx begins a transaction.
func (p *pool) BeginTx(ctx context.Context, o *sql.TxOptions) (*tx, error) {
	t, err := p.DB.BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	return &tx{Tx: t, pool: p}, nil
}

// A tx is a transaction of a pool.
type tx struct {
	*sql.Tx
	pool  *pool
	stale []nearRow // whose copies are forgotten when it ends
	all   bool      // and all others
}

// wrote has copies of rows be forgotten.
func (t *tx) wrote(rows ...nearRow) { t.stale = append(t.stale, rows...) }

// touched reports whether rows of a kind are among what is to be forgotten.
func (t *tx) touched(of nearKind) bool {
	return t.all || slices.ContainsFunc(t.stale, func(r nearRow) bool { return r.of == of })
}

func (t *tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if stmt := t.pool.often[query]; stmt != nil {
		return t.StmtContext(ctx, stmt).ExecContext(ctx, args...)
	}
	return t.Tx.ExecContext(ctx, t.pool.say(query), t.pool.args(args)...)
}

func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if stmt := t.pool.often[query]; stmt != nil {
		return t.StmtContext(ctx, stmt).QueryContext(ctx, args...)
	}
	return t.Tx.QueryContext(ctx, t.pool.say(query), t.pool.args(args)...)
}

func (t *tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if stmt := t.pool.often[query]; stmt != nil {
		return t.StmtContext(ctx, stmt).QueryRowContext(ctx, args...)
	}
	return t.Tx.QueryRowContext(ctx, t.pool.say(query), t.pool.args(args)...)
}

// beginWriting begins a transaction that changes accounts. Where there are many
// writers it first waits until no other is under way: the core was written for one
// writer at a time, and is right so whatever it reads and decides.
func (p *pool) beginWriting(ctx context.Context) (*tx, error) {
	t, err := p.BeginTx(ctx, p.writing())
	if err != nil || p.dialect == inSQLite {
		return t, err
	}
	_, span := trace.Start(ctx, "wait for the turn to write")
	_, err = t.ExecContext(ctx, fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", writersLock))
	span.End(err)
	if err != nil {
		t.Rollback()
		return nil, err
	}
	return t, nil
}

// readTimeout bounds what is read from a database that is elsewhere.
const readTimeout = 5 * time.Second

// bound returns the context of one reading. SQLite is in the process, and waits
// for nobody.
func (p *pool) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.dialect == inSQLite {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, readTimeout)
}
