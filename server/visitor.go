package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/web"
	"github.com/admit-auth/admit/session"
)

// What a program that holds the server inside itself asks of it.

// ServeHTTP answers what [Server.Handler] does, so that a Server can be mounted
// as it is. It stands at the root of its host: a program's own pages are those
// that its mux names.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.face.ServeHTTP(w, r) }

// Visitors lets next know who is asking, if anybody is: it finds the answer,
// roles included, with [admit.FromContext]. It notes that the session is in use,
// as the server's own pages do. What requires somebody, or a role, checks it
// itself or stands behind [authn.RequireRole].
func (s *Server) Visitors(next http.Handler) http.Handler {
	h := s.sessions.Handler(authn.New(s).Handler(next))
	return s.proofs.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, _ = web.Proving(r)
		h.ServeHTTP(w, r)
	}))
}

// Authenticate makes a Server an [authn.Source], beside others that a program
// may have. Most programs want Visitors.
func (s *Server) Authenticate(r *http.Request) (p admit.Principal, found bool, err error) {
	p, found, err = s.sessions.Authenticate(r)
	if err != nil || !found || p.Guest() {
		return p, found, err
	}
	u, err := s.accounts.User(r.Context(), p.Subject)
	switch {
	case errors.Is(err, account.ErrUnknownUser) || err == nil && u.Disabled:
		return admit.Principal{}, true, session.ErrEnded // a moment ago
	case err != nil:
		return admit.Principal{}, true, err
	}
	p.Roles = slices.Clone(u.Roles)
	return p, true, nil
}

// Redeem spends an approval of the visitor's session, before a program does what
// was approved: nil is returned once, and only for the action and the parameters
// that the visitor saw and POST /api/v1/approvals was given. Params is what
// encoding/json makes an object of, with whole numbers and amounts as texts; nil
// stands for an empty one. What is refused is of kind admit.Forbidden or
// admit.Conflict, with a code that says why.
func (s *Server) Redeem(r *http.Request, approval, action string, params any) error {
	p, found, err := s.Authenticate(r)
	if err == nil && (!found || p.Guest()) {
		err = authn.ErrNobody
	}
	if err != nil {
		return err
	}
	var text []byte
	if params != nil {
		if text, err = json.Marshal(params); err != nil {
			return fmt.Errorf("encode what was approved: %w", err)
		}
	}
	a := account.Asker{Subject: p.Subject, SID: p.SID, Proved: p.AuthTime}
	return s.accounts.Redeem(r.Context(), a, approval, action, text, time.Now())
}

// Feed returns the news of what has ended, for a program that holds the server
// inside: a revocation.Set follows it without a network. It tells all of it, names
// included; what is served at /feed is for others.
func (s *Server) Feed() feed.Source { return s.db.Feed().Served() }

// User returns what is known of the user with this id, or an error of kind
// admit.NotFound.
func (s *Server) User(ctx context.Context, id string) (User, error) {
	u, err := s.accounts.User(ctx, id)
	return userOf(u), err
}
