package jose

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A vector is one example of RFC 7520, as the IETF's cookbook keeps it.
type vector struct {
	Title string
	Input struct {
		Payload, Plaintext string
		Key                json.RawMessage
		Password           string `json:"pwd"`
		Alg                alg
		Enc                Encryption
	}
	Reproducible bool
	Output       struct {
		Compact string
		JSON    json.RawMessage
	}
}

// An alg is an algorithm; where an example has several, it is none.
type alg struct{ Algorithm }

func (a *alg) UnmarshalJSON(b []byte) error {
	json.Unmarshal(b, &a.Algorithm)
	return nil
}

func vectors(t *testing.T, pattern string) map[string]vector {
	t.Helper()
	files, err := filepath.Glob("testdata/rfc7520/" + pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", pattern, err)
	}
	all := map[string]vector{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[filepath.Base(f)] = v
	}
	return all
}

func parse(t *testing.T, jwk []byte) *Key {
	t.Helper()
	k, err := ParseKey(jwk)
	if err != nil {
		t.Fatalf("ParseKey: %v", err)
	}
	return k
}

// refusals are the examples that are refused by decision, and the error that
// says so.
var refusals = map[string]error{
	"4_5.signature_with_detached_content.json":                ErrSignature, // it is over what is not there
	"4_6.protecting_specific_header_fields.json":              ErrMalformed, // JSON serialization
	"4_7.protecting_content_only.json":                        ErrMalformed,
	"4_8.multiple_signatures.json":                            ErrMalformed,
	"4.2.hmac-sha2_b64_false.json":                            ErrMalformed, // JSON serialization
	"hmac-sha2_b64_false.json":                                ErrCritical,  // RFC 7797
	"5_1.key_encryption_using_rsa_v15_and_aes-hmac-sha2.json": ErrAlgorithm, // RSA1_5
	"5_9.compressed_content.json":                             ErrCritical,  // zip
	"5_10.including_additional_authentication_data.json":      ErrMalformed, // JSON serialization
	"5_11.protecting_specific_header_fields.json":             ErrMalformed,
	"5_12.protecting_content_only.json":                       ErrMalformed,
	"5_13.encrypting_to_multiple_recipients.json":             ErrMalformed,
}

func TestTheSignaturesOfRFC7520AreVerified(t *testing.T) {
	accepted := 0
	for _, pattern := range []string{"jws/*.json", "curve25519/jws.json", "rfc7797/*.json"} {
		for name, v := range vectors(t, pattern) {
			token := v.Output.Compact
			if token == "" {
				token = string(v.Output.JSON)
			}
			var keys KeySet
			for _, k := range rawKeys(t, v.Input.Key) {
				keys.keys = append(keys.keys, parse(t, k))
			}
			algorithms := []Algorithm{v.Input.Alg.Algorithm}
			if v.Input.Alg.Algorithm == "" {
				algorithms = []Algorithm{HS256, RS256, ES512}
			}
			verifier, err := NewPayloadVerifier(&keys, algorithms, "", &PayloadVerifierOptions{InsecureAnyType: true})
			if err != nil {
				t.Fatal(err)
			}
			payload, _, err := verifier.Verify(t.Context(), token)
			if want, refused := refusals[name]; refused {
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
				continue
			}
			if err != nil || string(payload) != v.Input.Payload {
				t.Errorf("%s: %q, %v", name, payload, err)
				continue
			}
			accepted++
			if v.Reproducible {
				k := keys.keys[0]
				k.alg = v.Input.Alg.Algorithm
				if again, err := Sign(k, Header{}, payload); err != nil || signatureOf(again) == "" || !sameBut(again, token) {
					t.Errorf("%s: signed again: %s, %v, want %s", name, again, err, token)
				}
			}
		}
	}
	if accepted != 5 {
		t.Errorf("%d signatures accepted, want 5", accepted)
	}
}

func signatureOf(token string) string { return token[strings.LastIndexByte(token, '.')+1:] }

// sameBut compares two tokens whose headers may order their members
// differently: then their signatures differ too, and the payloads alone are
// compared.
func sameBut(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	return len(as) == 3 && len(bs) == 3 && as[1] == bs[1] && (as[0] != bs[0] || as[2] == bs[2])
}

func rawKeys(t *testing.T, raw json.RawMessage) []json.RawMessage {
	t.Helper()
	if len(raw) == 0 || raw[0] != '[' {
		return []json.RawMessage{raw}
	}
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheEncryptionsOfRFC7520AreDecrypted(t *testing.T) {
	accepted := 0
	for _, pattern := range []string{"jwe/*.json", "curve25519/ecdh-es.json"} {
		for name, v := range vectors(t, pattern) {
			token := v.Output.Compact
			if token == "" {
				token = string(v.Output.JSON)
			}
			var keys KeySet
			if v.Input.Password != "" {
				k, err := NewKey(v.Input.Alg.Algorithm, "frodo.baggins@hobbiton.example", []byte(v.Input.Password))
				if err != nil {
					t.Fatal(err)
				}
				keys.keys = append(keys.keys, k)
			} else {
				for _, k := range rawKeys(t, v.Input.Key) {
					keys.keys = append(keys.keys, parse(t, k))
				}
			}
			algorithms := []Algorithm{v.Input.Alg.Algorithm}
			if _, ok := v.Input.Alg.managing(); !ok {
				algorithms = []Algorithm{RSAOAEP}
			}
			if v.Input.Enc.size() == 0 {
				v.Input.Enc = A128CBCHS256 // misspelt in one of them
			}
			d, err := NewDecrypter(&keys, algorithms, []Encryption{v.Input.Enc}, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			plaintext, _, err := d.Decrypt(t.Context(), token)
			if want, refused := refusals[name]; refused {
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
				continue
			}
			if err != nil || string(plaintext) != v.Input.Plaintext {
				t.Errorf("%s: %q, %v", name, plaintext, err)
				continue
			}
			accepted++
		}
	}
	if accepted != 8 {
		t.Errorf("%d encryptions accepted, want 8", accepted)
	}
}

func TestTheKeysOfRFC7520AreReadAndWritten(t *testing.T) {
	files, _ := filepath.Glob("testdata/rfc7520/jwk/*.json")
	if len(files) != 6 {
		t.Fatalf("%d files", len(files))
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		k, err := ParseKey(text)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		secret, err := k.Reveal()
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		var want, got map[string]any
		json.Unmarshal(text, &want)
		if err := json.Unmarshal([]byte(secret.Reveal()), &got); err != nil {
			t.Fatal(err)
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: %s is %v, want %v", f, name, got[name], value)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d members, want %d", f, len(got), len(want))
		}
	}
}

// The example of RFC 7638 section 3.1, and RFC 8037 appendix A.3.
func TestThumbprintsAreThoseOfTheRFCs(t *testing.T) {
	for _, test := range []struct{ jwk, want string }{
		{`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`,
			"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
	} {
		if got := parse(t, []byte(test.jwk)).Thumbprint(); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}
