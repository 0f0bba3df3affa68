package server

import (
	"context"
	"log/slog"
	"slices"

	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/keyring"
	"github.com/admit-auth/admit/server/internal/web"
)

// letsIn makes what lets applications in, whose people are those of the edge.
func (s *Server) letsIn(people provider.People) (*provider.Provider, error) {
	p, err := provider.New(provider.Options{
		Issuer: s.publicURL(), Store: s.db.Provider(s.publicURL() + "/status-lists"), Keys: ringKeys{s.keys}, Secrets: s.keys.Cookies(), People: people,
		DevicePage: s.publicURL() + "/device", Address: web.AddressOf,
		Origin: s.isOfClient, Locales: []string{"en", "zh-CN"},
		InsecureLoopback: s.cfg.PublicURL == "" && len(s.cfg.ACME) == 0, Log: s.log,
	})
	if s.provider == nil { // one is enough to tell clients what ends
		s.provider = p
	}
	return p, err
}

// tellClients tells applications which of the sessions that they know have ended.
func (s *Server) tellClients(ctx context.Context) {
	if err := s.provider.Run(ctx, s.db.Feed()); err != nil && ctx.Err() == nil {
		s.log.Error("applications hear of no sign-out any more", slog.Any("error", err))
	}
}

// fewClients are looked at in one transaction.
const fewClients = 200

// isOfClient reports whether an origin is that of a registered client's pages.
func (s *Server) isOfClient(ctx context.Context, origin string) (bool, error) {
	for after := ""; ; {
		all, err := s.accounts.FindClients(ctx, after, fewClients)
		if err != nil {
			return false, err
		}
		for _, c := range all {
			if slices.Contains(c.Origins(), origin) {
				return true, nil
			}
		}
		if len(all) < fewClients {
			return false, nil
		}
		after = all[len(all)-1].ID
	}
}

// ringKeys sign with the key ring.
type ringKeys struct{ *keyring.Ring }

// Signing implements provider.Keys.
func (k ringKeys) Signing(alg jose.Algorithm) *jose.Key { return k.SigningWith(alg) }

// Published implements provider.Keys.
func (k ringKeys) Published(ctx context.Context) (*jose.KeySet, error) {
	return k.Settled().KeySet(ctx, "")
}
