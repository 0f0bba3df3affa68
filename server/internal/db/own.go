package db

import (
	"database/sql"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// What people do with their own accounts.

func (t *txn) Erase(id, pseudonym string) error {
	t.closing.accounts = true
	if err := t.flush(); err != nil {
		return err
	}
	t.tx().wrote(nearRow{ofEpoch, id}, nearRow{ofUser, id})
	if err := t.in.Forget(t.ctx, t.tx().Tx, id); err != nil {
		return err
	}
	if err := t.forgetGrants(id); err != nil {
		return err
	}
	if err := t.exec("DELETE FROM outbox WHERE user_id = ?", id); err != nil {
		return err
	}
	if err := t.forgetBlocksOf(id); err != nil {
		return err
	}
	return t.exec(`UPDATE audit SET subject = ?, actor = CASE WHEN actor = subject THEN ? ELSE actor END,
		detail = '', reason = '', sid = '', address = '', user_agent = '' WHERE subject = ?`, pseudonym, pseudonym, id)
}

func (t *txn) Ending(subject, sid string, events []string) (*account.Record, error) {
	var found *account.Record
	var begun int64
	if err := t.flush(); err != nil {
		return nil, err
	}
	err := t.row("SELECT id FROM audit WHERE subject = ? AND sid = ? AND event = 'signed_in' ORDER BY id DESC LIMIT 1", subject, sid).Scan(&begun)
	if err != nil && !noRows(err) {
		return nil, err
	}
	args := []any{subject, begun, sid}
	marks := ""
	for _, e := range events {
		marks += ", ?"
		args = append(args, e)
	}
	err = t.query(func(rows *sql.Rows) error {
		r := account.Record{Subject: subject}
		var at int64
		err := rows.Scan(&r.ID, &at, &r.Actor, &r.Event, &r.Detail, &r.SID)
		r.At = time.UnixMilli(at)
		found = &r
		return err
	}, "SELECT id, at, actor, event, detail, sid FROM audit WHERE subject = ? AND id > ? AND sid <> ? AND event IN ("+marks[2:]+") ORDER BY id LIMIT 1", args...)
	return found, err
}

func (t *txn) ListChallenges(purpose, target string) ([]*account.Challenge, error) {
	var ids []string
	err := t.query(func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM challenges WHERE purpose = ? AND target = ? ORDER BY expires_at", purpose, target)
	if err != nil {
		return nil, err
	}
	all := make([]*account.Challenge, len(ids))
	for i, id := range ids {
		if all[i], err = t.Challenge(id); err != nil {
			return nil, err
		}
	}
	return all, nil
}
