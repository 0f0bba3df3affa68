package db_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/postgrestest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.End()
	os.Exit(code)
}

// What is tested of the database in a file holds of PostgreSQL too: the same tests
// run once more, over a server of their own. Those that are about a file say so.
func TestAllOfThisHoldsInPostgreSQL(t *testing.T) {
	if db.TestsPostgres() {
		t.Skip("it is what runs")
	}
	if testing.Short() {
		t.Skip("with -short")
	}
	postgrestest.Shared(t) // or it is missing
	cmd := exec.Command(os.Args[0], "-test.timeout=20m", "-test.skip=^Fuzz")
	cmd.Env = append(os.Environ(), db.TestPostgres+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
