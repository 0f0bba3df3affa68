package provider

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

const (
	minSecret = 16 // characters of a secret that is not ours
	maxSecret = 512
)

// A ClientSecret is the digest of a secret that a client proves itself by. Secrets are
// tokens of kind token.ClientSecret: random, so that a plain digest is enough.
type ClientSecret struct {
	Selector string
	Digest   token.Digest
	Expires  time.Time // zero for never
}

// NewSecret makes a secret for a client. It is shown once: what is kept of it proves
// nothing.
func NewSecret() (admit.Secret, ClientSecret) {
	t := token.New(token.ClientSecret)
	return admit.NewSecret(t.Reveal()), ClientSecret{Selector: t.Selector(), Digest: t.Digest()}
}

// ParseSecret returns what is kept of a secret that the client has already, perhaps of
// another server. It must be random, since a plain digest is kept: who has the store
// could guess at another one as fast as there are machines.
func ParseSecret(text admit.Secret) (ClientSecret, error) {
	s, kept := text.Reveal(), kept(text)
	if kept.Selector != "" {
		return kept, nil
	}
	letters := map[rune]bool{}
	for _, c := range s {
		letters[c] = true
	}
	switch {
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }):
		return ClientSecret{}, &admit.FieldError{Field: "secret", Err: ErrInvalidMetadata.WithHint("A secret is one line of visible ASCII characters (RFC 6749 appendix A.2).")}
	case len(s) < minSecret || len(s) > maxSecret || len(letters) < minSecret/2:
		return ClientSecret{}, &admit.FieldError{Field: "secret", Err: ErrInvalidMetadata.WithHint("A secret has 16 to 512 random characters. Leave it out, and one is made.")}
	}
	return kept, nil
}

// kept is what is kept of a secret. One that is no token of ours has no selector.
func kept(secret admit.Secret) ClientSecret {
	if t, err := token.Parse(token.ClientSecret, secret.Reveal()); err == nil {
		return ClientSecret{Selector: t.Selector(), Digest: t.Digest()}
	}
	sum := sha256.Sum256([]byte(secret.Reveal()))
	return ClientSecret{Digest: token.Digest(sum[:len(token.Digest{})])}
}

// RotateSecret gives the client a new secret. Those that it has had are good for a while
// still, so that the new one can be brought to every machine of it; where that is no time
// they are gone.
func (c *Client) RotateSecret(overlap time.Duration, now time.Time) admit.Secret {
	made, first := NewSecret()
	secrets, until := []ClientSecret{first}, now.Add(overlap)
	for _, s := range c.Secrets {
		if s.Expires.IsZero() || s.Expires.After(until) {
			s.Expires = until
		}
		if s.Expires.After(now) {
			secrets = append(secrets, s)
		}
	}
	c.Secrets = secrets // and not in place: who has a copy of the client reads them
	return made
}

// has reports whether a secret is one of the client's. Which one the selector says, which
// is no secret; the digests are compared in constant time.
func (c *Client) has(secret admit.Secret, now time.Time) bool {
	shown := kept(secret)
	for _, s := range c.Secrets {
		if s.Selector == shown.Selector && subtle.ConstantTimeCompare(s.Digest[:], shown.Digest[:]) == 1 {
			return s.Expires.IsZero() || now.Before(s.Expires)
		}
	}
	return false
}
