package db

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
)

const (
	sqlSamePlace = `UPDATE status_places SET until = max(until, ?) WHERE grant_id = ? AND sid = ? AND sev = ? RETURNING place`

	sqlNewPlace = `INSERT INTO status_places (place, grant_id, sid, subject, sev, until) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (place) DO NOTHING`

	sqlPlaces = `SELECT place, grant_id, sid, subject, sev FROM status_places WHERE place >= ? AND place < ? AND until > ?`

	sqlSweepPlaces = "DELETE FROM status_places WHERE place IN (SELECT place FROM status_places WHERE until <= ? ORDER BY until LIMIT ?)"

	sqlTold = "SELECT event FROM feed WHERE until > ? ORDER BY seq"
)

const (
	sweptPlaces = 16 // with each new one
	// placeTries is after how many places that are taken there is one list more:
	// they are half full then.
	placeTries = 4
)

// Place implements account.Places. Which place is free is left to chance: one
// after the other would tell whoever gets a token how many sessions there are.
func (t *txn) Place(p account.Place, until, now time.Time) (n uint64, err error) {
	err = t.tx.QueryRowContext(t.ctx, sqlSamePlace, until.UnixMilli(), p.Grant, p.SID, int64(p.SEV)).Scan(&n)
	if !noRows(err) {
		return n, err
	}
	if err := t.exec(sqlSweepPlaces, now.UnixMilli(), sweptPlaces); err != nil {
		return 0, fmt.Errorf("sweep places: %w", err)
	}
	for try, size := 1, uint64(account.StatusListLen); ; try++ {
		n = rand.Uint64N(size)
		res, err := t.tx.ExecContext(t.ctx, sqlNewPlace, int64(n), p.Grant, p.SID, p.Subject, int64(p.SEV), until.UnixMilli())
		if err != nil {
			return 0, fmt.Errorf("find a place: %w", err)
		}
		switch made, err := res.RowsAffected(); {
		case err != nil || made == 1:
			return n, err
		case try%placeTries == 0:
			size += account.StatusListLen
		}
	}
}

// EachPlace implements account.Places.
func (t *txn) EachPlace(list uint64, after time.Time, fn func(n uint64, p account.Place)) error {
	const most = 1 << 40 // lists, so that places are numbers of SQL
	if list >= most {
		return nil
	}
	from := list * account.StatusListLen
	return t.query(func(rows *sql.Rows) error {
		var n, sev int64
		var p account.Place
		if err := rows.Scan(&n, &p.Grant, &p.SID, &p.Subject, &sev); err != nil {
			return err
		}
		p.SEV = uint64(sev)
		fn(uint64(n)-from, p)
		return nil
	}, sqlPlaces, int64(from), int64(from+account.StatusListLen), after.UnixMilli())
}

// Told implements account.Places.
func (t *txn) Told(now time.Time) (events []feed.Event, err error) {
	return events, t.query(func(rows *sql.Rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		e, err := feed.ParseEvent([]byte(text))
		if err != nil {
			return errors.Join(ErrCorrupt, err)
		}
		events = append(events, e)
		return nil
	}, sqlTold, now.UnixMilli())
}
