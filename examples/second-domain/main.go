// Command second-domain is a site on a domain of its own, whose people sign in at
// an admit server on another.
//
//	head -c 24 /dev/urandom | base64 > secret
//	sed s/^/shop=/ secret > secrets
//	admit serve --dev --handover-secrets-file secrets --handover-sites shop=http://127.0.0.1:8086/handover/callback
//	go run ./examples/second-domain    then open http://127.0.0.1:8086
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"html"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/handover"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8086", "address to listen on")
	cert := flag.String("tls-cert", "", "certificate, for HTTPS")
	key := flag.String("tls-key", "", "its key")
	admitURL := flag.String("admit", "http://localhost:8080", "where people sign in")
	asked := flag.String("asked-at", "", "where this program asks that server, if not there")
	name := flag.String("name", "shop", "what this site is called there")
	secret := flag.String("secret-file", "secret", "file of its secret")
	feedKey := flag.String("feed-key-file", "", "file of an API key with the scope feed, to hear of endings at once")
	flag.Parse()
	if *asked == "" {
		*asked = *admitURL
	}
	plain := *cert == ""
	target, err := handover.NewTarget(*admitURL+"/handover", *name, read(*secret), &handover.TargetOptions{
		Calls: *asked + "/api/v1/handover", InsecureAllowHTTP: plain,
	})
	if err != nil {
		log.Fatal(err)
	}
	options := &session.Options{Parents: target, InsecureAllowHTTP: plain}
	if plain {
		options.Name = *name
	}
	sessions, err := session.New[struct{}](session.NewMemory(nil), options)
	if err != nil {
		log.Fatal(err)
	}
	if *feedKey != "" {
		source, err := feed.NewRemote(*asked+"/feed", read(*feedKey), nil)
		if err != nil {
			log.Fatal(err)
		}
		go source.Follow(context.Background(), feed.ID{}, func(n feed.News) error {
			return errors.Join(target.Hear(n), sessions.Hear(n))
		})
	}
	mux := site(target, sessions)
	log.Print("listening on ", *listen)
	if plain {
		log.Fatal(http.ListenAndServe(*listen, mux))
	}
	log.Fatal(http.ListenAndServeTLS(*listen, *cert, *key, mux))
}

// site is what a second domain needs.
func site(target *handover.Target, sessions *session.Manager[struct{}]) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		info, err := sessions.Check(r)
		if errors.Is(err, admit.Unauthenticated) {
			err = target.Begin(w, r, "/") // to sign in, and back
		} else if err == nil {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, "<!doctype html><title>%[1]s</title><p>Welcome, <b>%[1]s</b>. <form method=post action=/signout><button>Sign out everywhere</button></form>\n", html.EscapeString(info.Subject))
		}
		if err != nil {
			problem.Write(w, err, "")
		}
	})
	mux.HandleFunc("GET /handover/callback", func(w http.ResponseWriter, r *http.Request) {
		arrival, err := target.Arrive(w, r)
		if err == nil {
			_, err = sessions.Start(w, r, arrival.Subject, arrival.StartOptions())
		}
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		http.Redirect(w, r, arrival.ReturnTo, http.StatusSeeOther)
	})
	mux.HandleFunc("GET /who", func(w http.ResponseWriter, r *http.Request) {
		info, err := sessions.Check(r)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		fmt.Fprintln(w, info.Subject)
	})
	mux.HandleFunc("POST /signout", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.End(w, r, "signed_out"); err != nil {
			problem.Write(w, err, "")
			return
		}
		fmt.Fprintln(w, "You are signed out here and there.")
	})
	return http.NewCrossOriginProtection().Handler(sessions.Handler(mux))
}

func read(file string) admit.Secret {
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	return admit.NewSecret(strings.TrimSpace(string(text)))
}
