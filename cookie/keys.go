package cookie

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
)

// Why a value was refused.
var (
	ErrTampered = admit.Invalid.New("cookie_tampered", "A cookie was altered, or was made with a key that is not known here.")
	ErrExpired  = admit.Invalid.New("cookie_expired", "A cookie is older than it may be.")
)

// Keys is a ring of secret keys, newest first: the first one signs and seals,
// each of them verifies and opens. To rotate, put a new key in front, and take
// the last one away when no value made with it can be alive; [Keys.Replace] does
// it while the ring is in use. Keys is safe for use by several goroutines.
type Keys struct{ ring atomic.Pointer[[]*key] }

// A key holds what is derived from one secret. Its id stands in each value, so
// that one key is tried and not all.
type key struct {
	id     [idLen]byte
	secret []byte
	macs   sync.Pool // of *signer

	seals   atomic.Pointer[subkey] // the one that seals
	mu      sync.Mutex             // guards renewing seals
	opens   sync.Map               // salt → *subkey, those that opened something
	opened  atomic.Int32           // how many
	scratch sync.Pool              // of *[]byte
}

const (
	idLen    = 3
	timeLen  = 5 // seconds since 1970, big-endian: until the year 36812
	saltLen  = 8
	nonceLen = 12
	tagLen   = 16
	macLen   = sha256.Size

	// sealsPerSubkey keeps below the 2³² messages that NIST SP 800-38D 8.3
	// allows one key with random 96-bit nonces.
	sealsPerSubkey = 1 << 31
	// maxSubkeys bounds how many subkeys of other processes are kept.
	maxSubkeys = 256
)

// GenerateKey returns a new key as a line for ParseKeys: base64 of 32 random
// bytes.
func GenerateKey() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// ParseKeys reads a ring: one base64 key of at least 32 bytes a line, newest
// first. Blank lines and lines that begin with # are passed over. Errors name
// the line and never quote it.
func ParseKeys(text string) (*Keys, error) {
	var ring []*key
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		secret, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("cookie: key on line %d is not base64", n)
		}
		if len(secret) < 32 {
			return nil, fmt.Errorf("cookie: key on line %d has %d bytes, at least 32 are needed", n, len(secret))
		}
		one := newKey(secret)
		if slices.ContainsFunc(ring, func(o *key) bool { return o.id == one.id }) {
			return nil, fmt.Errorf("cookie: key on line %d stands twice", n)
		}
		ring = append(ring, one)
	}
	if len(ring) == 0 {
		return nil, errors.New("cookie: no key")
	}
	k := &Keys{}
	k.ring.Store(&ring)
	return k, nil
}

// Replace puts the keys of next in the place of k's own. Whoever holds k, such
// as a [Vault], uses them from its next call on, without a moment in between
// that has half of them. Keys that both rings have keep what was derived of
// them.
func (k *Keys) Replace(next *Keys) {
	ring := slices.Clone(next.all())
	for i, one := range ring {
		if had, _ := find(k.all(), one.id[:]); had != nil && string(had.secret) == string(one.secret) {
			ring[i] = had
		}
	}
	k.ring.Store(&ring)
}

// IDs returns the ids of the keys, newest first: the four characters that each
// sealed value begins with. They are no secret.
func (k *Keys) IDs() []string {
	var ids []string
	for _, one := range k.all() {
		ids = append(ids, base64.RawURLEncoding.EncodeToString(one.id[:]))
	}
	return ids
}

// all returns the keys as they are now, newest first.
func (k *Keys) all() []*key { return *k.ring.Load() }

func newKey(secret []byte) *key {
	k := &key{secret: secret}
	copy(k.id[:], derive(secret, nil, "admit cookie key id", idLen))
	mac := derive(secret, nil, "admit cookie sign", 32)
	k.macs.New = func() any { return &signer{mac: hmac.New(sha256.New, mac)} }
	k.scratch.New = func() any { b := make([]byte, 0, 512); return &b }
	return k
}

// derive is HKDF-SHA256 (RFC 5869). It panics only if asked for too much.
func derive(secret, salt []byte, purpose string, n int) []byte {
	b, err := hkdf.Key(sha256.New, secret, salt, purpose, n)
	if err != nil {
		panic(err)
	}
	return b
}

// Derive returns 32 bytes for another use, from the newest key.
func (k *Keys) Derive(purpose string) []byte {
	return derive(k.all()[0].secret, nil, "admit derive "+purpose, 32)
}

// DeriveAll returns what Derive gives for each key of the ring, newest first.
func (k *Keys) DeriveAll(purpose string) [][]byte {
	ring := k.all()
	all := make([][]byte, len(ring))
	for i, one := range ring {
		all[i] = derive(one.secret, nil, "admit derive "+purpose, 32)
	}
	return all
}

// String says how many keys there are, and nothing of them.
func (k *Keys) String() string { return fmt.Sprintf("cookie.Keys(%d)", len(k.all())) }

// GoString is String.
func (k *Keys) GoString() string { return k.String() }

// find returns the key with an id, and whether it is an older one.
func find(ring []*key, id []byte) (one *key, old bool) {
	for i, one := range ring {
		if string(one.id[:]) == string(id) {
			return one, i > 0
		}
	}
	return nil, false
}

// Signed values: <value>.<base64url of key id, time, MAC>. The value stays
// readable; what a cookie cannot hold is percent-encoded.

// A signer is the kept state of one HMAC and the buffers it needs; handed to
// an interface, they would be allocated anew each time.
type signer struct {
	mac hash.Hash
	sum [macLen]byte
	buf []byte
}

const trailerLen = idLen + timeLen + macLen

var trailerText = base64.RawURLEncoding.EncodedLen(trailerLen)

// tag leaves the MAC over name, trailer and text in s.sum. Lengths stand in
// front, so that no two inputs read the same.
func (s *signer) tag(name string, head []byte, text []byte) []byte {
	s.mac.Reset()
	s.buf = binary.BigEndian.AppendUint32(s.buf[:0], uint32(len(name)))
	s.buf = append(s.buf, name...)
	s.buf = append(s.buf, head...)
	s.mac.Write(s.buf)
	s.mac.Write(text)
	return s.mac.Sum(s.sum[:0])
}

// Sign appends the value, readable and tamper-evident, to dst. The cookie's
// name and the time are inside the MAC (HMAC-SHA256).
func (k *Keys) Sign(dst []byte, name string, value []byte, now time.Time) []byte {
	one := k.all()[0]
	s := one.macs.Get().(*signer)
	defer one.macs.Put(s)
	start := len(dst)
	dst = appendEscaped(dst, value)
	text := dst[start:]
	var raw [trailerLen]byte
	copy(raw[:], one.id[:])
	putTime(raw[idLen:], now)
	copy(raw[idLen+timeLen:], s.tag(name, raw[:idLen+timeLen], text))
	dst = append(dst, '.')
	return base64.RawURLEncoding.AppendEncode(dst, raw[:])
}

// Verify appends the value of what Sign returned to dst. MaxAge 0 sets no limit
// of age. Old reports that an older key made it: sign it again.
func (k *Keys) Verify(dst []byte, name, signed string, maxAge time.Duration, now time.Time) (value []byte, old bool, err error) {
	dot := len(signed) - trailerText - 1
	if dot < 0 || signed[dot] != '.' {
		return dst, false, ErrTampered
	}
	var raw [trailerLen]byte
	if !decode64(raw[:], signed[dot+1:]) {
		return dst, false, ErrTampered
	}
	one, old := find(k.all(), raw[:idLen])
	if one == nil {
		return dst, false, ErrTampered
	}
	s := one.macs.Get().(*signer)
	defer one.macs.Put(s)
	start := len(dst)
	dst = append(dst, signed[:dot]...)
	if !hmac.Equal(s.tag(name, raw[:idLen+timeLen], dst[start:]), raw[idLen+timeLen:]) {
		return dst[:start], false, ErrTampered
	}
	if tooOld(raw[idLen:], maxAge, now) {
		return dst[:start], false, ErrExpired
	}
	n, ok := unescape(dst[start:])
	if !ok {
		return dst[:start], false, ErrTampered
	}
	return dst[:start+n], old, nil
}

// Sealed values: base64url of key id, salt, nonce, and the AES-256-GCM of time
// and value.

// A subkey is an AES-256-GCM key derived from a key and a random salt, so that
// no AES key ever sees more than sealsPerSubkey messages, however many there
// are in all.
type subkey struct {
	salt [saltLen]byte
	aead cipher.AEAD
	left atomic.Int64
}

func (k *key) subkey(salt [saltLen]byte) *subkey {
	block, err := aes.NewCipher(derive(k.secret, salt[:], "admit cookie seal", 32))
	if err != nil {
		panic(err) // 32 bytes are always a key
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	s := &subkey{salt: salt, aead: aead}
	s.left.Store(sealsPerSubkey)
	return s
}

// sealer returns the subkey to seal the next message with.
func (k *key) sealer() *subkey {
	if s := k.seals.Load(); s != nil && s.left.Add(-1) >= 0 {
		return s
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.seals.Load(); s != nil && s.left.Add(-1) >= 0 {
		return s
	}
	var salt [saltLen]byte
	rand.Read(salt[:])
	s := k.subkey(salt)
	s.left.Add(-1)
	k.seals.Store(s)
	return s
}

// opener returns the subkey of a salt. It is remembered only after it opened
// something, so that strangers cannot push the good ones out.
func (k *key) opener(salt []byte) (s *subkey, known bool) {
	if s := k.seals.Load(); s != nil && string(s.salt[:]) == string(salt) {
		return s, true
	}
	if k.opened.Load() > 0 {
		if s, ok := k.opens.Load([saltLen]byte(salt)); ok {
			return s.(*subkey), true
		}
	}
	return k.subkey([saltLen]byte(salt)), false
}

func (k *key) remember(s *subkey) {
	if k.opened.Add(1) > maxSubkeys {
		k.opens.Clear()
		k.opened.Store(1)
	}
	k.opens.Store(s.salt, s)
}

const sealHead = idLen + saltLen + nonceLen

// Seal appends the value, encrypted, to dst. The cookie's name and the time
// are authenticated too.
func (k *Keys) Seal(dst []byte, name string, value []byte, now time.Time) []byte {
	one := k.all()[0]
	sub := one.sealer()
	p := one.scratch.Get().(*[]byte)
	defer one.scratch.Put(p)
	// raw: id, salt, nonce, time, value, room for the tag; then the name
	b := append((*p)[:0], one.id[:]...)
	b = append(b, sub.salt[:]...)
	b = append(b, make([]byte, nonceLen+timeLen)...)
	rand.Read(b[idLen+saltLen : sealHead])
	putTime(b[sealHead:], now)
	b = append(b, value...)
	end := len(b)
	b = append(b, make([]byte, tagLen)...)
	b = append(b, name...)
	sub.aead.Seal(b[sealHead:sealHead], b[idLen+saltLen:sealHead], b[sealHead:end], b[end+tagLen:])
	dst = base64.RawURLEncoding.AppendEncode(dst, b[:end+tagLen])
	*p = b
	return dst
}

// Open appends the value of what Seal returned to dst. MaxAge 0 sets no limit
// of age. Old reports that an older key made it: seal it again.
func (k *Keys) Open(dst []byte, name, sealed string, maxAge time.Duration, now time.Time) (value []byte, old bool, err error) {
	n := base64.RawURLEncoding.DecodedLen(len(sealed))
	if n < sealHead+timeLen+tagLen {
		return dst, false, ErrTampered
	}
	ring := k.all()
	p := ring[0].scratch.Get().(*[]byte)
	defer ring[0].scratch.Put(p)
	b := slices.Grow((*p)[:0], n+len(sealed)+len(name))[:n]
	*p = b
	if !decode64(b, sealed) {
		return dst, false, ErrTampered
	}
	use, old := find(ring, b[:idLen])
	if use == nil {
		return dst, false, ErrTampered
	}
	sub, known := use.opener(b[idLen : idLen+saltLen])
	b = append(b, name...)
	plain, err := sub.aead.Open(b[sealHead:sealHead], b[idLen+saltLen:sealHead], b[sealHead:n], b[n:])
	if err != nil {
		return dst, false, ErrTampered
	}
	if !known {
		use.remember(sub)
	}
	if tooOld(plain, maxAge, now) {
		return dst, false, ErrExpired
	}
	return append(dst, plain[timeLen:]...), old, nil
}

func putTime(b []byte, now time.Time) {
	sec := uint64(max(now.Unix(), 0))
	b[0] = byte(sec >> 32)
	binary.BigEndian.PutUint32(b[1:], uint32(sec))
}

// tooOld reports whether the time at the head of b is more than maxAge ago, or
// more than a minute ahead: no clock of ours made it.
func tooOld(b []byte, maxAge time.Duration, now time.Time) bool {
	made := int64(b[0])<<32 | int64(binary.BigEndian.Uint32(b[1:]))
	age := now.Unix() - made
	return age < -60 || maxAge > 0 && age > int64(maxAge/time.Second)
}
