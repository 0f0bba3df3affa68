package session

import (
	"context"
	"sync/atomic"
	"time"
)

// Swept is what a Manager has cleaned away.
type Swept struct {
	Records uint64 // that had expired
	Failed  uint64 // sweeps that the store could not make
	Took    time.Duration
}

type sweeps struct {
	records, failed atomic.Uint64
	took            atomic.Int64
}

// Swept returns what this Manager has cleaned away since New. Most programs never
// call it: it is for whoever watches a server. Of a store that forgets by itself it
// is nothing.
func (m *Manager[D]) Swept() Swept {
	return Swept{m.swept.records.Load(), m.swept.failed.Load(), time.Duration(m.swept.took.Load())}
}

// sweep removes some expired records, now and then, where nobody calls Run. Its
// errors are nobody's: the next sweep sees the same records.
func (m *Manager[D]) sweep(ctx context.Context, now time.Time) {
	if s, ok := m.store.(Sweeper); ok && m.calls.Add(1)%sweepEvery == 0 && m.runs.Load() == 0 {
		m.sweepSome(ctx, s, now, sweepLimit)
	}
}

// sweepSome removes expired records and reports whether there may be more.
func (m *Manager[D]) sweepSome(ctx context.Context, s Sweeper, now time.Time, limit int) (more bool) {
	begun := time.Now()
	n, err := s.Sweep(ctx, now, limit)
	m.swept.took.Add(int64(time.Since(begun)))
	m.swept.records.Add(uint64(n))
	if err != nil && ctx.Err() == nil {
		m.swept.failed.Add(1)
	}
	return err == nil && n == limit
}

// Run sweeps expired records each second until ctx ends, off the path of
// requests. Without it, sweeping rides on calls that write, in small steps.
func (m *Manager[D]) Run(ctx context.Context) error {
	s, ok := m.store.(Sweeper)
	if !ok {
		<-ctx.Done()
		return ctx.Err()
	}
	m.runs.Add(1)
	defer m.runs.Add(-1)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			for m.sweepSome(ctx, s, now, runStep) {
				time.Sleep(time.Millisecond) // a busy core would make look-ups wait for it
			}
		}
	}
}
