package db

import (
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

const (
	sqlTexted = `SELECT CAST(coalesce(sum(spent), 0) AS BIGINT), CAST(coalesce(sum(sent), 0) AS BIGINT), CAST(coalesce(sum(proved), 0) AS BIGINT), coalesce(max(last_at), 0)
		FROM texts WHERE key = ? AND hour BETWEEN ? AND ?`
	sqlAddTexts = `INSERT INTO texts (key, hour, spent, sent, proved, last_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (key, hour) DO UPDATE SET spent = texts.spent + excluded.spent, sent = texts.sent + excluded.sent,
		proved = texts.proved + excluded.proved, last_at = CASE WHEN excluded.last_at = 0 THEN texts.last_at ELSE excluded.last_at END`
	sqlSweepTexts = "DELETE FROM texts WHERE (key, hour) IN (SELECT key, hour FROM texts WHERE hour < ? ORDER BY hour LIMIT ?)"
)

// Texted implements account.Texts.
func (t *txn) Texted(key string, from, to int64) (n account.TextCount, err error) {
	var last int64
	err = t.row(sqlTexted, key, from, to).Scan(&n.Spent, &n.Sent, &n.Proved, &last)
	n.Last = time.UnixMilli(last)
	return n, err
}

// AddTexts implements account.Texts.
func (t *txn) AddTexts(key string, hour int64, n account.TextCount) error {
	var last int64
	if !n.Last.IsZero() {
		last = n.Last.UnixMilli()
	}
	return t.exec(sqlAddTexts, key, hour, int64(n.Spent), n.Sent, n.Proved, last)
}

// SweepTexts implements account.Texts.
func (t *txn) SweepTexts(hour int64, limit int) (int, error) {
	return changed(t.run(sqlSweepTexts, hour, limit))
}
