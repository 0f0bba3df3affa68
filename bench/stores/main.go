// Command stores fills each store with more and more sessions of signed-in users
// and measures what they take, how quickly they are found, how many writes a
// second are kept, and what it costs to clean up.
//
//	go run ./stores                  up to 100,000 sessions, two minutes
//	go run ./stores -max 10000000    up to ten million: hours, and 30 GB of disk
//	go run ./stores -only SQLite     one of them
//
// It starts the servers itself, in folders that it removes again. A store whose
// server is not installed is left out, with a line that says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

// A place is an empty store, and where it is.
type place struct {
	store session.Store
	// size is how many bytes it takes now: of the file, the tables or the memory.
	size func() int64
	// fill adds records at once, where one by one would take hours. It is nil where
	// it would not.
	fill func([]session.Entry)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("stores: ")
	most := flag.Int("max", 100_000, "the largest number of sessions")
	only := flag.String("only", "", "only the store of this `name`")
	flag.Parse()

	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "store\tsessions\tbytes each\tlook-up p50, p99\tby 16 at once\twrites/s by 1\tby 64\tsweep of a tenth\tlongest step\tlook-up p99 meanwhile")
	for _, kind := range kinds {
		if *only != "" && kind.name != *only {
			continue
		}
		for n := 1000; n <= *most; n *= 10 {
			log.Printf("%s: %d sessions", kind.name, n)
			p, stop, err := kind.open()
			if err != nil {
				log.Printf("no figures of %s: %v", kind.name, err)
				break
			}
			fmt.Fprintf(t, "%s\t%d\t%s\n", kind.name, n, measure(p, n))
			stop()
		}
	}
	t.Flush()
}

// measure fills a place with n sessions, each of another user.
func measure(p place, n int) string {
	ctx := context.Background()
	now := time.Now()
	empty := p.size()
	sids := make([]string, n)
	const batch = 1000
	share(8, (n+batch-1)/batch, func(part int) {
		var records []session.Entry
		for i := part * batch; i < min(n, (part+1)*batch); i++ {
			sids[i] = token.New(token.Session).Selector()
			user := fmt.Sprintf("u_%024d", i)
			expires := now.Add(12 * time.Hour)
			if i%10 == 0 {
				expires = now.Add(time.Hour) // the first to be swept
			}
			records = append(records,
				session.Entry{Key: session.EpochKey(user), Item: session.Item{Value: "1764131234567", Subject: "*", Expires: now.Add(24 * time.Hour)}},
				session.Entry{Key: sids[i], Item: session.Item{Value: record, Subject: user, Expires: expires}})
		}
		if p.fill != nil {
			p.fill(records)
			return
		}
		for _, r := range records {
			_, err := p.store.Add(ctx, r.Key, r.Item)
			must(err)
		}
	})
	size := float64(p.size()-empty) / float64(n)

	lookUp := func(int) {
		sid := sids[rand.IntN(n)]
		if s, ok := p.store.(session.EpochGetter); ok {
			_, _, err := s.GetWithEpoch(ctx, sid)
			must(err)
			return
		}
		it, err := p.store.Get(ctx, sid)
		must(err)
		_, err = p.store.Get(ctx, session.EpochKey(it.Subject))
		must(err)
	}
	const looks = 20_000
	alone, many := share(1, looks, lookUp), share(16, looks, lookUp)

	write := func(i int) {
		for {
			it, err := p.store.Get(ctx, sids[i%n])
			must(err)
			if _, err = p.store.Swap(ctx, sids[i%n], it.Version, it); !errors.Is(err, session.ErrConflict) {
				must(err)
				return
			}
		}
	}
	one, crowd := share(1, 1000, write), share(64, 10_000, write)

	swept := "by itself\t–\t–"
	if s, ok := p.store.(session.Sweeper); ok {
		swept = sweep(s, now.Add(2*time.Hour), n, lookUp)
	}
	return fmt.Sprintf("%.0f\t%s\t%s\t%.0f\t%.0f\t%s", size, alone, many, one.rate(), crowd.rate(), swept)
}

// sweep removes what has expired by a time, as a Manager does, and looks
// meanwhile whether sessions are found as quickly as before.
func sweep(s session.Sweeper, by time.Time, n int, lookUp func(int)) string {
	const step = 1000
	var longest time.Duration
	done := make(chan struct{})
	begun := time.Now()
	go func() {
		defer close(done)
		for range n/step + 1 {
			begun := time.Now()
			swept, err := s.Sweep(context.Background(), by, step)
			must(err)
			longest = max(longest, time.Since(begun))
			if swept < step {
				return
			}
		}
	}()
	var took times
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			begun := time.Now()
			func() {
				defer func() { recover() }() // what was swept is not found
				lookUp(0)
			}()
			took.each = append(took.each, time.Since(begun))
		}
	}
	took.all = time.Since(begun)
	return fmt.Sprintf("%s\t%s\t%s", round(took.all), round(longest), round(took.part(0.99)))
}

// record is as long as that of a session with 64 bytes of data, its methods and
// device.
var record = "\x01\x14" + strings.Repeat("r", 150)

// times is how long each of some calls took, and all of them.
type times struct {
	each []time.Duration
	all  time.Duration
}

// share calls fn n times by so many goroutines.
func share(goroutines, n int, fn func(i int)) times {
	t := times{each: make([]time.Duration, n)}
	var next atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for range goroutines {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				begun := time.Now()
				fn(i)
				t.each[i] = time.Since(begun)
			}
		})
	}
	wg.Wait()
	t.all = time.Since(begun)
	return t
}

func (t times) part(p float64) time.Duration {
	if len(t.each) == 0 {
		return 0
	}
	slices.Sort(t.each)
	return t.each[min(len(t.each)-1, int(p*float64(len(t.each))))]
}

func (t times) rate() float64 { return float64(len(t.each)) / t.all.Seconds() }

func (t times) String() string { return round(t.part(0.5)) + ", " + round(t.part(0.99)) }

// round leaves three digits.
func round(d time.Duration) string {
	for unit := time.Nanosecond; ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
