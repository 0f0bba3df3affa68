package handover_test

import (
	"log"
	"net/http"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/handover"
)

// The domain where people sign in.
func ExampleOrigin() {
	store := session.NewMemory(nil)
	sessions, err := session.New[struct{}](store, nil)
	if err != nil {
		log.Fatal(err)
	}
	secret := admit.NewSecret("of 32 characters or more, the same at the shop")
	origin, err := handover.NewOrigin(sessions, store, &handover.OriginOptions{
		Sites: []handover.Site{{Name: "shop", Callback: "https://shop.example.net/arrive", Secret: secret}},
		SignIn: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// A page of yours, whose form leads back to r.URL.RequestURI().
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/handover/", origin)
	// Output:
}

// Another domain.
func ExampleTarget() {
	type Cart struct{ Items []string }
	secret := admit.NewSecret("of 32 characters or more, the same at the origin")
	target, err := handover.NewTarget("https://id.example.org/handover", "shop", secret, nil)
	if err != nil {
		log.Fatal(err)
	}
	sessions, err := session.New[Cart](session.NewMemory(nil), &session.Options{Parents: target})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /signin", func(w http.ResponseWriter, r *http.Request) {
		if err := target.Begin(w, r, "/cart"); err != nil {
			problem.Write(w, err, "")
		}
	})
	mux.HandleFunc("GET /arrive", func(w http.ResponseWriter, r *http.Request) {
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
	// Output:
}
