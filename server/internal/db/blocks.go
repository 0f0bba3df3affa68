package db

import (
	"context"
	"database/sql"
	"hash/fnv"
)

// A block is the records of the audit with blockSize ids in a row. What is known of
// one that is full is the range of its times, and a Bloom filter of who asked for
// what: with them a search passes over blocks that cannot have what it looks for.
// They are made in the background, each in a transaction of some 30 ms, so that
// neither a start nor a write waits for them; nothing but speed depends on them.
type block struct{ number, first, last int64 }

const (
	blockSize  = 4096
	blocksRead = 512 // at a time
	// A block has up to 8192 values: 12 bits each, and 6 of them set, take one
	// block in 300 for what it has not.
	filterBytes = 12 << 10
	filterBits  = 6
)

// A filter holds names as column=value. The empty one may have anything.
type filter []byte

func (f filter) each(name string, fn func(at int, bit byte) bool) bool {
	h := fnv.New64a()
	h.Write([]byte(name))
	sum := h.Sum64()
	a, b := uint32(sum), uint32(sum>>32)|1
	for i := range uint32(filterBits) {
		n := (a + i*b) % uint32(len(f)*8)
		if !fn(int(n/8), 1<<(n%8)) {
			return false
		}
	}
	return true
}

func (f filter) add(name string) {
	f.each(name, func(at int, bit byte) bool { f[at] |= bit; return true })
}

func (f filter) mayHave(name string) bool {
	return len(f) == 0 || f.each(name, func(at int, bit byte) bool { return f[at]&bit != 0 })
}

// missingBlocks returns the full blocks of which nothing is known, latest first.
func (db *DB) missingBlocks(ctx context.Context) (missing []int64, err error) {
	rows, err := db.read.QueryContext(ctx, `WITH RECURSIVE
		ends (lo, hi) AS (SELECT (SELECT min(id) FROM audit) / ?1, (SELECT max(id) FROM audit) / ?1),
		n (block) AS (SELECT hi - 1 FROM ends WHERE hi > lo UNION ALL SELECT block - 1 FROM n, ends WHERE block > lo)
		SELECT block FROM n WHERE block NOT IN (SELECT block FROM audit_blocks)`, blockSize)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		var b int64
		if err := rows.Scan(&b); err != nil {
			return nil, classify(err)
		}
		missing = append(missing, b)
	}
	return missing, classify(rows.Err())
}

// SurveyAudit looks at every full block of the audit of which nothing is known,
// latest first. Pause is called after each, for others to have their turn, and
// stops it by an error.
func (db *DB) SurveyAudit(ctx context.Context, pause func() error) error {
	missing, err := db.missingBlocks(ctx)
	if err != nil {
		return err
	}
	for _, number := range missing {
		if err := db.survey(ctx, number); err != nil {
			return err
		}
		if err := pause(); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) survey(ctx context.Context, number int64) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	// Reading is within the write: what Erase takes out meanwhile must not come back.
	tx, err := db.write.beginWriting(ctx)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	t := &txn{ctx: ctx, under: tx}
	f, first, last, n := make(filter, filterBytes), int64(0), int64(0), 0
	err = t.query(func(rows *sql.Rows) error {
		var at int64
		var actor, event, request sql.RawBytes
		if err := rows.Scan(&at, &actor, &event, &request); err != nil {
			return err
		}
		if n == 0 {
			first, last = at, at
		}
		first, last, n = min(first, at), max(last, at), n+1
		f.add("actor=" + string(actor))
		f.add("event=" + string(event))
		f.add("request_id=" + string(request))
		return nil
	}, "SELECT at, actor, event, request_id FROM audit WHERE id >= ? AND id < ?", number*blockSize, (number+1)*blockSize)
	if err != nil {
		return classify(err)
	}
	if err := t.exec("INSERT INTO audit_blocks (block, first, last) VALUES (?, ?, ?) ON CONFLICT (block) DO UPDATE SET first = excluded.first, last = excluded.last", number, first, last); err != nil {
		return classify(err)
	}
	if err := t.exec("INSERT INTO audit_filters (block, filter) VALUES (?, ?) ON CONFLICT (block) DO UPDATE SET filter = excluded.filter", number, []byte(f)); err != nil {
		return classify(err)
	}
	return classify(tx.Commit())
}

// forgetBlocks forgets what is known of blocks that are gone, and of those that
// can be written to again: a database gives the ids behind its last record anew.
func (t *txn) forgetBlocks() error {
	for _, table := range []string{"audit_blocks", "audit_filters"} {
		if err := t.exec("DELETE FROM "+table+` WHERE block < coalesce((SELECT min(id) FROM audit) / ?1, 9223372036854775807)
			OR block >= coalesce((SELECT max(id) FROM audit) / ?1, 0)`, blockSize); err != nil {
			return err
		}
	}
	return nil
}

// forgetBlocksOf forgets the blocks that a subject is in: a filter tells who asks
// for an id whether it was there.
func (t *txn) forgetBlocksOf(subject string) error {
	for _, table := range []string{"audit_blocks", "audit_filters"} {
		if err := t.exec("DELETE FROM "+table+" WHERE block IN (SELECT DISTINCT id / ? FROM audit WHERE subject = ?)", blockSize, subject); err != nil {
			return err
		}
	}
	return nil
}
