package server

import (
	"context"

	"github.com/admit-auth/admit/server/internal/web"
)

// A Role is a word that users have, and how many do.
type Role = web.Role

// Roles returns the roles that users have, by name. A role that nobody has any
// longer is not there.
func (o *Operator) Roles(ctx context.Context) ([]Role, error) {
	return ask[[]Role](ctx, o, "roles", none{})
}

func (s *Server) roles(ctx context.Context, _ none) ([]Role, error) {
	found, err := s.accounts.Roles(ctx)
	roles := make([]Role, len(found))
	for i, r := range found {
		roles[i] = Role(r)
	}
	return roles, err
}
