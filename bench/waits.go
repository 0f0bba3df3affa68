package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime/trace"
	"time"

	"golang.org/x/sys/unix"

	exptrace "golang.org/x/exp/trace"
)

// beside makes look-ups while work runs in a goroutine of its own, and returns
// the longest time that a look-up stood still because it could not have a lock,
// as the Go runtime traced it.
func beside(work, look func()) (longest time.Duration) {
	var log bytes.Buffer
	must(trace.Start(&log))
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	const here = "look-ups are made here"
	trace.Log(context.Background(), here, "")
	for more := true; more; {
		select {
		case <-done:
			more = false
		default:
			look()
		}
	}
	trace.Stop()

	r, err := exptrace.NewReader(&log)
	must(err)
	looks, stands := exptrace.NoGoroutine, false
	var since exptrace.Time
	for {
		e, err := r.ReadEvent()
		if errors.Is(err, io.EOF) {
			return longest
		}
		must(err)
		switch e.Kind() {
		case exptrace.EventLog:
			if e.Log().Category == here {
				looks = e.Goroutine()
			}
		case exptrace.EventStateTransition:
			s := e.StateTransition()
			if s.Resource.Kind != exptrace.ResourceGoroutine || s.Resource.Goroutine() != looks {
				continue
			}
			if stands {
				longest = max(longest, e.Time().Sub(since))
			}
			_, to := s.Goroutine()
			stands, since = to == exptrace.GoWaiting && s.Reason == "sync", e.Time()
		}
	}
}

// A stopwatch measures the steps of a sweep in processor time. It is a context
// because our stores ask theirs between two steps, with no lock held.
type stopwatch struct {
	context.Context
	begun, longest time.Duration
}

func (s *stopwatch) Err() error {
	now := threadTime()
	if s.begun > 0 {
		s.longest = max(s.longest, now-s.begun)
	}
	s.begun = now
	return nil
}

// threadTime is the processor time of this thread. Getrusage knows it to a tick
// only.
func threadTime() time.Duration {
	var t unix.Timespec
	must(unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t))
	return time.Duration(t.Nano())
}
