package jose

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"sync"
)

// A memory remembers the claims of tokens by their digests: at most about as
// many as it was made for, the longest unused ones forgotten first, and all
// when the key set changes.
type memory[D any] struct {
	most   int         // in half a shard
	gmac   cipher.AEAD // nil where only FIPS 140-3 is allowed, which knows no GCM with nonces of the caller's
	shards [16]memoryShard[D]
}

// digest returns a digest of the token in s: GMAC (NIST SP 800-38D) under a key
// of the memory's own, for a quarter of what SHA-256 costs. No digest is ever
// shown, so one nonce will do for all. Who presents a forged token meets the digest
// of a remembered one with a probability of its length in blocks over 2^128,
// whatever he knows but the key.
func (m *memory[D]) digest(s *scratch) (id [32]byte) {
	if m.gmac == nil {
		return sha256.Sum256(s.token)
	}
	s.digest = m.gmac.Seal(s.digest[:0], oneNonce[:], nil, s.token)
	copy(id[:], s.digest)
	return id
}

var oneNonce [12]byte

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
	key := make([]byte, 16)
	rand.Read(key)
	if block, err := aes.NewCipher(key); err == nil {
		m.gmac, _ = cipher.NewGCM(block)
	}
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
