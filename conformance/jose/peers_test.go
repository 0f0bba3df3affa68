package jose_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"strings"
	"testing"
	"time"

	peer "github.com/go-jose/go-jose/v4"
	golang "github.com/golang-jwt/jwt/v5"

	"github.com/admit-auth/admit/jose"
)

const (
	issuer   = "https://auth.example.org"
	audience = "https://api.example.org"
)

// material makes a key for an algorithm, as the standard library has it, and
// what a peer verifies with.
func material(t testing.TB, alg jose.Algorithm) (private, public any) {
	t.Helper()
	var k any
	var err error
	switch alg[:2] {
	case "HS":
		b := make([]byte, 64)
		rand.Read(b)
		return b, b
	case "RS", "PS":
		k, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES":
		k, err = ecdsa.GenerateKey(map[jose.Algorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521()}[alg], rand.Reader)
	default:
		_, k, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k, k.(crypto.Signer).Public()
}

type own struct {
	Scope string `json:"scope"`
}

func TestPeersVerifyOursAndWeTheirs(t *testing.T) {
	now := time.Now()
	for _, alg := range signatures {
		private, public := material(t, alg)
		key, err := jose.NewKey(alg, "k", private)
		if err != nil {
			t.Fatal(err)
		}
		s, err := jose.NewSigner[own](key, "JWT", nil)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := s.Sign(&jose.Claims[own]{Issuer: issuer, Audience: []string{audience}, Subject: "alice", Expires: now.Add(time.Minute), Data: own{"a b"}})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := peer.ParseSignedCompact(ours, []peer.SignatureAlgorithm{peer.SignatureAlgorithm(alg)})
		if err != nil {
			t.Fatal(err)
		}
		payload, err := signed.Verify(public)
		var read struct{ Sub, Scope string }
		if json.Unmarshal(payload, &read); err != nil || read.Sub != "alice" || read.Scope != "a b" {
			t.Errorf("%s: go-jose reads ours: %+v, %v", alg, read, err)
		}
		var claims golang.MapClaims
		if _, err := golang.ParseWithClaims(ours, &claims, func(*golang.Token) (any, error) { return public, nil },
			golang.WithValidMethods([]string{string(alg)}), golang.WithIssuer(issuer), golang.WithAudience(audience)); err != nil || claims["sub"] != "alice" {
			t.Errorf("%s: golang-jwt reads ours: %v, %v", alg, claims, err)
		}

		v, err := jose.NewVerifier[own](jose.NewKeySet(key), jose.Expected{Algorithms: []jose.Algorithm{alg}, Issuer: issuer, Audience: []string{audience}, Type: "JWT"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		theirs := golang.MapClaims{"iss": issuer, "aud": []string{"x", audience}, "sub": "bob", "exp": now.Add(time.Minute).Unix(), "scope": "ü"}
		token := golang.NewWithClaims(golang.GetSigningMethod(string(alg)), theirs)
		text, err := token.SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := v.Verify(t.Context(), text); err != nil || c.Subject != "bob" || c.Data.Scope != "ü" {
			t.Errorf("%s: we read golang-jwt's: %+v, %v", alg, c, err)
		}
		signer, err := peer.NewSigner(peer.SigningKey{Algorithm: peer.SignatureAlgorithm(alg), Key: private}, (&peer.SignerOptions{}).WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(theirs)
		jws, err := signer.Sign(b)
		if err != nil {
			t.Fatal(err)
		}
		if text, err = jws.CompactSerialize(); err != nil {
			t.Fatal(err)
		}
		if c, err := v.Verify(t.Context(), text); err != nil || c.Subject != "bob" {
			t.Errorf("%s: we read go-jose's: %+v, %v", alg, c, err)
		}
		// And its key as go-jose writes it.
		if alg[:2] != "HS" {
			jwk, err := json.Marshal(peer.JSONWebKey{Key: private, KeyID: "k", Algorithm: string(alg), Use: "sig"})
			if err != nil {
				t.Fatal(err)
			}
			if k, err := jose.ParseKey(jwk); err != nil || k.Thumbprint() != key.Thumbprint() {
				t.Errorf("%s: we read go-jose's key: %v, %v", alg, k, err)
			}
		}
	}
}

func TestPeersDecryptOursAndWeTheirs(t *testing.T) {
	plaintext := []byte("you can trust us to stick with you through thick and thin")
	for _, alg := range managements {
		if strings.HasPrefix(string(alg), "PBES2") {
			continue // RFC 7520 has an example of it, and Wycheproof
		}
		for _, enc := range encryptions {
			var private any
			var public any
			switch {
			case strings.HasPrefix(string(alg), "RSA"):
				private, public = material(t, jose.RS256)
			case strings.HasPrefix(string(alg), "ECDH"):
				private, public = material(t, jose.ES384)
			default:
				size := map[jose.Algorithm]int{
					jose.A128KW: 16, jose.A192KW: 24, jose.A256KW: 32, jose.A128GCMKW: 16, jose.A192GCMKW: 24, jose.A256GCMKW: 32,
				}[alg]
				if alg == jose.Dir {
					size = map[jose.Encryption]int{jose.A128GCM: 16, jose.A192GCM: 24, jose.A256GCM: 32, jose.A128CBCHS256: 32, jose.A192CBCHS384: 48, jose.A256CBCHS512: 64}[enc]
				}
				b := make([]byte, size)
				rand.Read(b)
				private, public = b, b
			}
			key, err := jose.NewKey(alg, "k", private)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := jose.Encrypt(key, enc, jose.Header{}, plaintext)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := peer.ParseEncryptedCompact(ours, []peer.KeyAlgorithm{peer.KeyAlgorithm(alg)}, []peer.ContentEncryption{peer.ContentEncryption(enc)})
			if err != nil {
				t.Fatal(err)
			}
			if b, err := parsed.Decrypt(private); err != nil || !bytes.Equal(b, plaintext) {
				t.Errorf("%s, %s: go-jose reads ours: %q, %v", alg, enc, b, err)
			}
			e, err := peer.NewEncrypter(peer.ContentEncryption(enc), peer.Recipient{Algorithm: peer.KeyAlgorithm(alg), Key: public, KeyID: "k"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			jwe, err := e.Encrypt(plaintext)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := jwe.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			d, err := jose.NewDecrypter(jose.NewKeySet(key), []jose.Algorithm{alg}, []jose.Encryption{enc}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, _, err := d.Decrypt(t.Context(), theirs); err != nil || !bytes.Equal(b, plaintext) {
				t.Errorf("%s, %s: we read go-jose's: %q, %v", alg, enc, b, err)
			}
		}
	}
}
