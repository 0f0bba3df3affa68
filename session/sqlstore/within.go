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
// sid after the commit. Where the database has many writers, the transaction must
// be one that may write: what it has looked at stays so until its end, for which
// others wait. It may have to be run again (see [Dialect.Again]). Most programs never
// call any of it.

// Look returns a session as it stands in the transaction. Errors are those of
// session.Inspect.
func (d Dialect) Look(ctx context.Context, tx *sql.Tx, sid string, now time.Time) (session.Info, error) {
	_, info, err := d.look(ctx, tx, sid, now)
	return info, err
}

func (d Dialect) look(ctx context.Context, tx *sql.Tx, sid string, now time.Time) (it session.Item, info session.Info, err error) {
	var r row
	err = tx.QueryRowContext(ctx, d.texts().forUpdate, sid).Scan(&r.value, &r.subject, &r.expires, &r.version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return it, info, session.ErrNone
	case err != nil:
		return it, info, fmt.Errorf("look at a session: %w", err)
	}
	it = r.item()
	var epoch session.Epoch
	if it.Subject != "" {
		if epoch, err = d.ReadEpoch(ctx, tx, it.Subject); err != nil {
			return it, info, err
		}
	}
	info, err = session.Inspect(sid, it, epoch, now)
	return it, info, err
}

// Use looks at a session as Look does, and notes that it is in use, as a Manager
// would. It reports whether it wrote.
func (d Dialect) Use(ctx context.Context, tx *sql.Tx, sid string, now time.Time) (info session.Info, wrote bool, err error) {
	it, info, err := d.look(ctx, tx, sid, now)
	if err != nil {
		return info, false, err
	}
	unseen, idle := now.Sub(info.LastSeenAt), it.Expires.Sub(info.LastSeenAt)
	if unseen < min(time.Minute, idle/20) {
		return info, false, nil
	}
	expires := millis(now.Add(idle))
	if _, err := tx.ExecContext(ctx, d.texts().touch, expires, sid, int64(it.Version), expires); err != nil {
		return info, false, fmt.Errorf("touch a session: %w", err)
	}
	return info, true, nil
}

// End ends a live session. Errors are those of session.Inspect.
func (d Dialect) End(ctx context.Context, tx *sql.Tx, sid, reason string, now time.Time) (session.Info, error) {
	it, info, err := d.look(ctx, tx, sid, now)
	if err != nil {
		return info, err
	}
	stone := session.Tombstone(it, reason, now)
	if _, err := tx.ExecContext(ctx, d.texts().swap, []byte(stone.Value), stone.Subject, millis(stone.Expires), sid, int64(it.Version)); err != nil {
		return info, fmt.Errorf("end a session: %w", err)
	}
	return info, nil
}
