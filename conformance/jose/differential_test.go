package jose_test

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	peer "github.com/go-jose/go-jose/v4"
	peerjwt "github.com/go-jose/go-jose/v4/jwt"
	golang "github.com/golang-jwt/jwt/v5"

	"github.com/admit-auth/admit/jose"
)

var secret = []byte("a key that nobody can guess, ever")

// forge signs any header and payload rightly.
func forge(header, payload string) string {
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// A reading is what a library reads of a token.
type reading struct {
	Issuer, Subject, ID, Scope string
	Audience                   []string
	Expires                    int64
}

func lenient(t testing.TB) *jose.Verifier[own] {
	t.Helper()
	key, err := jose.NewKey(jose.HS256, "", secret)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jose.NewVerifier(jose.NewKeySet(key), jose.Expected{Algorithms: []jose.Algorithm{jose.HS256}}, &jose.VerifierOptions[own]{
		InsecureAnyIssuer: true, InsecureAnyAudience: true, InsecureAnyType: true, InsecureNoExpiry: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func byUs(v *jose.Verifier[own], token string) (reading, error) {
	c, err := v.Verify(context.Background(), token)
	r := reading{Issuer: c.Issuer, Subject: c.Subject, ID: c.ID, Scope: c.Data.Scope, Audience: c.Audience}
	if !c.Expires.IsZero() {
		r.Expires = c.Expires.Unix()
	}
	return r, err
}

func byGolang(token string) (reading, error) {
	var c struct {
		golang.RegisteredClaims
		Scope string `json:"scope"`
	}
	_, err := golang.ParseWithClaims(token, &c, func(*golang.Token) (any, error) { return secret, nil }, golang.WithValidMethods([]string{"HS256"}))
	r := reading{Issuer: c.Issuer, Subject: c.Subject, ID: c.ID, Scope: c.Scope, Audience: c.Audience}
	if c.ExpiresAt != nil {
		r.Expires = c.ExpiresAt.Unix()
	}
	return r, err
}

func byGoJose(token string) (reading, error) {
	parsed, err := peerjwt.ParseSigned(token, []peer.SignatureAlgorithm{peer.HS256})
	if err != nil {
		return reading{}, err
	}
	var c peerjwt.Claims
	var o own
	if err := parsed.Claims(secret, &c, &o); err != nil {
		return reading{}, err
	}
	r := reading{Issuer: c.Issuer, Subject: c.Subject, ID: c.ID, Scope: o.Scope, Audience: c.Audience}
	if c.Expiry != nil {
		r.Expires = c.Expiry.Time().Unix()
	}
	return r, c.ValidateWithLeeway(peerjwt.Expected{}, 0)
}

// What we accept, the peers accept and read alike; what they accept and we
// refuse falls under a decision of docs/decisions/0020, which is found here by
// other means than ours.
func FuzzClaimsAsPeersReadThem(f *testing.F) {
	for _, payload := range []string{
		`{"iss":"i","sub":"alice","aud":"a","exp":4102444800,"nbf":1,"iat":1,"jti":"j","scope":"x"}`,
		`{"aud":["a","b"],"exp":4102444800.5}`, `{"aud":[],"scope":"\u00e9\ud83d\ude00"}`, `{}`, ` { "sub" : "a" } `,
		`{"sub":"alice","sub":"admin"}`, `{"sub":"alice","SUB":"admin"}`, `{"SUB":"admin"}`, `{"ſub":"admin"}`, `{"Scope":"all"}`,
		`{"exp":null}`, `{"exp":"4102444800"}`, `{"exp":4e9}`, `{"exp":1e400}`, `{"exp":-1}`, `{"exp":0}`, `{"exp":1000000000.5}`, `{"iat":4102444800}`, `{"nbf":4102444800}`,
		`{"exp":99999999999999}`, `{"exp":4102444800.0000000000000000001}`, `{"sub":null}`, `{"iss":1}`, `{"aud":1}`, `{"aud":null}`, `{"aud":["a",null]}`, `{"scope":null}`, `{"jti":{}}`,
		`{"x":"\ud800"}`, "{\"x\":\"\xff\"}", `{"x":[{"a":1,"A":2}]}`, `{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, `{"sub":"a"}{}`, `[]`, `null`, `"x"`, ``,
	} {
		f.Add(`{"alg":"HS256"}`, payload)
	}
	for _, header := range []string{
		`{"alg":"HS256","typ":"at+jwt","kid":"k","cty":"JWT"}`, `{"alg":"HS256","alg":"none"}`, `{"alg":"HS256","ALG":"none"}`, `{"ALG":"HS256"}`, `{"alg":"hs256"}`, `{"alg":"none"}`, `{"alg":null}`,
		`{"alg":"HS256","crit":["exp"],"exp":1}`, `{"alg":"HS256","crit":[]}`, `{"alg":"HS256","b64":false,"crit":["b64"]}`, `{"alg":"HS256","b64":true}`, `{"alg":"HS256","enc":"A256GCM"}`, `{"alg":"HS256","zip":"DEF"}`,
		`{"alg":"HS256","kid":1}`, `{"alg":"HS256","typ":1}`, `{"alg":"HS256","jwk":{}}`, `{"alg":"HS256","x5c":["a"]}`, `{"alg":"HS256"} `, `{"alg":"HS256","x":"\ud800"}`, "{\"alg\":\"HS256\",\"x\":\"\xff\"}",
	} {
		f.Add(header, `{"sub":"alice"}`)
	}
	v := lenient(f)
	f.Fuzz(func(t *testing.T, header, payload string) {
		token := forge(header, payload)
		ours, refused := byUs(v, token)
		for name, read := range map[string]func(string) (reading, error){"golang-jwt": byGolang, "go-jose": byGoJose} {
			theirs, err := read(token)
			switch {
			case refused == nil && err != nil:
				if why := stricter(name, header, payload); why == "" {
					t.Errorf("we accept %s %s, %s: %v", header, payload, name, err)
				}
			case refused == nil && !equal(ours, theirs):
				t.Errorf("%s %s: we read %+v, %s %+v", header, payload, ours, name, theirs)
			case refused != nil && err == nil:
				if why := decision(header, payload, refused); why == "" {
					t.Errorf("%s accepts %s %s, and by no decision of ours: %v", name, header, payload, refused)
				}
			}
		}
	})
}

func equal(a, b reading) bool {
	same := slices.Equal(a.Audience, b.Audience) || len(a.Audience) == 0 && len(b.Audience) == 0
	a.Audience, b.Audience = nil, nil
	return same && fmt.Sprint(a) == fmt.Sprint(b)
}

// stricter says for which reason a peer may refuse what we accept.
func stricter(name, header, payload string) string {
	var h map[string]json.RawMessage
	json.Unmarshal([]byte(header), &h)
	if name == "go-jose" {
		for _, n := range []string{"jwk", "jku", "x5c", "x5u", "x5t", "x5t#S256", "nonce", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c"} {
			if _, ok := h[n]; ok {
				return "it parses what we pass over"
			}
		}
	}
	return ""
}

var (
	surrogate = regexp.MustCompile(`(?i)\\ud[89a-f]`)
	plainDate = regexp.MustCompile(`^(0|[1-9][0-9]{0,11})(\.[0-9]{1,18})?$`)
)

// decision names the decision by which we refuse a token that a peer accepts.
func decision(header, payload string, refused error) string {
	var h, c map[string]json.RawMessage
	json.Unmarshal([]byte(header), &h)
	json.Unmarshal([]byte(payload), &c)
	for _, text := range []string{header, payload} {
		if why := strict(text); why != "" {
			return why
		}
	}
	for _, n := range []string{"crit", "b64", "enc", "zip"} {
		if _, ok := h[n]; ok {
			return "header " + n
		}
	}
	if why := namesOf(h, "alg", "kid", "typ", "cty", "crit", "b64", "enc", "zip"); why != "" {
		return why
	}
	if errors.Is(refused, jose.ErrAlgorithm) || errors.Is(refused, jose.ErrMalformed) {
		return "" // of a header that is right, nothing else is decided
	}
	if why := folded(c, []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope"}); why != "" {
		return why
	}
	for _, n := range []string{"iss", "sub", "jti", "scope"} {
		if raw, ok := c[n]; ok && raw[0] != '"' {
			return n + " is no string"
		}
	}
	for _, n := range []string{"exp", "nbf", "iat"} {
		if raw, ok := c[n]; ok && (!plainDate.Match(raw) || len(raw) > 11 && raw[0] > '2') {
			return n + " is no plain date"
		}
	}
	var audience any
	if raw, ok := c["aud"]; ok {
		json.Unmarshal(raw, &audience)
		all, isArray := audience.([]any)
		for _, a := range all {
			if _, ok := a.(string); !ok {
				return "aud with what is no string"
			}
		}
		if _, ok := audience.(string); !ok && !isArray {
			return "aud is neither"
		}
	}
	if errors.Is(refused, jose.ErrNotYetValid) {
		var at float64
		json.Unmarshal(c["iat"], &at)
		if at > float64(time.Now().Unix()) {
			return "iat ahead"
		}
	}
	return ""
}

// namesOf says what is wrong with the names of a header, or with those of them
// whose values must be strings.
func namesOf(h map[string]json.RawMessage, known ...string) string {
	if why := folded(h, known); why != "" {
		return why
	}
	for _, n := range known {
		if raw, ok := h[n]; ok && raw[0] != '"' {
			return "header " + n + " of another type"
		}
	}
	return ""
}

// folded finds a name that differs from a known one by its case alone.
func folded(m map[string]json.RawMessage, known []string) string {
	for n := range m {
		for _, k := range known {
			if n != k && strings.EqualFold(n, k) {
				return "a name in another case"
			}
		}
	}
	return ""
}

// strict says what is not strict about JSON that encoding/json takes.
func strict(text string) string {
	if !utf8.ValidString(text) {
		return "invalid UTF-8"
	}
	if surrogate.MatchString(text) {
		return "surrogates, which may be halves"
	}
	if text = strings.TrimLeft(text, " \t\r\n"); text == "" || text[0] != '{' {
		return "no object"
	}
	// The names of the objects around, nil for an array.
	var around [][]string
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	name := true
	for {
		token, err := d.Token()
		if err != nil {
			return ""
		}
		switch token {
		case json.Delim('{'):
			around, name = append(around, []string{}), true
			continue
		case json.Delim('['):
			around, name = append(around, nil), false
			continue
		case json.Delim('}'), json.Delim(']'):
			around = around[:len(around)-1]
		default:
			if n := len(around) - 1; name && n >= 0 && around[n] != nil {
				text := token.(string)
				if slices.ContainsFunc(around[n], func(other string) bool { return strings.EqualFold(other, text) }) {
					return "two names that fold into one"
				}
				around[n], name = append(around[n], text), false
				continue
			}
		}
		name = len(around) > 0 && around[len(around)-1] != nil
		if len(around) > 32 {
			return "too deep"
		}
	}
}

// A text that peers take for a token and we do not is a second spelling.
func FuzzSpellingAsPeersReadIt(f *testing.F) {
	good := forge(`{"alg":"HS256","typ":"at+jwt"}`, `{"sub":"alice"}`)
	f.Add(uint16(0), uint16(0), "")
	f.Add(uint16(len(good)), uint16(0), "\n")
	f.Add(uint16(len(good)), uint16(0), "=")
	f.Add(uint16(len(good)-1), uint16(1), "B")
	f.Add(uint16(len(good)-3), uint16(0), "\r\n")
	f.Add(uint16(0), uint16(0), " ")
	f.Add(uint16(5), uint16(0), "\n")
	f.Add(uint16(len(good)-60), uint16(0), "\n") // in the payload, where it is signed otherwise
	f.Add(uint16(len(good)), uint16(0), ".")
	v := lenient(f)
	f.Fuzz(func(t *testing.T, at, cut uint16, edit string) {
		from := min(int(at), len(good))
		to := min(from+int(cut), len(good))
		text := good[:from] + edit + good[to:]
		ours, refused := byUs(v, text)
		if refused == nil && (text != good || ours.Subject != "alice") {
			t.Errorf("we accept %q", text)
		}
		for name, read := range map[string]func(string) (reading, error){"golang-jwt": byGolang, "go-jose": byGoJose} {
			theirs, err := read(text)
			if err == nil && theirs.Subject != "alice" || err != nil && refused == nil ||
				err == nil && refused != nil && !errors.Is(refused, jose.ErrMalformed) && !errors.Is(refused, jose.ErrSignature) {
				t.Errorf("%q: %s %+v, %v; we %v", text, name, theirs, err, refused)
			}
		}
	})
}

// The same for the header of an encrypted token.
func FuzzEncryptedAsPeersReadIt(f *testing.F) {
	for _, header := range []string{
		`{"alg":"dir","enc":"A128GCM"}`, `{"alg":"dir","enc":"A128GCM","typ":"JWT","cty":"JWT","kid":"k"}`, `{"alg":"dir","enc":"A128GCM","zip":"DEF"}`, `{"alg":"dir","enc":"A128GCM","crit":["x"],"x":1}`,
		`{"alg":"dir","enc":"A128GCM","enc":"A128GCM"}`, `{"alg":"dir","ENC":"A128GCM"}`, `{"alg":"dir","enc":"A256GCM"}`, `{"alg":"dir","enc":"A128GCM","apu":"AAAA","p2c":1}`, `{"alg":"dir","enc":"A128GCM","epk":{"kty":"EC"}}`,
	} {
		f.Add(header, "hello")
	}
	cek := secret[:16]
	block, err := aes.NewCipher(cek)
	if err != nil {
		f.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		f.Fatal(err)
	}
	key, err := jose.NewKey(jose.Dir, "", cek)
	if err != nil {
		f.Fatal(err)
	}
	d, err := jose.NewDecrypter(jose.NewKeySet(key), []jose.Algorithm{jose.Dir}, []jose.Encryption{jose.A128GCM}, nil)
	if err != nil {
		f.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	f.Fuzz(func(t *testing.T, header, text string) {
		iv := make([]byte, 12)
		aad := encode([]byte(header))
		sealed := gcm.Seal(nil, iv, []byte(text), []byte(aad))
		token := aad + ".." + encode(iv) + "." + encode(sealed[:len(text)]) + "." + encode(sealed[len(text):])
		ours, _, refused := d.Decrypt(t.Context(), token)
		var theirs []byte
		parsed, err := peer.ParseEncryptedCompact(token, []peer.KeyAlgorithm{peer.DIRECT}, []peer.ContentEncryption{peer.A128GCM})
		if err == nil {
			theirs, err = parsed.Decrypt(cek)
		}
		var h map[string]json.RawMessage
		json.Unmarshal([]byte(header), &h)
		switch {
		case refused == nil && string(ours) != text:
			t.Errorf("%s: we read %q of %q", header, ours, text)
		case refused == nil && err != nil:
			if stricter("go-jose", header, "") == "" {
				t.Errorf("we accept %s, go-jose: %v", header, err)
			}
		case refused != nil && err == nil:
			odd := strict(header) != "" || h["crit"] != nil || h["zip"] != nil || h["b64"] != nil || stricter("go-jose", header, "") != "" ||
				namesOf(h, "alg", "enc", "kid", "typ", "cty", "crit", "b64", "zip") != "" || folded(h, []string{"apu", "apv", "iv", "tag", "p2s", "p2c", "epk"}) != ""
			if !odd {
				t.Errorf("go-jose accepts %s (%q), and by no decision of ours: %v", header, theirs, refused)
			}
		}
	})
}

// A key that we accept, go-jose accepts, and both have the same thumbprint.
func FuzzKeysAsPeersReadThem(f *testing.F) {
	for _, alg := range []jose.Algorithm{jose.HS256, jose.ES256, jose.ES512, jose.EdDSA} {
		k, err := jose.GenerateKey(alg, "k")
		if err != nil {
			f.Fatal(err)
		}
		whole, err := k.Reveal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole.Reveal())
		if p := k.Public(); p != nil {
			text, _ := json.Marshal(p)
			f.Add(string(text))
		}
	}
	f.Add(`{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("_", 342) + `"}`)
	f.Fuzz(func(t *testing.T, text string) {
		k, err := jose.ParseKey([]byte(text))
		if err != nil {
			return
		}
		// What a key of its kind does not have we pass over, as certificates; go-jose
		// reads it.
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("we accept %s, encoding/json: %v", text, err)
		}
		own := map[string][]string{`"oct"`: {"k"}, `"EC"`: {"crv", "x", "y", "d"}, `"OKP"`: {"crv", "x", "d"}, `"RSA"`: {"n", "e", "d", "p", "q", "dp", "dq", "qi"}}[string(m["kty"])]
		for name := range m {
			if !slices.Contains(append(own, "kty", "kid", "use", "alg", "key_ops"), name) {
				return
			}
		}
		var theirs peer.JSONWebKey
		if err := json.Unmarshal([]byte(text), &theirs); err != nil {
			if string(m["crv"]) != `"X25519"` { // which go-jose does not have
				t.Fatalf("we accept %s, go-jose: %v", text, err)
			}
			return
		}
		if k.Public() == nil {
			return // go-jose has no thumbprint of it
		}
		print, err := theirs.Thumbprint(crypto.SHA256)
		if got := base64.RawURLEncoding.EncodeToString(print); err != nil || got != k.Thumbprint() || theirs.KeyID != k.ID() {
			t.Fatalf("%s: %s %q, go-jose has %s %q, %v", text, k.Thumbprint(), k.ID(), got, theirs.KeyID, err)
		}
	})
}
