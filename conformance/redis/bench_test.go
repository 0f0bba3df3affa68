package redis

import (
	"context"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/session/redisstore"
)

// measure runs fn, alone or many at once, and reports the processor time of this
// process for each run, and the trips.
func measure(b *testing.B, trips *atomic.Int64, fn func() error) {
	spent := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	report := func(b *testing.B, run func()) {
		b.ReportAllocs()
		trips.Store(0)
		begun := spent()
		b.ResetTimer()
		run()
		b.ReportMetric(float64(spent()-begun)/float64(b.N), "cpu-ns/op")
		b.ReportMetric(float64(trips.Load())/float64(b.N), "trips/op")
	}
	b.Run("alone", func(b *testing.B) {
		report(b, func() {
			for range b.N {
				if err := fn(); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("32 at once", func(b *testing.B) {
		b.SetParallelism(32 / runtime.GOMAXPROCS(0))
		report(b, func() {
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := fn(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	})
}

// BenchmarkSessions shows what a check and a change cost beside the least that
// a look-up can, reading the record by hand. A change is of one session by all.
func BenchmarkSessions(b *testing.B) {
	s := start(b, programs(b)[0], forgets...)
	for _, c := range clients {
		var trips atomic.Int64
		dialled := c.dial(s)
		client := redisstore.Client(func(ctx context.Context, args ...string) (any, error) {
			trips.Add(1)
			return dialled(ctx, args...)
		})
		store := open(b, client, &redisstore.Options{Prefix: c.name + ":"})
		m := manager(b, store)
		r, sid := signIn(b, m, "alice")
		read := []string{"GETRANGE", c.name + ":r:" + sid, "0", "-1"} // which has an args[3], as Client says
		for _, row := range []struct {
			name string
			fn   func() error
		}{
			{"by hand", func() error { _, err := client(b.Context(), read...); return err }},
			{"GetWithEpoch", func() error { _, _, err := store.GetWithEpoch(b.Context(), sid); return err }},
			{"Check", func() error { _, err := m.Check(r); return err }},
			{"Update", func() error {
				_, err := m.Update(httptest.NewRecorder(), r, func(v *visit) error { v.Count++; return nil })
				return err
			}},
		} {
			b.Run(c.name+"/"+row.name, func(b *testing.B) { measure(b, &trips, row.fn) })
		}
	}
}
