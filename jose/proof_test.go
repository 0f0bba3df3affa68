package jose

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
)

type proofClaims struct {
	Method string `json:"htm"`
}

func newProofVerifier(t testing.TB, algs ...Algorithm) *ProofVerifier[proofClaims] {
	t.Helper()
	v, err := NewProofVerifier[proofClaims](algs, "dpop+jwt", 0)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAProofBringsTheKeyThatSignedIt(t *testing.T) {
	for _, alg := range []Algorithm{ES256, ES384, ES512, EdDSA, Ed25519, RS256, PS256} {
		key, err := GenerateKey(alg, "k1")
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewProofSigner[proofClaims](key, "dpop+jwt")
		if err != nil {
			t.Fatal(err)
		}
		text, err := s.Sign(&Claims[proofClaims]{ID: "1", Data: proofClaims{"POST"}})
		if err != nil {
			t.Fatal(err)
		}
		c, got, err := newProofVerifier(t, alg).Verify(text)
		if err != nil || got.Thumbprint() != key.Thumbprint() || got.IsPrivate() || c.Data.Method != "POST" {
			t.Errorf("%s: %v, %v, %v", alg, c, got, err)
		}
		// An ordinary verifier does not know what the token has brought along.
		v, err := NewPayloadVerifier(NewKeySet(), []Algorithm{alg}, "dpop+jwt", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := v.Verify(t.Context(), text); !errors.Is(err, ErrKey) {
			t.Errorf("%s: taken by a verifier without keys: %v", alg, err)
		}
	}
}

func TestAProofNeedsAKeyOfTwoHalves(t *testing.T) {
	if _, err := NewProofVerifier[proofClaims]([]Algorithm{ES256, HS256}, "dpop+jwt", 0); err == nil {
		t.Error("proofs by a shared secret are accepted")
	}
	key, err := GenerateKey(HS256, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewProofSigner[proofClaims](key, "dpop+jwt"); !errors.Is(err, ErrBadKey) {
		t.Errorf("a symmetric key signs proofs: %v", err)
	}
	public, err := GenerateKey(ES256, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewProofSigner[proofClaims](public.Public(), "dpop+jwt"); !errors.Is(err, ErrBadKey) {
		t.Errorf("a public key signs proofs: %v", err)
	}
	for _, bad := range []struct {
		typ    string
		length int
	}{{"", 0}, {"dpop+jwt", -1}} {
		if _, err := NewProofVerifier[proofClaims]([]Algorithm{ES256}, bad.typ, bad.length); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

// A stranger's private RSA key may be given away by other members than d.
func TestAnyPrivateMemberMakesAKeyPrivate(t *testing.T) {
	key, err := GenerateKey(RS256, "")
	if err != nil {
		t.Fatal(err)
	}
	public := strings.TrimSuffix(string(key.appendJWK(nil, true)), "}")
	if _, err := ParsePublicKey([]byte(public + "}")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d", "k", "p", "q", "dp", "dq", "qi", "oth"} {
		if _, err := ParsePublicKey([]byte(public + `,"` + name + `":"AQAB"}`)); !errors.Is(err, ErrBadKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAThumbprintIsOfTheBareKey(t *testing.T) {
	for _, alg := range []Algorithm{ES256, ES384, ES512, EdDSA, RS256, HS256} {
		key, err := GenerateKey(alg, "k1")
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256(key.appendJWK(nil, true))
		if got := key.Thumbprint(); got != encode64(digest[:]) {
			t.Errorf("%s: %s of %s", alg, got, key.appendJWK(nil, true))
		}
	}
}

func BenchmarkThumbprint(b *testing.B) {
	key, err := GenerateKey(ES256, "")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		key.Thumbprint()
	}
}
