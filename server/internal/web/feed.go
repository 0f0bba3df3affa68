package web

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit/feed"
)

// The feed: what has ended, for services that accept credentials without asking.

const (
	feedPath     = "/feed"
	snapshotPath = feedPath + "/snapshot"
)

// forPrograms reports whether programs ask there and not people, so that a
// refusal is a problem and no page.
func forPrograms(path string) bool {
	return strings.HasPrefix(path, "/api/") || path == feedPath || path == snapshotPath || path == keySetPath || forClients(path)
}

// feeds registers the feed.
func (s *server) feeds() {
	if s.Feed == nil {
		return
	}
	s.handle(feedPath, (*call).failAPI, methods{"GET": following(feed.Handler), "HEAD": (*call).mayFollow})
	s.handle(snapshotPath, (*call).failAPI, methods{"GET": following(feed.SnapshotHandler), "HEAD": (*call).mayFollow})
}

// following answers with one end of the feed until the follower goes, may follow
// no more, or the server stops: what http.Server.Shutdown waits for would never
// end by itself.
func following(handler func(feed.Source, func(*http.Request) ([]string, error), *feed.HandlerOptions) http.Handler) func(*call) error {
	return func(c *call) error {
		ctx, cancel := context.WithCancel(c.r.Context())
		defer cancel()
		if c.Streams != nil {
			if c.Streams.Err() != nil {
				return errNotReady
			}
			defer context.AfterFunc(c.Streams, cancel)()
		}
		// How long a stream lasts is no measure of how slow we are.
		var begun time.Duration
		seen := c.seen
		c.seen = func(status int, took time.Duration) { seen(status, cmp.Or(begun, took)) }
		authorize := func(r *http.Request) ([]string, error) {
			audiences, err := c.follower(r)
			begun = cmp.Or(begun, time.Since(c.now))
			return audiences, err
		}
		var refused error
		o := &feed.HandlerOptions{Refuse: func(_ http.ResponseWriter, _ *http.Request, err error) { refused = err }}
		handler(c.Feed, authorize, o).ServeHTTP(c.w, c.r.WithContext(ctx))
		if refused == nil {
			c.status = http.StatusOK
		}
		return refused
	}
}

// mayFollow answers HEAD: the head of what GET would answer, which has no end.
func (c *call) mayFollow() error {
	if _, err := c.follower(c.r); err != nil {
		return err
	}
	c.begin(http.StatusOK)
	return nil
}

// follower returns with what audiences a follower may be concerned.
func (c *call) follower(r *http.Request) ([]string, error) {
	if err := c.overheard(); err != nil {
		return nil, err
	}
	if text, ok := c.apiKey(); ok {
		return c.followerByKey(text)
	}
	if c.FeedFollower == nil {
		return nil, errNoKey
	}
	return c.FeedFollower(r)
}
