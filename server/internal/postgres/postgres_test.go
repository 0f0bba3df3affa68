package postgres_test

import (
	"database/sql"
	"sync"
	"testing"

	"github.com/admit-auth/admit/server/internal/postgres"
	"github.com/admit-auth/admit/server/internal/postgrestest"
)

// A database that is started again has broken every connection that there was. At most
// one of them is found out by who needs it: the others are tried before they are used,
// however short a time ago they were.
func TestOneBrokenConnectionHasTheOthersTried(t *testing.T) {
	server := postgrestest.Shared(t)
	a, err := postgres.Parse(server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	const connections = 8
	pool := postgres.Open(a, connections, "")
	defer pool.Close()
	if _, err := pool.Exec("CREATE TABLE done (n BIGINT)"); err != nil {
		t.Fatal(err)
	}
	breakAll := func() {
		t.Helper()
		var held []*sql.Conn
		for range connections {
			c, err := pool.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.ExecContext(t.Context(), "INSERT INTO done VALUES ($1)", int64(0)); err != nil {
				t.Fatal(err)
			}
			held = append(held, c)
		}
		server.Exec(t, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname LIKE 'admit%'")
		for _, c := range held {
			c.Close()
		}
	}

	breakAll()
	if _, err := pool.Exec("INSERT INTO done VALUES ($1)", int64(1)); err == nil {
		t.Error("a statement over a broken connection was done, or asked twice")
	}
	var asking sync.WaitGroup
	for range connections {
		asking.Go(func() {
			if _, err := pool.Exec("INSERT INTO done VALUES ($1)", int64(2)); err != nil {
				t.Errorf("after one was found broken: %v", err)
			}
		})
	}
	asking.Wait()

	// To begin does nothing yet, and so may be done again.
	breakAll()
	tx, err := pool.Begin()
	if err != nil {
		t.Fatalf("a transaction: %v", err)
	}
	if _, err := tx.Exec("INSERT INTO done VALUES ($1)", int64(3)); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	for n, want := range map[int64]int{1: 0, 2: connections, 3: 1} {
		var found int
		if err := pool.QueryRow("SELECT count(*) FROM done WHERE n = $1", n).Scan(&found); err != nil || found != want {
			t.Errorf("%d was kept %d times, want %d: %v", n, found, want, err)
		}
	}
}
