package account

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/token"
)

const (
	purposeAdd  = "add"  // an address to a user, which is the target
	purposeBack = "back" // the way back of an address of the user that is the target

	wayBackLife    = 7 * 24 * time.Hour
	maxWaysBack    = 100 // of one user: the first of them undoes all
	maxIdentifiers = 10
)

// What is refused about the names that a user signs in with.
var (
	ErrYours             = admit.Conflict.New("identifier_yours", "You sign in with this already.")
	ErrManyIdentifiers   = admit.Conflict.New("too_many_identifiers", "You sign in with ten names already.").WithHint("Remove one first.")
	ErrUnknownIdentifier = admit.NotFound.New("unknown_identifier", "You do not sign in with this.")
	ErrUnverified        = admit.Conflict.New("identifier_unverified", "This address is not verified.").WithHint("Verify it first: add it again, and type the code that is mailed to it.")
	ErrPrimary           = admit.Conflict.New("identifier_primary", "This is the primary one.").WithHint("Make another one primary first.")
	ErrLastIdentifier    = admit.Conflict.New("last_identifier", "This is the last one that you can sign in with.").WithHint("Add another one first.")
	ErrWayBackEnded      = admit.Unauthenticated.New("way_back_ended", "This link is no longer good.").WithHint("It is good once, for seven days. Sign in, and look at your account.")
)

// An addition is an address on its way into an account. It stands nowhere but
// sealed in its challenge until it is proved, so that nobody can hold, or sign in
// with, an address that is not theirs.
type addition struct{ Address string }

// A wayBack undoes what was done to an account since: the address is primary
// again, and the other names are those that were there.
type wayBack struct {
	Address     string
	Identifiers []Identifier
}

// addressOf returns the address that a challenge is about.
func (s *Service) addressOf(c *Challenge, now time.Time) (string, error) {
	var about struct{ Address string }
	err := s.opened(c, &about, now)
	return about.Address, err
}

// AddIdentifier lets the asker sign in with one more name. A user name is added
// at once. To an e-mail address or a phone number a message goes out, whether it is
// taken or not, which is told to its owner only; the flow is proved with
// [Service.VerifyIdentifier]. An unverified address of the asker's own is verified
// the same way.
func (s *Service) AddIdentifier(ctx context.Context, a Asker, text string, now time.Time) (user *User, flow string, err error) {
	id, err := ParseIdentifier(text)
	if err != nil {
		return nil, "", &admit.FieldError{Field: "identifier", Err: err}
	}
	if err := s.reaches(id.Kind); err != nil {
		return nil, "", &admit.FieldError{Field: "identifier", Err: err}
	}
	check := func(user *User) error {
		if err := a.recent(user, now); err != nil {
			return err
		}
		mine := user.identifier(id.Value)
		switch {
		case mine != nil && mine.Verified:
			return &admit.FieldError{Field: "identifier", Err: ErrYours}
		case mine == nil && len(user.Identifiers) >= maxIdentifiers:
			return &admit.FieldError{Field: "identifier", Err: ErrManyIdentifiers}
		}
		return nil
	}
	// Before any budget: what is refused here costs nothing and tells nothing.
	was, err := s.User(ctx, a.Subject)
	if err == nil {
		err = cmp.Or(check(was), s.store.View(ctx, a.strong))
	}
	if err != nil {
		return nil, "", err
	}
	// Names are told as taken or free, so a session may not ask for many.
	tries := []try{{"add:" + a.Subject, addBudget}}
	if channel := id.Kind.Channel(); channel != "" {
		tries = append(tries, try{channel + ":" + id.Value, mailBudget})
	}
	if err := s.take(tries, now); err != nil {
		return nil, "", err
	}
	if id.Kind.Channel() != "" {
		flow, err = s.askAddition(ctx, a, id, check, now)
		return nil, flow, err
	}
	user, err = s.own(ctx, a, "identifier_added", id.Value, now, func(tx Tx, user *User) error {
		if err := check(user); err != nil {
			return err
		}
		before := user.clone()
		user.Identifiers = append(user.Identifiers, id)
		if err := unmistakable(tx, user); err != nil {
			return err
		}
		return s.tell(tx, a, before, "identifier_added", now)
	})
	if errors.Is(err, ErrTaken) {
		err = &admit.FieldError{Field: "identifier", Err: err}
	}
	return user, "", err
}

// askAddition sends a code and a link. The work is the same for an address that
// somebody has.
func (s *Service) askAddition(ctx context.Context, a Asker, id Identifier, check func(*User) error, now time.Time) (flow string, err error) {
	asker := token.New(token.OneTime)
	link := asker.WithNewVerifier()
	c, err := s.challenge(asker, link, purposeAdd, a.Subject, addition{id.Value}, flowLife, now)
	if err != nil {
		return "", err
	}
	err = s.update(ctx, func(tx Tx) error {
		user, err := tx.User(a.Subject)
		if err != nil {
			return err
		}
		if err := cmp.Or(check(user), a.strong(tx)); err != nil {
			return err
		}
		owner, err := tx.UserByIdentifier(id.Value)
		if err != nil && !errors.Is(err, ErrUnknownUser) {
			return err
		}
		l := letter{
			name: "identifier_code", to: id.Value, locale: a.From.Locale, about: a.Subject, needs: c,
			Facts: Facts{Code: s.code(c.ID), Link: s.o.PublicURL + "/link/" + link.Reveal()},
		}
		if owner != nil && owner.identifier(id.Value).Verified {
			// The code of the row is sent to nobody.
			l.name, l.Facts = "identifier_taken", Facts{Link: s.o.PublicURL + "/signin"}
		}
		if id.Kind == Phone {
			if err := s.takeText(tx, id.Value, a.From, now); err != nil {
				return err
			}
		}
		if err := tx.DeleteChallenges(purposeSignUp, "", now); err != nil { // and all that have expired
			return err
		}
		if err := tx.PutChallenge(c); err != nil {
			return err
		}
		if err := s.post(tx, l, now); err != nil {
			return err
		}
		// Without the address: an activity list must not keep what is nobody's yet.
		return tx.Record(a.mark("identifier_asked", "", now))
	})
	if err != nil {
		return "", s.noText(ctx, err, a.From, now)
	}
	s.wake()
	return asker.Reveal(), nil
}

// challenge makes one whose payload is sealed.
func (s *Service) challenge(asker, link token.Token, purpose, target string, payload any, life time.Duration, now time.Time) (*Challenge, error) {
	b, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("encode a challenge: %w", err)
	}
	c := &Challenge{
		ID: link.Selector(), Asker: asker.Digest(), Link: link.Digest(),
		Purpose: purpose, Target: target, Tries: flowTries, Expires: now.Add(life),
	}
	c.Sealed = string(s.o.Keys.Seal(nil, "challenge "+c.ID, b, now))
	return c, nil
}

// VerifyIdentifier proves an address with the code that was mailed to it, for the
// user who asked and in the browser or program that did.
func (s *Service) VerifyIdentifier(ctx context.Context, a Asker, flow, code string, now time.Time) (*User, error) {
	tok, err := token.Parse(token.OneTime, strings.TrimSpace(flow))
	if err != nil {
		return nil, ErrFlowEnded
	}
	return s.proveAddition(ctx, a, tok.Selector(), now, s.byCode(codeBy, tok, code))
}

// VerifyIdentifierLink is VerifyIdentifier for the browser that asked and also
// opened the mailed link: it needs both.
func (s *Service) VerifyIdentifierLink(ctx context.Context, a Asker, flow, link string, now time.Time) (*User, error) {
	id, check, err := byLink(flow, link)
	if err != nil {
		return nil, err
	}
	return s.proveAddition(ctx, a, id, now, check)
}

func (s *Service) proveAddition(ctx context.Context, a Asker, id string, now time.Time, check func(*Challenge) error) (user *User, err error) {
	var p addition
	err = s.prove(ctx, id, purposeAdd, &p, a.From, now, func(c *Challenge) error {
		if c.Target != a.Subject {
			return ErrFlowEnded
		}
		return check(c)
	}, func(tx Tx, c *Challenge) error {
		id, err := ParseIdentifier(p.Address)
		if err != nil {
			return fmt.Errorf("decode challenge %s: %w", c.ID, err)
		}
		was, err := tx.User(a.Subject)
		if errors.Is(err, ErrUnknownUser) {
			return ErrFlowEnded
		}
		if err != nil {
			return err
		}
		if was.MustChange {
			return ErrMustChange
		}
		if err := s.free(tx, a, p.Address, now); err != nil {
			return err
		}
		if id.Kind == Phone {
			if err := s.provedText(tx, id.Value, a.From, now); err != nil {
				return err
			}
		}
		user = was.clone()
		event := "identifier_added"
		if mine := user.identifier(p.Address); mine != nil {
			// The first proof: what began while nobody had proved the address
			// ends. The password stays, for who proves is signed in with it.
			mine.Verified, event = true, "identifier_verified"
			if err := tx.RaiseEpoch(a.Subject, a.SID); err != nil {
				return err
			}
			if err := endAPIKeys(tx, a.Subject, "identifier_verified", now, everyKey); err != nil {
				return err
			}
		} else if len(user.Identifiers) >= maxIdentifiers {
			return ErrManyIdentifiers
		} else {
			id.Verified = true
			user.Identifiers = append(user.Identifiers, id)
		}
		if err := tx.PutUser(user); err != nil {
			return err
		}
		if err := tx.DeleteChallenge(c.ID); err != nil {
			return err
		}
		if err := tx.DeleteChallenges(purposeSignUp, p.Address, now); err != nil {
			return err
		}
		if err := s.tell(tx, a, was, event, now); err != nil {
			return err
		}
		return tx.Record(a.mark(event, p.Address, now))
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	return user, nil
}

// free takes an address that was just proved away from another user who never
// proved it. The first proof takes all: where nothing else of that user was
// proved, its password and sessions go, too. ErrFlowEnded if it was proved.
func (s *Service) free(tx Tx, a Asker, address string, now time.Time) error {
	holder, err := tx.UserByIdentifier(address)
	switch {
	case errors.Is(err, ErrUnknownUser):
		return nil
	case err != nil:
		return err
	case holder.ID == a.Subject && !holder.identifier(address).Verified:
		return nil
	case holder.identifier(address).Verified:
		return ErrFlowEnded
	}
	holder = holder.clone()
	holder.Identifiers = slices.DeleteFunc(holder.Identifiers, func(id Identifier) bool { return id.Value == address })
	holder.setPrimary("")
	event := "identifier_lost"
	if !slices.ContainsFunc(holder.Identifiers, func(id Identifier) bool { return id.Verified }) {
		event = "first_proof_took_all"
		if err := s.clear(tx, holder, FirstProof, now, now); err != nil {
			return err
		}
	}
	if err := tx.PutUser(holder); err != nil {
		return err
	}
	return tx.Record(&Record{At: now, Subject: holder.ID, Actor: holder.ID, Event: event, Detail: address})
}

// setPrimary makes one identifier primary, or with "" the first if none is.
func (u *User) setPrimary(value string) {
	if value == "" && len(u.Identifiers) > 0 {
		value = u.Primary()
		if u.identifier(value) == nil {
			value = u.Identifiers[0].Value
		}
	}
	for i := range u.Identifiers {
		u.Identifiers[i].Primary = u.Identifiers[i].Value == value
	}
}

// MakePrimary makes a verified identifier the primary one: the name that the
// account goes by, and what is written to first. All that were proved hear of it,
// the one that was primary among them.
func (s *Service) MakePrimary(ctx context.Context, a Asker, value string, now time.Time) (*User, error) {
	value = spelled(value)
	return s.own(ctx, a, "identifier_primary_set", value, now, func(tx Tx, user *User) error {
		id := user.identifier(value)
		switch {
		case id == nil:
			return ErrUnknownIdentifier
		case !id.Verified:
			return ErrUnverified
		case id.Primary:
			return nil
		}
		before := user.clone()
		user.setPrimary(value)
		return s.tell(tx, a, before, "identifier_primary_set", now)
	})
}

// RemoveIdentifier lets the asker sign in with it no more. The primary one and the
// last that was proved stay. An address is told; additions under way end, so that
// none brings back what was just removed.
func (s *Service) RemoveIdentifier(ctx context.Context, a Asker, value string, now time.Time) (*User, error) {
	value = spelled(value)
	return s.own(ctx, a, "identifier_removed", value, now, func(tx Tx, user *User) error {
		id := user.identifier(value)
		if id == nil {
			return ErrUnknownIdentifier
		}
		before := user.clone()
		gone := *id
		user.Identifiers = slices.DeleteFunc(user.Identifiers, func(id Identifier) bool { return id.Value == value })
		switch {
		case !slices.ContainsFunc(user.Identifiers, func(id Identifier) bool { return id.Verified }):
			return ErrLastIdentifier
		case gone.Primary:
			return ErrPrimary
		}
		if err := tx.DeleteChallenges(purposeAdd, a.Subject, now); err != nil {
			return err
		}
		if !gone.Verified {
			return nil // it was never anybody's here
		}
		return s.tellGone(tx, a, before, "identifier_removed", gone.Value, now)
	})
}

// spelled returns a name as it is kept.
func spelled(value string) string {
	if id, err := ParseIdentifier(value); err == nil {
		return id.Value
	}
	return strings.ToLower(strings.TrimSpace(value))
}

// tell lets the owner of an account hear of a change of it, by everything of it that
// was proved: each message has a way back to what the account was before. No way
// back has an address that an older one may still contest: a thief who added his own
// must not be able to undo, with it, that the owner removes it. Where there is no
// address yet a way back is kept that nobody is told, so that the first one is
// contested as well.
func (s *Service) tell(tx Tx, a Asker, before *User, event string, now time.Time) error {
	return s.tellGone(tx, a, before, event, "", now)
}

// tellGone is tell where an identifier is gone: by that one itself other words go.
func (s *Service) tellGone(tx Tx, a Asker, before *User, event, gone string, now time.Time) error {
	if !s.o.CanMail && !s.o.CanText {
		return nil
	}
	names := before.Identifiers
	pending, err := s.waysBack(tx, before.ID, now)
	if err != nil {
		return err
	}
	if len(pending) > 0 {
		names = pending[0].Identifiers // else each step of a thief would make the one before it part of what comes back
	}
	to := s.reached(before)
	if len(to) == 0 {
		to = []Identifier{{}}
	}
	for _, id := range to {
		l := letter{
			name: event, to: id.Value, locale: before.Locale, about: before.ID,
			Facts: Facts{Link: s.o.PublicURL + "/account/security", Lost: event == "password_changed" || event == "password_reset", From: a.From.Address, Device: a.From.Browser},
		}
		if event == "identifier_removed" && id.Value != gone {
			l.name = "identifier_gone"
		}
		contested := slices.ContainsFunc(pending, func(b wayBack) bool {
			return id.Value != "" && !slices.ContainsFunc(b.Identifiers, func(known Identifier) bool { return known.Value == id.Value })
		})
		if !contested && len(pending) < maxWaysBack {
			link := token.New(token.OneTime)
			// Nobody asked, so no browser has the other half.
			c, err := s.challenge(link.WithNewVerifier(), link, purposeBack, before.ID, wayBack{id.Value, names}, wayBackLife, now)
			if err != nil {
				return err
			}
			if err := tx.PutChallenge(c); err != nil {
				return err
			}
			l.Link, l.Back = s.o.PublicURL+"/link/"+link.Reveal(), true
		}
		if id.Value == "" {
			continue
		}
		if err := s.notify(tx, l, now); err != nil {
			return err
		}
	}
	return nil
}

// waysBack are those of a user that are good, oldest first.
func (s *Service) waysBack(tx Tx, user string, now time.Time) (all []wayBack, err error) {
	pending, err := tx.ListChallenges(purposeBack, user) // oldest first
	if err != nil {
		return nil, err
	}
	for _, c := range pending {
		if !now.Before(c.Expires) {
			continue
		}
		// Sealed ahead of time is refused, and so would be every change of the
		// account after the clock was set back: when it was made is known here.
		at := now
		if made := c.Expires.Add(-wayBackLife); made.After(at) {
			at = made
		}
		var back wayBack
		if err := s.opened(c, &back, at); err != nil {
			return nil, err
		}
		all = append(all, back)
	}
	return all, nil
}

// WayBack spends a way back, which proves that the mailed address is still the
// owner's: the names are again what they were, the address is primary, there is a
// new password, and every session has ended. What else was on its way, other ways
// back included, is void.
func (s *Service) WayBack(ctx context.Context, link string, pw admit.Secret, from Origin, now time.Time) error {
	tok, err := token.Parse(token.OneTime, strings.TrimSpace(link))
	if err != nil {
		return ErrWayBackEnded
	}
	tries := []try{{"prove:" + from.network(), addressBudget}}
	if err := s.take(tries, now); err != nil {
		return err
	}
	var since time.Time // the first change that it undoes
	open := func(tx Tx) (*User, wayBack, error) {
		var back wayBack
		c, err := tx.Challenge(tok.Selector())
		if err != nil {
			return nil, back, err
		}
		if c == nil || c.Purpose != purposeBack || !tok.Matches(c.Link) || !now.Before(c.Expires) {
			return nil, back, ErrWayBackEnded
		}
		if err := s.opened(c, &back, now); err != nil {
			return nil, back, errors.Join(ErrWayBackEnded, err)
		}
		user, err := tx.User(c.Target)
		if errors.Is(err, ErrUnknownUser) || err == nil && user.Disabled {
			return nil, back, ErrWayBackEnded
		}
		if err != nil {
			return nil, back, err
		}
		pending, err := tx.ListChallenges(purposeBack, c.Target) // oldest first
		since = c.Expires.Add(-wayBackLife)
		if i := slices.IndexFunc(pending, func(c *Challenge) bool { return now.Before(c.Expires) }); i >= 0 {
			since = pending[i].Expires.Add(-wayBackLife)
		}
		return user, back, err
	}
	var user *User
	err = s.store.View(ctx, func(tx Tx) (err error) {
		user, _, err = open(tx)
		return err
	})
	if err != nil {
		return err
	}
	hash, err := s.hash(ctx, "new_password", pw, user, password.Stranger)
	if err != nil {
		s.refund(tries)
		return err
	}
	err = s.update(ctx, func(tx Tx) error {
		was, back, err := open(tx)
		if err != nil {
			return err
		}
		user := was.clone()
		user.MustChange, user.Identifiers = false, nil
		for _, id := range back.Identifiers {
			holder, err := tx.UserByIdentifier(id.Value)
			if err != nil && !errors.Is(err, ErrUnknownUser) {
				return err
			}
			if holder != nil && holder.ID != user.ID {
				if id.Value == back.Address {
					return ErrTaken
				}
				continue // somebody else's by now
			}
			user.Identifiers = append(user.Identifiers, id)
		}
		user.setPrimary(back.Address)
		if err := s.clear(tx, was, TakenBack, since, now); err != nil {
			return err
		}
		if err := tx.PutUser(user); err != nil {
			return err
		}
		if err := tx.SetPasswordHash(user.ID, hash, now); err != nil {
			return err
		}
		return tx.Record(from.mark(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "way_back_taken", Detail: back.Address}))
	})
	if err == nil {
		s.refund(tries)
	}
	return err
}
