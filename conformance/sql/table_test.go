package sql

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/admit-auth/admit/session/sqlstore"
)

func TestWhoOpensADatabaseWithoutTheTableIsToldWhatMakesIt(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "empty.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := sqlstore.SQLite.New(t.Context(), db, db); err == nil || !strings.Contains(err.Error(), "Dialect.Schema") {
		t.Errorf("without the table: %v", err)
	}
	if _, err := db.Exec(sqlstore.SQLite.Schema()); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlstore.SQLite.New(t.Context(), db, db); err != nil {
		t.Errorf("with the table: %v", err)
	}
}
