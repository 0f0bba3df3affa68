package account

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/otp"
	"github.com/admit-auth/admit/token"
)

// Authenticator apps (RFC 6238).

const (
	purposeTOTP = "totp" // a key that no code was shown of yet; the target is the user
	maxTOTP     = 5
)

// What is refused about authenticator apps.
var (
	ErrManyFactors  = admit.Conflict.New("too_many_factors", "You have as many of these as there may be.").WithHint("Remove one first.")
	ErrFactorNameTL = admit.Invalid.New("factor_name_too_long", "A factor's name may have 200 characters.")
)

// A NewTOTP is a key on its way into an app.
type NewTOTP struct {
	Flow   string // what it is confirmed with
	Secret admit.Secret
	URI    admit.Secret // what the picture says
}

// enrolment is what waits for a first code.
type enrolment struct{ Secret []byte }

// BeginTOTP makes a key for the asker's authenticator app. It counts for nothing
// until [Service.ConfirmTOTP] has seen a code of it: a picture that was never
// read must shut nobody out.
func (s *Service) BeginTOTP(ctx context.Context, a Asker, now time.Time) (*NewTOTP, error) {
	if err := s.Recent(ctx, a, now); err != nil {
		return nil, err
	}
	if err := s.take([]try{{"own:" + a.Subject, knownBudget}}, now); err != nil {
		return nil, err
	}
	key, err := otp.Generate(nil)
	if err != nil {
		return nil, err
	}
	asker := token.New(token.OneTime)
	c, err := s.challenge(asker, asker.WithNewVerifier(), purposeTOTP, a.Subject, enrolment{key.Bytes()}, flowLife, now)
	if err != nil {
		return nil, err
	}
	var user *User
	err = s.update(ctx, func(tx Tx) error {
		if user, err = tx.User(a.Subject); err != nil {
			return err
		}
		if err := cmp.Or(a.recent(user, now), a.strong(tx)); err != nil {
			return err
		}
		if err := room(tx, a.Subject, TOTP, maxTOTP); err != nil {
			return err
		}
		if err := tx.DeleteChallenges(purposeTOTP, a.Subject, now); err != nil {
			return err
		}
		return tx.PutChallenge(c)
	})
	if err != nil {
		return nil, err
	}
	return s.showTOTP(key, user, asker.Reveal()), nil
}

func (s *Service) showTOTP(key *otp.Key, user *User, flow string) *NewTOTP {
	return &NewTOTP{Flow: flow, Secret: key.Secret(), URI: key.URI(s.issuerName(), user.Primary())}
}

// PeekTOTP shows a key that waits for its first code once more.
func (s *Service) PeekTOTP(ctx context.Context, a Asker, flow string, now time.Time) (n *NewTOTP, err error) {
	err = s.store.View(ctx, func(tx Tx) error {
		_, key, err := s.enrolment(tx, a, flow, now)
		if err != nil {
			return err
		}
		user, err := tx.User(a.Subject)
		if err == nil {
			n = s.showTOTP(key, user, flow)
		}
		return err
	})
	return n, err
}

func (s *Service) enrolment(tx Tx, a Asker, flow string, now time.Time) (*Challenge, *otp.Key, error) {
	asker, err := token.Parse(token.OneTime, flow)
	if err != nil {
		return nil, nil, ErrFactorEnded
	}
	c, err := tx.Challenge(asker.Selector())
	if err != nil {
		return nil, nil, err
	}
	if c == nil || c.Purpose != purposeTOTP || c.Target != a.Subject || !asker.Matches(c.Asker) || !now.Before(c.Expires) {
		return nil, nil, ErrFactorEnded
	}
	var e enrolment
	if err := s.opened(c, &e, now); err != nil {
		return nil, nil, err
	}
	key, err := otp.New(e.Secret, nil)
	return c, key, err
}

// ConfirmTOTP makes a key the asker's second factor, by a first code of it. Where
// it is the first factor, recovery codes are made, too, which are seen this once.
func (s *Service) ConfirmTOTP(ctx context.Context, a Asker, flow, code, name string, now time.Time) (f *Factor, codes []admit.Secret, err error) {
	if name, err = cleanFactorName(name); err != nil {
		return nil, nil, err
	}
	err = s.ownFactors(ctx, a, now, func(tx Tx, user *User) (*Record, error) {
		c, key, err := s.enrolment(tx, a, flow, now)
		if err != nil {
			return nil, err
		}
		// Who is signed in has seen the secret: there is nothing to guess.
		step, ok := key.Check(cleanCode(code), 0, now)
		if !ok {
			return nil, &admit.FieldError{Field: "code", Err: ErrWrongFactor}
		}
		if err := room(tx, a.Subject, TOTP, maxTOTP); err != nil {
			return nil, err
		}
		f = &Factor{ID: newID(), User: a.Subject, Kind: TOTP, Name: name, CreatedAt: now, Counter: step}
		f.Data = s.sealFactor(f.ID, key.Bytes(), now)
		if err := tx.DeleteChallenge(c.ID); err != nil {
			return nil, err
		}
		codes, err = s.AddFactor(tx, a, user, f, now)
		return nil, err
	})
	if err != nil {
		return nil, nil, err
	}
	return f, codes, nil
}

// AddFactor adds a second factor in a transaction: devices are trusted no more,
// the owner is told, and the first factor comes with recovery codes.
func (s *Service) AddFactor(tx Tx, a Asker, user *User, f *Factor, now time.Time) (codes []admit.Secret, err error) {
	have, err := tx.FactorsOf(user.ID)
	if err != nil {
		return nil, err
	}
	if err := tx.AddFactor(f); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(have, func(f *Factor) bool { return f.Kind == Recovery && !f.empty() }) {
		if codes, err = s.makeRecovery(tx, user.ID, now); err != nil {
			return nil, err
		}
	}
	return codes, s.factorChanged(tx, a, user, "factor_added", f, now)
}

// factorChanged is what follows every change of a user's factors.
func (s *Service) factorChanged(tx Tx, a Asker, user *User, event string, f *Factor, now time.Time) error {
	if err := tx.DeleteFactors(user.ID, Trusted); err != nil {
		return err
	}
	if err := s.tellProved(tx, a, user, event, now); err != nil {
		return err
	}
	return tx.Record(a.mark(event, string(f.Kind), now))
}

// room returns ErrManyFactors where there are as many of a kind as there may be.
func room(tx Tx, user string, kind FactorKind, most int) error {
	factors, err := tx.FactorsOf(user)
	if err != nil {
		return err
	}
	n := 0
	for _, f := range factors {
		if f.Kind == kind {
			n++
		}
	}
	if n >= most {
		return ErrManyFactors
	}
	return nil
}

// checkTOTP checks a code against every app of the user, and spends it.
func (s *Service) checkTOTP(tx Tx, factors []*Factor, code string, now time.Time) (amr []string, err error) {
	code = cleanCode(code)
	var hit *Factor
	var step int64
	for _, f := range factors {
		if f.Kind != TOTP {
			continue
		}
		secret, err := s.openFactor(f, now)
		if err != nil {
			continue // its key is lost: recovery codes are there for that
		}
		key, err := otp.New(secret, nil)
		if err != nil {
			return nil, fmt.Errorf("factor %s: %w", f.ID, err)
		}
		if at, ok := key.Check(code, f.Counter, now); ok {
			hit, step = f, at
		}
	}
	if hit == nil {
		return nil, ErrBadFactor
	}
	was := hit.Counter
	hit.Counter, hit.LastUsed = step, now
	if ok, err := tx.ChangeFactor(hit, was); err != nil || !ok {
		return nil, orSpent(err)
	}
	return []string{"otp"}, nil
}

// orSpent is the refusal of who came second.
func orSpent(err error) error {
	if err == nil {
		err = ErrBadFactor
	}
	return err
}

// ownFactors runs fn for what the asker does with its own factors, after a recent
// proof; the record, if there is one, is kept with it.
func (s *Service) ownFactors(ctx context.Context, a Asker, now time.Time, fn func(Tx, *User) (*Record, error)) error {
	// Before the budget, as in own.
	if err := s.Recent(ctx, a, now); err != nil {
		return err
	}
	if err := s.take([]try{{"own:" + a.Subject, knownBudget}}, now); err != nil {
		return err
	}
	err := s.update(ctx, func(tx Tx) error {
		user, err := tx.User(a.Subject)
		if err != nil {
			return err
		}
		if err := cmp.Or(a.recent(user, now), a.strong(tx)); err != nil {
			return err
		}
		r, err := fn(tx, user)
		if err != nil || r == nil {
			return err
		}
		return tx.Record(r)
	})
	if err == nil {
		s.wake()
	}
	return err
}

// cleanFactorName is cleanName for a factor.
func cleanFactorName(name string) (string, error) {
	name, err := cleanName(name)
	if err != nil {
		return "", &admit.FieldError{Field: "name", Err: ErrFactorNameTL}
	}
	return name, nil
}

// mine returns one of the asker's factors.
func mine(tx Tx, a Asker, id string) (*Factor, error) {
	f, err := tx.Factor(id)
	if err == nil && f.User != a.Subject {
		err = ErrUnknownFactor
	}
	return f, err
}

// RenameFactor gives one of the asker's factors another name.
func (s *Service) RenameFactor(ctx context.Context, a Asker, kind FactorKind, id, name string, now time.Time) (f *Factor, err error) {
	if name, err = cleanFactorName(name); err != nil {
		return nil, err
	}
	err = s.ownFactors(ctx, a, now, func(tx Tx, _ *User) (*Record, error) {
		if f, err = mine(tx, a, id); err != nil {
			return nil, err
		}
		if f.Kind != kind {
			return nil, ErrUnknownFactor
		}
		f.Name = name
		if ok, err := tx.ChangeFactor(f, f.Counter); err != nil || !ok {
			return nil, orSpent(err)
		}
		return a.mark("factor_renamed", string(f.Kind), now), nil
	})
	return f, err
}

// RemoveFactor removes one of the asker's factors.
func (s *Service) RemoveFactor(ctx context.Context, a Asker, kind FactorKind, id string, now time.Time) error {
	return s.ownFactors(ctx, a, now, func(tx Tx, user *User) (*Record, error) {
		f, err := mine(tx, a, id)
		if err != nil {
			return nil, err
		}
		if f.Kind != kind || !f.second() {
			return nil, ErrUnknownFactor
		}
		if err := tx.DeleteFactor(id); err != nil {
			return nil, err
		}
		if err := spare(tx, user.ID); err != nil {
			return nil, err
		}
		return nil, s.factorChanged(tx, a, user, "factor_removed", f, now)
	})
}

// issuerName is what authenticator apps call this server.
func (s *Service) issuerName() string {
	_, host, _ := strings.Cut(s.o.PublicURL, "://")
	return host
}
