package db

import (
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

func (t *txn) Session(sid string, now time.Time) (session.Info, error) {
	return t.in.Look(t.ctx, t.tx().Tx, sid, now)
}

func (t *txn) UseSession(sid string, now time.Time) (session.Info, error) {
	info, wrote, err := t.in.Use(t.ctx, t.tx().Tx, sid, now)
	if wrote {
		t.sessions = append(t.sessions, sid)
	}
	return info, err
}

func (t *txn) EndSession(sid, reason string, now time.Time) error {
	t.sessions = append(t.sessions, sid)
	t.tx().wrote(nearRow{ofSession, sid})
	info, err := t.in.End(t.ctx, t.tx().Tx, sid, reason, now)
	if err == nil {
		err = t.tellEnded(t.tx().endGrantsBehind(t.ctx, sid, reason, now))
	}
	if err != nil {
		return err
	}
	return t.Tell(feed.SessionEnded(sid, info.Subject, reason, now.Add(account.ToldFor)))
}

const (
	sqlFamily = `SELECT sid, user_id, client_id, scope, jkt, ended, expires_at, n, current, previous, rotated_at
		FROM refresh_families WHERE id = ?`
	sqlRotate = `UPDATE refresh_families SET n = n + 1, previous = current, current = ?, rotated_at = ?
		WHERE id = ? AND n = ? AND ended = ''`
)

func (t *txn) Family(id string) (*account.Family, error) {
	f := &account.Family{ID: id}
	var current, previous []byte
	var expires, rotated int64
	err := t.row(sqlFamily, id).
		Scan(&f.SID, &f.User, &f.Client, &f.Scope, &f.JKT, &f.Ended, &expires, &f.N, &current, &previous, &rotated)
	if noRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	copy(f.Current[:], current)
	copy(f.Previous[:], previous)
	f.Expires, f.RotatedAt = time.UnixMilli(expires), time.UnixMilli(rotated)
	return f, nil
}

func (t *txn) AddFamily(f *account.Family) error {
	return t.exec(`INSERT INTO refresh_families (id, sid, user_id, client_id, scope, jkt, ended, expires_at, n, current, previous, rotated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		f.ID, f.SID, f.User, f.Client, f.Scope, f.JKT, f.Ended, f.Expires.UnixMilli(), f.N, f.Current[:], f.Previous[:], f.RotatedAt.UnixMilli())
}

func (t *txn) RotateFamily(id string, n uint64, current token.Digest, now time.Time) error {
	return t.exec(sqlRotate, current[:], now.UnixMilli(), id, n)
}

func (t *txn) EndFamily(id, reason string) error {
	return t.exec("UPDATE refresh_families SET ended = ? WHERE id = ? AND ended = ''", reason, id)
}

func (t *txn) SweepFamilies(now time.Time, limit int) error {
	return t.exec("DELETE FROM refresh_families WHERE id IN (SELECT id FROM refresh_families WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
		now.UnixMilli(), limit)
}
