// Command embedded is a program that holds an admit server inside itself: its own
// pages stand beside admit's, and it knows who its visitor is.
package main

import (
	"context"
	"flag"
	"fmt"
	"html"
	"log"
	"net/http"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/server"
)

// called returns what to call a user: the name, or what it signs in with.
func called(u server.User) string {
	for _, id := range u.Identifiers {
		if u.Name == "" && id.Primary {
			return id.Value
		}
	}
	return u.Name
}

// site is the whole site: two pages of this program, and admit's.
func site(s *server.Server) http.Handler {
	own := http.NewServeMux()
	own.HandleFunc("GET /notes", func(w http.ResponseWriter, r *http.Request) {
		p, ok := admit.FromContext(r.Context())
		if !ok || p.Guest() {
			http.Redirect(w, r, "/signin?return_to=/notes", http.StatusSeeOther)
			return
		}
		u, err := s.User(r.Context(), p.Subject)
		if err != nil {
			http.Error(w, "Please try again in a moment.", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><title>Notes</title><p>Hello %s. <a href="/account">Your account</a>`, html.EscapeString(called(u)))
	})
	own.Handle("GET /notes/all", authn.RequireRole("editor", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "everybody's notes")
	})))

	mux := http.NewServeMux()
	mux.Handle("/notes", s.Visitors(own))
	mux.Handle("/notes/", s.Visitors(own))
	mux.Handle("/", s)                                  // /signin, /account, /api/v1 …
	return http.NewCrossOriginProtection().Handler(mux) // for forms of our own
}

func run(ctx context.Context, listen string, cfg server.Config) error {
	s, err := server.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	go s.Run(ctx) // mail, tidying up, and the commands of admit
	if link := s.Ready().SetupLink; !link.IsZero() {
		fmt.Println("the first administrator is made here, once:", link.Reveal())
	}
	if link := s.Ready().InboxURL; !link.IsZero() {
		fmt.Println("what would be mailed is here:", link.Reveal())
	}
	return http.ListenAndServe(listen, site(s))
}

func main() {
	listen := flag.String("listen", "localhost:3000", "where the site is")
	data := flag.String("data", "./admit-data", "folder of admit's database")
	flag.Parse()
	log.Printf("http://%s/notes", *listen)
	// In production: PublicURL is the https origin that people see, and no Dev.
	log.Fatal(run(context.Background(), *listen, server.Config{Data: *data, Dev: true, PublicURL: "http://" + *listen}))
}
