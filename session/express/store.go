package express

import (
	"context"
	"time"
)

// A Store keeps records where an Express server keeps them too, in that
// server's form: [NewRedis] is connect-redis. A Manager writes nothing without
// having read it, so every change names what it changes.
//
// Where the store cannot answer, errors are of kind admit.Unavailable
// (session.ErrUnavailable, session.ErrFull) or the context's: never a hang, and
// never "not found". A record too large for the store is session.ErrTooLarge.
type Store interface {
	// Get returns the record of a session, or session.ErrNotFound. One whose
	// time is over may be given or not: the Manager looks.
	Get(ctx context.Context, sid string) (Record, error)

	// Add keeps a record under an id that is not taken; session.ErrConflict if
	// it is. It returns the record as Get would.
	Add(ctx context.Context, sid string, rec Record) (Record, error)

	// Swap keeps next in place of old, which Get, Add or Swap returned. Whoever
	// wrote in between, an Express server included, is not undone:
	// session.ErrConflict if the record is another by now, session.ErrNotFound
	// if there is none. It returns next as Get would.
	Swap(ctx context.Context, sid string, old, next Record) (Record, error)

	// Touch moves the time until which the record is kept, and nothing inside
	// it, as Express's stores do. It makes no record. Where the record is
	// another by now it may leave it alone: its writer has seen to that.
	// session.ErrNotFound if there is none.
	Touch(ctx context.Context, sid string, old Record, until time.Time) error

	// Delete removes the record if it is still old: session.ErrConflict and
	// session.ErrNotFound as in Swap. The zero Record stands for whatever is
	// there, and then it is no error if nothing is.
	Delete(ctx context.Context, sid string, old Record) error
}

// A Record is a session as a store has it.
type Record struct {
	// JSON is what express-session's JSON.stringify(session) gives.
	JSON string

	// Until is when the store forgets it. A write with the zero time asks for
	// the store's own time for cookies that end with the browser, such as
	// connect-redis' ttl of a day. From Get the zero time says that the store
	// keeps it for ever, or cannot tell.
	Until time.Time

	// Version is the store's own mark of what it read, such as memcached's cas
	// or a Mongo document; "" where the JSON is mark enough. Managers only carry
	// it from one call to the next.
	Version string
}
