package account

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

// An approval lets one session do one thing once: transfer this amount to that
// account, and no other.

const (
	purposeApproval = "approval" // of the user that is the target

	// ApprovalLife is how long an approval waits to be spent.
	ApprovalLife = 5 * time.Minute
)

// What is refused about approvals.
var (
	ErrAction          = admit.Invalid.New("action_malformed", "An action has 1 to 100 letters, digits, dots, colons, dashes or underscores.")
	ErrApprovalEnded   = admit.Forbidden.New("approval_ended", "This approval is no longer good, or never was.").WithHint("Ask for another one (POST /api/v1/approvals): it is good for 5 minutes.")
	ErrApprovalSpent   = admit.Conflict.New("approval_spent", "This approval is used up.").WithHint("Each is good once: ask for another one.")
	ErrApprovalOther   = admit.Forbidden.New("approval_mismatch", "Something else was approved than what is asked for now.").WithHint("Ask for an approval of exactly this action with exactly these parameters.")
	ErrApprovalSession = admit.Forbidden.New("approval_session", "This approval was given in another session.").WithHint("Ask for one in the session that spends it.")
)

// approved is what an approval is good for.
type approved struct {
	SID    string
	Action string
	Deed   [sha256.Size]byte // of the action and its parameters in their one spelling
}

// deedOf returns the digest of an action with its parameters.
func deedOf(action string, params []byte) ([sha256.Size]byte, error) {
	if len(action) < 1 || len(action) > 100 || strings.ContainsFunc(action, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._:-", c)
	}) {
		return [sha256.Size]byte{}, &admit.FieldError{Field: "action", Err: ErrAction}
	}
	if len(params) == 0 {
		params = []byte("{}")
	}
	one, err := canonical(params)
	if err != nil {
		return [sha256.Size]byte{}, &admit.FieldError{Field: "params", Err: err}
	}
	return sha256.Sum256([]byte(action + " " + string(one))), nil // no action has a space
}

// Approve returns an approval of the asker for one action with exactly these
// parameters, a JSON object. It needs a fresh proof.
func (s *Service) Approve(ctx context.Context, a Asker, action string, params []byte, now time.Time) (approval string, err error) {
	deed, err := deedOf(action, params)
	if err != nil {
		return "", err
	}
	if a.SID == "" {
		return "", ErrApprovalSession // who acts without one, such as an API key, has nothing to bind it to
	}
	if err := s.Within(ctx, a, FreshProof, now); err != nil {
		return "", err
	}
	// Each is a row, and a record of the audit.
	if err := s.take([]try{{"approve:" + a.Subject, knownBudget}}, now); err != nil {
		return "", err
	}
	tok := token.New(token.OneTime)
	c, err := s.challenge(tok, tok.WithNewVerifier(), purposeApproval, a.Subject, approved{a.SID, action, deed}, ApprovalLife, now)
	if err != nil {
		return "", err
	}
	err = s.update(ctx, func(tx Tx) error {
		user, err := tx.User(a.Subject)
		if err != nil {
			return err
		}
		if err := a.within(FreshProof, user, now); err != nil {
			return err
		}
		if err := tx.DeleteChallenges(purposeApproval, "", now); err != nil { // those of everybody that have expired
			return err
		}
		if err := tx.PutChallenge(c); err != nil {
			return err
		}
		return tx.Record(a.mark("approved", action, now))
	})
	if err != nil {
		return "", err
	}
	return tok.Reveal(), nil
}

// Redeem spends an approval of the asker's session: of any number of calls with
// it, at once or after a restart, one returns nil, and that only where action and
// parameters are those that were approved. Five calls for something else use it
// up as well.
func (s *Service) Redeem(ctx context.Context, a Asker, approval, action string, params []byte, now time.Time) error {
	deed, err := deedOf(action, params)
	if err != nil {
		return err
	}
	tok, err := token.Parse(token.OneTime, strings.TrimSpace(approval))
	if err != nil {
		return ErrApprovalEnded
	}
	want := approved{a.SID, action, deed}
	// What is of no use does not make everybody wait for a write.
	err = s.store.View(ctx, func(tx Tx) error {
		_, err := s.approval(tx, tok, a.Subject, want, now)
		return err
	})
	if err != nil && !errors.Is(err, ErrApprovalOther) {
		return err
	}
	var refused error
	err = s.update(ctx, func(tx Tx) error {
		var c *Challenge
		c, refused = s.approval(tx, tok, a.Subject, want, now)
		event := "approval_spent"
		switch {
		case errors.Is(refused, ErrApprovalOther):
			c.Tries--
			event = "approval_refused"
		case refused != nil:
			return refused
		default:
			c.Tries = 0
		}
		if err := tx.PutChallenge(c); err != nil {
			return err
		}
		return tx.Record(a.mark(event, action, now))
	})
	if err == nil {
		err = refused
	}
	return err
}

// approval returns an approval that is good for what is wanted, or why it is not;
// with ErrApprovalOther the approval as well, for that costs it a try.
func (s *Service) approval(tx Tx, tok token.Token, subject string, want approved, now time.Time) (*Challenge, error) {
	c, err := tx.Challenge(tok.Selector())
	if err != nil {
		return nil, err
	}
	if c == nil || c.Purpose != purposeApproval || !tok.Matches(c.Asker) || !now.Before(c.Expires) {
		return nil, ErrApprovalEnded
	}
	var of approved
	if err := s.opened(c, &of, now); err != nil {
		return nil, errors.Join(ErrApprovalEnded, err)
	}
	switch {
	case subject == "" || want.SID == "" || c.Target != subject || of.SID != want.SID:
		return nil, ErrApprovalSession
	case c.Tries <= 0:
		return nil, ErrApprovalSpent
	case of.Action != want.Action || subtle.ConstantTimeCompare(of.Deed[:], want.Deed[:]) != 1:
		return c, ErrApprovalOther
	}
	return c, nil
}
