package server

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/copies"
	"github.com/admit-auth/admit/session"
)

// near puts what spares the database in front of its store of sessions: copies in
// memory, and in Redis where there is one. Forget is to be called for each record
// that was written otherwise, before anybody hears of it. Alone says that no other process
// writes to the database.
func (s *Server) near(stored session.Store, alone bool) (_ session.Store, forget func(key string), err error) {
	if s.cfg.Redis == "" && alone {
		s.copied = session.NewNear(stored, 0)
		return s.copied, s.copied.Forget, nil
	}
	c, err := copies.New(copies.Options{
		URL: s.redisURL(), Database: stored, Log: s.log,
		Keys: func() [][]byte { return s.keys.Cookies().DeriveAll("redis") },
	})
	if err != nil {
		return nil, nil, err
	}
	forgotten := func(key string) {
		if err := c.Forget(context.Background(), true, key); err != nil {
			// Others hear of endings by the feed all the same.
			s.log.Error("a copy of what has changed may be used for a while", slog.String("code", "copy_stale"), slog.Any("error", err))
		}
	}
	s.db.Told = func(events []feed.Event) {
		for _, e := range events {
			if e.Kind == feed.Grant {
				forgotten(account.CopyOf(e.Target))
			}
		}
	}
	if s.cfg.Redis == "" {
		// Other servers of the database may have one.
		return c.Store(), forgotten, nil
	}
	s.copies = c
	newNear := session.NewSharedNear
	if alone {
		newNear = session.NewNear
	}
	s.copied = newNear(s.copies.Store(), 0)
	s.copies.Drive(s.copied, s.db.Feed().Wake, func(key string) {
		if s.accounts != nil && (key == "" || strings.HasPrefix(key, account.CopyOf(""))) {
			s.accounts.Forget()
		}
	})
	return s.copied, func(key string) {
		s.copied.Forget(key)
		forgotten(key)
	}, nil
}

func (s *Server) accountCopies() account.Copies {
	if s.copies == nil {
		return nil
	}
	return s.copies
}

// redisURL is the URL with the password.
func (s *Server) redisURL() string {
	if s.cfg.Redis == "" {
		return ""
	}
	u, _ := url.Parse(s.cfg.Redis) // which Check has seen
	if !s.cfg.RedisPassword.IsZero() {
		u.User = url.UserPassword(u.User.Username(), s.cfg.RedisPassword.Reveal())
	}
	return u.String()
}

// followEndings keeps copies from being used of what the database's feed says has
// ended, whatever its writer and Redis have come to.
func (s *Server) followEndings(ctx context.Context) {
	var at feed.ID
	for ctx.Err() == nil {
		_ = s.db.Feed().Follow(ctx, at, func(n feed.News) error { // why it fails is told of the database
			at = n.Head
			for _, e := range n.Events {
				switch e.Kind {
				case feed.Session:
					s.copies.Ended(e.Target)
				case feed.Subject:
					s.copies.Ended(session.EpochKey(e.Target))
				case feed.Grant:
					s.copies.Ended(account.CopyOf(e.Target))
					s.accounts.Forget() // it may have come from a copy just now
				}
			}
			s.copies.Past(n.Head.Epoch.String()) // last, for from now on copies are used
			return nil
		})
		select {
		case <-ctx.Done():
		case <-time.After(feed.Heartbeat / 4):
		}
	}
}

// measureCopies tells the metrics what there is of copies.
func (s *Server) measureCopies() {
	m := s.metrics
	if s.copied != nil {
		stats := s.copied.Stats
		m.Gauge("admit_near_records", "Records of sessions that are kept in memory as copies.", nil, func() float64 { return float64(stats().Records) })
		m.Gauge("admit_near_bytes", "Memory that they take.", nil, func() float64 { return float64(stats().Bytes) })
		m.Counter("admit_near_misses_total", "Look-ups of records that were not in memory.", nil, func() float64 { return float64(stats().Misses) })
		m.Counter("admit_near_hits_total", "Look-ups of records that were in memory; not counted where one process has the database for itself.", nil, func() float64 { return float64(stats().Hits) })
	}
	if s.copies == nil {
		return
	}
	stats := s.copies.Stats
	m.Gauge("admit_redis_up", "1 while Redis is used.", nil, func() float64 {
		if stats().Bypassed {
			return 0
		}
		return 1
	})
	m.Counter("admit_redis_hits_total", "Look-ups that a copy in Redis answered.", nil, func() float64 { return float64(stats().Hits) })
	m.Counter("admit_redis_misses_total", "Look-ups that the database answered, Redis or not.", nil, func() float64 { return float64(stats().Misses) })
	m.Counter("admit_redis_errors_total", "Calls to Redis that failed.", nil, func() float64 { return float64(stats().Errors) })
	m.Counter("admit_redis_broken_total", "Records in Redis that were none of ours, and were dropped.", nil, func() float64 { return float64(stats().Broken) })
	m.Counter("admit_redis_forged_total", "Messages in Redis that were none of ours.", nil, func() float64 { return float64(stats().Forged) })
	m.Counter("admit_redis_generations_total", "Times that all copies were given up, because Redis could not be told of a write or is another.", nil, func() float64 { return float64(stats().Generations) })
}
