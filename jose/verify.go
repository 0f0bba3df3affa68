package jose

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A KeySource has the keys that a verifier accepts: a [KeySet], or a
// [RemoteKeySet].
type KeySource interface {
	// KeySet returns the keys that count now. A source that fetches them looks
	// whether there are newer ones where none has this kid; "" asks for what
	// is at hand. As long as nothing changes it returns the same pointer, at
	// once: every verification asks.
	KeySet(ctx context.Context, kid string) (*KeySet, error)
}

// KeySet implements [KeySource].
func (s *KeySet) KeySet(context.Context, string) (*KeySet, error) { return s, nil }

// lookup returns the keys that may have signed a token with this header. A
// token without a kid may be signed by any key of its algorithm, and a key
// without one may have signed any token.
func (s *KeySet) lookup(kid string, alg Algorithm) []*Key {
	var found []*Key
	for _, k := range s.keys {
		if k.named(kid) && k.suits(alg) && k.may("verify") {
			found = append(found, k)
		}
	}
	return found
}

// maxTries bounds the keys that a token without a kid is tried with.
const maxTries = 4

// Expected is what a verifier demands. Every field is required: the token does
// not decide how it is checked (RFC 8725 sections 3.1, 3.8, 3.9 and 3.11).
type Expected struct {
	Algorithms []Algorithm
	Issuer     string   // iss is exactly this
	Audience   []string // aud names one of these
	Type       string   // typ is this, such as "at+jwt"; in any case, with or without "application/"
}

// VerifierOptions are the rare choices of a [Verifier].
type VerifierOptions[D any] struct {
	// Leeway is added to exp and taken from nbf, for clocks that differ: 0
	// unless set, at most 5 minutes.
	Leeway time.Duration
	// MaxLength bounds a token in bytes, before any work: 16 KiB unless set.
	MaxLength int
	// Remember is how many tokens that were verified before are remembered by
	// their digest, so that their signature and claims need no work again until
	// they expire or the key set changes: none unless set. Each takes some 500
	// bytes and its claims.
	Remember int
	// Prepare is called once with the claims of a token when it has been
	// verified, before it is remembered, and may write what its Data keeps for
	// Check, such as digests of its ids.
	Prepare func(*Claims[D])
	// Check is called last at every verification, of a remembered token too,
	// and says whether it still counts: here revocation plugs in. It only reads
	// the claims: those of a remembered token are everybody's.
	Check func(context.Context, *Claims[D], time.Time) error

	// The library demands what these give up.
	InsecureAnyIssuer   bool // iss is not looked at
	InsecureAnyAudience bool // aud is not looked at
	InsecureAnyType     bool // typ is not looked at
	InsecureNoExpiry    bool // a token without exp is good for ever
}

// iatGrace is how far ahead iat may be: the issuer's clock says it, and nothing
// depends on it. Further ahead, one of the clocks is wrong.
const iatGrace = 30 * time.Second

// A Verifier checks JWTs of one kind. It may be used by many goroutines at
// once.
type Verifier[D any] struct {
	opener *opener
	want   Expected
	plan   *plan
	o      VerifierOptions[D]
	memory *memory[D]
	alone  bool      // nobody else sees the claims before they are returned
	spare  sync.Pool // of *Claims[D]
}

// NewVerifier returns a Verifier. It refuses what is left out of want.
func NewVerifier[D any](keys KeySource, want Expected, o *VerifierOptions[D]) (*Verifier[D], error) {
	v := &Verifier[D]{want: want}
	if o != nil {
		v.o = *o
	}
	switch {
	case want.Issuer == "" && !v.o.InsecureAnyIssuer:
		return nil, errors.New("jose: an issuer is required")
	case (len(want.Audience) == 0 || slices.Contains(want.Audience, "")) && !v.o.InsecureAnyAudience:
		return nil, errors.New("jose: an audience is required")
	case want.Type == "" && !v.o.InsecureAnyType:
		return nil, errors.New("jose: a type is required")
	case v.o.Leeway < 0 || v.o.Leeway > 5*time.Minute:
		return nil, fmt.Errorf("jose: a leeway of %v, which is not from 0 to 5 minutes", v.o.Leeway)
	case v.o.Remember < 0 || v.o.MaxLength < 0:
		return nil, errors.New("jose: a bound is negative")
	}
	v.want.Audience = slices.Clone(want.Audience)
	typ := want.Type
	if v.o.InsecureAnyType {
		typ = ""
	}
	var err error
	if v.opener, err = newOpener(keys, want.Algorithms, typ, v.o.MaxLength); err != nil {
		return nil, err
	}
	if v.plan, err = planFor[D](); err != nil {
		return nil, err
	}
	if v.o.Remember > 0 {
		v.memory = newMemory[D](v.o.Remember)
	}
	v.alone = v.memory == nil && v.o.Check == nil && v.o.Prepare == nil && v.plan.plain()
	return v, nil
}

// Verify returns the claims of a token that is signed by one of the keys, in
// time, and for us. Where it is not, the error says why, and there are none.
func (v *Verifier[D]) Verify(ctx context.Context, token string) (Claims[D], error) {
	return v.VerifyAt(ctx, token, time.Now())
}

// VerifyAt is [Verifier.Verify] as of another time: for tools that look at old
// tokens. Most programs never call it.
func (v *Verifier[D]) VerifyAt(ctx context.Context, token string, at time.Time) (Claims[D], error) {
	if len(token) > v.opener.maxLength {
		return Claims[D]{}, ErrTooLong
	}
	s := v.opener.scratch(token)
	defer v.opener.pool.Put(s)
	if v.alone {
		return v.fresh(ctx, s, at)
	}
	c, err := v.remembered(ctx, s, at)
	if err != nil {
		return Claims[D]{}, err
	}
	if v.o.Check != nil {
		if err := v.o.Check(ctx, c, at); err != nil {
			return Claims[D]{}, err
		}
	}
	return *c, nil
}

// fresh is for claims that nobody else sees: they need no memory but the caller's.
func (v *Verifier[D]) fresh(ctx context.Context, s *scratch, at time.Time) (claims Claims[D], err error) {
	c, ok := v.spare.Get().(*Claims[D])
	if !ok {
		c = new(Claims[D])
	}
	if _, err = v.read(ctx, s, at, c); err == nil {
		claims = *c
	}
	*c = Claims[D]{}
	v.spare.Put(c)
	return claims, err
}

// remembered returns the claims of the token in s, which may be known from
// before.
func (v *Verifier[D]) remembered(ctx context.Context, s *scratch, now time.Time) (*Claims[D], error) {
	if v.memory == nil {
		c := new(Claims[D])
		_, err := v.read(ctx, s, now, c)
		return c, err
	}
	set, err := v.opener.keys.KeySet(ctx, "")
	if err != nil {
		return nil, err
	}
	id := v.memory.digest(s)
	if c := v.memory.get(set, &id); c != nil {
		return c, v.inTime(c, now)
	}
	c := new(Claims[D])
	if set, err = v.read(ctx, s, now, c); err == nil {
		v.memory.put(set, &id, c)
	}
	return c, err
}

// read verifies the token in s and reads its claims into c, which is empty. They
// count only where the error is nil.
func (v *Verifier[D]) read(ctx context.Context, s *scratch, now time.Time, c *Claims[D]) (set *KeySet, err error) {
	if set, c.Header, err = v.opener.open(ctx, s); err != nil {
		return nil, err
	}
	if err := c.parse(string(s.payload), v.plan); err != nil {
		return nil, err
	}
	if err := v.accept(c); err != nil {
		return nil, err
	}
	if err := v.inTime(c, now); err != nil {
		return nil, err
	}
	if v.o.Prepare != nil {
		v.o.Prepare(c)
	}
	return set, nil
}

// accept looks at what does not change with time.
func (v *Verifier[D]) accept(c *Claims[D]) error {
	switch {
	case c.Issuer != v.want.Issuer && !v.o.InsecureAnyIssuer:
		return ErrIssuer
	case !v.o.InsecureAnyAudience && !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(v.want.Audience, a) }):
		return ErrAudience
	case c.Expires.IsZero() && !v.o.InsecureNoExpiry:
		return fmt.Errorf("exp: %w", ErrMissing)
	}
	return nil
}

// inTime looks at the dates. A token is good until just before exp (RFC 7519
// section 4.1.4).
func (v *Verifier[D]) inTime(c *Claims[D], now time.Time) error {
	switch {
	case !c.Expires.IsZero() && !now.Before(c.Expires.Add(v.o.Leeway)):
		return ErrExpired
	case now.Add(v.o.Leeway).Before(c.NotBefore):
		return ErrNotYetValid
	case now.Add(v.o.Leeway + iatGrace).Before(c.IssuedAt):
		return fmt.Errorf("issued in the future: %w", ErrNotYetValid)
	}
	return nil
}

// A PayloadVerifier checks signed payloads of any kind, which need not be
// claims. Most programs want a [Verifier].
type PayloadVerifier struct{ opener *opener }

// PayloadVerifierOptions are the rare choices of a [PayloadVerifier].
type PayloadVerifierOptions struct {
	// MaxLength bounds a token in bytes, before any work: 16 KiB unless set.
	MaxLength int
	// The library demands what this gives up.
	InsecureAnyType bool // typ is not looked at
}

// NewPayloadVerifier returns a PayloadVerifier. The type is required, as that
// of [Expected] is.
func NewPayloadVerifier(keys KeySource, algorithms []Algorithm, typ string, o *PayloadVerifierOptions) (*PayloadVerifier, error) {
	if o == nil {
		o = &PayloadVerifierOptions{}
	}
	switch {
	case typ == "" && !o.InsecureAnyType:
		return nil, errors.New("jose: a type is required")
	case o.MaxLength < 0:
		return nil, errors.New("jose: a bound is negative")
	case o.InsecureAnyType:
		typ = ""
	}
	opener, err := newOpener(keys, algorithms, typ, o.MaxLength)
	if err != nil {
		return nil, err
	}
	return &PayloadVerifier{opener}, nil
}

// Verify returns the payload of a compact JWS that one of the keys has signed,
// and its header.
func (v *PayloadVerifier) Verify(ctx context.Context, token string) ([]byte, Header, error) {
	if len(token) > v.opener.maxLength {
		return nil, Header{}, ErrTooLong
	}
	s := v.opener.scratch(token)
	defer v.opener.pool.Put(s)
	_, h, err := v.opener.open(ctx, s)
	if err != nil {
		return nil, Header{}, err
	}
	return slices.Clone(s.payload), h, nil
}

// An opener checks a token's form, header and signature.
type opener struct {
	keys      KeySource
	algs      []Algorithm
	typ       string // "" for any
	maxLength int
	pool      sync.Pool // of *scratch
	known     atomic.Pointer[headers]
}

// headers are those of tokens that were good, by their text: a header that is
// known is not parsed again, and its key is at hand.
type headers struct {
	set  *KeySet
	keys map[string]headerKey
}

type headerKey struct {
	header Header
	scheme scheme
	key    *Key
}

// maxHeaders bounds how many headers are known. Only who has a key can make
// one, so one issuer's keys all fit; an issuer whose every header differs fills
// it, and then nothing more is learned.
const maxHeaders = 64

// scratch is what making or verifying one token writes to.
type scratch struct {
	token     []byte // the text
	payload   []byte
	signature []byte
	work      []byte
	digest    []byte
}

func newScratch() *scratch {
	return &scratch{token: make([]byte, 0, 1024), payload: make([]byte, 0, 1024), signature: make([]byte, 0, 512), work: make([]byte, 0, 256)}
}

const defaultLength = 16 << 10

func newOpener(keys KeySource, algs []Algorithm, typ string, maxLength int) (*opener, error) {
	if keys == nil {
		return nil, errors.New("jose: no keys")
	}
	if len(algs) == 0 {
		return nil, errors.New("jose: no algorithms are accepted")
	}
	for _, a := range algs {
		if _, ok := a.scheme(); !ok {
			return nil, fmt.Errorf("jose: %q is no algorithm for signatures", a)
		}
	}
	if maxLength == 0 {
		maxLength = defaultLength
	}
	return &opener{keys: keys, algs: slices.Clone(algs), typ: typ, maxLength: maxLength}, nil
}

func (o *opener) scratch(token string) *scratch {
	s, ok := o.pool.Get().(*scratch)
	if !ok {
		s = newScratch()
	}
	s.token = append(s.token[:0], token...)
	return s
}

// open verifies s.token and leaves its payload in s.payload.
func (o *opener) open(ctx context.Context, s *scratch) (*KeySet, Header, error) {
	first, second, err := dots(s.token)
	if err != nil {
		return nil, Header{}, err
	}
	header, input := s.token[:first], s.token[:second]
	ok := false
	if s.signature, ok = decode64(s.signature[:0], s.token[second+1:]); !ok {
		return nil, Header{}, ErrMalformed
	}
	set, err := o.keys.KeySet(ctx, "")
	if err != nil {
		return nil, Header{}, err
	}
	if known := o.known.Load(); known != nil && known.set == set {
		if k, ok := known.keys[string(header)]; ok {
			if !k.key.verify(k.scheme, s, input) {
				return nil, Header{}, ErrSignature
			}
			return set, k.header, s.open(first, second)
		}
	}
	h, _, err := o.header(s, header)
	if err != nil {
		return nil, Header{}, err
	}
	scheme, _ := h.Algorithm.scheme()
	candidates := set.lookup(h.KeyID, h.Algorithm)
	if len(candidates) == 0 && h.KeyID != "" {
		if set, err = o.keys.KeySet(ctx, h.KeyID); err != nil {
			return nil, Header{}, err
		}
		candidates = set.lookup(h.KeyID, h.Algorithm)
	}
	if candidates, err = o.only(candidates, h.Algorithm); err != nil {
		return nil, Header{}, err
	}
	for _, k := range candidates {
		if k.verify(scheme, s, input) {
			// Who looks whether a key has ended must know which one it was.
			if h.KeyID == "" {
				h.KeyID = k.id
			}
			if len(candidates) == 1 { // else the next token with this header may be another's
				o.learn(set, string(header), headerKey{h, scheme, k})
			}
			return set, h, s.open(first, second)
		}
	}
	return nil, Header{}, ErrSignature
}

// header reads an encoded header, which must be of our algorithms and type. The
// key that it brings along, if any, is returned as it stands.
func (o *opener) header(s *scratch, encoded []byte) (h Header, jwk string, err error) {
	ok := false
	if s.payload, ok = decode64(s.payload[:0], encoded); !ok {
		return h, "", ErrMalformed
	}
	if h, jwk, err = parseHeader(string(s.payload)); err != nil {
		return Header{}, "", err
	}
	if !slices.ContainsFunc(o.algs, h.Algorithm.same) {
		return Header{}, "", ErrAlgorithm
	}
	if o.typ != "" && !sameType(h.Type, o.typ) {
		return Header{}, "", ErrType
	}
	return h, jwk, nil
}

// only leaves out keys that do not say their algorithm where more than one of
// ours would fit them: one key is for one algorithm.
func (o *opener) only(keys []*Key, alg Algorithm) ([]*Key, error) {
	keys = slices.DeleteFunc(keys, func(k *Key) bool {
		return k.alg == "" && slices.ContainsFunc(o.algs, func(a Algorithm) bool { return !a.same(alg) && k.suits(a) })
	})
	if len(keys) == 0 || len(keys) > maxTries {
		return nil, ErrKey
	}
	return keys, nil
}

// learn notes whose header this is. Two that learn at once may forget one.
func (o *opener) learn(set *KeySet, header string, k headerKey) {
	old := o.known.Load()
	next := &headers{set: set, keys: map[string]headerKey{header: k}}
	if old != nil && old.set == set {
		if len(old.keys) == maxHeaders {
			return
		}
		maps.Copy(next.keys, old.keys)
	}
	o.known.Store(next)
}

// open decodes the payload between the dots.
func (s *scratch) open(first, second int) error {
	ok := false
	if s.payload, ok = decode64(s.payload[:0], s.token[first+1:second]); !ok {
		return ErrMalformed
	}
	return nil
}

// dots returns where the two dots of a compact JWS are.
func dots(token []byte) (first, second int, err error) {
	first = bytes.IndexByte(token, '.')
	second = first + 1 + bytes.IndexByte(token[first+1:], '.')
	if first > 0 && first < second && second < len(token)-1 && bytes.IndexByte(token[second+1:], '.') < 0 {
		return first, second, nil
	}
	if bytes.Count(token, []byte{'.'}) == 4 && token[0] != '{' {
		return 0, 0, ErrEncrypted
	}
	return 0, 0, ErrMalformed
}

// parseHeader reads a JWS header. Keys that it brings along (jwk, jku, x5u,
// x5c) are passed over: an attacker brings his own. Only a proof asks for its
// jwk.
func parseHeader(text string) (h Header, jwk string, err error) {
	var o object
	if err := o.open(text); err != nil {
		return h, "", fmt.Errorf("header: %w: %w", err, ErrMalformed)
	}
	for {
		name, raw, ok, err := o.next()
		if err != nil {
			return h, "", fmt.Errorf("header: %w: %w", err, ErrMalformed)
		}
		if !ok {
			break
		}
		switch name {
		case "alg":
			var alg string
			alg, ok = stringValue(raw)
			h.Algorithm = Algorithm(alg)
		case "kid":
			h.KeyID, ok = stringValue(raw)
		case "typ":
			h.Type, ok = stringValue(raw)
		case "cty":
			h.ContentType, ok = stringValue(raw)
		case "jwk":
			jwk = raw
		case "crit", "b64": // no extension is supported; b64 is one (RFC 7797)
			return h, "", ErrCritical
		case "enc", "zip":
			return h, "", ErrEncrypted
		default:
			ok = !taken([]string{"alg", "kid", "typ", "cty", "jwk", "crit", "b64", "enc", "zip"}, name)
		}
		if !ok {
			return h, "", fmt.Errorf("header %q: %w", name, ErrMalformed)
		}
	}
	if h.Algorithm == "" {
		return h, "", ErrAlgorithm
	}
	return h, jwk, nil
}

// sameType compares media types as RFC 7515 section 4.1.9 says.
func sameType(a, b string) bool {
	short := func(s string) string {
		const prefix = "application/"
		if len(s) > len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) && !strings.Contains(s[len(prefix):], "/") {
			return s[len(prefix):]
		}
		return s
	}
	return strings.EqualFold(short(a), short(b))
}

// verify reports whether s.signature is the key's of input.
func (k *Key) verify(sch scheme, s *scratch, input []byte) bool {
	if sch.size > 0 && len(s.signature) != sch.size {
		return false
	}
	if sch.family == familyHMAC {
		mac := k.mac(sch.hash)
		mac.Write(input)
		s.work = mac.Sum(s.work[:0])
		k.macs.Put(mac)
		return subtle.ConstantTimeCompare(s.work, s.signature) == 1
	}
	if p, ok := k.public.(ed25519.PublicKey); ok {
		return ed25519.Verify(p, input, s.signature)
	}
	s.work = sum(s.work[:0], sch.hash, input)
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		size := len(s.work)
		s.work = appendDER(s.work, s.signature)
		return ecdsa.VerifyASN1(p, s.work[:size], s.work[size:])
	case *rsa.PublicKey:
		if len(s.signature) != p.Size() {
			return false
		}
		if sch.family == familyPSS {
			return rsa.VerifyPSS(p, sch.hash, s.work, s.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(p, sch.hash, s.work, s.signature) == nil
	}
	return false
}
