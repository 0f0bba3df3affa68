// Command store counts a visitor's visits in a session, kept where the flag says.
// But for memory, any number of these processes share it:
//
//	go run ./examples/store --store sqlite:visits.db
//	go run ./examples/store --store postgres://app@localhost/app
//	go run ./examples/store --store 'mysql://app@tcp(localhost)/app'
//	go run ./examples/store --store redis://localhost:6379
//	go run ./examples/store --store memcached://localhost:11211
//	go run ./examples/store --store mongodb://localhost/app
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
)

// Visit is what the session remembers.
type Visit struct{ Count int }

func main() {
	where := flag.String("store", "memory", "where sessions are kept: memory, sqlite:FILE, or a URL of postgres, mysql, redis, memcached or mongodb")
	listen := flag.String("listen", "localhost:8081", "where to listen")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "example:\n  go run ./examples/store --store redis://localhost:6379\nflags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx := context.Background()
	store, err := open(ctx, *where)
	if err != nil {
		log.Fatal(err)
	}
	sessions, err := session.New[Visit](store, nil)
	if err != nil {
		log.Fatal(err)
	}
	go sessions.Run(ctx)
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("http://%s", l.Addr())
	log.Fatal(http.Serve(l, counter(sessions)))
}

func counter(sessions *session.Manager[Visit]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Update(w, r, func(v *Visit) error { v.Count++; return nil })
		if err != nil {
			problem.Write(w, err, "") // 503 where the store is away
			return
		}
		fmt.Fprintf(w, "visit %d\n", s.Data.Count)
	})
}
