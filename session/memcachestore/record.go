package memcachestore

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/admit-auth/admit/session"
)

// A record is version, expiry in milliseconds and length of the subject, of 15, 15
// and 3 digits, with a space after each; then the subject and the value. It is
// text as far as the value is, for those who look with a tool of theirs.
const (
	atExpires = 16
	atSize    = 32
	atSubject = 36
)

func record(it session.Item) []byte {
	b := make([]byte, 0, atSubject+len(it.Subject)+len(it.Value))
	b = fmt.Appendf(b, "%015d %015d %03d ", it.Version, whole(it.Expires).UnixMilli(), len(it.Subject))
	return append(append(b, it.Subject...), it.Value...)
}

// item reads a record; it reports false where the text is none. The subject and
// the value share the text's memory.
func item(r string) (it session.Item, ok bool) {
	if len(r) < atSubject || r[atExpires-1] != ' ' || r[atSize-1] != ' ' || r[atSubject-1] != ' ' {
		return it, false
	}
	version, err1 := strconv.ParseUint(r[:atExpires-1], 10, 48)
	expires, err2 := strconv.ParseUint(r[atExpires:atSize-1], 10, 48)
	size, err3 := strconv.ParseUint(r[atSize:atSubject-1], 10, 8)
	if err1 != nil || err2 != nil || err3 != nil || len(r)-atSubject < int(size) {
		return it, false
	}
	end := atSubject + int(size)
	return session.Item{Value: r[end:], Subject: r[atSubject:end], Expires: time.UnixMilli(int64(expires)), Version: version}, true
}

// maxExpires is the end of the year 9999.
const maxExpires = 253402300799999

// whole is the expiry as it is kept.
func whole(t time.Time) time.Time { return time.UnixMilli(min(max(t.UnixMilli(), 0), maxExpires)) }

// exptime says when memcached may forget a record: never before its expiry.
//
// Memcached takes seconds from now up to 30 days, and above that the Unix time; 0
// is never, and less is at once. The former do not depend on the server's clock.
// They end up to a second early, at the next tick of the clock, which may be late
// itself: so there are two more.
func exptime(expires, now time.Time) int32 {
	const month, more = 30 * 24 * 3600, 2
	left := expires.Sub(now)
	switch seconds := int64(left/time.Second) + more; {
	case left < 0:
		return -1
	case seconds <= month:
		return int32(seconds)
	}
	if at := expires.Unix() + more; at <= math.MaxInt32 {
		return int32(at)
	}
	return 0 // after 2038: memcached counts in 32 bits
}
