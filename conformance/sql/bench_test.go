package sql

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sqlstore"
)

func eachBench(b *testing.B, run func(*testing.B, *sqlstore.Store)) {
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			s := start(b, k)
			store, _ := s.replica(b, s.dsn(s.dir, s.database()))
			run(b, store)
		})
	}
}

// share runs fn b.N times by so many goroutines.
func share(b *testing.B, goroutines int, unit string, fn func(n int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range goroutines {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := fn(int(n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), unit)
}

func BenchmarkCheck(b *testing.B) {
	eachBench(b, func(b *testing.B, s *sqlstore.Store) {
		v := item(strings.Repeat("v", 200))
		var wg sync.WaitGroup
		for g := range 64 {
			wg.Go(func() {
				for i := range 160 {
					s.Add(b.Context(), fmt.Sprintf("%022d", g*160+i), v)
				}
			})
		}
		wg.Wait()
		if _, err := s.Add(b.Context(), session.EpochKey(v.Subject), session.Item{Value: "1", Subject: "*", Expires: v.Expires}); err != nil {
			b.Fatal(err)
		}
		for _, readers := range []int{1, 16} {
			b.Run(fmt.Sprint(readers, " at once"), func(b *testing.B) {
				share(b, readers, "checks/s", func(n int) error {
					_, _, err := s.GetWithEpoch(b.Context(), fmt.Sprintf("%022d", n*7919%10240))
					return err
				})
			})
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	eachBench(b, func(b *testing.B, s *sqlstore.Store) {
		v := item(strings.Repeat("v", 200))
		var keys atomic.Int64
		for _, writers := range []int{1, 8, 64} {
			b.Run(fmt.Sprint(writers, " at once"), func(b *testing.B) {
				share(b, writers, "writes/s", func(int) error {
					_, err := s.Add(b.Context(), fmt.Sprintf("%022d", keys.Add(1)*7919%1000003), v)
					return err
				})
			})
		}
	})
}

// A database in the next room is half a millisecond away.
func BenchmarkWriteFarAway(b *testing.B) {
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			s := start(b, k)
			w := s.wire(b)
			store, _ := s.replica(b, s.dsn(w.dir, s.database()))
			w.delay.Store(int64(500 * time.Microsecond))
			v := item(strings.Repeat("v", 200))
			var keys atomic.Int64
			for _, writers := range []int{1, 64, 256} {
				b.Run(fmt.Sprint(writers, " at once"), func(b *testing.B) {
					share(b, writers, "writes/s", func(int) error {
						_, err := store.Add(b.Context(), fmt.Sprintf("%022d", keys.Add(1)*7919%1000003), v)
						return err
					})
				})
			}
		})
	}
}

// One user with many requests at once, each of which counts.
func BenchmarkOneHotSession(b *testing.B) {
	type visit struct{ Count int }
	eachBench(b, func(b *testing.B, s *sqlstore.Store) {
		m, err := session.New[visit](s, nil)
		if err != nil {
			b.Fatal(err)
		}
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil)
		if _, err := m.Start(w, r, "alice", nil); err != nil {
			b.Fatal(err)
		}
		cookie := w.Result().Cookies()[0]
		request := func() *http.Request {
			r := httptest.NewRequest("GET", "https://example.org/", nil)
			r.AddCookie(cookie)
			return r
		}
		b.Run("32 at once", func(b *testing.B) {
			before, err := m.Load(request())
			if err != nil {
				b.Fatal(err)
			}
			share(b, 32, "updates/s", func(int) error {
				_, err := m.Update(httptest.NewRecorder(), request(), func(v *visit) error { v.Count++; return nil })
				return err
			})
			after, err := m.Load(request())
			if err != nil {
				b.Fatal(err)
			}
			if lost := before.Data.Count + b.N - after.Data.Count; lost != 0 {
				b.Errorf("%d of %d updates were lost", lost, b.N)
			}
		})
	})
}
