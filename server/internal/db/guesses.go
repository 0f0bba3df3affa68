package db

import (
	"time"
)

const (
	sqlOwed = "SELECT full_at FROM guesses WHERE key = ?"
	sqlOwe  = `INSERT INTO guesses (key, full_at) VALUES (?, ?)
		ON CONFLICT (key) DO UPDATE SET full_at = excluded.full_at`
	sqlSweepOwed = "DELETE FROM guesses WHERE key IN (SELECT key FROM guesses WHERE full_at <= ? ORDER BY full_at LIMIT ?)"
)

// Owed implements account.Guesses.
func (t *txn) Owed(key string) (time.Time, error) {
	var full int64
	err := t.row(sqlOwed, key).Scan(&full)
	if noRows(err) {
		return time.Time{}, nil
	}
	return time.UnixMilli(full), err
}

// Owe implements account.Guesses.
func (t *txn) Owe(key string, full time.Time) error { return t.exec(sqlOwe, key, full.UnixMilli()) }

// SweepOwed implements account.Guesses.
func (t *txn) SweepOwed(now time.Time, limit int) (int, error) {
	return changed(t.run(sqlSweepOwed, now.UnixMilli(), limit))
}

// UpgradePasswordHash implements account.Credentials.
func (t *txn) UpgradePasswordHash(user, old, hash string) error {
	return t.exec("UPDATE credentials SET value = ? WHERE user_id = ? AND kind = ? AND value = ?", hash, user, kindPassword, old)
}

// PasswordChanged implements account.Credentials.
func (t *txn) PasswordChanged(user string) (time.Time, error) {
	var at int64
	err := t.row("SELECT changed_at FROM credentials WHERE user_id = ? AND kind = ?", user, kindPassword).Scan(&at)
	if noRows(err) {
		return time.Time{}, nil
	}
	return time.UnixMilli(at), err
}

// SignedInBefore implements account.Audit.
func (t *txn) SignedInBefore(user, sid string) (before bool, err error) {
	if err := t.flush(); err != nil {
		return false, err
	}
	err = t.row("SELECT EXISTS (SELECT 1 FROM audit WHERE subject = ? AND event = 'signed_in' AND sid <> ?)", user, sid).Scan(&before)
	return before, err
}
