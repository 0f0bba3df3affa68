package db

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/admit-auth/admit/server/internal/postgrestest"
)

// TestPostgres in the environment makes the tests run on PostgreSQL.
const TestPostgres = "ADMIT_TEST_POSTGRES"

func TestsPostgres() bool { return os.Getenv(TestPostgres) != "" }

// EmptyPlace is where a test may have a database.
func EmptyPlace(t testing.TB) string {
	t.Helper()
	if TestsPostgres() {
		return postgrestest.Shared(t).Database(t)
	}
	return filepath.Join(t.TempDir(), "admit.db")
}

// NewPlace has a database that was migrated and that nobody has used: the migrations
// take longer than most tests, so that they run once.
func NewPlace(t testing.TB) string {
	t.Helper()
	if TestsPostgres() {
		return postgrestest.Shared(t).Copy(t, func(url string) error {
			_, err := Migrate(context.Background(), url)
			return err
		})
	}
	content, err := blank()
	file := filepath.Join(t.TempDir(), "admit.db")
	if err == nil {
		err = os.WriteFile(file, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

var blank = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "admit-test-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "admit.db")
	if _, err := Migrate(context.Background(), file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

// OfAFile passes over a test that is about a database in a file.
func OfAFile(t testing.TB) {
	t.Helper()
	if TestsPostgres() {
		t.Skip("about a database in a file")
	}
}
