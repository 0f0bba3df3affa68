package db

import (
	"database/sql"
	"strings"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

const keyColumns = "SELECT id, user_id, digest, name, scopes, audiences, created_at, expires_at, last_used_at, ended_at FROM api_keys "

func scanAPIKey(row interface{ Scan(...any) error }) (*account.APIKey, error) {
	k := &account.APIKey{}
	var digest []byte
	var scopes, audiences string
	var created, expires, used, ended int64
	err := row.Scan(&k.ID, &k.User, &digest, &k.Name, &scopes, &audiences, &created, &expires, &used, &ended)
	copy(k.Digest[:], digest)
	k.Scopes, k.Audiences = strings.Fields(scopes), strings.Fields(audiences)
	k.CreatedAt, k.ExpiresAt, k.LastUsed, k.EndedAt = when(created), when(expires), when(used), when(ended)
	return k, err
}

// when reads a time that may not be, and since writes it.
func when(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis)
}

func since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func (t *txn) APIKey(id string) (*account.APIKey, error) {
	k, err := scanAPIKey(t.row(keyColumns+"WHERE id = ?", id))
	if noRows(err) {
		return nil, account.ErrUnknownAPIKey
	}
	return k, err
}

func (t *txn) APIKeysOf(user string) ([]*account.APIKey, error) {
	var keys []*account.APIKey
	err := t.query(func(rows *sql.Rows) error {
		k, err := scanAPIKey(rows)
		keys = append(keys, k)
		return err
	}, keyColumns+"WHERE user_id = ? ORDER BY created_at DESC, id", user)
	return keys, err
}

func (t *txn) AddAPIKey(k *account.APIKey) error {
	t.closing.accounts = true
	return t.exec(`INSERT INTO api_keys (id, user_id, digest, name, scopes, audiences, created_at, expires_at, last_used_at, ended_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		k.ID, k.User, k.Digest[:], k.Name, strings.Join(k.Scopes, " "), strings.Join(k.Audiences, " "),
		since(k.CreatedAt), since(k.ExpiresAt), since(k.LastUsed), since(k.EndedAt))
}

func (t *txn) EndAPIKey(id string, now time.Time) (bool, error) {
	t.closing.accounts = true
	return t.one("UPDATE api_keys SET ended_at = ? WHERE id = ? AND ended_at = 0", since(now), id)
}

func (t *txn) UsedAPIKeys(at map[string]time.Time) error {
	for id, used := range at {
		if err := t.exec("UPDATE api_keys SET last_used_at = ? WHERE id = ?", since(used), id); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) DeleteAPIKeys(user string, before time.Time) error {
	t.closing.accounts = true
	return t.exec("DELETE FROM api_keys WHERE user_id = ? AND (ended_at > 0 AND ended_at < ? OR expires_at > 0 AND expires_at < ?)",
		user, since(before), since(before))
}
