package feed_test

import (
	"context"
	"fmt"
	"time"

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
