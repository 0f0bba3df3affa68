package sqlstore_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sqlstore"
	// and _ "modernc.org/sqlite", in your program
)

// Sessions in a file. The driver is the program's choice; this is how
// modernc.org/sqlite is told.
func Example() {
	ctx := context.Background()
	const file = "file:sessions.db?_pragma=busy_timeout(5000)"
	write, err := sql.Open("sqlite", file+"&_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		log.Fatal(err)
	}
	defer write.Close()
	write.SetMaxOpenConns(1)
	if _, err := write.ExecContext(ctx, sqlstore.Schema); err != nil {
		log.Fatal(err)
	}
	read, err := sql.Open("sqlite", file+"&_pragma=query_only(1)")
	if err != nil {
		log.Fatal(err)
	}
	defer read.Close()

	store, err := sqlstore.New(ctx, write, read)
	if err != nil {
		log.Fatal(err)
	}
	type Visit struct{ Count int }
	// One process writes to this file, so copies may be kept near.
	sessions, err := session.New[Visit](session.NewNear(store, 0), nil)
	if err != nil {
		log.Fatal(err)
	}
	go sessions.Run(ctx)
}

// Sessions in PostgreSQL, shared by every replica of the program. For MySQL and
// MariaDB say MySQL, "mysql" and their DSN.
func ExampleDialect_New() {
	ctx := context.Background()
	db, err := sql.Open("pgx", "postgres://app@db.example.org/app?sslmode=verify-full")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	store, err := sqlstore.PostgreSQL.New(ctx, db, db)
	if err != nil {
		log.Fatal(err)
	}
	type Visit struct{ Count int }
	sessions, err := session.New[Visit](store, nil)
	if err != nil {
		log.Fatal(err)
	}
	go sessions.Run(ctx)
}
