package server

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// What a server does for itself now and again.

const (
	sweepEvery = time.Hour
	sweepPause = 100 * time.Millisecond // between steps, so that writes have their turn

	surveyEvery = time.Minute
	surveyPause = 20 * time.Millisecond

	feedEvery = time.Minute
	feedPause = 20 * time.Millisecond
	feedStep  = 256 // events, in some 3 ms

	tendEvery = time.Minute

	lossesEvery = 5 * time.Minute
)

// again calls fn after a while, and then each time after what fn has returned,
// until ctx is done.
func again(ctx context.Context, wait time.Duration, fn func(now time.Time) time.Duration) {
	for next := time.NewTimer(wait); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-next.C:
			next.Reset(fn(now))
		}
	}
}

// surveyAudit lets searches of the audit be quick, until ctx is done: after an
// upgrade it has all of it to look at, and then a little now and again.
func (s *Server) surveyAudit(ctx context.Context) {
	again(ctx, 0, func(time.Time) time.Duration {
		err := s.db.SurveyAudit(ctx, func() error {
			select {
			case <-ctx.Done():
			case <-time.After(surveyPause):
			}
			return ctx.Err()
		})
		if err != nil && ctx.Err() == nil {
			s.log.Error("survey the audit", slog.Any("error", err))
		}
		return surveyEvery
	})
}

// sweepAudit removes records that are older than they are kept, until ctx is
// done. Nothing else removes one.
func (s *Server) sweepAudit(ctx context.Context) {
	days := s.cfg.auditKeep()
	if days == 0 {
		return
	}
	// Not at once: who has set too short a time by mistake, or whose clock is
	// wrong after a start, has an hour to see it.
	again(ctx, sweepEvery, func(now time.Time) time.Duration {
		more, err := s.accounts.SweepRecords(ctx, now.AddDate(0, 0, -days))
		if err != nil && ctx.Err() == nil {
			s.log.Error("sweep the audit", slog.Any("error", err))
		}
		if more {
			return sweepPause
		}
		return sweepEvery
	})
}

// tellLosses tells people, until ctx is done, how far the removal of their factors
// is.
func (s *Server) tellLosses(ctx context.Context) {
	again(ctx, lossesEvery, func(now time.Time) time.Duration {
		if err := s.accounts.TellLosses(ctx, now); err != nil && ctx.Err() == nil {
			s.log.Error("people could not be told that their factors will be removed", slog.Any("error", err))
		}
		return lossesEvery
	})
}

// sweepFeed removes what the feed has told and what matters no more, and places in
// status lists, until ctx is done.
func (s *Server) sweepFeed(ctx context.Context) {
	again(ctx, feedEvery, func(now time.Time) time.Duration {
		n, err := s.db.SweepFeed(ctx, now, feedStep)
		places, err2 := s.db.SweepPlaces(ctx, now, feedStep)
		if err := errors.Join(err, err2); err != nil && ctx.Err() == nil {
			s.log.Error("sweep the feed", slog.Any("error", err))
		}
		if n == feedStep || places == feedStep {
			return feedPause
		}
		return feedEvery
	})
}

// sweepProvider removes what applications were given and what has expired, until ctx is
// done.
func (s *Server) sweepProvider(ctx context.Context) {
	again(ctx, feedEvery, func(now time.Time) time.Duration {
		more, err := s.db.SweepProvider(ctx, now, feedStep)
		if err != nil && ctx.Err() == nil {
			s.log.Error("sweep what applications were given", slog.Any("error", err))
		}
		if more {
			return feedPause
		}
		return feedEvery
	})
}

// strangersStep is how many clients that nobody uses go in one transaction.
const strangersStep = 50

// sweepStrangers removes clients that have registered themselves and that nobody has used,
// until ctx is done. Like the audit's, its first round is in an hour.
func (s *Server) sweepStrangers(ctx context.Context) {
	again(ctx, sweepEvery, func(now time.Time) time.Duration {
		more, err := s.accounts.SweepStrangers(ctx, now, strangersStep)
		if err != nil && ctx.Err() == nil {
			s.log.Error("sweep applications that nobody uses", slog.Any("error", err))
		}
		if more {
			return sweepPause
		}
		return sweepEvery
	})
}

// heed follows what other servers change in a database that they share, until ctx
// is done.
func (s *Server) heed(ctx context.Context) {
	s.db.Heed(ctx, func(keys bool) error {
		if keys {
			// Where it fails, as with another master key, tendKeys tries again.
			if err := s.keys.Look(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("the keys that another server has changed cannot be read", slog.Any("error", err))
			}
		}
		s.accounts.Forget()
		return nil
	})
}

// tendKeys rotates and retires keys when that is due, until ctx is done. Where services
// will ask for the keys, those of every algorithm are made now, and not while the first
// of them waits.
func (s *Server) tendKeys(ctx context.Context) {
	if len(s.cfg.Audiences) > 0 {
		s.outward().Published(ctx) // it logs what fails, and who asks first tries again
	}
	again(ctx, tendEvery, func(now time.Time) time.Duration {
		did, err := s.keys.Tend(ctx, now)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			s.log.Error("the keys could not be looked after", slog.Any("error", err))
		case did:
			s.log.Info("a key was rotated or has retired: admit key list shows them")
		}
		return tendEvery
	})
}
