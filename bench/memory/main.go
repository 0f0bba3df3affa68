// Command memory fills the memory store with sessions as a Manager writes them
// and prints what they weigh, what a garbage collection costs while they live,
// how long a look-up waits for a sweep, and what is left when all are gone.
//
//	go run ./memory -n 1000000
//	go run ./memory -n 1000000 -signed-in
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit/session"
)

// data is 64 bytes as JSON.
type data struct {
	Cart string `json:"cart"`
}

func main() {
	n := flag.Int("n", 1_000_000, "sessions")
	signedIn := flag.Bool("signed-in", false, "with subject, device and amr")
	flag.Parse()

	store := session.NewMemory(&session.MemoryOptions{MaxRecords: 1 << 30, MaxBytes: 1 << 40})
	m, err := session.New[data](store, nil)
	if err != nil {
		log.Fatal(err)
	}
	before := heap()
	begun := time.Now()
	var sample []*http.Request
	for i := range *n {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil)
		subject := ""
		o := &session.StartOptions{}
		if *signedIn {
			subject = fmt.Sprintf("u_%020d", i)
			o.AMR = []string{"pwd"}
			o.Device = session.Device{Name: "Firefox on Linux", Address: fmt.Sprintf("192.0.2.%d", i%256)}
		}
		// A guest begins with its data, as Update writes it; one who signs in
		// brings it along.
		_, err := m.Update(w, r, func(d *data) error { d.Cart = strings.Repeat("x", 53); return nil })
		if err != nil {
			log.Fatal(err)
		}
		if *signedIn {
			r.Header.Set("Cookie", pair(w))
			w = httptest.NewRecorder()
			if _, err := m.Start(w, r, subject, o); err != nil {
				log.Fatal(err)
			}
		}
		if i%max(*n/1000, 1) == 0 {
			r := httptest.NewRequest("GET", "https://example.org/", nil)
			r.Header.Set("Cookie", pair(w))
			sample = append(sample, r)
		}
	}
	filled := time.Since(begun)
	ctx := context.Background()
	// The tombstones of the guests are gone after a minute.
	if _, err := store.Sweep(ctx, time.Now().Add(61*time.Second), 1<<30); err != nil {
		log.Fatal(err)
	}
	live := store.Len()
	h := heap()
	fmt.Printf("sessions               %d (%d records, filled in %v)\n", *n, live, filled.Round(time.Millisecond))
	fmt.Printf("bytes a session        %.1f\n", float64(h-before)/float64(*n))
	fmt.Printf("full GC                %v\n", median(9, runtime.GC))
	fmt.Printf("check, median          %v\n", median(1000, func() {
		if _, err := m.Check(sample[rand.IntN(len(sample))]); err != nil {
			log.Fatal(err)
		}
	}))
	// A look-up may also wait for the machine: beside a neighbour that only
	// keeps a core busy it shows how long.
	lookups := func(what string, work func() int) {
		done := make(chan int)
		go func() { done <- work() }()
		var all []time.Duration
		begun := time.Now()
		for {
			select {
			case count := <-done:
				took := time.Since(begun).Round(time.Microsecond)
				slices.Sort(all)
				over := 0
				for _, d := range all {
					if d > time.Millisecond {
						over++
					}
				}
				fmt.Printf("%-22s %d in %v; %d look-ups meanwhile, p99.9 %v, %d over 1 ms, longest %v\n", what, count, took,
					len(all), all[len(all)*999/1000], over, all[len(all)-1])
				return
			default:
				t := time.Now()
				m.Check(sample[rand.IntN(len(sample))])
				all = append(all, time.Since(t))
			}
		}
	}
	sweep := func(now time.Time) func() int {
		return func() int {
			swept := 0
			for { // as Manager.Run does
				n, err := store.Sweep(ctx, now, 1000)
				if err != nil {
					log.Fatal(err)
				}
				if swept += n; n < 1000 {
					return swept
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
	lookups("busy neighbour", func() int {
		n := 0
		for begun := time.Now(); time.Since(begun) < 300*time.Millisecond; n++ {
		}
		return n
	})
	lookups("sweep, none expired", sweep(time.Now().Add(62*time.Second)))
	lookups("sweep, all expired", sweep(time.Now().Add(100*time.Hour)))
	runtime.KeepAlive(sample)
	fmt.Printf("heap left              %.1f MB\n", float64(int64(heap())-int64(before))/1e6)
	runtime.KeepAlive(m)
}

func pair(w *httptest.ResponseRecorder) string {
	p, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	return p
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func median(n int, f func()) time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		t := time.Now()
		f()
		all[i] = time.Since(t)
	}
	slices.Sort(all)
	return all[n/2]
}
