package feed

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ParseNews reads one message of a feed from JSON. It refuses, with
// ErrMalformed, what no feed would say: events out of order, beyond the head
// or of another epoch, digests that are not their target's, kinds it does not
// know. Members that it does not know are ignored, so that an older follower
// can hear a newer feed.
func ParseNews(text []byte) (News, error) {
	var n News
	if err := json.Unmarshal(text, &n); err != nil {
		return News{}, malformed(err)
	}
	if n.Head.IsZero() || !wireTime(n.At) {
		return News{}, malformed(errors.New("news has no head or no time"))
	}
	n.At = n.At.UTC()
	last := ID{Epoch: n.Head.Epoch}
	for i := range n.Events {
		e := &n.Events[i]
		if !e.ID.Follows(last) || e.ID.Follows(n.Head) {
			return News{}, malformed(fmt.Errorf("event %v stands between %v and %v", e.ID, last, n.Head))
		}
		if err := e.check(); err != nil {
			return News{}, malformed(err)
		}
		e.At, e.Until = e.At.UTC(), e.Until.UTC()
		last = e.ID
	}
	if len(n.Events) == 0 {
		n.Events = nil
	}
	return n, nil
}

// ParseEvent reads one event from JSON, as a carrier's log may keep it, with
// the checks of ParseNews.
func ParseEvent(text []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(text, &e); err != nil {
		return Event{}, malformed(err)
	}
	if err := e.check(); err != nil {
		return Event{}, malformed(err)
	}
	e.At, e.Until = e.At.UTC(), e.Until.UTC()
	return e, nil
}

// malformed keeps the reason for the log.
func malformed(err error) error { return fmt.Errorf("%w (%v)", ErrMalformed, err) }
