package session

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/admit-auth/admit/token"
)

// A record is what a session's Item holds: a short binary header and then the
// data as the codec wrote it, so that JSON stays readable where it is kept.
//
//	format   1 byte, formatV1
//	flags    1 byte
//	digest   16 bytes, of the bearer token
//	created  6 bytes, Unix milliseconds
//	idle     6 bytes, milliseconds
//	lifetime 6 bytes, milliseconds
//	auth     6 bytes, Unix milliseconds            only of a subject's
//	epoch    6 bytes, of the subject               only of a subject's
//	previous 16 bytes, digest of the last token    only after a new proof
//	parent   a byte of length and the sid          only with a parent
//	amr, acr, device name, user agent, address     if flagged; a byte of length and the text each
//	data     the rest
//
// Numbers are little-endian and of one width: reading them is a tenth of what
// variable lengths cost, and a check reads a record twice.
//
// When it was last seen is not in it: it is the Item's expiry less idle, so
// that a touch moves one column and never collides with a writer.
//
// An ended session leaves a tombstone: the same header cut off after the
// digest, then the reason; in stones that older versions left, the reason
// follows the flags.
type record struct {
	flags    byte
	digest   token.Digest
	previous token.Digest
	created  int64
	auth     int64
	idle     int64
	lifetime int64
	epoch    uint64
	parent   string
	text     [5]string // amr, acr, device name, user agent, address
	data     string
}

const formatV1 = 1

const (
	flagEnded = 1 << iota
	flagPersistent
	flagText
	flagBearer
	flagSubject
	flagPrevious
	flagDigest // of a tombstone that has one
	flagJWT

	flagParent = flagDigest // of a session that has one
)

// The place where a session was begun for, in which alone it is good.
const (
	placeCookie = 0
	placeHeader = flagBearer
	placeJWT    = flagJWT
	placeURL    = flagBearer | flagJWT
)

func (rec *record) place() byte { return rec.flags & (flagBearer | flagJWT) }

// maxText bounds each text in a record; longer ones are cut.
const maxText = 255

// value returns the record with this data, as a store keeps it.
func (rec *record) value(data []byte) string {
	var buf [512]byte // for most records no memory but the value's is taken
	return string(append(rec.appendHead(buf[:0]), data...))
}

func (rec *record) appendHead(b []byte) []byte {
	rec.flags &^= flagText | flagSubject | flagParent
	if rec.text != [5]string{} {
		rec.flags |= flagText
	}
	if rec.epoch != 0 {
		rec.flags |= flagSubject
	}
	if rec.parent != "" {
		rec.flags |= flagParent
	}
	b = append(b, formatV1, rec.flags)
	b = append(b, rec.digest[:]...)
	b = appendUint48(b, rec.created)
	b = appendUint48(b, rec.idle)
	b = appendUint48(b, rec.lifetime)
	if rec.flags&flagSubject != 0 {
		b = appendUint48(b, rec.auth)
		b = appendUint48(b, int64(rec.epoch))
	}
	if rec.flags&flagPrevious != 0 {
		b = append(b, rec.previous[:]...)
	}
	if rec.flags&flagParent != 0 {
		b = append(append(b, byte(len(rec.parent))), rec.parent...)
	}
	if rec.flags&flagText != 0 {
		for _, s := range rec.text {
			s = cut(s)
			b = append(append(b, byte(len(s))), s...)
		}
	}
	return b
}

// appendUint48 appends 0 for what is less, and the largest for what is more.
func appendUint48(b []byte, v int64) []byte {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(min(max(v, 0), 1<<48-1)))
	return append(b, n[:6]...)
}

func cut(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// tombstone returns the value of an ended session's record. It keeps the digest,
// so that the reason is told to nobody but the holder.
func tombstone(digest token.Digest, reason string) string {
	return string([]byte{formatV1, flagEnded | flagDigest}) + string(digest[:]) + cut(reason)
}

// parse reads a record; its texts and data share the value's memory. It
// reports false where the value is none of ours.
func (rec *record) parse(value string) bool {
	if len(value) < 2 || value[0] != formatV1 {
		return false
	}
	rec.flags = value[1]
	if rec.flags&flagEnded != 0 {
		rest := value[2:]
		if rec.flags&flagDigest != 0 {
			if len(rest) < len(rec.digest) {
				return false
			}
			rest = rest[copy(rec.digest[:], rest):]
		}
		rec.data = rest
		return true
	}
	size := 2 + len(rec.digest) + 3*6
	if rec.flags&flagSubject != 0 {
		size += 2 * 6
	}
	if len(value) < size {
		return false
	}
	n := value[2+copy(rec.digest[:], value[2:]) : size]
	rest := value[size:]
	rec.created, rec.idle, rec.lifetime = int64(uint48(n)), int64(uint48(n[6:])), int64(uint48(n[12:]))
	if rec.flags&flagSubject != 0 {
		rec.auth, rec.epoch = int64(uint48(n[18:])), uint48(n[24:])
	}
	if rec.flags&flagPrevious != 0 {
		if len(rest) < len(rec.previous) {
			return false
		}
		rest = rest[copy(rec.previous[:], rest):]
	}
	ok := true
	if rec.flags&flagParent != 0 {
		rec.parent, rest, ok = short(rest)
	}
	if rec.flags&flagText != 0 {
		for i := 0; ok && i < len(rec.text); i++ {
			rec.text[i], rest, ok = short(rest)
		}
	}
	rec.data = rest
	return ok
}

// short reads a byte of length and the text behind it.
func short(from string) (text, rest string, ok bool) {
	if len(from) == 0 || len(from) <= int(from[0]) {
		return "", "", false
	}
	end := 1 + int(from[0])
	return from[1:end], from[end:], true
}

// overtaken reports whether a new proof replaced the token less than graveTime
// ago.
func (rec *record) overtaken(now time.Time) bool {
	return rec.flags&flagPrevious != 0 && now.Before(time.UnixMilli(rec.auth).Add(graveTime))
}

func (rec *record) ended() bool { return rec.flags&flagEnded != 0 }

// end is when the session ends whatever happens.
func (rec *record) end() time.Time { return time.UnixMilli(rec.created + rec.lifetime) }

// expired reports whether a record with this idle expiry is over.
func (rec *record) expired(idleEnd, now time.Time) bool {
	return !now.Before(idleEnd) || !now.Before(rec.end())
}
