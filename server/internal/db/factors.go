package db

import (
	"database/sql"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

const factorColumns = "SELECT id, user_id, kind, name, created_at, used_at, expires_at, counter, data FROM factors "

func scanFactor(row interface{ Scan(...any) error }) (*account.Factor, error) {
	f := &account.Factor{}
	var created, used, expires int64
	err := row.Scan(&f.ID, &f.User, &f.Kind, &f.Name, &created, &used, &expires, &f.Counter, &f.Data)
	f.CreatedAt, f.LastUsed, f.ExpiresAt = when(created), when(used), when(expires)
	return f, err
}

func (t *txn) Factor(id string) (*account.Factor, error) {
	f, err := scanFactor(t.row(factorColumns+"WHERE id = ?", id))
	if noRows(err) {
		return nil, account.ErrUnknownFactor
	}
	return f, err
}

func (t *txn) factors(rest string, args ...any) (all []*account.Factor, err error) {
	err = t.query(func(rows *sql.Rows) error {
		f, err := scanFactor(rows)
		all = append(all, f)
		return err
	}, factorColumns+rest, args...)
	return all, err
}

func (t *txn) FactorsOf(user string) ([]*account.Factor, error) {
	return t.factors("WHERE user_id = ? ORDER BY created_at, id", user)
}

func (t *txn) FactorsSealedBy(head string) ([]*account.Factor, error) {
	return t.factors("WHERE kind = ? AND substr(data, 1, length(?)) = ?", account.TOTP, head, head)
}

func (t *txn) AddFactor(f *account.Factor) error {
	return t.exec(`INSERT INTO factors (id, user_id, kind, name, created_at, used_at, expires_at, counter, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		f.ID, f.User, f.Kind, f.Name, since(f.CreatedAt), since(f.LastUsed), since(f.ExpiresAt), f.Counter, f.Data)
}

func (t *txn) ChangeFactor(f *account.Factor, was int64) (bool, error) {
	return t.one("UPDATE factors SET name = ?, used_at = ?, counter = ?, data = ? WHERE id = ? AND counter = ?",
		f.Name, since(f.LastUsed), f.Counter, f.Data, f.ID, was)
}

func (t *txn) DeleteFactor(id string) error { return t.exec("DELETE FROM factors WHERE id = ?", id) }

func (t *txn) DeleteFactors(user string, kinds ...account.FactorKind) error {
	for _, kind := range kinds {
		if err := t.exec("DELETE FROM factors WHERE user_id = ? AND kind = ?", user, kind); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) FactorTries(user, device string) (fullAt time.Time, err error) {
	var millis int64
	err = t.row("SELECT full_at FROM factor_tries WHERE user_id = ? AND device = ?", user, device).Scan(&millis)
	if noRows(err) {
		return time.Time{}, nil
	}
	return when(millis), err
}

func (t *txn) PutFactorTries(user, device string, fullAt, now time.Time) error {
	if err := t.exec("DELETE FROM factor_tries WHERE user_id = ? AND full_at <= ?", user, now.UnixMilli()); err != nil {
		return err
	}
	return t.exec(`INSERT INTO factor_tries (user_id, device, full_at) VALUES (?, ?, ?)
		ON CONFLICT (user_id, device) DO UPDATE SET full_at = excluded.full_at`, user, device, fullAt.UnixMilli())
}

func scanLoss(row interface{ Scan(...any) error }) (*account.FactorLoss, error) {
	l := &account.FactorLoss{}
	var begun, due int64
	err := row.Scan(&l.User, &begun, &due, &l.Told)
	l.BegunAt, l.DueAt = when(begun), when(due)
	return l, err
}

const lossColumns = "SELECT user_id, begun_at, due_at, told FROM factor_losses "

func (t *txn) FactorLoss(user string) (*account.FactorLoss, error) {
	l, err := scanLoss(t.row(lossColumns+"WHERE user_id = ?", user))
	if noRows(err) {
		return nil, nil
	}
	return l, err
}

func (t *txn) FactorLosses() (all []*account.FactorLoss, err error) {
	err = t.query(func(rows *sql.Rows) error {
		l, err := scanLoss(rows)
		all = append(all, l)
		return err
	}, lossColumns+"ORDER BY due_at")
	return all, err
}

func (t *txn) PutFactorLoss(l *account.FactorLoss) error {
	return t.exec(`INSERT INTO factor_losses (user_id, begun_at, due_at, told) VALUES (?, ?, ?, ?)
		ON CONFLICT (user_id) DO UPDATE SET told = excluded.told`, l.User, since(l.BegunAt), since(l.DueAt), l.Told)
}

func (t *txn) DeleteFactorLoss(user string) error {
	return t.exec("DELETE FROM factor_losses WHERE user_id = ?", user)
}
