package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
)

const (
	sqlSamePlace  = `SELECT place, until FROM status_places WHERE grant_id = ? AND sid = ? AND sev = ? AND client_id = ?`
	sqlPlaceLives = `UPDATE status_places SET until = ? WHERE place = ?`

	sqlNewPlace = `INSERT INTO status_places (place, grant_id, sid, subject, sev, client_id, until) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (place) DO NOTHING`

	sqlListUsed = `SELECT count(*) FROM (SELECT 1 FROM status_places WHERE place >= ? AND place < ? AND until > ? LIMIT 1) AS used`

	// Rows are many and cost more to bring here than to pass over there.
	sqlPlaces = `SELECT place, grant_id, sid, subject, sev, client_id FROM status_places WHERE place >= ? AND place < ? AND until > ?
		AND (sid IN (%[1]s) OR grant_id IN (%[1]s) OR client_id IN (%[1]s) OR subject IN (%[1]s) OR sev < ?)`

	sqlSweepPlaces = "DELETE FROM status_places WHERE place IN (SELECT place FROM status_places WHERE until <= ? ORDER BY until LIMIT ?)"

	sqlTold = "SELECT event FROM feed WHERE until > ? ORDER BY seq"
)

// elements are the rows of a list in one argument.
var elements = both{
	sqlite:   "SELECT value FROM json_each(?)",
	postgres: "SELECT json_array_elements_text(CAST(? AS json))",
}

// placeTries is after how many places that are taken there is one list more: they
// are half full then.
const placeTries = 4

const maxLists = 1 << 40 // so that places are numbers of SQL

// Place implements account.Places. Which place is free is left to chance: one
// after the other would tell whoever gets a token how many sessions there are.
func (t *txn) Place(p account.Place, until time.Time) (n uint64, err error) {
	end := placeEnd(until)
	known, err := t.place(p)
	switch {
	case err != nil:
		return 0, err
	case known != nil && known.until >= end:
		return known.n, nil
	}
	t.tx().wrote(placeRow(p))
	if known != nil {
		return known.n, t.exec(sqlPlaceLives, end, int64(known.n))
	}
	for try, size := 1, uint64(account.StatusListLen); ; try++ {
		n = rand.Uint64N(size)
		switch made, err := changed(t.run(sqlNewPlace, int64(n), p.Grant, p.SID, p.Subject, int64(p.SEV), p.Client, end)); {
		case err != nil:
			return 0, fmt.Errorf("find a place: %w", err)
		case made == 1:
			return n, nil
		case try%placeTries == 0:
			size += account.StatusListLen
		}
	}
}

// placeEnd is to the minute: what gets tokens all the time writes but once in one.
func placeEnd(until time.Time) int64 {
	return until.Add(time.Minute - 1).Truncate(time.Minute).UnixMilli()
}

// A knownPlace is one that there is, until when.
type knownPlace struct {
	n     uint64
	until int64
}

func placeRow(p account.Place) nearRow {
	return nearRow{ofPlace, p.Grant + " " + p.SID + " " + strconv.FormatUint(p.SEV, 10) + " " + p.Client}
}

// place returns the place of these tokens, nil for none.
func (t *txn) place(p account.Place) (*knownPlace, error) {
	var k knownPlace
	return found(&k, t.row(sqlSamePlace, p.Grant, p.SID, int64(p.SEV), p.Client).Scan(&k.n, &k.until))
}

// ListUsed implements account.Places.
func (t *txn) ListUsed(list uint64, after time.Time) (used bool, err error) {
	if list >= maxLists {
		return false, nil
	}
	from := int64(list * account.StatusListLen)
	err = t.row(sqlListUsed, from, from+account.StatusListLen, after.UnixMilli()).Scan(&used)
	return used, err
}

// EndedPlaces implements account.Places.
func (t *txn) EndedPlaces(list uint64, after time.Time, e *account.Endings, fn func(n uint64, p account.Place)) error {
	if list >= maxLists {
		return nil
	}
	from := int64(list * account.StatusListLen)
	var texts [4]string
	for i, all := range []iter.Seq[string]{maps.Keys(e.Sessions), maps.Keys(e.Grants), maps.Keys(e.Clients), maps.Keys(e.Raised)} {
		text, err := json.Marshal(slices.AppendSeq([]string{}, all))
		if err != nil {
			return err
		}
		texts[i] = string(text)
	}
	return t.query(func(rows *sql.Rows) error {
		var n, sev int64
		var p account.Place
		if err := rows.Scan(&n, &p.Grant, &p.SID, &p.Subject, &sev, &p.Client); err != nil {
			return err
		}
		p.SEV = uint64(sev)
		fn(uint64(n-from), p)
		return nil
	}, fmt.Sprintf(sqlPlaces, t.tx().pool.of(elements)), from, from+account.StatusListLen, after.UnixMilli(), texts[0], texts[1], texts[2], texts[3], int64(e.Everyone))
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

// SweepPlaces removes up to limit places that are nobody's any more, and returns
// how many.
func (db *DB) SweepPlaces(ctx context.Context, now time.Time, limit int) (int, error) {
	// In its turn: who is given a place again must not lose it meanwhile.
	tx, err := db.write.beginWriting(ctx)
	if err != nil {
		return 0, classify(err)
	}
	defer tx.Rollback()
	n, err := changed(tx.ExecContext(ctx, sqlSweepPlaces, now.UnixMilli(), limit))
	if err == nil {
		err = tx.Commit()
	}
	return n, classify(err)
}
