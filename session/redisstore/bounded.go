package redisstore

import (
	"context"
	"sync"
	"time"
)

// bounded is what context.WithDeadline returns, but that the timer is made for those only
// who wait for the end. A client that gives its connection the deadline does not, and
// context.WithTimeout is a tenth of its trip.
type bounded struct {
	context.Context
	begun, at time.Time

	mu   sync.Mutex
	real context.Context // once somebody waits; guarded by mu
	stop func()          // guarded by mu
	over bool            // nobody waits any more; guarded by mu
}

// within returns a context whose deadline is at most so far from when a call began.
func within(ctx context.Context, begun time.Time, timeout time.Duration) bounded {
	at := begun.Add(timeout)
	if end, ok := ctx.Deadline(); ok && end.Before(at) {
		at = end
	}
	return bounded{Context: ctx, begun: begun, at: at}
}

// Deadline implements [context.Context].
func (b *bounded) Deadline() (time.Time, bool) { return b.at, true }

// Done implements [context.Context].
func (b *bounded) Done() <-chan struct{} { return b.timed().Done() }

// Err implements [context.Context].
func (b *bounded) Err() error { return b.timed().Err() }

func (b *bounded) timed() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.real == nil {
		b.real, b.stop = context.WithDeadline(b.Context, b.at)
		if b.over {
			b.stop()
		}
	}
	return b.real
}

// end gives back what the context has.
func (b *bounded) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if b.stop != nil {
		b.stop()
	}
}
