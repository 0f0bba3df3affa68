package db_test

import (
	"errors"
	"testing"
	"time"

	"database/sql"

	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/postgres"
)

// ran notes in a database that a migration of another program ran.
func ran(t *testing.T, place, statement string, args ...any) {
	t.Helper()
	pool, err := sql.Open("sqlite", place)
	if db.IsURL(place) {
		var a postgres.Address
		a, err = postgres.Parse(place)
		pool = postgres.Open(a, 1, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(statement, args...); err != nil {
		t.Fatal(err)
	}
}

func fresh(t *testing.T) (file string) {
	t.Helper()
	file = db.EmptyPlace(t)
	reopen(t, file, nil)
	return file
}

// reopen opens and closes a database, which must end in an error like want.
func reopen(t *testing.T, file string, want error) {
	t.Helper()
	d, err := db.Open(t.Context(), file)
	if !errors.Is(err, want) {
		t.Fatalf("Open: %v, want %v", err, want)
	}
	if err == nil {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

const insert = "INSERT INTO migrations (name, checksum, at, oldest) VALUES ($1, 'of another', 0, $2)"

func TestAProgramWorksOnANewerSchemaThatSaysSo(t *testing.T) {
	for _, tt := range []struct {
		name   string
		oldest any
		want   error
	}{
		{"one that only adds", 1, nil},
		{"one that asks for more than this program", 9000, db.ErrNewer},
		{"one that says nothing", nil, db.ErrNewer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := fresh(t)
			ran(t, file, insert, "migrations/9000_later.sql", tt.oldest)
			reopen(t, file, tt.want)
			_, err := db.SchemaOf(t.Context(), file)
			if !errors.Is(err, tt.want) {
				t.Errorf("SchemaOf: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestAMigrationThatWasChangedAfterItRanIsRefused(t *testing.T) {
	file := fresh(t)
	ran(t, file, "UPDATE migrations SET checksum = 'another' WHERE name LIKE '%0001%'")
	reopen(t, file, db.ErrSchema)
}

func TestADatabaseFromBeforeTheRangesIsMigrated(t *testing.T) {
	file := fresh(t)
	ran(t, file, "DROP TABLE instance")
	ran(t, file, "DELETE FROM migrations WHERE name LIKE '%0005%'")
	ran(t, file, "ALTER TABLE migrations DROP COLUMN oldest")
	s, err := db.SchemaOf(t.Context(), file)
	if err != nil || len(s.Pending) != 1 || s.Pending[0] != "0005_backup.sql" {
		t.Fatalf("SchemaOf: %+v, %v", s, err)
	}
	before, err := db.Migrate(t.Context(), file)
	if err != nil || len(before.Pending) != 1 {
		t.Fatalf("Migrate: %+v, %v", before, err)
	}
	s, err = db.SchemaOf(t.Context(), file)
	if err != nil || len(s.Pending) != 0 || s.Version < 5 {
		t.Fatalf("SchemaOf afterwards: %+v, %v", s, err)
	}
	reopen(t, file, nil)
}

func TestARestoredDatabaseIsANewEpoch(t *testing.T) {
	file := fresh(t)
	d, err := db.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	before, err := d.Instance(t.Context())
	if err != nil || before.Epoch == "" || !before.RestoredAt.IsZero() {
		t.Fatalf("Instance: %+v, %v", before, err)
	}
	now := time.UnixMilli(1_800_000_000_000)
	if _, err := d.Renew(t.Context(), true, now); err != nil {
		t.Fatal(err)
	}
	after, err := d.Instance(t.Context())
	if err != nil || after.Epoch == before.Epoch || !after.RestoredAt.Equal(now) {
		t.Errorf("Instance: %+v, %v; before %+v", after, err, before)
	}
}
