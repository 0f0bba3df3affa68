// Command visits counts a visitor's visits in a session.
//
//	go run ./examples/visits    then open http://localhost:8081
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/admit-auth/admit/session"
)

// Visit is what the session remembers.
type Visit struct{ Count int }

func main() {
	log.Print("http://localhost:8081")
	log.Fatal(http.ListenAndServe("localhost:8081", handler()))
}

func handler() http.Handler {
	sessions, err := session.New[Visit](session.NewMemory(nil), nil)
	if err != nil {
		log.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Update(w, r, func(v *Visit) error { v.Count++; return nil })
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "visit %d\n", s.Data.Count)
	})
}
