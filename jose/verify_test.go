package jose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
)

var signatures = []Algorithm{HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519}

// signingKeys makes a key for each algorithm; those of RSA are one.
var signingKeys = sync.OnceValues(func() (map[Algorithm]*Key, error) {
	all := map[Algorithm]*Key{}
	shared, err := GenerateKey(RS256, "k")
	if err != nil {
		return nil, err
	}
	for _, alg := range signatures {
		if s, _ := alg.scheme(); s.family == familyPKCS1 || s.family == familyPSS {
			all[alg], err = NewKey(alg, "k", shared.private)
		} else {
			all[alg], err = GenerateKey(alg, "k")
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
})

func keyFor(t testing.TB, alg Algorithm) *Key {
	t.Helper()
	all, err := signingKeys()
	if err != nil {
		t.Fatal(err)
	}
	return all[alg]
}

func newSigner(t testing.TB, k *Key) *Signer[access] {
	t.Helper()
	s, err := NewSigner[access](k, "at+jwt", nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func goodClaims() *Claims[access] {
	now := time.Now()
	return &Claims[access]{
		Issuer: issuer, Subject: "alice", Audience: []string{audience}, Expires: now.Add(5 * time.Minute), ID: "j1",
		Data: access{SID: "s1", Scope: "a b", Roles: []string{"admin", "退"}, Level: -3},
	}
}

func sign(t testing.TB, s *Signer[access], c *Claims[access]) string {
	t.Helper()
	token, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestWhatIsSignedIsVerifiedWithEveryAlgorithm(t *testing.T) {
	for _, alg := range signatures {
		k := keyFor(t, alg)
		c := goodClaims()
		token := sign(t, newSigner(t, k), c)
		// Through its JWK, as another program would have the key.
		public := k
		if p := k.Public(); p != nil {
			text, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			public = parse(t, text)
		}
		got, err := newVerifier(t, public, nil).Verify(t.Context(), token)
		if err != nil {
			t.Errorf("%s: %v", alg, err)
			continue
		}
		if got.Subject != c.Subject || got.ID != c.ID || !reflect.DeepEqual(got.Data, c.Data) ||
			got.Expires.Unix() != c.Expires.Unix() || time.Since(got.IssuedAt) > time.Minute || got.Header != (Header{alg, "k", "at+jwt", ""}) {
			t.Errorf("%s: %+v, want %+v", alg, got, c)
		}
		// With every bit of the signature's last bytes turned, it is refused.
		dot := strings.LastIndexByte(token, '.')
		raw, _ := decode64(nil, []byte(token[dot+1:]))
		for _, i := range []int{0, len(raw) / 2, len(raw) - 1} {
			raw[i] ^= 1
			if _, err := newVerifier(t, public, nil).Verify(t.Context(), token[:dot+1]+encode64(raw)); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: byte %d altered: %v", alg, i, err)
			}
			raw[i] ^= 1
		}
	}
}

// R and S are numbers from 1 to the order of the curve: zeros once signed
// everything (CVE-2022-21449).
func TestAttackAnECDSASignatureOfZerosIsRefused(t *testing.T) {
	for _, alg := range []Algorithm{ES256, ES384, ES512} {
		k := keyFor(t, alg)
		s, _ := alg.scheme()
		order := s.curve.Params().N.FillBytes(make([]byte, s.size/2))
		zero := make([]byte, s.size/2)
		token := sign(t, newSigner(t, k), goodClaims())
		dot := strings.LastIndexByte(token, '.')
		for _, sig := range [][]byte{append(zero, zero...), append(append([]byte{}, order...), order...), append(append([]byte{}, zero...), order...)} {
			if _, err := newVerifier(t, k.Public(), nil).Verify(t.Context(), token[:dot+1]+encode64(sig)); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: %v", alg, err)
			}
		}
	}
}

// WebAuthn and X.509 have ECDSA signatures in DER, a JWT does not (RFC 7518
// section 3.4).
func TestAnECDSASignatureInDERIsRefused(t *testing.T) {
	k := keyFor(t, ES256)
	token := sign(t, newSigner(t, k), goodClaims())
	dot := strings.LastIndexByte(token, '.')
	raw, _ := decode64(nil, []byte(token[dot+1:]))
	if _, err := newVerifier(t, k.Public(), nil).Verify(t.Context(), token[:dot+1]+encode64(appendDER(nil, raw))); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}

// A forged token that is long costs its sender more than us.
func TestAttackALongTokenIsRefusedBeforeAnyWork(t *testing.T) {
	v := newVerifier(t, keyFor(t, HS256), nil)
	long := forger{random(32)}.sign(usual, claimsAnd(`"x":`+strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000)))
	if len(long) < 500_000 {
		t.Fatal("it is not long")
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := v.Verify(context.Background(), long); err != ErrTooLong {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for %d bytes", n, len(long))
	}
}

func TestAVerifierCannotBeMadeWithoutWhatItMustKnow(t *testing.T) {
	keys := NewKeySet(keyFor(t, ES256))
	whole := Expected{[]Algorithm{ES256}, issuer, []string{audience}, "at+jwt"}
	for name, make := range map[string]func() error{
		"no keys": func() error { _, err := NewVerifier[access](nil, whole, nil); return err },
		"no algorithm": func() error {
			w := whole
			w.Algorithms = nil
			_, err := NewVerifier[access](keys, w, nil)
			return err
		},
		"none": func() error {
			w := whole
			w.Algorithms = []Algorithm{"none"}
			_, err := NewVerifier[access](keys, w, nil)
			return err
		},
		"an algorithm for encryption": func() error {
			w := whole
			w.Algorithms = []Algorithm{Dir}
			_, err := NewVerifier[access](keys, w, nil)
			return err
		},
		"no issuer": func() error { w := whole; w.Issuer = ""; _, err := NewVerifier[access](keys, w, nil); return err },
		"no audience": func() error {
			w := whole
			w.Audience = nil
			_, err := NewVerifier[access](keys, w, nil)
			return err
		},
		"an empty audience": func() error {
			w := whole
			w.Audience = []string{""}
			_, err := NewVerifier[access](keys, w, nil)
			return err
		},
		"no type": func() error { w := whole; w.Type = ""; _, err := NewVerifier[access](keys, w, nil); return err },
		"an hour of leeway": func() error {
			_, err := NewVerifier(keys, whole, &VerifierOptions[access]{Leeway: time.Hour})
			return err
		},
		"claims that are no struct":      func() error { _, err := NewVerifier[int](keys, whole, nil); return err },
		"claims with a registered name":  func() error { _, err := NewVerifier[struct{ Sub string }](keys, whole, nil); return err },
		"no type for payloads":           func() error { _, err := NewPayloadVerifier(keys, whole.Algorithms, "", nil); return err },
		"no type for a signer":           func() error { _, err := NewSigner[access](keyFor(t, ES256), "", nil); return err },
		"a signer with a public key":     func() error { _, err := NewSigner[access](keyFor(t, ES256).Public(), "JWT", nil); return err },
		"a decrypter without algorithms": func() error { _, err := NewDecrypter(keys, nil, []Encryption{A128GCM}, nil); return err },
		"a decrypter that would count hours": func() error {
			_, err := NewDecrypter(keys, []Algorithm{PBES2HS256A128KW}, []Encryption{A128GCM}, &DecrypterOptions{MaxIterations: 1 << 30})
			return err
		},
	} {
		if make() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestATokenWithoutAnEndIsNotMadeByMistake(t *testing.T) {
	k := keyFor(t, HS256)
	c := goodClaims()
	c.Expires = time.Time{}
	if _, err := newSigner(t, k).Sign(c); !errors.Is(err, ErrMissing) {
		t.Errorf("signed: %v", err)
	}
	s, err := NewSigner[access](k, "at+jwt", &SignerOptions{InsecureNoExpiry: true})
	if err != nil {
		t.Fatal(err)
	}
	token := sign(t, s, c)
	if _, err := newVerifier(t, k, nil).Verify(t.Context(), token); !errors.Is(err, ErrMissing) {
		t.Errorf("verified: %v", err)
	}
	if _, err := newVerifier(t, k, &VerifierOptions[access]{InsecureNoExpiry: true}).Verify(t.Context(), token); err != nil {
		t.Errorf("asked for: %v", err)
	}
}

func TestATokenIsGoodUntilJustBeforeItsEnd(t *testing.T) {
	for _, leeway := range []time.Duration{0, time.Minute} {
		for _, remember := range []int{0, 100} {
			synctest.Test(t, func(t *testing.T) {
				k := keyFor(t, HS256)
				v := newVerifier(t, k, &VerifierOptions[access]{Leeway: leeway, Remember: remember})
				c := goodClaims()
				c.NotBefore = time.Now().Add(10 * time.Second)
				token := sign(t, newSigner(t, k), c)
				at := func(want error) {
					t.Helper()
					if _, err := v.Verify(t.Context(), token); !errors.Is(err, want) {
						t.Errorf("leeway %v, remembering %d: %v, want %v", leeway, remember, err, want)
					}
				}
				if leeway == 0 {
					time.Sleep(10*time.Second - 1)
					at(ErrNotYetValid)
					time.Sleep(time.Nanosecond)
				}
				at(nil)
				time.Sleep(time.Until(c.Expires.Add(leeway)) - 1)
				at(nil)
				time.Sleep(time.Nanosecond)
				at(ErrExpired)
			})
		}
	}
}

// A remembered token costs no signature, but dies with its key, with its time,
// and when Check says so.
func TestARememberedTokenIsStillChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keyFor(t, ES256)
		source := &changing{set: NewKeySet(k.Public())}
		ended := map[string]bool{}
		prepared := 0
		v, err := NewVerifier(source, Expected{[]Algorithm{ES256}, issuer, []string{audience}, "at+jwt"}, &VerifierOptions[access]{
			Remember: 32,
			Prepare:  func(c *Claims[access]) { prepared++; c.Data.Scope += "!" },
			Check: func(_ context.Context, c *Claims[access], _ time.Time) error {
				if ended[c.Data.SID] {
					return errEnded
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		token := sign(t, newSigner(t, k), goodClaims())
		for range 3 {
			c, err := v.Verify(t.Context(), token)
			if err != nil || c.Data.Scope != "a b!" {
				t.Fatalf("%+v, %v", c, err)
			}
		}
		if prepared != 1 {
			t.Errorf("verified %d times, want once", prepared)
		}
		ended["s1"] = true
		if c, err := v.Verify(t.Context(), token); !errors.Is(err, errEnded) || c.Subject != "" {
			t.Errorf("an ended session's: %v, %v", c, err)
		}
		ended["s1"] = false
		source.set = NewKeySet(keyFor(t, EdDSA).Public())
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrKey) {
			t.Errorf("its key was taken away: %v", err)
		}
		source.set = NewKeySet(k.Public())
		if _, err := v.Verify(t.Context(), token); err != nil || prepared != 2 {
			t.Errorf("its key came back: %v, verified %d times", err, prepared)
		}
		time.Sleep(5 * time.Minute)
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrExpired) {
			t.Errorf("expired: %v", err)
		}
	})
}

var errEnded = admit.Unauthenticated.New("session_ended", "The session has ended.")

type changing struct{ set *KeySet }

func (c *changing) KeySet(context.Context, string) (*KeySet, error) { return c.set, nil }

func TestTheMemoryOfTokensIsBounded(t *testing.T) {
	k := keyFor(t, HS256)
	v := newVerifier(t, k, &VerifierOptions[access]{Remember: 320})
	s := newSigner(t, k)
	for i := range 5000 {
		c := goodClaims()
		c.ID = fmt.Sprint(i)
		if _, err := v.Verify(t.Context(), sign(t, s, c)); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for i := range v.memory.shards {
		n += len(v.memory.shards[i].young) + len(v.memory.shards[i].old)
	}
	if n == 0 || n > 320 {
		t.Errorf("%d remembered, at most 320 asked for", n)
	}
}

func TestOneVerifierServesManyAtOnce(t *testing.T) {
	k := keyFor(t, HS256)
	v := newVerifier(t, k, &VerifierOptions[access]{Remember: 64})
	s := newSigner(t, k)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for n := range 200 {
				c := goodClaims()
				c.Subject = fmt.Sprint(i, n%8)
				got, err := v.Verify(context.Background(), sign(t, s, c))
				if err != nil || got.Subject != c.Subject {
					t.Errorf("%q for %q, %v", got.Subject, c.Subject, err)
				}
			}
		})
	}
	group.Wait()
}

// A key that does not say its algorithm would be for all that fit it.
func TestAKeyIsForOneAlgorithm(t *testing.T) {
	k := keyFor(t, RS256)
	token := sign(t, newSigner(t, k), goodClaims())
	bare := parse(t, k.Public().appendJWK(nil, true))
	for _, test := range []struct {
		accepted []Algorithm
		want     error
	}{
		{[]Algorithm{RS256}, nil},
		{[]Algorithm{RS256, ES256}, nil},
		{[]Algorithm{RS256, PS256}, ErrKey},
		{[]Algorithm{PS256}, ErrAlgorithm},
	} {
		v, err := NewVerifier[access](NewKeySet(bare), Expected{test.accepted, issuer, []string{audience}, "at+jwt"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		bare.id = "k"
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, test.want) {
			t.Errorf("%v: %v, want %v", test.accepted, err, test.want)
		}
	}
}

func TestAKeyDoesOnlyWhatItsOperationsSay(t *testing.T) {
	k := keyFor(t, HS256)
	token := sign(t, newSigner(t, k), goodClaims())
	for ops, want := range map[string]error{`["verify"]`: nil, `["sign"]`: ErrKey, `[]`: ErrKey, `["sign","verify"]`: nil} {
		secret, _ := k.Reveal()
		only := parse(t, []byte(strings.TrimSuffix(secret.Reveal(), "}")+`,"key_ops":`+ops+`}`))
		if _, err := newVerifier(t, only, nil).Verify(t.Context(), token); !errors.Is(err, want) {
			t.Errorf("%s: verify: %v, want %v", ops, err, want)
		}
		if _, err := NewSigner[access](only, "JWT", nil); (err == nil) != strings.Contains(ops, "sign") {
			t.Errorf("%s: sign: %v", ops, err)
		}
	}
}

func TestAKeyPrintsWithoutItsSecret(t *testing.T) {
	k := newKey(t, HS256, []byte("correct horse battery staple....."))
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s", k, k, k, k), k.LogValue().String()} {
		if strings.Contains(text, "correct") || strings.Contains(text, fmt.Sprint(k.secret)) {
			t.Errorf("%s", text)
		}
	}
	if b, err := json.Marshal(k); err == nil {
		t.Errorf("a symmetric key was marshalled: %s", b)
	}
	if b, err := json.Marshal(NewKeySet(k)); err == nil {
		t.Errorf("a set with a symmetric key was marshalled: %s", b)
	}
	private := keyFor(t, ES256)
	b, err := json.Marshal(NewKeySet(private))
	if err != nil || strings.Contains(string(b), `"d"`) {
		t.Errorf("%s, %v", b, err)
	}
}

// Claims of every kind that a struct may have come back as they were.
func TestOwnClaimsOfEveryKindComeBack(t *testing.T) {
	type name string
	type all struct {
		Text     string             `json:"text"`
		Named    name               `json:"named"`
		Yes      bool               `json:"yes"`
		Small    int8               `json:"small"`
		Big      int64              `json:"big"`
		Natural  uint64             `json:"natural"`
		Half     float64            `json:"half"`
		List     []string           `json:"list"`
		None     []string           `json:"none,omitempty"`
		Map      map[string]int     `json:"map"`
		Time     time.Time          `json:"time"`
		Zero     time.Time          `json:"zero,omitzero"`
		Raw      json.RawMessage    `json:"raw"`
		Any      any                `json:"any"`
		Pointer  *int               `json:"pointer"`
		Inner    struct{ A, B int } `json:"inner"`
		Skipped  string             `json:"-"`
		Untagged string
	}
	five := 5
	in := all{"ü\"\\\n<&>\u2028", "n", true, -128, -1 << 62, 1 << 63, 0.5, []string{"", "a\"b"}, nil, map[string]int{"x": 1},
		time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), time.Time{}, json.RawMessage(`{"k":[1,2]}`), "any", &five, struct{ A, B int }{1, 2}, "", "u"}
	k := keyFor(t, HS256)
	s, err := NewSigner[all](k, "JWT", nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Sign(&Claims[all]{Issuer: issuer, Audience: []string{"x", audience}, Expires: time.Now().Add(time.Minute), Data: in})
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier[all](NewKeySet(k), Expected{[]Algorithm{HS256}, issuer, []string{audience}, "jwt"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Verify(t.Context(), token)
	if err != nil || !reflect.DeepEqual(got.Data, in) || len(got.Audience) != 2 {
		t.Errorf("%+v, %v, want %+v", got, err, in)
	}
	// encoding/json reads the same.
	part := strings.Split(token, ".")[1]
	text, _ := decode64(nil, []byte(part))
	var other all
	if err := json.Unmarshal(text, &other); err != nil || !reflect.DeepEqual(other, in) {
		t.Errorf("encoding/json reads %+v, %v", other, err)
	}
}

func TestClaimsMayBeAMapOrAnEmbeddingStruct(t *testing.T) {
	k := keyFor(t, HS256)
	type base struct {
		SID string `json:"sid"`
	}
	type embedding struct {
		base
		Scope string `json:"scope"`
	}
	want := Expected{[]Algorithm{HS256}, issuer, []string{audience}, "JWT"}
	whole := Claims[map[string]any]{Issuer: issuer, Audience: []string{audience}, Expires: time.Now().Add(time.Minute), Data: map[string]any{"sid": "s", "scope": "x"}}
	s, err := NewSigner[map[string]any](k, "JWT", nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Sign(&whole)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier[embedding](NewKeySet(k), want, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := v.Verify(t.Context(), token); err != nil || c.Data.SID != "s" || c.Data.Scope != "x" {
		t.Errorf("%+v, %v", c, err)
	}
	whole.Data["SUB"] = "admin"
	if token, err := s.Sign(&whole); err == nil {
		t.Errorf("a registered claim in another case was signed: %s", token)
	}
}

func TestNothingOfOneTokenIsInTheClaimsOfTheNext(t *testing.T) {
	k := keyFor(t, HS256)
	s := newSigner(t, k)
	full := goodClaims()
	full.ID, full.Data = "id of the first", access{Scope: "all"}
	late := goodClaims()
	late.Expires, late.ID, late.Data = time.Now().Add(-time.Hour), "id of the second", access{Scope: "more"}
	bare := goodClaims()
	bare.ID, bare.Data = "", access{}
	v, err := NewVerifier[access](NewKeySet(k), Expected{[]Algorithm{HS256}, full.Issuer, full.Audience, "at+jwt"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		first, err := v.Verify(t.Context(), sign(t, s, full))
		if err != nil {
			t.Fatal(err)
		}
		if c, err := v.Verify(t.Context(), sign(t, s, late)); err == nil || c.ID != "" || c.Data.Scope != "" {
			t.Fatalf("a token out of time: %+v, %v", c, err)
		}
		if c, err := v.Verify(t.Context(), sign(t, s, bare)); err != nil || c.ID != "" || c.Data.Scope != "" {
			t.Fatalf("a token without them has the claims of others: %+v, %v", c, err)
		}
		if first.ID != full.ID || first.Data.Scope != "all" || len(first.Audience) != len(full.Audience) {
			t.Fatalf("the first one's claims have become %+v", first)
		}
	}
}
