package db

import (
	"database/sql"
	"time"

	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
)

const (
	sqlFindKnownClients = "SELECT data FROM clients WHERE stranger_since = 0 AND id > ? ORDER BY id LIMIT ?"
	// A client that people use has a consent that was used, to the hour, or a grant that lives.
	sqlUnusedStrangers = `SELECT id FROM clients c WHERE stranger_since > 0 AND stranger_since <= ?
		AND NOT EXISTS (SELECT 1 FROM consents WHERE client_id = c.id AND used_at > ?)
		AND NOT EXISTS (SELECT 1 FROM grants WHERE client_id = c.id AND ended = '' AND expires_at > ?)
		ORDER BY stranger_since LIMIT ?`

	sqlInvite      = "SELECT id, digest, uses, expires_at, data FROM invites WHERE id = ?"
	sqlInvites     = "SELECT id, digest, uses, expires_at, data FROM invites ORDER BY expires_at, id"
	sqlPutInvite   = "INSERT INTO invites (id, digest, uses, expires_at, data) VALUES (?, ?, ?, ?, ?)"
	sqlUseInvite   = "UPDATE invites SET uses = uses - 1 WHERE id = ? AND uses > 0 AND expires_at > ?"
	sqlDropInvite  = "DELETE FROM invites WHERE id = ?"
	sqlSweepInvite = "DELETE FROM invites WHERE id IN (SELECT id FROM invites WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
)

// strangerSince is since when a client is a stranger's, 0 where it is none.
func strangerSince(c *provider.Client) int64 {
	if !c.Unverified() {
		return 0
	}
	return max(c.CreatedAt.UnixMilli(), 1)
}

// FindKnownClients implements account.Clients.
func (t *txn) FindKnownClients(after string, limit int) (all []*provider.Client, err error) {
	return t.clientsOf(sqlFindKnownClients, after, limit)
}

// UnusedStrangers implements account.Clients.
func (t *txn) UnusedStrangers(before, now time.Time, limit int) (ids []string, err error) {
	return ids, t.query(func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, sqlUnusedStrangers, before.UnixMilli(), before.UnixMilli(), now.UnixMilli(), limit)
}

// inviteData is what of an invite is not looked for.
type inviteData struct {
	Name      string    `json:"name,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	provider.Limits
}

func scanInvite(row interface{ Scan(...any) error }) (*account.Invite, error) {
	i := &account.Invite{}
	var digest []byte
	var expires int64
	var text string
	if err := row.Scan(&i.ID, &digest, &i.Uses, &expires, &text); err != nil {
		return nil, err
	}
	var data inviteData
	err := parse(text, &data)
	copy(i.Digest[:], digest)
	i.Name, i.CreatedAt, i.Limits, i.Expires = data.Name, data.CreatedAt, data.Limits, time.UnixMilli(expires)
	return i, err
}

// Invite implements provider.Tx.
func (t *txn) Invite(id string) (*provider.Invite, error) {
	i, err := found(scanInvite(t.row(sqlInvite, id)))
	if i == nil {
		return nil, err
	}
	return &i.Invite, nil
}

// UseInvite implements provider.Tx.
func (t *txn) UseInvite(id string, now time.Time) (bool, error) {
	return t.one(sqlUseInvite, id, now.UnixMilli())
}

// Invites implements account.Clients.
func (t *txn) Invites() (all []*account.Invite, err error) {
	return all, t.query(func(rows *sql.Rows) error {
		i, err := scanInvite(rows)
		all = append(all, i)
		return err
	}, sqlInvites)
}

// PutInvite implements account.Clients.
func (t *txn) PutInvite(i *account.Invite) error {
	data, err := text(inviteData{i.Name, i.CreatedAt, i.Limits})
	if err != nil {
		return err
	}
	return t.exec(sqlPutInvite, i.ID, i.Digest[:], i.Uses, i.Expires.UnixMilli(), data)
}

// DropInvite implements account.Clients.
func (t *txn) DropInvite(id string) (bool, error) {
	return t.one(sqlDropInvite, id)
}
