package server

import (
	"context"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// A OneTime says what a one-time token is for: an invitation, a download, a step
// that another program takes.
type OneTime struct {
	Purpose string        // who spends it names the same
	Subject string        // whose it is: what spending it returns
	Life    time.Duration // 15 minutes unless set, a day at most
	// JWT makes one that is signed and not stored: of the database it takes room
	// when it is spent, and until it would have expired.
	JWT bool
}

// IssueOneTime makes a token that can be spent once. Of an opaque one the
// database has a digest.
func (s *Server) IssueOneTime(ctx context.Context, o OneTime) (admit.Secret, error) {
	of := account.OneTime{Purpose: o.Purpose, Subject: o.Subject, Life: o.Life}
	if o.JWT {
		return s.accounts.IssueOneTimeJWT(of, time.Now())
	}
	return s.accounts.IssueOneTime(ctx, of, time.Now())
}

// SpendOneTime returns whose a token of this purpose is, once: of any number of
// calls, and across restarts, one gets an answer. All others get an error of kind
// admit.Unauthenticated. Spend in a POST: who scans mail opens its links.
func (s *Server) SpendOneTime(ctx context.Context, purpose string, presented admit.Secret) (subject string, err error) {
	if strings.Contains(presented.Reveal(), ".") { // which no opaque token has
		return s.accounts.SpendOneTimeJWT(ctx, purpose, presented, time.Now())
	}
	return s.accounts.SpendOneTime(ctx, purpose, presented, time.Now())
}
