package jose_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
)

// A job is one thing that peers.mjs does, and what it is done with.
type job struct {
	Do       string          `json:"do"`
	Alg      string          `json:"alg,omitempty"`
	Enc      string          `json:"enc,omitempty"`
	Crv      string          `json:"crv,omitempty"`
	JWK      json.RawMessage `json:"jwk,omitempty"`
	Token    string          `json:"token,omitempty"`
	Text     string          `json:"text,omitempty"`
	Claims   map[string]any  `json:"claims,omitempty"`
	Issuer   string          `json:"issuer,omitempty"`
	Audience string          `json:"audience,omitempty"`
}

// An answer is what became of a job.
type answer struct {
	Value json.RawMessage
	Error string
}

func (a answer) text(t *testing.T) string {
	t.Helper()
	var s string
	if a.Error != "" {
		t.Error(a.Error)
	} else if err := json.Unmarshal(a.Value, &s); err != nil {
		t.Error(err)
	}
	return s
}

// inNode does the jobs. Where Node or its packages are missing, it is a failure
// on the machine that is to test everything, and a loud skip elsewhere.
func inNode(t *testing.T, jobs []job) []answer {
	t.Helper()
	_, err := os.Stat(filepath.Join("node_modules", "jose"))
	if err == nil {
		_, err = exec.LookPath("node")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "jose: SKIPPED, Node's libraries were not asked: %v\njose: run make test SETUP=1, or apt-get install npm, and npm ci in conformance/jose\n", err)
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	in, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "node", "peers.mjs")
	c.Stdin = bytes.NewReader(in)
	out, err := c.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%v: %s", err, failed.Stderr)
	}
	var answers []answer
	if err := errors.Join(err, json.Unmarshal(out, &answers)); err != nil || len(answers) != len(jobs) {
		t.Fatalf("%d answers for %d jobs: %v", len(answers), len(jobs), err)
	}
	return answers
}

// jwk returns the whole key, or its public half where it has one and the
// private one is not asked for.
func jwk(t *testing.T, k *jose.Key, private bool) json.RawMessage {
	t.Helper()
	if p := k.Public(); p != nil && !private {
		k = p
	}
	s, err := k.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return json.RawMessage(s.Reveal())
}

// knows reports whether Node's peer has the algorithm: jsonwebtoken has no
// Ed25519 under either name.
func knows(peer string, alg jose.Algorithm) bool {
	return peer == "jose" || !strings.HasPrefix(string(alg), "Ed")
}

func TestNodesLibrariesVerifyOursAndWeTheirs(t *testing.T) {
	algorithms := append([]jose.Algorithm{jose.Ed25519}, signatures...)
	type row struct {
		alg  jose.Algorithm
		peer string
		key  *jose.Key
	}
	var rows []row
	var jobs []job
	end := time.Now().Add(time.Hour)
	for _, alg := range algorithms {
		private, _ := material(t, alg)
		key, err := jose.NewKey(alg, "k", private)
		if err != nil {
			t.Fatal(err)
		}
		s, err := jose.NewSigner[own](key, "at+jwt", nil)
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.Sign(&jose.Claims[own]{Issuer: issuer, Audience: []string{audience}, Subject: "alice", Expires: end, Data: own{"a ü"}})
		if err != nil {
			t.Fatal(err)
		}
		claims := map[string]any{"iss": issuer, "aud": []string{"x", audience}, "sub": "bob", "exp": end.Unix(), "scope": "b 退"}
		for _, peer := range []string{"jose", "jsonwebtoken"} {
			if !knows(peer, alg) {
				continue
			}
			rows = append(rows, row{alg, peer, key})
			jobs = append(jobs,
				job{Do: peer + " verify", Alg: string(alg), JWK: jwk(t, key, false), Token: token, Issuer: issuer, Audience: audience},
				job{Do: peer + " sign", Alg: string(alg), JWK: jwk(t, key, true), Claims: claims})
		}
	}
	answers := inNode(t, jobs)
	for i, r := range rows {
		var read struct{ Sub, Scope string }
		ours, theirs := answers[2*i], answers[2*i+1]
		if err := json.Unmarshal(ours.Value, &read); err != nil || read.Sub != "alice" || read.Scope != "a ü" {
			t.Errorf("%s: %s reads ours: %+v, %s", r.alg, r.peer, read, ours.Error)
		}
		v, err := jose.NewVerifier[own](jose.NewKeySet(r.key), jose.Expected{Algorithms: []jose.Algorithm{r.alg}, Issuer: issuer, Audience: []string{audience}, Type: "at+jwt"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := v.Verify(t.Context(), theirs.text(t)); err != nil || c.Subject != "bob" || c.Data.Scope != "b 退" {
			t.Errorf("%s: we read %s's: %+v, %v", r.alg, r.peer, c, err)
		}
	}
}

func TestNodeDecryptsOursAndWeTheirs(t *testing.T) {
	const hello = "you can trust us to stick with you through thick and thin"
	type row struct {
		key *jose.Key
		enc jose.Encryption
	}
	var rows []row
	var jobs []job
	add := func(alg jose.Algorithm, enc jose.Encryption, private any) {
		key, err := jose.NewKey(alg, "k", private)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jose.Encrypt(key, enc, jose.Header{}, []byte(hello))
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row{key, enc})
		jobs = append(jobs,
			job{Do: "jose decrypt", Alg: string(alg), Enc: string(enc), JWK: jwk(t, key, true), Token: token},
			job{Do: "jose encrypt", Alg: string(alg), Enc: string(enc), JWK: jwk(t, key, false), Text: hello})
	}
	for _, alg := range managements {
		encs := encryptions
		if strings.HasPrefix(string(alg), "PBES2") {
			encs = encs[:1] // 600,000 rounds each
		}
		for _, enc := range encs {
			for _, private := range decrypting(t, alg, enc) {
				add(alg, enc, private)
			}
		}
	}
	answers := inNode(t, jobs)
	for i, r := range rows {
		alg := r.key.Algorithm()
		if got := answers[2*i].text(t); got != hello {
			t.Errorf("%s, %s: it reads ours: %q", alg, r.enc, got)
		}
		d, err := jose.NewDecrypter(jose.NewKeySet(r.key), []jose.Algorithm{alg}, []jose.Encryption{r.enc}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _, err := d.Decrypt(t.Context(), answers[2*i+1].text(t)); err != nil || string(b) != hello {
			t.Errorf("%s, %s: we read its: %q, %v", alg, r.enc, b, err)
		}
	}
}

// Keys that Node makes are read, have the same thumbprint, and sign.
func TestNodesKeysAreOurs(t *testing.T) {
	algorithms := append([]jose.Algorithm{jose.Ed25519}, signatures...)
	var jobs []job
	for _, alg := range algorithms {
		jobs = append(jobs, job{Do: "jose generate", Alg: string(alg)})
	}
	for _, crv := range []string{"P-256", "P-384", "P-521", "X25519"} {
		algorithms = append(algorithms, jose.ECDHES)
		jobs = append(jobs, job{Do: "jose generate", Alg: string(jose.ECDHES), Crv: crv})
	}
	var again []job
	keys := inNode(t, jobs)
	for _, k := range keys {
		again = append(again, job{Do: "jose thumbprint", JWK: k.Value})
	}
	for i, print := range inNode(t, again) {
		k, err := jose.ParseKey(keys[i].Value)
		if err != nil {
			t.Errorf("%s: %v, %s", algorithms[i], err, keys[i].Error)
			continue
		}
		if want := print.text(t); k.Thumbprint() != want {
			t.Errorf("%s: thumbprint %s, want %s", algorithms[i], k.Thumbprint(), want)
		}
		if _, err := k.For(algorithms[i]); err != nil {
			t.Errorf("%s: %v", algorithms[i], err)
		}
	}
}

// decrypting makes key material for an algorithm that manages keys: on each
// curve, where there are several.
func decrypting(t *testing.T, alg jose.Algorithm, enc jose.Encryption) []any {
	t.Helper()
	size := map[jose.Algorithm]int{jose.A128KW: 16, jose.A192KW: 24, jose.A256KW: 32, jose.A128GCMKW: 16, jose.A192GCMKW: 24, jose.A256GCMKW: 32}[alg]
	switch {
	case alg == jose.Dir:
		size = map[jose.Encryption]int{jose.A128GCM: 16, jose.A192GCM: 24, jose.A256GCM: 32, jose.A128CBCHS256: 32, jose.A192CBCHS384: 48, jose.A256CBCHS512: 64}[enc]
	case strings.HasPrefix(string(alg), "PBES2"):
		return []any{[]byte("correct horse battery staple")}
	case strings.HasPrefix(string(alg), "RSA"):
		private, _ := material(t, jose.RS256)
		return []any{private}
	case strings.HasPrefix(string(alg), "ECDH"):
		var all []any
		for _, curve := range []jose.Algorithm{jose.ES256, jose.ES384, jose.ES512} {
			private, _ := material(t, curve)
			all = append(all, private)
		}
		x, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return append(all, x)
	}
	b := make([]byte, size)
	rand.Read(b)
	return []any{b}
}
