package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/admit-auth/admit/token"
)

// EpochKey returns the key under which a subject's epoch is kept. Most
// programs never call it: it is for stores that implement [EpochGetter], and
// for databases that raise an epoch in a transaction of their own. The key is
// "e:" and the subject, or its digest where it makes no key of a store.
func EpochKey(subject string) string {
	var buf [maxKey]byte
	return string(appendEpochKey(buf[:0], subject))
}

func appendEpochKey(dst []byte, subject string) []byte {
	dst = append(dst, epochPrefix...)
	if len(epochPrefix)+len(subject) <= maxKey && printable(subject) && (subject == "" || subject[0] != '#') {
		return append(dst, subject...)
	}
	sum := sha256.Sum256([]byte(subject))
	return hex.AppendEncode(append(dst, '#'), sum[:])
}

// epochPrefix cannot begin a sid, which is base62.
const epochPrefix = "e:"

// epochOwner is the subject of all epoch records: not nobody, so that a full
// memory does not take them for guests, and not the subject itself, so that they
// are no sessions of its.
const epochOwner = "*"

// An Epoch is what a subject's epoch record says. Sessions that were begun in an
// earlier epoch than the floor have ended, but for the one that was spared: so
// that ending all others is one write, which nothing can come between. Tokens
// that were made from sessions carry N, and have ended where theirs is smaller.
// Most programs never see one.
type Epoch struct {
	N      uint64 // the time of the first, in Unix milliseconds, and one more for each raise; up to 1<<48 - 1
	Floor  uint64 // sessions that were begun in it or later live; 0 stands for N
	Spared string // the spared session's sid; "" where none was
	Since  uint64 // the spared session is good if it was begun in this epoch or later
}

// ParseEpoch reads the value of an epoch record: N, then the floor if it is
// another, then, where a session was spared, Since and its sid, with spaces in
// between. Anything else is the zero Epoch, in which no session lives.
func ParseEpoch(value string) Epoch { return parseEpoch([]byte(value)) }

// parseEpoch allocates nothing where no session was spared.
func parseEpoch(value []byte) (e Epoch) {
	if n, rest, ok := number(value); ok && rest == nil {
		return Epoch{N: n} // as almost all are
	}
	numbers := value
	if i := bytes.LastIndexByte(value, ' '); i >= 0 && token.IsSelector(string(value[i+1:])) {
		e.Spared, numbers = string(value[i+1:]), value[:i]
	}
	var n [3]uint64
	count := 0
	for ; numbers != nil && count < len(n); count++ {
		var ok bool
		if n[count], numbers, ok = number(numbers); !ok {
			return Epoch{}
		}
	}
	e.N = n[0]
	if e.Spared != "" {
		count--
		e.Since = n[count]
	}
	switch {
	case numbers == nil && count == 1:
		return e
	case numbers == nil && count == 2 && 0 < n[1] && n[1] < e.N:
		e.Floor = n[1]
		return e
	}
	return Epoch{}
}

// number reads the decimal number that text begins with, and the space behind
// it. It takes 48 bits: a session's record keeps its epoch in as many.
func number(text []byte) (n uint64, rest []byte, ok bool) {
	for i, c := range text {
		switch {
		case '0' <= c && c <= '9' && n < 1<<48:
			n = n*10 + uint64(c-'0')
		case c == ' ' && i > 0:
			return n, text[i+1:], n < 1<<48
		default:
			return 0, text, false
		}
	}
	return n, nil, len(text) > 0 && n < 1<<48
}

// Next returns the epoch after e, in which every session of e has ended but the
// one with this sid; an empty sid spares none. A session that was not good in e
// is not good in the next either.
func (e Epoch) Next(sid string) Epoch {
	next := Epoch{N: e.N + 1}
	if !token.IsSelector(sid) {
		return next
	}
	next.Spared, next.Since = sid, e.floor()
	if e.Spared == sid {
		next.Since = e.Since
	}
	return next
}

// NextClaims returns the epoch after e, in which every session of e lives and
// tokens that were made before do not: what they say of the subject, such as its
// roles, has changed.
func (e Epoch) NextClaims() Epoch {
	e.N, e.Floor = e.N+1, e.floor()
	return e
}

// floor is the first epoch whose sessions live.
func (e Epoch) floor() uint64 {
	if e.Floor == 0 {
		return e.N
	}
	return e.Floor
}

// String returns the value of an epoch record.
func (e Epoch) String() string {
	text := strconv.FormatUint(e.N, 10)
	if e.Floor != 0 {
		text += fmt.Sprintf(" %d", e.Floor)
	}
	if e.Spared != "" {
		text += fmt.Sprintf(" %d %s", e.Since, e.Spared)
	}
	return text
}

// alive reports whether a session is good that was begun in the epoch begun.
// Where the epoch is missing none is: the store forgot what would have told. Nor
// is one that was begun in a later epoch: then the store forgot, and a clock that
// is behind began anew.
func (e Epoch) alive(sid string, begun uint64) bool {
	return begun <= e.N && e.N > 0 && (begun >= e.floor() || e.Spared != "" && sid == e.Spared && begun >= e.Since)
}
