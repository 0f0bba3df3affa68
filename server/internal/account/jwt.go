package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/session"
)

// Why a JWT does not count here. What else is wrong with one is told as a hint,
// for whoever writes a client.
var (
	ErrJWT        = admit.Unauthenticated.New("jwt_invalid", "This JWT does not count here.")
	errJWTExpired = jose.ErrExpired.WithHint("Refresh it: POST /api/v1/refresh.")
)

const (
	// accessLife is how long an access JWT is good for: what verifies it must
	// hear, or remember, no ending for longer.
	accessLife = 5 * time.Minute
	// OwnClient is the client_id of the server's own sign-in.
	OwnClient = "admit"

	// remembered tokens need no signature checked again. 16,000 take some 16 MB.
	remembered = 16 << 10
)

// ErrJWTShown refuses what only its holder may do to a JWT that others see, too.
var ErrJWTShown = admit.Forbidden.New("jwt_for_services", "This JWT is shown to other services, and any of them could do this with it.").WithHint("Bind it to a key (DPoP), or sign in with a cookie or a token.")

// Signing is the keys that access tokens are signed with.
type Signing interface {
	// Signing returns the key that signs now. As long as it is the same one, so
	// is the pointer.
	Signing() *jose.Key
	jose.KeySource // with every key that has signed what still lives
}

// An issuer makes access tokens, and checks those that come back.
type issuer struct {
	keys      Signing
	issuer    string
	audiences []string
	verifier  *jose.Verifier[access.Claims]
	oneTime   *jose.Verifier[oneTimeClaims]
	signer    atomic.Pointer[signer] // of the key that signed last
}

type signer struct {
	key *jose.Key
	*jose.Signer[access.Claims]
}

func newIssuer(keys Signing, public string, audiences []string) (*issuer, error) {
	if len(audiences) == 0 {
		audiences = []string{public}
	}
	i := &issuer{keys: keys, issuer: public, audiences: audiences}
	var err error
	i.verifier, err = jose.NewVerifier(keys, jose.Expected{
		Algorithms: []jose.Algorithm{jose.ES256},
		Issuer:     public,
		// Also where the audiences are services elsewhere: here its holder
		// signs out.
		Audience: append([]string{public}, audiences...),
		Type:     access.Type,
	}, &jose.VerifierOptions[access.Claims]{Remember: remembered, Check: ours})
	if err != nil {
		return nil, err
	}
	i.oneTime, err = jose.NewVerifier[oneTimeClaims](keys, jose.Expected{
		Algorithms: []jose.Algorithm{jose.ES256}, Issuer: public, Audience: []string{public}, Type: oneTimeType,
	}, nil)
	return i, err
}

// errClient says what else is wrong with a token of ours.
var errClient = errors.New("the token was made for another client")

func ours(_ context.Context, c *jose.Claims[access.Claims], _ time.Time) error {
	if c.Data.ClientID != OwnClient {
		return errClient
	}
	return nil
}

// sign returns the token of these claims. It is no work for a transaction.
func (i *issuer) sign(c *jose.Claims[access.Claims]) (admit.Secret, error) {
	key := i.keys.Signing()
	s := i.signer.Load()
	if s == nil || s.key != key {
		made, err := jose.NewSigner[access.Claims](key, access.Type, nil)
		if err != nil {
			return admit.Secret{}, fmt.Errorf("sign an access token: %w", err)
		}
		s = &signer{key, made}
		i.signer.Store(s)
	}
	text, err := s.Sign(c)
	if err != nil {
		return admit.Secret{}, fmt.Errorf("sign an access token: %w", err)
	}
	return admit.NewSecret(text), nil
}

// claims are those of an access token for a session that lives. Its epoch was read
// before the user was, or in the same transaction: a race then makes a token that
// is stale from the start, and never one with a role that was revoked.
func (i *issuer) claims(info *session.Info, user *User, f *Family, now time.Time) *jose.Claims[access.Claims] {
	c := &jose.Claims[access.Claims]{
		Issuer: i.issuer, Subject: user.ID, Audience: i.audiences, IssuedAt: now, ID: rand.Text(),
		Expires: now.Add(accessLife),
		Data: access.Claims{
			ClientID: f.Client, Scope: f.Scope, Roles: user.Roles,
			SID: info.SID, GID: f.ID, SEV: info.Epoch,
			AuthTime: info.AuthTime.Unix(), ACR: info.ACR, AMR: info.AMR(),
		},
	}
	if info.ExpiresAt.Before(c.Expires) {
		c.Expires = info.ExpiresAt // nobody tells verifiers of an end that comes by itself
	}
	if f.JKT != "" {
		c.Data.Confirmation = &access.Confirmation{JKT: f.JKT}
	}
	return c
}

// Shown reports whether an access token, which VerifyJWT has taken, is made to be
// presented to others than this server, who can present it themselves.
func (s *Service) Shown(ctx context.Context, text string) bool {
	c, err := s.tokens.verifier.Verify(ctx, text)
	return err != nil || c.Data.Confirmation == nil && slices.ContainsFunc(c.Audience, func(a string) bool { return a != s.tokens.issuer })
}

// VerifyJWT returns what an access token of the server's own sign-in says of its
// session, and the thumbprint of the key that it is bound to, "" for none: then it
// counts only with a proof of that key. Whether the session lives, and whether the
// token is stale, is for the store of sessions to say: nobody's memory of endings
// comes in between.
func (s *Service) VerifyJWT(ctx context.Context, text string) (by *session.Named, jkt string, err error) {
	c, err := s.tokens.verifier.Verify(ctx, text)
	switch {
	case err == nil:
		if c.Data.Confirmation != nil {
			jkt = c.Data.Confirmation.JKT
		}
		return &session.Named{SID: c.Data.SID, Subject: c.Subject, Epoch: c.Data.SEV, AuthTime: time.Unix(c.Data.AuthTime, 0)}, jkt, nil
	case errors.Is(err, jose.ErrExpired):
		return nil, "", errJWTExpired
	case errors.Is(err, admit.Unavailable):
		return nil, "", err
	}
	why := err.Error()
	if e, ok := errors.AsType[*admit.Error](err); ok {
		why = e.Code() + ": " + e.Error()
	}
	return nil, "", ErrJWT.WithHint(why)
}
