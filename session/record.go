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
//	created  uvarint, Unix milliseconds
//	idle     uvarint, milliseconds
//	lifetime uvarint, milliseconds
//	auth     varint, milliseconds after created    only of a subject's
//	epoch    uvarint, of the subject               only of a subject's
//	amr, acr, device name, user agent, address     if flagged; uvarint length and bytes each
//	data     the rest
//
// When it was last seen is not in it: it is the Item's expiry less idle, so
// that a touch moves one column and never collides with a writer.
//
// An ended session leaves a tombstone: the same header cut off after flags,
// then the reason.
type record struct {
	flags    byte
	digest   token.Digest
	created  int64
	auth     int64
	idle     int64
	lifetime int64
	epoch    uint64
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
)

// maxText bounds each text in a record; longer ones are cut.
const maxText = 256

// value returns the record with this data, as a store keeps it.
func (rec *record) value(data []byte) string {
	var buf [512]byte // for most records no memory but the value's is taken
	return string(append(rec.appendHead(buf[:0]), data...))
}

func (rec *record) appendHead(b []byte) []byte {
	rec.flags &^= flagText | flagSubject
	if rec.text != [5]string{} {
		rec.flags |= flagText
	}
	if rec.epoch != 0 {
		rec.flags |= flagSubject
	}
	b = append(b, formatV1, rec.flags)
	b = append(b, rec.digest[:]...)
	b = binary.AppendUvarint(b, uint64(rec.created))
	b = binary.AppendUvarint(b, uint64(rec.idle))
	b = binary.AppendUvarint(b, uint64(rec.lifetime))
	if rec.flags&flagSubject != 0 {
		b = binary.AppendVarint(b, rec.auth-rec.created)
		b = binary.AppendUvarint(b, rec.epoch)
	}
	if rec.flags&flagText != 0 {
		for _, s := range rec.text {
			s = cut(s)
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

func cut(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// tombstone returns the value of an ended session's record.
func tombstone(reason string) string {
	return string([]byte{formatV1, flagEnded}) + cut(reason)
}

// parse reads a record; its texts and data share the value's memory. It
// reports false where the value is none of ours.
func (rec *record) parse(value string) bool {
	if len(value) < 2 || value[0] != formatV1 {
		return false
	}
	rec.flags = value[1]
	if rec.flags&flagEnded != 0 {
		rec.data = value[2:]
		return true
	}
	if len(value) < 2+len(rec.digest) {
		return false
	}
	copy(rec.digest[:], value[2:])
	rest := value[2+len(rec.digest):]
	var n [5]uint64
	numbers := n[:3]
	if rec.flags&flagSubject != 0 {
		numbers = n[:]
	}
	for i := range numbers {
		var ok bool
		if n[i], rest, ok = uvarint(rest); !ok {
			return false
		}
	}
	rec.created, rec.idle, rec.lifetime, rec.epoch = int64(n[0]), int64(n[1]), int64(n[2]), n[4]
	if rec.flags&flagSubject != 0 {
		rec.auth = rec.created + (int64(n[3]>>1) ^ -int64(n[3]&1)) // zigzag
	}
	if rec.flags&flagText != 0 {
		for i := range rec.text {
			size, after, ok := uvarint(rest)
			if !ok || size > uint64(len(after)) {
				return false
			}
			rec.text[i], rest = after[:size], after[size:]
		}
	}
	rec.data = rest
	return true
}

func uvarint(s string) (n uint64, rest string, ok bool) {
	for i, shift := 0, 0; i < len(s) && shift < 63; i, shift = i+1, shift+7 {
		n |= uint64(s[i]&0x7f) << shift
		if s[i] < 0x80 {
			return n, s[i+1:], true
		}
	}
	return 0, s, false
}

func (rec *record) ended() bool { return rec.flags&flagEnded != 0 }

// end is when the session ends whatever happens.
func (rec *record) end() time.Time { return time.UnixMilli(rec.created + rec.lifetime) }

// expired reports whether a record with this idle expiry is over.
func (rec *record) expired(idleEnd, now time.Time) bool {
	return !now.Before(idleEnd) || !now.Before(rec.end())
}
