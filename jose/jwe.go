package jose

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
)

// Algorithms for the key of an encrypted token (RFC 7518 section 4.1). There
// is no RSA1_5: its padding is an oracle (RFC 8725 section 3.2).
const (
	Dir          Algorithm = "dir"
	A128KW       Algorithm = "A128KW"
	A192KW       Algorithm = "A192KW"
	A256KW       Algorithm = "A256KW"
	A128GCMKW    Algorithm = "A128GCMKW"
	A192GCMKW    Algorithm = "A192GCMKW"
	A256GCMKW    Algorithm = "A256GCMKW"
	RSAOAEP      Algorithm = "RSA-OAEP"
	RSAOAEP256   Algorithm = "RSA-OAEP-256"
	ECDHES       Algorithm = "ECDH-ES"
	ECDHESA128KW Algorithm = "ECDH-ES+A128KW"
	ECDHESA192KW Algorithm = "ECDH-ES+A192KW"
	ECDHESA256KW Algorithm = "ECDH-ES+A256KW"
	// The key of these is a password. Anyone can send a token that takes long
	// to try: accept them only from who may cost you that.
	PBES2HS256A128KW Algorithm = "PBES2-HS256+A128KW"
	PBES2HS384A192KW Algorithm = "PBES2-HS384+A192KW"
	PBES2HS512A256KW Algorithm = "PBES2-HS512+A256KW"
)

// An Encryption is a value of the header parameter enc (RFC 7518 section 5.1).
type Encryption string

// Algorithms for the content of an encrypted token.
const (
	A128GCM      Encryption = "A128GCM"
	A192GCM      Encryption = "A192GCM"
	A256GCM      Encryption = "A256GCM"
	A128CBCHS256 Encryption = "A128CBC-HS256"
	A192CBCHS384 Encryption = "A192CBC-HS384"
	A256CBCHS512 Encryption = "A256CBC-HS512"
)

// A managing is what an algorithm for keys does.
type managing struct {
	kind kind
	size int // of the key that wraps the content's key, 0 where none does
	hash func() hash.Hash
}

type kind byte

const (
	kindDirect kind = iota + 1
	kindWrap
	kindGCMWrap
	kindOAEP
	kindAgree
	kindPassword
)

func (a Algorithm) managing() (managing, bool) {
	switch a {
	case Dir:
		return managing{kind: kindDirect}, true
	case A128KW:
		return managing{kind: kindWrap, size: 16}, true
	case A192KW:
		return managing{kind: kindWrap, size: 24}, true
	case A256KW:
		return managing{kind: kindWrap, size: 32}, true
	case A128GCMKW:
		return managing{kind: kindGCMWrap, size: 16}, true
	case A192GCMKW:
		return managing{kind: kindGCMWrap, size: 24}, true
	case A256GCMKW:
		return managing{kind: kindGCMWrap, size: 32}, true
	case RSAOAEP:
		return managing{kind: kindOAEP, hash: sha1.New}, true
	case RSAOAEP256:
		return managing{kind: kindOAEP, hash: sha256.New}, true
	case ECDHES:
		return managing{kind: kindAgree}, true
	case ECDHESA128KW:
		return managing{kind: kindAgree, size: 16}, true
	case ECDHESA192KW:
		return managing{kind: kindAgree, size: 24}, true
	case ECDHESA256KW:
		return managing{kind: kindAgree, size: 32}, true
	case PBES2HS256A128KW:
		return managing{kind: kindPassword, size: 16, hash: sha256.New}, true
	case PBES2HS384A192KW:
		return managing{kind: kindPassword, size: 24, hash: sha512.New384}, true
	case PBES2HS512A256KW:
		return managing{kind: kindPassword, size: 32, hash: sha512.New}, true
	}
	return managing{}, false
}

// generateManaged makes key material for an algorithm that manages keys.
func generateManaged(alg Algorithm) (any, error) {
	m, ok := alg.managing()
	switch {
	case !ok || m.kind == kindPassword || m.kind == kindDirect:
		return nil, fmt.Errorf("no key is generated for %q: %w", alg, ErrBadKey)
	case m.kind == kindOAEP:
		return rsa.GenerateKey(rand.Reader, 3072)
	case m.kind == kindAgree:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return random(m.size), nil
}

// manages reports whether the key is of the kind that an algorithm needs.
func (k *Key) manages(alg Algorithm) bool {
	m, ok := alg.managing()
	switch {
	case !ok:
		return false
	case m.kind == kindOAEP:
		_, ok = k.public.(*rsa.PublicKey)
	case m.kind == kindAgree:
		_, ok = agreed(k.public)
	case m.kind == kindDirect || m.kind == kindPassword:
		ok = k.secret != nil
	default:
		ok = len(k.secret) == m.size
	}
	return ok
}

// agreed returns a public key for key agreement.
func agreed(public any) (*ecdh.PublicKey, bool) {
	switch p := public.(type) {
	case *ecdh.PublicKey:
		return p, true
	case *ecdsa.PublicKey:
		e, err := p.ECDH()
		return e, err == nil
	}
	return nil, false
}

// Bounds on what a header may ask of PBES2.
const (
	minIterations = 1000
	maxIterations = 1_000_000
	// usedIterations follow OWASP's advice for PBKDF2 with SHA-256.
	usedIterations = 600_000
	minSalt        = 8
	maxSalt        = 1024
)

// Encrypt returns the compact JWE (RFC 7516 section 7.1) of a plaintext. The
// algorithm and the kid are the key's, whatever h says; "cty" is "JWT" where
// the plaintext is a token itself: sign first, then encrypt.
func Encrypt(key *Key, enc Encryption, h Header, plaintext []byte) (string, error) {
	m, ok := key.alg.managing()
	size := enc.size()
	if !ok || size == 0 || key.enc != "" && key.enc != enc {
		return "", fmt.Errorf("encrypt with %q and %q: %w", key.alg, enc, ErrBadKey)
	}
	if !key.may("encrypt") && !key.may("wrapKey") && !key.may("deriveKey") && !key.may("deriveBits") {
		return "", fmt.Errorf("%v: its key_ops do not let it encrypt: %w", key, ErrBadKey)
	}
	h.Algorithm, h.KeyID = key.alg, key.id
	if !h.valid() {
		return "", errHeader
	}
	cek, wrapped, more, err := key.wrap(m, enc, size)
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	header, _ := appendString([]byte(`,"enc":`), string(enc))
	header = h.appendJSON(nil, string(header)+more)
	c, err := key.content(m, enc, cek)
	if err != nil {
		return "", err
	}
	e := base64.RawURLEncoding
	b := make([]byte, 0, e.EncodedLen(len(header)+len(wrapped)+len(plaintext)+128)+8)
	b = e.AppendEncode(b, header)
	aad := b
	b = e.AppendEncode(append(b, '.'), wrapped)
	iv := random(c.ivSize())
	b = e.AppendEncode(append(b, '.'), iv)
	sealed := c.seal(make([]byte, 0, len(plaintext)+64), iv, plaintext, aad)
	tag := sealed[len(sealed)-c.tagSize():]
	b = e.AppendEncode(append(b, '.'), sealed[:len(sealed)-len(tag)])
	return string(e.AppendEncode(append(b, '.'), tag)), nil
}

// wrap makes the content's key and what the token says of it. More are header
// members, each with a comma before it.
func (k *Key) wrap(m managing, enc Encryption, size int) (cek, wrapped []byte, more string, err error) {
	quoted := func(name string, value []byte) string { return `,"` + name + `":"` + encode64(value) + `"` }
	switch m.kind {
	case kindDirect:
		if len(k.secret) != size {
			return nil, nil, "", fmt.Errorf("key of %d bytes for %s: %w", len(k.secret), enc, ErrBadKey)
		}
		return k.secret, nil, "", nil
	case kindAgree:
		ours, epk, err := k.ephemeral()
		if err != nil {
			return nil, nil, "", err
		}
		theirs, _ := agreed(k.public)
		shared, err := ours.ECDH(theirs)
		if err != nil {
			return nil, nil, "", err
		}
		more = `,"epk":` + string(epk.appendJWK(nil, true))
		kek := concatKDF(shared, k.alg, enc, m.size, size, nil, nil)
		if m.size == 0 {
			return kek, nil, more, nil
		}
		cek = random(size)
		wrapped, err = wrapAES(kek, cek)
		return cek, wrapped, more, err
	}
	cek = random(size)
	switch m.kind {
	case kindWrap:
		wrapped, err = wrapAES(k.secret, cek)
	case kindGCMWrap:
		iv := random(12)
		var gcm cipher.AEAD
		if gcm, err = newGCM(k.secret); err == nil {
			sealed := gcm.Seal(nil, iv, cek, nil)
			wrapped, more = sealed[:size], quoted("iv", iv)+quoted("tag", sealed[size:])
		}
	case kindOAEP:
		wrapped, err = rsa.EncryptOAEP(m.hash(), rand.Reader, k.public.(*rsa.PublicKey), cek, nil)
	case kindPassword:
		salt := random(16)
		var kek []byte
		if kek, err = passwordKey(m, k.alg, k.secret, salt, usedIterations); err == nil {
			wrapped, err = wrapAES(kek, cek)
			more = quoted("p2s", salt) + `,"p2c":` + strconv.Itoa(usedIterations)
		}
	}
	return cek, wrapped, more, err
}

// A Decrypter opens tokens that were encrypted for one of its keys.
type Decrypter struct {
	keys KeySource
	algs []Algorithm
	encs []Encryption
	o    DecrypterOptions
}

// DecrypterOptions are the rare choices of a [Decrypter].
type DecrypterOptions struct {
	// MaxLength bounds a token in bytes, before any work: 64 KiB unless set.
	MaxLength int
	// MaxIterations bounds what PBES2 costs: 600,000 unless set, at most
	// 1,000,000, about a third of a second.
	MaxIterations int
}

// NewDecrypter returns a Decrypter that accepts these algorithms alone.
func NewDecrypter(keys KeySource, algorithms []Algorithm, encryptions []Encryption, o *DecrypterOptions) (*Decrypter, error) {
	d := &Decrypter{keys: keys, algs: slices.Clone(algorithms), encs: slices.Clone(encryptions)}
	if o != nil {
		d.o = *o
	}
	if d.o.MaxLength == 0 {
		d.o.MaxLength = 64 << 10
	}
	if d.o.MaxIterations == 0 {
		d.o.MaxIterations = usedIterations
	}
	if keys == nil || len(algorithms) == 0 || len(encryptions) == 0 {
		return nil, errors.New("jose: keys, algorithms and encryptions are required")
	}
	if d.o.MaxLength < 0 || d.o.MaxIterations < minIterations || d.o.MaxIterations > maxIterations {
		return nil, errors.New("jose: a bound that is out of range")
	}
	for _, a := range algorithms {
		if _, ok := a.managing(); !ok {
			return nil, fmt.Errorf("jose: %q is no algorithm for keys", a)
		}
	}
	for _, e := range encryptions {
		if e.size() == 0 {
			return nil, fmt.Errorf("jose: %q is no encryption", e)
		}
	}
	return d, nil
}

// Decrypt returns the plaintext of a compact JWE, and its header. Encryption
// with a public key proves nothing about who sent it: what is inside is signed
// where that matters, and is verified next.
func (d *Decrypter) Decrypt(ctx context.Context, token string) ([]byte, Header, error) {
	if len(token) > d.o.MaxLength {
		return nil, Header{}, ErrTooLong
	}
	// All parts are decoded into one buffer, so that text and tag follow each
	// other as ciphers want them.
	whole := []byte(token)
	buf := make([]byte, 0, len(token))
	var parts [5][]byte
	var aad []byte
	for i, rest := 0, whole; i < len(parts); i++ {
		end := bytes.IndexByte(rest, '.')
		last := i == len(parts)-1
		if last != (end < 0) {
			return nil, Header{}, ErrMalformed
		}
		if last {
			end = len(rest)
		}
		if i == 0 {
			aad = rest[:end]
		}
		from, ok := len(buf), false
		if buf, ok = decode64(buf, rest[:end]); !ok {
			return nil, Header{}, ErrMalformed
		}
		parts[i] = buf[from:]
		if !last {
			rest = rest[end+1:]
		}
	}
	sealed := buf[len(buf)-len(parts[3])-len(parts[4]):]
	h, err := parseJWEHeader(string(parts[0]))
	if err != nil {
		return nil, Header{}, err
	}
	m, ok := h.Algorithm.managing()
	if !ok || !slices.Contains(d.algs, h.Algorithm) || !slices.Contains(d.encs, h.enc) {
		return nil, Header{}, ErrAlgorithm
	}
	keys, err := d.find(ctx, &h)
	if err != nil {
		return nil, Header{}, err
	}
	for i, k := range keys {
		text := sealed
		if i < len(keys)-1 {
			text = slices.Clone(sealed) // a failed try leaves nothing of it
		}
		if plaintext, ok := d.try(k, m, &h, aad, parts[1], parts[2], text, len(parts[4])); ok {
			return plaintext, h.Header, nil
		}
		if m.kind == kindPassword {
			break // one password: each try costs as much as the header asks for
		}
	}
	return nil, Header{}, ErrDecrypt
}

func (d *Decrypter) find(ctx context.Context, h *jweHeader) ([]*Key, error) {
	look := func(kid string) ([]*Key, error) {
		set, err := d.keys.KeySet(ctx, kid)
		if err != nil {
			return nil, err
		}
		var found []*Key
		for _, k := range set.keys {
			if k.named(h.KeyID) && k.IsPrivate() && k.suits(h.Algorithm) && k.mayDecrypt() {
				found = append(found, k)
			}
		}
		return found, nil
	}
	keys, err := look("")
	if err == nil && len(keys) == 0 && h.KeyID != "" {
		keys, err = look(h.KeyID)
	}
	if err != nil {
		return nil, err
	}
	keys = slices.DeleteFunc(keys, func(k *Key) bool {
		return k.alg == "" && slices.ContainsFunc(d.algs, func(a Algorithm) bool { return a != h.Algorithm && k.suits(a) })
	})
	if len(keys) == 0 || len(keys) > maxTries {
		return nil, ErrKey
	}
	return keys, nil
}

func (k *Key) mayDecrypt() bool {
	return k.may("decrypt") || k.may("unwrapKey") || k.may("deriveKey") || k.may("deriveBits")
}

// try opens a token with one key. It does not tell why it cannot: each reason
// would be an oracle.
func (d *Decrypter) try(k *Key, m managing, h *jweHeader, aad, wrapped, iv, sealed []byte, tagSize int) ([]byte, bool) {
	size := h.enc.size()
	cek, ok := d.unwrap(k, m, h, wrapped, size)
	if !ok || len(cek) != size {
		// Go on with a key that cannot be right, so that a wrong key takes as
		// long as a wrong tag (RFC 7516 section 11.5).
		cek, m = random(size), managing{}
	}
	c, err := k.content(m, h.enc, cek)
	if err != nil || len(iv) != c.ivSize() || tagSize != c.tagSize() {
		return nil, false
	}
	return c.unseal(iv, sealed, aad)
}

// content returns the cipher for a content's key. Where that is the key itself,
// it is made once: making it costs several times what it seals.
func (k *Key) content(m managing, enc Encryption, cek []byte) (content, error) {
	if m.kind != kindDirect {
		return enc.open(cek)
	}
	if c := k.direct.Load(); c != nil && c.enc == enc {
		return c.content, nil
	}
	c, err := enc.open(cek)
	if _, isGCM := c.(gcmContent); err == nil && isGCM { // the others have a state
		k.direct.Store(&directContent{enc, c})
	}
	return c, err
}

type directContent struct {
	enc     Encryption
	content content
}

func (d *Decrypter) unwrap(k *Key, m managing, h *jweHeader, wrapped []byte, size int) ([]byte, bool) {
	switch m.kind {
	case kindDirect:
		return k.secret, len(wrapped) == 0 && (k.enc == "" || k.enc == h.enc)
	case kindWrap:
		return unwrapAES(k.secret, wrapped)
	case kindGCMWrap:
		gcm, err := newGCM(k.secret)
		if err != nil || len(h.iv) != 12 || len(h.tag) != 16 {
			return nil, false
		}
		cek, err := gcm.Open(nil, h.iv, slices.Concat(wrapped, h.tag), nil)
		return cek, err == nil
	case kindOAEP:
		private, ok := k.private.(*rsa.PrivateKey)
		if !ok {
			return nil, false
		}
		cek, err := rsa.DecryptOAEP(m.hash(), nil, private, wrapped, nil)
		return cek, err == nil
	case kindAgree:
		shared, ok := k.agree(h.epk)
		if !ok {
			return nil, false
		}
		kek := concatKDF(shared, h.Algorithm, h.enc, m.size, size, h.apu, h.apv)
		if m.size == 0 {
			return kek, len(wrapped) == 0
		}
		return unwrapAES(kek, wrapped)
	case kindPassword:
		if h.p2c < minIterations || h.p2c > d.o.MaxIterations || len(h.p2s) < minSalt || len(h.p2s) > maxSalt {
			return nil, false
		}
		kek, err := passwordKey(m, h.Algorithm, k.secret, h.p2s, h.p2c)
		if err != nil {
			return nil, false
		}
		return unwrapAES(kek, wrapped)
	}
	return nil, false
}

// agree returns the secret that is shared with an ephemeral public key, which
// must be on the key's own curve. crypto/ecdh refuses the all-zero secret that
// points of small order give.
func (k *Key) agree(epk *Key) ([]byte, bool) {
	if epk == nil || epk.IsPrivate() {
		return nil, false
	}
	theirs, ok := agreed(epk.public)
	if !ok {
		return nil, false
	}
	var ours *ecdh.PrivateKey
	switch p := k.private.(type) {
	case *ecdh.PrivateKey:
		ours = p
	case *ecdsa.PrivateKey:
		ours, _ = p.ECDH()
	}
	if ours == nil || ours.Curve() != theirs.Curve() {
		return nil, false
	}
	shared, err := ours.ECDH(theirs)
	return shared, err == nil
}

// ephemeral makes a fresh key on the curve of k, and its public half.
func (k *Key) ephemeral() (*ecdh.PrivateKey, *Key, error) {
	if p, ok := k.public.(*ecdsa.PublicKey); ok {
		e, err := ecdsa.GenerateKey(p.Curve, rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		private, err := e.ECDH()
		return private, &Key{public: &e.PublicKey}, err
	}
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	return private, &Key{public: private.PublicKey()}, nil
}

// A jweHeader is a header with what the algorithms want to know.
type jweHeader struct {
	Header
	enc      Encryption
	epk      *Key
	apu, apv []byte
	iv, tag  []byte
	p2s      []byte
	p2c      int
}

func parseJWEHeader(text string) (h jweHeader, err error) {
	var o object
	if err := o.open(text); err != nil {
		return h, fmt.Errorf("header: %w: %w", err, ErrMalformed)
	}
	for {
		name, raw, ok, err := o.next()
		if err != nil {
			return h, fmt.Errorf("header: %w: %w", err, ErrMalformed)
		}
		if !ok {
			break
		}
		value, isString := stringValue(raw)
		var octets []byte
		switch name {
		case "apu", "apv", "iv", "tag", "p2s":
			octets, ok = decode64(nil, []byte(value))
			ok = ok && isString
		}
		switch name {
		case "alg":
			h.Algorithm, ok = Algorithm(value), isString
		case "enc":
			h.enc, ok = Encryption(value), isString
		case "kid":
			h.KeyID, ok = value, isString
		case "typ":
			h.Type, ok = value, isString
		case "cty":
			h.ContentType, ok = value, isString
		case "apu":
			h.apu = octets
		case "apv":
			h.apv = octets
		case "iv":
			h.iv = octets
		case "tag":
			h.tag = octets
		case "p2s":
			h.p2s = octets
		case "p2c":
			h.p2c, err = strconv.Atoi(raw)
			ok = err == nil
		case "epk":
			h.epk, err = parseKey(raw, true)
			ok = err == nil
		case "crit", "b64", "zip": // zip makes bombs, and lengths that tell secrets (RFC 8725 section 3.6)
			return h, ErrCritical
		default:
			ok = !taken([]string{"alg", "enc", "kid", "typ", "cty", "apu", "apv", "iv", "tag", "p2s", "p2c", "epk", "crit", "b64", "zip"}, name)
		}
		if !ok {
			return h, fmt.Errorf("header %q: %w", name, ErrMalformed)
		}
	}
	if h.Algorithm == "" || h.enc == "" {
		return h, ErrAlgorithm
	}
	return h, nil
}

// passwordKey is PBKDF2 as RFC 7518 section 4.8.1.1 salts it.
func passwordKey(m managing, alg Algorithm, password, salt []byte, iterations int) ([]byte, error) {
	return pbkdf2.Key(m.hash, string(password), slices.Concat([]byte(alg), []byte{0}, salt), iterations, m.size)
}

// concatKDF derives a key from a shared secret (RFC 7518 section 4.6.2, NIST
// SP 800-56A). Size is that of the key that wraps, 0 where the secret serves
// for the content at once.
func concatKDF(shared []byte, alg Algorithm, enc Encryption, size, contentSize int, apu, apv []byte) []byte {
	name := string(alg)
	if size == 0 {
		name, size = string(enc), contentSize
	}
	var out []byte
	for round := uint32(1); len(out) < size; round++ {
		h := sha256.New()
		binary.Write(h, binary.BigEndian, round)
		h.Write(shared)
		for _, part := range [][]byte{[]byte(name), apu, apv} {
			binary.Write(h, binary.BigEndian, uint32(len(part)))
			h.Write(part)
		}
		binary.Write(h, binary.BigEndian, uint32(size)*8)
		out = h.Sum(out)
	}
	return out[:size]
}

// wrapAES wraps a key (RFC 3394 section 2.2.1).
func wrapAES(kek, key []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	out := slices.Concat(bytesOf(0xa6), key)
	var b [16]byte
	n := len(key) / 8
	copy(b[:8], out)
	for t := 1; t <= 6*n; t++ {
		r := out[8*((t-1)%n+1):][:8]
		copy(b[8:], r)
		block.Encrypt(b[:], b[:])
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])^uint64(t))
		copy(r, b[8:])
	}
	copy(out, b[:8])
	return out, nil
}

// unwrapAES is the way back (RFC 3394 section 2.2.2).
func unwrapAES(kek, wrapped []byte) ([]byte, bool) {
	block, err := aes.NewCipher(kek)
	if err != nil || len(wrapped)%8 != 0 || len(wrapped) < 24 || len(wrapped) > 8+64 {
		return nil, false
	}
	out := slices.Clone(wrapped)
	var b [16]byte
	n := len(wrapped)/8 - 1
	copy(b[:8], out)
	for t := 6 * n; t >= 1; t-- {
		r := out[8*((t-1)%n+1):][:8]
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])^uint64(t))
		copy(b[8:], r)
		block.Decrypt(b[:], b[:])
		copy(r, b[8:])
	}
	return out[8:], subtle.ConstantTimeCompare(b[:8], bytesOf(0xa6)) == 1
}

// bytesOf returns eight bytes of one value.
func bytesOf(c byte) []byte { return []byte{c, c, c, c, c, c, c, c} }

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// size is the length of the content's key in bytes, 0 for an unknown one.
func (e Encryption) size() int {
	switch e {
	case A128GCM:
		return 16
	case A192GCM:
		return 24
	case A256GCM, A128CBCHS256:
		return 32
	case A192CBCHS384:
		return 48
	case A256CBCHS512:
		return 64
	}
	return 0
}

// A content is a cipher for what a token carries.
type content interface {
	ivSize() int
	tagSize() int
	// seal appends text and tag to dst.
	seal(dst, iv, plaintext, aad []byte) []byte
	// unseal may overwrite what it is given.
	unseal(iv, sealed, aad []byte) ([]byte, bool)
}

// open returns the cipher for a key of e's size.
func (e Encryption) open(key []byte) (content, error) {
	switch e {
	case A128CBCHS256, A192CBCHS384, A256CBCHS512:
		half := len(key) / 2
		block, err := aes.NewCipher(key[half:])
		h := map[Encryption]func() hash.Hash{A128CBCHS256: sha256.New, A192CBCHS384: sha512.New384, A256CBCHS512: sha512.New}[e]
		return &cbc{block: block, mac: hmac.New(h, key[:half]), tag: half}, err
	}
	gcm, err := newGCM(key)
	return gcmContent{gcm}, err
}

type gcmContent struct{ aead cipher.AEAD }

func (gcmContent) ivSize() int  { return 12 }
func (gcmContent) tagSize() int { return 16 }
func (g gcmContent) seal(dst, iv, plaintext, aad []byte) []byte {
	return g.aead.Seal(dst, iv, plaintext, aad)
}
func (g gcmContent) unseal(iv, sealed, aad []byte) ([]byte, bool) {
	b, err := g.aead.Open(sealed[:0], iv, sealed, aad)
	return b, err == nil
}

// cbc is AES-CBC with HMAC, encrypt-then-MAC (RFC 7518 section 5.2).
type cbc struct {
	block cipher.Block
	mac   hash.Hash
	tag   int
}

func (*cbc) ivSize() int    { return aes.BlockSize }
func (c *cbc) tagSize() int { return c.tag }

func (c *cbc) sum(iv, text, aad []byte) []byte {
	c.mac.Reset()
	c.mac.Write(aad)
	c.mac.Write(iv)
	c.mac.Write(text)
	var bits [8]byte
	binary.BigEndian.PutUint64(bits[:], uint64(len(aad))*8)
	c.mac.Write(bits[:])
	return c.mac.Sum(nil)[:c.tag]
}

func (c *cbc) seal(dst, iv, plaintext, aad []byte) []byte {
	pad := aes.BlockSize - len(plaintext)%aes.BlockSize
	from := len(dst)
	dst = append(dst, plaintext...)
	for range pad {
		dst = append(dst, byte(pad))
	}
	cipher.NewCBCEncrypter(c.block, iv).CryptBlocks(dst[from:], dst[from:])
	return append(dst, c.sum(iv, dst[from:], aad)...)
}

func (c *cbc) unseal(iv, sealed, aad []byte) ([]byte, bool) {
	text, tag := sealed[:len(sealed)-c.tag], sealed[len(sealed)-c.tag:]
	if len(text) == 0 || len(text)%aes.BlockSize != 0 || !hmac.Equal(c.sum(iv, text, aad), tag) {
		return nil, false
	}
	cipher.NewCBCDecrypter(c.block, iv).CryptBlocks(text, text)
	// Whoever made the tag made the padding: its form tells an attacker
	// nothing.
	pad := int(text[len(text)-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, false
	}
	for _, b := range text[len(text)-pad:] {
		if int(b) != pad {
			return nil, false
		}
	}
	return text[:len(text)-pad], true
}
