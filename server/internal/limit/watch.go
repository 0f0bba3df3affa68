package limit

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

const (
	// maxWatched bounds the memory of a Watch: of networks, and of passwords, some
	// 1.5 MB each.
	maxWatched = 20_000
	// watchFor is how long misses are seen together, and how long a network stays
	// suspect after the last one that was part of a pattern.
	watchFor = time.Hour
	// many is how many bits of a sketch are set by some 30 accounts.
	many = 24
)

// A Watch is an account.Watch. It keeps keyed hashes alone, for an hour.
type Watch struct {
	seed      maphash.Seed
	mu        sync.Mutex
	networks  map[uint64]*sketch // guarded by mu
	passwords map[uint64]*sketch // guarded by mu
}

// A sketch counts different accounts in 64 bits, one of which each account sets.
type sketch struct {
	began   time.Time
	missed  uint64
	passed  uint64
	told    bool
	suspect time.Time // until when
}

// accounts estimates how many have set the bits: linear counting, after Whang.
func accounts(set uint64) int {
	empty := 64 - bits.OnesCount64(set)
	if empty == 0 {
		empty = 1
	}
	return int(64 * math.Log(64/float64(empty)))
}

// NewWatch returns one that has seen nothing.
func NewWatch() *Watch {
	return &Watch{seed: maphash.MakeSeed(), networks: map[uint64]*sketch{}, passwords: map[uint64]*sketch{}}
}

func (w *Watch) hash(text string) uint64 { return maphash.String(w.seed, text) }

// Missed implements account.Watch.
func (w *Watch) Missed(network, name string, password uint64, now time.Time) (seen []account.Pattern) {
	bit := uint64(1) << (w.hash(name) % 64)
	w.mu.Lock()
	defer w.mu.Unlock()
	n := at(w.networks, w.hash(network), now)
	n.missed |= bit
	// Behind one address of a provider there may be thousands of honest people, some of
	// whom miss. Most of them then get in.
	if bits.OnesCount64(n.missed) >= many && bits.OnesCount64(n.passed) < bits.OnesCount64(n.missed)/2 {
		n.suspect = now.Add(watchFor)
		if !n.told {
			n.told = true
			seen = append(seen, account.Pattern{Kind: account.Stuffing, Network: network, Accounts: accounts(n.missed)})
		}
	}
	p := at(w.passwords, password, now)
	p.missed |= bit
	if bits.OnesCount64(p.missed) >= many {
		n.suspect = now.Add(watchFor)
		if !p.told {
			p.told = true
			seen = append(seen, account.Pattern{Kind: account.Spraying, Network: network, Accounts: accounts(p.missed)})
		}
	}
	return seen
}

// Passed implements account.Watch. It begins no sketch: those who never miss need
// none.
func (w *Watch) Passed(network, name string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.networks[w.hash(network)]; n != nil && n.lives(now) {
		n.passed |= 1 << (w.hash(name) % 64)
	}
}

// Suspects implements account.Watch.
func (w *Watch) Suspects(network string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.networks[w.hash(network)]
	return n != nil && now.Before(n.suspect)
}

// lives reports whether what was seen still counts. A clock that was set back ends it.
func (s *sketch) lives(now time.Time) bool {
	age := now.Sub(s.began)
	return age >= 0 && age < watchFor
}

// at returns the sketch of a key, which begins anew after its time. The watch is
// locked.
func at(all map[uint64]*sketch, key uint64, now time.Time) *sketch {
	s := all[key]
	switch {
	case s == nil:
		if len(all) >= maxWatched {
			forget(all, now)
		}
		s = &sketch{began: now}
		all[key] = s
	case !s.lives(now):
		*s = sketch{began: now, suspect: s.suspect}
	}
	return s
}

// forget makes room: first go those whose time is over, then those that have seen
// the fewest accounts, until half of them are gone.
func forget(all map[uint64]*sketch, now time.Time) {
	for few := 0; len(all) > maxWatched/2; few++ {
		for key, s := range all {
			if !now.Before(s.suspect) && (!s.lives(now) || bits.OnesCount64(s.missed) <= few) || few > 64 {
				delete(all, key)
			}
		}
	}
}
