package server

import (
	"context"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// A Factor is a second factor of a user, without what it is checked with.
type Factor struct {
	ID        string     `json:"id"`
	Kind      string     `json:"kind"` // totp, passkey, recovery, or device for a trusted one
	Name      string     `json:"name,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	LastUsed  *time.Time `json:"last_used_at,omitempty"`
	Left      *int       `json:"left,omitempty"` // of recovery codes
}

// Factors returns a user's second factors, oldest first.
func (o *Operator) Factors(ctx context.Context, user string) ([]Factor, error) {
	return ask[[]Factor](ctx, o, "factors", target{User: user})
}

// ResetFactors removes a user's second factors, and ends its sessions and API keys.
func (o *Operator) ResetFactors(ctx context.Context, user string) error {
	_, err := ask[none](ctx, o, "reset-factors", target{User: user, Reason: o.Reason})
	return err
}

func (s *Server) factors(ctx context.Context, user string) ([]Factor, error) {
	all, err := s.accounts.FactorsOf(ctx, user)
	out := make([]Factor, len(all))
	for i, f := range all {
		out[i] = Factor{ID: f.ID, Kind: string(f.Kind), Name: f.Name, CreatedAt: f.CreatedAt.UTC()}
		if !f.LastUsed.IsZero() {
			used := f.LastUsed.UTC()
			out[i].LastUsed = &used
		}
		if f.Kind == account.Recovery {
			left := f.CodesLeft()
			out[i].Left = &left
		}
	}
	return out, err
}
