package jose

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// A forger signs any header and payload with a key of HS256: what he says is
// signed rightly, so that a refusal is for what it says.
type forger struct{ key []byte }

func (f forger) sign(header, payload string) string {
	input := encode64([]byte(header)) + "." + encode64([]byte(payload))
	mac := hmac.New(sha256.New, f.key)
	mac.Write([]byte(input))
	return input + "." + encode64(mac.Sum(nil))
}

type access struct {
	SID   string   `json:"sid"`
	Scope string   `json:"scope,omitempty"`
	Roles []string `json:"roles,omitempty"`
	Level int      `json:"level,omitempty"`
	Plan  *struct {
		Name string `json:"name"`
	} `json:"plan,omitempty"`
}

const (
	issuer   = "https://auth.example.org"
	audience = "https://api.example.org"
	usual    = `{"alg":"HS256","typ":"at+jwt","kid":"k"}`
)

func newVerifier(t testing.TB, k *Key, o *VerifierOptions[access]) *Verifier[access] {
	t.Helper()
	v, err := NewVerifier(NewKeySet(k), Expected{Algorithms: []Algorithm{k.Algorithm()}, Issuer: issuer, Audience: []string{audience}, Type: "at+jwt"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newKey(t testing.TB, alg Algorithm, material any) *Key {
	t.Helper()
	k, err := NewKey(alg, "k", material)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// claimsAnd returns good claims as of now, with more members.
func claimsAnd(more string) string {
	now := time.Now().Unix()
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"alice","exp":%d,"iat":%d%s}`, issuer, audience, now+300, now-5, more)
}

// with returns good claims but for one of them.
func with(name, value string) string {
	now := time.Now().Unix()
	members := map[string]string{
		"iss": fmt.Sprintf("%q", issuer), "aud": fmt.Sprintf("%q", audience), "sub": `"alice"`,
		"exp": fmt.Sprint(now + 300), "iat": fmt.Sprint(now - 5),
	}
	members[name] = value
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if value := members[name]; value != "" {
			fmt.Fprintf(&b, ",%q:%s", name, value)
		}
	}
	return "{" + b.String()[1:] + "}"
}

// hostiles are tokens that are signed rightly and say what they should not, as
// of now. What the libraries in use accept of them by default is in the
// comments. Package clients/js is tested with the same.
func hostiles() []hostile {
	now := time.Now().Unix()
	return []hostile{
		{"no exp (all four accept it)", usual, with("exp", ""), ErrMissing},
		{"the audience of another service (all four)", usual, with("aud", `"https://other.example.org"`), ErrAudience},
		{"no audience", usual, with("aud", ""), ErrAudience},
		{"an empty array of audiences", usual, with("aud", "[]"), ErrAudience},
		{"an audience that is a number", usual, with("aud", "1"), ErrClaims},
		{"an audience that is an object", usual, with("aud", "{}"), ErrClaims},
		{"an array of audiences with a number", usual, with("aud", fmt.Sprintf("[%q,1]", audience)), ErrClaims},
		{"another issuer", usual, with("iss", `"https://evil.example.org"`), ErrIssuer},
		{"no issuer", usual, with("iss", ""), ErrIssuer},
		{"an issuer that is a number, and expired (kataras)", usual, with("iss", "1"), ErrClaims},
		{"expired 30 s ago (go-jose)", usual, with("exp", fmt.Sprint(now-30)), ErrExpired},
		{"expired this second", usual, with("exp", fmt.Sprint(now)), ErrExpired},
		{"expired in 2001, with a fraction (kataras)", usual, with("exp", "1000000000.5"), ErrExpired},
		{"exp as a string (kataras)", usual, with("exp", fmt.Sprintf(`"%d"`, now+300)), ErrClaims},
		{"exp 0 (kataras)", usual, with("exp", "0"), ErrExpired},
		{"exp null (golang-jwt, go-jose, kataras)", usual, with("exp", "null"), ErrClaims},
		{"exp negative", usual, with("exp", "-1"), ErrClaims},
		{"exp with an exponent", usual, with("exp", "4e9"), ErrClaims},
		{"exp beyond all numbers", usual, with("exp", "1e400"), ErrClaims},
		{"exp after the year 9999", usual, with("exp", "253402300800"), ErrClaims},
		{"exp of a hundred digits", usual, with("exp", strings.Repeat("9", 100)), ErrClaims},
		{"exp true", usual, with("exp", "true"), ErrClaims},
		{"exp an array", usual, with("exp", fmt.Sprintf("[%d]", now+300)), ErrClaims},
		{"iat an hour ahead (golang-jwt)", usual, with("iat", fmt.Sprint(now+3600)), ErrNotYetValid},
		{"nbf ahead", usual, with("nbf", fmt.Sprint(now+60)), ErrNotYetValid},
		{"nbf as a string", usual, with("nbf", `"0"`), ErrClaims},
		{"sub null", usual, with("sub", "null"), ErrClaims},
		{"sub twice (golang-jwt, jwx, kataras)", usual, claimsAnd(`"sub":"admin"`), ErrClaims},
		{"sub and SUB (golang-jwt and kataras take admin)", usual, claimsAnd(`"SUB":"admin"`), ErrClaims},
		{"sub with a long s", usual, claimsAnd(`"ſub":"admin"`), ErrClaims},
		{"sub again, its name escaped", usual, claimsAnd(`"s\u0075b":"admin"`), ErrClaims},
		{"EXP alone", usual, strings.Replace(claimsAnd(""), `"exp"`, `"EXP"`, 1), ErrClaims},
		{"a claim of ours in another case", usual, claimsAnd(`"SID":"admin"`), ErrClaims},
		{"a claim of ours that is no string", usual, claimsAnd(`"sid":7`), ErrClaims},
		{"a claim of ours that is null", usual, claimsAnd(`"sid":null`), ErrClaims},
		{"a number with a fraction for an integer", usual, claimsAnd(`"level":1.5`), ErrClaims},
		{"a number that is too large", usual, claimsAnd(`"level":99999999999999999999`), ErrClaims},
		{"roles that are a string", usual, claimsAnd(`"roles":"admin"`), ErrClaims},
		{"a name twice, deep inside", usual, claimsAnd(`"plan":{"name":"a","name":"b"}`), ErrClaims},
		{"two names that fold into one, in a claim we do not know", usual, claimsAnd(`"x":[{"a":1,"A":2}]`), ErrClaims},
		{"half a surrogate pair", usual, claimsAnd(`"x":"\ud800"`), ErrClaims},
		{"invalid UTF-8", usual, claimsAnd("\"x\":\"\xff\""), ErrClaims},
		{"a line break in a string", usual, claimsAnd("\"x\":\"\n\""), ErrClaims},
		{"an unknown escape", usual, claimsAnd(`"x":"\x41"`), ErrClaims},
		{"a number with a leading zero", usual, claimsAnd(`"x":01`), ErrClaims},
		{"NaN", usual, claimsAnd(`"x":NaN`), ErrClaims},
		{"a comma too many", usual, strings.Replace(claimsAnd(""), "}", ",}", 1), ErrClaims},
		{"a comment", usual, strings.Replace(claimsAnd(""), "{", "{/**/", 1), ErrClaims},
		{"text after the object", usual, claimsAnd("") + "{}", ErrClaims},
		{"a byte order mark", usual, "\ufeff" + claimsAnd(""), ErrClaims},
		{"an array of claims", usual, "[" + claimsAnd("") + "]", ErrClaims},
		{"no claims at all", usual, "", ErrClaims},
		{"null claims", usual, "null", ErrClaims},
		{"arrays in arrays", usual, claimsAnd(`"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)), ErrClaims},

		{"alg none", `{"alg":"none","typ":"at+jwt"}`, claimsAnd(""), ErrAlgorithm},
		{"alg None", `{"alg":"None","typ":"at+jwt"}`, claimsAnd(""), ErrAlgorithm},
		{"alg NONE", `{"alg":"NONE","typ":"at+jwt"}`, claimsAnd(""), ErrAlgorithm},
		{"alg nOnE", `{"alg":"nOnE","typ":"at+jwt"}`, claimsAnd(""), ErrAlgorithm},
		{"alg empty", `{"alg":"","typ":"at+jwt"}`, claimsAnd(""), ErrAlgorithm},
		{"alg missing", `{"typ":"at+jwt"}`, claimsAnd(""), ErrAlgorithm},
		{"alg null", `{"alg":null,"typ":"at+jwt"}`, claimsAnd(""), ErrMalformed},
		{"alg an array", `{"alg":["HS256"],"typ":"at+jwt"}`, claimsAnd(""), ErrMalformed},
		{"alg in lower case", `{"alg":"hs256","typ":"at+jwt"}`, claimsAnd(""), ErrAlgorithm},
		{"alg twice", `{"alg":"HS256","alg":"none","typ":"at+jwt"}`, claimsAnd(""), ErrMalformed},
		{"ALG beside alg", `{"alg":"HS256","ALG":"none","typ":"at+jwt"}`, claimsAnd(""), ErrMalformed},
		{"ALG alone", `{"ALG":"HS256","typ":"at+jwt"}`, claimsAnd(""), ErrMalformed},
		{"another algorithm of the same family", `{"alg":"HS512","typ":"at+jwt"}`, claimsAnd(""), ErrAlgorithm},
		{"an algorithm with a space", `{"alg":"HS256 ","typ":"at+jwt"}`, claimsAnd(""), ErrAlgorithm},
		{"crit with an unknown name (golang-jwt)", `{"alg":"HS256","typ":"at+jwt","crit":["exp"],"exp":1}`, claimsAnd(""), ErrCritical},
		{"crit empty", `{"alg":"HS256","typ":"at+jwt","crit":[]}`, claimsAnd(""), ErrCritical},
		{"crit null", `{"alg":"HS256","typ":"at+jwt","crit":null}`, claimsAnd(""), ErrCritical},
		{"b64 false", `{"alg":"HS256","typ":"at+jwt","b64":false,"crit":["b64"]}`, claimsAnd(""), ErrCritical},
		{"b64 without crit", `{"alg":"HS256","typ":"at+jwt","b64":false}`, claimsAnd(""), ErrCritical},
		{"no type", `{"alg":"HS256","kid":"k"}`, claimsAnd(""), ErrType},
		{"another type", `{"alg":"HS256","typ":"logout+jwt","kid":"k"}`, claimsAnd(""), ErrType},
		{"a type that is a number", `{"alg":"HS256","typ":1}`, claimsAnd(""), ErrMalformed},
		{"a kid that is a path", `{"alg":"HS256","typ":"at+jwt","kid":"../../../../dev/null"}`, claimsAnd(""), ErrKey},
		{"a kid that is SQL", `{"alg":"HS256","typ":"at+jwt","kid":"k' UNION SELECT 'secret"}`, claimsAnd(""), ErrKey},
		{"a kid that is a number", `{"alg":"HS256","typ":"at+jwt","kid":1}`, claimsAnd(""), ErrMalformed},
		{"a kid with a zero byte", `{"alg":"HS256","typ":"at+jwt","kid":"k\u0000"}`, claimsAnd(""), ErrKey},
		{"enc in a signed token", `{"alg":"HS256","typ":"at+jwt","enc":"A256GCM"}`, claimsAnd(""), ErrEncrypted},
		{"a header that is an array", `["HS256"]`, claimsAnd(""), ErrMalformed},
		{"a header that is empty", ``, claimsAnd(""), ErrMalformed},
		{"text after the header", usual + " {}", claimsAnd(""), ErrMalformed},
	}
}

type hostile struct {
	name, header, payload string
	want                  error
}

func TestATokenThatIsSignedButNotRightIsRefused(t *testing.T) {
	f := forger{random(32)}
	v := newVerifier(t, newKey(t, HS256, f.key), nil)
	for _, test := range hostiles() {
		_, err := v.Verify(t.Context(), f.sign(test.header, test.payload))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	if _, err := v.Verify(t.Context(), f.sign(usual, claimsAnd(""))); err != nil {
		t.Fatalf("nothing is wrong with this one: %v", err)
	}
}

// One token has one spelling: a list of refused tokens by their text cannot be
// walked around.
func TestATokenHasOneSpelling(t *testing.T) {
	f := forger{random(32)}
	v := newVerifier(t, newKey(t, HS256, f.key), nil)
	good := f.sign(usual, claimsAnd(""))
	dot := strings.LastIndexByte(good, '.')
	last := good[len(good)-1]
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	spare := alphabet[strings.IndexByte(alphabet, last)|1]
	if spare == last {
		spare = alphabet[strings.IndexByte(alphabet, last)|2]
	}
	for name, text := range map[string]string{
		"the last character altered (all four accept it)": good[:len(good)-1] + string(spare),
		"a line break in the signature (three accept it)": good[:dot+5] + "\n" + good[dot+5:],
		"a line break at the end":                         good + "\n",
		"a space before":                                  " " + good,
		"= at the end (jwx, kataras)":                     good + "=",
		"another alphabet":                                strings.ReplaceAll(good, "-", "+") + "/",
		"a fourth part":                                   good + ".x",
		"an empty fourth part":                            good + ".",
		"two parts":                                       good[:dot],
		"an empty signature":                              good[:dot+1],
		"no text":                                         "",
		"dots":                                            "..",
		"a JSON object":                                   `{"payload":"","signatures":[]}`,
		"a percent sign":                                  strings.Replace(good, ".", "%2e", 1),
	} {
		if _, err := v.Verify(t.Context(), text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"a carriage return in the payload": good[:dot-5] + "\r" + good[dot-5:],
		"a signature of zeros":             good[:dot+1] + encode64(make([]byte, 32)),
		"a shorter signature":              good[:dot+1] + encode64(make([]byte, 31)),
		"a longer signature":               good[:dot+1] + encode64(make([]byte, 33)),
		"another key's":                    forger{random(32)}.sign(usual, claimsAnd("")),
		"another payload's":                f.sign(usual, claimsAnd(`"x":1`))[:dot] + good[dot:],
		"a truncated signature":            good[:len(good)-4],
		"the header's first bit":           "f" + good[1:],
	} {
		if _, err := v.Verify(t.Context(), text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// RS→HS confusion: the attacker signs with HMAC under the public key, which he
// knows.
func TestAttackAPublicKeyIsNoSecret(t *testing.T) {
	for _, alg := range []Algorithm{RS256, ES256, EdDSA} {
		k, err := GenerateKey(alg, "k")
		if err != nil {
			t.Fatal(err)
		}
		jwk, _ := k.MarshalJSON()
		for _, secret := range [][]byte{jwk, k.Public().appendJWK(nil, true)} {
			token := forger{secret}.sign(usual, claimsAnd(""))
			if _, err := newVerifier(t, k.Public(), nil).Verify(t.Context(), token); !errors.Is(err, ErrAlgorithm) {
				t.Errorf("%s: %v", alg, err)
			}
			both, err := NewVerifier[access](NewKeySet(k.Public()), Expected{[]Algorithm{alg, HS256}, issuer, []string{audience}, "at+jwt"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := both.Verify(t.Context(), token); !errors.Is(err, ErrKey) {
				t.Errorf("%s, with HS256 accepted beside it: %v", alg, err)
			}
		}
	}
}

// A token brings its own key along in the header, in each of the four ways.
func TestAttackAKeyInTheHeaderIsNotTrusted(t *testing.T) {
	attacker, err := GenerateKey(ES256, "k")
	if err != nil {
		t.Fatal(err)
	}
	honest, err := GenerateKey(ES256, "k")
	if err != nil {
		t.Fatal(err)
	}
	jwk, _ := attacker.MarshalJSON()
	v := newVerifier(t, honest.Public(), nil)
	for _, more := range []string{
		`"jwk":` + string(jwk), `"jku":"http://127.0.0.1:1/jwks"`, `"x5u":"http://127.0.0.1:1/cert"`, `"x5c":["MIIB"]`, `"x5t":"AAAA"`,
	} {
		header := []byte(`{"alg":"ES256","typ":"at+jwt","kid":"k",` + more + `}`)
		s, _ := newSigning(attacker, Header{})
		s.header = append([]byte(encode64(header)), '.')
		token, err := s.sign(&scratch{payload: []byte(claimsAnd(""))})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", more, err)
		}
	}
}

func TestAWeakOrMalformedKeyIsRefused(t *testing.T) {
	good, err := GenerateKey(ES256, "")
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := good.Reveal()
	ec := secret.Reveal()
	replace := func(name, value string) string {
		var b strings.Builder
		for _, part := range strings.SplitAfter(ec, ",") {
			if strings.Contains(part, `"`+name+`":`) {
				lead := ""
				if part[0] == '{' {
					lead = "{"
				}
				end := part[len(part)-1:]
				part = lead + `"` + name + `":` + value + end
			}
			b.WriteString(part)
		}
		return b.String()
	}
	if replace("alg", `"ES256"`) != ec {
		t.Fatalf("the test does not replace: %s", replace("alg", `"ES256"`))
	}
	for name, jwk := range map[string]string{
		"not JSON":                       `{`,
		"an array":                       `[]`,
		"no kty":                         `{"k":"AAAA"}`,
		"kty in lower case":              `{"kty":"OCT","k":"AAAA"}`,
		"a name twice":                   `{"kty":"oct","kty":"oct","k":"AAAA"}`,
		"an empty secret":                `{"kty":"oct","k":""}`,
		"a secret that is not base64url": `{"kty":"oct","k":"+/=="}`,
		"a HMAC key of one byte (golang-jwt, jwx and kataras accept it)": `{"kty":"oct","alg":"HS256","k":"AA"}`,
		"a HMAC key shorter than its hash":                               `{"kty":"oct","alg":"HS512","k":"` + encode64(make([]byte, 63)) + `"}`,
		"an algorithm of another family":                                 `{"kty":"oct","alg":"RS256","k":"` + encode64(make([]byte, 32)) + `"}`,
		"a use that is neither":                                          `{"kty":"oct","use":"both","k":"` + encode64(make([]byte, 32)) + `"}`,
		"key_ops twice":                                                  `{"kty":"oct","key_ops":["sign","sign"],"k":"` + encode64(make([]byte, 32)) + `"}`,
		"RSA of 1024 bits":                                               `{"kty":"RSA","e":"AQAB","n":"` + encode64(odd(128)) + `"}`,
		"RSA of 16384 bits":                                              `{"kty":"RSA","e":"AQAB","n":"` + encode64(odd(2048)) + `"}`,
		"RSA with e = 1":                                                 `{"kty":"RSA","e":"AQ","n":"` + encode64(odd(256)) + `"}`,
		"RSA with an even e":                                             `{"kty":"RSA","e":"Ag","n":"` + encode64(odd(256)) + `"}`,
		"RSA with a huge e":                                              `{"kty":"RSA","e":"` + encode64(odd(9)) + `","n":"` + encode64(odd(256)) + `"}`,
		"RSA with a leading zero":                                        `{"kty":"RSA","e":"AAEAAQ","n":"` + encode64(odd(256)) + `"}`,
		"a point that is not on the curve":                               replace("x", `"`+encode64(make([]byte, 32))+`"`),
		"a coordinate that is too short":                                 replace("x", `"`+encode64(make([]byte, 31))+`"`),
		"a curve that is not offered":                                    replace("crv", `"secp256k1"`),
		"another curve":                                                  replace("crv", `"P-384"`),
		"the algorithm of another curve":                                 replace("alg", `"ES384"`),
		"a private part that does not fit":                               replace("d", `"`+encode64(append(make([]byte, 31), 1))+`"`),
		"a private part of zero":                                         replace("d", `"`+encode64(make([]byte, 32))+`"`),
		"use enc for a key that signs":                                   replace("use", `"enc"`),
		"Ed448":                                                          `{"kty":"OKP","crv":"Ed448","x":"` + encode64(make([]byte, 57)) + `"}`,
		"Ed25519 of 31 bytes":                                            `{"kty":"OKP","crv":"Ed25519","x":"` + encode64(make([]byte, 31)) + `"}`,
		"a key that is too long":                                         `{"kty":"oct","k":"` + strings.Repeat("A", 40<<10) + `"}`,
	} {
		if k, err := ParseKey([]byte(jwk)); !errors.Is(err, ErrBadKey) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
}

// odd returns n bytes of an odd number.
func odd(n int) []byte {
	b := random(n)
	b[0] |= 1
	b[n-1] |= 1
	return b
}

// For a public key of small order anybody can make up a signature: a client
// that brings its own key could bring one that everybody has.
func TestAttackAnEd25519KeyOfSmallOrderIsRefused(t *testing.T) {
	identity := append([]byte{1}, make([]byte, 31)...)
	forged := append(append([]byte{1}, make([]byte, 31)...), make([]byte, 32)...)
	if !ed25519.Verify(identity, []byte("anything"), forged) {
		t.Fatal("crypto/ed25519 has come to refuse it: goodPoint can go")
	}
	small := []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	}
	for _, text := range small {
		for _, sign := range []byte{0, 0x80} {
			var point [32]byte
			if _, err := hex.Decode(point[:], []byte(text)); err != nil {
				t.Fatal(err)
			}
			point[31] |= sign
			if _, err := NewKey(EdDSA, "", ed25519.PublicKey(point[:])); !errors.Is(err, ErrBadKey) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}
