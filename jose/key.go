package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// A Key is one key that was found good: strong enough, well-formed, on its
// curve, and for one algorithm. It does not change, and it prints without its
// secret parts.
type Key struct {
	id  string
	alg Algorithm  // "" where the key does not say: then whoever uses it decides, once
	enc Encryption // the only one that a key for Dir is for, where it says so
	use string     // "", "sig" or "enc"
	ops []string

	// Of these, public is nil for a symmetric key and private for a public one.
	secret  []byte
	public  crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or *ecdh.PublicKey
	private any              // crypto.Signer, or *ecdh.PrivateKey

	direct atomic.Pointer[directContent]
	macs   sync.Pool // of hash.Hash, keyed: building one costs four times a short message
}

// Bounds on keys. Larger RSA keys cost an attacker nothing and us milliseconds.
const (
	minRSA   = 2048
	maxRSA   = 8192
	maxOctet = 1024
	maxID    = 255
	// One of 31 bits makes a verification three times as dear, and no better.
	maxExponent = 1<<16 + 1
)

// GenerateKey makes a fresh key for an algorithm: RSA keys of 3072 bits, HMAC
// keys as long as their hash. Without an id the key gets one: its thumbprint
// (RFC 7638), or a random one where the key is symmetric.
func GenerateKey(alg Algorithm, id string) (*Key, error) {
	var material any
	var err error
	s, signs := alg.scheme()
	switch {
	case signs && s.family == familyHMAC:
		material = random(s.size)
	case signs && s.family == familyECDSA:
		material, err = ecdsa.GenerateKey(s.curve, rand.Reader)
	case signs && s.family == familyEd25519:
		_, material, err = ed25519.GenerateKey(rand.Reader)
	case signs:
		material, err = rsa.GenerateKey(rand.Reader, 3072)
	default:
		material, err = generateManaged(alg)
	}
	if err != nil {
		return nil, err
	}
	if _, symmetric := material.([]byte); symmetric && id == "" {
		id = encode64(random(16))
	}
	return NewKey(alg, id, material)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// NewKey wraps key material of the standard library for one algorithm: []byte,
// *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or *ecdh.PublicKey, the
// private keys to them, or a [crypto.Signer] that keeps its private key to
// itself. Without an id the key gets its thumbprint; a symmetric one stays
// without, since that of a guessable secret would tell whether a guess is right,
// and a random one would be another in each process that has the secret.
func NewKey(alg Algorithm, id string, material any) (*Key, error) {
	if len(id) > maxID || !utf8.ValidString(id) {
		return nil, fmt.Errorf("kid of %d bytes: %w", len(id), ErrBadKey)
	}
	k := &Key{id: id, alg: alg}
	switch m := material.(type) {
	case []byte:
		k.secret = slices.Clone(m)
	case ed25519.PublicKey:
		k.public = slices.Clone(m)
	case ed25519.PrivateKey:
		if len(m) != ed25519.PrivateKeySize {
			return nil, fmt.Errorf("Ed25519 key of %d bytes: %w", len(m), ErrBadKey)
		}
		m = slices.Clone(m)
		k.private, k.public = m, m.Public()
	case *rsa.PublicKey, *ecdsa.PublicKey, *ecdh.PublicKey:
		k.public = m
	case *ecdh.PrivateKey:
		k.private, k.public = m, m.PublicKey()
	case crypto.Signer:
		k.private, k.public = m, m.Public()
	default:
		return nil, fmt.Errorf("key material of type %T: %w", material, ErrBadKey)
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	if err := k.fits(alg); err != nil {
		return nil, err
	}
	if k.id == "" && k.secret == nil {
		k.id = k.Thumbprint()
	}
	return k, nil
}

// ParsePEM reads a key in PEM for one algorithm: "PUBLIC KEY", "PRIVATE KEY",
// "RSA PRIVATE KEY" or "EC PRIVATE KEY". Without an id it stays without: it is
// tried for tokens of every kid.
func ParsePEM(text []byte, alg Algorithm, id string) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("no PEM block: %w", ErrBadKey)
	}
	var material any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		material, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "PRIVATE KEY":
		material, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		material, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		material, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		err = fmt.Errorf("PEM block %q", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrBadKey)
	}
	k, err := NewKey(alg, id, material)
	if err != nil {
		return nil, err
	}
	k.id = id
	return k, nil
}

// named reports whether a token with this kid may be the key's.
func (k *Key) named(kid string) bool { return kid == "" || k.id == "" || k.id == kid }

// check refuses material that no algorithm should use.
func (k *Key) check() error {
	switch p := k.public.(type) {
	case nil:
		if len(k.secret) == 0 || len(k.secret) > maxOctet {
			return fmt.Errorf("symmetric key of %d bytes: %w", len(k.secret), ErrBadKey)
		}
		// Everybody has the public key that was meant.
		if bytes.HasPrefix(bytes.TrimSpace(k.secret), []byte("-----BEGIN ")) {
			return fmt.Errorf("a key in PEM taken for a secret: use ParsePEM: %w", ErrBadKey)
		}
	case *rsa.PublicKey:
		if p == nil || p.N == nil || p.N.BitLen() < minRSA || p.N.BitLen() > maxRSA || p.N.Bit(0) == 0 || p.E < 3 || p.E > maxExponent || p.E&1 == 0 {
			return fmt.Errorf("RSA key not of %d to %d bits with an odd exponent from 3 to %d: %w", minRSA, maxRSA, maxExponent, ErrBadKey)
		}
		if roca(p.N) {
			return fmt.Errorf("RSA key from a generator that is broken (CVE-2017-15361): %w", ErrBadKey)
		}
	case *ecdsa.PublicKey:
		if p == nil || curveName(p.Curve) == "" {
			return fmt.Errorf("EC key not on P-256, P-384 or P-521: %w", ErrBadKey)
		}
		if _, err := p.Bytes(); err != nil {
			return fmt.Errorf("EC key that is no point of its curve: %w", ErrBadKey)
		}
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize || !goodPoint(p) {
			return fmt.Errorf("Ed25519 key that is no point of large order: %w", ErrBadKey)
		}
	case *ecdh.PublicKey:
		if p == nil || p.Curve() != ecdh.X25519() {
			return fmt.Errorf("key for ECDH on another curve than X25519: %w", ErrBadKey)
		}
	default:
		return fmt.Errorf("public key of type %T: %w", p, ErrBadKey)
	}
	return nil
}

// fits reports why the key cannot be used with the algorithm.
func (k *Key) fits(alg Algorithm) error {
	if !k.suits(alg) {
		return fmt.Errorf("key %q is not for %s: %w", k.id, alg, ErrBadKey)
	}
	return nil
}

// suits is fits where nobody asks why: for each key that a forged token is held
// against.
func (k *Key) suits(alg Algorithm) bool {
	s, signs := alg.scheme()
	ok := k.alg == "" || k.alg.same(alg)
	switch {
	case !signs:
		ok = ok && k.manages(alg)
	case s.family == familyHMAC:
		ok = ok && len(k.secret) >= s.size
	case s.family == familyECDSA:
		p, is := k.public.(*ecdsa.PublicKey)
		ok = ok && is && p.Curve == s.curve
	case s.family == familyEd25519:
		_, is := k.public.(ed25519.PublicKey)
		ok = ok && is
	default:
		_, is := k.public.(*rsa.PublicKey)
		ok = ok && is
	}
	other := "sig"
	if signs {
		other = "enc"
	}
	return ok && k.use != other
}

// For returns the key bound to one algorithm. A key that says its own is for no
// other.
func (k *Key) For(alg Algorithm) (*Key, error) {
	if err := k.fits(alg); err != nil {
		return nil, err
	}
	return &Key{id: k.id, alg: alg, enc: k.enc, use: k.use, ops: k.ops, secret: k.secret, public: k.public, private: k.private}, nil
}

// may reports whether the key's key_ops allow an operation (RFC 7517 section
// 4.3).
func (k *Key) may(op string) bool { return k.ops == nil || slices.Contains(k.ops, op) }

// ID returns the key's kid (RFC 7517 section 4.5), which may be empty.
func (k *Key) ID() string { return k.id }

// Algorithm returns the one algorithm that the key is for, or "" where a parsed
// key does not say.
func (k *Key) Algorithm() Algorithm { return k.alg }

// IsPrivate reports whether the key can sign or decrypt.
func (k *Key) IsPrivate() bool { return k.private != nil || k.secret != nil }

// Public returns the key without its private part. A symmetric key has no
// public half: for it Public returns nil.
func (k *Key) Public() *Key {
	if k.public == nil {
		return nil
	}
	ops := k.ops
	if ops != nil {
		ops = nil
		for _, pair := range [][2]string{{"sign", "verify"}, {"verify", "verify"}, {"decrypt", "encrypt"}, {"unwrapKey", "wrapKey"}} {
			if slices.Contains(k.ops, pair[0]) && !slices.Contains(ops, pair[1]) {
				ops = append(ops, pair[1])
			}
		}
	}
	return &Key{id: k.id, alg: k.alg, use: k.use, ops: ops, public: k.public}
}

// String names the key; it shows nothing secret.
func (k *Key) String() string { return fmt.Sprintf("%s key %q", k.alg, k.id) }

// GoString is String, so that %#v shows nothing secret.
func (k *Key) GoString() string { return k.String() }

// LogValue is String.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// mac returns a keyed hash from the pool; put it back when done.
func (k *Key) mac(h crypto.Hash) hash.Hash {
	if m, ok := k.macs.Get().(hash.Hash); ok && m.Size() == h.Size() {
		m.Reset()
		return m
	}
	return hmac.New(h.New, k.secret)
}

func curveName(c elliptic.Curve) string {
	switch c {
	case elliptic.P256():
		return "P-256"
	case elliptic.P384():
		return "P-384"
	case elliptic.P521():
		return "P-521"
	}
	return ""
}

// goodPoint reports whether an Ed25519 public key is neither a point of small
// order, for which a signature can be made up without any private key, nor a
// second spelling of one (RFC 8032 section 5.1.3). crypto/ed25519 takes both.
func goodPoint(p ed25519.PublicKey) bool {
	y := slices.Clone(p)
	y[31] &= 0x7f
	slices.Reverse(y)
	n := new(big.Int).SetBytes(y)
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	if n.Cmp(prime) >= 0 {
		return false
	}
	// The y of the eight points whose order divides 8.
	minusOne := new(big.Int).Sub(prime, big.NewInt(1))
	eighth, _ := new(big.Int).SetString("2707385501144840649318225287225658788936804267575313519463743609750303402022", 10)
	for _, small := range []*big.Int{new(big.Int), big.NewInt(1), minusOne, eighth, new(big.Int).Sub(prime, eighth)} {
		if n.Cmp(small) == 0 {
			return false
		}
	}
	return true
}

// roca reports whether a modulus bears the fingerprint of the keys that
// Infineon's library made: modulo each small prime it is a power of 65537
// (Nemec et al., The Return of Coppersmith's Attack, CCS 2017).
func roca(n *big.Int) bool {
	for _, p := range []int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157} {
		rest := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		power := int64(1)
		for power != rest {
			if power = power * (65537 % p) % p; power == 1 {
				break
			}
		}
		if power != rest {
			return false
		}
	}
	return true
}

var errNotSigner = errors.New("the key cannot sign")
