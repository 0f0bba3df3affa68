package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/session"
)

// A weight is what n sessions of a kind cost while they live and as they go.
type weight struct {
	Kind  string  `json:"kind"`
	N     int     `json:"n"`
	Bytes float64 `json:"bytes_a_session"`
	Check float64 `json:"check_cpu_ns"` // one request that reads its session
	GC    float64 `json:"gc_ns"`        // a full collection, by the clock
	GCCPU float64 `json:"gc_cpu_ns"`
	Idle  sweep   `json:"sweep_none_expired"`
	All   sweep   `json:"sweep_all_expired"`
	Left  float64 `json:"bytes_left"` // when every session has expired
}

// A sweep says what the removal of expired sessions cost, and how look-ups fared
// meanwhile.
type sweep struct {
	Took float64 `json:"took_ns"`
	// Hold is the processor time of the longest step with a lock, of a sweep
	// that is alone: what a look-up waits for it. Waited is how long one stood
	// still for a lock, by the clock: so long as the machine did not let the
	// sweep go on, too.
	Hold    float64 `json:"longest_step_cpu_ns"`
	Waited  float64 `json:"longest_wait_ns"`
	Lookups int     `json:"lookups"`
	P999    float64 `json:"lookup_p999_ns"`
	Slowest float64 `json:"lookup_slowest_ns"`
}

// A pile is a store with sessions in it.
type pile struct {
	check  http.Handler
	cookie func(i int) string // begins session i and returns its cookie
	settle func()             // what filling left behind goes
	sweep  cleaner            // while nothing has expired
	expire func() cleaner     // all, and then the sweep that removes them
}

// A cleaner removes this many expired sessions. A store that removes all at once
// does so for everything only.
type cleaner func(ctx context.Context, most int)

const everything = math.MaxInt

// cart makes the data 64 bytes as JSON.
var cart = strings.Repeat("x", 53)

type basket struct {
	Cart string `json:"cart"`
}

const samples = 1 << 16 // sessions that are read

func weigh(kind string, n int) weight {
	// What the bench itself keeps is there before the first look at the heap.
	reads, maxCookie := min(n, samples), 128
	if strings.HasPrefix(kind, "sealed") {
		maxCookie = 512
	}
	kept := make([]byte, 0, reads*maxCookie)
	before := heap()
	p := newPile(kind)
	for i := range n {
		c := p.cookie(i)
		if len(kept) < (i+1)*reads/n*maxCookie {
			kept = append(kept, c...)
			kept = append(kept, make([]byte, maxCookie-len(c))...)
		}
	}
	p.settle()
	w := weight{Kind: kind, N: n, Bytes: float64(int64(heap()-before)) / float64(n)}
	read := reader(p.check, string(kept), maxCookie, true)

	begun := cpuTime()
	w.GC = median(9, runtime.GC)
	w.GCCPU = float64(cpuTime()-begun) / 9
	read(1000)
	const times = 200_000
	begun = cpuTime()
	read(times)
	w.Check = float64(cpuTime()-begun) / times

	w.Idle = during(p.sweep, n, read)
	w.All = during(p.expire(), n, reader(p.check, string(kept), maxCookie, false))
	w.Left = float64(int64(heap() - before))
	runtime.KeepAlive(kept)
	runtime.KeepAlive(p)
	return w
}

// reader reads sessions in an order without order. It keeps one request and one
// string, so that the collector has next to nothing of ours to look at.
//
// A cookie takes width bytes, of which those behind it are zero.
func reader(h http.Handler, cookies string, width int, must bool) work {
	w, template := newWriter(), request("-")
	return func(n int) {
		for range n {
			at := rand.IntN(len(cookies)/width) * width
			c := cookies[at : at+width]
			template.Header["Cookie"][0] = c[:strings.IndexByte(c, 0)]
			r := new(http.Request)
			*r = *template
			w.reset()
			h.ServeHTTP(w, r)
			check(w.code == http.StatusOK || !must)
		}
	}
}

func newPile(kind string) pile {
	if kind == "scs" {
		return scsPile()
	}
	store := session.NewMemory(&session.MemoryOptions{MaxRecords: 1 << 30, MaxBytes: 1 << 40})
	m, err := session.New[basket](store, nil)
	if strings.HasPrefix(kind, "sealed") {
		var keys *cookie.Keys
		keys, err = cookie.ParseKeys(cookie.GenerateKey())
		must(err)
		m, err = session.NewSealed[basket](store, keys, nil)
	}
	must(err)
	sweep := func(now time.Time) cleaner {
		return func(ctx context.Context, most int) {
			for most > 0 { // as Manager.Run does
				n, err := store.Sweep(ctx, now, min(most, 1000))
				must(err)
				if n < 1000 {
					return
				}
				most -= n
				time.Sleep(time.Millisecond)
			}
		}
	}
	w := newWriter()
	return pile{
		check: m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := m.Check(r)
			answer(w, err == nil)
		})),
		cookie: func(i int) string {
			// A guest begins with its data, as Update writes it; one who signs
			// in brings it along.
			w.reset()
			_, err := m.Update(w, request(""), func(b *basket) error { b.Cart = cart; return nil })
			must(err)
			switch {
			case kind == "sealed, just changed": // and its browser has not been seen since
				r := request(w.pair())
				w.reset()
				_, err := m.Update(w, r, func(b *basket) error { b.Cart = "x" + cart[1:len(cart)-1] + "y"; return nil })
				must(err)
			case strings.HasSuffix(kind, "signed-in"):
				r := request(w.pair())
				w.reset()
				_, err := m.Start(w, r, fmt.Sprintf("u_%020d", i), &session.StartOptions{
					AMR:    []string{"pwd"},
					Device: session.Device{Name: "Firefox on Linux", Address: fmt.Sprintf("192.0.2.%d", i%256)},
				})
				must(err)
			}
			return w.pair()
		},
		// The tombstones of guests who signed in are gone after a minute.
		settle: func() { sweep(time.Now().Add(10*time.Minute))(ctx, everything) },
		sweep:  sweep(time.Now().Add(10 * time.Minute)),
		expire: func() cleaner { return sweep(time.Now().Add(100 * time.Hour)) },
	}
}

func scsPile() pile {
	store := memstore.NewWithCleanupInterval(0)
	m := scs.New()
	m.Store = store
	clean := func(_ context.Context, most int) {
		if most == everything {
			deleteExpired(store)
		}
	}
	return pile{
		check: m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer(w, m.GetString(r.Context(), "cart") != "")
		})),
		cookie: func(int) string {
			ctx, err := m.Load(ctx, "")
			must(err)
			m.Put(ctx, "cart", cart)
			text, _, err := m.Commit(ctx)
			must(err)
			return "session=" + text
		},
		settle: func() {},
		sweep:  clean,
		expire: func() cleaner {
			all, err := store.All()
			must(err)
			past := time.Now().Add(-time.Hour)
			for text, b := range all {
				must(store.Commit(text, b, past))
			}
			return clean
		},
	}
}

// during measures the removal of n expired sessions: of half of them alone, and
// of the others while this goroutine looks sessions up.
func during(clean cleaner, n int, lookup work) (s sweep) {
	begun := time.Now()
	runtime.LockOSThread() // its processor time is the sweep's
	watch := &stopwatch{Context: ctx}
	clean(watch, n/2)
	watch.Err()
	runtime.UnlockOSThread()
	s.Hold = float64(watch.longest)

	all := make([]float64, 0, 1<<20)
	runtime.GC()
	s.Waited = float64(beside(func() { clean(ctx, everything) }, func() {
		begun := time.Now()
		lookup(1)
		all = append(all, float64(time.Since(begun)))
	}))
	s.Took = float64(time.Since(begun))
	slices.Sort(all)
	if s.Lookups = len(all); len(all) > 0 {
		s.P999, s.Slowest = all[len(all)*999/1000], all[len(all)-1]
	}
	return s
}

var ctx = context.Background()

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func median(n int, f func()) float64 {
	all := make([]float64, n)
	for i := range all {
		begun := time.Now()
		f()
		all[i] = float64(time.Since(begun))
	}
	slices.Sort(all)
	return all[n/2]
}
