package feedtest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/feed"
)

// A mutant is a log with one promise broken.
type mutant struct {
	*feed.Log
	append func(*feed.Log, context.Context, time.Time, []feed.Event) error
	news   func(*feed.News) bool // false: not told
	follow func(context.Context, feed.ID, *feed.Log, func(feed.News) error) error
}

func (m mutant) Append(ctx context.Context, now time.Time, events ...feed.Event) error {
	if m.append != nil {
		return m.append(m.Log, ctx, now, events)
	}
	return m.Log.Append(ctx, now, events...)
}

func (m mutant) Follow(ctx context.Context, after feed.ID, hear func(feed.News) error) error {
	told := hear
	if m.news != nil {
		told = func(n feed.News) error {
			n.Events = slices.Clone(n.Events)
			if !m.news(&n) {
				return nil
			}
			return hear(n)
		}
	}
	if m.follow != nil {
		return m.follow(ctx, after, m.Log, told)
	}
	return m.Log.Follow(ctx, after, told)
}

// witness notes a failure in place of failing.
type witness struct {
	testing.TB
	failed bool
}

func (w *witness) Helper()               {}
func (w *witness) Errorf(string, ...any) { w.failed = true }
func (w *witness) Fatalf(string, ...any) { w.failed = true; runtime.Goexit() }
func (w *witness) Fatal(...any)          { w.failed = true; runtime.Goexit() }

// failing returns the checks that a carrier does not pass. In a bubble no time
// is spent.
func failing(t *testing.T, m mutant) (names []string) {
	for _, c := range checks {
		synctest.Test(t, func(t *testing.T) {
			m := m
			m.Log = feed.NewLog(&feed.LogOptions{Recent: 64})
			w := &witness{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.run(&kit{TB: w, sink: m, source: m})
			}()
			<-done
			if w.failed {
				names = append(names, c.name)
			}
		})
	}
	return names
}

func TestABrokenCarrierFails(t *testing.T) {
	if names := failing(t, mutant{}); names != nil {
		t.Fatalf("the log itself fails %q", names)
	}
	type M = mutant
	for name, m := range map[string]M{
		"drops events": {append: func(l *feed.Log, ctx context.Context, now time.Time, events []feed.Event) error {
			return l.Append(ctx, now, events[:len(events)/2]...)
		}},
		"takes a batch in parts": {append: func(l *feed.Log, ctx context.Context, now time.Time, events []feed.Event) error {
			var err error
			for _, e := range events {
				err = errors.Join(err, l.Append(ctx, now, e))
			}
			return err
		}},
		"turns a batch round": {append: func(l *feed.Log, ctx context.Context, now time.Time, events []feed.Event) error {
			events = slices.Clone(events)
			slices.Reverse(events)
			return l.Append(ctx, now, events...)
		}},
		"acknowledges before it appends": {append: func(l *feed.Log, ctx context.Context, now time.Time, events []feed.Event) error {
			time.AfterFunc(time.Millisecond, func() { l.Append(context.WithoutCancel(ctx), now, events...) })
			return nil
		}},
		"does not say that it is a reset": {news: func(n *feed.News) bool { n.Reset = false; return true }},
		"says always that it is a reset":  {news: func(n *feed.News) bool { n.Reset = true; return true }},
		"leaves out the first event":      {news: func(n *feed.News) bool { n.Events = n.Events[min(1, len(n.Events)):]; return true }},
		"tells no events":                 {news: func(n *feed.News) bool { n.Events = nil; return true }},
		"tells events out of order":       {news: func(n *feed.News) bool { slices.Reverse(n.Events); return true }},
		"tells another head":              {news: func(n *feed.News) bool { n.Head.Seq++; return true }},
		"has no heartbeat":                {news: func(n *feed.News) bool { return n.Reset || len(n.Events) > 0 }},
		"has a clock that stands still":   {news: func(n *feed.News) bool { n.At = time.UnixMilli(946684800000).UTC(); return true }},
		"has a clock that is behind":      {news: func(n *feed.News) bool { n.At = n.At.Add(-time.Minute); return true }},
		"tells late":                      {news: func(n *feed.News) bool { time.Sleep(700 * time.Millisecond); return true }},
		"begins anew each time": {follow: func(ctx context.Context, _ feed.ID, l *feed.Log, hear func(feed.News) error) error {
			return l.Follow(ctx, feed.ID{}, hear)
		}},
		"believes any position": {follow: func(ctx context.Context, after feed.ID, l *feed.Log, hear func(feed.News) error) error {
			return l.Follow(ctx, after, func(n feed.News) error { n.Reset = n.Reset && after.IsZero(); return hear(n) })
		}},
		"returns nil": {follow: func(ctx context.Context, after feed.ID, l *feed.Log, hear func(feed.News) error) error {
			l.Follow(ctx, after, hear)
			return nil
		}},
		"wraps hear's error": {follow: func(ctx context.Context, after feed.ID, l *feed.Log, hear func(feed.News) error) error {
			return errors.Join(l.Follow(ctx, after, hear))
		}},
		"hears once more after the context": {follow: func(ctx context.Context, after feed.ID, l *feed.Log, hear func(feed.News) error) error {
			if ctx.Err() != nil {
				hear(feed.News{})
			}
			return l.Follow(ctx, after, hear)
		}},
	} {
		if names := failing(t, m); len(names) == 0 {
			t.Errorf("a carrier that %s passes", name)
		}
	}
}
