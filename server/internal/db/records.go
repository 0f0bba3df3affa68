package db

import (
	"database/sql"
	"math"
	"strings"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// The audit is read in the order of its ids, which is that of commits. It has one
// index, by subject: five would be 1.5 GB for ten million records, and as many
// pages to write with each. What else is asked for is found by walking, a bounded
// piece for each call, past the blocks that cannot have it.

// maxScan records are looked at before the caller is asked whether to go on: 0.1 s.
const maxScan = 50_000

func (t *txn) Records(q *account.RecordQuery) ([]account.Record, account.Mark, error) {
	s := search{txn: t, q: q, up: q.OldestFirst || q.Newer > 0, left: maxScan, lo: 1, hi: math.MaxInt64}
	if s.up {
		s.lo = max(q.Newer, q.From.ID) + 1
	} else if q.From.ID > 0 {
		s.hi = q.From.ID - 1
	}
	if err := t.flush(); err != nil {
		return nil, account.Mark{}, err
	}
	var least, most sql.NullInt64
	err := t.row("SELECT (SELECT min(id) FROM audit), (SELECT max(id) FROM audit)").Scan(&least, &most)
	if err != nil || !least.Valid {
		return nil, account.Mark{}, err
	}
	s.lo, s.hi = max(s.lo, least.Int64), min(s.hi, most.Int64)
	s.conditions()
	switch {
	case len(s.where.conditions) == 0:
		err = s.look(s.lo, s.hi)
	case q.Subject != "":
		err = s.ofSubject()
	default:
		err = s.walk()
	}
	return s.found, s.next, err
}

// A search is a RecordQuery under way.
type search struct {
	*txn
	q      *account.RecordQuery
	up     bool  // from the oldest on
	lo, hi int64 // ids that are asked for
	where  where // what must hold beside them
	left   int   // records that may be looked at
	found  []account.Record
	next   account.Mark
}

var hasText = both{
	sqlite:   "(instr(lower(detail), lower(?)) > 0 OR instr(lower(reason), lower(?)) > 0)",
	postgres: "(strpos(lower(detail), lower(?)) > 0 OR strpos(lower(reason), lower(?)) > 0)",
}

func (s *search) conditions() {
	q := s.q
	for _, c := range []struct{ column, value string }{
		{"request_id", q.RequestID}, {"actor", q.Actor}, {"event", q.Event},
	} {
		if c.value != "" {
			s.where.and(c.column+" = ?", c.value)
		}
	}
	if q.Subject != "" {
		s.where.and("subject = ?", q.Subject)
	}
	if !q.Since.IsZero() {
		s.where.and("at >= ?", q.Since.UnixMilli())
	}
	if !q.Until.IsZero() {
		s.where.and("at < ?", q.Until.UnixMilli())
	}
	if q.Text != "" {
		s.where.and(s.tx().pool.of(hasText), q.Text, q.Text)
	}
}

// order is that of the answer.
func (s *search) order() string {
	if s.up {
		return " ORDER BY id"
	}
	return " ORDER BY id DESC"
}

// look adds what is found between two ids, until there is enough.
func (s *search) look(lo, hi int64) error {
	w := where{append([]string{"id >= ?", "id <= ?"}, s.where.conditions...), append([]any{lo, hi}, s.where.args...)}
	err := s.query(func(rows *sql.Rows) error {
		var r account.Record
		var at int64
		err := rows.Scan(&r.ID, &at, &r.Subject, &r.Actor, &r.Event, &r.Detail, &r.Reason, &r.SID, &r.Address, &r.UserAgent, &r.RequestID)
		r.At = time.UnixMilli(at)
		s.found = append(s.found, r)
		return err
	}, "SELECT id, at, subject, actor, event, detail, reason, sid, address, user_agent, request_id FROM audit"+w.String()+s.order()+" LIMIT ?",
		append(w.args, s.q.Limit-len(s.found))...)
	if s.full() {
		last := s.found[len(s.found)-1]
		s.next = account.Mark{At: last.At.UnixMilli(), ID: last.ID}
	}
	return err
}

func (s *search) full() bool { return len(s.found) > 0 && len(s.found) >= s.q.Limit }

// ofSubject looks at what one subject has, by the index.
func (s *search) ofSubject() error {
	var stop int64 // the last that is looked at, if there are more
	err := s.row("SELECT id FROM audit WHERE subject = ? AND id >= ? AND id <= ?"+s.order()+" LIMIT 1 OFFSET ?",
		s.q.Subject, s.lo, s.hi, maxScan-1).Scan(&stop)
	if err != nil && !noRows(err) {
		return err
	}
	if stop > 0 {
		s.next.ID = stop
		if s.up {
			s.hi = stop
		} else {
			s.lo = stop
		}
	}
	return s.look(s.lo, s.hi)
}

// walk goes from block to block, and ends where it has looked at enough.
func (s *search) walk() error {
	for s.lo <= s.hi {
		at, step, order := s.hi/blockSize, int64(-1), "block <= ? ORDER BY block DESC"
		if s.up {
			at, step, order = s.lo/blockSize, 1, "block >= ? ORDER BY block"
		}
		var known []block
		err := s.query(func(rows *sql.Rows) error {
			var b block
			err := rows.Scan(&b.number, &b.first, &b.last)
			known = append(known, b)
			return err
		}, "SELECT block, first, last FROM audit_blocks WHERE "+order+" LIMIT ?", at, blocksRead)
		if err != nil {
			return err
		}
		// Of a block that is not there nothing is known.
		for range blocksRead {
			skip := false
			if len(known) > 0 && known[0].number == at {
				if skip, err = s.cannotHave(known[0]); err != nil {
					return err
				}
				known = known[1:]
			}
			// To pass over one costs as much as to look at a few records.
			cost := 8
			if !skip {
				cost = blockSize
			}
			if s.left -= cost; s.left < 0 {
				return nil
			}
			if !skip {
				if err := s.look(max(s.lo, at*blockSize), min(s.hi, at*blockSize+blockSize-1)); err != nil || s.full() {
					return err
				}
			}
			// The next call goes on behind this block, where this one must stop.
			at += step
			if s.up {
				s.lo = at * blockSize
				s.next = account.Mark{ID: s.lo - 1}
			} else {
				s.hi = (at+1)*blockSize - 1
				s.next = account.Mark{ID: s.hi + 1}
			}
			if s.lo > s.hi {
				break
			}
		}
	}
	s.next = account.Mark{}
	return nil
}

// cannotHave reports whether nothing in a block is what is asked for.
func (s *search) cannotHave(b block) (bool, error) {
	q := s.q
	if !q.Since.IsZero() && b.last < q.Since.UnixMilli() || !q.Until.IsZero() && b.first >= q.Until.UnixMilli() {
		return true, nil
	}
	var names []string
	for _, c := range []struct{ column, value string }{{"request_id", q.RequestID}, {"actor", q.Actor}, {"event", q.Event}} {
		// Pseudonyms are written into records that a filter has seen before.
		if c.value != "" && !(c.column == "actor" && strings.HasPrefix(c.value, account.PseudonymPrefix)) {
			names = append(names, c.column+"="+c.value)
		}
	}
	if len(names) == 0 {
		return false, nil
	}
	var f filter
	err := s.row("SELECT filter FROM audit_filters WHERE block = ?", b.number).Scan((*[]byte)(&f))
	if err != nil && !noRows(err) {
		return false, err
	}
	for _, name := range names {
		if !f.mayHave(name) {
			return true, nil
		}
	}
	return false, nil
}

func (t *txn) SweepRecords(before time.Time, limit int) (int, error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	// The oldest come first but for a clock that was set: it does not matter
	// whether one of those goes a little later.
	n, err := changed(t.run(`DELETE FROM audit WHERE id IN
		(SELECT id FROM audit WHERE id < (SELECT min(id) FROM audit) + ? AND at < ? ORDER BY id LIMIT ?)`, 2*blockSize, before.UnixMilli(), limit))
	if err == nil && n > 0 {
		err = t.forgetBlocks()
	}
	return n, err
}
