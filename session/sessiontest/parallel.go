package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit/session"
)

// race runs n calls at once and returns how many had each outcome. Outcomes
// other than success and the two refusals fail the check.
func (k *kit) race(n int, call func(i int) error) (won, conflicts, absent int) {
	k.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = call(i)
		})
	}
	close(start)
	wg.Wait()
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case errors.Is(err, session.ErrConflict):
			conflicts++
		case errors.Is(err, session.ErrNotFound):
			absent++
		default:
			k.Fatalf("one of %d parallel calls: %v", n, err)
		}
	}
	return won, conflicts, absent
}

const racers = 32

func oneSwap(k *kit) {
	it := k.add("k", session.Item{Value: "v", Subject: "alice", Expires: later()})
	for round := range 20 {
		var winner atomic.Pointer[session.Item]
		won, conflicts, _ := k.race(racers, func(i int) error {
			next := session.Item{Value: fmt.Sprint(round, "-", i), Subject: "alice", Expires: it.Expires}
			v, err := k.Store.Swap(k.ctx, "k", it.Version, next)
			if err == nil {
				next.Version = v
				winner.Store(&next)
			}
			return err
		})
		if won != 1 || conflicts != racers-1 {
			k.Fatalf("round %d: of %d swaps of one version %d succeeded and %d were conflicts", round, racers, won, conflicts)
		}
		it = *winner.Load()
		k.want("k", it)
	}
}

func oneAdd(k *kit) {
	for round := range 20 {
		key := fmt.Sprint("k", round)
		won, conflicts, _ := k.race(racers, func(i int) error {
			_, err := k.Store.Add(k.ctx, key, session.Item{Value: fmt.Sprint(i), Expires: later()})
			return err
		})
		if won != 1 || conflicts != racers-1 {
			k.Fatalf("of %d adds of one key %d succeeded and %d were conflicts", racers, won, conflicts)
		}
	}
}

// Some callers have hardly any time, in the middle of others that have all they
// want. The former return in time, the latter get their answers.
func givingUp(k *kit) {
	const hasty, patient, calls = 12, 4, 20
	var wg sync.WaitGroup
	start := make(chan struct{})
	for g := range hasty + patient {
		wg.Go(func() {
			<-start
			for i := range calls {
				runtime.Gosched() // so that they take turns also where calls are fast
				ctx, cancel := k.ctx, func() {}
				if g < hasty {
					ctx, cancel = context.WithTimeout(ctx, rand.N(time.Millisecond))
				}
				key := fmt.Sprint("k", g, "-", i)
				_, err := k.Store.Add(ctx, key, session.Item{Value: "v", Subject: "alice", Expires: later()})
				if err == nil {
					_, err = k.Store.Get(ctx, key)
				}
				cancel()
				if err != nil && (g >= hasty || !unknown(err)) {
					k.Errorf("Add and Get beside callers that give up: %v", err)
				}
			}
		})
	}
	close(start)
	k.join(&wg)
}

// join waits for callers who must all return.
func (k *kit) join(wg *sync.WaitGroup) {
	k.Helper()
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		k.Fatal("calls did not return for 15 s")
	}
}

// A state is what stands under a key; the zero state is nothing.
type state struct {
	value   string
	version uint64
	expires int64
}

// An op is one call and what it answered. It could have happened at one moment
// between call and ret.
type op struct {
	text      string
	call, ret int64
	// step returns the state after the op, and whether the op could answer as
	// it did where this state stood.
	step func(state) (state, bool)
}

// never is the return of a call whose outcome is not known: it may happen at
// any time, or not at all.
const never = math.MaxInt64

// linearizable reports whether operations on one key, at most 64, could have
// happened one by one, each between its call and its return: the search of
// Wing and Gong (1993), with Lowe's memory of where it has been.
func linearizable(ops []op) bool {
	type place struct {
		done uint64
		state
	}
	been := map[place]bool{}
	var search func(place) bool
	search = func(p place) bool {
		if been[p] {
			return false
		}
		been[p] = true
		first := int64(never) // of the returns that are to come
		for i, o := range ops {
			if p.done>>i&1 == 0 {
				first = min(first, o.ret)
			}
		}
		if first == never {
			return true // what is left need not have happened
		}
		for i, o := range ops {
			if p.done>>i&1 == 1 || o.call > first {
				continue // somebody returned before this one was called
			}
			if next, ok := o.step(p.state); ok && search(place{p.done | 1<<i, next}) {
				return true
			}
		}
		return false
	}
	return search(place{})
}

// A history records the operations on one key.
type history struct {
	key     string
	clock   atomic.Int64
	mu      sync.Mutex
	ops     []op
	version map[string]uint64 // of each value, once somebody learnt it
}

// note keeps what was learnt of a write: a value is written once, so it has one
// version.
func (h *history) note(value string, version uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version[value] = version
}

func (h *history) add(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// versionOf is for writes whose answer was not heard. Where nobody learnt the
// version, it is one that nobody can have meant.
func (h *history) versionOf(value string) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, ok := h.version[value]; ok {
		return v
	}
	return math.MaxUint64
}

const (
	workers  = 5
	perEach  = 12 // workers × perEach ≤ 64
	numKeys  = 8  // at once
	numTurns = 6
)

func histories(k *kit) {
	for turn := range numTurns {
		var wg sync.WaitGroup
		all := make([]*history, numKeys)
		for i := range all {
			h := &history{key: fmt.Sprint("k", turn, "-", i), version: map[string]uint64{}}
			all[i] = h
			var last atomic.Uint64 // the version that somebody saw last
			for w := range workers {
				wg.Go(func() {
					for n := range perEach {
						k.operate(h, &last, fmt.Sprint("v", w, "-", n), w == 0)
					}
				})
			}
		}
		k.join(&wg)
		for _, h := range all {
			if !linearizable(h.ops) {
				for _, o := range h.ops {
					k.Logf("%4d to %4d: %s", o.call, o.ret, o.text)
				}
				k.Fatalf("what happened to %q cannot have happened one by one", h.key)
			}
		}
	}
}

// operate makes one call at random and records it.
func (k *kit) operate(h *history, last *atomic.Uint64, value string, hasty bool) {
	ctx := k.ctx
	if hasty { // gives up at some time, so that its writes may have happened or not
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rand.N(2*time.Millisecond))
		defer cancel()
	}
	old := last.Load()
	it := session.Item{Value: value, Expires: time.UnixMilli(later().UnixMilli() + rand.Int64N(1000))}
	if rand.N(2) == 0 {
		it.Subject = "alice"
	}
	exp := it.Expires.UnixMilli()
	var o op
	var err error
	o.call = h.clock.Add(1)
	// Outcomes, and what must have stood for each.
	is := func(s state) (state, bool) { return s, s.value != "" && s.version == old }
	conflict := func(s state) (state, bool) { return s, s.value != "" && s.version != old }
	free := func(s state) (state, bool) { return s, s.value == "" }
	taken := func(s state) (state, bool) { return s, s.value != "" }
	var done, refused func(state) (state, bool)
	switch n := rand.N(20); {
	case n < 6:
		var got session.Item
		got, err = k.Store.Get(ctx, h.key)
		o.text = fmt.Sprint("Get = ", got.Value, " ", got.Version, " ", got.Expires.UnixMilli(), " ", err)
		if err == nil {
			last.Store(got.Version)
			h.note(got.Value, got.Version)
		} else if unknown(err) {
			return // it did nothing and said nothing
		}
		done = func(s state) (state, bool) {
			return s, s == state{got.Value, got.Version, got.Expires.UnixMilli()}
		}
	case n < 9:
		var v uint64
		v, err = k.Store.Add(ctx, h.key, it)
		o.text = fmt.Sprint("Add ", value, " ", exp, " = ", v, " ", err)
		if err == nil {
			last.Store(v)
			h.note(value, v)
		}
		done = func(s state) (state, bool) { return state{value, h.versionOf(value), exp}, s.value == "" }
		refused = taken
	case n < 14:
		var v uint64
		v, err = k.Store.Swap(ctx, h.key, old, it)
		o.text = fmt.Sprint("Swap ", old, " ", value, " ", exp, " = ", v, " ", err)
		if err == nil {
			last.Store(v)
			h.note(value, v)
		}
		done = func(s state) (state, bool) {
			_, ok := is(s)
			return state{value, h.versionOf(value), exp}, ok
		}
		refused = conflict
	case n < 18:
		err = k.Store.Touch(ctx, h.key, old, it.Expires)
		o.text = fmt.Sprint("Touch ", old, " ", exp, " = ", err)
		done = func(s state) (state, bool) {
			_, ok := is(s)
			s.expires = max(s.expires, exp)
			return s, ok
		}
		refused = conflict
	default:
		err = k.Store.Delete(ctx, h.key)
		o.text = fmt.Sprint("Delete = ", err)
		done = func(state) (state, bool) { return state{}, true }
	}
	o.ret = h.clock.Add(1)
	switch {
	case err == nil:
		o.step = done
	case errors.Is(err, session.ErrNotFound):
		o.step = free
	case errors.Is(err, session.ErrConflict) && refused != nil:
		o.step = refused
	case unknown(err):
		o.step, o.ret = done, never
	default:
		k.Errorf("%s", o.text)
		return
	}
	h.add(o)
}
