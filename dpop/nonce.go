package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"sync"
)

// nonces makes nonces that need no memory: a nonce is the time when it was
// given, in milliseconds, and a MAC of it. So a nonce tells by our own clock
// how old a proof can be at most, whatever the sender's clock says.
type nonces struct{ macs sync.Pool } // of hash.Hash, keyed

const (
	nonceTime   = 6  // bytes
	nonceLength = 18 // bytes: 96 bits of MAC, against guesses that each cost a request
)

func newNonces(key []byte) *nonces {
	return &nonces{sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// at returns the nonce of a time.
func (n *nonces) at(ms int64) string {
	var b [nonceLength]byte
	n.seal(&b, ms)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// read returns the time of a nonce that is ours.
func (n *nonces) read(nonce string) (ms int64, ok bool) {
	var got, want [nonceLength]byte
	if len(nonce) != base64.RawURLEncoding.EncodedLen(nonceLength) {
		return 0, false
	}
	if m, err := base64.RawURLEncoding.Decode(got[:], []byte(nonce)); err != nil || m != nonceLength {
		return 0, false
	}
	var time [8]byte
	copy(time[8-nonceTime:], got[:nonceTime])
	ms = int64(binary.BigEndian.Uint64(time[:]))
	n.seal(&want, ms)
	return ms, subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func (n *nonces) seal(b *[nonceLength]byte, ms int64) {
	var time [8]byte
	binary.BigEndian.PutUint64(time[:], uint64(ms))
	copy(b[:], time[8-nonceTime:])
	mac := n.macs.Get().(hash.Hash)
	defer n.macs.Put(mac)
	mac.Reset()
	mac.Write(b[:nonceTime])
	var sum [sha256.Size]byte
	copy(b[nonceTime:], mac.Sum(sum[:0]))
}
