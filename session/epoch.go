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
// earlier epoch than N have ended, but for the one that was spared: so that
// ending all others is one write, which nothing can come between. Most programs
// never see one.
type Epoch struct {
	N      uint64
	Spared token.Selector // of the spared session's sid; zero where none was
	Since  uint64         // the spared session is good if it was begun in this epoch or later
}

// ParseEpoch reads the value of an epoch record: N, and where a session was
// spared Since and its sid, with a space in between. Anything else is the zero
// Epoch, in which no session lives.
func ParseEpoch(value string) Epoch { return parseEpoch([]byte(value)) }

// parseEpoch allocates nothing.
func parseEpoch(value []byte) Epoch {
	first, rest, spares := bytes.Cut(value, []byte(" "))
	n, err := strconv.ParseUint(string(first), 10, 64)
	if err != nil || !spares {
		return Epoch{N: n}.valid(err)
	}
	second, sid, _ := bytes.Cut(rest, []byte(" "))
	since, err := strconv.ParseUint(string(second), 10, 64)
	spared, err2 := token.ParseSelector(string(sid))
	if err == nil {
		err = err2
	}
	return Epoch{n, spared, since}.valid(err)
}

func (e Epoch) valid(err error) Epoch {
	if err != nil {
		return Epoch{}
	}
	return e
}

// Next returns the epoch after e, in which every session of e has ended but the
// one with this sid; an empty sid spares none. A session that was not good in e
// is not good in the next either.
func (e Epoch) Next(sid string) Epoch {
	next := Epoch{N: e.N + 1}
	spared, err := token.ParseSelector(sid)
	if err != nil {
		return next
	}
	next.Spared, next.Since = spared, e.N
	if e.Spared == spared {
		next.Since = e.Since
	}
	return next
}

// String returns the value of an epoch record.
func (e Epoch) String() string {
	if e.Spared == (token.Selector{}) {
		return strconv.FormatUint(e.N, 10)
	}
	return fmt.Sprintf("%d %d %s", e.N, e.Since, e.Spared)
}

// alive reports whether a session is good that was begun in the epoch begun.
// Where the epoch is missing none is: the store forgot what would have told.
func (e Epoch) alive(sid string, begun uint64) bool {
	switch {
	case e.N == 0:
		return false
	case begun >= e.N:
		return true
	case e.Spared == (token.Selector{}) || begun < e.Since:
		return false
	}
	spared, err := token.ParseSelector(sid)
	return err == nil && spared == e.Spared
}
