package jose

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
)

var update = flag.Bool("update", false, "write the cases that other verifiers are tested with")

// The verifiers in clients are for public keys alone, so that what they are
// tested with says ES256 where it says HS256 here. Whoever runs the cases signs
// them: headers and payloads are in base64url.
func TestVerifiersInOtherLanguagesAreTestedWithTheSameTokens(t *testing.T) {
	const file = "../clients/js/test/hostile.json"
	type row struct {
		Name    string `json:"name"`
		Header  string `json:"header"`
		Payload string `json:"payload"`
		Code    string `json:"code"` // "" is accepted
	}
	key, err := GenerateKey(ES256, "k")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(25 * 365 * 24 * time.Hour) // to a time that is always the same
		v := newVerifier(t, key.Public(), nil)
		var rows []row
		curve := strings.NewReplacer("HS256", "ES256", "HS512", "ES512", "hs256", "es256")
		for _, h := range append(hostiles(), hostile{"nothing is wrong with this one", usual, claimsAnd(""), nil}) {
			r := row{Name: curve.Replace(h.name), Header: encode64([]byte(curve.Replace(h.header))), Payload: encode64([]byte(h.payload))}
			if e, ok := errors.AsType[*admit.Error](h.want); ok {
				r.Code = e.Code()
			}
			s, err := newSigning(key, Header{})
			if err != nil {
				t.Fatal(err)
			}
			s.header = []byte(r.Header + ".")
			token, err := s.sign(&scratch{payload: []byte(h.payload)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, h.want) {
				t.Errorf("%s: %v, want %v", r.Name, err, h.want)
			}
			rows = append(rows, r)
		}
		text, err := json.MarshalIndent(map[string]any{"now": time.Now().Unix(), "issuer": issuer, "audience": audience, "cases": rows}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
		if *update {
			if err := os.WriteFile(file, text, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, text) {
			t.Errorf("%s is out of date (%v): go test ./jose -run InOtherLanguages -update", file, err)
		}
	})
}
