package server

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
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

// User returns what is known of the user with this id, or an error of kind
// admit.NotFound.
func (s *Server) User(ctx context.Context, id string) (User, error) {
	u, err := s.accounts.User(ctx, id)
	return userOf(u), err
}
