package jose

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var encryptions = []Encryption{A128GCM, A192GCM, A256GCM, A128CBCHS256, A192CBCHS384, A256CBCHS512}

// managed returns keys for each algorithm that manages keys.
func managed(t testing.TB, alg Algorithm, enc Encryption) []*Key {
	t.Helper()
	m, _ := alg.managing()
	var all []*Key
	add := func(material any) {
		k, err := NewKey(alg, "k", material)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	switch m.kind {
	case kindDirect:
		add(random(enc.size()))
	case kindPassword:
		add([]byte("correct horse battery staple"))
	case kindAgree:
		for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
			k, err := ecdsa.GenerateKey(c, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			add(k)
		}
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		add(k)
	default:
		k, err := GenerateKey(alg, "k")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	return all
}

var managements = []Algorithm{
	Dir, A128KW, A192KW, A256KW, A128GCMKW, A192GCMKW, A256GCMKW, RSAOAEP, RSAOAEP256,
	ECDHES, ECDHESA128KW, ECDHESA192KW, ECDHESA256KW,
}

func newDecrypter(t testing.TB, k *Key, enc Encryption, o *DecrypterOptions) *Decrypter {
	t.Helper()
	d, err := NewDecrypter(NewKeySet(k), []Algorithm{k.Algorithm()}, []Encryption{enc}, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWhatIsEncryptedIsDecryptedWithEveryAlgorithm(t *testing.T) {
	rsaKeys := map[Algorithm][]*Key{RSAOAEP: managed(t, RSAOAEP, ""), RSAOAEP256: managed(t, RSAOAEP256, "")}
	for _, alg := range managements {
		for _, enc := range encryptions {
			keys := rsaKeys[alg]
			if keys == nil {
				keys = managed(t, alg, enc)
			}
			for _, k := range keys {
				for _, n := range []int{0, 1, 15, 16, 17, 1000} {
					plaintext := random(n)
					public := k
					if p := k.Public(); p != nil {
						public = p
					}
					token, err := Encrypt(public, enc, Header{ContentType: "JWT"}, plaintext)
					if err != nil {
						t.Fatalf("%s, %s: %v", alg, enc, err)
					}
					got, h, err := newDecrypter(t, k, enc, nil).Decrypt(t.Context(), token)
					if err != nil || !bytes.Equal(got, plaintext) || h != (Header{alg, "k", "", "JWT"}) {
						t.Fatalf("%s, %s, %d bytes: %v, %+v", alg, enc, n, err, h)
					}
				}
			}
		}
	}
}

func TestAPasswordDecrypts(t *testing.T) {
	if testing.Short() {
		t.Skip("PBKDF2 takes its time")
	}
	for _, alg := range []Algorithm{PBES2HS256A128KW, PBES2HS384A192KW, PBES2HS512A256KW} {
		k := managed(t, alg, A128GCM)[0]
		token, err := Encrypt(k, A128GCM, Header{}, []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := newDecrypter(t, k, A128GCM, nil).Decrypt(t.Context(), token); err != nil || string(got) != "hello" {
			t.Errorf("%s: %q, %v", alg, got, err)
		}
	}
}

// Every byte of an encrypted token is protected.
func TestAnAlteredEncryptedTokenIsRefused(t *testing.T) {
	for _, alg := range []Algorithm{Dir, A128KW, A256GCMKW, ECDHES} {
		for _, enc := range []Encryption{A128GCM, A128CBCHS256} {
			k := managed(t, alg, enc)[0]
			d := newDecrypter(t, k, enc, nil)
			token, err := Encrypt(k, enc, Header{}, []byte("pay alice 20"))
			if err != nil {
				t.Fatal(err)
			}
			for i := range token {
				c := byte('A')
				if token[i] == 'A' {
					c = 'B'
				}
				altered := token[:i] + string(c) + token[i+1:]
				if got, _, err := d.Decrypt(t.Context(), altered); err == nil {
					t.Fatalf("%s, %s: byte %d altered: %q", alg, enc, i, got)
				}
			}
		}
	}
}

// encryptedAs returns a token of k whose header says more, or something else:
// the content is sealed rightly.
func encryptedAs(t *testing.T, header string, cek, wrapped, iv, plaintext []byte, enc Encryption, cut int) string {
	t.Helper()
	c, err := enc.open(cek)
	if err != nil {
		t.Fatal(err)
	}
	aad := encode64([]byte(header))
	sealed := c.seal(nil, iv, plaintext, []byte(aad))
	text, tag := sealed[:len(sealed)-c.tagSize()], sealed[len(sealed)-c.tagSize():]
	return strings.Join([]string{aad, encode64(wrapped), encode64(iv), encode64(text), encode64(tag[:len(tag)-cut])}, ".")
}

func TestAnEncryptedTokenThatIsNotRightIsRefused(t *testing.T) {
	cek := random(32)
	k := newKey(t, Dir, cek)
	d := newDecrypter(t, k, A256GCM, nil)
	iv := random(12)
	usual := `{"alg":"dir","enc":"A256GCM"}`
	if got, _, err := d.Decrypt(t.Context(), encryptedAs(t, usual, cek, nil, iv, []byte("x"), A256GCM, 0)); err != nil || string(got) != "x" {
		t.Fatalf("nothing is wrong with this one: %q, %v", got, err)
	}
	for _, test := range []struct {
		name, token string
		want        error
	}{
		{"dir with an encrypted key", encryptedAs(t, usual, cek, random(32), iv, nil, A256GCM, 0), ErrDecrypt},
		{"a tag of 96 bits", encryptedAs(t, usual, cek, nil, iv, nil, A256GCM, 4), ErrDecrypt},
		{"no tag", encryptedAs(t, usual, cek, nil, iv, nil, A256GCM, 16), ErrDecrypt},
		{"zip", encryptedAs(t, `{"alg":"dir","enc":"A256GCM","zip":"DEF"}`, cek, nil, iv, nil, A256GCM, 0), ErrCritical},
		{"crit", encryptedAs(t, `{"alg":"dir","enc":"A256GCM","crit":["x"],"x":1}`, cek, nil, iv, nil, A256GCM, 0), ErrCritical},
		{"another enc", encryptedAs(t, `{"alg":"dir","enc":"A128GCM"}`, cek[:16], nil, iv, nil, A128GCM, 0), ErrAlgorithm},
		{"RSA1_5", encryptedAs(t, `{"alg":"RSA1_5","enc":"A256GCM"}`, cek, nil, iv, nil, A256GCM, 0), ErrAlgorithm},
		{"none", encryptedAs(t, `{"alg":"none","enc":"A256GCM"}`, cek, nil, iv, nil, A256GCM, 0), ErrAlgorithm},
		{"no enc", encryptedAs(t, `{"alg":"dir"}`, cek, nil, iv, nil, A256GCM, 0), ErrAlgorithm},
		{"enc twice", encryptedAs(t, `{"alg":"dir","enc":"A256GCM","enc":"A256GCM"}`, cek, nil, iv, nil, A256GCM, 0), ErrMalformed},
		{"ENC", encryptedAs(t, `{"alg":"dir","ENC":"A256GCM"}`, cek, nil, iv, nil, A256GCM, 0), ErrMalformed},
		{"another kid", encryptedAs(t, `{"alg":"dir","enc":"A256GCM","kid":"j"}`, cek, nil, iv, nil, A256GCM, 0), ErrKey},
		{"a signed token", forger{cek}.sign(`{"alg":"HS256"}`, "{}"), ErrMalformed},
		{"too long", strings.Repeat("A", 70<<10), ErrTooLong},
		{"six parts", encryptedAs(t, usual, cek, nil, iv, nil, A256GCM, 0) + ".", ErrMalformed},
	} {
		bounded(t, test.name, 50*time.Millisecond, func() {
			if got, _, err := d.Decrypt(t.Context(), test.token); !errors.Is(err, test.want) || got != nil {
				t.Errorf("%s: %q, %v, want %v", test.name, got, err, test.want)
			}
		})
	}
	// The IV of GCM has 96 bits, and no other length.
	short := strings.Split(encryptedAs(t, usual, cek, nil, iv, nil, A256GCM, 0), ".")
	for _, n := range []int{0, 8, 11, 13, 16} {
		short[2] = encode64(make([]byte, n))
		if _, _, err := d.Decrypt(t.Context(), strings.Join(short, ".")); !errors.Is(err, ErrDecrypt) {
			t.Errorf("an IV of %d bytes: %v", n, err)
		}
	}
}

// A token can ask for any amount of work: it is refused before that is done.
func TestAttackAPasswordTokenThatAsksForHoursCostsNothing(t *testing.T) {
	k := newKey(t, PBES2HS256A128KW, []byte("correct horse battery staple"))
	d := newDecrypter(t, k, A128GCM, nil)
	for _, count := range []string{"0", "1", "999", "600001", "1000001", "2147483648", "99999999999999999999", "-1000", "1e6", "1000.5", `"1000"`, "null"} {
		header := fmt.Sprintf(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2s":%q,"p2c":%s}`, encode64(random(16)), count)
		token := encryptedAs(t, header, random(16), random(24), random(12), nil, A128GCM, 0)
		bounded(t, "p2c "+count, 50*time.Millisecond, func() {
			if _, _, err := d.Decrypt(t.Context(), token); !errors.Is(err, ErrDecrypt) && !errors.Is(err, ErrMalformed) {
				t.Errorf("p2c %s: %v", count, err)
			}
		})
	}
	header := fmt.Sprintf(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2s":%q,"p2c":1000}`, encode64(random(7)))
	if _, _, err := d.Decrypt(t.Context(), encryptedAs(t, header, random(16), random(24), random(12), nil, A128GCM, 0)); !errors.Is(err, ErrDecrypt) {
		t.Errorf("a salt of 7 bytes: %v", err)
	}
}

// An ephemeral key on another curve, or none at all, would give the private key
// away bit by bit (the invalid curve attack, RFC 8725 section 3.4).
func TestAttackAnEphemeralKeyIsOnTheKeysCurve(t *testing.T) {
	k := managed(t, ECDHES, A128GCM)[0]
	d := newDecrypter(t, k, A128GCM, nil)
	other, err := GenerateKey(ES384, "")
	if err != nil {
		t.Fatal(err)
	}
	private, err := GenerateKey(ES256, "")
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := private.Reveal()
	for name, epk := range map[string]string{
		"none":           `null`,
		"another curve":  string(other.appendJWK(nil, true)),
		"a private one":  secret.Reveal(),
		"symmetric":      `{"kty":"oct","k":"AAAA"}`,
		"not on a curve": `{"kty":"EC","crv":"P-256","x":"` + encode64(make([]byte, 32)) + `","y":"` + encode64(make([]byte, 32)) + `"}`,
		"X25519, zero":   `{"kty":"OKP","crv":"X25519","x":"` + encode64(make([]byte, 32)) + `"}`,
	} {
		token := encryptedAs(t, `{"alg":"ECDH-ES","enc":"A128GCM","epk":`+epk+`}`, random(16), nil, random(12), nil, A128GCM, 0)
		if _, _, err := d.Decrypt(t.Context(), token); err == nil || errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	x := managed(t, ECDHES, A128GCM)[3]
	zero := encryptedAs(t, `{"alg":"ECDH-ES","enc":"A128GCM","epk":{"kty":"OKP","crv":"X25519","x":"`+encode64(make([]byte, 32))+`"}}`,
		concatKDF(make([]byte, 32), ECDHES, A128GCM, 0, 16, nil, nil), nil, random(12), nil, A128GCM, 0)
	if _, _, err := newDecrypter(t, x, A128GCM, nil).Decrypt(t.Context(), zero); !errors.Is(err, ErrDecrypt) {
		t.Errorf("X25519 with a point of small order: %v", err)
	}
}

// Signed, then encrypted, and back (RFC 7519 section 11.2).
func TestANestedTokenIsDecryptedAndThenVerified(t *testing.T) {
	signKey, err := GenerateKey(ES256, "k")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner[access](signKey, "at+jwt", nil)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := s.Sign(&Claims[access]{Issuer: issuer, Audience: []string{audience}, Subject: "alice", Expires: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	encKey := managed(t, ECDHESA256KW, A256GCM)[3]
	token, err := Encrypt(encKey.Public(), A256GCM, Header{ContentType: "JWT"}, []byte(inner))
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, signKey.Public(), nil)
	if _, err := v.Verify(context.Background(), token); !errors.Is(err, ErrEncrypted) {
		t.Errorf("an encrypted token for a signed one: %v", err)
	}
	plaintext, h, err := newDecrypter(t, encKey, A256GCM, nil).Decrypt(t.Context(), token)
	if err != nil || h.ContentType != "JWT" {
		t.Fatalf("%+v, %v", h, err)
	}
	c, err := v.Verify(t.Context(), string(plaintext))
	if err != nil || c.Subject != "alice" {
		t.Errorf("%+v, %v", c, err)
	}
}

// The key that was wrapped is as long as the encryption wants it.
func TestAttackAWrappedKeyHasTheSizeOfItsEncryption(t *testing.T) {
	k := managed(t, A128KW, A128GCM)[0]
	for _, size := range []int{16, 24, 32, 64} {
		cek := random(size)
		wrapped, err := wrapAES(k.secret, cek)
		if err != nil {
			t.Fatal(err)
		}
		// What a reader that cuts the key, or takes it as it is, would accept.
		token := encryptedAs(t, `{"alg":"A128KW","enc":"A128GCM"}`, cek[:16], wrapped, random(12), []byte("x"), A128GCM, 0)
		if got, _, err := newDecrypter(t, k, A128GCM, nil).Decrypt(t.Context(), token); (err == nil) != (size == 16) {
			t.Errorf("a key of %d bytes: %q, %v", size, got, err)
		}
	}
}

func TestNoDecrypterTakesRSA1_5OrNone(t *testing.T) {
	for _, alg := range []Algorithm{"RSA1_5", "none", "", "A512KW", RS256} {
		if _, err := NewDecrypter(NewKeySet(), []Algorithm{alg}, encryptions, nil); err == nil {
			t.Errorf("%q", alg)
		}
	}
}

// RFC 3394 section 4: 128 bits of key data with 128, and 256 with 256.
func TestKeysAreWrappedAsInRFC3394(t *testing.T) {
	for _, test := range []struct{ kek, key, want string }{
		{"000102030405060708090A0B0C0D0E0F", "00112233445566778899AABBCCDDEEFF", "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"},
		{"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
			"28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"},
	} {
		var kek, key []byte
		fmt.Sscanf(test.kek, "%X", &kek)
		fmt.Sscanf(test.key, "%X", &key)
		got, err := wrapAES(kek, key)
		if err != nil || fmt.Sprintf("%X", got) != test.want {
			t.Errorf("wrapped: %X, %v", got, err)
		}
		if back, ok := unwrapAES(kek, got); !ok || !bytes.Equal(back, key) {
			t.Errorf("unwrapped: %X, %t", back, ok)
		}
		got[3] ^= 1
		if _, ok := unwrapAES(kek, got); ok {
			t.Error("an altered one is unwrapped")
		}
	}
}
