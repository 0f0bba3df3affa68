// Command resource-server is an API for whoever has an access token of admit. It
// asks nobody, and yet refuses who has signed out some milliseconds ago.
//
//	admit serve --dev --audiences http://localhost:8082
//	admit token issue --kind api-key --user ann --name orders --scope feed --audience http://localhost:8082
//	FEED_KEY=adm_k_… go run ./examples/resource-server
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/authn"
)

func main() {
	issuer := flag.String("issuer", "http://localhost:8080", "who signs: the claim iss")
	audience := flag.String("audience", "http://localhost:8082", "who we are: the claim aud")
	noFeed := flag.Bool("insecure-no-feed", false, "take tokens of an issuer that tells nobody when they end")
	flag.Parse()
	h, err := handler(context.Background(), *issuer, *audience, &access.Options{
		FeedToken: admit.NewSecret(os.Getenv("FEED_KEY")), InsecureNoFeed: *noFeed,
		Failed: func(err error) { log.Print(err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8082", h))
}

// handler is the API, until ctx ends.
func handler(ctx context.Context, issuer, audience string, o *access.Options) (http.Handler, error) {
	tokens, err := access.NewVerifier(issuer, audience, o)
	if err != nil {
		return nil, err
	}
	go tokens.Run(ctx)

	who := authn.New(tokens)
	api := http.NewServeMux()
	api.Handle("GET /orders", who.Require(http.HandlerFunc(orders)))
	api.Handle("DELETE /orders", who.Require(authn.RequireRole("admin", http.HandlerFunc(clear))))
	return api, nil
}

func orders(w http.ResponseWriter, r *http.Request) {
	p, _ := admit.FromContext(r.Context())
	fmt.Fprintf(w, "no orders of %s\n", p.Subject)
}

func clear(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
