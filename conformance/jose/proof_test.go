package jose_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
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

// One service may have processes of both, and one key for their nonces.
func TestOursForNodeAndForGoTakeEachOthersProofsAndNonces(t *testing.T) {
	const target, token = "https://api.example.test/orders/4711", "an.access.token"
	nonceKey := bytes.Repeat([]byte{7}, 32)
	v, err := dpop.NewVerifier("https://api.example.test", &dpop.Options{NonceKey: nonceKey})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", target+"?page=1", nil)
	var jobs []job
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA} {
		key, err := jose.GenerateKey(alg, "")
		if err != nil {
			t.Fatal(err)
		}
		p, err := dpop.NewProver(key)
		if err != nil {
			t.Fatal(err)
		}
		// Node starts in a moment, and takes no nonce from before.
		nonce := v.Nonce(time.Now().Add(8 * time.Second))
		p.Learn(&http.Response{Request: r, Header: http.Header{"Dpop-Nonce": {nonce}}})
		proof, err := p.Proof(r, token, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job{
			Do: "ours check proof", Alg: string(alg), Token: proof, Text: base64.RawURLEncoding.EncodeToString(nonceKey),
			Claims: map[string]any{"token": token, "jkt": p.Thumbprint()},
		})
	}
	jobs = append(jobs, job{Do: "ours sign proof", Claims: map[string]any{"htm": "POST", "htu": target + "?page=1", "token": token}})
	answers := inNode(t, jobs)
	for i, a := range answers[:2] {
		if a.text(t) != "taken" {
			t.Errorf("%s: %s", jobs[i].Alg, a.Value)
		}
	}
	var theirs struct{ Proof, JKT string }
	if a := answers[2]; a.Error != "" || json.Unmarshal(a.Value, &theirs) != nil {
		t.Fatalf("%s %s", a.Error, a.Value)
	}
	if v, err = dpop.NewVerifier("https://api.example.test", &dpop.Options{InsecureNoNonce: true}); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("DPoP", theirs.Proof)
	if err := v.Check(r, token, theirs.JKT); err != nil {
		t.Error(err)
	}
}
