package jose_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
)

// Access are the claims of an access token beside the registered ones.
type Access struct {
	SID   string `json:"sid"`
	Scope string `json:"scope,omitempty"`
}

// An issuer signs a token, and a service that has its public keys verifies it.
func Example() {
	// The issuer.
	key, err := jose.GenerateKey(jose.ES256, "2026-11")
	if err != nil {
		log.Fatal(err)
	}
	signer, err := jose.NewSigner[Access](key, "at+jwt", nil)
	if err != nil {
		log.Fatal(err)
	}
	token, err := signer.Sign(&jose.Claims[Access]{
		Issuer: "https://auth.example.org", Audience: []string{"https://api.example.org"}, Subject: "alice",
		Expires: time.Now().Add(5 * time.Minute), Data: Access{SID: "s1", Scope: "orders:read"},
	})
	if err != nil {
		log.Fatal(err)
	}

	// The service. Its keys would come from jose.NewRemoteKeySet.
	verifier, err := jose.NewVerifier[Access](jose.NewKeySet(key.Public()), jose.Expected{
		Algorithms: []jose.Algorithm{jose.ES256},
		Issuer:     "https://auth.example.org",
		Audience:   []string{"https://api.example.org"},
		Type:       "at+jwt",
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	claims, err := verifier.Verify(context.Background(), token)
	fmt.Println(claims.Subject, claims.Data.Scope, err)

	// Output: alice orders:read <nil>
}

// A refusal says why, with a code that is stable, and what to answer.
func ExampleVerifier_Verify() {
	key, err := jose.GenerateKey(jose.HS256, "k")
	if err != nil {
		log.Fatal(err)
	}
	token, err := jose.Sign(key, jose.Header{Type: "JWT"}, []byte(`{"iss":"me","aud":"me","exp":1000000000}`))
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := jose.NewVerifier[struct{}](jose.NewKeySet(key), jose.Expected{
		Algorithms: []jose.Algorithm{jose.HS256}, Issuer: "me", Audience: []string{"me"}, Type: "JWT",
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = verifier.Verify(context.Background(), token)
	refusal, _ := errors.AsType[*admit.Error](err)
	fmt.Println(refusal.Code(), errors.Is(err, jose.ErrExpired), admit.KindOf(err))

	// Output: jwt_expired true unauthenticated
}

// A message that only the holder of a private key can read.
func ExampleEncrypt() {
	key, err := jose.GenerateKey(jose.ECDHESA256KW, "k")
	if err != nil {
		log.Fatal(err)
	}
	text, err := jose.Encrypt(key.Public(), jose.A256GCM, jose.Header{}, []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	d, err := jose.NewDecrypter(jose.NewKeySet(key), []jose.Algorithm{jose.ECDHESA256KW}, []jose.Encryption{jose.A256GCM}, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := d.Decrypt(context.Background(), text)
	fmt.Println(string(plaintext), err)

	// Output: hello <nil>
}
