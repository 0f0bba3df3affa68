package session

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
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

// ParseEpoch reads the value of an epoch record: a decimal integer. Anything
// else is 0, which no live session can have.
func ParseEpoch(value string) uint64 {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func formatEpoch(n uint64) string { return strconv.FormatUint(n, 10) }
