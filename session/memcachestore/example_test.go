package memcachestore_test

import (
	"log"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/memcachestore"
)

// Sessions that several processes share.
func Example() {
	store, err := memcachestore.New([]string{"127.0.0.1:11211"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	type Visit struct{ Count int }
	sessions, err := session.New[Visit](store, nil)
	if err != nil {
		log.Fatal(err)
	}
	_ = sessions
	// Output:
}
