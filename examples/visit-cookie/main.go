// Command visit-cookie remembers for one minute that a visitor was here, in a
// signed cookie and without a session.
//
//	go run ./examples/visit-cookie    then open http://localhost:8083
package main

import (
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/admit-auth/admit/cookie"
)

func main() {
	// A program that is restarted, or runs twice, reads its keys from a file.
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		log.Fatal(err)
	}
	log.Print("http://localhost:8083")
	log.Fatal(http.ListenAndServe("localhost:8083", handler(keys)))
}

func handler(keys *cookie.Keys) http.Handler {
	c, err := cookie.New("__Host-visit", nil)
	if err != nil {
		log.Fatal(err)
	}
	signed := cookie.NewSigned(c, keys, time.Minute)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if at, err := signed.Get(w, r); err == nil {
			fmt.Fprintf(w, "welcome back: you were here at %s\n", at)
			return
		}
		if err := signed.Set(w, []byte(time.Now().UTC().Format(time.RFC3339))); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "welcome")
	})
}
