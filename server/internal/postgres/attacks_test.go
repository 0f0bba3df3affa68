package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/postgres"
	"github.com/admit-auth/admit/server/internal/postgrestest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.End()
	os.Exit(code)
}

// Mallory is on the network between the server and its database. The URL names no
// host, for that stands in the environment or in a service file: the database's server must
// prove who it is all the same, and so must each of several.
func TestAttackTheNetworkAnswersForADatabaseThatTheEnvironmentNames(t *testing.T) {
	services := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(services, []byte("[far]\nhost=db.example.org\n[near]\nhost=/run/postgresql\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		url, host, service string
		proves             bool
	}{
		"a host in the URL":                      {"postgres://u@db.example.org/d", "", "", true},
		"a host in the URL's query":              {"postgres://u@/d?host=db.example.org", "", "", true},
		"a host in the environment":              {"postgres:///d", "db.example.org", "", true},
		"a far host after a near one":            {"postgres:///d", "127.0.0.1,db.example.org", "", true},
		"a host in a service":                    {"postgres:///d?service=far", "", "", true},
		"a service that the environment names":   {"postgres:///d", "", "far", true},
		"a name that begins like this machine's": {"postgres://u@localhost.example.org/d", "", "", true},
		"this machine":                           {"postgres://u@127.0.0.1/d", "db.example.org", "", false},
		"this machine by IPv6":                   {"postgres://u@[::1]:5432/d", "", "", false},
		"a socket in the environment":            {"postgres:///d", "/run/postgresql", "", false},
		"a socket in a service":                  {"postgres:///d?service=near", "", "", false},
		"somebody who says otherwise":            {"postgres:///d?sslmode=require", "db.example.org", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range map[string]string{"PGHOST": c.host, "PGSERVICE": c.service, "PGSERVICEFILE": services, "PGSSLMODE": "", "PGSSLROOTCERT": ""} {
				t.Setenv(key, value)
			}
			a, err := postgres.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			if a.Proves() != c.proves {
				t.Errorf("asks for a certificate: %t", a.Proves())
			}
		})
	}
}

// Alice's replica and Bob's share connections behind a pooler that lends them for a
// transaction each. Neither may run the other's statement.
func TestAttackAPoolerMixesTheStatementsOfTwoConnections(t *testing.T) {
	a, err := postgres.Parse(postgrestest.Shared(t).Database(t))
	if err != nil {
		t.Fatal(err)
	}
	pool := postgres.Open(a, 2, "")
	defer pool.Close()
	names := []string{"Alice", "Bob"}
	conns, drivers := [2]*sql.Conn{}, [2]any{}
	ask := func(i int) (answer string, err error) {
		err = conns[i].QueryRowContext(t.Context(), "SELECT '"+names[i]+"' || CAST($1 AS text)", "!").Scan(&answer)
		return answer, err
	}
	for i, who := range names {
		if conns[i], err = pool.Conn(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
		if answer, err := ask(i); err != nil || answer != who+"!" {
			t.Fatalf("%s is answered: %q, %v", who, answer, err)
		}
		conns[i].Raw(func(driver any) error {
			drivers[i] = driver
			return nil
		})
	}
	postgres.SwapServers(drivers[0], drivers[1])
	for i, who := range names {
		if answer, err := ask(i); err == nil && answer != who+"!" {
			t.Errorf("%s is answered: %q", who, answer)
		}
	}
}

// Mallory hangs up in the middle of as many requests as she can. Whoever gets the
// connection after her must be answered what he has asked, and never stand in a
// transaction that she left.
func TestAttackQueriesThatAreCancelledMixTheAnswersOfOthers(t *testing.T) {
	a, err := postgres.Parse(postgrestest.Shared(t).Database(t))
	if err != nil {
		t.Fatal(err)
	}
	pool := postgres.Open(a, 3, "")
	defer pool.Close()
	var mallory, others sync.WaitGroup
	var answered atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	for range 2 {
		mallory.Go(func() {
			for ctx.Err() == nil {
				gone, hangUp := context.WithTimeout(ctx, rand.N(3*time.Millisecond))
				if tx, err := pool.BeginTx(gone, nil); err == nil {
					rows, err := tx.QueryContext(gone, "SELECT set_config('mallory.here', 'yes', true) || n FROM generate_series(1, $1::bigint) n", 1+rand.N(2000))
					for err == nil && rows.Next() {
						err = rows.Scan(new(string))
					}
					if rand.N(2) == 0 {
						<-gone.Done() // and she has asked for all that she wants
					}
					tx.Commit()
				}
				hangUp()
			}
		})
	}
	for i := range 4 {
		others.Go(func() {
			for n := range 50 {
				want := fmt.Sprint(i, " asks ", n)
				var got, hers string
				err := pool.QueryRow("SELECT $1::text, coalesce(current_setting('mallory.here', true), '')", want).Scan(&got, &hers)
				if err != nil { // PostgreSQL may have more connections to close than it takes
					continue
				}
				answered.Add(1)
				if got != want || hers != "" {
					t.Errorf("%s is answered %q; in her transaction: %q", want, got, hers)
					return
				}
			}
		})
	}
	others.Wait()
	stop()
	mallory.Wait()
	if answered.Load() == 0 {
		t.Error("nobody is answered")
	}
}
