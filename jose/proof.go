package jose

import (
	"errors"
	"fmt"
	"slices"
)

// NewProofSigner returns a Signer of JWTs that bring the key along that they
// are signed with, in the header parameter jwk (RFC 7515 section 4.1.3): they
// prove that whoever sends them has that key. DPoP proofs (RFC 9449) are such.
// They need no exp. Most programs use package dpop.
func NewProofSigner[D any](key *Key, typ string) (*Signer[D], error) {
	if key.public == nil {
		return nil, fmt.Errorf("%v: a symmetric key proves nothing to who has not got it: %w", key, ErrBadKey)
	}
	s, err := NewSigner[D](key, typ, &SignerOptions{InsecureNoExpiry: true})
	if err != nil {
		return nil, err
	}
	h := Header{Algorithm: key.alg, Type: typ}
	s.signing.header = encodeHeader(h.appendJSON(nil, `,"jwk":`+string(key.appendJWK(nil, true))))
	return s, nil
}

// A ProofVerifier checks JWTs that bring their key along, as [NewProofSigner]
// makes them. Such a token says of its sender that he has the key, and nothing
// more: anybody makes one. Whoever asks knows which key it must be. Most
// programs use package dpop.
type ProofVerifier[D any] struct {
	opener *opener
	plan   *plan
}

// NewProofVerifier returns a ProofVerifier of one type of token. Algorithms
// with a secret that both sides know are refused.
func NewProofVerifier[D any](algorithms []Algorithm, typ string, maxLength int) (*ProofVerifier[D], error) {
	switch {
	case typ == "":
		return nil, errors.New("jose: a type is required")
	case maxLength < 0:
		return nil, errors.New("jose: a bound is negative")
	case slices.ContainsFunc(algorithms, symmetric):
		return nil, errors.New("jose: a proof needs a key of two halves")
	}
	o, err := newOpener(&KeySet{}, algorithms, typ, maxLength)
	if err != nil {
		return nil, err
	}
	p, err := planFor[D]()
	if err != nil {
		return nil, err
	}
	return &ProofVerifier[D]{o, p}, nil
}

func symmetric(a Algorithm) bool {
	s, _ := a.scheme()
	return s.family == familyHMAC
}

// Verify returns the claims of a token and the public key that it was signed
// with. What is behind kid, jku, x5u and x5c in its header is not looked at. The
// dates of its claims are for the caller to judge: none is required.
func (v *ProofVerifier[D]) Verify(token string) (Claims[D], *Key, error) {
	if len(token) > v.opener.maxLength {
		return Claims[D]{}, nil, ErrTooLong
	}
	s := v.opener.scratch(token)
	defer v.opener.pool.Put(s)
	k, h, err := v.opener.openProof(s)
	if err != nil {
		return Claims[D]{}, nil, err
	}
	c := Claims[D]{Header: h}
	if err := c.parse(string(s.payload), v.plan); err != nil {
		return Claims[D]{}, nil, err
	}
	return c, k, nil
}

// openProof verifies s.token with the key in its own header and leaves its
// payload in s.payload.
func (o *opener) openProof(s *scratch) (*Key, Header, error) {
	first, second, err := dots(s.token)
	if err != nil {
		return nil, Header{}, err
	}
	ok := false
	if s.signature, ok = decode64(s.signature[:0], s.token[second+1:]); !ok {
		return nil, Header{}, ErrMalformed
	}
	h, jwk, err := o.header(s, s.token[:first])
	if err != nil {
		return nil, Header{}, err
	}
	if jwk == "" {
		return nil, Header{}, fmt.Errorf("header without jwk: %w", ErrKey)
	}
	k, err := parseKey(jwk, true)
	if err != nil {
		return nil, Header{}, fmt.Errorf("header jwk: %w: %w", err, ErrKey)
	}
	if !k.suits(h.Algorithm) || !k.may("verify") {
		return nil, Header{}, fmt.Errorf("header jwk is not for %s: %w", h.Algorithm, ErrKey)
	}
	scheme, _ := h.Algorithm.scheme()
	if !k.verify(scheme, s, s.token[:second]) {
		return nil, Header{}, ErrSignature
	}
	return k, h, s.open(first, second)
}
