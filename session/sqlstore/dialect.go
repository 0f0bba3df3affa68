package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

// A Dialect is a kind of database that can keep sessions.
type Dialect uint8

const (
	// SQLite, through any driver.
	SQLite Dialect = iota
	// PostgreSQL 12 or later, through a driver whose errors have a method
	// SQLState, such as github.com/jackc/pgx/v5/stdlib.
	PostgreSQL
	// MySQL 8 and MariaDB 10.6 or later, through github.com/go-sql-driver/mysql.
	MySQL
)

// What a database may not be.
var (
	ErrForgetful = admit.Invalid.New("database_forgetful", "The database answers before it has kept what it was told.").
			WithHint("set synchronous_commit to on (PostgreSQL), innodb_flush_log_at_trx_commit to 1 (MySQL)")
	ErrEncoding = admit.Invalid.New("database_encoding", "The database cannot keep every name.").WithHint("make it with ENCODING 'UTF8'")
)

// postgreSQLReading is PostgreSQL in a transaction that only reads.
const postgreSQLReading = MySQL + 1

func (d Dialect) texts() *texts { return &spoken[d] }

// Reading returns the dialect for [Dialect.Look] and [Dialect.ReadEpoch] in a
// transaction that only reads one state of the database, where PostgreSQL refuses
// locks and needs none. Most programs never call it.
func (d Dialect) Reading() Dialect {
	if d == PostgreSQL {
		return postgreSQLReading
	}
	return d
}

// Schema makes the table and its indexes, and changes nothing where they stand. It
// is run once, by whoever makes the database.
func (d Dialect) Schema() string { return d.texts().schema }

// isolation is what transactions of the store's ask for. Every statement decides by
// compare-and-set on the row as it is now: a snapshot would make it fail where it
// need not, and in MySQL lock the gaps between rows.
func (d Dialect) isolation() *sql.TxOptions {
	if d == SQLite {
		return nil // one writer at a time
	}
	return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
}

// lanes is how many transactions of a store's run at once. In a database that is
// half a millisecond away a batch is mostly trips: four at once write two to three
// times as much as one.
func (d Dialect) lanes() int {
	if d == SQLite {
		return 1
	}
	return 4
}

// durability returns what survives that the database acknowledges. One that
// acknowledges before its log has left its own process is refused: with it a
// sign-out could be undone.
func (d Dialect) durability(ctx context.Context, db *sql.DB) (session.Durability, error) {
	switch d {
	case PostgreSQL:
		var encoding, commit, fsync string
		err := db.QueryRowContext(ctx, "SELECT current_setting('server_encoding'), current_setting('synchronous_commit'), current_setting('fsync')").
			Scan(&encoding, &commit, &fsync)
		switch {
		case err != nil:
			return 0, err
		case encoding != "UTF8":
			return 0, fmt.Errorf("encoding %s: %w", encoding, ErrEncoding)
		case commit == "off":
			return 0, fmt.Errorf("synchronous_commit is off: %w", ErrForgetful)
		case fsync == "off":
			return session.SurvivesProcess, nil
		}
	case MySQL:
		var flush, binlog, sync int
		err := db.QueryRowContext(ctx, "SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog").Scan(&flush, &binlog, &sync)
		switch {
		case err != nil:
			return 0, err
		case flush == 0:
			return 0, fmt.Errorf("innodb_flush_log_at_trx_commit is 0: %w", ErrForgetful)
		case flush == 2 || binlog == 1 && sync != 1: // what the binary log lacks is rolled back after a crash
			return session.SurvivesProcess, nil
		}
	default:
		var synchronous int
		if err := db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
			return 0, err
		}
		if synchronous < 2 { // FULL
			return session.SurvivesProcess, nil
		}
	}
	return session.SurvivesMachine, nil
}

// Again reports whether a transaction failed only because others were at work, a
// deadlock for one, so that nothing of it was kept and it can be run again. Most
// programs never call it: it is for transactions of their own in which they call
// what this package has for them.
func (d Dialect) Again(err error) bool {
	var along *alongError
	if errors.As(err, &along) {
		err = along.err
	}
	switch d {
	case PostgreSQL:
		var e interface{ SQLState() string }
		if errors.As(err, &e) {
			switch e.SQLState() {
			case "40001", "40P01", "55P03": // serialization failure, deadlock, lock not available
				return true
			}
		}
	case MySQL:
		for ; err != nil; err = errors.Unwrap(err) {
			// The driver's error has its number in a field, which only who
			// imports it can read.
			number, found := strings.CutPrefix(err.Error(), "Error ")
			number, _, _ = strings.Cut(number, " ")
			if n, bad := strconv.Atoi(strings.TrimSuffix(number, ":")); found && bad == nil {
				return n == 1213 || n == 1205 // deadlock, waited too long for a lock
			}
		}
	}
	return false
}
