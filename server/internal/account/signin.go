package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/trace"
)

// SignIn returns the user with this identifier and password. An unknown user,
// one without a password, a disabled one and a wrong password are one refusal,
// ErrBadCredentials, after the same work. Only failures spend tries; successes
// have a wide budget of their own. The caller begins a session, which is what the
// audit tells.
func (s *Service) SignIn(ctx context.Context, identifier string, pw admit.Secret, from Origin, now time.Time) (_ *User, err error) {
	defer func() { s.o.Observer.SignIn(err) }()
	id, malformed := ParseIdentifier(identifier)
	g, err := s.guessAt(ctx, id.Value, from, now)
	if err != nil {
		return nil, err
	}
	var user *User
	var hash string
	if malformed == nil {
		if user, hash, err = s.toGuess(ctx, g, id.Value, now); err != nil {
			return nil, err
		}
	}
	ok, err := s.verify(ctx, user, hash, pw, g.priority())
	if err != nil {
		return nil, errors.Join(err, s.release(ctx, g, false, now)) // busy: nothing was guessed
	}
	if !ok {
		return nil, errors.Join(ErrBadCredentials, s.missed(ctx, g, user, id.Value, pw, from, now))
	}
	if s.o.Watch != nil && !g.known {
		s.o.Watch.Passed(g.wide, id.Value, now)
	}
	if err := s.release(ctx, g, true, now); err != nil {
		return nil, err
	}
	if user.proof == "" {
		user.proof = hash
	}
	return user, nil
}

// toGuess returns the user whose password is guessed at, nil where there is none,
// once all budgets are taken.
func (s *Service) toGuess(ctx context.Context, g *guess, identifier string, now time.Time) (user *User, hash string, err error) {
	var full time.Time
	err = s.store.View(ctx, func(tx Tx) (err error) {
		if full, err = s.look(tx, g, now); err != nil {
			return err
		}
		if user, err = tx.UserByIdentifier(identifier); err != nil {
			return err
		}
		if hash, err = tx.PasswordHash(user.ID); err != nil {
			return err
		}
		at, err := tx.PasswordChanged(user.ID)
		user.mark = markOf(at)
		return err
	})
	if errors.Is(err, ErrUnknownUser) {
		user, err = nil, nil
	}
	if err == nil {
		err = s.reserve(ctx, g, full, now)
	}
	if err != nil {
		s.refund(append(g.nets, g.right))
		if !errors.Is(err, ErrGuesses) {
			s.refund([]try{g.who})
		}
		return nil, "", err
	}
	return user, hash, nil
}

func (g *guess) priority() password.Priority {
	if g.known {
		return password.Known
	}
	return password.Stranger
}

// Confirm reports, after a session was begun for a user whom SignIn returned,
// whether the password is still good. A sign-in takes as long as a hash does:
// without it one that was under way when the owner changed the password, or an
// operator disabled the user, would begin a session that outlives the change.
func (s *Service) Confirm(ctx context.Context, user *User, pw admit.Secret) error {
	current, hash, err := s.withHash(ctx, func(tx Tx) (*User, error) { return tx.User(user.ID) })
	switch {
	case errors.Is(err, ErrUnknownUser):
		return ErrBadCredentials
	case err != nil:
		return err
	case current.Disabled || hash == "":
		return ErrBadCredentials
	case hash == user.proof:
		return nil
	}
	ok, _, err := s.o.Passwords.Verify(ctx, pw, hash, password.Known) // perhaps only upgraded
	if err == nil && !ok {
		err = ErrBadCredentials
	}
	return err
}

// withHash returns the user that find finds, and the hash of its password.
func (s *Service) withHash(ctx context.Context, find func(Tx) (*User, error)) (user *User, hash string, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		if user, err = find(tx); err != nil {
			return err
		}
		hash, err = tx.PasswordHash(user.ID)
		return err
	})
	return user, hash, err
}

func idOf(u *User) string {
	if u == nil {
		return ""
	}
	return u.ID
}

// verify does the same work whatever is known about the user.
func (s *Service) verify(ctx context.Context, user *User, hash string, pw admit.Secret, prio password.Priority) (ok bool, err error) {
	ctx, span := trace.Start(ctx, "password verify")
	defer func() { span.End(err) }()
	if user == nil || hash == "" || user.Disabled {
		return false, s.o.Passwords.VerifyDummy(ctx, pw, prio)
	}
	ok, upgrade, err := s.o.Passwords.Verify(ctx, pw, hash, prio)
	if !ok || err != nil {
		return false, err
	}
	if upgrade {
		s.upgrade(ctx, user, hash, pw)
	}
	return true, nil
}

// upgrade replaces an old hash now that the password is known. It may fail
// without harm: the next sign-in tries again.
func (s *Service) upgrade(ctx context.Context, user *User, old string, pw admit.Secret) {
	hash, err := s.o.Passwords.Hash(ctx, pw, password.Known)
	if err != nil {
		return
	}
	now := time.Now()
	err = s.update(ctx, func(tx Tx) error {
		user.proof = ""
		if is, err := tx.PasswordHash(user.ID); err != nil || is != old {
			return err
		}
		user.proof = hash
		if err := tx.UpgradePasswordHash(user.ID, old, hash); err != nil {
			return err
		}
		scheme, _ := password.Identify(old)
		return tx.Record(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "password_upgraded", Detail: scheme})
	})
	if err != nil {
		user.proof = ""
	}
}

// A try is a budget with its key.
type try struct {
	key string
	Budget
}

func (s *Service) take(tries []try, now time.Time) error {
	for i, t := range tries {
		if wait := s.o.Limiter.Take(t.key, t.Budget, now); wait > 0 {
			s.refund(tries[:i])
			return &admit.RetryError{After: wait, Err: ErrTooMany}
		}
	}
	return nil
}

func (s *Service) refund(tries []try) {
	for _, t := range tries {
		s.o.Limiter.Refund(t.key, t.Budget)
	}
}

// record writes one audit record by itself.
func (s *Service) record(ctx context.Context, r Record, from Origin) error {
	return s.Note(ctx, from.mark(&r))
}

// BeginGuest counts a guest's session: each is a row that lives for hours.
func (s *Service) BeginGuest(from Origin, now time.Time) error {
	return s.take([]try{{"guest:" + from.network(), guestBudget}}, now)
}

// network is what one client can come from: its address, or the 64 bits of
// IPv6 that are the network's part. The rest it can choose at will.
func (o Origin) network() string { return o.networks()[0] }

// mark completes a record with where it came from.
func (o Origin) mark(r *Record) *Record {
	r.Address, r.UserAgent, r.RequestID = o.Address, o.UserAgent, o.RequestID
	return r
}

// Auditing returns a context for a change of sessions: what it tells is kept
// in the change's own transaction, and not at all if there is no change.
func (s *Service) Auditing(ctx context.Context, of Change, r Record, from Origin) context.Context {
	return s.store.Auditing(ctx, of, from.mark(&r))
}

// confirmOwn checks the password of who is signed in, and returns the user with
// the hash that it was. A wrong one is kept as the event.
func (s *Service) confirmOwn(ctx context.Context, a Asker, pw admit.Secret, event string, now time.Time) (*User, string, error) {
	user, hash, err := s.withHash(ctx, func(tx Tx) (*User, error) { return tx.User(a.Subject) })
	if err != nil {
		return nil, "", err
	}
	// Also spent where the password is right: hashes in the slots of known
	// browsers would let one user take those of everybody.
	tries := []try{{"change:" + a.Subject, changeBudget}}
	if err := s.take(tries, now); err != nil {
		return nil, "", err
	}
	ok, err := s.verify(ctx, user, hash, pw, password.Known)
	switch {
	case err != nil:
		s.refund(tries)
	case !ok:
		err = errors.Join(&admit.FieldError{Field: "password", Err: ErrBadPassword}, s.Note(ctx, a.mark(event, "", now)))
	}
	return user, hash, err
}

// ChangePassword sets a new password for who knows the old one, and ends every
// session of the user but the one that asks, in the same transaction.
func (s *Service) ChangePassword(ctx context.Context, a Asker, old, pw admit.Secret, now time.Time) error {
	user, hash, err := s.confirmOwn(ctx, a, old, "password_change_refused", now)
	if err != nil {
		return err
	}
	if user.MustChange && pw.Reveal() == old.Reveal() { // both are the caller's
		return &admit.FieldError{Field: "new_password", Err: ErrSamePassword}
	}
	next, err := s.hash(ctx, "new_password", pw, user, password.Known)
	if err != nil {
		return err
	}
	err = s.update(ctx, func(tx Tx) error {
		// Who knew the old password when the owner changed it must not come
		// second.
		if is, err := tx.PasswordHash(a.Subject); err != nil {
			return err
		} else if is != hash {
			return ErrChanged
		}
		if err := tx.SetPasswordHash(a.Subject, next, now); err != nil {
			return err
		}
		if err := s.changed(tx, a.Subject); err != nil {
			return err
		}
		if err := tx.RaiseEpoch(a.Subject, a.SID); err != nil {
			return err
		}
		if err := s.tellPassword(tx, a, now); err != nil {
			return err
		}
		return tx.Record(a.mark("password_changed", "", now))
	})
	if err == nil {
		s.wake()
	}
	return err
}

// tellPassword tells the owner's address, if there is one, that the password was
// changed: a thief who knew the old one has just shut the owner out.
func (s *Service) tellPassword(tx Tx, a Asker, now time.Time) error {
	user, err := tx.User(a.Subject)
	if err != nil {
		return err
	}
	return s.tellProved(tx, a, user, "password_changed", now)
}

// hash checks a new password against the policy and hashes it.
func (s *Service) hash(ctx context.Context, field string, pw admit.Secret, user *User, prio password.Priority) (string, error) {
	names := []string{user.Name}
	for _, id := range user.Identifiers {
		names = append(names, id.Value)
	}
	policy := s.o.Policy
	policy.MinLength = s.MinPassword()
	if err := policy.Check(ctx, pw, names...); err != nil {
		return "", &admit.FieldError{Field: field, Err: err}
	}
	ctx, span := trace.Start(ctx, "password hash")
	hash, err := s.o.Passwords.Hash(ctx, pw, prio)
	span.End(err)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return hash, nil
}
