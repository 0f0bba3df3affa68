package dpop

import (
	"crypto/sha256"
	"sync"
)

// replays remembers which proofs were used: about so many at most. None is taken
// twice all the same, for with those that are forgotten goes the right of all
// proofs as old as they are.
//
// A key has one shard of it, so that who floods it with his own proofs makes
// his own ones old, and those of a sixteenth of the others.
type replays struct {
	most   int   // in half a shard
	keep   int64 // how long a proof can be taken, in milliseconds
	shards [16]replayShard
}

// A replayShard keeps two halves, the old one whole until it is dropped.
type replayShard struct {
	mu         sync.Mutex
	young, old map[proofID]struct{}
	begun      int64 // when the young half was
	last       int64 // the latest time of a proof in the young half
	lastOld    int64 // and in the old one
	floor      int64 // proofs of this time or earlier may have been forgotten
}

type proofID [16]byte

func newReplays(most int, keep int64) *replays {
	r := &replays{keep: keep}
	r.most = max(1, most/len(r.shards)/2)
	return r
}

// forget refuses what was made until a time.
func (r *replays) forget(until int64) {
	for i := range r.shards {
		r.shards[i].floor = until
	}
}

// An outcome is what became of a proof.
type outcome int

const (
	fresh outcome = iota
	replayed
	forgotten // it is too old to tell
)

// use notes that a proof by this key with this jti, made at a time, was used.
func (r *replays) use(jkt, jti string, at, now int64) outcome {
	sum := sha256.Sum256([]byte(jkt + jti)) // a jkt is always of 43 characters
	id := proofID(sum[:])
	s := &r.shards[shardOf(jkt)%len(r.shards)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(r, now)
	if at <= s.floor {
		return forgotten
	}
	if _, used := s.old[id]; used {
		return replayed
	}
	if _, used := s.young[id]; used {
		return replayed
	}
	if s.young == nil {
		s.young, s.begun = map[proofID]struct{}{}, now
	}
	s.young[id] = struct{}{}
	s.last = max(s.last, at)
	return fresh
}

// turn drops the old half where the young one is full, or where all that is in
// the old one could not be taken any more in any case.
func (s *replayShard) turn(r *replays, now int64) {
	if s.floor > now+ahead {
		// Only a clock that was put back does this. To wait until it is there again
		// would refuse everybody, and to forget would let what was used a minute ago
		// be used once more: what was made before now is refused, and what is
		// remembered stays so.
		s.last, s.lastOld, s.floor = 0, 0, now-1
	}
	if len(s.young) >= r.most || s.young != nil && now-s.begun > r.keep {
		s.floor = max(s.floor, s.lastOld)
		s.old, s.lastOld = s.young, s.last
		s.young, s.last = nil, 0
	}
}

// shardOf returns a number that two keys rarely share. A thumbprint is a hash.
func shardOf(jkt string) int {
	if jkt == "" {
		return 0
	}
	return int(jkt[0])
}
