// Package limit counts tries against budgets in the process's memory: one time a key.
package limit

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// maxKeys bounds the memory of a Limiter, to about 20 MB. A flood of keys past
// it makes the limiter forget those that owe least.
const maxKeys = 200_000

const numShards = 16

// A Limiter is an account.Limiter. The zero value is not usable; see New.
type Limiter struct {
	seed   maphash.Seed
	shards [numShards]shard
}

type shard struct {
	mu   sync.Mutex
	full map[uint64]time.Time // guarded by mu; when the key's budget is whole again
}

// New returns a limiter whose budgets are whole.
func New() *Limiter {
	l := &Limiter{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].full = map[uint64]time.Time{}
	}
	return l
}

// The keys are kept as keyed hashes: they hold names and addresses of people.
func (l *Limiter) shard(key string) (*shard, uint64) {
	h := maphash.String(l.seed, key)
	return &l.shards[h%uint64(len(l.shards))], h
}

// Take implements account.Limiter.
func (l *Limiter) Take(key string, b account.Budget, now time.Time) time.Duration {
	s, h := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	full, ok := s.full[h]
	if !ok && len(s.full) >= maxKeys/numShards {
		s.sweep(now)
	}
	next, wait := b.Next(full, now)
	if wait == 0 {
		s.full[h] = next
	}
	return wait
}

// Owed implements account.Limiter.
func (l *Limiter) Owed(key string, now time.Time) time.Duration {
	s, h := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, s.full[h].Sub(now))
}

// Refund implements account.Limiter.
func (l *Limiter) Refund(key string, b account.Budget) {
	s, h := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if full, ok := s.full[h]; ok {
		s.full[h] = full.Add(-b.Every)
	}
}

// sweep forgets whole budgets, and where all are in use those that owe the
// least half of what the one at hand would.
func (s *shard) sweep(now time.Time) {
	for owed := time.Duration(0); len(s.full) >= maxKeys/numShards; owed = 2*owed + time.Second {
		for h, full := range s.full {
			if full.Sub(now) <= owed {
				delete(s.full, h)
			}
		}
	}
}
