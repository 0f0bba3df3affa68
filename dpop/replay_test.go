package dpop

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

// Whatever comes in which order, none that was used is taken again while it is
// in the window, and no more is remembered than was allowed.
func TestNoProofIsTakenTwiceHoweverManyThereAre(t *testing.T) {
	const most, keep, window = 16 * 64, 70_000, 60_000
	r := newReplays(most, keep)
	random := rand.New(rand.NewPCG(1, 2))
	type used struct {
		jti string
		at  int64
	}
	var all []used
	taken, again := 0, 0
	now := int64(1_700_000_000_000)
	for i := range 20_000 {
		now += random.Int64N(60)
		if len(all) > 0 && random.IntN(3) == 0 {
			u := all[max(0, len(all)-1-random.IntN(3000))]
			if now-u.at <= window && u.at-now <= ahead {
				again++
				if got := r.use(jkt, u.jti, u.at, now); got == fresh {
					t.Fatalf("%s of %d was taken twice, at %d", u.jti, u.at, now)
				}
			}
			continue
		}
		u := used{fmt.Sprint(i), now - random.Int64N(3000)}
		if random.IntN(100) == 0 {
			u.at = now + random.Int64N(ahead)
		}
		if r.use(jkt, u.jti, u.at, now) == fresh {
			taken++
			all = append(all, u)
		}
		if s := &r.shards[shardOf(jkt)%16]; len(s.young)+len(s.old) > most/16 {
			t.Fatalf("%d are remembered", len(s.young)+len(s.old))
		}
	}
	if taken < 1000 || again < 1000 {
		t.Fatalf("%d taken, %d tried again: nothing was shown", taken, again)
	}
}

// A flood shortens how old a proof may be: it shuts nobody out.
func TestAFloodMakesOldProofsOlderAndRefusesNoNewOne(t *testing.T) {
	r := newReplays(16*64, 70_000)
	now := int64(1_700_000_000_000)
	for i := range 1000 {
		now++
		if got := r.use(jkt, fmt.Sprint(i), now, now); got != fresh {
			t.Fatalf("proof %d: %v", i, got)
		}
	}
	if got := r.use(jkt, "late", now-500, now); got != forgotten {
		t.Errorf("a proof of before what was forgotten: %v", got)
	}
	// What was forgotten may be of the floor's own moment.
	floor := r.shards[shardOf(jkt)%16].floor
	if got := r.use(jkt, "a", floor, now); got != forgotten {
		t.Errorf("a proof of the floor's time: %v", got)
	}
	if got := r.use(jkt, "b", floor+1, now); got != fresh {
		t.Errorf("a proof of the moment after: %v", got)
	}
	// Another key's room is another.
	other := string(jkt[0]+1) + jkt[1:]
	if got := r.use(other, "late", now-500, now); got != fresh {
		t.Errorf("another key's proof: %v", got)
	}
}

func TestWhatCannotBeUsedAgainIsForgotten(t *testing.T) {
	r := newReplays(1<<20, 70_000)
	now := int64(1_700_000_000_000)
	for i := range 300 {
		now += 1000
		if got := r.use(jkt, fmt.Sprint(i), now-50_000, now); got != fresh {
			t.Fatalf("proof %d: %v", i, got)
		}
	}
	if s := &r.shards[shardOf(jkt)%16]; len(s.young)+len(s.old) > 145 {
		t.Errorf("%d are remembered, of 70 that count", len(s.young)+len(s.old))
	}
}

// Without this a clock put back by an hour refuses everybody for an hour.
func TestAClockPutBackRefusesNobody(t *testing.T) {
	r := newReplays(16*64, 70_000)
	now := int64(1_700_000_000_000)
	for i := range 200 {
		now++
		r.use(jkt, fmt.Sprint(i), now, now)
	}
	now -= 3_600_000
	if got := r.use(jkt, "a", now, now); got != fresh {
		t.Errorf("after the clock was put back: %v", got)
	}
	if got := r.use(jkt, "a", now, now); got != replayed {
		t.Errorf("the second time: %v", got)
	}
}

func TestAClockPutBackRevivesNoProof(t *testing.T) {
	r := newReplays(16*64, 70_000)
	const now = int64(1_700_000_000_000)
	fill := func(name string) {
		for i := range 32 {
			r.use(jkt, fmt.Sprint(name, i), now, now)
		}
	}
	fill("a")
	for _, age := range []int64{45_000, 55_000} {
		if got := r.use(jkt, fmt.Sprint(age), now-age, now); got != fresh {
			t.Fatalf("used %d ms late: %v", age, got)
		}
	}
	fill("b")
	for _, age := range []int64{45_000, 55_000} {
		if got := r.use(jkt, fmt.Sprint(age), now-age, now-50_000); got == fresh {
			t.Errorf("after the clock was put back by 50 s, the proof from %d ms before is good once more", age)
		}
	}
	if got := r.use(jkt, "new", now-50_000, now-50_000); got != fresh {
		t.Errorf("a new one: %v", got)
	}
}

func TestOfManyAtOnceOneIsTaken(t *testing.T) {
	r := newReplays(1<<10, 70_000)
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if r.use(jkt, "one", 1000, 1000) == fresh {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 {
		t.Errorf("%d were taken", taken.Load())
	}
}

// The id is a hash of both: no jti reaches into another key's.
func TestTheIDOfAProofIsOfKeyAndJTI(t *testing.T) {
	r := newReplays(1<<10, 70_000)
	a, b := strings.Repeat("a", 43), strings.Repeat("a", 42)+"b"
	if r.use(a, "1", 1000, 1000) != fresh || r.use(b, "1", 1000, 1000) != fresh || r.use(a, "1", 1000, 1000) != replayed {
		t.Error("two keys' proofs are one")
	}
}
