package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/metrics"
)

// alarms counts patterns among guesses.
type alarms struct{ stuffing, spraying atomic.Uint64 }

// alarm tells of a pattern. There is one an hour for each network, or password, at
// most.
func (s *Server) alarm(p account.Pattern) {
	what, n := "many accounts are tried from one network", &s.alarms.stuffing
	if p.Kind == account.Spraying {
		what, n = "one password is tried on many accounts", &s.alarms.spraying
	}
	n.Add(1)
	s.log.Warn(what+": misses from there cost ten times as much for an hour", slog.String("code", p.Kind),
		slog.String("network", p.Network), slog.Int("accounts", p.Accounts), slog.String("runbook", "under-attack.md"))
}

// measureAlarms tells the metrics how often there was one.
func (s *Server) measureAlarms() {
	for kind, n := range map[string]*atomic.Uint64{"stuffing": &s.alarms.stuffing, "spraying": &s.alarms.spraying} {
		s.metrics.Counter("admit_guess_patterns_total", "Patterns among wrong passwords, by kind: stuffing, many accounts from one network; spraying, one password at many accounts.",
			metrics.Labels{"kind": kind}, func() float64 { return float64(n.Load()) })
	}
}

// sweepGuesses forgets budgets of guesses that are whole, until ctx is done.
func (s *Server) sweepGuesses(ctx context.Context) {
	again(ctx, sweepEvery, func(now time.Time) time.Duration {
		more, err := s.accounts.SweepGuesses(ctx, now)
		if err != nil && ctx.Err() == nil {
			s.log.Error("sweep the budgets of guesses", slog.Any("error", err))
		}
		if more {
			return sweepPause
		}
		return sweepEvery
	})
}
