package db

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/trace"
	"github.com/admit-auth/admit/session/sqlstore"
)

// A txn is an account.Tx.
type txn struct {
	ctx    context.Context
	under  *tx                         // what it is in, nil before the first statement of one that reads
	begin  func() (uint64, *tx, error) // makes that
	began  uint64                      // what copies had been forgotten before it began
	unsafe bool                        // the savepoint before its first statement is yet to be made
	failed error                       // it could not be made

	in     sqlstore.Dialect // what is done with sessions
	now    time.Time        // when the transaction began; zero in one that only reads
	raised []raise
	before *closing // of those before it in the same transaction; nil: none
	closing

	sessions []string // that were used or ended
}

// A raise is a subject with a new epoch, and whether sessions ended with it.
type raise struct {
	subject string
	ended   bool
}

func (t *txn) Trace() string { return trace.Parent(t.ctx) }

// tx returns the transaction for a statement. One that does without any costs the
// database nothing: a look at copies, or a refusal.
func (t *txn) tx() *tx {
	if t.under == nil {
		var err error
		if t.began, t.under, err = t.begin(); err != nil {
			panic(unbegun{err})
		}
	}
	if t.unsafe {
		t.unsafe = false
		_, t.failed = t.under.ExecContext(t.ctx, savepoint)
	}
	return t.under
}

// An unbegun is thrown by what cannot begin, at whoever can tell of it: most statements
// return a row, which has no room for it.
type unbegun struct{ err error }

func noRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }

func (t *txn) exec(query string, args ...any) error {
	_, err := t.run(query, args...)
	return err
}

func (t *txn) run(query string, args ...any) (sql.Result, error) {
	return t.tx().ExecContext(t.ctx, query, args...)
}

// changed returns how many rows a statement has changed.
func changed(res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// one reports whether a statement has changed a row.
func (t *txn) one(query string, args ...any) (bool, error) {
	n, err := changed(t.run(query, args...))
	return n == 1, err
}

func (t *txn) row(query string, args ...any) *sql.Row {
	return t.tx().QueryRowContext(t.ctx, query, args...)
}

// query calls scan for each row.
func (t *txn) query(scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := t.tx().QueryContext(t.ctx, query, args...)
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
	t.closing.accounts = true
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
		// A statement that fails would take the whole transaction along in PostgreSQL.
		made, err := changed(t.run(`INSERT INTO identifiers (value, user_id, kind, verified, is_primary, position) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (value) DO NOTHING`, id.Value, u.ID, id.Kind, id.Verified, id.Primary, n))
		if err != nil {
			return err
		}
		if made == 0 {
			return account.ErrTaken
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
	err = t.row("SELECT EXISTS (SELECT 1 FROM user_roles WHERE role = ?)", role).Scan(&held)
	return held, err
}

func (t *txn) DeleteUser(id string) error {
	t.closing.accounts = true
	if err := t.forgetGrants(id); err != nil {
		return err
	}
	return t.exec("DELETE FROM users WHERE id = ?", id)
}

const kindPassword = "password"

func (t *txn) PasswordHash(user string) (hash string, err error) {
	err = t.row("SELECT value FROM credentials WHERE user_id = ? AND kind = ?", user, kindPassword).Scan(&hash)
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

const reasonRaised = "account_changed"

func (t *txn) RaiseEpoch(user, except string) error {
	t.raised = append(t.raised, raise{user, true})
	t.tx().wrote(nearRow{ofEpoch, user}, nearRow{ofUser, user})
	n, err := t.in.RaiseEpoch(t.ctx, t.tx().Tx, user, except)
	if err == nil {
		err = t.DeleteFactors(user, account.Trusted)
	}
	if err == nil {
		err = t.tellEnded(t.tx().endGrantsOf(t.ctx, user, except, reasonRaised, t.now))
	}
	return t.tellRaised(user, n, reasonRaised, t.now, err)
}

func (t *txn) RaiseClaims(user string, now time.Time) error {
	t.raised = append(t.raised, raise{user, false})
	t.tx().wrote(nearRow{ofEpoch, user}, nearRow{ofUser, user})
	n, err := t.in.RaiseClaims(t.ctx, t.tx().Tx, user)
	return t.tellRaised(user, n, "claims_changed", now, err)
}

func (t *txn) Epoch(user string) (n uint64, own bool, err error) {
	epoch, err := t.in.ReadEpoch(t.ctx, t.tx().Tx, user)
	if err != nil || epoch.N > 0 {
		return epoch.N, epoch.N > 0, err
	}
	// Not less than what Renew has told of everybody.
	err = t.row("SELECT restored_at FROM instance").Scan(&n)
	return n, false, err
}

func (t *txn) Challenge(id string) (*account.Challenge, error) {
	c := &account.Challenge{ID: id}
	var asker, link []byte
	var expires int64
	err := t.row("SELECT asker, link, purpose, target, tries, expires_at, sealed FROM challenges WHERE id = ?", id).
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

// Record implements account.Audit. Records get their ids at the end of the
// transaction, as events get their numbers.
func (t *txn) Record(r *account.Record) error {
	t.closing.records = append(t.closing.records, *r)
	return nil
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
	err := t.flush()
	if err != nil {
		return nil, err
	}
	if subject == "" {
		err = t.query(scan, columns+"WHERE id < ? ORDER BY id DESC LIMIT ?", before, limit)
	} else {
		err = t.query(scan, columns+"WHERE subject = ? AND id < ? ORDER BY id DESC LIMIT ?", subject, before, limit)
	}
	return records, err
}

func (t *txn) Post(user, channel, sealed string, now time.Time) error {
	return t.exec("INSERT INTO outbox (user_id, channel, sealed, tries, at, due_at) VALUES (?, ?, ?, 0, ?, ?)", user, channel, sealed, now.UnixMilli(), now.UnixMilli())
}

func (t *txn) Posted(channel string, now time.Time, limit int) ([]account.Posted, error) {
	// No message is postponed by more than an hour: one that is due much later
	// was posted before the clock was set back, and would wait for as long.
	var due []account.Posted
	err := t.query(func(rows *sql.Rows) error {
		var p account.Posted
		var at, dueAt int64
		err := rows.Scan(&p.ID, &p.Sealed, &p.Tries, &p.Claim, &at, &dueAt)
		p.At, p.Due = time.UnixMilli(at), time.UnixMilli(dueAt)
		due = append(due, p)
		return err
	}, "SELECT id, sealed, tries, claim, at, due_at FROM outbox WHERE channel = ? AND (due_at <= ? OR due_at > ?) ORDER BY CASE WHEN tries = 0 THEN 0 ELSE 1 END, due_at, id LIMIT ?",
		channel, now.UnixMilli(), now.Add(61*time.Minute).UnixMilli(), limit)
	return due, err
}

// Claim and what follows name what is sealed, too: SQLite gives the id of a message
// again that went with its user while it was being sent.
func (t *txn) Claim(p account.Posted, claim string, until time.Time) (bool, error) {
	return t.one("UPDATE outbox SET claim = ?, tries = tries + 1, due_at = ? WHERE id = ? AND sealed = ? AND claim = ? AND due_at = ?",
		claim, until.UnixMilli(), p.ID, p.Sealed, p.Claim, p.Due.UnixMilli())
}

func (t *txn) Unpost(p account.Posted) error {
	return t.exec("DELETE FROM outbox WHERE id = ? AND sealed = ?", p.ID, p.Sealed)
}

func (t *txn) Postpone(p account.Posted, until time.Time) error {
	return t.exec("UPDATE outbox SET claim = '', due_at = ? WHERE id = ? AND sealed = ? AND claim = ?", until.UnixMilli(), p.ID, p.Sealed, p.Claim)
}

func (t *txn) Unclaim(now time.Time) error {
	return t.exec("UPDATE outbox SET claim = '', due_at = ? WHERE claim <> ''", now.UnixMilli())
}
