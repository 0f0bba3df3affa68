// Package feedtest checks that a carrier keeps the promises of [feed.Sink] and
// [feed.Source].
//
// [Run] is all there is to call. It has no options and leaves nothing out. A
// carrier that fails is mended, or the promise is.
package feedtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
)

// Run checks a carrier. Open is called for every check and gives a feed
// without events, by both its ends; t is that check's, and t.Cleanup the place
// to close what was opened.
//
// The suite works on real time, so that it serves carriers beyond this
// process; it takes about four heartbeats.
func Run(t *testing.T, open func(t testing.TB) (feed.Sink, feed.Source)) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			k := &kit{TB: t}
			if k.sink, k.source = open(t); k.sink == nil || k.source == nil {
				t.Fatal("no feed to check")
			}
			c.run(k)
		})
	}
}

var checks = []struct {
	name string
	run  func(*kit)
}{
	{"an empty feed begins with a reset", empty},
	{"events are told as they were appended", told},
	{"a batch is numbered in its order", batch},
	{"a malformed event spoils its batch whole", whole},
	{"appending nothing changes nothing", nothing},
	{"a follower hears of an append at once", atOnce},
	{"what was acknowledged is never missing later", acknowledged},
	{"a follower resumes without gaps", resumes},
	{"a follower that knows everything hears nothing twice", nothingTwice},
	{"a position the feed cannot continue from is a reset", unknownPosition},
	{"a reset tells only what still matters", stillMatters},
	{"a heartbeat comes each second with the time", heartbeat},
	{"parallel appends are told in one order to all", oneOrder},
	{"a slow follower holds up nobody and misses nothing", slow},
	{"hear's error is returned as it is", hearError},
	{"the context's end is returned", contextEnds},
	{"an ended context is returned at once", contextEnded},
}

// patience is how long a carrier may take for what it promises at once.
const patience = 5 * time.Second

var errEnough = errors.New("heard enough")

type kit struct {
	testing.TB
	sink   feed.Sink
	source feed.Source
}

// event is one that matters for an hour.
func event(name string) feed.Event {
	return feed.SessionEnded(name, "u-"+name, "signed_out", time.Now().Add(time.Hour))
}

func (k *kit) append(events ...feed.Event) {
	k.Helper()
	if err := k.sink.Append(k.Context(), time.Now(), events...); err != nil {
		k.Fatalf("Append: %v", err)
	}
}

// A follower is what one that believes the feed knows, and complains about
// what a feed may not say.
type follower struct {
	pos    feed.ID
	at     time.Time
	known  []feed.Event
	resets int
	news   int
}

func (f *follower) hear(n feed.News) error {
	f.news++
	switch {
	case n.Head.IsZero():
		return fmt.Errorf("news without a head")
	case !n.At.Equal(n.At.Truncate(time.Millisecond)):
		return fmt.Errorf("time %v is not to the millisecond", n.At)
	case n.At.Before(f.at):
		return fmt.Errorf("time went back from %v to %v", f.at, n.At)
	case !n.Reset && n.Head.Epoch != f.pos.Epoch:
		return fmt.Errorf("a new epoch without a reset")
	case !n.Reset && n.Head.Seq != f.pos.Seq+uint64(len(n.Events)):
		return fmt.Errorf("%d events lead from %v to %v", len(n.Events), f.pos, n.Head)
	}
	last := f.pos
	if n.Reset {
		f.resets++
		f.known = nil
		last = feed.ID{Epoch: n.Head.Epoch}
	}
	for _, e := range n.Events {
		switch {
		case !e.ID.Follows(last) || e.ID.Follows(n.Head):
			return fmt.Errorf("event %v after %v, with the head %v", e.ID, last, n.Head)
		case !n.Reset && e.ID.Seq != last.Seq+1:
			return fmt.Errorf("event %v after %v: a gap", e.ID, last)
		case n.Reset && !e.Until.After(n.At):
			return fmt.Errorf("event %v mattered until %v only, told at %v", e.ID, e.Until, n.At)
		case e.Digest != feed.DigestOf(e.Kind, e.Target) && e.Kind != feed.Everyone:
			return fmt.Errorf("event %v has a wrong digest", e.ID)
		}
		last = e.ID
	}
	f.known = append(f.known, n.Events...)
	f.pos, f.at = n.Head, n.At
	return nil
}

// follow hears news until enough says so.
func (k *kit) follow(f *follower, enough func(feed.News) bool) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), patience)
	defer cancel()
	err := k.source.Follow(ctx, f.pos, func(n feed.News) error {
		if err := f.hear(n); err != nil {
			return err
		}
		if enough(n) {
			return errEnough
		}
		return nil
	})
	if err != errEnough {
		k.Fatalf("Follow: %v, after %d news up to %v", err, f.news, f.pos)
	}
}

func once(feed.News) bool { return true }

// new returns a follower that has heard everything.
func (k *kit) new() *follower {
	k.Helper()
	f := new(follower)
	k.follow(f, once)
	if f.resets != 1 {
		k.Fatalf("the first news of a new follower is no reset")
	}
	return f
}

func (k *kit) knows(f *follower, names ...string) {
	k.Helper()
	var got []string
	for _, e := range f.known {
		got = append(got, e.Target)
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		k.Fatalf("the follower knows %v, want %v", got, names)
	}
}

func empty(k *kit) {
	f := k.new()
	if len(f.known) != 0 || f.pos.Epoch == 0 {
		k.Errorf("a new feed at %v has %d events", f.pos, len(f.known))
	}
}

func told(k *kit) {
	f := k.new()
	start := f.pos
	now := time.Now()
	until := now.Add(time.Hour)
	events := []feed.Event{
		feed.SessionEnded("s-é\"", "u", "signed_out", until),
		feed.GrantEnded("g", "u", "revoked", until),
		feed.TokenEnded("t", "", "", until),
		feed.SubjectRaised("u", 1<<60, "password_changed", until),
		feed.ClientEnded("c", "removed", until),
		feed.KeyEnded("k", "leaked", until),
		feed.EveryoneRaised(7, "incident", until),
	}
	events[0].Audiences = []string{"https://a.example", "b"}
	if err := k.sink.Append(k.Context(), now, events...); err != nil {
		k.Fatal(err)
	}
	k.follow(f, func(feed.News) bool { return len(f.known) == len(events) })
	for _, who := range []*follower{f, k.new()} {
		for i, e := range events {
			want, err := e.Stamp(feed.ID{Epoch: start.Epoch, Seq: start.Seq + 1 + uint64(i)}, now)
			if err != nil {
				k.Fatal(err)
			}
			if got := who.known[i]; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				k.Errorf("told %+v\nwant %+v", got, want)
			}
		}
	}
}

func batch(k *kit) {
	f := k.new()
	k.append(event("a"), event("b"), event("c"))
	k.append(event("d"))
	k.follow(f, func(feed.News) bool { return len(f.known) == 4 })
	k.knows(f, "a", "b", "c", "d")
}

func whole(k *kit) {
	f := k.new()
	for _, bad := range []feed.Event{
		{},
		feed.SessionEnded("", "u", "", time.Now().Add(time.Hour)),
		feed.SubjectRaised("u", 0, "", time.Now().Add(time.Hour)),
		feed.SessionEnded("s", "u", "", time.Time{}),
	} {
		if err := k.sink.Append(k.Context(), time.Now(), event("lost"), bad, event("lost too")); err == nil {
			k.Errorf("Append took %+v", bad)
		}
	}
	k.append(event("a"))
	k.follow(f, func(feed.News) bool { return len(f.known) > 0 })
	k.knows(f, "a")
}

func nothing(k *kit) {
	f := k.new()
	before := f.pos
	k.append()
	k.follow(f, once)
	if f.pos != before {
		k.Errorf("the head went from %v to %v", before, f.pos)
	}
}

func atOnce(k *kit) {
	f := k.new()
	var sent time.Time
	k.follow(f, func(n feed.News) bool {
		if f.news == 2 { // right after a news, a heartbeat before the next
			k.append(event("a"))
			sent = time.Now()
			return false
		}
		if len(n.Events) > 0 {
			if took := time.Since(sent); took > feed.Heartbeat/2 {
				k.Errorf("an event was told after %v", took)
			}
			return true
		}
		return false
	})
}

func acknowledged(k *kit) {
	for i := range 200 {
		name := strconv.Itoa(i)
		k.append(event(name))
		if f := k.new(); len(f.known) != i+1 || f.known[i].Target != name {
			k.Fatalf("after %d appends a follower hears of %d", i+1, len(f.known))
		}
	}
}

func resumes(k *kit) {
	f := k.new()
	for i := range 20 {
		k.append(event(strconv.Itoa(2*i)), event(strconv.Itoa(2*i+1)))
		k.follow(f, once) // hangs up after each news
		if want := 2*i + 2; len(f.known) != want {
			k.Fatalf("resumed with %d events, want %d", len(f.known), want)
		}
	}
	if f.resets != 1 {
		k.Errorf("%d resets", f.resets)
	}
}

func nothingTwice(k *kit) {
	k.append(event("a"))
	f := k.new()
	k.follow(f, once)
	k.follow(f, once)
	k.knows(f, "a")
	if f.resets != 1 {
		k.Errorf("%d resets", f.resets)
	}
}

func unknownPosition(k *kit) {
	k.append(event("a"), event("b"))
	head := k.new().pos
	for name, pos := range map[string]feed.ID{
		"none":             {},
		"of another epoch": {Epoch: head.Epoch + 1, Seq: head.Seq},
		"beyond the head":  {Epoch: head.Epoch, Seq: head.Seq + 1},
		"without an epoch": {Seq: head.Seq},
	} {
		f := &follower{pos: pos, known: []feed.Event{event("stale")}}
		k.follow(f, once)
		if f.resets != 1 {
			k.Errorf("position %s: no reset", name)
		}
		k.knows(f, "a", "b")
		if f.pos != head {
			k.Errorf("position %s leads to %v, want %v", name, f.pos, head)
		}
	}
}

func stillMatters(k *kit) {
	f := k.new()
	past := feed.SessionEnded("past", "u", "", time.Now().Add(-time.Second))
	k.append(event("a"), past, event("b"))
	k.follow(f, func(feed.News) bool { return len(f.known) == 3 })
	k.knows(f, "a", "past", "b") // a number is never left out
	k.knows(k.new(), "a", "b")
}

func heartbeat(k *kit) {
	f := k.new()
	var beats []time.Time
	began := time.Now()
	k.follow(f, func(n feed.News) bool {
		if age := time.Since(n.At); age < -time.Millisecond || age > feed.Heartbeat {
			k.Errorf("a heartbeat is %v old", age)
		}
		beats = append(beats, n.At)
		return len(beats) == 4 // the first at once
	})
	if took := time.Since(began); took > 3*feed.Heartbeat+feed.Heartbeat/2 {
		k.Errorf("3 heartbeats took %v", took)
	}
	if !beats[3].After(beats[0]) {
		k.Errorf("the feed's time stands still at %v", beats[0])
	}
}

func oneOrder(k *kit) {
	const writers, each, followers = 8, 50, 3
	start := k.new()
	var heard [followers]follower
	var wg sync.WaitGroup
	var errs [followers]error
	ctx, cancel := context.WithTimeout(k.Context(), 4*patience)
	defer cancel()
	for i := range heard {
		f := &heard[i]
		f.pos, f.at = start.pos, start.at
		wg.Go(func() {
			errs[i] = k.source.Follow(ctx, f.pos, func(n feed.News) error {
				if err := f.hear(n); err != nil {
					return err
				}
				if len(f.known) >= 2*writers*each {
					return errEnough
				}
				return nil
			})
		})
	}
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("%d-%d", w, i)
				if err := k.sink.Append(ctx, time.Now(), event(name+"a"), event(name+"b")); err != nil {
					k.Errorf("Append: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for i := range heard {
		if errs[i] != errEnough {
			k.Fatalf("follower %d: %v", i, errs[i])
		}
		next := map[string]int{} // what each writer must be heard of next
		for j := 0; j < len(heard[i].known); j += 2 {
			a, b := heard[i].known[j].Target, heard[i].known[j+1].Target
			w := a[:1]
			if a != fmt.Sprintf("%s-%da", w, next[w]) || b != a[:len(a)-1]+"b" {
				k.Fatalf("follower %d heard %s and %s, want %s's number %d", i, a, b, w, next[w])
			}
			next[w]++
		}
		for j, e := range heard[i].known {
			if e.ID != heard[0].known[j].ID || e.Target != heard[0].known[j].Target {
				k.Fatalf("followers 0 and %d do not agree about number %d", i, j)
			}
		}
	}
}

func slow(k *kit) {
	const many = 3000
	f := k.new()
	last := strconv.Itoa(many - 1)
	k.follow(f, func(feed.News) bool {
		if f.news == 2 {
			// The follower is busy while all of this happens.
			var events []feed.Event
			for i := range many {
				if events = append(events, event(strconv.Itoa(i))); len(events) == 100 {
					k.append(events...)
					events = nil
				}
			}
		}
		return len(f.known) > 0 && f.known[len(f.known)-1].Target == last
	})
	if len(f.known) != many {
		k.Fatalf("the follower knows %d events, want %d", len(f.known), many)
	}
}

func hearError(k *kit) {
	k.append(event("a"))
	want := errors.New("mine")
	calls := 0
	if err := k.source.Follow(k.Context(), feed.ID{}, func(feed.News) error { calls++; return want }); err != want || calls != 1 {
		k.Errorf("Follow: %v after %d news, want hear's error after 1", err, calls)
	}
}

func contextEnds(k *kit) {
	ctx, cancel := context.WithCancel(k.Context())
	defer cancel()
	err := k.source.Follow(ctx, feed.ID{}, func(feed.News) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || admit.KindOf(err) == admit.Unavailable {
		k.Errorf("Follow: %v, want the context's error", err)
	}
}

func contextEnded(k *kit) {
	ctx, cancel := context.WithCancel(k.Context())
	cancel()
	heard := 0
	err := k.source.Follow(ctx, feed.ID{}, func(feed.News) error { heard++; return nil })
	if !errors.Is(err, context.Canceled) || heard > 0 {
		k.Errorf("Follow: %v after %d news, want the context's error and none", err, heard)
	}
}
