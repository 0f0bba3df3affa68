package account

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

// Who has lost every factor, recovery codes included, says so after the first step
// of a sign-in. Nothing happens at once: a thief who has the password says the
// same. The owner is told at the start, halfway and at the end of a delay, and
// stops it by a link or by any sign-in with a factor. Only then, and with a fresh
// proof of the mail address, are the factors removed.

const (
	purposeLost      = "lost factor"   // the link that stops it; the target is the user
	purposeLostProof = "lost factor 2" // the code that proves the address at the end
	lossLife         = 14 * 24 * time.Hour

	// FactorLossDelay is how long it takes where nothing else is configured.
	FactorLossDelay = 3 * 24 * time.Hour
)

// Why lost factors cannot be removed.
var (
	ErrNoAddress = admit.Conflict.New("no_address", "This account has no verified address that could be told.").WithHint("Ask the people who run this service.")
	ErrLossEarly = admit.Conflict.New("factor_loss_early", "It is too early to remove your factors.").WithHint("Begin it, if you have not, and wait until the mail says that it is time.")
)

// A FactorLoss is the removal of a user's factors under way.
type FactorLoss struct {
	User    string
	BegunAt time.Time
	DueAt   time.Time
	Told    int // how often the owner was: 1 at the start, 2 halfway, 3 at the end
}

// Losses are those removals.
type Losses interface {
	// FactorLoss returns a user's, or nil.
	FactorLoss(user string) (*FactorLoss, error)
	// FactorLosses returns all: there are few.
	FactorLosses() ([]*FactorLoss, error)
	// PutFactorLoss begins one, or changes how often the owner was told.
	PutFactorLoss(l *FactorLoss) error
	DeleteFactorLoss(user string) error
}

// Due reports whether the delay is over.
func (l *FactorLoss) Due(now time.Time) bool { return l != nil && !now.Before(l.DueAt) }

// afterFirst runs fn for whoever is between the two steps of a sign-in.
func (s *Service) afterFirst(ctx context.Context, flow, browser string, from Origin, now time.Time, fn func(Tx, *User) error) error {
	// Before a write, as in PassFactor.
	user, _, _, err := s.PeekFactor(ctx, flow, browser, now)
	if err != nil {
		return err
	}
	if err := s.take([]try{{"lost:" + user.ID, mailBudget}}, now); err != nil {
		return err
	}
	err = s.update(ctx, func(tx Tx) error {
		c, step, err := s.openStep(tx, flow, browser, now)
		if err != nil {
			return err
		}
		user, _, err := stepUser(tx, c, step)
		if err != nil {
			return err
		}
		// Without an address nobody could be told, and nobody could prove it.
		if len(s.reached(user)) == 0 {
			return ErrNoAddress
		}
		return fn(tx, user)
	})
	if err == nil {
		s.wake()
	}
	return err
}

// LossOf returns how far the removal of factors is, nil where none is under way.
func (s *Service) LossOf(ctx context.Context, user string) (l *FactorLoss, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		l, err = tx.FactorLoss(user)
		return err
	})
	return l, err
}

// BeginLoss begins the removal of the factors of who has shown one factor. To begin
// it again changes nothing.
func (s *Service) BeginLoss(ctx context.Context, flow, browser string, from Origin, now time.Time) (loss *FactorLoss, err error) {
	err = s.afterFirst(ctx, flow, browser, from, now, func(tx Tx, user *User) error {
		if loss, err = tx.FactorLoss(user.ID); err != nil || loss != nil {
			return err
		}
		loss = &FactorLoss{User: user.ID, BegunAt: now, DueAt: now.Add(cmp.Or(s.o.FactorLossDelay, FactorLossDelay)), Told: 1}
		if err := tx.PutFactorLoss(loss); err != nil {
			return err
		}
		if err := s.tellLoss(tx, loss, user, from, now); err != nil {
			return err
		}
		return tx.Record(from.mark(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "factor_loss_begun"}))
	})
	return loss, err
}

// lossEvents are what the owner is told, by how often it was.
var lossEvents = []string{"", "factor_loss_begun", "factor_loss_halfway", "factor_loss_due"}

// tellLoss tells the owner, with a link of its own that stops it.
func (s *Service) tellLoss(tx Tx, l *FactorLoss, user *User, from Origin, now time.Time) error {
	link := token.New(token.OneTime)
	c, err := s.challenge(link.WithNewVerifier(), link, purposeLost, user.ID, struct{}{}, l.DueAt.Add(lossLife).Sub(now), now)
	if err != nil {
		return err
	}
	if err := tx.PutChallenge(c); err != nil {
		return err
	}
	for _, id := range s.reached(user) {
		err := s.notify(tx, letter{
			name: lossEvents[l.Told], to: id.Value, locale: user.Locale, about: user.ID, needs: c,
			Facts: Facts{Link: s.o.PublicURL + "/link/" + link.Reveal(), At: l.DueAt, From: from.Address, Device: from.Browser},
		}, now)
		if err != nil {
			return err
		}
	}
	return nil
}

// TellLosses tells owners that the removal of their factors is halfway, or due,
// and forgets what nobody has finished. It is for the server, now and again.
func (s *Service) TellLosses(ctx context.Context, now time.Time) error {
	var due []*FactorLoss
	next := func(l *FactorLoss) bool {
		halfway := l.BegunAt.Add(l.DueAt.Sub(l.BegunAt) / 2)
		return l.Told == 1 && !now.Before(halfway) || l.Told == 2 && l.Due(now) || !now.Before(l.DueAt.Add(lossLife))
	}
	err := s.store.View(ctx, func(tx Tx) error {
		all, err := tx.FactorLosses()
		due = slices.DeleteFunc(all, func(l *FactorLoss) bool { return !next(l) })
		return err
	})
	if err != nil || len(due) == 0 {
		return err
	}
	err = s.update(ctx, func(tx Tx) error {
		for _, was := range due {
			l, err := tx.FactorLoss(was.User)
			if err != nil {
				return err
			}
			if l == nil || !next(l) { // stopped, or told by another replica
				continue
			}
			if !now.Before(l.DueAt.Add(lossLife)) {
				if err := tx.DeleteFactorLoss(l.User); err != nil {
					return err
				}
				continue
			}
			user, err := tx.User(l.User)
			if err != nil {
				return err
			}
			if l.Told++; l.Told == 2 && l.Due(now) {
				l.Told = 3 // the server was away
			}
			if err := tx.PutFactorLoss(l); err != nil {
				return err
			}
			if err := s.tellLoss(tx, l, user, Origin{}, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.wake()
	}
	return err
}

// stopLoss ends the removal of a user's factors, if one is under way.
func (s *Service) stopLoss(tx Tx, user string, r *Record, now time.Time) error {
	l, err := tx.FactorLoss(user)
	if err != nil || l == nil {
		return err
	}
	if err := tx.DeleteFactorLoss(user); err != nil {
		return err
	}
	for _, purpose := range []string{purposeLost, purposeLostProof} {
		if err := tx.DeleteChallenges(purpose, user, now); err != nil {
			return err
		}
	}
	r.At, r.Subject, r.Event = now, user, "factor_loss_stopped"
	return tx.Record(r)
}

// StopLoss stops it by a link that was mailed. A scanner that presses buttons does
// no harm by it: what is stopped can be begun again, what is removed is gone.
func (s *Service) StopLoss(ctx context.Context, link string, from Origin, now time.Time) error {
	tok, err := token.Parse(token.OneTime, link)
	if err != nil {
		return ErrFlowEnded
	}
	return s.update(ctx, func(tx Tx) error {
		c, err := tx.Challenge(tok.Selector())
		if err != nil {
			return err
		}
		if c == nil || c.Purpose != purposeLost || !tok.Matches(c.Link) || !now.Before(c.Expires) {
			return ErrFlowEnded
		}
		return s.stopLoss(tx, c.Target, from.mark(&Record{Detail: "link"}), now)
	})
}

// StopOwnLoss stops it for who is signed in.
func (s *Service) StopOwnLoss(ctx context.Context, a Asker, now time.Time) error {
	return s.update(ctx, func(tx Tx) error {
		return s.stopLoss(tx, a.Subject, a.mark("", "session", now), now)
	})
}

// AskLossProof mails the code that proves, once the delay is over, that the address
// is still the owner's.
func (s *Service) AskLossProof(ctx context.Context, flow, browser string, from Origin, now time.Time) (proof string, err error) {
	asker := token.New(token.OneTime)
	err = s.afterFirst(ctx, flow, browser, from, now, func(tx Tx, user *User) error {
		l, err := tx.FactorLoss(user.ID)
		if err != nil {
			return err
		}
		if !l.Due(now) {
			return ErrLossEarly
		}
		c, err := s.challenge(asker, asker.WithNewVerifier(), purposeLostProof, user.ID, struct{}{}, flowLife, now)
		if err != nil {
			return err
		}
		if err := tx.DeleteChallenges(purposeLostProof, user.ID, now); err != nil {
			return err
		}
		if err := tx.PutChallenge(c); err != nil {
			return err
		}
		to := s.reached(user)[0]
		if to.Kind == Phone {
			if err := s.takeText(tx, to.Value, from, now); err != nil {
				return err
			}
		}
		return s.post(tx, letter{
			name: "factor_loss_code", to: to.Value, locale: from.Locale, about: user.ID, needs: c,
			Facts: Facts{Code: s.recoverCode(c.ID), Link: s.o.PublicURL + "/account/security", From: from.Address, Device: from.Browser},
		}, now)
	})
	return asker.Reveal(), s.noText(ctx, err, from, now)
}

// FinishLoss removes all factors of who has shown one, waited, and proves the
// address with the code. The person signs in anew, with one step.
func (s *Service) FinishLoss(ctx context.Context, flow, browser, proof, code string, from Origin, now time.Time) error {
	user, _, _, err := s.PeekFactor(ctx, flow, browser, now)
	if err != nil {
		return err
	}
	tok, err := token.Parse(token.OneTime, proof)
	if err != nil {
		return ErrFlowEnded
	}
	err = s.prove(ctx, tok.Selector(), purposeLostProof, &struct{}{}, from, now, func(c *Challenge) error {
		if c.Target != user.ID {
			return ErrFlowEnded
		}
		return s.byCode(recoverCodeBy, tok, code)(c)
	}, func(tx Tx, c *Challenge) error {
		is, err := tx.User(user.ID)
		if err != nil {
			return err
		}
		step, kept, err := s.openStep(tx, flow, browser, now)
		if err != nil {
			return err
		}
		if _, _, err := stepUser(tx, step, kept); err != nil {
			return err
		}
		l, err := tx.FactorLoss(user.ID)
		if err != nil {
			return err
		}
		if !l.Due(now) { // stopped meanwhile
			return ErrLossEarly
		}
		if to := s.reached(is); len(to) > 0 && to[0].Kind == Phone {
			if err := s.provedText(tx, to[0].Value, from, now); err != nil {
				return err
			}
		}
		if err := s.stopLoss(tx, user.ID, from.mark(&Record{Actor: user.ID, Detail: "finished"}), now); err != nil {
			return err
		}
		if err := tx.DeleteFactors(user.ID, everyFactor...); err != nil {
			return err
		}
		if err := tx.DeleteChallenge(step.ID); err != nil {
			return err
		}
		if err := tx.RaiseEpoch(user.ID, ""); err != nil {
			return err
		}
		if err := endAPIKeys(tx, user.ID, "factors_reset", now, everyKey); err != nil {
			return err
		}
		if err := s.tellProved(tx, Asker{Subject: user.ID, From: from}, is, "factors_reset", now); err != nil {
			return err
		}
		return tx.Record(from.mark(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "factors_reset"}))
	})
	if err == nil {
		s.wake()
	}
	return err
}
