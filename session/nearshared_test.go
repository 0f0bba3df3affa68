package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWithoutNewsHitsEndAfterTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		truth := &slow{Store: NewMemory(nil)}
		n := NewSharedNear(truth, 0)
		v, err := truth.Add(ctx, "k", Item{Value: "alive", Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		reads := func() int64 {
			t.Helper()
			before := truth.reads.Load()
			if _, err := n.Get(ctx, "k"); err != nil {
				t.Fatal(err)
			}
			return truth.reads.Load() - before
		}
		for range 2 {
			if reads() != 1 {
				t.Error("a copy counted before anything was heard")
			}
		}
		n.Heard(time.Now())
		if reads() != 1 || reads() != 0 {
			t.Error("no copy was kept of what was read after news")
		}
		// Another process ends it, and nothing is heard any more.
		if _, err := truth.Swap(ctx, "k", v, Item{Value: "ended", Expires: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(NearLease - time.Nanosecond)
		if it, _ := n.Get(ctx, "k"); it.Value != "alive" {
			t.Fatalf("just before the lease ends: %q: the test tests nothing", it.Value)
		}
		time.Sleep(time.Nanosecond)
		if it, _ := n.Get(ctx, "k"); it.Value != "ended" {
			t.Errorf("after %v without news: %q", NearLease, it.Value)
		}
		// What was heard before counts from when it was asked, not from now on.
		n.Heard(time.Now().Add(-NearLease))
		if it, _ := n.Get(ctx, "k"); it.Value != "ended" {
			t.Errorf("after old news: %q", it.Value)
		}
	})
}

// Another replica notes that the session is in use: it lives, and a copy that says
// otherwise signs nobody out.
func TestACopyIsNeverTheProofOfExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		truth := NewMemory(nil)
		n := NewSharedNear(truth, 0)
		v, err := truth.Add(ctx, "k", Item{Value: "alive", Expires: time.Now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		n.Heard(time.Now())
		if _, err := n.Get(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Hour)
		if err := truth.Touch(ctx, "k", v, later); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		n.Heard(time.Now())
		if it, err := n.Get(ctx, "k"); err != nil || !it.Expires.Equal(later) {
			t.Errorf("a session that was touched elsewhere expires %v, %v, want %v", it.Expires, err, later)
		}
	})
}

func TestNewsDuringAFillPoisonsIt(t *testing.T) {
	for name, tell := range map[string]func(*Near){
		"of its record":                  func(n *Near) { n.Forget("k") },
		"that nobody knows what changed": func(n *Near) { n.ForgetAll() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				truth := &slow{Store: NewMemory(nil), gate: make(chan struct{})}
				n := NewSharedNear(truth, 0)
				n.Heard(time.Now())
				v, err := truth.Add(ctx, "k", Item{Value: "alive", Expires: time.Now().Add(time.Hour)})
				if err != nil {
					t.Fatal(err)
				}
				go n.Get(ctx, "k")
				synctest.Wait() // it has read, and not yet made a copy
				if _, err := truth.Swap(ctx, "k", v, Item{Value: "ended", Expires: time.Now().Add(time.Hour)}); err != nil {
					t.Fatal(err)
				}
				tell(n)
				close(truth.gate)
				synctest.Wait()
				if it, err := n.Get(ctx, "k"); err != nil || it.Value != "ended" {
					t.Errorf("after the news: %q, %v", it.Value, err)
				}
			})
		})
	}
}

func TestForgettingAllGivesTheMemoryBack(t *testing.T) {
	ctx := t.Context()
	truth := NewMemory(nil)
	n := NewSharedNear(truth, 0)
	for range 2 {
		n.Heard(time.Now())
		for i := range 1000 {
			key := strconv.Itoa(i)
			truth.Add(ctx, key, Item{Value: key, Expires: time.Now().Add(time.Hour)})
			if it, err := n.Get(ctx, key); err != nil || it.Value != key {
				t.Fatalf("Get(%s) = %q, %v", key, it.Value, err)
			}
		}
		if s := n.Stats(); s.Records != 1000 || s.Bytes == 0 {
			t.Fatalf("%+v: the test tests nothing", s)
		}
		n.ForgetAll()
		if s := n.Stats(); s.Records != 0 || s.Bytes != 0 {
			t.Errorf("after forgetting all: %+v", s)
		}
	}
}

// A delayed store answers after a while, within which the record may change.
type delayed struct {
	Store
	rand func(int) time.Duration
}

func (d *delayed) Get(ctx context.Context, key string) (Item, error) {
	time.Sleep(d.rand(3))
	it, err := d.Store.Get(ctx, key)
	time.Sleep(d.rand(3))
	return it, err
}

func (d *delayed) Swap(ctx context.Context, key string, old uint64, it Item) (uint64, error) {
	time.Sleep(d.rand(3))
	defer time.Sleep(d.rand(3))
	return d.Store.Swap(ctx, key, old, it)
}

// A carrier takes messages to one replica, in order and each after a while. While it
// is cut, it loses them; now and then it loses one and notices a little later, as by
// a gap in numbers.
type carrier struct {
	near *Near
	line chan message
	cut  atomic.Bool
	cuts atomic.Int64
	lost atomic.Bool // one message, which nobody has noticed yet
}

type message struct {
	key  string // "" for a heartbeat
	sent time.Time
}

const (
	longestTrip = 20 * time.Millisecond
	beatEvery   = 500 * time.Millisecond
)

func (c *carrier) send(m message) {
	if !c.cut.Load() {
		c.line <- m
	}
}

func (c *carrier) run(ctx context.Context, wait func(int) time.Duration) {
	connected, cuts := false, int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-c.line:
			time.Sleep(min(wait(3), max(0, longestTrip-time.Since(m.sent))))
			if was := cuts; c.cut.Load() || c.cuts.Load() != was {
				connected, cuts = false, c.cuts.Load()
			}
			switch {
			case c.cut.Load():
			case m.key != "" && connected:
				if rand.IntN(100) == 0 {
					c.lost.Store(true)
					continue
				}
				c.near.Forget(m.key)
			case m.key == "":
				// A new subscription, or a gap: what was missed nobody knows.
				if !connected || c.lost.Swap(false) {
					c.near.ForgetAll()
				}
				connected = true
				c.near.Heard(m.sent)
			}
		}
	}
}

// Three replicas write and read a few records of one store, while the carriers
// of their news are slow, cut and forgetful. No read on any replica is older than
// what was acknowledged the lease before it began; none on the replica that wrote is
// older than that write.
func TestNoReadIsOlderThanTheLease(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { nearHistory(t, seed) })
		})
	}
}

func nearHistory(t *testing.T, seed uint64) {
	const replicas, keys = 3, 4
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 1))
	random := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return dice.IntN(n)
	}
	wait := func(ms int) time.Duration { return time.Duration(random(ms*1000)) * time.Microsecond }

	truth := &delayed{NewMemory(nil), wait}
	far := time.Now().Add(24 * time.Hour)
	var line [replicas]*carrier
	var work sync.WaitGroup
	for i := range line {
		c := &carrier{near: NewSharedNear(truth, 32<<10), line: make(chan message, 1000)}
		line[i] = c
		work.Go(func() { c.run(ctx, wait) })
		work.Go(func() {
			for ctx.Err() == nil {
				c.send(message{sent: time.Now()})
				time.Sleep(beatEvery)
			}
		})
		work.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(time.Duration(random(3000)) * time.Millisecond)
				c.cuts.Add(1)
				c.cut.Store(true)
				time.Sleep(time.Duration(random(4000)) * time.Millisecond)
				c.cut.Store(false)
			}
		})
	}
	// acked has when each number of a key was acknowledged, guarded by mu.
	type ack struct {
		at time.Time
		by int
	}
	var acked [keys][]ack
	for k := range keys {
		if _, err := truth.Store.Add(ctx, fmt.Sprint("k", k), Item{Value: "0", Expires: far}); err != nil {
			t.Fatal(err)
		}
		acked[k] = []ack{{time.Now(), -1}}
	}
	// least returns the least number that a read by a replica may give which begins now.
	least := func(k, by int) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for i, a := range acked[k] {
			if a.at.IsZero() {
				break
			}
			if a.by == by || time.Since(a.at) >= NearLease {
				n = i
			}
		}
		return n
	}
	var hits, stale atomic.Int64
	for i, c := range line {
		for range 3 {
			work.Go(func() {
				for ctx.Err() == nil {
					k := random(keys)
					key := fmt.Sprint("k", k)
					from := least(k, i)
					before := c.near.Stats().Hits
					it, err := c.near.Get(ctx, key)
					if err != nil {
						continue
					}
					n, _ := strconv.Atoi(it.Value)
					if n < from {
						t.Errorf("replica %d read %d of %s, and %d was due", i, n, key, from)
					}
					hits.Add(int64(c.near.Stats().Hits - before))
					mu.Lock()
					if n < len(acked[k])-1 {
						stale.Add(1)
					}
					mu.Unlock()
					if random(20) == 0 {
						next := Item{Value: strconv.Itoa(n + 1), Expires: far}
						if _, err := c.near.Swap(ctx, key, it.Version, next); err == nil {
							for j, other := range line {
								if j != i {
									other.send(message{key, time.Now()})
								}
							}
							// Whoever writes tells before he acknowledges.
							mu.Lock()
							for len(acked[k]) <= n+1 {
								acked[k] = append(acked[k], ack{})
							}
							acked[k][n+1] = ack{time.Now(), i}
							mu.Unlock()
						}
					}
					time.Sleep(wait(30))
				}
			})
		}
	}
	time.Sleep(60 * time.Second)
	stop()
	work.Wait()
	if hits.Load() < 1000 || stale.Load() == 0 {
		t.Errorf("%d hits and %d stale reads: the test tests nothing", hits.Load(), stale.Load())
	}
}

func BenchmarkNear(b *testing.B) {
	ctx := b.Context()
	for _, form := range []struct {
		name string
		make func(Store) *Near
	}{
		{"alone", func(s Store) *Near { return NewNear(s, 0) }},
		{"shared", func(s Store) *Near { return NewSharedNear(s, 0) }},
	} {
		n := form.make(NewMemory(nil))
		far := time.Now().Add(time.Hour)
		n.Add(ctx, "0123456789abcdefghijkl", Item{Value: "{\"count\":1}", Subject: "alice", Expires: far})
		n.Add(ctx, EpochKey("alice"), Item{Value: "1700000000000", Expires: far})
		b.Run(form.name+"/Get", func(b *testing.B) {
			b.ReportAllocs()
			n.Heard(time.Now().Add(time.Hour))
			for b.Loop() {
				n.Get(ctx, "0123456789abcdefghijkl")
			}
		})
		b.Run(form.name+"/GetWithEpoch", func(b *testing.B) {
			b.ReportAllocs()
			n.Heard(time.Now().Add(time.Hour))
			for b.Loop() {
				n.GetWithEpoch(ctx, "0123456789abcdefghijkl")
			}
		})
	}
}

func TestAHitOfANearCostsOneAllocation(t *testing.T) {
	ctx := t.Context()
	for name, n := range map[string]*Near{"alone": NewNear(NewMemory(nil), 0), "shared": NewSharedNear(NewMemory(nil), 0)} {
		far := time.Now().Add(time.Hour)
		n.Heard(far)
		n.Add(ctx, "sid", Item{Value: "{}", Subject: "alice", Expires: far})
		n.Add(ctx, EpochKey("alice"), Item{Value: "1700000000000", Expires: far})
		if a := testing.AllocsPerRun(100, func() { n.GetWithEpoch(ctx, "sid") }); a != 1 {
			t.Errorf("%s: %v allocations, want 1", name, a)
		}
	}
}
