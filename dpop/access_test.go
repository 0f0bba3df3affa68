package dpop_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/jose"
)

// What a thief can do with a token that is bound to a key: nothing, at a service
// that is made of packages access, authn and dpop.
func TestAttackAStolenTokenIsOfNoUseWithoutItsKey(t *testing.T) {
	const issuer, audience = "https://auth.example.test", "https://api.example.test"
	signing, err := jose.GenerateKey(jose.ES256, "k1")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(nil)
	origin := "http://" + server.Listener.Addr().String()
	proofs, err := dpop.NewVerifier(origin, nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := access.NewVerifier(issuer, audience, &access.Options{
		Keys: jose.NewKeySet(signing.Public()), InsecureNoFeed: true, Proof: proofs.Check,
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = proofs.Handler(authn.New(tokens).Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := admit.FromContext(r.Context())
		fmt.Fprintf(w, `{"code":%q}`, p.Subject)
	})))
	server.Start()
	defer server.Close()

	owner, thief := prover(t), prover(t)
	signer, err := jose.NewSigner[access.Claims](signing, "at+jwt", nil)
	if err != nil {
		t.Fatal(err)
	}
	token := func(c *access.Confirmation) string {
		text, err := signer.Sign(&jose.Claims[access.Claims]{
			Issuer: issuer, Audience: []string{audience}, Subject: "alice", Expires: time.Now().Add(time.Minute), Data: access.Claims{Confirmation: c},
		})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	bound, unbound := token(&access.Confirmation{JKT: owner.Thumbprint()}), token(nil)
	const bearer = `Bearer error="invalid_token"`
	invalid := func(code string) string { return `DPoP error="` + code + `", algs="ES256 EdDSA"` }
	var last *http.Request // as it was sent
	kept := keeper{&last}
	for _, test := range []struct {
		name          string
		by            http.RoundTripper
		authorization string
		status        int
		code          string
		challenge     string
	}{
		{"its owner", owner.Transport(kept), "DPoP " + bound, 200, "alice", ""},
		{"who sends what its owner sent", replayer{&last}, "", 401, "dpop_proof_replayed", invalid("invalid_dpop_proof")},
		{"a thief with a key of his own", thief.Transport(nil), "DPoP " + bound, 401, "dpop_other_key", invalid("invalid_token")},
		{"a thief without a key", http.DefaultTransport, "DPoP " + bound, 401, "invalid_dpop_proof", invalid("invalid_dpop_proof")},
		{"a thief who calls it a bearer token", http.DefaultTransport, "Bearer " + bound, 401, "token_bound", `DPoP error="invalid_token"`},
		{"the same with a proof", owner.Transport(nil), "Bearer " + bound, 401, "token_bound", `DPoP error="invalid_token"`},
		{"a proof for a token that is bound to no key", owner.Transport(nil), "DPoP " + unbound, 401, "token_unbound", bearer},
		{"a bearer token", http.DefaultTransport, "Bearer " + unbound, 200, "alice", ""},
	} {
		r, err := http.NewRequest("GET", origin+"/orders?page=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", test.authorization)
		answer, err := (&http.Client{Transport: test.by}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Code string }
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || json.NewDecoder(bytes.NewReader(text)).Decode(&said) != nil {
			t.Fatalf("%s: %s, %v", test.name, text, err)
		}
		if got := answer.Header.Get("WWW-Authenticate"); answer.StatusCode != test.status || said.Code != test.code || got != test.challenge {
			t.Errorf("%s: %d %s, %q", test.name, answer.StatusCode, said.Code, got)
		}
	}
}

func prover(t *testing.T) *dpop.Prover {
	t.Helper()
	key, err := jose.GenerateKey(jose.ES256, "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := dpop.NewProver(key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A keeper keeps the last request, and a replayer sends it in place of another.
type (
	keeper   struct{ last **http.Request }
	replayer struct{ last **http.Request }
)

func (k keeper) RoundTrip(r *http.Request) (*http.Response, error) {
	*k.last = r
	return http.DefaultTransport.RoundTrip(r)
}

func (p replayer) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip((*p.last).Clone(r.Context()))
}
