package jose

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/admit-auth/admit"
)

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// maxJWK bounds the text of one key, and maxKeys how many are in a set.
const (
	maxJWK  = 32 << 10
	maxSet  = 1 << 20
	maxKeys = 256
)

// ParseKey reads a JWK (RFC 7517), public, private or symmetric. Its members
// are read as strictly as a token's; x5c, x5t and x5u are passed over: nothing
// is fetched, and a certificate in a key vouches for nothing.
func ParseKey(jwk []byte) (*Key, error) {
	if len(jwk) > maxJWK {
		return nil, fmt.Errorf("JWK of %d bytes: %w", len(jwk), ErrBadKey)
	}
	k, err := parseKey(string(jwk), false)
	if err != nil {
		return nil, fmt.Errorf("JWK: %w: %w", err, ErrBadKey)
	}
	return k, nil
}

// ParsePublicKey reads a JWK that a stranger has sent: a symmetric or private
// one is refused before any work, for whether the parts of a private RSA key
// fit takes a fifth of a second to find out.
func ParsePublicKey(jwk []byte) (*Key, error) {
	if len(jwk) > maxJWK {
		return nil, fmt.Errorf("JWK of %d bytes: %w", len(jwk), ErrBadKey)
	}
	k, err := parseKey(string(jwk), true)
	if err != nil {
		return nil, fmt.Errorf("JWK: %w: %w", err, ErrBadKey)
	}
	return k, nil
}

// members are those of a JWK, as they stand in the text.
type members map[string]string

func parseKey(text string, public bool) (*Key, error) {
	var o object
	if err := o.open(text); err != nil {
		return nil, err
	}
	m := members{}
	for {
		name, value, ok, err := o.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		switch m[name] = value; name {
		case "d", "k", "p", "q", "dp", "dq", "qi", "oth": // of RSA each alone gives the rest away
			if public {
				return nil, errors.New("a key that is not public")
			}
		}
	}
	k := &Key{}
	var kty, alg string
	for _, member := range [...]struct {
		name string
		to   *string
	}{{"kty", &kty}, {"kid", &k.id}, {"alg", &alg}, {"use", &k.use}} {
		if raw, ok := m[member.name]; ok {
			if *member.to, ok = stringValue(raw); !ok {
				return nil, fmt.Errorf("%s is no string", member.name)
			}
		}
	}
	if raw, ok := m["key_ops"]; ok {
		if k.ops, ok = stringsValue([]string{}, raw); !ok {
			return nil, errors.New("key_ops is no array of strings")
		}
		if len(slices.Compact(slices.Sorted(slices.Values(k.ops)))) != len(k.ops) {
			return nil, errors.New("key_ops names an operation twice")
		}
	}
	if k.use != "" && k.use != "sig" && k.use != "enc" {
		return nil, errors.New("use is neither sig nor enc")
	}
	k.alg = Algorithm(alg)
	if enc := Encryption(alg); enc.size() > 0 {
		k.alg, k.enc = Dir, enc // a key for one encryption is used directly (RFC 7520 section 3.6)
	}
	var err error
	switch kty {
	case "oct":
		k.secret, err = m.bytes("k", 0)
	case "RSA":
		err = m.rsa(k)
	case "EC":
		err = m.ec(k)
	case "OKP":
		err = m.okp(k)
	default:
		err = fmt.Errorf("kty %q", kty)
	}
	if err != nil {
		return nil, err
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	if k.alg != "" {
		if err := k.fits(k.alg); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// bytes returns what a member encodes; its length must be size, if that is not
// 0.
func (m members) bytes(name string, size int) ([]byte, error) {
	text, ok := stringValue(m[name])
	if !ok {
		return nil, fmt.Errorf("%s is no string", name)
	}
	b, ok := decode64(nil, []byte(text))
	if !ok || len(b) == 0 || size > 0 && len(b) != size {
		return nil, fmt.Errorf("%s is malformed", name)
	}
	return b, nil
}

// integer returns a Base64urlUInt (RFC 7518 section 2), which has no leading
// zeros.
func (m members) integer(name string) (*big.Int, error) {
	b, err := m.bytes(name, 0)
	if err != nil {
		return nil, err
	}
	if b[0] == 0 || len(b) > maxRSA/8 {
		return nil, fmt.Errorf("%s is malformed", name)
	}
	return new(big.Int).SetBytes(b), nil
}

func (m members) rsa(k *Key) error {
	n, err := m.integer("n")
	if err != nil {
		return err
	}
	e, err := m.integer("e")
	if err != nil {
		return err
	}
	if !e.IsInt64() || e.Int64() > maxExponent {
		return errors.New("e is too large")
	}
	public := rsa.PublicKey{N: n, E: int(e.Int64())}
	k.public = &public
	if _, private := m["d"]; !private {
		return nil
	}
	if err := k.check(); err != nil {
		return err
	}
	if _, more := m["oth"]; more {
		return errors.New("more than two primes")
	}
	var parts [6]*big.Int
	for i, name := range []string{"d", "p", "q", "dp", "dq", "qi"} {
		if parts[i], err = m.integer(name); err != nil {
			return err
		}
	}
	key := &rsa.PrivateKey{PublicKey: public, D: parts[0], Primes: parts[1:3]}
	key.Precompute()
	if err := key.Validate(); err != nil {
		return errors.New("the private part does not fit")
	}
	if key.Precomputed.Dp.Cmp(parts[3]) != 0 || key.Precomputed.Dq.Cmp(parts[4]) != 0 || key.Precomputed.Qinv.Cmp(parts[5]) != 0 {
		return errors.New("the parts of the private key do not fit each other")
	}
	k.private, k.public = key, &key.PublicKey
	return nil
}

func (m members) ec(k *Key) error {
	crv, _ := stringValue(m["crv"])
	var curve elliptic.Curve
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		if curveName(c) == crv {
			curve = c
		}
	}
	if curve == nil {
		return fmt.Errorf("crv %q", crv)
	}
	size := (curve.Params().BitSize + 7) / 8
	x, err := m.bytes("x", size)
	if err != nil {
		return err
	}
	y, err := m.bytes("y", size)
	if err != nil {
		return err
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return errors.New("the point is not on the curve")
	}
	k.public = public
	if _, private := m["d"]; !private {
		return nil
	}
	d, err := m.bytes("d", size)
	if err != nil {
		return err
	}
	key, err := ecdsa.ParseRawPrivateKey(curve, d)
	if err != nil || !key.PublicKey.Equal(public) {
		return errors.New("the private part does not fit")
	}
	k.private = key
	return nil
}

func (m members) okp(k *Key) error {
	crv, _ := stringValue(m["crv"])
	if crv != "Ed25519" && crv != "X25519" {
		return fmt.Errorf("crv %q", crv)
	}
	x, err := m.bytes("x", 32)
	if err != nil {
		return err
	}
	var d []byte
	if _, private := m["d"]; private {
		if d, err = m.bytes("d", 32); err != nil {
			return err
		}
	}
	if crv == "Ed25519" {
		k.public = ed25519.PublicKey(x)
		if d != nil {
			key := ed25519.NewKeyFromSeed(d)
			if !bytes.Equal(key[32:], x) {
				return errors.New("the private part does not fit")
			}
			k.private = key
		}
		return nil
	}
	public, err := ecdh.X25519().NewPublicKey(x)
	if err != nil {
		return err
	}
	k.public = public
	if d != nil {
		key, err := ecdh.X25519().NewPrivateKey(d)
		if err != nil || !key.PublicKey().Equal(public) {
			return errors.New("the private part does not fit")
		}
		k.private = key
	}
	return nil
}

// MarshalJSON returns the public JWK. A symmetric key has none: it is an error,
// so that a secret is never published by mistake.
func (k *Key) MarshalJSON() ([]byte, error) {
	if k.public == nil {
		return nil, fmt.Errorf("a symmetric key is not published: %w", ErrBadKey)
	}
	return k.Public().appendJWK(nil, false), nil
}

// Reveal returns the whole JWK as one line of JSON, private parts included.
// Every call is a place to review. A key that lies in a [crypto.Signer] of
// somebody else's cannot be revealed.
func (k *Key) Reveal() (admit.Secret, error) {
	switch p := k.private.(type) {
	case *rsa.PrivateKey:
		if len(p.Primes) != 2 || p.Precomputed.Qinv == nil {
			return admit.Secret{}, fmt.Errorf("an RSA key of other than two primes, or not precomputed: %w", ErrBadKey)
		}
		return admit.NewSecret(string(k.appendJWK(nil, false))), nil
	case nil, *ecdsa.PrivateKey, ed25519.PrivateKey, *ecdh.PrivateKey:
		return admit.NewSecret(string(k.appendJWK(nil, false))), nil
	}
	return admit.Secret{}, fmt.Errorf("a private key that lies elsewhere: %w", ErrBadKey)
}

// Thumbprint returns the key's SHA-256 thumbprint (RFC 7638). That of a
// symmetric key tells who knows it whether a guess is right: do not publish it.
func (k *Key) Thumbprint() string {
	var room [256]byte
	b := room[:0]
	switch p := k.public.(type) {
	case *ecdsa.PublicKey: // of each DPoP proof; this is a third of appendJWK's cost
		point, _ := p.Bytes()
		half := len(point) / 2
		b = append(append(b, `{"crv":"`...), curveName(p.Curve)...)
		b = append(b, `","kty":"EC","x":"`...)
		b = base64.RawURLEncoding.AppendEncode(b, point[1:1+half])
		b = append(b, `","y":"`...)
		b = base64.RawURLEncoding.AppendEncode(b, point[1+half:])
		b = append(b, `"}`...)
	default:
		b = k.appendJWK(b, true)
	}
	sum := sha256.Sum256(b)
	return encode64(sum[:])
}

// appendJWK appends the key as JSON, its members in the order of their names,
// as thumbprints want them. Bare is the thumbprint's form: public, with nothing
// but the required members.
func (k *Key) appendJWK(b []byte, bare bool) []byte {
	type member struct{ name, value string }
	var all []member
	add := func(name, value string) {
		if value != "" {
			all = append(all, member{name, value})
		}
	}
	private := func(name string, value []byte) {
		if !bare {
			add(name, encode64(value))
		}
	}
	switch p := k.public.(type) {
	case nil:
		add("kty", "oct")
		add("k", encode64(k.secret))
	case *rsa.PublicKey:
		add("kty", "RSA")
		add("n", encode64(p.N.Bytes()))
		add("e", encode64(big.NewInt(int64(p.E)).Bytes()))
		if d, ok := k.private.(*rsa.PrivateKey); ok {
			private("d", d.D.Bytes())
			private("p", d.Primes[0].Bytes())
			private("q", d.Primes[1].Bytes())
			private("dp", d.Precomputed.Dp.Bytes())
			private("dq", d.Precomputed.Dq.Bytes())
			private("qi", d.Precomputed.Qinv.Bytes())
		}
	case *ecdsa.PublicKey:
		add("kty", "EC")
		add("crv", curveName(p.Curve))
		point, _ := p.Bytes() // which check has found good
		half := len(point) / 2
		add("x", encode64(point[1:1+half]))
		add("y", encode64(point[1+half:]))
		if d, ok := k.private.(*ecdsa.PrivateKey); ok {
			scalar, _ := d.Bytes()
			private("d", scalar)
		}
	case ed25519.PublicKey:
		add("kty", "OKP")
		add("crv", "Ed25519")
		add("x", encode64(p))
		if d, ok := k.private.(ed25519.PrivateKey); ok {
			private("d", d.Seed())
		}
	case *ecdh.PublicKey:
		add("kty", "OKP")
		add("crv", "X25519")
		add("x", encode64(p.Bytes()))
		if d, ok := k.private.(*ecdh.PrivateKey); ok {
			private("d", d.Bytes())
		}
	}
	if !bare {
		if k.enc != "" {
			add("alg", string(k.enc))
		} else {
			add("alg", string(k.alg))
		}
		add("kid", k.id)
		use := k.use
		if use == "" && k.alg != "" {
			use = "enc"
			if _, signs := k.alg.scheme(); signs {
				use = "sig"
			}
		}
		add("use", use)
	}
	slices.SortFunc(all, func(a, b member) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	b = append(b, '{')
	for i, m := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b, _ = appendString(b, m.name)
		b = append(b, ':')
		b, _ = appendString(b, m.value) // UTF-8, for it was parsed or is base64
	}
	if !bare && k.ops != nil {
		b = append(b, `,"key_ops":[`...)
		for i, op := range k.ops {
			if i > 0 {
				b = append(b, ',')
			}
			b, _ = appendString(b, op)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// A KeySet is a JWK set (RFC 7517 section 5).
type KeySet struct{ keys []*Key }

// NewKeySet returns the set of these keys.
func NewKeySet(keys ...*Key) *KeySet { return &KeySet{slices.Clone(keys)} }

// ParseKeySet reads a JWK set, or a single JWK. Of a set, keys that are not
// understood, malformed or too weak are left out, as section 5 asks: one bad
// key must not take the others away. They are in ignored, each with its reason.
func ParseKeySet(text []byte) (set *KeySet, ignored []error, err error) {
	return parseKeySet(text, ParseKey)
}

func parseKeySet(text []byte, parse func([]byte) (*Key, error)) (set *KeySet, ignored []error, err error) {
	if len(text) > maxSet {
		return nil, nil, fmt.Errorf("JWK set of %d bytes: %w", len(text), ErrBadKey)
	}
	var o object
	if err := o.open(string(text)); err != nil {
		return nil, nil, fmt.Errorf("JWK set: %w: %w", err, ErrBadKey)
	}
	list, found := "", false
	for {
		name, value, ok, err := o.next()
		if err != nil {
			return nil, nil, fmt.Errorf("JWK set: %w: %w", err, ErrBadKey)
		}
		if !ok {
			break
		}
		if name == "keys" {
			list, found = value, true
		}
	}
	if !found {
		k, err := parse(text)
		if err != nil {
			return nil, nil, err
		}
		return NewKeySet(k), nil, nil
	}
	each := object{s: list}
	if !each.take('[') {
		return nil, nil, fmt.Errorf("keys is no array: %w", ErrBadKey)
	}
	set = &KeySet{}
	for n := 0; ; n++ {
		each.space()
		if each.take(']') {
			return set, ignored, nil
		}
		if n == maxKeys {
			return nil, nil, fmt.Errorf("more than %d keys: %w", maxKeys, ErrBadKey)
		}
		each.take(',')
		each.space()
		from := each.i
		each.skip(0) // which the reader of the whole has done before
		if k, err := parse([]byte(list[from:each.i])); err != nil {
			ignored = append(ignored, err)
		} else {
			set.keys = append(set.keys, k)
		}
	}
}

// Keys returns the keys of the set.
func (s *KeySet) Keys() []*Key { return slices.Clone(s.keys) }

// MarshalJSON returns the set's public keys, ready to be published. A symmetric
// key in it is an error.
func (s *KeySet) MarshalJSON() ([]byte, error) {
	b := []byte(`{"keys":[`)
	for i, k := range s.keys {
		if k.public == nil {
			return nil, fmt.Errorf("a symmetric key is not published: %w", ErrBadKey)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = k.Public().appendJWK(b, false)
	}
	return append(b, "]}"...), nil
}
