package server

import (
	"context"
	"time"
)

const (
	sweepEvery = time.Hour
	sweepPause = 100 * time.Millisecond // between steps, so that writes have their turn
)

const (
	surveyEvery = time.Minute
	surveyPause = 20 * time.Millisecond
)

// surveyAudit lets searches of the audit be quick, until ctx is done: after an
// upgrade it has all of it to look at, and then a little now and again.
func (s *Server) surveyAudit(ctx context.Context) {
	for next := time.NewTimer(0); ; next.Reset(surveyEvery) {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		err := s.db.SurveyAudit(ctx, func() error {
			select {
			case <-ctx.Done():
			case <-time.After(surveyPause):
			}
			return ctx.Err()
		})
		if err != nil && ctx.Err() == nil {
			s.log.Error("survey the audit", "error", err)
		}
	}
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
	for next := time.NewTimer(sweepEvery); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-next.C:
			more, err := s.accounts.SweepRecords(ctx, now.AddDate(0, 0, -days))
			if err != nil && ctx.Err() == nil {
				s.log.Error("sweep the audit", "error", err)
			}
			if more {
				next.Reset(sweepPause)
			} else {
				next.Reset(sweepEvery)
			}
		}
	}
}
