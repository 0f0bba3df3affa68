// Command visits-sealed counts a visitor's visits in a sealed cookie: the
// server keeps nothing, and nobody else can read or change the count. A visitor
// can go back to an older cookie; what must be spent once belongs in a session.
//
//	go run ./examples/visits-sealed    then open http://localhost:8082
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/admit-auth/admit/cookie"
)

type visits struct{ Count int }

func main() {
	// A program that is restarted, or runs twice, reads its keys from a file.
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		log.Fatal(err)
	}
	log.Print("http://localhost:8082")
	log.Fatal(http.ListenAndServe("localhost:8082", handler(keys)))
}

func handler(keys *cookie.Keys) http.Handler {
	c, err := cookie.New("__Host-visits", nil)
	if err != nil {
		log.Fatal(err)
	}
	sealed := cookie.NewSealed(c, keys, 30*24*time.Hour)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v visits
		if value, err := sealed.Get(w, r); err == nil {
			if err := json.Unmarshal(value, &v); err != nil {
				v = visits{} // written by another version of this program
			}
		}
		v.Count++
		value, err := json.Marshal(v)
		if err == nil {
			err = sealed.Set(w, value)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "visit %d\n", v.Count)
	})
}
