// Command single-page-app is a page whose script signs in at admit, which is
// another origin, and uses the page's own API with an access token. The tokens
// are in variables: they are gone when the page is.
//
//	admit serve --dev --cors-origins http://localhost:8083 --audiences http://localhost:8083
//	admit token issue --kind api-key --user ann --name page --scope feed --audience http://localhost:8083
//	FEED_KEY=adm_k_… go run ./examples/single-page-app
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/authn"
)

//go:embed page
var files embed.FS

var index = template.Must(template.ParseFS(files, "page/index.html"))

func main() {
	listen := flag.String("listen", "localhost:8083", "where the page is")
	issuer := flag.String("issuer", "http://localhost:8080", "where admit is")
	noFeed := flag.Bool("insecure-no-feed", false, "take tokens of an issuer that tells nobody when they end")
	flag.Parse()
	h, err := handler(context.Background(), *issuer, "http://"+*listen, &access.Options{
		FeedToken: admit.NewSecret(os.Getenv("FEED_KEY")), InsecureNoFeed: *noFeed,
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(*listen, h))
}

// handler is the page and its API, until ctx ends.
func handler(ctx context.Context, issuer, origin string, o *access.Options) (http.Handler, error) {
	tokens, err := access.NewVerifier(issuer, origin, o)
	if err != nil {
		return nil, err
	}
	go tokens.Run(ctx)

	mux := http.NewServeMux()
	mux.Handle("GET /orders", authn.New(tokens).Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := admit.FromContext(r.Context())
		fmt.Fprintf(w, "no orders of %s in session %s", p.Subject, p.SID)
	})))
	mux.HandleFunc("GET /app.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "page/app.js") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		// A script that got in would have the tokens: none but ours runs, and it
		// talks to nobody else.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self' "+issuer+"; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if err := index.Execute(w, issuer); err != nil {
			log.Print(err)
		}
	})
	return mux, nil
}
