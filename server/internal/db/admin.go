package db

import (
	"database/sql"
	"strings"

	"github.com/admit-auth/admit/server/internal/account"
)

// A where collects conditions that must all hold.
type where struct {
	conditions []string
	args       []any
}

func (w *where) and(condition string, args ...any) {
	w.conditions = append(w.conditions, condition)
	w.args = append(w.args, args...)
}

func (w *where) String() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// last sorts behind every text that begins as it does, so that a prefix is a
// range of an index and no pattern: there are no wildcards to be smuggled in.
const last = "\U0010FFFF"

// named finds users in the order of their names, whatever the case of letters.
var named = both{
	sqlite:   "name >= ? COLLATE NOCASE AND name < ? COLLATE NOCASE",
	postgres: "lower(name) >= lower(?) AND lower(name) < lower(?)",
}

func (t *txn) FindUsers(q *account.UserQuery) ([]*account.User, error) {
	var w where
	w.and("u.id > ?", q.After)
	if q.Search != "" {
		name, value := strings.Join(strings.Fields(q.Search), " "), strings.ToLower(strings.TrimSpace(q.Search))
		w.and(`u.id IN (SELECT id FROM users WHERE id = ?
			UNION SELECT id FROM users WHERE `+t.tx().pool.of(named)+`
			UNION SELECT user_id FROM identifiers WHERE value >= ? AND value < ?)`,
			strings.TrimSpace(q.Search), name, name+last, value, value+last)
	}
	if q.Role != "" {
		w.and("u.id IN (SELECT user_id FROM user_roles WHERE role = ?)", q.Role)
	}
	if q.Disabled != nil {
		w.and("u.disabled = " + map[bool]string{true: "1", false: "0"}[*q.Disabled])
	}
	if q.Verified != nil {
		not := map[bool]string{true: "NOT ", false: ""}[*q.Verified]
		w.and("u.id " + not + "IN (SELECT user_id FROM identifiers WHERE verified = 0)")
	}
	var users []*account.User
	err := t.query(func(rows *sql.Rows) error {
		u, err := scanUser(rows)
		users = append(users, u)
		return err
	}, "SELECT u.id, u.name, u.locale, u.disabled, u.must_change, u.created_at FROM users u"+w.String()+" ORDER BY u.id LIMIT ?", append(w.args, q.Limit)...)
	for _, u := range users {
		if err != nil {
			break
		}
		err = t.complete(u)
	}
	return users, err
}

func (t *txn) Roles() ([]account.Role, error) {
	var roles []account.Role
	err := t.query(func(rows *sql.Rows) error {
		var r account.Role
		err := rows.Scan(&r.Name, &r.Users)
		roles = append(roles, r)
		return err
	}, "SELECT role, count(*) FROM user_roles GROUP BY role ORDER BY role")
	return roles, err
}

func (t *txn) RoleHeldBeside(role, user string) (held bool, err error) {
	err = t.row(`SELECT EXISTS (SELECT 1 FROM user_roles r JOIN users u ON u.id = r.user_id
		WHERE r.role = ? AND u.id <> ? AND u.disabled = 0)`, role, user).Scan(&held)
	return held, err
}
