package dpop

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"slices"
	"sync"
	"sync/atomic"
)

// nonces makes nonces that need no memory: a nonce is the time when it was
// given, in milliseconds, and a MAC of it. So a nonce tells by our own clock
// how old a proof can be at most, whatever the sender's clock says.
type nonces struct {
	keys func() [][]byte // those that count, the one that nonces are made with first
	last atomic.Pointer[[]*nonceKey]
}

// A nonceKey is a key with what was made of it.
type nonceKey struct {
	key  []byte
	macs sync.Pool // of hash.Hash
}

const (
	nonceTime   = 6  // bytes
	nonceLength = 18 // bytes: 96 bits of MAC, against guesses that each cost a request
)

func newNonces(key []byte) *nonces {
	all := [][]byte{key}
	return &nonces{keys: func() [][]byte { return all }}
}

// ring returns the keys as they are now.
func (n *nonces) ring() []*nonceKey {
	keys := n.keys()
	last := n.last.Load()
	if last != nil && slices.EqualFunc(*last, keys, func(k *nonceKey, key []byte) bool { return bytes.Equal(k.key, key) }) {
		return *last
	}
	made := make([]*nonceKey, len(keys))
	for i, key := range keys {
		made[i] = &nonceKey{key: key, macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
	}
	n.last.Store(&made)
	return made
}

// at returns the nonce of a time.
func (n *nonces) at(ms int64) string {
	b := n.ring()[0].nonce(ms)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// read returns the time of a nonce that is ours.
func (n *nonces) read(nonce string) (ms int64, ok bool) {
	var got [nonceLength]byte
	if len(nonce) != base64.RawURLEncoding.EncodedLen(nonceLength) {
		return 0, false
	}
	if m, err := base64.RawURLEncoding.Decode(got[:], []byte(nonce)); err != nil || m != nonceLength {
		return 0, false
	}
	var time [8]byte
	copy(time[8-nonceTime:], got[:nonceTime])
	ms = int64(binary.BigEndian.Uint64(time[:]))
	for _, key := range n.ring() {
		want := key.nonce(ms)
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return ms, true
		}
	}
	return ms, false
}

func (k *nonceKey) nonce(ms int64) (b [nonceLength]byte) {
	var time [8]byte
	binary.BigEndian.PutUint64(time[:], uint64(ms))
	copy(b[:], time[8-nonceTime:])
	mac := k.macs.Get().(hash.Hash)
	defer k.macs.Put(mac)
	mac.Reset()
	mac.Write(b[:nonceTime])
	var sum [sha256.Size]byte
	copy(b[nonceTime:], mac.Sum(sum[:0]))
	return b
}
