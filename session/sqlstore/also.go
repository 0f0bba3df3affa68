package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/admit-auth/admit/session"
)

// A Write is an Add or a Swap that takes effect.
type Write struct {
	Key, Subject string
	Added        bool // by Add

	job *job
}

// Last has fn run in the same transaction, once all that shares it has been
// written: for a row that every transaction changes, as one that numbers events.
// Who locked it earlier would hold it while waiting for the records of others, and
// two could wait for each other. Most programs never call it.
func (w Write) Last(fn func(context.Context, *sql.Tx) error) {
	w.job.last = append(w.job.last, fn)
}

type alsoKey struct{}

// Also returns a context for calls of a Manager over a Store: fn runs in the
// transaction of each record that is added or swapped under it, so that what
// fn writes is kept together with the change or not at all. It may run more
// than once for one change, each time in a transaction of which nothing was
// kept before. What an outer context's fn writes is written first. Most programs
// never call it: it is for audits, and for a feed (see [session.Ending]).
func Also(ctx context.Context, fn func(context.Context, *sql.Tx, Write) error) context.Context {
	if outer, ok := ctx.Value(alsoKey{}).(func(context.Context, *sql.Tx, Write) error); ok {
		inner := fn
		fn = func(ctx context.Context, tx *sql.Tx, w Write) error {
			if err := outer(ctx, tx, w); err != nil {
				return err
			}
			return inner(ctx, tx, w)
		}
	}
	return context.WithValue(session.Apart(ctx), alsoKey{}, fn) // for a write shared by several contexts runs the fn of one
}

// alsoOf returns what Also has put into the context, nil where it has not.
func alsoOf(ctx context.Context) func(context.Context, *sql.Tx, Write) error {
	if fn, ok := ctx.Value(alsoKey{}).(func(context.Context, *sql.Tx, Write) error); ok {
		return func(ctx context.Context, tx *sql.Tx, w Write) error {
			if err := fn(ctx, tx, w); err != nil {
				return &alongError{err}
			}
			return nil
		}
	}
	return nil
}

// An alongError hides what it wraps: an answer of somebody else's, such as "no such
// record", is none of the store's.
type alongError struct{ err error }

func (e *alongError) Error() string { return "write along: " + e.err.Error() }

// Forget removes every session of the subject in a transaction of the caller's.
// Raise its epoch in the same transaction: a [session.Near] in front of the store
// may still hold copies. Most programs never call it: it is for subjects who
// want to be forgotten.
func (d Dialect) Forget(ctx context.Context, tx *sql.Tx, subject string) error {
	if _, err := tx.ExecContext(ctx, d.texts().forget, subject); err != nil {
		return fmt.Errorf("forget a subject: %w", err)
	}
	return nil
}
