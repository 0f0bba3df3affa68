package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/admit-auth/admit/feed"
)

// Feed returns the news of what has ended, for a program that holds the server
// inside: a revocation.Set follows it without a network. It tells all of it, names
// included; what is served at /feed is for others.
func (s *Server) Feed() feed.Source { return s.db.Feed() }

const (
	feedEvery = time.Minute
	feedPause = 20 * time.Millisecond // between steps, so that writes have their turn
	feedStep  = 256                   // events, in some 3 ms
)

// sweepFeed removes what the feed has told and what matters no more, until ctx is
// done.
func (s *Server) sweepFeed(ctx context.Context) {
	for next := time.NewTimer(feedEvery); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-next.C:
			n, err := s.db.SweepFeed(ctx, now, feedStep)
			if err != nil && ctx.Err() == nil {
				s.log.Error("sweep the feed", slog.Any("error", err))
			}
			if n == feedStep {
				next.Reset(feedPause)
			} else {
				next.Reset(feedEvery)
			}
		}
	}
}
