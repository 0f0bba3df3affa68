package jose

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"
	"unicode/utf8"
)

// A Header is what a token's header says: of a verified token, or of one to be
// made.
type Header struct {
	Algorithm   Algorithm
	KeyID       string // kid; where a verified token has none, that of the key
	Type        string // typ, such as "at+jwt"
	ContentType string // cty, "JWT" where the payload is one itself
}

var errHeader = errors.New("jose: a header that is not UTF-8")

// valid reports whether JSON can say the header.
func (h *Header) valid() bool {
	return utf8.ValidString(h.KeyID) && utf8.ValidString(h.Type) && utf8.ValidString(h.ContentType)
}

// appendJSON appends the header as JSON. More are members that go with it,
// each with a comma before it.
func (h *Header) appendJSON(b []byte, more string) []byte {
	b = append(b, `{"alg":`...)
	b, _ = appendString(b, string(h.Algorithm))
	for _, m := range [...]struct{ name, value string }{{`,"kid":`, h.KeyID}, {`,"typ":`, h.Type}, {`,"cty":`, h.ContentType}} {
		if m.value != "" {
			b = append(b, m.name...)
			b, _ = appendString(b, m.value)
		}
	}
	return append(append(b, more...), '}')
}

// Sign returns the compact JWS (RFC 7515 section 7.1) of any payload. Most
// programs sign claims, with a [Signer].
//
// The algorithm and the kid are the key's, whatever h says.
func Sign(key *Key, h Header, payload []byte) (string, error) {
	s, err := newSigning(key, h)
	if err != nil {
		return "", err
	}
	room := s.scratch()
	room.payload = append(room.payload[:0], payload...)
	return s.sign(room)
}

// A signing is a key and the header that goes before what it signs.
type signing struct {
	key    *Key
	scheme scheme
	header []byte    // encoded, with the dot after it
	pool   sync.Pool // of *scratch
}

func newSigning(key *Key, h Header) (*signing, error) {
	s, signs := key.alg.scheme()
	if !signs || !key.IsPrivate() || !key.may("sign") {
		return nil, fmt.Errorf("%v: %w: %w", key, errNotSigner, ErrBadKey)
	}
	h.Algorithm, h.KeyID = key.alg, key.id
	if !h.valid() {
		return nil, errHeader
	}
	return &signing{key: key, scheme: s, header: encodeHeader(h.appendJSON(nil, ""))}, nil
}

// encodeHeader returns a header as it stands in a token, with the dot after it.
func encodeHeader(text []byte) []byte {
	return append(base64.RawURLEncoding.AppendEncode(nil, text), '.')
}

// scratch returns room for one token; put it back into the pool.
func (s *signing) scratch() *scratch {
	if room, ok := s.pool.Get().(*scratch); ok {
		return room
	}
	return newScratch()
}

// sign returns the token of room.payload.
func (s *signing) sign(room *scratch) (string, error) {
	b := append(room.token[:0], s.header...)
	b = base64.RawURLEncoding.AppendEncode(b, room.payload)
	signature, err := s.signature(room, b)
	if err != nil {
		return "", err
	}
	room.token = base64.RawURLEncoding.AppendEncode(append(b, '.'), signature)
	return string(room.token), nil
}

// signature returns the signature of input.
func (s *signing) signature(room *scratch, input []byte) ([]byte, error) {
	if s.scheme.family == familyHMAC {
		mac := s.key.mac(s.scheme.hash)
		defer s.key.macs.Put(mac)
		mac.Write(input)
		room.signature = mac.Sum(room.signature[:0])
		return room.signature, nil
	}
	signer, ok := s.key.private.(crypto.Signer)
	if !ok {
		return nil, errNotSigner
	}
	if s.scheme.family == familyEd25519 {
		return signer.Sign(rand.Reader, input, crypto.Hash(0))
	}
	room.work = sum(room.work[:0], s.scheme.hash, input)
	var opts crypto.SignerOpts = s.scheme.hash
	if s.scheme.family == familyPSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.scheme.hash}
	}
	signature, err := signer.Sign(rand.Reader, room.work, opts)
	if err != nil || s.scheme.family != familyECDSA {
		return signature, err
	}
	room.signature, err = fromDER(room.signature[:0], signature, s.scheme.size/2)
	return room.signature, err
}

// sum appends a hash of input to dst.
func sum(dst []byte, h crypto.Hash, input []byte) []byte {
	var state hash.Hash = h.New()
	state.Write(input)
	return state.Sum(dst)
}

var errDER = errors.New("the signer's ECDSA signature is malformed")

// fromDER appends R and S of a DER signature, each half bytes wide (RFC 7518
// section 3.4).
func fromDER(dst, der []byte, half int) ([]byte, error) {
	rest, ok := der, len(der) > 1 && der[0] == 0x30
	if ok {
		if rest = der[2:]; der[1] == 0x81 && len(der) > 2 {
			rest = der[3:]
		}
	}
	for range 2 {
		if !ok || len(rest) < 2 || rest[0] != 2 || len(rest)-2 < int(rest[1]) {
			return nil, errDER
		}
		n := rest[2 : 2+rest[1]]
		rest = rest[2+rest[1]:]
		for len(n) > 0 && n[0] == 0 {
			n = n[1:]
		}
		if len(n) > half {
			return nil, errDER
		}
		dst = append(append(dst, make([]byte, half-len(n))...), n...)
	}
	return dst, nil
}

// appendDER appends an ECDSA signature of two halves as DER.
func appendDER(dst, signature []byte) []byte {
	half := len(signature) / 2
	r, s := minimal(signature[:half]), minimal(signature[half:])
	length := func(n []byte) int { return len(n) + int(n[0]>>7) }
	total := 4 + length(r) + length(s)
	dst = append(dst, 0x30)
	if total > 127 {
		dst = append(dst, 0x81)
	}
	dst = append(dst, byte(total))
	for _, n := range [][]byte{r, s} {
		dst = append(dst, 2, byte(length(n)))
		if n[0]&0x80 != 0 {
			dst = append(dst, 0)
		}
		dst = append(dst, n...)
	}
	return dst
}

// minimal is an unsigned integer without leading zeros, one byte at least.
func minimal(n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	return n
}

// A Signer makes JWTs with one key and one type. D is a struct of your own
// claims, tagged as encoding/json wants them; struct{} where there are none.
type Signer[D any] struct {
	signing *signing
	plan    *plan
	forever bool
}

// SignerOptions are the rare choices of a [Signer].
type SignerOptions struct {
	// InsecureNoExpiry lets tokens be made that have no end.
	InsecureNoExpiry bool
}

// NewSigner returns a Signer. The type says what the tokens are for, such as
// "at+jwt" for access tokens (RFC 9068): a verifier of one type takes no other
// (RFC 8725 section 3.11). It is required; a plain "JWT" will do where nobody
// else signs with the key.
func NewSigner[D any](key *Key, typ string, o *SignerOptions) (*Signer[D], error) {
	if typ == "" {
		return nil, errors.New("jose: a type of token is required")
	}
	s, err := newSigning(key, Header{Type: typ})
	if err != nil {
		return nil, err
	}
	p, err := planFor[D]()
	if err != nil {
		return nil, err
	}
	return &Signer[D]{signing: s, plan: p, forever: o != nil && o.InsecureNoExpiry}, nil
}

// Sign returns the compact JWT with these claims. A zero IssuedAt is now. The
// header of c is not looked at.
func (s *Signer[D]) Sign(c *Claims[D]) (string, error) {
	if c.Expires.IsZero() && !s.forever {
		return "", fmt.Errorf("sign a JWT: exp: %w", ErrMissing)
	}
	issued := c.IssuedAt
	if issued.IsZero() {
		issued = time.Now()
	}
	room := s.signing.scratch()
	defer s.signing.pool.Put(room)
	b, err := c.appendRegistered(room.payload[:0], issued)
	if err == nil {
		b, err = s.plan.append(b, &c.Data)
	}
	if err != nil {
		return "", fmt.Errorf("sign a JWT: %w", err)
	}
	room.payload = append(b, '}')
	return s.signing.sign(room)
}
