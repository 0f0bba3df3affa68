package feed

import (
	"slices"
	"time"
)

// A Past is what a carrier keeps of a feed: the recent events, and the older ones
// that still matter. Followers may read a copy while the carrier goes on. Most
// programs never call it: it is for those who write a carrier.
type Past struct {
	// In order, and only ever appended to or replaced.
	older []Event // up to the floor, those that may still matter
	tail  []Event // every event since the floor

	head   ID // the floor is as many events before
	recent int
	rid    time.Time // when older was last rid of what matters no more
}

// NewPast returns what is known at a position: the events that still matter.
// Recent is how many of the latest to come a follower may be behind before it
// hears a snapshot instead.
func NewPast(head ID, events []Event, recent int) Past {
	return Past{head: head, older: events, recent: recent}
}

// Head returns the position that the past leads to.
func (p *Past) Head() ID { return p.head }

// Add takes in the next events, which have consecutive numbers.
func (p *Past) Add(now time.Time, events ...Event) {
	p.tail = append(p.tail, events...)
	p.head.Seq += uint64(len(events))
	// Waiting until it is twice as long makes the work of moving one event
	// constant.
	surplus := len(p.tail) - p.recent
	if moves := surplus >= p.recent; moves || now.Sub(p.rid) >= time.Minute {
		p.older, p.rid = alive(p.older, now), now
		if moves {
			p.older = append(p.older, alive(p.tail[:surplus], now)...)
			p.tail = append(make([]Event, 0, 2*p.recent), p.tail[surplus:]...)
		}
	}
}

// Since returns what a follower at a position has to hear. At is when the past was
// the whole truth.
func (p *Past) Since(after ID, at time.Time) News {
	n := News{Head: p.head, At: millis(at)}
	floor := n.Head.Seq - uint64(len(p.tail))
	if after.Epoch != n.Head.Epoch || after.Seq < floor || after.Seq > n.Head.Seq {
		n.Reset = true
		n.Events = slices.Concat(alive(p.older, at), alive(p.tail, at))
	} else if behind := p.tail[after.Seq-floor:]; len(behind) > 0 {
		n.Events = behind[:len(behind):len(behind)]
	}
	return n
}

// alive returns a new slice with the events that still matter.
func alive(events []Event, now time.Time) (out []Event) {
	for _, e := range events {
		if e.Until.After(now) {
			out = append(out, e)
		}
	}
	return out
}
