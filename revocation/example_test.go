package revocation_test

import (
	"context"
	"fmt"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/revocation"
)

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	log := feed.NewLog(nil) // elsewhere, a feed.Remote follows the issuer's
	ended := revocation.New(nil)
	go ended.Run(ctx, log)

	token := revocation.IDs{Session: "s-1", Subject: "alice"}.Digest() // once for each token
	log.Append(ctx, time.Now(), feed.SessionEnded("s-1", "alice", "signed_out", time.Now().Add(5*time.Minute)))
	for ended.Len() == 0 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(ended.Check(&token, time.Now()))
	// Output: This session has been ended.
}
