package db

import (
	"database/sql"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// columnsOfTables are the columns of each table, and those that refer to users.
func columnsOfTables(t *testing.T, d *DB) (columns, refer map[string][]string) {
	t.Helper()
	columns, refer = map[string][]string{}, map[string][]string{}
	rows, err := d.read.QueryContext(t.Context(), "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		columns[table] = append(columns[table], column)
		if slices.Contains([]string{"user_id", "user", "subject", "target", "owner"}, column) {
			refer[table] = append(refer[table], column)
		}
	}
	foreign, err := d.read.QueryContext(t.Context(), `SELECT m.name, f."from" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table' AND f."table" = 'users'`)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	for foreign.Next() {
		var table, column string
		if err := foreign.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		refer[table] = append(refer[table], column)
	}
	return columns, refer
}

// First proof takes all, of what there will be as well: a new table about users says
// what becomes of its rows.
func TestEveryTableAboutUsersSaysWhatAClearingLeavesOfIt(t *testing.T) {
	OfAFile(t)
	d, err := Open(t.Context(), NewPlace(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	columns, refer := columnsOfTables(t, d)
	if len(refer) < 9 {
		t.Fatalf("only %d tables are about users: %v", len(refer), refer)
	}
	named := map[string]bool{}
	for _, b := range belongings {
		if named[b.table] {
			t.Errorf("%s is named twice", b.table)
		}
		named[b.table] = true
		if b.why == "" || !slices.Contains(columns[b.table], b.user) {
			t.Errorf("%s, by %s, is named without a reason, or is not there", b.table, b.user)
		}
	}
	for table, by := range refer {
		if !named[table] {
			t.Errorf("the rows of table %s are about users, by %v: say in belongings (clear.go) which of them go where an account is cleared, and why", table, by)
		}
	}
}

func TestAClearingTakesWhatItNamesOfOneUserOnly(t *testing.T) {
	OfAFile(t)
	d, err := Open(t.Context(), NewPlace(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	columns, _ := columnsOfTables(t, d)
	count := func(table, by, user string) (n int) {
		if err := d.read.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table+" WHERE "+by+" = ?", user).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	now := time.Now()
	for _, b := range belongings {
		if b.goes == nil {
			continue
		}
		for of, which := range b.goes {
			// Rows that differ in what conditions ask for: the kind, and since when.
			put := func(user, kind string, at time.Time, id string) {
				var marks []string
				var values []any
				for _, c := range columns[b.table] {
					marks = append(marks, "?")
					switch {
					case c == b.user:
						values = append(values, user)
					case c == "kind":
						values = append(values, kind)
					case c == "created_at", c == "changed_at":
						values = append(values, at.UnixMilli())
					case c == "id":
						values = append(values, id)
					default:
						values = append(values, 0)
					}
				}
				exec(t, d.write.DB, "INSERT OR REPLACE INTO "+b.table+" ("+strings.Join(columns[b.table], ", ")+") VALUES ("+strings.Join(marks, ", ")+")", values...)
			}
			for _, user := range []string{"ann", "bob"} {
				exec(t, d.write.DB, "INSERT OR REPLACE INTO users (id, name, locale, disabled, created_at) VALUES (?, '', '', 0, 0)", user)
				for _, kind := range []string{"password", "totp", "device"} {
					put(user, kind, now.Add(-time.Hour), user+kind+"1")
					put(user, kind, now.Add(time.Hour), user+kind+"2")
				}
			}
			before := count(b.table, b.user, "bob")
			err := d.Update(t.Context(), func(tx account.Tx) error { return tx.Clear("ann", of, now) })
			if err != nil {
				t.Fatal(err)
			}
			left := count(b.table, b.user, "ann")
			if which == everyRow && left > 0 || which != everyRow && left == before || count(b.table, b.user, "bob") != before || before == 0 {
				t.Errorf("clearing %d leaves %d of %d rows of %s, and %d of another's", of, left, before, b.table, count(b.table, b.user, "bob"))
			}
		}
	}
}

func exec(t *testing.T, d *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := d.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
