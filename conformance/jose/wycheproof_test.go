// Package jose_test runs programs that we did not write against the library's
// jose: Wycheproof's vectors, and the libraries that people use today.
package jose_test

import (
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"slices"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/admit-auth/admit/jose"
)

// A suite is one file of Wycheproof's JOSE vectors.
type suite struct {
	NumberOfTests int
	TestGroups    []struct {
		Comment         string
		Public, Private json.RawMessage
		Tests           []struct {
			TcID     int
			Comment  string
			JWS, JWE text
			PT       string
			Result   string
		}
	}
}

// A text is a compact token, or JSON serialization as it stands.
type text string

func (s *text) UnmarshalJSON(b []byte) error {
	if b[0] != '"' {
		*s = text(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(s))
}

func load(t *testing.T, name string) suite {
	t.Helper()
	b, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var s suite
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	signatures = []jose.Algorithm{
		jose.HS256, jose.HS384, jose.HS512, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
	managements = []jose.Algorithm{
		jose.Dir, jose.A128KW, jose.A192KW, jose.A256KW, jose.A128GCMKW, jose.A192GCMKW, jose.A256GCMKW, jose.RSAOAEP, jose.RSAOAEP256,
		jose.ECDHES, jose.ECDHESA128KW, jose.ECDHESA192KW, jose.ECDHESA256KW,
		jose.PBES2HS256A128KW, jose.PBES2HS384A192KW, jose.PBES2HS512A256KW,
	}
	encryptions = []jose.Encryption{jose.A128GCM, jose.A192GCM, jose.A256GCM, jose.A128CBCHS256, jose.A192CBCHS384, jose.A256CBCHS512}
)

// open verifies or decrypts a token with the keys of a group, and reports
// whether it was accepted.
func open(t *testing.T, jwks json.RawMessage, jws, jwe string) ([]byte, bool) {
	keys, _, err := jose.ParseKeySet(jwks)
	if err != nil {
		return nil, false
	}
	if jwe != "" {
		d, err := jose.NewDecrypter(keys, managements, encryptions, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := d.Decrypt(t.Context(), jwe)
		return b, err == nil
	}
	v, err := jose.NewPayloadVerifier(keys, signatures, "", &jose.PayloadVerifierOptions{InsecureAnyType: true})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := v.Verify(t.Context(), jws)
	return b, err == nil
}

// decided are the vectors on which we decide otherwise than they are marked,
// each with the reason.
var decided = map[string]map[int]string{
	"json_web_signature_test.json": {
		346: "the header says PS384, its key PS256", 350: "the header says PS384, its key PS256",
		347: "the key says ES521, which does not exist", 351: "the key says ES521, which does not exist",
		372: "a character that is not base64url", 373: "a character that is not base64url",
		367: "byte for byte the token of 357, which is marked valid", 370: "byte for byte the token of 357, which is marked valid",
	},
	"json_web_encryption_test.json": {
		100: "RSA1_5", 101: "RSA1_5", 102: "RSA1_5", 103: "RSA1_5", 104: "RSA1_5", 105: "RSA1_5", 112: "RSA1_5", 128: "RSA1_5",
		135: "zip",
	},
	"json_web_key_test.json": {
		1: "a set with keys of both kinds: each is for its own algorithm, so nothing is mixed up",
		4: "two keys with one kid: both are tried",
	},
	"json_web_crypto_test.json": {
		47: "a set with keys of both kinds, as above",
	},
}

func TestWycheproof(t *testing.T) {
	for name, count := range map[string]int{
		"json_web_signature_test.json": 401, "json_web_encryption_test.json": 139, "json_web_key_test.json": 26, "json_web_crypto_test.json": 83,
	} {
		s := load(t, name)
		if s.NumberOfTests < count {
			t.Errorf("%s: %d tests, at least %d expected", name, s.NumberOfTests, count)
		}
		var unused []int
		for id := range decided[name] {
			unused = append(unused, id)
		}
		ran := 0
		for _, g := range s.TestGroups {
			key := g.Public
			if key == nil || g.Tests[0].JWE != "" {
				key = g.Private
			}
			for _, test := range g.Tests {
				ran++
				got, ok := open(t, key, string(test.JWS), string(test.JWE))
				why, otherwise := decided[name][test.TcID]
				unused = slices.DeleteFunc(unused, func(id int) bool { return id == test.TcID })
				if want := (test.Result == "valid") != otherwise; ok != want {
					t.Errorf("%s %d (%s): accepted: %t, marked %s, decided otherwise: %t %s", name, test.TcID, test.Comment, ok, test.Result, otherwise, why)
				}
				if ok && test.PT != "" && hex.EncodeToString(got) != test.PT {
					t.Errorf("%s %d (%s): %x, want %s", name, test.TcID, test.Comment, got, test.PT)
				}
			}
		}
		if ran != s.NumberOfTests {
			t.Errorf("%s: %d ran, of %d", name, ran, s.NumberOfTests)
		}
		if len(unused) > 0 {
			t.Errorf("%s: no such vectors: %v", name, unused)
		}
	}
}
