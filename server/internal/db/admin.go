package db

import (
	"database/sql"
	"slices"
	"strings"
	"time"

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

func (t *txn) FindUsers(q *account.UserQuery) ([]*account.User, error) {
	var w where
	w.and("u.id > ?", q.After)
	if q.Search != "" {
		name, value := strings.Join(strings.Fields(q.Search), " "), strings.ToLower(strings.TrimSpace(q.Search))
		w.and(`u.id IN (SELECT id FROM users WHERE id = ?
			UNION SELECT id FROM users WHERE name >= ? COLLATE NOCASE AND name < ? COLLATE NOCASE
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
	err = t.tx.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM user_roles r JOIN users u ON u.id = r.user_id
		WHERE r.role = ? AND u.id <> ? AND u.disabled = 0)`, role, user).Scan(&held)
	return held, err
}

// maxScan records are looked at for a text before the caller is asked whether to
// go on: there is no index that finds one, and 10⁷ records take half a minute.
const maxScan = 50_000

func (t *txn) Records(q *account.RecordQuery) ([]account.Record, account.Mark, error) {
	var none account.Mark
	var w where
	// One index is used: that of the first of these, which is the rarest as a
	// rule. A plus keeps the planner, which has no statistics, from the others.
	plus := ""
	if q.Newer > 0 {
		plus = "+"
	}
	for _, c := range []struct{ column, value string }{
		{"request_id", q.RequestID}, {"subject", q.Subject}, {"actor", q.Actor}, {"event", q.Event},
	} {
		if c.value != "" {
			w.and(plus+c.column+" = ?", c.value)
			plus = "+"
		}
	}
	// The two ends of what is walked over, first and last. There is one condition
	// of each: of two the planner may take the wider, and walk all of an export
	// anew for each of its pages.
	since, until := bound{}, bound{}
	if !q.Since.IsZero() {
		since = bound{"at >= ?", []any{q.Since.UnixMilli()}}
	}
	if !q.Until.IsZero() {
		until = bound{"at < ?", []any{q.Until.UnixMilli()}}
	}
	var order, past, within string
	var begin, end bound
	from := time.UnixMilli(q.From.At)
	inside := q.From != none
	switch {
	case q.Newer > 0:
		// Who follows must not miss what was begun before and kept after: ids are in
		// the order of commits, times are not.
		for _, b := range []bound{since, until} {
			if b.condition != "" {
				w.and("+"+b.condition, b.args...)
			}
		}
		order, within = " ORDER BY id LIMIT ?", "id <= ?"
		begin, inside = bound{"id > ?", []any{max(q.Newer, q.From.ID)}}, false
	case q.OldestFirst:
		order, past, within = " ORDER BY at, id LIMIT ?", "(at, id) > (?, ?)", "(at, id) <= (?, ?)"
		begin, end = since, until
		inside = inside && !from.Before(q.Since)
	default:
		order, past, within = " ORDER BY at DESC, id DESC LIMIT ?", "(at, id) < (?, ?)", "(at, id) >= (?, ?)"
		begin, end = until, since
		inside = inside && (q.Until.IsZero() || from.Before(q.Until))
	}
	if inside {
		begin = bound{past, []any{q.From.At, q.From.ID}}
	}
	w = *w.with(begin)
	var stop account.Mark // the last record that is looked at, if there are more
	if q.Text != "" {
		all := w.with(end)
		err := t.tx.QueryRowContext(t.ctx, "SELECT at, id FROM audit"+all.String()+order+" OFFSET ?", append(all.args, 1, maxScan-1)...).Scan(&stop.At, &stop.ID)
		if err != nil && !noRows(err) {
			return nil, none, err
		}
		if stop != none {
			end = bound{within, []any{stop.At, stop.ID}}
			if q.Newer > 0 {
				end.args = end.args[1:]
			}
		}
		w.and("(instr(lower(detail), lower(?)) > 0 OR instr(lower(reason), lower(?)) > 0)", q.Text, q.Text)
	}
	all := w.with(end)
	var records []account.Record
	err := t.query(func(rows *sql.Rows) error {
		var r account.Record
		var at int64
		err := rows.Scan(&r.ID, &at, &r.Subject, &r.Actor, &r.Event, &r.Detail, &r.Reason, &r.SID, &r.Address, &r.UserAgent, &r.RequestID)
		r.At = time.UnixMilli(at)
		records = append(records, r)
		return err
	}, "SELECT id, at, subject, actor, event, detail, reason, sid, address, user_agent, request_id FROM audit"+all.String()+order, append(all.args, q.Limit)...)
	next := stop
	if len(records) > 0 && len(records) == q.Limit {
		last := records[len(records)-1]
		next = account.Mark{At: last.At.UnixMilli(), ID: last.ID}
	}
	return records, next, err
}

// A bound is one end of a range; the zero value is none.
type bound struct {
	condition string
	args      []any
}

// with returns w and a bound more.
func (w *where) with(b bound) *where {
	all := &where{slices.Clone(w.conditions), slices.Clone(w.args)}
	if b.condition != "" {
		all.and(b.condition, b.args...)
	}
	return all
}

func (t *txn) SweepRecords(before time.Time, limit int) (int, error) {
	res, err := t.tx.ExecContext(t.ctx, "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? ORDER BY at, id LIMIT ?)", before.UnixMilli(), limit)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}
