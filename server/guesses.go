package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"strconv"
	"strings"
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

// noText tells that a text message was not sent. Each reason and prefix is told when
// it begins, and then once a minute.
func (s *Server) noText(r account.TextRefusal) {
	s.noTexts.Add(1)
	if s.told.Take(r.Why+" "+r.Prefix, account.Budget{Burst: 1, Every: time.Minute}, time.Now()) > 0 {
		return
	}
	what := "a text message is not sent: it would cost too much"
	if r.Dry {
		what = "a text message would not be sent, but for text_budget_dry: it costs too much"
	}
	s.log.Warn(what, slog.String("code", "text_refused"), slog.String("why", r.Why), slog.String("prefix", r.Prefix), slog.String("runbook", "under-attack.md"))
}

// textBudget returns what texts may cost.
func (c Config) textBudget() (b account.TextBudget, err error) {
	b.Prices = maps.Clone(account.Prices)
	b.Dry = c.TextBudgetDry
	for _, each := range []struct {
		text string
		to   *account.Money
	}{{cmp.Or(c.TextBudgetHour, "20"), &b.Hour}, {cmp.Or(c.TextBudgetDay, "100"), &b.Day}} {
		if *each.to, err = parseMoney(each.text); err != nil {
			return b, fmt.Errorf("text_budget: %q: %w", each.text, err)
		}
	}
	if b.Day == 0 {
		b.Day = 24 * b.Hour
	}
	for _, text := range c.TextPrices {
		code, price, ok := strings.Cut(text, "=")
		if !ok || account.CountryCode("+"+code) != code {
			return b, fmt.Errorf("text_prices: %q: %w", text, ErrConfigValue.WithHint("a price is written as a country code and what a text costs, such as 1=0.008"))
		}
		if b.Prices[code], err = parseMoney(price); err != nil {
			return b, fmt.Errorf("text_prices: %q: %w", text, err)
		}
	}
	return b, nil
}

// parseMoney reads an amount such as 20 or 0.008.
func parseMoney(text string) (account.Money, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= 0 && f <= 1e9) || strings.Trim(text, "0123456789.") != "" {
		return 0, ErrConfigValue.WithHint("an amount is a number such as 20 or 0.008")
	}
	return account.Money(math.Round(f * float64(account.Unit))), nil
}

// sweepTexts forgets what texts cost long ago, until ctx is done.
func (s *Server) sweepTexts(ctx context.Context) {
	again(ctx, sweepEvery, func(now time.Time) time.Duration {
		more, err := s.accounts.SweepTexts(ctx, now)
		if err != nil && ctx.Err() == nil {
			s.log.Error("sweep what texts cost", slog.Any("error", err))
		}
		if more {
			return sweepPause
		}
		return sweepEvery
	})
}

// measureAlarms tells the metrics how often there was one.
func (s *Server) measureAlarms() {
	for kind, n := range map[string]*atomic.Uint64{"stuffing": &s.alarms.stuffing, "spraying": &s.alarms.spraying} {
		s.metrics.Counter("admit_guess_patterns_total", "Patterns among wrong passwords, by kind: stuffing, many accounts from one network; spraying, one password at many accounts.",
			metrics.Labels{"kind": kind}, func() float64 { return float64(n.Load()) })
	}
	s.metrics.Counter("admit_texts_refused_total", "Text messages with codes that were not sent, or with text_budget_dry would not be, for what they cost or because codes do not come back.", nil,
		func() float64 { return float64(s.noTexts.Load()) })
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
