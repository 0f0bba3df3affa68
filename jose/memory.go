package jose

import "sync"

// A memory remembers the claims of tokens by their digests: at most about as
// many as it was made for, the longest unused ones forgotten first, and all
// when the key set changes.
type memory[D any] struct {
	most   int // in half a shard
	shards [16]memoryShard[D]
}

// A memoryShard keeps two halves. What is used moves to the young one; when
// that is full, the old one is dropped and it takes its place.
type memoryShard[D any] struct {
	mu         sync.Mutex
	set        *KeySet
	young, old map[[32]byte]*Claims[D]
}

func newMemory[D any](most int) *memory[D] {
	m := &memory[D]{}
	m.most = max(1, most/len(m.shards)/2)
	return m
}

func (m *memory[D]) shard(id *[32]byte) *memoryShard[D] { return &m.shards[id[0]%byte(len(m.shards))] }

// get returns the claims of the token with this digest if the set has verified
// it.
func (m *memory[D]) get(set *KeySet, id *[32]byte) *Claims[D] {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set != set {
		return nil
	}
	if c := s.young[*id]; c != nil {
		return c
	}
	c := s.old[*id]
	if c != nil {
		m.add(s, id, c)
	}
	return c
}

// put remembers claims that the set has verified.
func (m *memory[D]) put(set *KeySet, id *[32]byte, c *Claims[D]) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set != set {
		s.set, s.young, s.old = set, nil, nil
	}
	m.add(s, id, c)
}

func (m *memory[D]) add(s *memoryShard[D], id *[32]byte, c *Claims[D]) {
	if len(s.young) >= m.most {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = make(map[[32]byte]*Claims[D])
	}
	s.young[*id] = c
}
