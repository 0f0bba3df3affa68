package account

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

// Trusted devices are not asked for a second factor for a while. The token is the
// browser's alone: its digest is kept, bound to one user, and every change of a
// password or a factor makes it void.

const (
	// TrustLife is for how long.
	TrustLife  = 30 * 24 * time.Hour
	maxTrusted = 20
)

// ErrUnknownDevice refuses to forget what is not trusted.
var ErrUnknownDevice = admit.NotFound.New("unknown_device", "There is no such trusted device.")

// trusts reports whether one of the browser's tokens is of a device that the user
// trusts.
func trusts(factors []*Factor, tokens []string, now time.Time) bool {
	return slices.ContainsFunc(factors, func(f *Factor) bool {
		return f.Kind == Trusted && now.Before(f.ExpiresAt) && f.IsTrustedBy(tokens)
	})
}

// IsTrustedBy reports whether one of a browser's tokens is that of this device.
func (f *Factor) IsTrustedBy(tokens []string) bool {
	return slices.ContainsFunc(tokens, func(text string) bool {
		tok, err := token.Parse(token.OneTime, text)
		if err != nil || f.Kind != Trusted || f.ID != tok.Selector() {
			return false
		}
		var digest token.Digest
		b, err := hex.DecodeString(f.Data)
		return err == nil && copy(digest[:], b) == len(digest) && tok.Matches(digest)
	})
}

// Trust trusts the browser of who has just passed both steps, and returns its
// token.
func (s *Service) Trust(ctx context.Context, p *Passed, from Origin, now time.Time) (text string, err error) {
	tok := token.New(token.OneTime)
	digest := tok.Digest()
	f := &Factor{
		ID: tok.Selector(), User: p.User.ID, Kind: Trusted, Name: from.UserAgent,
		CreatedAt: now, LastUsed: now, ExpiresAt: now.Add(TrustLife), Data: hex.EncodeToString(digest[:]),
	}
	err = s.update(ctx, func(tx Tx) error {
		// Not after the owner has changed what would have made it void.
		_, factors, err := stepUser(tx, &Challenge{Target: p.User.ID}, secondStep{Standing: p.standing})
		if err != nil {
			return err
		}
		n := 0
		for _, old := range slices.Backward(factors) {
			if old.Kind != Trusted {
				continue
			}
			if n++; n >= maxTrusted || !now.Before(old.ExpiresAt) {
				if err := tx.DeleteFactor(old.ID); err != nil {
					return err
				}
			}
		}
		if err := tx.AddFactor(f); err != nil {
			return err
		}
		return tx.Record(from.mark(&Record{At: now, Subject: p.User.ID, Actor: p.User.ID, Event: "device_trusted"}))
	})
	return tok.Reveal(), err
}

// Trusts returns a user's trusted devices, latest first.
func (s *Service) Trusts(ctx context.Context, user string, now time.Time) ([]*Factor, error) {
	all, err := s.FactorsOf(ctx, user)
	all = slices.DeleteFunc(all, func(f *Factor) bool { return f.Kind != Trusted || !now.Before(f.ExpiresAt) })
	slices.Reverse(all)
	return all, err
}

// Distrust asks one of the asker's devices for a second factor again, or all where
// id is "". Nobody needs a proof for less trust.
func (s *Service) Distrust(ctx context.Context, a Asker, id string, now time.Time) error {
	return s.update(ctx, func(tx Tx) error {
		if id == "" {
			if err := tx.DeleteFactors(a.Subject, Trusted); err != nil {
				return err
			}
			return tx.Record(a.mark("device_distrusted", "all", now))
		}
		f, err := mine(tx, a, id)
		if err != nil || f.Kind != Trusted {
			return ErrUnknownDevice
		}
		if err := tx.DeleteFactor(id); err != nil {
			return err
		}
		return tx.Record(a.mark("device_distrusted", "", now))
	})
}
