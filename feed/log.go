package feed

import (
	"context"
	"strings"
	"sync"
	"time"
)

// LogOptions says how much a [Log] keeps.
type LogOptions struct {
	// Recent is how many of the latest events a follower may be behind
	// before it hears a snapshot instead; 4096 if 0.
	Recent int
}

// A Log is a feed within one process: a Sink and a Source. Besides the recent
// events it keeps those whose Until has not passed, for snapshots. It is gone
// with the process, and each Log is an epoch of its own.
type Log struct {
	mu   sync.Mutex    // guards all below
	past Past          // a copy may be read without it
	wake chan struct{} // closed by the next Append; nil if nobody waits
}

// NewLog returns an empty log.
func NewLog(o *LogOptions) *Log {
	recent := 4096
	if o != nil && o.Recent > 0 {
		recent = o.Recent
	}
	return &Log{past: NewPast(ID{Epoch: NewEpoch()}, nil, recent)}
}

// Append numbers the events and wakes the followers. It never waits for one
// and needs no context. Its error says which event is malformed.
func (l *Log) Append(_ context.Context, now time.Time, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	stamped := make([]Event, len(events))
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.past.Head()
	for i, e := range events {
		id.Seq++
		var err error
		if stamped[i], err = e.Stamp(id, now); err != nil {
			return err
		}
		// What is kept for hours must not keep alive what it was cut from: a
		// request's headers, a session's record.
		for _, text := range []*string{&stamped[i].Target, &stamped[i].Subject, &stamped[i].Reason} {
			*text = strings.Clone(*text)
		}
	}
	l.past.Add(now, stamped...)
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
	return nil
}

// Snapshot returns everything that still matters at now, as a reset.
func (l *Log) Snapshot(now time.Time) News {
	n, _ := l.since(ID{}, now)
	return n
}

// Follow does what [Source] promises. It returns only when ctx is done or hear
// returned an error.
func (l *Log) Follow(ctx context.Context, after ID, hear func(News) error) error {
	beat := time.NewTicker(Heartbeat)
	defer beat.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		// The time is read first: what was acknowledged before it is there.
		now := time.Now()
		n, wake := l.since(after, now)
		if err := hear(n); err != nil {
			return err
		}
		after = n.Head
		select {
		case <-wake:
		case <-beat.C:
		case <-ctx.Done():
		}
	}
}

// since returns what a follower at this position has to hear, and a channel
// that is closed when there is more.
func (l *Log) since(after ID, now time.Time) (News, <-chan struct{}) {
	l.mu.Lock()
	if l.wake == nil {
		l.wake = make(chan struct{})
	}
	past, wake := l.past, l.wake
	l.mu.Unlock()
	return past.Since(after, now), wake
}
