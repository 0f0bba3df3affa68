package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
)

const (
	origin = "https://api.example.test"
	target = origin + "/orders/4711"
	token  = "an.access.token"
)

// A forge makes proofs that are good unless a test changes something.
type forge struct {
	key *ecdsa.PrivateKey
	jkt string
}

func newForge(t testing.TB) forge {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := jose.NewKey(jose.ES256, "", key)
	if err != nil {
		t.Fatal(err)
	}
	return forge{key, k.Thumbprint()}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (f forge) jwk() string {
	point, _ := f.key.PublicKey.Bytes()
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":"%s","y":"%s"}`, b64(point[1:33]), b64(point[33:]))
}

func (f forge) header() string { return `{"typ":"dpop+jwt","alg":"ES256","jwk":` + f.jwk() + `}` }

// claims are those of a good proof of a time, each as it stands in JSON.
func claims(now time.Time, nonce string) map[string]string {
	return map[string]string{
		"jti": `"` + rand.Text() + `"`, "htm": `"GET"`, "htu": `"` + target + `"`,
		"iat": fmt.Sprint(now.Unix()), "ath": `"` + hashOf(token) + `"`, "nonce": `"` + nonce + `"`,
	}
}

func object(members map[string]string) string {
	var all []string
	for name, value := range members {
		if value != "" {
			all = append(all, fmt.Sprintf("%q:%s", name, value))
		}
	}
	return "{" + strings.Join(all, ",") + "}"
}

func (f forge) sign(header, payload string) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, f.key, digest[:])
	if err != nil {
		panic(err)
	}
	return input + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func request(proofs ...string) *http.Request {
	r := httptest.NewRequest("GET", target+"?page=2", nil)
	r.Header.Set("Authorization", "DPoP "+token)
	for _, p := range proofs {
		r.Header.Add("DPoP", p)
	}
	return r
}

func newVerifier(t testing.TB, o *Options) *Verifier {
	t.Helper()
	v, err := NewVerifier(origin, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var noNonce = &Options{InsecureNoNonce: true}

// The examples of RFC 9449: figures 2, 13 and 9.
const (
	rfcKey    = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	rfcToken  = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	rfcHeader = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19."
	rfcProve  = rfcHeader + "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	rfcUse    = rfcHeader + "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)

func TestTheProofsInTheRFCAreGood(t *testing.T) {
	v, err := NewVerifier("https://server.example.com", noNonce)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "https://server.example.com/token", nil)
	r.Header.Set("DPoP", rfcProve)
	if jkt, err := v.Prove(r, time.Unix(1562262617, 0)); err != nil || jkt != rfcKey {
		t.Errorf("figure 2: %q, %v", jkt, err)
	}
	if v, err = NewVerifier("https://resource.example.org", noNonce); err != nil {
		t.Fatal(err)
	}
	r = httptest.NewRequest("GET", "https://resource.example.org/protectedresource", nil)
	r.Header.Set("DPoP", rfcUse)
	if err := v.checkAt(r, rfcToken, rfcKey, time.Unix(1562262619, 0)); err != nil {
		t.Errorf("figure 13: %v", err)
	}
}

// trial is what a test changes of a good request.
type trial struct {
	header string // of the proof
	claims map[string]string
	r      *http.Request
	token  string
	jkt    string
	proofs []string // in place of the one that is signed
	now    time.Time
}

// try sends a request that is good but for what change does, to verifiers with
// and without nonces.
func try(t *testing.T, o *Options, change func(f forge, x *trial)) error {
	t.Helper()
	f, v := newForge(t), newVerifier(t, o)
	now := time.Now()
	x := &trial{f.header(), claims(now, v.Nonce(now)), request(), token, f.jkt, nil, now}
	change(f, x)
	if x.proofs == nil {
		x.proofs = []string{f.sign(x.header, object(x.claims))}
	}
	for _, p := range x.proofs {
		x.r.Header.Add("DPoP", p)
	}
	return v.checkAt(x.r, x.token, x.jkt, x.now)
}

// refused expects the same refusal with nonces and without.
func refused(t *testing.T, name string, want error, change func(f forge, x *trial)) {
	t.Helper()
	for _, o := range []*Options{nil, noNonce} {
		if err := try(t, o, change); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestAGoodProofIsTaken(t *testing.T) {
	for _, o := range []*Options{nil, noNonce} {
		if err := try(t, o, func(forge, *trial) {}); err != nil {
			t.Error(err)
		}
	}
}

// The tests below are named after the numbers in RFC 9449 section 4.3.

func TestRFC9449Check1ThereIsOneDPoPHeader(t *testing.T) {
	refused(t, "none", ErrProof, func(_ forge, x *trial) { x.proofs = []string{} })
	refused(t, "two", ErrProof, func(f forge, x *trial) {
		x.proofs = []string{f.sign(x.header, object(x.claims)), f.sign(x.header, object(x.claims))}
	})
	refused(t, "the same one twice", ErrProof, func(f forge, x *trial) {
		p := f.sign(x.header, object(x.claims))
		x.proofs = []string{p, p}
	})
}

func TestRFC9449Check2TheHeaderIsOneWellFormedJWT(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"two in one line":     func(p string) string { return p + ", " + p },
		"empty":               func(string) string { return "" },
		"text":                func(string) string { return "proof" },
		"a space before it":   func(p string) string { return " " + p },
		"padding":             func(p string) string { return p + "=" },
		"no signature":        func(p string) string { return p[:strings.LastIndex(p, ".")+1] },
		"two parts":           func(p string) string { return p[:strings.LastIndex(p, ".")] },
		"four parts":          func(p string) string { return p + ".e30" },
		"five parts":          func(p string) string { return p + ".e30.e30" },
		"JSON serialization":  func(p string) string { return `{"payload":"e30","signatures":[]}` },
		"a quoted one":        func(p string) string { return `"` + p + `"` },
		"with the scheme":     func(p string) string { return "DPoP " + p },
		"a NUL in it":         func(p string) string { return p + "\x00" },
		"100 KB":              func(p string) string { return p + strings.Repeat("A", 100<<10) },
		"a header of 100 KB":  func(p string) string { return strings.Repeat("A", 100<<10) + p },
		"100,000 dots":        func(p string) string { return p + strings.Repeat(".", 100_000) },
		"100,000 dots, alone": func(string) string { return strings.Repeat(".", 100_000) },
	} {
		refused(t, name, ErrProof, func(f forge, x *trial) { x.proofs = []string{change(f.sign(x.header, object(x.claims)))} })
	}
	for _, header := range []string{
		`[]`, `null`, `{`, `{}`, `{"typ":"dpop+jwt","alg":"ES256","jwk":{}} `, "{\"typ\":\"dpop+jwt\xff\"}",
	} {
		refused(t, header, ErrProof, func(_ forge, x *trial) { x.header = header })
	}
	refused(t, "a name twice in the header", ErrProof, func(f forge, x *trial) {
		x.header = strings.Replace(x.header, `"alg"`, `"jwk":`+newForge(t).jwk()+`,"alg"`, 1)
	})
	refused(t, "a name in another case", ErrProof, func(f forge, x *trial) {
		x.header = strings.Replace(x.header, `"alg"`, `"JWK":`+newForge(t).jwk()+`,"alg"`, 1)
	})
	refused(t, "an unknown extension", ErrProof, func(_ forge, x *trial) {
		x.header = strings.Replace(x.header, `"alg"`, `"crit":["x"],"x":1,"alg"`, 1)
	})
	refused(t, "an unencoded payload", ErrProof, func(_ forge, x *trial) {
		x.header = strings.Replace(x.header, `"alg"`, `"b64":false,"alg"`, 1)
	})
}

func TestRFC9449Check3AllRequiredClaimsAreThere(t *testing.T) {
	for _, name := range []string{"jti", "htm", "htu", "iat"} {
		for _, value := range []string{"", "null", `""`, "[]", "{}", "true", `["GET"]`} {
			refused(t, name+" "+value, ErrProof, func(_ forge, x *trial) { x.claims[name] = value })
		}
	}
	for _, iat := range []string{`"1700000000"`, "-1", "1e9", "99999999999999999999", "0x10"} {
		refused(t, "iat "+iat, ErrProof, func(_ forge, x *trial) { x.claims["iat"] = iat })
	}
	refused(t, "a claim in another case", ErrProof, func(_ forge, x *trial) { x.claims["HTU"] = `"https://evil.example.test/"` })
}

func TestRFC9449Check4TheTypeIsDPoP(t *testing.T) {
	for _, typ := range []string{``, `"typ":"JWT",`, `"typ":"at+jwt",`, `"typ":"dpop",`, `"typ":"dpop+jwt ",`, `"typ":["dpop+jwt"],`} {
		refused(t, typ, ErrProof, func(_ forge, x *trial) {
			x.header = strings.Replace(x.header, `"typ":"dpop+jwt",`, typ, 1)
		})
	}
}

func TestRFC9449Check5TheAlgorithmIsAsymmetricAndOurs(t *testing.T) {
	for _, alg := range []string{`"none"`, `"None"`, `"NONE"`, `"HS256"`, `"HS512"`, `"RS256"`, `"ES384"`, `"ES256K"`, `"EdDSA"`, `"es256"`, `"dir"`, `""`, `null`, `["ES256"]`} {
		refused(t, alg, ErrProof, func(_ forge, x *trial) {
			x.header = strings.Replace(x.header, `"ES256"`, alg, 1)
		})
	}
	refused(t, "none, and no signature", ErrProof, func(f forge, x *trial) {
		h := strings.Replace(x.header, `"ES256"`, `"none"`, 1)
		x.proofs = []string{b64([]byte(h)) + "." + b64([]byte(object(x.claims))) + "."}
	})
	// The public key as the secret of a MAC: RS256 turned HS256.
	refused(t, "a MAC under the public key", ErrProof, func(f forge, x *trial) {
		h := `{"typ":"dpop+jwt","alg":"HS256","jwk":` + f.jwk() + `}`
		input := b64([]byte(h)) + "." + b64([]byte(object(x.claims)))
		mac := hmac.New(sha256.New, []byte(f.jwk()))
		mac.Write([]byte(input))
		x.proofs = []string{input + "." + b64(mac.Sum(nil))}
	})
	for _, alg := range []jose.Algorithm{jose.HS256, "none", ""} {
		if _, err := NewVerifier(origin, &Options{Algorithms: []jose.Algorithm{jose.ES256, alg}}); err == nil {
			t.Errorf("a verifier accepts %q", alg)
		}
	}
}

func TestRFC9449Check6TheSignatureIsOfTheKeyInTheHeader(t *testing.T) {
	refused(t, "signed by another", ErrProof, func(f forge, x *trial) {
		x.proofs = []string{newForge(t).sign(x.header, object(x.claims))}
	})
	refused(t, "claims changed afterwards", ErrProof, func(f forge, x *trial) {
		parts := strings.Split(f.sign(x.header, object(x.claims)), ".")
		x.claims["jti"] = `"another"`
		x.proofs = []string{parts[0] + "." + b64([]byte(object(x.claims))) + "." + parts[2]}
	})
	for name, signature := range map[string][]byte{
		"zeros": make([]byte, 64), "short": make([]byte, 63), "long": make([]byte, 65), "one byte": {0},
	} {
		refused(t, name, ErrProof, func(f forge, x *trial) {
			p := f.sign(x.header, object(x.claims))
			x.proofs = []string{p[:strings.LastIndex(p, ".")+1] + b64(signature)}
		})
	}
	refused(t, "r and s of the group's order", ErrProof, func(f forge, x *trial) {
		p := f.sign(x.header, object(x.claims))
		n := elliptic.P256().Params().N.Bytes()
		x.proofs = []string{p[:strings.LastIndex(p, ".")+1] + b64(append(n, n...))}
	})
	refused(t, "DER", ErrProof, func(f forge, x *trial) {
		p := f.sign(x.header, object(x.claims))
		input := p[:strings.LastIndex(p, ".")]
		digest := sha256.Sum256([]byte(input))
		der, _ := ecdsa.SignASN1(rand.Reader, f.key, digest[:])
		x.proofs = []string{input + "." + b64(der)}
	})
	// A key that stands elsewhere is nobody's: only jwk counts.
	for _, where := range []string{`"kid":"1"`, `"jku":"https://evil.example.test/keys"`, `"x5u":"https://evil.example.test/c"`, `"x5c":["AAAA"]`} {
		refused(t, where, ErrProof, func(_ forge, x *trial) { x.header = `{"typ":"dpop+jwt","alg":"ES256",` + where + `}` })
		// Beside it it is passed over.
		if err := try(t, nil, func(_ forge, x *trial) {
			x.header = strings.Replace(x.header, `"alg"`, where+`,"alg"`, 1)
		}); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
}

func TestRFC9449Check7TheKeyIsPublicAndGood(t *testing.T) {
	f := newForge(t)
	d, _ := f.key.Bytes()
	for _, member := range []string{`"d":"` + b64(d) + `"`, `"d":""`, `"d":null`, `"k":"AAAA"`, `"p":"AAAA"`} {
		refused(t, member, ErrProof, func(g forge, x *trial) {
			x.jkt = f.jkt
			h := strings.Replace(f.header(), `"kty"`, member+`,"kty"`, 1)
			x.proofs = []string{f.sign(h, object(x.claims))}
		})
	}
	zero, one := b64(make([]byte, 32)), b64(append(make([]byte, 31), 1))
	prime := b64(elliptic.P256().Params().P.Bytes())
	for name, jwk := range map[string]string{
		"no object":             `"key"`,
		"null":                  `null`,
		"an array":              `[]`,
		"empty":                 `{}`,
		"symmetric":             `{"kty":"oct","k":"` + b64(make([]byte, 32)) + `"}`,
		"none's":                `{"kty":"none"}`,
		"the point at infinity": `{"kty":"EC","crv":"P-256","x":"` + zero + `","y":"` + zero + `"}`,
		"off the curve":         `{"kty":"EC","crv":"P-256","x":"` + one + `","y":"` + one + `"}`,
		"beyond the field":      `{"kty":"EC","crv":"P-256","x":"` + prime + `","y":"` + prime + `"}`,
		"of another curve":      `{"kty":"EC","crv":"P-384","x":"` + one + `","y":"` + one + `"}`,
		"of secp256k1":          `{"kty":"EC","crv":"secp256k1","x":"` + one + `","y":"` + one + `"}`,
		"a short coordinate":    `{"kty":"EC","crv":"P-256","x":"AQ","y":"` + one + `"}`,
		"no y":                  `{"kty":"EC","crv":"P-256","x":"` + one + `"}`,
		"for encryption":        strings.Replace(f.jwk(), `"kty"`, `"use":"enc","kty"`, 1),
		"for another algorithm": strings.Replace(f.jwk(), `"kty"`, `"alg":"ES384","kty"`, 1),
		"not to verify with":    strings.Replace(f.jwk(), `"kty"`, `"key_ops":["deriveBits"],"kty"`, 1),
		"x twice":               strings.Replace(f.jwk(), `"kty"`, `"x":"`+one+`","kty"`, 1),
	} {
		refused(t, name, ErrProof, func(_ forge, x *trial) {
			x.proofs = []string{f.sign(`{"typ":"dpop+jwt","alg":"ES256","jwk":`+jwk+`}`, object(x.claims))}
		})
	}
	// crypto/ed25519 takes a made-up signature for the key that is the identity.
	identity := append([]byte{1}, make([]byte, 31)...)
	refused(t, "the identity of Ed25519", ErrProof, func(_ forge, x *trial) {
		h := `{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"` + b64(identity) + `"}}`
		input := b64([]byte(h)) + "." + b64([]byte(object(x.claims)))
		signature := append(identity[:32:32], make([]byte, 32)...)
		if !ed25519.Verify(identity, []byte(input), signature) {
			t.Error("the attack is gone from crypto/ed25519")
		}
		x.proofs = []string{input + "." + b64(signature)}
	})
	refused(t, "X25519", ErrProof, func(_ forge, x *trial) {
		x.header = `{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"X25519","x":"` + b64(identity) + `"}}`
	})
}

// Where RSA is accepted, a weak or absurd key is not.
func TestAWeakRSAKeyProvesNothing(t *testing.T) {
	o := &Options{Algorithms: []jose.Algorithm{jose.RS256}, MaxLength: 16 << 10, InsecureNoNonce: true}
	for name, n := range map[string]*big.Int{
		"1024 bits":  new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1024), big.NewInt(1)),
		"even":       new(big.Int).Lsh(big.NewInt(1), 2047),
		"16384 bits": new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 16384), big.NewInt(1)),
	} {
		err := try(t, o, func(_ forge, x *trial) {
			x.header = `{"typ":"dpop+jwt","alg":"RS256","jwk":{"kty":"RSA","e":"AQAB","n":"` + b64(n.Bytes()) + `"}}`
		})
		if !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	err = try(t, o, func(_ forge, x *trial) {
		k, err := jose.NewKey(jose.RS256, "", key)
		if err != nil {
			t.Fatal(err)
		}
		x.jkt = k.Thumbprint()
		h := `{"typ":"dpop+jwt","alg":"RS256","jwk":{"kty":"RSA","e":"AQAB","n":"` + b64(key.N.Bytes()) + `"}}`
		input := b64([]byte(h)) + "." + b64([]byte(object(x.claims)))
		digest := sha256.Sum256([]byte(input))
		signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		x.proofs = []string{input + "." + b64(signature)}
	})
	if err != nil {
		t.Errorf("2048 bits: %v", err)
	}
}

func TestRFC9449Check8TheMethodIsTheRequests(t *testing.T) {
	for _, method := range []string{"POST", "get", "Get", " GET", "HEAD"} {
		refused(t, method, ErrProof, func(_ forge, x *trial) { x.claims["htm"] = `"` + method + `"` })
	}
	refused(t, "sent with another", ErrProof, func(_ forge, x *trial) { x.r.Method = "DELETE" })
}

func TestRFC9449Check9TheURIIsTheRequests(t *testing.T) {
	for _, uri := range []string{
		"http://api.example.test/orders/4711", "https://api.example.test:8443/orders/4711", "https://api.example.test.evil.test/orders/4711",
		"https://evil.test/orders/4711", "https://api.example.test@evil.test/orders/4711", "https://u@api.example.test/orders/4711",
		"https://api.example.test/orders/4712", "https://api.example.test/orders/4711/", "https://api.example.test/Orders/4711",
		"https://api.example.test/orders%2F4711", "https://api.example.test//orders/4711", "https://api.example.test/orders/4711%00",
		"/orders/4711", "//api.example.test/orders/4711", "https:/orders/4711", "https:api.example.test/orders/4711", "https://api.example.test",
		"https://api.example.test/orders/4711%", "https://api.example.test\x7f/orders/4711", "urn:x", "wss://api.example.test/orders/4711",
		`https://api.example.test\orders\4711`, "https://api.example.test/orders/4711;x",
	} {
		refused(t, uri, ErrProof, func(_ forge, x *trial) { x.claims["htu"] = fmt.Sprintf("%q", uri) })
	}
	for _, uri := range []string{
		target + "?page=3", target + "#top", target + "?", "HTTPS://API.example.TEST/orders/4711", "https://api.example.test:443/orders/4711",
		"https://api.example.test:/orders/4711", "https://api.example.test/%6frders/%34711", "https://api.example.test/x/../orders/./4711",
		"https://api.example.test/%2e%2e/orders/4711",
	} {
		if err := try(t, nil, func(_ forge, x *trial) { x.claims["htu"] = `"` + uri + `"` }); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
	// What the request says of its host is the attacker's to say: he has a proof
	// for his own site and hands it on.
	refused(t, "a Host that fits a proof for another site", ErrProof, func(_ forge, x *trial) {
		x.claims["htu"] = `"https://evil.test/orders/4711"`
		x.r.Host = "evil.test"
		x.r.Header.Set("X-Forwarded-Host", "evil.test")
	})
	if err := try(t, nil, func(_ forge, x *trial) { x.r.Host = "10.0.0.7:8080" }); err != nil {
		t.Errorf("behind a proxy: %v", err)
	}
}

func TestRFC9449Check10TheNonceIsOurs(t *testing.T) {
	forged := newNonces(make([]byte, 32))
	for name, nonce := range map[string]string{
		"":                 "",
		"empty":            `""`,
		"made up":          `"eyJ7S_zG.eyJH0-Z.HX4w-7v"`,
		"24 letters":       `"AAAAAAAAAAAAAAAAAAAAAAAA"`,
		"of another key":   `"` + forged.at(time.Now().UnixMilli()) + `"`,
		"long":             `"` + strings.Repeat("A", 1000) + `"`,
		"of line breaks":   `"` + strings.Repeat(`\n`, 24) + `"`,
		"of the time only": `"` + b64(make([]byte, 6)) + `"`,
	} {
		if err := try(t, nil, func(_ forge, x *trial) { x.claims["nonce"] = nonce }); !errors.Is(err, ErrNonce) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := try(t, nil, func(_ forge, x *trial) { x.claims["nonce"] = "1" }); !errors.Is(err, ErrProof) {
		t.Errorf("a number: %v", err)
	}
	v := newVerifier(t, nil)
	nonce := v.Nonce(time.Now())
	for i := range len(nonce) {
		changed := []byte(nonce)
		changed[i] ^= 1
		if _, ok := v.nonces.read(string(changed)); ok {
			t.Errorf("%s is taken for %s", changed, nonce)
		}
	}
}

func TestRFC9449Check11TheProofIsRecent(t *testing.T) {
	for name, test := range map[string]struct {
		after time.Duration // when it is presented
		want  error
	}{
		"at once":               {0, nil},
		"after 59 s":            {59 * time.Second, nil},
		"after 62 s":            {62 * time.Second, ErrProof},
		"after a day":           {24 * time.Hour, ErrProof},
		"8 s before it is made": {-8 * time.Second, nil},
		"12 s before":           {-12 * time.Second, ErrProof},
		"a year before":         {-365 * 24 * time.Hour, ErrProof},
	} {
		later := func(_ forge, x *trial) { x.now = x.now.Add(test.after) }
		if err := try(t, noNonce, later); !errors.Is(err, test.want) {
			t.Errorf("%s, by iat: %v", name, err)
		}
		want := test.want
		if want != nil {
			want = ErrNonce // a new one helps
		}
		if err := try(t, nil, later); !errors.Is(err, want) {
			t.Errorf("%s, by nonce: %v", name, err)
		}
	}
	refused(t, "exp says no", ErrProof, func(_ forge, x *trial) { x.claims["exp"] = fmt.Sprint(x.now.Unix() - 1) })
	if err := try(t, nil, func(_ forge, x *trial) { x.claims["nbf"] = fmt.Sprint(x.now.Unix() + 10) }); err != nil {
		t.Errorf("a clock that is ahead by what clocks may: %v", err)
	}
	refused(t, "nbf says not yet", ErrProof, func(_ forge, x *trial) { x.claims["nbf"] = fmt.Sprint(x.now.Unix() + 100) })
}

// A telephone's clock may be off by an hour; with a nonce its proofs count.
func TestWithANonceTheSendersClockMayBeWrong(t *testing.T) {
	for _, iat := range []int64{1, time.Now().Unix() + 3600} {
		wrong := func(_ forge, x *trial) { x.claims["iat"] = fmt.Sprint(iat) }
		if err := try(t, nil, wrong); err != nil {
			t.Errorf("iat %d: %v", iat, err)
		}
		if err := try(t, noNonce, wrong); !errors.Is(err, ErrProof) {
			t.Errorf("iat %d without a nonce: %v", iat, err)
		}
	}
}

func TestRFC9449Check12TheProofIsForThisTokenAndByItsKey(t *testing.T) {
	for _, ath := range []string{``, `""`, `"` + hashOf("another.access.token") + `"`, `"` + hashOf(token) + `="`, `"` + token + `"`} {
		refused(t, "ath "+ath, ErrProof, func(_ forge, x *trial) { x.claims["ath"] = ath })
	}
	refused(t, "another token sent", ErrProof, func(_ forge, x *trial) { x.token = "another.access.token" })
	refused(t, "the token of another key", ErrOtherKey, func(_ forge, x *trial) { x.jkt = newForge(t).jkt })
	for _, jkt := range []string{"", "A", strings.Repeat("A", 43)} {
		refused(t, "jkt "+jkt, ErrOtherKey, func(_ forge, x *trial) { x.jkt = jkt })
	}
	refused(t, "no token at all", ErrOtherKey, func(_ forge, x *trial) { x.token = "" })
}

func TestAProofCountsOnce(t *testing.T) {
	for _, o := range []*Options{nil, noNonce} {
		f, v, now := newForge(t), newVerifier(t, o), time.Now()
		c := claims(now, v.Nonce(now))
		r := request(f.sign(f.header(), object(c)))
		if err := v.checkAt(r, token, f.jkt, now); err != nil {
			t.Fatal(err)
		}
		if err := v.checkAt(r, token, f.jkt, now.Add(time.Second)); !errors.Is(err, ErrReplayed) {
			t.Errorf("the second time: %v", err)
		}
		// ECDSA lets anybody who has the key, and nearly anybody else, make
		// another signature of the same: it is the same proof.
		if err := v.checkAt(request(f.sign(f.header(), object(c))), token, f.jkt, now); !errors.Is(err, ErrReplayed) {
			t.Errorf("signed again: %v", err)
		}
		g := newForge(t)
		if err := v.checkAt(request(g.sign(g.header(), object(c))), token, g.jkt, now); err != nil {
			t.Errorf("another key's with the same jti: %v", err)
		}
	}
}

// Who does not have the token's key must not be able to use up proofs of who
// has, or room.
func TestARefusedProofIsNotSpent(t *testing.T) {
	f, v, now := newForge(t), newVerifier(t, nil), time.Now()
	r := request(f.sign(f.header(), object(claims(now, v.Nonce(now)))))
	if err := v.checkAt(r, token, newForge(t).jkt, now); !errors.Is(err, ErrOtherKey) {
		t.Fatal(err)
	}
	if err := v.checkAt(r, token, f.jkt, now); err != nil {
		t.Error(err)
	}
}

// Without nonces there is no way to ask for a newer proof, but it is no reason
// to throw the token away.
func TestWithoutNoncesAFloodIsAnsweredWith503(t *testing.T) {
	f, v, now := newForge(t), newVerifier(t, &Options{InsecureNoNonce: true, MaxReplays: 32}), time.Now()
	var err error
	for i := range 10 {
		c := claims(now.Add(time.Duration(-i)*time.Second), "")
		if err = v.checkAt(request(f.sign(f.header(), object(c))), token, f.jkt, now); err != nil {
			break
		}
	}
	wait, ok := errors.AsType[*admit.RetryError](err)
	if !errors.Is(err, ErrBusy) || admit.KindOf(err) != admit.Unavailable || !ok || wait.After != time.Second {
		t.Error(err)
	}
}

func TestARestartRevivesNoProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, o := range map[string]*Options{"a key of its own": nil, "a common key": {NonceKey: []byte(strings.Repeat("k", 32))}} {
			f, before := newForge(t), newVerifier(t, o)
			time.Sleep(time.Second)
			r := request(f.sign(f.header(), object(claims(time.Now(), before.Nonce(time.Now())))))
			if err := before.Check(r, token, f.jkt); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			time.Sleep(time.Second)
			after := newVerifier(t, o)
			if err := after.Check(r, token, f.jkt); !errors.Is(err, ErrNonce) {
				t.Errorf("%s: %v", name, err)
			}
			time.Sleep(time.Millisecond)
			now := time.Now()
			if err := after.Check(request(f.sign(f.header(), object(claims(now, after.Nonce(now))))), token, f.jkt); err != nil {
				t.Errorf("%s: with the new nonce: %v", name, err)
			}
		}
	})
}

// With one key for all, a client may go from one process to the next.
func TestACommonKeyMakesNoncesThatAllTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Options{NonceKey: []byte(strings.Repeat("k", 32))}
		a, b, f := newVerifier(t, o), newVerifier(t, o), newForge(t)
		time.Sleep(time.Second)
		now := time.Now()
		if err := b.Check(request(f.sign(f.header(), object(claims(now, a.Nonce(now))))), token, f.jkt); err != nil {
			t.Error(err)
		}
	})
}

func TestARefusalBringsItsChallenge(t *testing.T) {
	for want, change := range map[string]func(f forge, x *trial){
		`DPoP error="invalid_dpop_proof", algs="ES256 EdDSA"`: func(_ forge, x *trial) { x.proofs = []string{} },
		`DPoP error="use_dpop_nonce", algs="ES256 EdDSA"`:     func(_ forge, x *trial) { x.claims["nonce"] = "" },
		`DPoP error="invalid_token", algs="ES256 EdDSA"`:      func(_ forge, x *trial) { x.jkt = "another" },
	} {
		err := try(t, nil, change)
		c, ok := errors.AsType[interface {
			error
			Challenge() string
		}](err)
		if !ok || c.Challenge() != want || admit.KindOf(err) != admit.Unauthenticated {
			t.Errorf("%v: want %s", err, want)
		}
	}
}

func TestWhoSendsProofsIsToldANonceWithEachAnswer(t *testing.T) {
	v := newVerifier(t, nil)
	h := v.Handler(http.NotFoundHandler())
	for name, test := range map[string]struct {
		header, value string
		told          bool
	}{
		"nothing":               {"Accept", "*/*", false},
		"a bearer token":        {"Authorization", "Bearer " + token, false},
		"a token, but no proof": {"Authorization", "dpop " + token, true},
		"a proof":               {"DPoP", "x", true},
	} {
		r, w := httptest.NewRequest("GET", target, nil), httptest.NewRecorder()
		r.Header.Set(test.header, test.value)
		h.ServeHTTP(w, r)
		nonce := w.Header().Get("DPoP-Nonce")
		if _, ok := v.nonces.read(nonce); ok != test.told || (nonce != "") != test.told {
			t.Errorf("%s: nonce %q", name, nonce)
		}
	}
	if v := newVerifier(t, noNonce); v.Nonce(time.Now()) != "" {
		t.Error("a nonce where none is demanded")
	}
}

func TestAVerifierNeedsAnOriginThatNobodyListensIn(t *testing.T) {
	for _, bad := range []string{"", "api.example.test", "http://api.example.test", "https://", "https://u:p@api.example.test", "https://a.test/?x", "https://a.test/#x", "ftp://a.test", "https:a.test", "/x"} {
		if _, err := NewVerifier(bad, nil); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"https://api.example.test", "https://API.example.test:443/", "http://localhost:8080", "http://127.0.0.1:1", "http://[::1]:8080", "https://a.test/api"} {
		if _, err := NewVerifier(good, nil); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []Options{{Window: -1}, {Window: time.Hour}, {MaxReplays: -1}, {MaxLength: -1}, {NonceKey: make([]byte, 31)}, {NonceKey: []byte{}}} {
		if _, err := NewVerifier(origin, &bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if _, err := NewVerifier("http://api.example.test", &Options{InsecureAllowHTTP: true}); err != nil {
		t.Error(err)
	}
	v, err := NewVerifier("https://a.test/api/", noNonce)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "http://10.0.0.1/orders", nil)
	if !v.here(r, "https://a.test/api/orders") || v.here(r, "https://a.test/orders") {
		t.Error("the path of the origin goes not before the request's")
	}
}

func TestACheckTakesFewAllocations(t *testing.T) {
	f, v, now := newForge(t), newVerifier(t, nil), time.Now()
	var sent []*http.Request
	for range 202 {
		sent = append(sent, request(f.sign(f.header(), object(claims(now, v.Nonce(now))))))
	}
	i := 0
	if n := testing.AllocsPerRun(200, func() {
		if err := v.checkAt(sent[i], token, f.jkt, now); err != nil {
			t.Fatal(err)
		}
		i++
	}); n > 48 { // 40, and with -race some 6 or 7 more: it takes things out of pools by chance
		t.Errorf("%v allocations", n)
	}
}

// Keys of nonces are replaced while the program runs: the one before counts until it is
// taken away.
func TestTheKeysOfNoncesAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := func(b string) []byte { return []byte(strings.Repeat(b, 32)) }
		ring := [][]byte{key("a")}
		v, f := newVerifier(t, &Options{NonceKeys: func() [][]byte { return ring }}), newForge(t)
		time.Sleep(time.Second)
		now := time.Now()
		old := v.Nonce(now)
		check := func(nonce string) error {
			return v.Check(request(f.sign(f.header(), object(claims(now, nonce)))), token, f.jkt)
		}
		if err := check(old); err != nil {
			t.Error(err)
		}
		ring = [][]byte{key("b"), key("a")}
		if v.Nonce(now) == old {
			t.Error("nonces are made with the key before still")
		}
		if err := errors.Join(check(old), check(v.Nonce(now))); err != nil {
			t.Error(err)
		}
		ring = [][]byte{key("b")}
		if err := check(old); !errors.Is(err, ErrNonce) {
			t.Errorf("a nonce of a key that was taken away: %v", err)
		}
		if _, err := NewVerifier(origin, &Options{NonceKey: key("a"), NonceKeys: func() [][]byte { return ring }}); err == nil {
			t.Error("there may be two sorts of keys")
		}
	})
}

// What a proof is called is the same at every process, and no other proof's; and it is
// remembered for as long as it would be taken.
func TestAProofThatIsTakenHasANameEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Options{NonceKey: []byte(strings.Repeat("k", 32))}
		a, b, f := newVerifier(t, o), newVerifier(t, o), newForge(t)
		time.Sleep(time.Second)
		made := time.Now()
		c := claims(made, a.Nonce(made))
		r := request(f.sign(f.header(), object(c)))
		one, err := a.Take(r, token, made)
		if err != nil || one.JKT != f.jkt || len(one.ID) != 43 {
			t.Fatalf("%+v, %v", one, err)
		}
		if _, err := a.Take(r, token, made); !errors.Is(err, ErrReplayed) {
			t.Errorf("it is taken twice: %v", err)
		}
		if same, err := b.Take(r, token, made); err != nil || same != one {
			t.Errorf("another process calls it %+v, %v", same, err)
		}
		c["jti"] = `"another"`
		if other, err := a.Take(request(f.sign(f.header(), object(c))), token, made); err != nil || other.ID == one.ID {
			t.Errorf("another proof is called %+v, %v", other, err)
		}
		if _, err := newVerifier(t, o).Take(r, token, one.Until); !errors.Is(err, ErrNonce) {
			t.Errorf("it counts when it may be forgotten: %v", err)
		}
		if _, err := a.Take(r, "another token", made); !errors.Is(err, ErrProof) {
			t.Errorf("with another token: %v", err)
		}
	})
}

func TestTheAlgorithmsAreToldByEveryNameOfTheirs(t *testing.T) {
	for want, algs := range map[string][]jose.Algorithm{
		"[ES256 EdDSA Ed25519]": nil, "[PS256 ES384]": {jose.PS256, jose.ES384},
	} {
		if got := fmt.Sprint(newVerifier(t, &Options{Algorithms: algs}).Algorithms()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
