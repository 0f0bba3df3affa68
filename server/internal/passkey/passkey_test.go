package passkey_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/passkey"
	"github.com/admit-auth/admit/server/internal/passkeytest"
)

const (
	origin = "https://auth.example.org"
	host   = "auth.example.org"
)

var challenge = []byte("0123456789abcdef0123456789abcdef")

func options() []byte {
	return fmt.Appendf(nil, `{"challenge":%q,"user":{"id":%q}}`, passkeytest.Text(challenge), passkeytest.Text([]byte("handle of ann")))
}

// part is a member of an answer's response.
func part(answer map[string]any) map[string]any { return answer["response"].(map[string]any) }

func TestPasskeysNeedHTTPSAndAName(t *testing.T) {
	for url, want := range map[string]string{
		"https://auth.example.org":      "auth.example.org",
		"https://auth.example.org:8443": "auth.example.org",
		"http://localhost:8080":         "localhost",
		"https://localhost":             "localhost",
		"http://auth.example.org":       "",
		"https://192.0.2.1":             "",
		"https://[2001:db8::1]:8443":    "",
		"http://127.0.0.1:8080":         "",
		"":                              "",
	} {
		got := ""
		if s := passkey.New(url); s != nil {
			got = s.RelyingParty()
		}
		if got != want {
			t.Errorf("at %q passkeys are bound to %q, want %q", url, got, want)
		}
	}
}

func TestAPasskeyOfEachAlgorithmIsRegisteredAndSigns(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"ES256": nil, "EdDSA": ed, "RS256": big} {
		t.Run(name, func(t *testing.T) {
			a, s := passkeytest.New(t, origin, host), passkey.New(origin)
			if key != nil {
				a.Key = key
			}
			a.Synced = true
			made, err := s.Register(a.Register(t, options()), challenge, false)
			if err != nil {
				t.Fatal(err)
			}
			if string(made.Credential) != string(a.ID) || !made.Verified || !made.Eligible || !made.BackedUp || strings.Join(made.Transports, " ") != "internal hybrid" {
				t.Errorf("registered %+v", made)
			}
			signed, err := s.Verify(a.Sign(t, options()), challenge, true, func(id, handle []byte) ([]byte, error) {
				if string(id) != string(a.ID) || string(handle) != "handle of ann" {
					t.Errorf("asks for the key of %x, %q", id, handle)
				}
				return made.Key, nil
			})
			if err != nil || signed.Count != 2 || !signed.Verified {
				t.Errorf("signed %+v, %v", signed, err)
			}
		})
	}
}

// Each is one thing that is not as it was asked.
var attacks = map[string]struct {
	with func(*passkeytest.Authenticator)
	want error
}{
	"another challenge": {func(a *passkeytest.Authenticator) {
		a.Challenge = passkeytest.Text([]byte("another one, of another question"))
	}, account.ErrPasskeyRefused},
	"another origin":            {func(a *passkeytest.Authenticator) { a.Origin = "https://auth.example.org.evil.example" }, account.ErrPasskeyElsewhere},
	"another port":              {func(a *passkeytest.Authenticator) { a.Origin = origin + ":444" }, account.ErrPasskeyElsewhere},
	"the origin in capitals":    {func(a *passkeytest.Authenticator) { a.Origin = "https://AUTH.example.org" }, account.ErrPasskeyElsewhere},
	"the origin without TLS":    {func(a *passkeytest.Authenticator) { a.Origin = "http://auth.example.org" }, account.ErrPasskeyElsewhere},
	"another RP ID":             {func(a *passkeytest.Authenticator) { a.Site = "example.org" }, account.ErrPasskeyElsewhere},
	"in another site's frame":   {func(a *passkeytest.Authenticator) { a.CrossOrigin = true }, account.ErrPasskeyRefused},
	"nobody present":            {func(a *passkeytest.Authenticator) { a.Absent = true }, account.ErrPasskeyRefused},
	"nobody verified":           {func(a *passkeytest.Authenticator) { a.Unverified = true }, account.ErrPasskeyUnverified},
	"the other ceremony's type": {func(a *passkeytest.Authenticator) { a.Type = "payment.get" }, account.ErrPasskeyRefused},
	"rawId of another":          {func(a *passkeytest.Authenticator) { a.Mangle = func(m map[string]any) { m["rawId"] = "AAAA" } }, account.ErrPasskeyMalformed},
	"no id":                     {func(a *passkeytest.Authenticator) { a.Mangle = func(m map[string]any) { m["id"], m["rawId"] = "", "" } }, account.ErrPasskeyMalformed},
	"another type":              {func(a *passkeytest.Authenticator) { a.Mangle = func(m map[string]any) { m["type"] = "password" } }, account.ErrPasskeyMalformed},
	"an id too long": {func(a *passkeytest.Authenticator) {
		a.Mangle = func(m map[string]any) {
			m["id"] = strings.Repeat("A", 1368)
			m["rawId"] = m["id"]
		}
	}, account.ErrPasskeyMalformed},
	"client data too long": {func(a *passkeytest.Authenticator) { a.Origin = strings.Repeat("a", 5000) }, account.ErrPasskeyMalformed},
	"an id in two spellings": {func(a *passkeytest.Authenticator) {
		a.Mangle = func(m map[string]any) {
			m["id"] = m["id"].(string) + "\n"
			m["rawId"] = m["id"]
		}
	}, account.ErrPasskeyMalformed},
}

func TestARegistrationThatIsNotAsItWasAskedIsRefused(t *testing.T) {
	s := passkey.New(origin)
	for name, attack := range attacks {
		a := passkeytest.New(t, origin, host)
		attack.with(a)
		if _, err := s.Register(a.Register(t, options()), challenge, false); !errors.Is(err, attack.want) {
			t.Errorf("%s: %v, want %v", name, err, attack.want)
		}
	}
	long := passkeytest.New(t, origin, host)
	long.Mangle = func(m map[string]any) { part(m)["attestationObject"] = strings.Repeat("A", 30<<10) }
	if _, err := s.Register(long.Register(t, options()), challenge, false); !errors.Is(err, account.ErrPasskeyMalformed) {
		t.Errorf("an attestation object too long: %v", err)
	}
}

func TestASignatureThatIsNotAsItWasAskedIsRefused(t *testing.T) {
	s := passkey.New(origin)
	attacks := attacks
	for name, attack := range attacks {
		a := passkeytest.New(t, origin, host)
		made, err := s.Register(a.Register(t, options()), challenge, false)
		if err != nil {
			t.Fatal(err)
		}
		attack.with(a)
		if _, err := s.Verify(a.Sign(t, options()), challenge, true, func(_, _ []byte) ([]byte, error) { return made.Key, nil }); !errors.Is(err, attack.want) {
			t.Errorf("%s: %v, want %v", name, err, attack.want)
		}
	}
}

func TestARegistrationIsNoSignatureAndASignatureNoRegistration(t *testing.T) {
	s, a := passkey.New(origin), passkeytest.New(t, origin, host)
	registration, signature := a.Register(t, options()), a.Sign(t, options())
	if _, err := s.Register(signature, challenge, false); err == nil {
		t.Error("a signature registers a passkey")
	}
	if _, err := s.Verify(registration, challenge, true, func(_, _ []byte) ([]byte, error) { return a.COSE(t), nil }); err == nil {
		t.Error("a registration signs in")
	}
	// With the client data of the other ceremony, too: its type is signed.
	a.Type = "webauthn.create"
	if _, err := s.Verify(a.Sign(t, options()), challenge, true, func(_, _ []byte) ([]byte, error) { return a.COSE(t), nil }); !errors.Is(err, account.ErrPasskeyRefused) {
		t.Errorf("a signature over the client data of a registration: %v", err)
	}
}

func TestAnotherKeysSignatureIsRefused(t *testing.T) {
	s, a, b := passkey.New(origin), passkeytest.New(t, origin, host), passkeytest.New(t, origin, host)
	if _, err := s.Verify(a.Sign(t, options()), challenge, true, func(_, _ []byte) ([]byte, error) { return b.COSE(t), nil }); !errors.Is(err, account.ErrPasskeyRefused) {
		t.Errorf("got %v", err)
	}
	// The flags are signed: who strips or adds one breaks the signature.
	a.Unverified = true
	a.Mangle = func(m map[string]any) {
		verified := *a
		verified.Unverified, verified.Mangle = false, nil
		var other struct{ Response map[string]any }
		if err := json.Unmarshal(verified.Sign(t, options()), &other); err != nil {
			t.Fatal(err)
		}
		part(m)["authenticatorData"] = other.Response["authenticatorData"]
	}
	if _, err := s.Verify(a.Sign(t, options()), challenge, true, func(_, _ []byte) ([]byte, error) { return a.COSE(t), nil }); !errors.Is(err, account.ErrPasskeyRefused) {
		t.Errorf("with the flag of a verified user set afterwards: %v", err)
	}
}

func TestKeysOfOtherAlgorithmsAndWeakOnesAreRefused(t *testing.T) {
	s := passkey.New(origin)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, with := range map[string]func(*passkeytest.Authenticator){
		"ES384":                func(a *passkeytest.Authenticator) { a.Key = p384 },
		"ES256 on P-384":       func(a *passkeytest.Authenticator) { a.Key, a.Algorithm = p384, -7 },
		"ES256K":               func(a *passkeytest.Authenticator) { a.Algorithm = -47 },
		"RS1 of a P-256 key":   func(a *passkeytest.Authenticator) { a.Algorithm = -65535 },
		"EdDSA of a P-256 key": func(a *passkeytest.Authenticator) { a.Algorithm = -8 },
	} {
		a := passkeytest.New(t, origin, host)
		with(a)
		if _, err := s.Register(a.Register(t, options()), challenge, false); !errors.Is(err, account.ErrPasskeyAlgorithm) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABrowserMayMakeAPasskeyByItselfOnlyWhereThatWasAsked(t *testing.T) {
	s, a := passkey.New(origin), passkeytest.New(t, origin, host)
	a.Absent, a.Unverified = true, true
	answer := a.Register(t, options())
	if _, err := s.Register(answer, challenge, true); err != nil {
		t.Errorf("asked for: %v", err)
	}
	if _, err := s.Register(answer, challenge, false); err == nil {
		t.Error("not asked for, and taken")
	}
}

func TestRefusalsDoNotTellTheChallenge(t *testing.T) {
	s, a := passkey.New(origin), passkeytest.New(t, origin, host)
	a.Challenge = passkeytest.Text([]byte("another one, of another question"))
	_, err := s.Verify(a.Sign(t, options()), challenge, true, func(_, _ []byte) ([]byte, error) { return a.COSE(t), nil })
	if err == nil || strings.Contains(err.Error(), passkeytest.Text(challenge)) {
		t.Errorf("got %v", err)
	}
}

func FuzzAnswers(f *testing.F) {
	s, a := passkey.New(origin), passkeytest.New(f, origin, host)
	key := a.COSE(f)
	f.Add([]byte(a.Register(f, options())))
	f.Add([]byte(a.Sign(f, options())))
	f.Add([]byte(`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"oA"}}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if made, err := s.Register(answer, challenge, false); err == nil && (len(made.Credential) == 0 || len(made.Key) == 0 || !made.Verified) {
			t.Errorf("registered %+v", made)
		}
		if signed, err := s.Verify(answer, challenge, true, func(_, _ []byte) ([]byte, error) { return key, nil }); err == nil && !signed.Verified {
			t.Errorf("signed %+v", signed)
		}
	})
}

// FuzzObjects looks deeper: at attestation objects in an answer that is well.
func FuzzObjects(f *testing.F) {
	s, a := passkey.New(origin), passkeytest.New(f, origin, host)
	var good struct {
		Response struct {
			Object []byte `json:"-"`
			Text   string `json:"attestationObject"`
			Client string `json:"clientDataJSON"`
		}
	}
	if err := json.Unmarshal(a.Register(f, options()), &good); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(good.Response.Text))
	f.Fuzz(func(t *testing.T, object []byte) {
		for _, text := range []string{string(object), passkeytest.Text(object)} {
			answer, err := json.Marshal(map[string]any{"id": passkeytest.Text(a.ID), "rawId": passkeytest.Text(a.ID), "type": "public-key",
				"response": map[string]any{"clientDataJSON": good.Response.Client, "attestationObject": text}})
			if err != nil {
				t.Fatal(err)
			}
			if made, err := s.Register(answer, challenge, false); err == nil && string(made.Credential) != string(a.ID) {
				t.Errorf("registered %x, want %x", made.Credential, a.ID)
			}
		}
	})
}
