package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A work does something n times.
type work func(n int)

// A row compares one piece of work. Where bare is set, its cost is taken off
// the others.
type row struct {
	What string `json:"what"`

	Ours  cost `json:"ours"`
	Floor cost `json:"floor"`
	Peer  cost `json:"peer"`

	FloorName string `json:"floor_name"`
	PeerName  string `json:"peer_name"`
	Goal      goal   `json:"goal"`

	ours, floor, peer, bare work
}

type cost struct {
	CPU    float64 `json:"cpu_ns"` // 0 where there is none
	Allocs float64 `json:"allocs"`
}

// A goal bounds our cost; a zero bound is none, and Allocs counts only with
// Bounded.
type goal struct {
	CPU     float64 `json:"cpu_ns,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"` // to the floor
	Allocs  float64 `json:"allocs"`
	Bounded bool    `json:"allocs_bounded"`
}

func (r *row) measure(rounds int, sample time.Duration) {
	works := []work{r.bare, r.ours, r.floor, r.peer}
	costs := make([]cost, len(works))
	n := make([]int, len(works))
	for i, w := range works {
		if w != nil {
			n[i], costs[i].Allocs = calibrate(w, sample)
		}
	}
	cpu := make([][]float64, len(works))
	for range rounds {
		base := 0.0
		for i, w := range works {
			if w == nil {
				continue
			}
			runtime.GC() // the garbage of the one before is not ours
			begun := cpuTime()
			w(n[i])
			spent := float64(cpuTime()-begun) / float64(n[i])
			if i == 0 {
				base = spent
				continue
			}
			cpu[i] = append(cpu[i], spent-base)
		}
	}
	for i, w := range works {
		if w != nil && i > 0 {
			slices.Sort(cpu[i])
			costs[i].CPU = cpu[i][len(cpu[i])/2]
			costs[i].Allocs -= costs[0].Allocs
		}
	}
	r.Ours, r.Floor, r.Peer = costs[1], costs[2], costs[3]
}

// calibrate returns how often w runs in the time of a sample, and how often it
// allocates.
func calibrate(w work, sample time.Duration) (n int, allocs float64) {
	w(1) // fills pools
	for n = 1; ; n *= 2 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begun := time.Now()
		w(n)
		took := time.Since(begun)
		runtime.ReadMemStats(&after)
		if took > sample/4 {
			// A pool that a collection emptied is filled again: not the work's.
			allocs = float64((after.Mallocs - before.Mallocs) / uint64(n))
			return max(1, int(float64(n)*float64(sample)/float64(took))), allocs
		}
	}
}

// cpuTime is the processor time that this process has used, by all its threads.
func cpuTime() time.Duration {
	var u unix.Rusage
	must(unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// threadTime is that of this thread. Getrusage knows it to a tick only.
func threadTime() time.Duration {
	var t unix.Timespec
	must(unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t))
	return time.Duration(t.Nano())
}

func machine() string {
	model := "unknown processor"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(b) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(name)) == "model name" {
			model = string(bytes.TrimSpace(value))
			break
		}
	}
	return fmt.Sprintf("%s %s/%s, %d cores of %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), model)
}
