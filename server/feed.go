package server

import (
	"context"
	"log/slog"
	"time"
)

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
