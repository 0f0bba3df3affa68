package session

import (
	"encoding/binary"
	"time"
)

// A guard is what the server keeps of a sealed session while its data travels in
// the cookie. The key it is kept under, its subject and its expiry are the store's.
//
//	format     1 byte, formatGuard
//	generation 4 bytes, of the newest cookie
//	end        4 bytes, Unix seconds, whatever happens
//	epoch      6 bytes, of the subject          only of a subject's
//	floor      4 bytes                          these only while the newest cookie
//	mark       4 bytes                          may not have reached the browser
//	since      6 bytes, Unix milliseconds
//	cookie     the rest, the newest one
//
// Numbers are little-endian. Where a session has ended there is a record's
// tombstone, without a digest.
//
// A request with an older cookie than the newest is rolled forward to that if it
// is not below the floor. The floor rises to the mark when somebody presents the
// mark or what came after it, and the mark was made a moment ago: whoever has the
// newer cookie sends the older one no more, and what he sent before has arrived. At
// the top the newest cookie is forgotten here.
type guard struct {
	generation  uint32
	end         uint32
	epoch       uint64
	floor, mark uint32
	since       int64
	cookie      string // sealed; "" where none is kept
}

const (
	formatGuard = 2
	guardLen    = 1 + 4 + 4
	guardedLen  = guardLen + 6
	holdLen     = 4 + 4 + 6
)

func (g *guard) value() string {
	var buf [512]byte
	return string(append(g.append(buf[:0], g.cookie != ""), g.cookie...))
}

// append appends what stands before the cookie, of a guard that holds one or none.
func (g *guard) append(b []byte, holds bool) []byte {
	b = binary.LittleEndian.AppendUint32(append(b, formatGuard), g.generation)
	b = binary.LittleEndian.AppendUint32(b, g.end)
	if g.epoch != 0 {
		b = appendUint48(b, int64(g.epoch))
	}
	if holds {
		b = binary.LittleEndian.AppendUint32(b, g.floor)
		b = binary.LittleEndian.AppendUint32(b, g.mark)
		b = appendUint48(b, g.since)
	}
	return b
}

// parse reads a guard. It reports false where the item holds none.
func (g *guard) parse(it *Item) bool {
	v := it.Value
	size := guardLen
	if it.Subject != "" {
		size = guardedLen
	}
	if len(v) < size || v[0] != formatGuard || len(v) > size && len(v) <= size+holdLen {
		return false
	}
	*g = guard{generation: uint32At(v[1:]), end: uint32At(v[5:])}
	if it.Subject != "" {
		g.epoch = uint48(v[guardLen:])
	}
	g.floor, g.mark = g.generation, g.generation
	if v = v[size:]; v != "" {
		g.floor, g.mark, g.since, g.cookie = uint32At(v), uint32At(v[4:]), int64(uint48(v[8:])), v[holdLen:]
	}
	return g.floor <= g.mark && g.mark <= g.generation
}

func uint32At(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// presented notes at now, if it is time, that somebody presented generation p. The
// newest one is, or will be when the caller has written it, the one named.
func (g *guard) presented(p, newest uint32, grace time.Duration, now time.Time) {
	ms := now.UnixMilli()
	if g.cookie != "" && ms-g.since < grace.Milliseconds() {
		return
	}
	if p >= g.mark {
		g.floor = g.mark
	}
	g.mark, g.since = newest, ms
	if g.floor == g.generation {
		g.cookie = ""
	}
}

// record is what is known of a session without its cookie.
func (g *guard) record() string {
	rec := record{epoch: g.epoch, lifetime: int64(g.end) * 1000}
	return rec.value(nil)
}
