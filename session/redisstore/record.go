package redisstore

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit/session"
)

// A record is one string, so that it takes little memory and redis-cli shows
// it. The script says how it looks.
const (
	atExpires = 16
	atRun     = 32
	atSize    = 49
	atSubject = 53

	kept = "kept............" // in the place of the run where the server forgets nothing
)

// number has one width for all versions and expiries. A larger one is longer and
// so equals none.
func number(n uint64) string { return string(appendNumber(nil, n)) }

func appendNumber(dst []byte, n uint64) []byte { return appendPadded(dst, n, atExpires-1) }

// appendPadded appends at least so many digits, 20 at most.
func appendPadded(dst []byte, n uint64, digits int) []byte {
	var b [20]byte
	at := len(b)
	for ; n > 0 || len(b)-at < digits; n /= 10 {
		at--
		b[at] = byte('0' + n%10)
	}
	return append(dst, b[at:]...)
}

// maxExpires is the end of the year 9999.
const maxExpires = 253402300799999

// millis is the expiry as it is kept. Redis takes none at 0.
func millis(t time.Time) uint64 { return uint64(min(max(t.UnixMilli(), 1), maxExpires)) }

// item reads a record; an empty one is none. Its subject and its value share the
// answer's memory.
func item(r string) (it session.Item, err error) {
	if r == "" {
		return it, session.ErrNotFound
	}
	if len(r) < atSubject || r[atExpires-1] != ' ' || r[atRun-1] != ' ' || r[atSize-1] != ' ' || r[atSubject-1] != ' ' {
		return it, noAnswer(r)
	}
	version, expires, size := digits(r[:atExpires-1]), digits(r[atExpires:atRun-1]), digits(r[atSize:atSubject-1])
	if version < 0 || expires < 0 || size < 0 || size > 255 || len(r)-atSubject < int(size) {
		return it, noAnswer(r)
	}
	end := atSubject + int(size)
	return session.Item{Value: r[end:], Subject: r[atSubject:end], Expires: time.UnixMilli(expires), Version: uint64(version)}, nil
}

// digits reads a number of at most 15 digits, -1 for none.
func digits(text string) (n int64) {
	for i := range len(text) {
		d := text[i] - '0'
		if d > 9 {
			return -1
		}
		n = n*10 + int64(d)
	}
	return n
}

// splitEpoch reads the answer to a check: the epoch's length and a space, the epoch and
// the record.
func splitEpoch(reply any) (epoch, record string, err error) {
	r, ok := text(reply)
	if ok && r == "" {
		return "", "", nil
	}
	if size, rest, cut := strings.Cut(r, " "); ok && cut {
		if n, err := strconv.ParseUint(size, 10, 32); err == nil && int(n) <= len(rest) {
			return rest[:n], rest[n:], nil
		}
	}
	return "", "", noAnswer(reply)
}

// entries reads the answer to a listing: where to go on, or "", then keys and
// records.
func entries(reply any) (found []session.Entry, next string, err error) {
	all, ok := reply.([]any)
	if !ok || len(all)%2 != 1 {
		return nil, "", noAnswer(reply)
	}
	if next, ok = text(all[0]); !ok {
		return nil, "", noAnswer(reply)
	}
	for i := 1; i < len(all); i += 2 {
		key, ok1 := text(all[i])
		record, ok2 := text(all[i+1])
		if !ok1 || !ok2 {
			return nil, "", noAnswer(reply)
		}
		it, err := item(record)
		if err != nil {
			return nil, "", err
		}
		found = append(found, session.Entry{Key: key, Item: it})
	}
	return found, next, nil
}

// text is an answer that is a string, as clients give it.
func text(reply any) (string, bool) {
	switch r := reply.(type) {
	case string:
		return r, true
	case []byte:
		return string(r), true
	}
	return "", false
}

// noAnswer says what came, and not what was in it.
func noAnswer(reply any) error {
	return fmt.Errorf("%w: the server's answer, a %T, is none to the question", session.ErrUnavailable, reply)
}
