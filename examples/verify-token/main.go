// Command verify-token is a service for whoever has a token of an issuer: it
// asks nobody, but has the issuer's public keys.
//
//	go run ./examples/verify-token -issuer https://auth.example.org -audience https://api.example.org
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/jose"
)

// Access is what the tokens say beside the registered claims.
type Access struct {
	SID   string `json:"sid"`
	Scope string `json:"scope"`
}

func main() {
	issuer := flag.String("issuer", "", "who signs: the claim iss")
	audience := flag.String("audience", "", "who we are: the claim aud")
	flag.Parse()
	h, err := handler(*issuer, *audience)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8082", h))
}

func handler(issuer, audience string) (http.Handler, error) {
	keys, err := jose.NewRemoteKeySet(issuer+"/oauth/jwks", nil)
	if err != nil {
		return nil, err
	}
	tokens, err := jose.NewVerifier(keys, jose.Expected{
		Algorithms: []jose.Algorithm{jose.ES256}, Issuer: issuer, Audience: []string{audience}, Type: "at+jwt",
	}, &jose.VerifierOptions[Access]{Remember: 10_000})
	if err != nil {
		return nil, err
	}
	who := authn.New(authn.Func(func(r *http.Request) (admit.Principal, bool, error) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return admit.Principal{}, false, nil
		}
		c, err := tokens.Verify(r.Context(), token)
		return admit.Principal{Subject: c.Subject, SID: c.Data.SID, Credential: "jwt", Scopes: strings.Fields(c.Data.Scope)}, true, err
	}))
	return who.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := admit.FromContext(r.Context())
		fmt.Fprintf(w, "hello %s\n", p.Subject)
	})), nil
}
