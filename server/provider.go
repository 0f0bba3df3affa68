package server

import (
	"context"

	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/keyring"
)

// letsIn makes what lets applications in, whose people are those of the edge.
func (s *Server) letsIn(people provider.People) (*provider.Provider, error) {
	return provider.New(provider.Options{
		Issuer: s.publicURL(), Store: s.apps(), Keys: ringKeys{s.keys}, Secrets: s.keys.Cookies(), People: people,
		InsecureLoopback: s.cfg.PublicURL == "" && len(s.cfg.ACME) == 0, Log: s.log,
	})
}

// ringKeys sign with the key ring.
type ringKeys struct{ *keyring.Ring }

// Signing implements provider.Keys.
func (k ringKeys) Signing(alg jose.Algorithm) *jose.Key {
	if key := k.Ring.Signing(); key != nil && key.Algorithm() == alg {
		return key
	}
	return nil
}

// Published implements provider.Keys.
func (k ringKeys) Published(ctx context.Context) (*jose.KeySet, error) {
	return k.Settled().KeySet(ctx, "")
}
