package session_test

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
)

// Apps on sub-domains, each with a manager of its own over the store that they
// share.
func ExampleOptions_domain() {
	type Visit struct{ Count int }
	store := session.NewMemory(nil) // in your program one that processes share
	sessions, err := session.New[Visit](store, &session.Options{Domain: "example.org"})
	if err != nil {
		panic(err)
	}
	_ = sessions // its cookie is __Secure-session; Domain=example.org
	// Output:
}

// A stream of events that ends with its session.
func ExampleManager_Watch() {
	sessions, err := session.New[struct{}](session.NewMemory(nil), nil)
	if err != nil {
		panic(err)
	}
	http.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		info, err := sessions.Check(r)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		ctx, stop := sessions.Watch(r.Context(), info.SID, nil)
		defer stop()
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				fmt.Fprintf(w, "data: %s\n\n", now.Format(time.TimeOnly))
				http.NewResponseController(w).Flush()
			case <-ctx.Done():
				fmt.Fprintf(w, "event: over\ndata: %v\n\n", context.Cause(ctx))
				return
			}
		}
	})
	// Output:
}

// What another process ends closes sockets here at once, where its feed is heard.
func ExampleManager_Hear() {
	store, log := session.NewMemory(nil), feed.NewLog(nil) // in your program a feed.Remote, and a store that processes share
	sessions, err := session.New[struct{}](store, &session.Options{Feed: log})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	go log.Follow(ctx, feed.ID{}, sessions.Hear)
	// …
	stop()
	// Output:
}

// Sessions also for clients that keep no cookies.
func ExampleManager_Links() {
	type Visit struct{ Count int }
	sessions, err := session.New[Visit](session.NewMemory(nil), &session.Options{InsecureURLSessions: true})
	if err != nil {
		panic(err)
	}
	page := template.Must(template.New("").Parse(`visit {{.Count}} <a href="{{.Links.To "/"}}">again</a>`))
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Update(w, r, func(v *Visit) error { v.Count++; return nil })
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		links, err := sessions.Links(w, r, &s.Info)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		page.Execute(w, map[string]any{"Count": s.Data.Count, "Links": links})
	})
	// Output:
}
