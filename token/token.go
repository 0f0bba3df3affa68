// Package token makes and checks opaque bearer tokens: random strings that
// mean nothing to their holder and lead the server to a record.
//
// Most programs need [New] and [Parse]. A token is shown to its holder once;
// the record is found by the token's selector and keeps only its digest:
//
//	t := token.New(token.APIKey)
//	show(t.Reveal())                       // adm_k_…, this once
//	save(t.Selector(), t.Digest())         // what the database sees
//
//	t, err := token.Parse(token.APIKey, presented)
//	row := find(t.Selector())
//	if !t.Matches(row.Digest) { … }        // constant time
//
// The text is adm_<kind>_<selector><verifier><checksum> in base62: 22 characters
// of selector and 22 of verifier (131 random bits each) and 6 of CRC-32, so
// that secret scanners recognise a token, and know a real one, offline. Every
// token has exactly one spelling.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"hash/crc32"
	"log/slog"

	"github.com/admit-auth/admit"
)

// A Kind says what a token is for. A token of one kind is never accepted as
// another.
type Kind byte

// The kinds of tokens.
const (
	Session      Kind = 's'
	Refresh      Kind = 'r'
	Access       Kind = 'a'
	APIKey       Kind = 'k'
	ClientSecret Kind = 'c'
	OneTime      Kind = 'o'
	Invite       Kind = 'i' // to register a client (RFC 7591 section 1.2)
	Registration Kind = 'g' // of a client that looks after itself (RFC 7592)
	URL          Kind = 'u' // of a session of a client without cookies
)

func (k Kind) valid() bool {
	switch k {
	case Session, Refresh, Access, APIKey, ClientSecret, OneTime, Invite, Registration, URL:
		return true
	}
	return false
}

// Len is the length of every token's text in bytes.
const Len = bodyLen + checksumLen

const (
	prefixLen   = len("adm_s_")
	wordLen     = 22
	bodyLen     = prefixLen + 2*wordLen
	checksumLen = 6 // base62 digits of 32 bits
)

// ErrMalformed is the refusal of text that is no token of the kind asked for:
// wrong length, prefix, alphabet or checksum. It says nothing about any record.
var ErrMalformed = admit.Unauthenticated.New("token_malformed", "This is not a valid token.")

// A Token is a bearer token in the clear. It prints as its kind and selector,
// never as its text.
type Token struct{ text string }

// New returns a fresh token with 131 random bits of selector and 131 of
// verifier. It panics on an unknown kind.
func New(kind Kind) Token {
	if !kind.valid() {
		panic("token: unknown kind")
	}
	b := []byte{'a', 'd', 'm', '_', byte(kind), '_'}
	return complete(appendWord(b))
}

// complete returns the token whose prefix and selector b holds, with a fresh
// verifier.
func complete(b []byte) Token {
	return sealed(appendWord(b))
}

// sealed returns the token of a body with its checksum.
func sealed(b []byte) Token {
	sum := checksum(string(b))
	b = append(b, make([]byte, checksumLen)...)
	for i := Len - 1; i >= bodyLen; i-- {
		b[i] = digits[sum%62]
		sum /= 62
	}
	return Token{string(b)}
}

// appendWord appends 22 random characters, each as likely as any other.
func appendWord(dst []byte) []byte {
	for n := len(dst) + wordLen; len(dst) < n; {
		var b [32]byte
		rand.Read(b[:])
		for _, r := range b {
			if r < 256/62*62 && len(dst) < n {
				dst = append(dst, digits[r%62])
			}
		}
	}
	return dst
}

// Parse reads the text of a token of the given kind, or returns ErrMalformed.
// It checks form and checksum, both public; only [Token.Matches] proves
// anything.
func Parse(kind Kind, text string) (Token, error) {
	if len(text) != Len || text[:4] != "adm_" || Kind(text[4]) != kind || text[5] != '_' || !kind.valid() {
		return Token{}, ErrMalformed
	}
	sum := checksum(text[:bodyLen])
	for i := Len - 1; i >= bodyLen; i-- {
		if text[i] != digits[sum%62] {
			return Token{}, ErrMalformed
		}
		sum /= 62
	}
	if !base62(text[prefixLen:bodyLen]) {
		return Token{}, ErrMalformed
	}
	return Token{text}, nil
}

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var isDigit = func() (is [256]bool) {
	for i := range len(digits) {
		is[digits[i]] = true
	}
	return is
}()

func base62(s string) bool {
	for i := range len(s) {
		if !isDigit[s[i]] {
			return false
		}
	}
	return true
}

// checksum is CRC-32 (IEEE 802.3), eight bytes at a time. The standard library's
// takes a slice, which would be a copy on the heap; byte by byte it was a fifth
// of what a session check costs.
func checksum(s string) uint32 {
	crc := ^uint32(0)
	for ; len(s) >= 8; s = s[8:] {
		crc ^= uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
		crc = tables[7][byte(crc)] ^ tables[6][byte(crc>>8)] ^ tables[5][byte(crc>>16)] ^ tables[4][crc>>24] ^
			tables[3][s[4]] ^ tables[2][s[5]] ^ tables[1][s[6]] ^ tables[0][s[7]]
	}
	for i := range len(s) {
		crc = tables[0][byte(crc)^s[i]] ^ crc>>8
	}
	return ^crc
}

// tables holds what a byte does to the checksum that 0 to 7 others follow.
var tables = func() (t [8]crc32.Table) {
	t[0] = *crc32.IEEETable
	for i := range 256 {
		for n := 1; n < len(t); n++ {
			t[n][i] = t[0][byte(t[n-1][i])] ^ t[n-1][i]>>8
		}
	}
	return t
}()

// Reveal returns the text that the holder presents. Every call is a place to
// review.
func (t Token) Reveal() string { return t.text }

// Kind returns what the token is for.
func (t Token) Kind() Kind { return Kind(t.text[4]) }

// Selector returns the public half, the key of the record: 22 characters.
func (t Token) Selector() string { return t.text[prefixLen : prefixLen+wordLen] }

// IsSelector reports whether a text can be a token's selector.
func IsSelector(text string) bool { return len(text) == wordLen && base62(text) }

// WithNewVerifier returns a token with a fresh verifier and t's kind and
// selector: the same record, a new secret.
func (t Token) WithNewVerifier() Token { return complete([]byte(t.text[:prefixLen+wordLen])) }

// WithVerifier returns a token with t's kind and selector whose verifier is made
// of 32 bytes that nobody can guess, such as a MAC: the same bytes give the same
// token. Most programs never call it.
func (t Token) WithVerifier(seed [32]byte) Token {
	b := append(make([]byte, 0, Len), t.text[:prefixLen+wordLen]...)
	for range wordLen {
		// The next digit is the remainder of a long division. 62^22 is 2^131, so
		// that of 2^256 seeds no token is likelier than another by more than 2^-125.
		rest := uint(0)
		for i, c := range seed {
			rest = rest<<8 | uint(c)
			seed[i] = byte(rest / 62)
			rest %= 62
		}
		b = append(b, digits[rest])
	}
	return sealed(b)
}

// Digest returns what the record keeps in place of the token: the first 128
// bits of SHA-256 over its text without the checksum. It is not salted: the
// verifier has 131 random bits, so there is nothing to guess, and the kind and
// the selector inside it keep a digest from being moved to another record.
func (t Token) Digest() Digest {
	var b [bodyLen]byte
	copy(b[:], t.text)
	sum := sha256.Sum256(b[:])
	return Digest(sum[:16])
}

// Matches reports, in constant time, whether d is the token's digest.
func (t Token) Matches(d Digest) bool {
	own := t.Digest()
	return subtle.ConstantTimeCompare(own[:], d[:]) == 1
}

// String returns the kind and the selector, which are public.
func (t Token) String() string {
	return t.text[:min(len(t.text), prefixLen+wordLen)] + "[redacted]"
}

// GoString is String, so that %#v does not print the verifier.
func (t Token) GoString() string { return t.String() }

// LogValue is String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText is String: a token leaves a program only through Reveal.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// A Digest is what is stored in place of a token.
type Digest [16]byte
