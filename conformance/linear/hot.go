package linear

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// Heat is how one session takes many requests at once, each of which changes it.
type Heat struct {
	PerSecond float64
	P99       time.Duration
	Lost, Of  int // of the changes that were acknowledged
}

func (h Heat) String() string {
	return fmt.Sprintf("%.0f\t%v\t%d of %d", h.PerSecond, h.P99.Round(100*time.Microsecond), h.Lost, h.Of)
}

// Hot measures it for a store, in one process with 32 clients: the median of three
// times.
func Hot(t testing.TB, s Store) Heat {
	t.Helper()
	var all []Heat
	for range 3 {
		c := start(t, 1, s.command)
		all = append(all, c.heat())
		c.stop()
	}
	return median(all)
}

func median(all []Heat) Heat {
	slices.SortFunc(all, func(a, b Heat) int { return cmp.Compare(a.PerSecond, b.PerSecond) })
	return all[len(all)/2]
}

// heat heats one session for three seconds.
func (c *cluster) heat() Heat {
	c.begun = time.Now()
	h := &history{c: c, user: "hot"}
	query := map[string][]string{"user": {"hot"}, "name": {h.name(0)}, "wait": {"0s"}}
	first, cookie := h.send(c.workers[0], op{kind: begin}, "", query)
	if first.answer != done {
		c.t.Fatalf("no session begins: %v", first)
	}
	const clients, long = 32, 3 * time.Second
	var mu sync.Mutex
	var took []time.Duration // guarded by mu
	var work sync.WaitGroup
	for range clients {
		work.Go(func() {
			for time.Since(c.begun) < long {
				o, _ := h.send(c.workers[0], op{kind: update}, cookie, query)
				if o.answer != done {
					c.t.Errorf("an update: %v", o)
					return
				}
				mu.Lock()
				took = append(took, o.ret-o.call)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	all := time.Since(c.begun)
	last, _ := h.send(c.workers[0], op{kind: read}, cookie, query)
	slices.Sort(took)
	return Heat{
		PerSecond: float64(len(took)) / all.Seconds(),
		P99:       took[len(took)*99/100],
		Lost:      len(took) - last.n, Of: len(took),
	}
}

// stop ends the workers.
func (c *cluster) stop() {
	for _, w := range c.workers {
		w.kill()
	}
}
