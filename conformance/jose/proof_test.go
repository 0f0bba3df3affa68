package jose_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/jose"
)

func TestNodesLibraryVerifiesOurProofsAndWeItsOwn(t *testing.T) {
	const target, token = "https://api.example.test/orders/4711", "an.access.token"
	digest := sha256.Sum256([]byte(token))
	claims := map[string]any{"jti": "1", "htm": "POST", "htu": target, "ath": base64.RawURLEncoding.EncodeToString(digest[:])}
	algorithms := []jose.Algorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.Ed25519, jose.RS256, jose.PS256}
	r := httptest.NewRequest("POST", target+"?page=1", nil)
	var jobs []job
	var keys []string
	for _, alg := range algorithms {
		private, _ := material(t, alg)
		key, err := jose.NewKey(alg, "k", private)
		if err != nil {
			t.Fatal(err)
		}
		p, err := dpop.NewProver(key)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := p.Proof(r, token, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, p.Thumbprint())
		jobs = append(jobs, job{Do: "jose verify proof", Alg: string(alg), Token: proof}, job{Do: "jose sign proof", Alg: string(alg), Claims: claims})
	}
	answers := inNode(t, jobs)
	for i, alg := range algorithms {
		var ours struct{ HTM, HTU, ATH, JKT string }
		var theirs struct{ Proof, JKT string }
		for j, into := range []any{&ours, &theirs} {
			if a := answers[2*i+j]; a.Error != "" || json.Unmarshal(a.Value, into) != nil {
				t.Fatalf("%s: %s %s", alg, a.Error, a.Value)
			}
		}
		if ours.HTM != "POST" || ours.HTU != target || ours.ATH != claims["ath"] || ours.JKT != keys[i] {
			t.Errorf("%s: Node reads %+v", alg, ours)
		}
		v, err := dpop.NewVerifier("https://api.example.test", &dpop.Options{Algorithms: []jose.Algorithm{alg}, InsecureNoNonce: true})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("DPoP", theirs.Proof)
		if err := v.Check(r, token, theirs.JKT); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}
