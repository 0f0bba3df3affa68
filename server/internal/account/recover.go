package account

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/token"
)

// Forgotten passwords: a secret that is random and good once goes to an identifier,
// and whoever receives it chooses a new password. It signs nobody in: the next
// sign-in asks for all that any other does.

const purposeRecover = "recover" // by the identifier that is the target

// ErrRecovery refuses where no message can be sent.
var ErrRecovery = admit.Unavailable.New("recovery_unavailable", "Forgotten passwords cannot be replaced from here.").WithHint("Ask the people who run this service: an administrator can set a new one.")

// A recovery is what is known of a password that was forgotten.
type recovery struct {
	User string // "" where nobody's: its code was sent to nobody
	To   string // the identifier that it was sent to
}

// Forgot sends a code, and where mail goes a link, with which a new password can be
// chosen. The answer, the work and the number of writes are the same whether the
// identifier is somebody's or not, proved or not, or of somebody who is disabled: that
// is told to its owner only. It returns the flow, for who asks.
func (s *Service) Forgot(ctx context.Context, identifier string, from Origin, now time.Time) (flow string, err error) {
	id, err := ParseIdentifier(identifier)
	if err != nil {
		return "", &admit.FieldError{Field: "identifier", Err: err}
	}
	if !s.o.CanMail && !s.o.CanText || s.reaches(id.Kind) != nil {
		return "", &admit.FieldError{Field: "identifier", Err: ErrRecovery}
	}
	writing, err := s.writing(ctx, id, from)
	if err != nil {
		return "", err
	}
	tries := append([]try{{"recover:" + from.network(), signUpBudget}}, writing...)
	if err := s.take(tries, now); err != nil {
		return "", err
	}
	asker := token.New(token.OneTime)
	link := asker.WithNewVerifier()
	err = s.update(ctx, func(tx Tx) error {
		user, to, err := s.reach(tx, id)
		if err != nil {
			return err
		}
		c, err := s.challenge(asker, link, purposeRecover, id.Value, recovery{idOf(user), to.Value}, flowLife, now)
		if err != nil {
			return err
		}
		// Recoveries that nobody finished must not pile up. Others for this identifier
		// stay: a stranger who asks must not end what the owner is about to type.
		if err := tx.DeleteChallenges(purposeRecover, "", now); err != nil {
			return err
		}
		if err := tx.PutChallenge(c); err != nil {
			return err
		}
		if to.Kind == Phone {
			if err := s.takeText(tx, to.Value, from, now); err != nil {
				if id.Kind == Phone || !errors.Is(err, ErrTexts) {
					return err
				}
				user, to = nil, id // as in AskSignIn
			}
		}
		if err := s.post(tx, s.recoveryLetter(user, to, c, link, from), now); err != nil {
			return err
		}
		return tx.Record(from.mark(&Record{At: now, Subject: idOf(user), Event: "password_forgotten"}))
	})
	if err != nil {
		s.refund(tries)
		return "", s.noText(ctx, err, from, now)
	}
	s.wake()
	return asker.Reveal(), nil
}

// recoveryLetter is what goes out where a password was forgotten. Whose address has
// no account is told so. A number without one gets nothing, for every text costs, and
// a user name nobody: what is written in their place is as much work.
func (s *Service) recoveryLetter(user *User, to Identifier, c *Challenge, link token.Token, from Origin) letter {
	l := letter{
		name: "recovery_code", to: to.Value, locale: from.Locale, about: idOf(user), needs: c,
		Facts: Facts{Code: s.recoverCode(c.ID), Link: s.o.PublicURL + "/link/" + link.Reveal(), From: from.Address},
	}
	switch {
	case user != nil:
		l.locale = cmp.Or(user.Locale, from.Locale)
	case to.Kind == Email:
		l.name, l.needs, l.Facts = "recovery_nobody", nil, Facts{Link: s.o.PublicURL + "/signup"}
	default:
		l.needs = &Challenge{ID: "sent to nobody", Expires: c.Expires} // there is none, so that it is not sent
	}
	return l
}

// The budgets of recoveries of one identifier: of one network and of all. It takes
// three networks to keep the owner from asking at a browser that is not known. Five
// tries of each of 188 a day leave who guesses less than 1 in 100,000.
var (
	recoverMine = Budget{4, 20 * time.Minute}
	recoverAll  = Budget{8, 8 * time.Minute}
)

// writing are the budgets of recoveries of an identifier. A browser that is known has
// one of its own, so that no stranger keeps the owner from them.
func (s *Service) writing(ctx context.Context, id Identifier, from Origin) ([]try, error) {
	who, err := s.knownHere(ctx, id.Value, from)
	if who != "" {
		return []try{{"recovery of " + from.Device + ":" + who, mailBudget}}, err
	}
	return []try{{"recovery:" + from.network() + " " + id.Value, recoverMine}, {"recovery:" + id.Value, recoverAll}}, err
}

// A NewPassword is what somebody chooses who has forgotten the old one: with the
// code, where it was asked for, or with the mailed link anywhere.
type NewPassword struct {
	Flow, Code string
	Link       string
	Password   admit.Secret
}

// Recover sets the password of who received the code or the link. Every session, API
// key and trusted device of the user ends; second factors stay. A refused password
// spends nothing. An address that is proved by it for the first time takes the
// account with nothing else in it.
func (s *Service) Recover(ctx context.Context, in NewPassword, from Origin, now time.Time) error {
	text := cmp.Or(in.Link, in.Flow)
	tok, err := token.Parse(token.OneTime, strings.TrimSpace(text))
	if err != nil {
		return ErrFlowEnded
	}
	tries := []try{{"prove:" + from.network(), addressBudget}}
	if err := s.take(tries, now); err != nil {
		return err
	}
	// It gives who has shown the secret the user, ErrBadCode for a code that is
	// wrong, or that was sent to nobody.
	open := func(tx Tx) (c *Challenge, p recovery, user *User, err error) {
		c, err = tx.Challenge(tok.Selector())
		if err != nil {
			return nil, p, nil, err
		}
		if c == nil || c.Purpose != purposeRecover || c.Tries <= 0 || !now.Before(c.Expires) {
			return nil, p, nil, ErrFlowEnded
		}
		if err := s.opened(c, &p, now); err != nil {
			return nil, p, nil, err
		}
		switch {
		case in.Link != "" && !tok.Matches(c.Link), in.Link == "" && !tok.Matches(c.Asker):
			return nil, p, nil, ErrFlowEnded
		case in.Link == "" && !s.isCode(recoverCodeBy, c.ID, cleanCode(in.Code)) || p.User == "":
			return c, p, nil, ErrBadCode
		}
		user, err = tx.User(p.User)
		if errors.Is(err, ErrUnknownUser) || err == nil && (user.Disabled || user.identifier(p.To) == nil) {
			err = ErrFlowEnded // since it was asked for
		}
		return c, p, user, err
	}
	var user *User
	err = s.store.View(ctx, func(tx Tx) (err error) {
		_, _, user, err = open(tx)
		return err
	})
	if errors.Is(err, ErrBadCode) {
		return s.burn(ctx, tok.Selector(), from, now)
	}
	if err != nil {
		return err
	}
	hash, err := s.hash(ctx, "new_password", in.Password, user, password.Stranger)
	if err != nil {
		s.refund(tries)
		return err
	}
	err = s.update(ctx, func(tx Tx) error {
		c, p, user, err := open(tx)
		if err != nil {
			return err
		}
		return s.recovered(tx, c, p, user, hash, from, now)
	})
	if err == nil {
		s.refund(tries)
		s.wake()
	}
	return err
}

// recoveredBy returns the identifier that the message of a recovery went to.
func (s *Service) recoveredBy(c *Challenge, now time.Time) (string, error) {
	var p recovery
	err := s.opened(c, &p, now)
	return p.To, err
}

// burn takes a try from a recovery for a wrong code, and returns ErrBadCode.
func (s *Service) burn(ctx context.Context, id string, from Origin, now time.Time) error {
	err := s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		c, err := tx.Challenge(id)
		if err != nil || c == nil {
			return err
		}
		c.Tries--
		if err := tx.PutChallenge(c); err != nil {
			return err
		}
		return tx.Record(from.mark(&Record{At: now, Event: "recovery_refused"}))
	})
	return errors.Join(ErrBadCode, err)
}

// recovered sets the new password of a user who has just proved an identifier.
func (s *Service) recovered(tx Tx, c *Challenge, p recovery, user *User, hash string, from Origin, now time.Time) (err error) {
	if user.identifier(p.To).Verified {
		if err = s.clear(tx, user, Recovered, now.Add(-wayBackLife), now); err == nil {
			user = user.clone()
		}
	} else {
		user, err = s.firstProof(tx, user, p.To, from, now)
	}
	if err != nil {
		return err
	}
	user.MustChange = false
	if err := tx.PutUser(user); err != nil {
		return err
	}
	if err := tx.SetPasswordHash(user.ID, hash, now); err != nil {
		return err
	}
	if channelOf(p.To) == Phone.Channel() {
		if err := s.provedText(tx, p.To, from, now); err != nil {
			return err
		}
	}
	// By the name that was typed, too, which clear may not know.
	if err := tx.DeleteChallenges(purposeRecover, c.Target, now); err != nil {
		return err
	}
	if err := s.tell(tx, Asker{Subject: user.ID, From: from}, user, "password_reset", now); err != nil {
		return err
	}
	return tx.Record(from.mark(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "password_reset"}))
}

// recoverCode is the code of a recovery: eight digits, for anybody may ask for as
// many as the budgets allow, and guess five times at each. There is no budget of
// wrong codes, with which a stranger could keep the owner out.
func (s *Service) recoverCode(id string) string { return recoverCodeBy(s.o.Keys.Derive("code"), id) }

func recoverCodeBy(key []byte, id string) string { return digitsOf(key, "recover "+id, 8) }
