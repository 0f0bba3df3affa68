package db

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/admit-auth/admit/server/internal/postgrestest"
)

// TestPostgres in the environment makes the tests run on PostgreSQL.
const TestPostgres = "ADMIT_TEST_POSTGRES"

func TestsPostgres() bool { return os.Getenv(TestPostgres) != "" }

// NewPlace is where a test may have a database.
func NewPlace(t testing.TB) string {
	t.Helper()
	if TestsPostgres() {
		return postgrestest.Shared(t).Database(t)
	}
	return filepath.Join(t.TempDir(), "admit.db")
}

// OfAFile passes over a test that is about a database in a file.
func OfAFile(t testing.TB) {
	t.Helper()
	if TestsPostgres() {
		t.Skip("about a database in a file")
	}
}
