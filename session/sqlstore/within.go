package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/admit-auth/admit/session"
)

// What a transaction of the caller's does with a session, together with what
// hangs on it. A [session.Near] in front of the store must be told to forget the
// sid after the commit. Most programs never call any of it.

// Look returns a session as it stands in the transaction, and its subject's epoch
// where the error is nil. Errors are those of session.Inspect.
func Look(ctx context.Context, tx *sql.Tx, sid string, now time.Time) (session.Info, uint64, error) {
	_, info, epoch, err := look(ctx, tx, sid, now)
	return info, epoch.N, err
}

func look(ctx context.Context, tx *sql.Tx, sid string, now time.Time) (it session.Item, info session.Info, epoch session.Epoch, err error) {
	if it, err = within(ctx, tx, sid); err != nil {
		return it, info, epoch, err
	}
	if it.Subject != "" {
		e, err := within(ctx, tx, session.EpochKey(it.Subject))
		if err != nil && !errors.Is(err, session.ErrNone) {
			return it, info, epoch, err
		}
		epoch = session.ParseEpoch(e.Value)
	}
	info, err = session.Inspect(sid, it, epoch, now)
	return it, info, epoch, err
}

// within reads a record in the transaction, or returns session.ErrNone.
func within(ctx context.Context, tx *sql.Tx, key string) (session.Item, error) {
	var r row
	err := tx.QueryRowContext(ctx, sqlGet, key).Scan(&r.value, &r.subject, &r.expires, &r.version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return session.Item{}, session.ErrNone
	case err != nil:
		return session.Item{}, fmt.Errorf("look at a session: %w", err)
	}
	return r.item(), nil
}

// Use looks at a session as Look does, and notes that it is in use, as a Manager
// would. It reports whether it wrote.
func Use(ctx context.Context, tx *sql.Tx, sid string, now time.Time) (info session.Info, epoch uint64, wrote bool, err error) {
	it, info, e, err := look(ctx, tx, sid, now)
	if err != nil {
		return info, 0, false, err
	}
	unseen, idle := now.Sub(info.LastSeenAt), it.Expires.Sub(info.LastSeenAt)
	if unseen < min(time.Minute, idle/20) {
		return info, e.N, false, nil
	}
	expires := millis(now.Add(idle))
	if _, err := tx.ExecContext(ctx, sqlTouch, expires, sid, int64(it.Version), expires); err != nil {
		return info, 0, false, fmt.Errorf("touch a session: %w", err)
	}
	return info, e.N, true, nil
}

// End ends a live session. Errors are those of session.Inspect.
func End(ctx context.Context, tx *sql.Tx, sid, reason string, now time.Time) (session.Info, error) {
	it, info, _, err := look(ctx, tx, sid, now)
	if err != nil {
		return info, err
	}
	stone := session.Tombstone(it, reason, now)
	if _, err := tx.ExecContext(ctx, sqlSwap, []byte(stone.Value), stone.Subject, millis(stone.Expires), sid, int64(it.Version)); err != nil {
		return info, fmt.Errorf("end a session: %w", err)
	}
	return info, nil
}
