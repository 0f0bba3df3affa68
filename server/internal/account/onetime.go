package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

// ErrOneTime is one refusal for a one-time token that was spent, has expired, is
// for another purpose or was never made.
var ErrOneTime = admit.Unauthenticated.New("one_time_token_invalid", "This token is not good, or not any more.").WithHint("It is good once, and not for long. Ask for another one.")

// MaxOneTimeLife bounds the life of a one-time token.
const MaxOneTimeLife = 24 * time.Hour

// A OneTime is what a one-time token is for.
type OneTime struct {
	Purpose string // what spends it asks for the same one
	Subject string // whose it is
	Life    time.Duration
}

const (
	purposeOneTime = "one-time "
	purposeSpent   = "spent"
	spentBefore    = "spent before" // id of the one challenge that SpentBefore makes
	oneTimeType    = "one-time+jwt" // so that it is taken for nothing else
)

// oneTimeClaims are a one-time JWT's own.
type oneTimeClaims struct {
	Purpose string `json:"purpose"`
}

// IssueOneTime makes a token that can be spent once. The database keeps its digest.
func (s *Service) IssueOneTime(ctx context.Context, o OneTime, now time.Time) (admit.Secret, error) {
	tok := token.New(token.OneTime)
	err := s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		return tx.PutChallenge(&Challenge{
			ID: tok.Selector(), Link: tok.Digest(), Purpose: purposeOneTime + o.Purpose, Target: o.Subject, Tries: 1, Expires: now.Add(o.life()),
		})
	})
	return admit.NewSecret(tok.Reveal()), err
}

func (o OneTime) life() time.Duration { return min(cmp.Or(o.Life, 15*time.Minute), MaxOneTimeLife) }

// SpendOneTime returns whose a token is, once: of any number of calls at once, and
// across restarts, one gets an answer.
func (s *Service) SpendOneTime(ctx context.Context, purpose string, presented admit.Secret, now time.Time) (subject string, err error) {
	tok, err := token.Parse(token.OneTime, presented.Reveal())
	if err != nil {
		return "", ErrOneTime
	}
	spend := func(tx Tx) (*Challenge, error) {
		c, err := tx.Challenge(tok.Selector())
		if err == nil && (c == nil || c.Purpose != purposeOneTime+purpose || !tok.Matches(c.Link) || !now.Before(c.Expires)) {
			err = ErrOneTime
		}
		return c, err
	}
	// A look first, so that what is made up costs no write.
	if err := s.store.View(ctx, func(tx Tx) error { _, err := spend(tx); return err }); err != nil {
		return "", err
	}
	err = s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		c, err := spend(tx)
		if err != nil {
			return err
		}
		subject = c.Target
		return tx.DeleteChallenge(c.ID)
	})
	if err != nil {
		return "", err
	}
	return subject, nil
}

// IssueOneTimeJWT is IssueOneTime as a JWT: nothing is kept until it is spent.
func (s *Service) IssueOneTimeJWT(o OneTime, now time.Time) (admit.Secret, error) {
	signer, err := jose.NewSigner[oneTimeClaims](s.tokens.keys.Signing(), oneTimeType, nil)
	if err != nil {
		return admit.Secret{}, err
	}
	text, err := signer.Sign(&jose.Claims[oneTimeClaims]{
		Issuer: s.tokens.issuer, Audience: []string{s.tokens.issuer}, Subject: o.Subject, IssuedAt: now, Expires: now.Add(o.life()), ID: rand.Text(),
		Data: oneTimeClaims{o.Purpose},
	})
	return admit.NewSecret(text), err
}

// SpendOneTimeJWT is SpendOneTime for such a token. Its jti is kept as spent until
// it has expired: a signature can be given another form, and is no name.
func (s *Service) SpendOneTimeJWT(ctx context.Context, purpose string, presented admit.Secret, now time.Time) (subject string, err error) {
	c, err := s.tokens.oneTime.VerifyAt(ctx, presented.Reveal(), now)
	if err == nil && (c.Data.Purpose != purpose || c.ID == "") || err != nil && admit.KindOf(err) != admit.Unavailable {
		err = ErrOneTime
	}
	if err != nil {
		return "", err
	}
	err = s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		return spend(tx, c.ID, c.IssuedAt, c.Expires.Add(time.Second), now)
	})
	if err != nil {
		return "", err
	}
	return c.Subject, nil
}

// spend keeps until it has expired that something was spent which no row was made
// of, or returns ErrOneTime where it was before.
func spend(tx Tx, name string, made, until, now time.Time) error {
	id := purposeSpent + " " + name
	was, err := tx.Challenge(id)
	if err != nil {
		return err
	}
	restored, err := tx.Challenge(spentBefore)
	if err != nil {
		return err
	}
	if was != nil || restored != nil && made.Before(restored.Expires.Add(-MaxOneTimeLife)) {
		return ErrOneTime
	}
	// Removes what has expired, too.
	if err := tx.DeleteChallenges(purposeSpent, id, now); err != nil {
		return err
	}
	return tx.PutChallenge(&Challenge{ID: id, Purpose: purposeSpent, Target: id, Expires: until})
}

// SpentBefore returns what stands in a database that was restored: every one-time
// JWT that was made before counts as spent, for which were is not known.
func SpentBefore(now time.Time) *Challenge {
	return &Challenge{ID: spentBefore, Purpose: purposeSpent, Target: spentBefore, Expires: now.Add(MaxOneTimeLife)}
}
