package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"
)

// An issuer that writes no kid has two keys while it rotates: what was learned
// of one's token does not refuse the other's.
func TestATokenWithoutAKidIsVerifiedByWhicheverKeySignedIt(t *testing.T) {
	var keys []*Key
	var tokens []string
	for range 2 {
		k, err := GenerateKey(ES256, "")
		if err != nil {
			t.Fatal(err)
		}
		k.id = ""
		keys = append(keys, k)
		tokens = append(tokens, sign(t, newSigner(t, k), goodClaims()))
	}
	v, err := NewVerifier[access](NewKeySet(keys...), Expected{[]Algorithm{ES256}, issuer, []string{audience}, "at+jwt"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if _, err := v.Verify(t.Context(), tokens[i%2]); err != nil {
			t.Errorf("token %d: %v", i, err)
		}
	}
}

// A try with the wrong key leaves nothing of the text that it was given.
func TestATokenWithoutAKidIsDecryptedByWhicheverKeyFits(t *testing.T) {
	for _, alg := range []Algorithm{Dir, A128KW, A128GCMKW, ECDHESA128KW} {
		for _, enc := range []Encryption{A128GCM, A128CBCHS256} {
			var keys []*Key
			for range 3 {
				k := managed(t, alg, enc)[0]
				k.id = ""
				keys = append(keys, k)
			}
			d, err := NewDecrypter(NewKeySet(keys...), []Algorithm{alg}, []Encryption{enc}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, k := range keys {
				token, err := Encrypt(k, enc, Header{}, []byte("hello"))
				if err != nil {
					t.Fatal(err)
				}
				if got, _, err := d.Decrypt(t.Context(), token); err != nil || string(got) != "hello" {
					t.Errorf("%s, %s: key %d: %q, %v", alg, enc, i, got, err)
				}
			}
		}
	}
}

// An issuer whose every header differs, as with a nonce in it, does not push
// out what is known of the others, nor fill the memory.
func TestHeadersThatAllDifferAreNotAllLearned(t *testing.T) {
	f := forger{random(32)}
	v := newVerifier(t, newKey(t, HS256, f.key), nil)
	for i := range 2 * maxHeaders {
		if _, err := v.Verify(t.Context(), f.sign(fmt.Sprintf(`{"alg":"HS256","typ":"at+jwt","nonce":%d}`, i), claimsAnd(""))); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.opener.known.Load().keys); n != maxHeaders {
		t.Errorf("%d headers are known", n)
	}
}

// A forged header of thousands of names must not be compared name by name.
func TestAttackAHeaderOfManyNamesCostsLittle(t *testing.T) {
	v := newVerifier(t, keyFor(t, HS256), nil)
	for name, format := range map[string]string{"ASCII": `,"%x":1`, "names that may fold": `,"é%x":1`} {
		verify := func(size int) func() {
			var b strings.Builder
			b.WriteString(`{"alg":"HS256"`)
			for i := 0; b.Len() < size; i++ {
				fmt.Fprintf(&b, format, i)
			}
			b.WriteString("}")
			token := encode64([]byte(b.String())) + ".e30." + encode64(make([]byte, 32))
			return func() {
				if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrType) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		// Eight times as much may take eight times as long, on whatever machine, and not 64.
		little, much := least(verify(1_500)), least(verify(12_000))
		if much > 24*little {
			t.Errorf("%s: %v, and an eighth of it %v", name, much, little)
		}
		bounded(t, name, 50*time.Millisecond, verify(12_000))
	}
}

// least is the shortest time that f took, of many: when nobody else had the processor.
func least(f func()) time.Duration {
	took := time.Hour
	for range 50 {
		begun := time.Now()
		f()
		took = min(took, time.Since(begun))
	}
	return took
}

// A forged token without a kid is not tried with hundreds of keys.
func TestAttackATokenWithoutAKidIsTriedWithFewKeys(t *testing.T) {
	var keys []*Key
	for i := range maxKeys {
		k, err := NewKey(HS256, fmt.Sprint(i), random(32))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	token := forger{random(32)}.sign(`{"alg":"HS256","typ":"at+jwt"}`, claimsAnd(""))
	for n, want := range map[int]error{maxTries: ErrSignature, maxTries + 1: ErrKey, maxKeys: ErrKey} {
		v, err := NewVerifier[access](NewKeySet(keys[:n]...), Expected{[]Algorithm{HS256}, issuer, []string{audience}, "at+jwt"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		bounded(t, fmt.Sprint(n, " keys"), 10*time.Millisecond, func() {
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, want) {
				t.Errorf("%d keys: %v, want %v", n, err, want)
			}
		})
	}
}

// Neither is looked into before the signature, nor ever.
func TestAttackACompressedOrADeepHeaderIsRefused(t *testing.T) {
	f := forger{random(32)}
	v := newVerifier(t, newKey(t, HS256, f.key), nil)
	for header, want := range map[string]error{
		`{"alg":"HS256","typ":"at+jwt","zip":"DEF"}`:                                                                 ErrEncrypted,
		`{"alg":"HS256","typ":"at+jwt","x":` + strings.Repeat(`{"x":`, 1000) + "1" + strings.Repeat("}", 1000) + "}": ErrMalformed,
	} {
		token := f.sign(header, claimsAnd(""))
		bounded(t, header, 50*time.Millisecond, func() {
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, want) {
				t.Errorf("%.60s: %v, want %v", header, err, want)
			}
		})
	}
}

// Beyond a few, names are looked up by what they fold to.
func TestOfManyNamesNoTwoFoldIntoOne(t *testing.T) {
	for _, pair := range [][2]string{{"sub", "SUB"}, {"sub", "ſub"}, {"k", "\u212a"}, {"ǆ", "ǅ"}, {"σ", "ς"}, {"é", "É"}} {
		for _, n := range []int{0, 14, 15, 16, 17, 100} {
			text := "{" + fmt.Sprintf("%q:1", pair[0])
			for i := range n {
				text += fmt.Sprintf(`,"%d":1`, i)
			}
			var o object
			err := o.open(text + fmt.Sprintf(",%q:1}", pair[1]))
			if err != nil {
				t.Fatal(err)
			}
			ok := true
			for ok && err == nil {
				_, _, ok, err = o.next()
			}
			if err == nil {
				t.Errorf("%q and %q with %d between", pair[0], pair[1], n)
			}
		}
	}
}

// To find out whether the parts of an RSA key of 8192 bits fit takes a fifth of
// a second, and a stranger's ephemeral key is read before anything is known.
func TestAttackAPrivateKeyOfAStrangerIsNotEvenChecked(t *testing.T) {
	p, q := odd(512), odd(512)
	p[0], q[0] = 0xff, 0xff
	n := new(big.Int).Mul(new(big.Int).SetBytes(p), new(big.Int).SetBytes(q)).Bytes()
	jwk := fmt.Sprintf(`{"kty":"RSA","e":"AQAB","n":%q,"p":%q,"q":%q`, encode64(n), encode64(p), encode64(q))
	for name, size := range map[string]int{"d": 1024, "dp": 512, "dq": 512, "qi": 512} {
		jwk += fmt.Sprintf(`,%q:%q`, name, encode64(odd(size)))
	}
	jwk += "}"
	d := newDecrypter(t, managed(t, A128KW, A128GCM)[0], A128GCM, nil)
	token := encode64([]byte(`{"alg":"A128KW","enc":"A128GCM","epk":`+jwk+`}`)) + "." + encode64(random(24)) + "." + encode64(random(12)) + ".." + encode64(random(16))
	bounded(t, "epk", 10*time.Millisecond, func() {
		if _, _, err := d.Decrypt(t.Context(), token); !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	})
	bounded(t, "ParsePublicKey", 10*time.Millisecond, func() {
		if k, err := ParsePublicKey([]byte(jwk)); !errors.Is(err, ErrBadKey) {
			t.Errorf("%v, %v", k, err)
		}
	})
	for _, alg := range []Algorithm{HS256, ES256, EdDSA} {
		k := keyFor(t, alg)
		secret, _ := k.Reveal()
		if got, err := ParsePublicKey([]byte(secret.Reveal())); err == nil {
			t.Errorf("%s: a private key for a public one: %v", alg, got)
		}
		if k.Public() == nil {
			continue
		}
		if got, err := ParsePublicKey(k.Public().appendJWK(nil, false)); err != nil || got.Thumbprint() != k.Thumbprint() {
			t.Errorf("%s: %v, %v", alg, got, err)
		}
	}
}

// A secret that two processes have without a name for it is one key: a name
// made up by each would part them, and each restart from what was signed before.
func TestASecretWithoutAnIDIsTheSameKeyEverywhere(t *testing.T) {
	secret := random(32)
	var keys [2]*Key
	for i := range keys {
		var err error
		if keys[i], err = NewKey(HS256, "", secret); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newVerifier(t, keys[1], nil).Verify(t.Context(), sign(t, newSigner(t, keys[0]), goodClaims())); err != nil {
		t.Error(err)
	}
	if k, err := GenerateKey(HS256, ""); err != nil || k.ID() == "" {
		t.Errorf("a fresh key, which is kept with its name: %q, %v", k.ID(), err)
	}
}

// The mistake behind RS→HS confusion, made in code: a file in PEM as the secret.
func TestAttackAKeyInPEMIsNoSecret(t *testing.T) {
	for _, text := range []string{"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n", "\n -----BEGIN CERTIFICATE-----\nMIIB and so on"} {
		if k, err := NewKey(HS256, "", []byte(text)); !errors.Is(err, ErrBadKey) {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	}
}

// What a key was made from may be changed, or be a buffer that is used again.
func TestAKeyDoesNotChangeWithWhatItWasMadeFrom(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, verifier := newKey(t, EdDSA, private), newKey(t, EdDSA, public)
	clear(public)
	clear(private)
	if _, err := newVerifier(t, verifier, nil).Verify(t.Context(), sign(t, newSigner(t, signer), goodClaims())); err != nil {
		t.Error(err)
	}
	for _, material := range []any{ed25519.PrivateKey{}, ed25519.PublicKey{}, (*rsa.PublicKey)(nil), (*ecdsa.PublicKey)(nil), &rsa.PublicKey{}, &ecdsa.PublicKey{}, nil, "secret", []byte(nil)} {
		for _, alg := range []Algorithm{EdDSA, RS256, ES256, HS256, ECDHES, ""} {
			if k, err := NewKey(alg, "", material); !errors.Is(err, ErrBadKey) {
				t.Errorf("%T for %q: %v, %v", material, alg, k, err)
			}
		}
	}
}

// A key that the library did not make may lack what a JWK says.
func TestAnRSAKeyThatIsNotWholeIsNotRevealed(t *testing.T) {
	whole := keyFor(t, RS256).private.(*rsa.PrivateKey)
	for _, part := range []*rsa.PrivateKey{
		{PublicKey: whole.PublicKey, D: whole.D},
		{PublicKey: whole.PublicKey, D: whole.D, Primes: whole.Primes},
	} {
		k := newKey(t, RS256, part)
		if s, err := k.Reveal(); !errors.Is(err, ErrBadKey) {
			t.Errorf("%v, %v", s, err)
		}
	}
}

// Who has a token signed by ECDSA can write another text that is as good: R and
// the order less S. That is why what ends a token is its jti, and never its
// text or a digest of it.
func TestAnECDSATokenHasASecondTextAndTheSameID(t *testing.T) {
	for _, alg := range []Algorithm{ES256, ES384, ES512} {
		k := keyFor(t, alg)
		s, _ := alg.scheme()
		token := sign(t, newSigner(t, k), goodClaims())
		dot := strings.LastIndexByte(token, '.')
		raw, _ := decode64(nil, []byte(token[dot+1:]))
		half := s.size / 2
		other := new(big.Int).Sub(s.curve.Params().N, new(big.Int).SetBytes(raw[half:]))
		other.FillBytes(raw[half:])
		c, err := newVerifier(t, k, nil).Verify(t.Context(), token[:dot+1]+encode64(raw))
		if err != nil || c.ID != "j1" {
			t.Errorf("%s: %+v, %v", alg, c, err)
		}
	}
}

// What one caller appends to its claims is not seen by another that presents
// the same token.
func TestWhatACallerAppendsToRememberedClaimsIsItsOwn(t *testing.T) {
	f := forger{random(32)}
	v := newVerifier(t, newKey(t, HS256, f.key), &VerifierOptions[access]{Remember: 100})
	token := f.sign(usual, with("aud", fmt.Sprintf("[%q,%q,%q]", audience, "b", "c")))
	token2 := f.sign(usual, claimsAnd(`"roles":["a","b","c"]`))
	for _, text := range []string{token, token2} {
		c, err := v.Verify(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		if cap(c.Audience) != len(c.Audience) || cap(c.Data.Roles) != len(c.Data.Roles) {
			t.Errorf("room for %d audiences and %d roles more", cap(c.Audience)-len(c.Audience), cap(c.Data.Roles)-len(c.Data.Roles))
		}
	}
}

// A header that JSON cannot say makes no token.
func TestAHeaderThatIsNotUTF8IsNotSigned(t *testing.T) {
	if token, err := Sign(keyFor(t, HS256), Header{Type: "\xff"}, nil); err == nil {
		t.Error(token)
	}
	if token, err := Encrypt(managed(t, A128KW, A128GCM)[0], A128GCM, Header{ContentType: "\xff"}, nil); err == nil {
		t.Error(token)
	}
}

// What a key management service returns is checked before it is written.
func TestASignerThatAnswersNonsenseMakesNoToken(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, der := range [][]byte{nil, {}, {0x30}, {0x30, 0x81}, {0x30, 2, 2, 200}, {0x30, 4, 2, 0, 2}, {0x30, 200, 2, 1, 1, 3, 1, 1}, append([]byte{0x30, 0x26, 2, 0x22}, make([]byte, 40)...), append([]byte{0x30, 0x26, 2, 0x21, 1}, make([]byte, 40)...)} {
		k := newKey(t, ES256, nonsense{&private.PublicKey, der})
		if token, err := Sign(k, Header{}, []byte("x")); err == nil {
			if _, _, err := verifyPayload(t, k, token); err == nil {
				t.Errorf("%x: %s", der, token)
			}
		}
	}
}

type nonsense struct {
	public crypto.PublicKey
	der    []byte
}

func (n nonsense) Public() crypto.PublicKey { return n.public }
func (n nonsense) Sign(_ io.Reader, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	return n.der, nil
}

func verifyPayload(t *testing.T, k *Key, token string) ([]byte, Header, error) {
	t.Helper()
	v, err := NewPayloadVerifier(NewKeySet(k), []Algorithm{k.Algorithm()}, "", &PayloadVerifierOptions{InsecureAnyType: true})
	if err != nil {
		t.Fatal(err)
	}
	return v.Verify(t.Context(), token)
}

func FuzzPEM(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{0x30, 0}}))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, alg := range []Algorithm{RS256, ES256, EdDSA, ECDHES} {
			if k, err := ParsePEM(text, alg, "k"); (k == nil) == (err == nil) || err != nil && !errors.Is(err, ErrBadKey) {
				t.Fatalf("%v, %v", k, err)
			}
		}
	})
}

// Who has a key that was taken back could otherwise leave out the kid by which
// verifiers hear of it.
func TestAttackATokenWithoutAKidIsOfTheKeyThatSignedIt(t *testing.T) {
	key, err := GenerateKey(ES256, "k1")
	if err != nil {
		t.Fatal(err)
	}
	published := key.Public()
	key.id = ""
	token := sign(t, newSigner(t, key), goodClaims())
	v, err := NewVerifier[access](NewKeySet(published), Expected{[]Algorithm{ES256}, issuer, []string{audience}, "at+jwt"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time the header is known
		if c, err := v.Verify(t.Context(), token); err != nil || c.Header.KeyID != "k1" {
			t.Errorf("kid %q, %v", c.Header.KeyID, err)
		}
	}
}
