package db

import (
	"database/sql"
	"strings"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// many is how many rows or keys one statement has: to parse a statement costs as
// much as some rows do.
const many = 200

// placeholders returns "(?, ?, …)".
func placeholders(n int) string {
	return "(" + strings.TrimSuffix(strings.Repeat("?, ", n), ", ") + ")"
}

// chunks calls fn for pieces of a list.
func chunks[T any](all []T, fn func([]T) error) error {
	for len(all) > 0 {
		n := min(many, len(all))
		if err := fn(all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// pairs adds what a query finds for keys, two texts each, to a map.
func (t *txn) pairs(to map[string]string, query string, keys []string) error {
	return chunks(keys, func(keys []string) error {
		args := make([]any, len(keys))
		for i, k := range keys {
			args[i] = k
		}
		return t.query(func(rows *sql.Rows) error {
			var key, value string
			err := rows.Scan(&key, &value)
			to[key] = value
			return err
		}, query+" IN "+placeholders(len(keys)), args...)
	})
}

func (t *txn) Known(external, names []string) (byExternal, byName map[string]string, err error) {
	byExternal, byName = map[string]string{}, map[string]string{}
	if err := t.pairs(byExternal, "SELECT external_id, user_id FROM external_ids WHERE external_id", external); err != nil {
		return nil, nil, err
	}
	if err := t.pairs(byName, "SELECT value, user_id FROM identifiers WHERE value", names); err != nil {
		return nil, nil, err
	}
	ids := make([]string, 0, len(names))
	for _, n := range names {
		if !strings.Contains(n, "@") { // which no id has
			ids = append(ids, n)
		}
	}
	return byExternal, byName, t.pairs(byName, "SELECT id, id FROM users WHERE id", ids)
}

func (t *txn) ExternalIDs(users []string) (map[string]string, error) {
	found := map[string]string{}
	return found, t.pairs(found, "SELECT user_id, external_id FROM external_ids WHERE user_id", users)
}

func (t *txn) Holdings(users []string) (hashes, keys, factors map[string]string, err error) {
	hashes, keys, factors = map[string]string{}, map[string]string{}, map[string]string{}
	for _, q := range []struct {
		to    map[string]string
		query string
	}{
		{hashes, "SELECT user_id, value FROM credentials WHERE kind = '" + kindPassword + "' AND user_id"},
		{keys, "SELECT user_id, id FROM api_keys WHERE user_id"},
		{factors, "SELECT user_id, id FROM factors WHERE user_id"},
	} {
		if err := t.pairs(q.to, q.query, users); err != nil {
			return nil, nil, nil, err
		}
	}
	return hashes, keys, factors, nil
}

func (t *txn) SetExternalID(user, external string) error {
	return t.exec("INSERT INTO external_ids (external_id, user_id) VALUES (?, ?) ON CONFLICT (user_id) DO UPDATE SET external_id = excluded.external_id", external, user)
}

// insert adds rows, many with one statement.
func (t *txn) insert(into string, rows [][]any) error {
	return chunks(rows, func(rows [][]any) error {
		row := placeholders(len(rows[0]))
		args := make([]any, 0, len(rows)*len(rows[0]))
		for _, r := range rows {
			args = append(args, r...)
		}
		return t.exec("INSERT INTO "+into+" VALUES "+strings.TrimSuffix(strings.Repeat(row+", ", len(rows)), ", "), args...)
	})
}

// What SQLite is told while many users come: a piece of them touches some pages at
// random places of each index. With a cache that holds these, and a log that is
// copied back when it has 128 MiB and not after each piece, a million take half the
// time. Then it is told what it was told before.
const (
	sqlWide   = "PRAGMA cache_size(-65536); PRAGMA wal_autocheckpoint(32768)"
	sqlNarrow = "PRAGMA cache_size(-4096); PRAGMA wal_autocheckpoint(1000)"
)

func (t *txn) AddUsers(all []account.Arrived, now time.Time) error {
	if len(all) > many && t.tx().pool.dialect == inSQLite {
		if err := t.exec(sqlWide); err != nil {
			return err
		}
	}
	t.closing.accounts = t.closing.accounts || len(all) > 0
	var users, identifiers, roles, external, hashes [][]any
	for _, a := range all {
		users = append(users, []any{a.ID, a.Name, a.Locale, a.Disabled, a.MustChange, a.CreatedAt.UnixMilli()})
		for n, id := range a.Identifiers {
			identifiers = append(identifiers, []any{id.Value, a.ID, id.Kind, id.Verified, id.Primary, n})
		}
		for _, role := range a.Roles {
			roles = append(roles, []any{a.ID, role})
		}
		if a.ExternalID != "" {
			external = append(external, []any{a.ExternalID, a.ID})
		}
		if a.Hash != "" {
			hashes = append(hashes, []any{a.ID, kindPassword, a.Hash, now.UnixMilli()})
		}
	}
	for _, table := range []struct {
		into string
		rows [][]any
	}{
		{"users (id, name, locale, disabled, must_change, created_at)", users},
		{"identifiers (value, user_id, kind, verified, is_primary, position)", identifiers},
		{"user_roles (user_id, role)", roles},
		{"external_ids (external_id, user_id)", external},
		{"credentials (user_id, kind, value, changed_at)", hashes},
	} {
		if err := t.insert(table.into, table.rows); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) ImportState(id string) (account.ImportState, error) {
	s := account.ImportState{ID: id}
	var at int64
	err := t.row("SELECT bytes, digest, lines, made, mended, there, at, done FROM imports WHERE id = ?", id).
		Scan(&s.Bytes, &s.Digest, &s.Lines, &s.Made, &s.Mended, &s.There, &at, &s.Done)
	if noRows(err) {
		return s, nil
	}
	s.At = time.UnixMilli(at)
	return s, err
}

func (t *txn) PutImport(s account.ImportState, refused []account.LineRefusal) error {
	err := t.exec(`INSERT INTO imports (id, bytes, digest, lines, made, mended, there, at, done) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes, digest = excluded.digest, lines = excluded.lines, made = excluded.made,
		mended = excluded.mended, there = excluded.there, at = excluded.at, done = excluded.done`,
		s.ID, s.Bytes, s.Digest, s.Lines, s.Made, s.Mended, s.There, s.At.UnixMilli(), s.Done)
	if err != nil {
		return err
	}
	if s.Done && t.tx().pool.dialect == inSQLite {
		if err := t.exec(sqlNarrow); err != nil {
			return err
		}
	}
	rows := make([][]any, len(refused))
	for i, r := range refused {
		rows[i] = []any{s.ID, r.Line, r.Code, r.Detail}
	}
	return t.insert("import_refusals (import_id, line, code, detail)", rows)
}

func (t *txn) DropImports(id string, before time.Time) error {
	return t.exec("DELETE FROM imports WHERE id = ? OR at < ?", id, before.UnixMilli())
}

func (t *txn) ImportRefusals(id string, after, limit int) ([]account.LineRefusal, error) {
	var all []account.LineRefusal
	err := t.query(func(rows *sql.Rows) error {
		var r account.LineRefusal
		err := rows.Scan(&r.Line, &r.Code, &r.Detail)
		all = append(all, r)
		return err
	}, "SELECT line, code, detail FROM import_refusals WHERE import_id = ? AND line > ? ORDER BY line LIMIT ?", id, after, limit)
	return all, err
}
