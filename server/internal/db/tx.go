package db

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	sqlite "modernc.org/sqlite"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/trace"
	"github.com/admit-auth/admit/session/sqlstore"
)

// A txn is an account.Tx.
type txn struct {
	ctx    context.Context
	tx     *sql.Tx
	often  statements // of the pool
	now    time.Time  // when the transaction began; zero in one that only reads
	raised []raise
	told   []feed.Event // that are yet to be written

	sessions []string // that were used or ended
}

// A raise is a subject with a new epoch, and whether sessions ended with it.
type raise struct {
	subject string
	ended   bool
}

func (t *txn) Trace() string { return trace.Parent(t.ctx) }

func noRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// statements are what is asked often, prepared once for each connection of a
// pool: to parse them was a third of what a refresh costs the database.
type statements map[string]*sql.Stmt

var often = []string{sqlUser, sqlIdentifiers, sqlRoles, sqlFamily, sqlRotate, savepoint, release}

func prepare(ctx context.Context, pool *sql.DB) (statements, error) {
	all := statements{}
	for _, query := range often {
		stmt, err := pool.PrepareContext(ctx, query)
		if err != nil {
			return nil, classify(err)
		}
		all[query] = stmt
	}
	return all, nil
}

func (t *txn) exec(query string, args ...any) (err error) {
	if stmt := t.often[query]; stmt != nil {
		_, err = t.tx.StmtContext(t.ctx, stmt).ExecContext(t.ctx, args...)
	} else {
		_, err = t.tx.ExecContext(t.ctx, query, args...)
	}
	return err
}

// changed returns how many rows a statement has changed.
func changed(res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (t *txn) row(query string, args ...any) *sql.Row {
	if stmt := t.often[query]; stmt != nil {
		return t.tx.StmtContext(t.ctx, stmt).QueryRowContext(t.ctx, args...)
	}
	return t.tx.QueryRowContext(t.ctx, query, args...)
}

// query calls scan for each row.
func (t *txn) query(scan func(*sql.Rows) error, query string, args ...any) error {
	var rows *sql.Rows
	var err error
	if stmt := t.often[query]; stmt != nil {
		rows, err = t.tx.StmtContext(t.ctx, stmt).QueryContext(t.ctx, args...)
	} else {
		rows, err = t.tx.QueryContext(t.ctx, query, args...)
	}
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

const (
	sqlUser        = "SELECT id, name, locale, disabled, must_change, created_at FROM users WHERE id = ?"
	sqlIdentifiers = "SELECT value, kind, verified, is_primary FROM identifiers WHERE user_id = ? ORDER BY position"
	sqlRoles       = "SELECT role FROM user_roles WHERE user_id = ? ORDER BY role"
)

func (t *txn) User(id string) (*account.User, error) { return t.user(sqlUser, id) }

func (t *txn) UserByIdentifier(value string) (*account.User, error) {
	return t.user(`SELECT u.id, u.name, u.locale, u.disabled, u.must_change, u.created_at
		FROM identifiers i JOIN users u ON u.id = i.user_id WHERE i.value = ?`, value)
}

func (t *txn) user(query, arg string) (*account.User, error) {
	u, err := scanUser(t.row(query, arg))
	if noRows(err) {
		return nil, account.ErrUnknownUser
	}
	if err != nil {
		return nil, err
	}
	return u, t.complete(u)
}

func scanUser(row interface{ Scan(...any) error }) (*account.User, error) {
	u := &account.User{}
	var created int64
	err := row.Scan(&u.ID, &u.Name, &u.Locale, &u.Disabled, &u.MustChange, &created)
	u.CreatedAt = time.UnixMilli(created)
	return u, err
}

// complete reads what hangs on a user.
func (t *txn) complete(u *account.User) error {
	err := t.query(func(rows *sql.Rows) error {
		var id account.Identifier
		err := rows.Scan(&id.Value, &id.Kind, &id.Verified, &id.Primary)
		u.Identifiers = append(u.Identifiers, id)
		return err
	}, sqlIdentifiers, u.ID)
	if err != nil {
		return err
	}
	return t.query(func(rows *sql.Rows) error {
		var role string
		err := rows.Scan(&role)
		u.Roles = append(u.Roles, role)
		return err
	}, sqlRoles, u.ID)
}

func (t *txn) PutUser(u *account.User) error {
	err := t.exec(`INSERT INTO users (id, name, locale, disabled, must_change, created_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, locale = excluded.locale, disabled = excluded.disabled, must_change = excluded.must_change`,
		u.ID, u.Name, u.Locale, u.Disabled, u.MustChange, u.CreatedAt.UnixMilli())
	if err != nil {
		return err
	}
	if err := t.exec("DELETE FROM identifiers WHERE user_id = ?", u.ID); err != nil {
		return err
	}
	for n, id := range u.Identifiers {
		err := t.exec("INSERT INTO identifiers (value, user_id, kind, verified, is_primary, position) VALUES (?, ?, ?, ?, ?, ?)",
			id.Value, u.ID, id.Kind, id.Verified, id.Primary, n)
		const primaryKey, unique = 1555, 2067 // SQLite extended result codes
		if e, ok := errors.AsType[*sqlite.Error](err); ok && (e.Code() == primaryKey || e.Code() == unique) {
			return account.ErrTaken
		}
		if err != nil {
			return err
		}
	}
	if err := t.exec("DELETE FROM user_roles WHERE user_id = ?", u.ID); err != nil {
		return err
	}
	for _, role := range u.Roles {
		if err := t.exec("INSERT INTO user_roles (user_id, role) VALUES (?, ?)", u.ID, role); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) RoleHeld(role string) (held bool, err error) {
	err = t.tx.QueryRowContext(t.ctx, "SELECT EXISTS (SELECT 1 FROM user_roles WHERE role = ?)", role).Scan(&held)
	return held, err
}

func (t *txn) DeleteUser(id string) error { return t.exec("DELETE FROM users WHERE id = ?", id) }

const kindPassword = "password"

func (t *txn) PasswordHash(user string) (hash string, err error) {
	err = t.tx.QueryRowContext(t.ctx, "SELECT value FROM credentials WHERE user_id = ? AND kind = ?", user, kindPassword).Scan(&hash)
	if noRows(err) {
		return "", nil
	}
	return hash, err
}

func (t *txn) SetPasswordHash(user, hash string, now time.Time) error {
	if hash == "" {
		return t.exec("DELETE FROM credentials WHERE user_id = ? AND kind = ?", user, kindPassword)
	}
	return t.exec(`INSERT INTO credentials (user_id, kind, value, changed_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (user_id, kind) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at`,
		user, kindPassword, hash, now.UnixMilli())
}

func (t *txn) PasswordHashes(fn func(hash string)) error {
	// Our own form is the rule and needs no telling.
	return t.query(func(rows *sql.Rows) error {
		var hash string
		err := rows.Scan(&hash)
		fn(hash)
		return err
	}, "SELECT value FROM credentials WHERE kind = ? AND value NOT LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'", kindPassword)
}

func (t *txn) RaiseEpoch(user, except string) error {
	t.raised = append(t.raised, raise{user, true})
	n, err := sqlstore.SQLite.RaiseEpoch(t.ctx, t.tx, user, except)
	return t.tellRaised(user, n, "account_changed", t.now, err)
}

func (t *txn) RaiseClaims(user string, now time.Time) error {
	t.raised = append(t.raised, raise{user, false})
	n, err := sqlstore.SQLite.RaiseClaims(t.ctx, t.tx, user)
	return t.tellRaised(user, n, "claims_changed", now, err)
}

func (t *txn) Epoch(user string) (uint64, error) {
	epoch, err := sqlstore.SQLite.ReadEpoch(t.ctx, t.tx, user)
	if err != nil || epoch.N > 0 {
		return epoch.N, err
	}
	// Not less than what Renew has told of everybody.
	var restored uint64
	err = t.tx.QueryRowContext(t.ctx, "SELECT restored_at FROM instance").Scan(&restored)
	return restored, err
}

func (t *txn) Challenge(id string) (*account.Challenge, error) {
	c := &account.Challenge{ID: id}
	var asker, link []byte
	var expires int64
	err := t.tx.QueryRowContext(t.ctx, "SELECT asker, link, purpose, target, tries, expires_at, sealed FROM challenges WHERE id = ?", id).
		Scan(&asker, &link, &c.Purpose, &c.Target, &c.Tries, &expires, &c.Sealed)
	if noRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	copy(c.Asker[:], asker)
	copy(c.Link[:], link)
	c.Expires = time.UnixMilli(expires)
	return c, nil
}

func (t *txn) PutChallenge(c *account.Challenge) error {
	return t.exec(`INSERT INTO challenges (id, asker, link, purpose, target, tries, expires_at, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET tries = excluded.tries`,
		c.ID, c.Asker[:], c.Link[:], c.Purpose, c.Target, c.Tries, c.Expires.UnixMilli(), c.Sealed)
}

func (t *txn) DeleteChallenge(id string) error {
	return t.exec("DELETE FROM challenges WHERE id = ?", id)
}

func (t *txn) DeleteChallenges(purpose, target string, now time.Time) error {
	return t.exec("DELETE FROM challenges WHERE (purpose = ? AND target = ?) OR expires_at <= ?", purpose, target, now.UnixMilli())
}

func (t *txn) Record(r *account.Record) error {
	return t.exec(`INSERT INTO audit (at, subject, actor, event, detail, reason, sid, address, user_agent, request_id)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.At.UnixMilli(), r.Subject, r.Actor, r.Event, r.Detail, r.Reason, r.SID, r.Address, r.UserAgent, r.RequestID)
}

func (t *txn) Activity(subject string, before int64, limit int) ([]account.Record, error) {
	const columns = "SELECT id, at, subject, actor, event, detail, sid, address, user_agent, request_id FROM audit "
	var records []account.Record
	scan := func(rows *sql.Rows) error {
		var r account.Record
		var at int64
		err := rows.Scan(&r.ID, &at, &r.Subject, &r.Actor, &r.Event, &r.Detail, &r.SID, &r.Address, &r.UserAgent, &r.RequestID)
		r.At = time.UnixMilli(at)
		records = append(records, r)
		return err
	}
	if before <= 0 {
		before = math.MaxInt64
	}
	var err error
	if subject == "" {
		err = t.query(scan, columns+"WHERE id < ? ORDER BY id DESC LIMIT ?", before, limit)
	} else {
		err = t.query(scan, columns+"WHERE subject = ? AND id < ? ORDER BY id DESC LIMIT ?", subject, before, limit)
	}
	return records, err
}

func (t *txn) Post(user, sealed string, now time.Time) error {
	return t.exec("INSERT INTO outbox (user_id, sealed, tries, at, due_at) VALUES (?, ?, 0, ?, ?)", user, sealed, now.UnixMilli(), now.UnixMilli())
}

func (t *txn) Posted(now time.Time, limit int) ([]account.Posted, error) {
	// No message is postponed by more than an hour: one that is due much later
	// was posted before the clock was set back, and would wait for as long.
	var due []account.Posted
	err := t.query(func(rows *sql.Rows) error {
		var p account.Posted
		var at int64
		err := rows.Scan(&p.ID, &p.Sealed, &p.Tries, &at)
		p.At = time.UnixMilli(at)
		due = append(due, p)
		return err
	}, "SELECT id, sealed, tries, at FROM outbox WHERE due_at <= ? OR due_at > ? ORDER BY due_at, id LIMIT ?",
		now.UnixMilli(), now.Add(61*time.Minute).UnixMilli(), limit)
	return due, err
}

// Unpost and Postpone name what is sealed, too: SQLite gives the id of a message
// again that went with its user while it was being sent.
func (t *txn) Unpost(p account.Posted) error {
	return t.exec("DELETE FROM outbox WHERE id = ? AND sealed = ?", p.ID, p.Sealed)
}

func (t *txn) Postpone(p account.Posted, until time.Time) error {
	return t.exec("UPDATE outbox SET tries = tries + 1, due_at = ? WHERE id = ? AND sealed = ?", until.UnixMilli(), p.ID, p.Sealed)
}
