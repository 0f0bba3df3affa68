package feed_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
)

func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	log := feed.NewLog(nil)

	ended := feed.SessionEnded("5Jb0", "alice", "signed_out", time.Now().Add(time.Hour))
	if err := log.Append(ctx, time.Now(), ended); err != nil {
		panic(err)
	}

	err := log.Follow(ctx, feed.ID{}, func(n feed.News) error {
		fmt.Println("forget everything:", n.Reset)
		for _, e := range n.Events {
			fmt.Println(e.ID.Seq, e.Kind, e.Target, e.Reason)
		}
		cancel()
		return nil
	})
	fmt.Println(err)
	// Output:
	// forget everything: true
	// 1 sid 5Jb0 signed_out
	// context canceled
}

// The issuer serves its feed, and a service elsewhere follows it.
func ExampleHandler() {
	log := feed.NewLog(nil)
	authorize := func(r *http.Request) ([]string, error) {
		if r.Header.Get("Authorization") != "Bearer adm_k_…" { // look the API key up
			return nil, admit.Unauthenticated.New("unknown_credential", "This key opens nothing.")
		}
		return []string{"https://api.example.org"}, nil // what the key may hear of
	}
	issuer := httptest.NewServer(feed.Handler(log, authorize, nil))
	defer issuer.Close()

	source, err := feed.NewRemote(issuer.URL+"/feed", admit.NewSecret("adm_k_…"), nil)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = source.Follow(ctx, feed.ID{}, func(n feed.News) error { // revocation's Set.Run does this
		for _, e := range n.Events {
			fmt.Println(e.Kind, e.Digest)
			cancel()
		}
		if n.Reset {
			return log.Append(ctx, time.Now(), feed.SessionEnded("abc", "alice", "signed_out", time.Now().Add(time.Hour)))
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// sid PrhMx_p6uNRnSEY-QUQomg
	// context canceled
}
