// Package passkeytest is an authenticator, and the browser before it, for tests.
//
// Each of its fields is something that an attacker may say in place of what is
// true.
package passkeytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
)

// An Authenticator holds one passkey.
type Authenticator struct {
	Origin, Site string
	ID, Handle   []byte
	Key          crypto.Signer // of P-256, Ed25519 or RSA; another is of no use to anybody
	Algorithm    int           // in the public key; 0 for the key's own
	AAGUID       [16]byte
	Count        uint32 // of signatures; it grows where it is not 0
	Absent       bool   // nobody touches it
	Unverified   bool   // it does not check who holds it
	Synced       bool
	CrossOrigin  bool
	Type         string // in place of the ceremony's
	Challenge    string // in place of the one that was asked
	Mangle       func(answer map[string]any)
}

// New returns an authenticator with a new key of P-256, in a browser at an origin.
func New(t testing.TB, origin, site string) *Authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authenticator{Origin: origin, Site: site, Key: key, ID: make([]byte, 16), Count: 1}
	rand.Read(a.ID)
	return a
}

// Text writes bytes as WebAuthn does in JSON.
func Text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Register answers the options of a registration, which are JSON.
func (a *Authenticator) Register(t testing.TB, options []byte) json.RawMessage {
	t.Helper()
	var o struct {
		Challenge string
		User      struct{ ID string }
	}
	a.read(t, options, &o)
	if handle, err := base64.RawURLEncoding.DecodeString(o.User.ID); err == nil {
		a.Handle = handle
	}
	data := a.data(0x40)
	data = append(data, a.AAGUID[:]...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.ID)))
	data = append(append(data, a.ID...), a.COSE(t)...)
	object := cborMap(3)
	object = append(append(object, cborText("fmt")...), cborText("none")...)
	object = append(append(object, cborText("attStmt")...), cborMap(0)...)
	object = append(append(object, cborText("authData")...), cborBytes(data)...)
	return a.answer(t, map[string]any{
		"clientDataJSON": Text(a.client(t, "webauthn.create", o.Challenge)), "attestationObject": Text(object), "transports": []string{"internal", "hybrid"},
	})
}

// Sign answers the options of a request, which are JSON.
func (a *Authenticator) Sign(t testing.TB, options []byte) json.RawMessage {
	t.Helper()
	var o struct{ Challenge string }
	a.read(t, options, &o)
	if a.Count > 0 {
		a.Count++
	}
	client, data := a.client(t, "webauthn.get", o.Challenge), a.data(0)
	sum := sha256.Sum256(client)
	signed := append(data[:len(data):len(data)], sum[:]...)
	digest, hash := signed, crypto.Hash(0)
	if _, ok := a.Key.(ed25519.PrivateKey); !ok {
		sum := sha256.Sum256(signed)
		digest, hash = sum[:], crypto.SHA256
	}
	signature, err := a.Key.Sign(rand.Reader, digest, hash)
	if err != nil {
		t.Fatal(err)
	}
	return a.answer(t, map[string]any{
		"clientDataJSON": Text(client), "authenticatorData": Text(data), "signature": Text(signature), "userHandle": Text(a.Handle),
	})
}

func (a *Authenticator) read(t testing.TB, options []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(options, into); err != nil {
		t.Fatalf("options %s: %v", options, err)
	}
}

func (a *Authenticator) client(t testing.TB, kind, challenge string) []byte {
	t.Helper()
	if a.Type != "" {
		kind = a.Type
	}
	if a.Challenge != "" {
		challenge = a.Challenge
	}
	b, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": a.CrossOrigin})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (a *Authenticator) data(flags byte) []byte {
	for _, f := range []struct {
		set bool
		bit byte
	}{{!a.Absent, 1}, {!a.Unverified, 4}, {a.Synced, 8 | 16}} {
		if f.set {
			flags |= f.bit
		}
	}
	hash := sha256.Sum256([]byte(a.Site))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.Count)
}

func (a *Authenticator) answer(t testing.TB, response map[string]any) json.RawMessage {
	t.Helper()
	out := map[string]any{
		"id": Text(a.ID), "rawId": Text(a.ID), "type": "public-key", "response": response,
		"authenticatorAttachment": "platform", "clientExtensionResults": map[string]any{},
	}
	if a.Mangle != nil {
		a.Mangle(out)
	}
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// COSE is the public key as RFC 9052 writes it.
func (a *Authenticator) COSE(t testing.TB) []byte {
	t.Helper()
	algorithm := func(own int) []byte {
		if a.Algorithm != 0 {
			own = a.Algorithm
		}
		return append(cborInt(3), cborInt(own)...)
	}
	switch key := a.Key.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := key.Bytes() // 4, X, Y
		if err != nil {
			t.Fatal(err)
		}
		size, curve, own := (len(point)-1)/2, 1, -7
		if key.Curve == elliptic.P384() {
			curve, own = 2, -35
		}
		b := append(append(cborMap(5), cborInt(1)...), cborInt(2)...)
		b = append(append(append(b, algorithm(own)...), cborInt(-1)...), cborInt(curve)...)
		b = append(append(b, cborInt(-2)...), cborBytes(point[1:1+size])...)
		return append(append(b, cborInt(-3)...), cborBytes(point[1+size:])...)
	case ed25519.PublicKey:
		b := append(append(cborMap(4), cborInt(1)...), cborInt(1)...)
		b = append(append(append(b, algorithm(-8)...), cborInt(-1)...), cborInt(6)...)
		return append(append(b, cborInt(-2)...), cborBytes(key)...)
	case *rsa.PublicKey:
		b := append(append(cborMap(4), cborInt(1)...), cborInt(3)...)
		b = append(append(append(b, algorithm(-257)...), cborInt(-1)...), cborBytes(key.N.Bytes())...)
		return append(append(b, cborInt(-2)...), cborBytes([]byte{1, 0, 1})...)
	}
	t.Fatalf("no key of type %T", a.Key)
	return nil
}

// The few forms of CBOR (RFC 8949) that authenticators write.

func cborHead(kind byte, n int) []byte {
	switch {
	case n < 24:
		return []byte{kind | byte(n)}
	case n < 256:
		return []byte{kind | 24, byte(n)}
	}
	return []byte{kind | 25, byte(n >> 8), byte(n)}
}

func cborInt(n int) []byte {
	if n < 0 {
		return cborHead(0x20, -1-n)
	}
	return cborHead(0, n)
}

func cborBytes(b []byte) []byte { return append(cborHead(0x40, len(b)), b...) }
func cborText(s string) []byte  { return append(cborHead(0x60, len(s)), s...) }
func cborMap(n int) []byte      { return cborHead(0xa0, n) }
