package session

import (
	"context"
	"errors"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A sweepable store counts its sweeps, and some of them fail.
type sweepable struct {
	*Memory
	sweeps atomic.Int64
	fails  atomic.Bool
}

func (s *sweepable) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	s.sweeps.Add(1)
	if s.fails.Load() {
		return 0, errors.New("disk full")
	}
	return s.Memory.Sweep(ctx, now, limit)
}

func TestWhatRunRemovesIsCountedAndRequestsSweepOnlyWithoutIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sweepable{Memory: NewMemory(nil)}
		m := newManager(t, s, &Options{Idle: time.Minute})
		begin := func(n int) {
			for range n {
				if _, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), "", nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		const many = 10 * sweepEvery
		begin(many)
		if s.sweeps.Load() != 10 {
			t.Errorf("%d sweeps by %d requests that write, want 10", s.sweeps.Load(), many)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go m.Run(ctx)
		synctest.Wait()
		before := s.sweeps.Load()
		begin(many)
		if s.sweeps.Load() != before {
			t.Errorf("%d sweeps by requests beside Run", s.sweeps.Load()-before)
		}
		time.Sleep(time.Minute + 2500*time.Millisecond) // between two ticks
		if got := m.Swept(); got.Records != 2*many || got.Failed != 0 || s.Len() != 0 {
			t.Errorf("%+v were swept, %d are left, want %d and none", got, s.Len(), 2*many)
		}
		s.fails.Store(true)
		time.Sleep(3 * time.Second)
		if got := m.Swept(); got.Failed != 3 {
			t.Errorf("%d sweeps failed, want 3", got.Failed)
		}
		cancel()
		synctest.Wait()
		if got := m.Swept(); got.Failed != 3 {
			t.Errorf("an end of Run counts as a failure: %+v", got)
		}
		begin(sweepEvery)
		if got := m.Swept(); got.Failed != 4 {
			t.Errorf("after Run requests sweep again: %+v", got)
		}
	})
}
