package session

import (
	"context"
	"time"

	"github.com/admit-auth/admit/feed"
)

type endingKey struct{}

// Ending returns what a Manager ends by the Swap that has this context: a
// session, the sessions of a subject, or the tokens that were made from them; At
// is when. It is for a store that
// keeps a feed in the same database. What tells the ending then stands with what
// ends it in one transaction, and a crash between the two cannot be. Most
// programs never call it: Options.Feed is told after the write.
func Ending(ctx context.Context) (feed.Event, bool) {
	e, ok := ctx.Value(endingKey{}).(feed.Event)
	return e, ok
}

func withEnding(ctx context.Context, e feed.Event, now time.Time) context.Context {
	e.At = now
	return context.WithValue(ctx, endingKey{}, e)
}
