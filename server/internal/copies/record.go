package copies

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/admit-auth/admit/session"
)

// What stands in Redis in the place of a copy. A copy begins with a hexadecimal digit.
const (
	leasePrefix = "lease "
	held        = "hold"
)

// A copy is text, for redis-cli to show:
//
//	key's id, MAC, generation/past, when it was made (Unix milliseconds), payload
//
// with a space after each of the first four. The MAC is HMAC-SHA256 over the
// record's key and what follows it: so a copy counts nowhere but where it was made, and
// no longer than it may.
type macKey struct {
	id   string
	key  []byte
	pool *sync.Pool // of hmacs, whose setting up is half of what one costs
}

// takeKeys takes the server's keys as they are now.
func (c *Copies) takeKeys() {
	keys := c.o.Keys()
	if known := c.keys.Load(); known != nil && slices.EqualFunc(*known, keys, func(k macKey, key []byte) bool { return bytes.Equal(k.key, key) }) {
		return
	}
	var all []macKey
	for _, key := range keys {
		sum := sha256.Sum256(key)
		all = append(all, macKey{hex.EncodeToString(sum[:4]), key, &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}})
	}
	c.keys.Store(&all)
}

func (k macKey) mac(parts ...string) string {
	h := k.pool.Get().(hash.Hash)
	defer k.pool.Put(h)
	h.Reset()
	n := 0
	for _, p := range parts {
		n += len(p) + 8
	}
	text := make([]byte, 0, n)
	for _, p := range parts {
		text = binary.BigEndian.AppendUint64(text, uint64(len(p)))
		text = append(text, p...)
	}
	h.Write(text)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

var (
	errBroken     = errors.New("it is not what this server writes")
	errUnknownKey = errors.New("it was made with a key that is not known here")
	errGeneration = errors.New("it is of another generation")
)

// authentic returns what follows the MAC of a text.
func (c *Copies) authentic(text string, parts ...string) (string, error) {
	id, rest, ok1 := strings.Cut(text, " ")
	mac, body, ok2 := strings.Cut(rest, " ")
	if len(id) != 8 || strings.Trim(id, "0123456789abcdef") != "" || !ok1 || !ok2 {
		return "", errBroken
	}
	for _, k := range *c.keys.Load() {
		if k.id != id {
			continue
		}
		if !hmac.Equal([]byte(mac), []byte(k.mac(append(parts, body)...))) {
			return "", errBroken
		}
		return body, nil
	}
	return "", errUnknownKey
}

func (c *Copies) sign(body string, parts ...string) string {
	k := (*c.keys.Load())[0]
	return k.id + " " + k.mac(append(parts, body)...) + " " + body
}

func (c *Copies) seal(payload, label, key string, now time.Time) string {
	return c.sign(fmt.Sprintf("%s %d %s", label, now.UnixMilli(), payload), "copy", key)
}

func (c *Copies) open(text, label, key string, now time.Time) (string, error) {
	body, err := c.authentic(text, "copy", key)
	if err != nil {
		return "", err
	}
	name, rest, ok1 := strings.Cut(body, " ")
	at, payload, ok2 := strings.Cut(rest, " ")
	made, err := strconv.ParseInt(at, 10, 64)
	age := now.Sub(time.UnixMilli(made))
	switch {
	case err != nil || !ok1 || !ok2:
		return "", errBroken
	case name != label:
		return "", errGeneration
	// Redis forgets it in time; who put it back does not. Clocks may differ.
	case age > copyLife+clockSlack, age < -clockSlack:
		return "", fmt.Errorf("%w: it is too old, or of another time", errBroken)
	}
	return payload, nil
}

// A message says that a record has changed: who says so, whether something has
// ended with it, and its key.
func (c *Copies) message(key string, ends bool) string {
	what := "changed"
	if ends {
		what = "ended"
	}
	return c.sign(c.sender+" "+what+" "+key, "message")
}

// readMessage returns what a message says. What is replayed harms nobody: a record
// is read once more.
func (c *Copies) readMessage(text string) (sender, key string, ends bool, err error) {
	body, err := c.authentic(text, "message")
	if err != nil {
		return "", "", false, err
	}
	sender, rest, ok1 := strings.Cut(body, " ")
	what, key, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 {
		return "", "", false, errBroken
	}
	return sender, key, what == "ended", nil
}

// payloadOf is a session's record as a copy has it: version, expiry, the length of
// the subject, the subject and the value.
func payloadOf(it session.Item) string {
	return fmt.Sprintf("%d %d %d %s%s", it.Version, it.Expires.UnixMilli(), len(it.Subject), it.Subject, it.Value)
}

func itemOf(payload string) (it session.Item, err error) {
	var n [3]uint64
	rest := payload
	for i := range n {
		text, after, ok := strings.Cut(rest, " ")
		if n[i], err = strconv.ParseUint(text, 10, 48); err != nil || !ok || strconv.FormatUint(n[i], 10) != text {
			return it, errBroken
		}
		rest = after
	}
	if n[0] == 0 || n[2] > uint64(len(rest)) {
		return it, errBroken
	}
	it = session.Item{Version: n[0], Expires: time.UnixMilli(int64(n[1])), Subject: rest[:n[2]], Value: rest[n[2]:]}
	return it, nil
}
