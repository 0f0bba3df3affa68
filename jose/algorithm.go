package jose

import (
	"crypto"
	"crypto/elliptic"

	// The hashes that algorithms name.
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// An Algorithm is a value of the header parameter alg (RFC 7518 sections 3.1
// and 4.1, RFC 8037, RFC 9864): how a token is signed, or how the key of an
// encrypted one is managed.
type Algorithm string

// Algorithms for signatures and MACs. There is no "none".
const (
	HS256 Algorithm = "HS256"
	HS384 Algorithm = "HS384"
	HS512 Algorithm = "HS512"
	RS256 Algorithm = "RS256"
	RS384 Algorithm = "RS384"
	RS512 Algorithm = "RS512"
	PS256 Algorithm = "PS256"
	PS384 Algorithm = "PS384"
	PS512 Algorithm = "PS512"
	ES256 Algorithm = "ES256"
	ES384 Algorithm = "ES384"
	ES512 Algorithm = "ES512"
	// EdDSA and Ed25519 are two names of one algorithm: RFC 8037's and the
	// fully-specified one of RFC 9864. Ed448 is not offered. A verifier that is
	// told one of them takes both.
	EdDSA   Algorithm = "EdDSA"
	Ed25519 Algorithm = "Ed25519"
)

// A scheme is what an algorithm for signatures does.
type scheme struct {
	family family
	hash   crypto.Hash
	curve  elliptic.Curve // of ECDSA
	size   int            // of the signature in bytes; of RSA it is that of the key
}

type family byte

const (
	familyHMAC family = iota + 1
	familyPKCS1
	familyPSS
	familyECDSA
	familyEd25519
)

// scheme returns what a does, and false where a is not for signatures.
func (a Algorithm) scheme() (scheme, bool) {
	switch a {
	case HS256:
		return scheme{family: familyHMAC, hash: crypto.SHA256, size: 32}, true
	case HS384:
		return scheme{family: familyHMAC, hash: crypto.SHA384, size: 48}, true
	case HS512:
		return scheme{family: familyHMAC, hash: crypto.SHA512, size: 64}, true
	case RS256:
		return scheme{family: familyPKCS1, hash: crypto.SHA256}, true
	case RS384:
		return scheme{family: familyPKCS1, hash: crypto.SHA384}, true
	case RS512:
		return scheme{family: familyPKCS1, hash: crypto.SHA512}, true
	case PS256:
		return scheme{family: familyPSS, hash: crypto.SHA256}, true
	case PS384:
		return scheme{family: familyPSS, hash: crypto.SHA384}, true
	case PS512:
		return scheme{family: familyPSS, hash: crypto.SHA512}, true
	case ES256:
		return scheme{family: familyECDSA, hash: crypto.SHA256, curve: elliptic.P256(), size: 64}, true
	case ES384:
		return scheme{family: familyECDSA, hash: crypto.SHA384, curve: elliptic.P384(), size: 96}, true
	case ES512:
		return scheme{family: familyECDSA, hash: crypto.SHA512, curve: elliptic.P521(), size: 132}, true
	case EdDSA, Ed25519:
		return scheme{family: familyEd25519, size: 64}, true
	}
	return scheme{}, false
}

// same reports whether two names mean one algorithm.
func (a Algorithm) same(b Algorithm) bool {
	return a == b || a == EdDSA && b == Ed25519 || a == Ed25519 && b == EdDSA
}
