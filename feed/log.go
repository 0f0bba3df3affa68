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
	epoch  Epoch
	recent int

	mu sync.Mutex
	// Guarded by mu. Both slices are in order and only ever appended to or
	// replaced, so that followers may read what they were given without it.
	older []Event       // up to the floor, those that may still matter
	tail  []Event       // every event since the floor
	seq   uint64        // the last number given; the floor is seq-len(tail)
	wake  chan struct{} // closed by the next Append; nil if nobody waits
}

// NewLog returns an empty log.
func NewLog(o *LogOptions) *Log {
	l := &Log{epoch: NewEpoch(), recent: 4096}
	if o != nil && o.Recent > 0 {
		l.recent = o.Recent
	}
	return l
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
	for i, e := range events {
		var err error
		if stamped[i], err = e.Stamp(ID{l.epoch, l.seq + 1 + uint64(i)}, now); err != nil {
			return err
		}
		// What is kept for hours must not keep alive what it was cut from: a
		// request's headers, a session's record.
		for _, text := range []*string{&stamped[i].Target, &stamped[i].Subject, &stamped[i].Reason} {
			*text = strings.Clone(*text)
		}
	}
	l.tail = append(l.tail, stamped...)
	l.seq += uint64(len(stamped))
	// Waiting until it is twice as long makes the work of moving one event
	// constant.
	if surplus := len(l.tail) - l.recent; surplus >= l.recent {
		l.older = append(alive(l.older, now), alive(l.tail[:surplus], now)...)
		l.tail = append(make([]Event, 0, 2*l.recent), l.tail[surplus:]...)
	}
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
	return nil
}

// alive returns a new slice with the events that still matter.
func alive(events []Event, now time.Time) []Event {
	var out []Event
	for _, e := range events {
		if e.Until.After(now) {
			out = append(out, e)
		}
	}
	return out
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
	n, wake := News{Head: ID{l.epoch, l.seq}, At: millis(now)}, l.wake
	older, tail := l.older, l.tail
	l.mu.Unlock()

	floor := n.Head.Seq - uint64(len(tail))
	if after.Epoch != n.Head.Epoch || after.Seq < floor || after.Seq > n.Head.Seq {
		n.Reset = true
		n.Events = append(alive(older, now), alive(tail, now)...)
	} else if behind := tail[after.Seq-floor:]; len(behind) > 0 {
		n.Events = behind[:len(behind):len(behind)]
	}
	return n, wake
}
