package redisstore_test

import (
	"context"
	"log"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/redisstore"
	// and "github.com/redis/rueidis", in your program
)

// Sessions that several processes share.
func Example() {
	redis, err := redisstore.OpenPool("redis://127.0.0.1:6379", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
	store, err := redis.Store(nil)
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

// client stands for the program's own, such as
//
//	rueidis.NewClient(rueidis.ClientOption{
//		InitAddress: []string{"127.0.0.1:6379"}, AlwaysPipelining: true, PipelineMultiplex: -1})
//
// and one of the functions that Client shows.
var client redisstore.Client = func(ctx context.Context, args ...string) (any, error) { return "", nil }

// The client library that the program has anyway.
func ExampleNew() {
	store, err := redisstore.New(client, nil)
	if err != nil {
		log.Fatal(err)
	}
	_ = store
	// Output:
}
