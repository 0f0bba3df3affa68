// Command visits-sealed counts a visitor's visits in a session that travels in its
// cookie: nobody else can read or change the count, the server keeps a few bytes to
// know the newest cookie by, and an older one brings no older count back.
//
//	go run ./examples/visits-sealed    then open http://localhost:8082
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
)

// Visit is what the session remembers.
type Visit struct{ Count int }

func main() {
	// A program that runs twice reads its keys from a file, and keeps the guards
	// in a store that both share.
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		log.Fatal(err)
	}
	log.Print("http://localhost:8082")
	log.Fatal(http.ListenAndServe("localhost:8082", handler(session.NewMemory(nil), keys)))
}

func handler(guards session.Store, keys *cookie.Keys) http.Handler {
	sessions, err := session.NewSealed[Visit](guards, keys, nil)
	if err != nil {
		log.Fatal(err)
	}
	return sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Update(w, r, func(v *Visit) error { v.Count++; return nil })
		if err != nil {
			problem.Write(w, err, "") // 401 to an old cookie, 503 where the guards are away
			return
		}
		fmt.Fprintf(w, "visit %d\n", s.Data.Count)
	}))
}
