package otp

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"hash"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
)

// Why there is no key.
var (
	ErrSecret  = admit.Invalid.New("otp_secret_malformed", "This is no secret of one-time codes.").WithHint("It is at least 26 letters and digits of base32, A to Z and 2 to 7.")
	ErrOptions = admit.Invalid.New("otp_options_unsupported", "One-time codes have 6 or 8 digits, and are good for 15 seconds to 2 minutes.")
)

// An Algorithm is the hash function under a code. Many apps know SHA-1 alone,
// whatever they are told, and what is known against SHA-1 is of no use against
// HMAC (RFC 4226, section B.2).
type Algorithm string

// The algorithms, as they are called in URIs.
const (
	SHA1   Algorithm = "SHA1"
	SHA256 Algorithm = "SHA256"
	SHA512 Algorithm = "SHA512"
)

func (a Algorithm) hash() func() hash.Hash {
	switch a {
	case SHA1:
		return sha1.New
	case SHA256:
		return sha256.New
	case SHA512:
		return sha512.New
	}
	return nil
}

const (
	minSecret = 16 // bytes: RFC 4226 section 4, R6
	maxSecret = 128
	newSecret = 20 // bytes, as long as SHA-1 and as R6 recommends
)

// Options say how codes are made. The zero value is what every app knows.
type Options struct {
	Algorithm Algorithm     // SHA1 if empty
	Digits    int           // 6 or 8; 6 if 0
	Period    time.Duration // of one code; 30 seconds if 0
}

// A Key makes codes. It is immutable.
type Key struct {
	secret []byte
	o      Options
	hash   func() hash.Hash
	modulo uint32
}

// New returns the key with a secret of at least 128 bits. Options may be nil.
func New(secret []byte, o *Options) (*Key, error) {
	k := &Key{secret: append([]byte(nil), secret...)}
	if o != nil {
		k.o = *o
	}
	k.o.Algorithm = cmp.Or(k.o.Algorithm, SHA1)
	k.o.Digits = cmp.Or(k.o.Digits, 6)
	k.o.Period = cmp.Or(k.o.Period, 30*time.Second)
	if len(secret) < minSecret || len(secret) > maxSecret {
		return nil, ErrSecret
	}
	switch k.o.Digits {
	case 6:
		k.modulo = 1_000_000
	case 8:
		k.modulo = 100_000_000
	default:
		return nil, ErrOptions
	}
	if k.hash = k.o.Algorithm.hash(); k.hash == nil || k.o.Period < 15*time.Second || k.o.Period > 2*time.Minute || k.o.Period%time.Second != 0 {
		return nil, ErrOptions
	}
	return k, nil
}

// Generate returns a key with a new random secret of 160 bits.
func Generate(o *Options) (*Key, error) {
	secret := make([]byte, newSecret)
	rand.Read(secret)
	return New(secret, o)
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Parse returns the key with a secret as people and other programs write it: in
// base32, in any case, with spaces, dashes and padding or without.
func Parse(secret string, o *Options) (*Key, error) {
	text := strings.Map(func(c rune) rune {
		if c == ' ' || c == '-' {
			return -1
		}
		return c
	}, strings.ToUpper(secret))
	b, err := encoding.DecodeString(strings.TrimRight(text, "="))
	// One spelling for each secret: the bits that are left over are zero.
	if err != nil || encoding.EncodeToString(b) != strings.TrimRight(text, "=") {
		return nil, ErrSecret
	}
	return New(b, o)
}

// Bytes returns the secret, to be sealed and kept.
func (k *Key) Bytes() []byte { return append([]byte(nil), k.secret...) }

// Secret returns the secret in base32, for people who type it.
func (k *Key) Secret() admit.Secret { return admit.NewSecret(encoding.EncodeToString(k.secret)) }

// String keeps the secret out of logs.
func (k *Key) String() string { return "otp.Key([redacted])" }

// GoString is String.
func (k *Key) GoString() string { return k.String() }

// HOTP returns the code of a counter (RFC 4226).
func (k *Key) HOTP(counter uint64) string {
	mac := hmac.New(k.hash, k.secret)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], counter)
	mac.Write(b[:])
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := (binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff) % k.modulo
	return fmt.Sprintf("%0*d", k.o.Digits, n)
}

// At returns the code of a time (RFC 6238).
func (k *Key) At(t time.Time) string { return k.HOTP(uint64(k.step(t))) }

func (k *Key) step(t time.Time) int64 { return max(0, t.Unix()) / int64(k.o.Period/time.Second) }

// Check reports whether a code is good now, and for which step of time. One step
// before and one after will do as well, for clocks differ and people type
// (RFC 6238, section 5.2). After is the last step that was taken, 0 for none: no
// code of it, nor of one before, counts again.
//
// It takes as long for every code.
func (k *Key) Check(code string, after int64, now time.Time) (step int64, ok bool) {
	for at := k.step(now) - 1; at <= k.step(now)+1; at++ {
		same := subtle.ConstantTimeCompare([]byte(k.HOTP(uint64(max(0, at)))), []byte(code))
		if same == 1 && at > after {
			step, ok = at, true
		}
	}
	return step, ok
}

// URI returns what a QR code for authenticator apps says:
// otpauth://totp/ISSUER:ACCOUNT?secret=…, which is as secret as the secret.
func (k *Key) URI(issuer, account string) admit.Secret {
	label := func(s string) string { // apps show a plus as one
		return strings.ReplaceAll(url.QueryEscape(strings.ReplaceAll(s, ":", " ")), "+", "%20")
	}
	q := "secret=" + encoding.EncodeToString(k.secret) + "&issuer=" + label(issuer)
	// Only what differs from what apps take for granted: a shorter text is a
	// picture that is easier to read.
	if k.o.Algorithm != SHA1 {
		q += "&algorithm=" + string(k.o.Algorithm)
	}
	if k.o.Digits != 6 {
		q += "&digits=" + strconv.Itoa(k.o.Digits)
	}
	if k.o.Period != 30*time.Second {
		q += "&period=" + strconv.Itoa(int(k.o.Period/time.Second))
	}
	return admit.NewSecret("otpauth://totp/" + label(issuer) + ":" + label(account) + "?" + q)
}
