package db

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
)

// A closing is what a transaction writes last: what is numbered in the order of
// commits. Whoever has changed the row of feed_head holds it until the commit, so
// that numbers are given in that order, and a later one is never visible before an
// earlier one. And it is the last row that is locked, for all others to wait for
// it as short as can be.
type closing struct {
	tokens  []any // of access tokens: the values of sqlAddToken for each
	records []account.Record
	events  []feed.Event

	// Whether there is news for those who keep copies of users and API keys, and
	// of the server's own keys.
	accounts, keys bool
}

// add is what two transactions in one write last.
func (c *closing) add(other closing) {
	c.tokens = append(c.tokens, other.tokens...)
	c.records = append(c.records, other.records...)
	c.events = append(c.events, other.events...)
	c.accounts = c.accounts || other.accounts
	c.keys = c.keys || other.keys
}

const (
	sqlNumber = "UPDATE feed_head SET seq = seq + ?, accounts = accounts + ?, keys = keys + ? WHERE id = 1 RETURNING epoch, seq"
	sqlTell   = "INSERT INTO feed (seq, until, event) VALUES (?, ?, ?)"
	sqlRecord = `INSERT INTO audit (at, subject, actor, event, detail, reason, sid, address, user_agent, request_id)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	// What is notified only wakes, and arrives with the commit.
	sqlNotify = "SELECT pg_notify('" + channel + "', '')"
)

// conclude writes a closing.
func (t *tx) conclude(ctx context.Context, now time.Time, c closing) error {
	if err := t.addTokens(ctx, c.tokens); err != nil {
		return err
	}
	shared := t.pool.dialect == inPostgres // by other writers
	news := len(c.events) > 0 || shared && (c.accounts || c.keys)
	var id feed.ID
	if news || shared && len(c.records) > 0 {
		if err := t.QueryRowContext(ctx, sqlNumber, len(c.events), c.accounts, c.keys).Scan((*epochText)(&id.Epoch), &id.Seq); err != nil {
			return fmt.Errorf("number an event: %w", err)
		}
	}
	for _, r := range c.records {
		if _, err := t.ExecContext(ctx, sqlRecord,
			r.At.UnixMilli(), r.Subject, r.Actor, r.Event, r.Detail, r.Reason, r.SID, r.Address, r.UserAgent, r.RequestID); err != nil {
			return fmt.Errorf("record what was done: %w", err)
		}
	}
	id.Seq -= uint64(len(c.events))
	for _, e := range c.events {
		id.Seq++
		stamped, err := e.Stamp(id, now)
		if err != nil {
			return err
		}
		text, err := json.Marshal(stamped)
		if err != nil {
			return fmt.Errorf("tell an event: %w", err)
		}
		if _, err := t.ExecContext(ctx, sqlTell, id.Seq, stamped.Until.UnixMilli(), string(text)); err != nil {
			return fmt.Errorf("tell an event: %w", err)
		}
	}
	if news && shared {
		if _, err := t.ExecContext(ctx, sqlNotify); err != nil {
			return fmt.Errorf("wake followers: %w", err)
		}
	}
	return nil
}

// flush writes the records so far, for an update that reads or changes them: its own,
// and those of who shares its transaction.
func (t *txn) flush() error {
	var c closing
	if t.before != nil {
		c.records, t.before.records = t.before.records, nil
	}
	c.records = slices.Concat(c.records, t.closing.records)
	t.closing.records = nil
	if len(c.records) == 0 {
		return nil
	}
	return t.tx().conclude(t.ctx, t.now, c)
}
