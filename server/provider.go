package server

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/keyring"
	"github.com/admit-auth/admit/server/internal/web"
)

// letsIn makes what lets applications in, whose people are those of the edge.
func (s *Server) letsIn(people provider.People) (*provider.Provider, error) {
	var register *provider.Registration
	if who := s.cfg.Registration; who == RegistrationToken || who == RegistrationOpen {
		register = &provider.Registration{Open: who == RegistrationOpen, Ensure: s.keys.Ensure, Spend: func(r *http.Request) error {
			return s.accounts.MeetStranger(web.OriginOf(r), time.Now())
		}}
	}
	p, err := provider.New(provider.Options{
		Issuer: s.publicURL(), Store: s.db.Provider(s.publicURL() + "/status-lists"), Keys: s.outward(), Secrets: lifeSecrets{s.keys.Cookies(), s.life}, People: people,
		Salt: s.keys.Names(), Networks: s.cfg.networks(), Origin: s.isOfClient,
		DevicePage: s.publicURL() + "/device", Address: web.AddressOf,
		Registration: register, Locales: []string{"en", "zh-CN"},
		InsecureLoopback: s.cfg.PublicURL == "" && len(s.cfg.ACME) == 0, Refused: web.Refused, Log: s.log,
	})
	if s.provider == nil { // one is enough to tell clients what ends
		s.provider = p
	}
	return p, err
}

// lifeSecrets are the ring's. What is sealed with them is good in one life of the database:
// what was ended after a backup does not come alive with it.
type lifeSecrets struct {
	*cookie.Keys
	life string
}

// Seal implements provider.Secrets.
func (s lifeSecrets) Seal(dst []byte, name string, value []byte, now time.Time) []byte {
	return s.Keys.Seal(dst, name+" "+s.life, value, now)
}

// Open implements provider.Secrets.
func (s lifeSecrets) Open(dst []byte, name, sealed string, maxAge time.Duration, now time.Time) ([]byte, bool, error) {
	return s.Keys.Open(dst, name+" "+s.life, sealed, maxAge, now)
}

// tellClients tells applications which of the sessions that they know have ended.
func (s *Server) tellClients(ctx context.Context) {
	if err := s.provider.Run(ctx, s.db.Feed()); err != nil && ctx.Err() == nil {
		s.log.Error("applications hear of no sign-out any more", slog.Any("error", err))
	}
}

// isOfClient reports whether an origin is that of a registered client's pages. Those of
// strangers have none: each question is a look at every client, and their number is for
// anybody to raise.
func (s *Server) isOfClient(ctx context.Context, origin string) (bool, error) {
	return s.origins.has(ctx, origin, time.Now())
}

// ringKeys sign with the key ring.
type ringKeys struct {
	*keyring.Ring
	log *slog.Logger
}

// outward is the ring as others see it.
func (s *Server) outward() ringKeys { return ringKeys{s.keys, s.log} }

// Signing implements provider.Keys.
func (k ringKeys) Signing(alg jose.Algorithm) *jose.Key { return k.SigningWith(alg) }

// Published implements provider.Keys. A client may register for any algorithm that the
// metadata name. Its keys are made before anybody has read a set without them: so none
// is in use that somebody's copy has not, also where the client registers a moment later
// or at another replica.
func (k ringKeys) Published(ctx context.Context) (*jose.KeySet, error) {
	if err := k.EnsureAll(ctx, time.Now); err != nil { // nobody can register for them either
		k.log.ErrorContext(ctx, "there are no keys of every algorithm yet", slog.Any("error", err))
	}
	return k.Settled().KeySet(ctx, "")
}

// publicKeys are what is published.
type publicKeys struct{ ringKeys }

// KeySet implements jose.KeySource.
func (k publicKeys) KeySet(ctx context.Context, _ string) (*jose.KeySet, error) {
	return k.Published(ctx)
}
