package jose_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	peer "github.com/go-jose/go-jose/v4"
	peerjwt "github.com/go-jose/go-jose/v4/jwt"
	golang "github.com/golang-jwt/jwt/v5"

	"github.com/admit-auth/admit/server"
)

// signedInWith starts a server, signs up for JWTs, and returns the issuer and an
// access token.
func signedInWith(t *testing.T) (issuer, token string) {
	t.Helper()
	s, err := server.New(t.Context(), server.Config{Listen: "localhost:0", Data: t.TempDir(), Dev: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	issuer = s.Ready().URL
	body, err := json.Marshal(map[string]string{"identifier": "ann", "password": "a long password of ann", "as": "jwt"})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(issuer+"/api/v1/signup", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.Access == "" {
		t.Fatalf("sign-up: %s, %v", res.Status, err)
	}
	return issuer, got.Access
}

// publishedBy reads the keys that an issuer publishes. Who is the first to ask waits
// until RSA keys are made, on a busy machine for longer than some libraries would.
func publishedBy(t *testing.T, issuer string) (set peer.JSONWebKeySet) {
	t.Helper()
	res, err := http.Get(issuer + "/oauth/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	return set
}

// Programs that know nothing of us verify what our server has signed, with the
// keys that it publishes and no more.
func TestPeersVerifyTokensOfTheServerByItsPublishedKeys(t *testing.T) {
	issuer, token := signedInWith(t)
	set := publishedBy(t, issuer)

	signed, err := peerjwt.ParseSigned(token, []peer.SignatureAlgorithm{peer.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims peerjwt.Claims
	if err := signed.Claims(set, &claims); err != nil {
		t.Fatalf("go-jose: %v", err)
	}
	if err := claims.Validate(peerjwt.Expected{Issuer: issuer, AnyAudience: peerjwt.Audience{issuer}, Time: time.Now()}); err != nil || claims.Subject == "" {
		t.Errorf("go-jose reads %+v: %v", claims, err)
	}

	parser := golang.NewParser(golang.WithValidMethods([]string{"ES256"}), golang.WithIssuer(issuer), golang.WithAudience(issuer), golang.WithExpirationRequired(), golang.WithIssuedAt())
	read, err := parser.Parse(token, func(t *golang.Token) (any, error) {
		keys := set.Key(t.Header["kid"].(string))
		if len(keys) != 1 {
			return nil, golang.ErrTokenUnverifiable
		}
		return keys[0].Key, nil
	})
	if err != nil {
		t.Fatalf("golang-jwt: %v", err)
	}
	if subject, err := read.Claims.GetSubject(); err != nil || subject != claims.Subject {
		t.Errorf("golang-jwt reads the subject %q, go-jose %q: %v", subject, claims.Subject, err)
	}
}

func TestNodesLibrariesVerifyTokensOfTheServerByItsPublishedKeys(t *testing.T) {
	issuer, token := signedInWith(t)
	publishedBy(t, issuer) // jose's own request may take 5 seconds
	jobs := []job{
		{Do: "jose verify remote", Alg: "ES256", Token: token, Issuer: issuer, Audience: issuer},
		{Do: "jsonwebtoken verify remote", Alg: "ES256", Token: token, Issuer: issuer, Audience: issuer},
		{Do: "jose verify remote", Alg: "ES256", Token: token, Issuer: issuer, Audience: "https://other.example.org"},
	}
	answers := inNode(t, jobs)
	for i, a := range answers[:2] {
		var read struct{ Sub, Sid string }
		if err := json.Unmarshal(a.Value, &read); err != nil || read.Sub == "" || read.Sid == "" {
			t.Errorf("%s: %s %s", jobs[i].Do, a.Value, a.Error)
		}
	}
	if answers[2].Error == "" {
		t.Error("it is taken for another audience")
	}
}
