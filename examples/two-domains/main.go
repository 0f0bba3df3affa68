// Command two-domains hands a sign-in over from one site to another, and closes
// the page there when the session ends at either.
//
//	go run ./examples/two-domains    then open http://127.0.0.1:8086
//
// People sign in at http://localhost:8085, which is another site to a browser.
package main

import (
	"context"
	"fmt"
	"html"
	"log"
	"net/http"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/handover"
)

const (
	home = "localhost:8085"
	shop = "127.0.0.1:8086"
)

// secret is for two sites on one machine. Yours is in a file, and random.
var secret = admit.NewSecret("two sites on one machine know this")

func main() {
	log.Print("http://", shop)
	go func() { log.Fatal(http.ListenAndServe(home, origin())) }()
	log.Fatal(http.ListenAndServe(shop, target()))
}

// plain makes cookies without Secure: these two sites speak HTTP.
var plain = session.Options{InsecureAllowHTTP: true}

// origin is where people sign in.
func origin() http.Handler {
	store, options := session.NewMemory(nil), plain
	options.Name = "home" // cookies do not tell ports apart
	sessions, err := session.New[struct{}](store, &options)
	if err != nil {
		log.Fatal(err)
	}
	handed, err := handover.NewOrigin(sessions, store, &handover.OriginOptions{
		Sites: []handover.Site{{Name: "shop", Callback: "http://" + shop + "/arrive", Secret: secret}},
		SignIn: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// The form posts to the address that it stands at, and so leads back.
			page(w, `<form method=post>Who are you? <input name=as> <button>Sign in</button></form>`)
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/handover/", handed)
	mux.HandleFunc("POST /handover/begin", func(w http.ResponseWriter, r *http.Request) {
		// A program of yours asks for a password here.
		if _, err := sessions.Start(w, r, r.PostFormValue("as"), nil); err != nil {
			problem.Write(w, err, "")
			return
		}
		http.Redirect(w, r, r.URL.RequestURI(), http.StatusSeeOther)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		page(w, `<form method=post action=/signout><button>Sign out here</button></form>`)
	})
	mux.Handle("POST /signout", signOut(sessions))
	// The shop's server sends no Origin; a foreign page's form does, and is refused.
	return http.NewCrossOriginProtection().Handler(sessions.Handler(mux))
}

// target is another site.
func target() http.Handler {
	from, err := handover.NewTarget("http://"+home+"/handover", "shop", secret, &handover.TargetOptions{InsecureAllowHTTP: true})
	if err != nil {
		log.Fatal(err)
	}
	options := plain
	options.Name, options.Parents = "shop", from
	sessions, err := session.New[struct{}](session.NewMemory(nil), &options)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Load(r)
		switch {
		case err == nil:
			page(w, `Welcome, <b>`+html.EscapeString(s.Subject)+`</b>. <span id=live></span>
<form method=post action=/signout><button>Sign out everywhere</button></form> <a href="http://`+home+`/">home</a>
<script>
const live = new EventSource("/live")
live.addEventListener("over", e => { document.getElementById("live").textContent = e.data; live.close() })
</script>`)
		case admit.KindOf(err) == admit.Unauthenticated:
			page(w, `Nobody is signed in. <a href=/signin>Sign in</a>`)
		default:
			problem.Write(w, err, "")
		}
	})
	mux.HandleFunc("GET /signin", func(w http.ResponseWriter, r *http.Request) {
		if err := from.Begin(w, r, "/"); err != nil {
			problem.Write(w, err, "")
		}
	})
	mux.HandleFunc("GET /arrive", func(w http.ResponseWriter, r *http.Request) {
		arrival, err := from.Arrive(w, r)
		if err == nil {
			_, err = sessions.Start(w, r, arrival.Subject, arrival.StartOptions())
		}
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		http.Redirect(w, r, arrival.ReturnTo, http.StatusSeeOther)
	})
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) {
		info, err := sessions.Check(r)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		ctx, stop := sessions.Watch(r.Context(), info.SID, nil)
		defer stop()
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).Flush()
		<-ctx.Done()
		fmt.Fprintf(w, "event: over\ndata: %v\n\n", context.Cause(ctx))
	})
	mux.Handle("POST /signout", signOut(sessions))
	return http.NewCrossOriginProtection().Handler(sessions.Handler(mux))
}

// signOut ends the session here, and with it the one at the other site.
func signOut(sessions *session.Manager[struct{}]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.End(w, r, "signed_out"); err != nil {
			problem.Write(w, err, "")
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

func page(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>two domains</title><p>%s\n", body)
}
