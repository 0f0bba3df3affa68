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
// of selector and 22 of verifier (128 random bits each) and 6 of CRC-32, so
// that secret scanners recognise a token, and know a real one, offline. Every
// token has exactly one spelling.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
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
)

func (k Kind) valid() bool {
	switch k {
	case Session, Refresh, Access, APIKey, ClientSecret, OneTime:
		return true
	}
	return false
}

// Len is the length of every token's text in bytes.
const Len = prefixLen + 2*wordLen + checksumLen

const (
	prefixLen   = len("adm_s_")
	wordLen     = 22 // base62 digits of 128 bits
	checksumLen = 6  // base62 digits of 32 bits
)

// ErrMalformed is the refusal of text that is no token of the kind asked for:
// wrong length, prefix, alphabet or checksum. It says nothing about any record.
var ErrMalformed = admit.Unauthenticated.New("token_malformed", "This is not a valid token.")

// A Token is a bearer token in the clear. It prints as its kind and selector,
// never as its text.
type Token struct {
	kind     Kind
	selector Selector
	verifier [16]byte
}

// New returns a fresh token with 128 random bits of selector and 128 of
// verifier. It panics on an unknown kind.
func New(kind Kind) Token {
	if !kind.valid() {
		panic("token: unknown kind")
	}
	t := Token{kind: kind}
	rand.Read(t.selector[:])
	rand.Read(t.verifier[:])
	return t
}

// Parse reads the text of a token of the given kind, or returns ErrMalformed.
// It checks form and checksum, both public; only [Token.Matches] proves
// anything.
func Parse(kind Kind, text string) (Token, error) {
	t := Token{kind: kind}
	if len(text) != Len || text[:4] != "adm_" || Kind(text[4]) != kind || text[5] != '_' || !kind.valid() {
		return Token{}, ErrMalformed
	}
	body := text[:Len-checksumLen]
	sum, ok := decode62(text[Len-checksumLen:])
	if !ok || sum.hi != 0 || sum.lo != uint64(checksum(body)) {
		return Token{}, ErrMalformed
	}
	sel, ok1 := decode62(text[prefixLen : prefixLen+wordLen])
	ver, ok2 := decode62(text[prefixLen+wordLen : prefixLen+2*wordLen])
	if !ok1 || !ok2 {
		return Token{}, ErrMalformed
	}
	sel.put(t.selector[:])
	ver.put(t.verifier[:])
	return t, nil
}

// checksum is CRC-32 (IEEE 802.3), four bytes at a time. The standard library's
// takes a slice, which would be a copy on the heap; byte by byte it was a fifth
// of what a session check costs.
func checksum(s string) uint32 {
	crc := ^uint32(0)
	for ; len(s) >= 4; s = s[4:] {
		crc ^= uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
		crc = slices4[3][byte(crc)] ^ slices4[2][byte(crc>>8)] ^ slices4[1][byte(crc>>16)] ^ slices4[0][crc>>24]
	}
	for i := range len(s) {
		crc = slices4[0][byte(crc)^s[i]] ^ crc>>8
	}
	return ^crc
}

// slices4 holds what a byte does to the checksum that 0 to 3 others follow.
var slices4 = func() (t [4]crc32.Table) {
	t[0] = *crc32.IEEETable
	for i := range 256 {
		for n := 1; n < 4; n++ {
			t[n][i] = t[0][byte(t[n-1][i])] ^ t[n-1][i]>>8
		}
	}
	return t
}()

// Reveal returns the text that the holder presents. Every call is a place to
// review.
func (t Token) Reveal() string {
	var b [Len]byte
	copy(b[:], "adm_?_")
	b[4] = byte(t.kind)
	word(t.selector[:]).encode62(b[prefixLen : prefixLen+wordLen])
	word(t.verifier[:]).encode62(b[prefixLen+wordLen : prefixLen+2*wordLen])
	sum := uint128{lo: uint64(checksum(string(b[:Len-checksumLen])))}
	sum.encode62(b[Len-checksumLen:])
	return string(b[:])
}

// Kind returns what the token is for.
func (t Token) Kind() Kind { return t.kind }

// Selector returns the public half, the key of the record.
func (t Token) Selector() Selector { return t.selector }

// WithNewVerifier returns a token with a fresh verifier and t's kind and
// selector: the same record, a new secret.
func (t Token) WithNewVerifier() Token {
	rand.Read(t.verifier[:])
	return t
}

// Digest returns what the record keeps in place of the token: the first 128
// bits of SHA-256 over kind, selector and verifier. It is not salted: the
// verifier has 128 random bits, so there is nothing to guess, and the selector
// inside it keeps a digest from being moved to another record.
func (t Token) Digest() Digest {
	var b [1 + 16 + 16]byte
	b[0] = byte(t.kind)
	copy(b[1:], t.selector[:])
	copy(b[17:], t.verifier[:])
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
	return "adm_" + string(rune(t.kind)) + "_" + t.selector.String() + "[redacted]"
}

// GoString is String, so that %#v does not print the verifier.
func (t Token) GoString() string { return t.String() }

// LogValue is String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText is String: a token leaves a program only through Reveal.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// A Selector is the public half of a token and the key of its record.
type Selector [16]byte

// String returns the 22 characters that the selector has inside its token.
func (s Selector) String() string {
	var b [wordLen]byte
	word(s[:]).encode62(b[:])
	return string(b[:])
}

// ParseSelector reads what String returned, or returns ErrMalformed.
func ParseSelector(text string) (Selector, error) {
	var s Selector
	w, ok := decode62(text)
	if !ok || len(text) != wordLen {
		return s, ErrMalformed
	}
	w.put(s[:])
	return s, nil
}

// SelectorText returns the selector inside the text of a token that Parse has
// accepted, without allocating.
func SelectorText(text string) string { return text[prefixLen : prefixLen+wordLen] }

// A Digest is what is stored in place of a token.
type Digest [16]byte

// word reads 16 bytes as an integer.
func word(b []byte) uint128 {
	return uint128{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (w uint128) put(b []byte) {
	binary.BigEndian.PutUint64(b, w.hi)
	binary.BigEndian.PutUint64(b[8:], w.lo)
}
