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

// A contender makes its work, with all that the work needs, whenever its turn
// comes: what the others keep in memory is then gone, and is nothing that the
// collector could charge it for.
type contender func() work

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

	ours, floor, peer, bare contender
	turns                   bool // ours and the floor take turns, for a round differs more than they do
}

type cost struct {
	CPU    float64 `json:"cpu_ns"` // 0 where there is none
	Allocs float64 `json:"allocs"`
}

// A goal bounds our cost; a zero bound is none, and Allocs counts only with
// Bounded.
type goal struct {
	CPU     float64 `json:"cpu_ns,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`   // to the floor
	Over    float64 `json:"over_ns,omitempty"` // more than the floor
	Allocs  float64 `json:"allocs"`
	Bounded bool    `json:"allocs_bounded"`
}

// measured returns the row with its figures, and without what was measured.
func (r row) measured(rounds int, sample time.Duration) row {
	contenders := []contender{r.bare, r.ours, r.floor, r.peer}
	costs := make([]cost, len(contenders))
	n := make([]int, len(contenders))
	for i, c := range contenders {
		if c != nil {
			n[i], costs[i].Allocs = calibrate(c(), sample)
		}
	}
	cpu := make([][]float64, len(contenders))
	for range rounds {
		base := 0.0
		for i, c := range contenders {
			if c == nil {
				continue
			}
			w := c()
			w(1)         // fills pools
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
	for i, c := range contenders {
		if c != nil && i > 0 {
			slices.Sort(cpu[i])
			costs[i].CPU = cpu[i][len(cpu[i])/2]
			costs[i].Allocs -= costs[0].Allocs
		}
	}
	r.Ours, r.Floor, r.Peer = costs[1], costs[2], costs[3]
	if r.turns || r.Goal.Over > 0 {
		works := []work{r.ours(), r.floor()}
		if r.bare != nil {
			works = append(works, r.bare())
		}
		cpu := inTurns(works, time.Duration(rounds)*5*sample)
		if r.bare == nil {
			cpu = append(cpu, 0)
		}
		r.Ours.CPU, r.Floor.CPU = cpu[0]-cpu[2], cpu[1]-cpu[2]
	}
	r.bare, r.ours, r.floor, r.peer = nil, nil, nil, nil
	return r
}

// inTurns measures works that differ by less than a round of one differs from the next:
// they take turns of a millisecond, and means count.
func inTurns(works []work, total time.Duration) []float64 {
	n, _ := calibrate(works[0], time.Millisecond)
	cpu := make([]float64, len(works))
	turn := 0
	for begun := time.Now(); time.Since(begun) < total; turn++ {
		for i := range works {
			i = (turn + i) % len(works) // who is first takes turns, too
			before := cpuTime()
			works[i](n)
			cpu[i] += float64(cpuTime() - before)
		}
	}
	for i := range cpu {
		cpu[i] /= float64(turn * n)
	}
	return cpu
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
