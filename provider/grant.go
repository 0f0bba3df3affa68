package provider

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

const (
	// repeatWindow is for how long the refresh token before is good once more, so that a
	// lost answer, or two tabs that ask at once, end nothing.
	repeatWindow = 10 * time.Second
	// clockSlack is how far ahead the clock of another replica may be.
	clockSlack = 5 * time.Second
	// verifiersLeeway is for how long after it has expired a verifier may take a token.
	verifiersLeeway = 5 * time.Minute
	// lastUsedStep is how exactly it is known when a client was used last: a write at
	// each sign-in and refresh would be one too many.
	lastUsedStep = time.Hour

	refreshPurpose = "provider refresh"

	reasonCodeReplayed    = "code_replayed"
	reasonRefreshReplayed = "refresh_token_replayed"
)

// gid names the grant of a refresh token. It is a digest of the token's selector and not
// that itself: it stands in access tokens, and who has seen one could otherwise end the
// grant with a made-up refresh token.
func gid(t token.Token) string {
	sum := sha256.Sum256([]byte("gid:" + t.Selector()))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// successor returns the refresh token after t: HMAC(K, grant ‖ n ‖ t). Who has the
// store, the keys or both has no t, and forges nothing.
func successor(key []byte, g *Grant, n uint64, t token.Token) token.Token {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(g.ID)) // of one length
	mac.Write(binary.BigEndian.AppendUint64(nil, n))
	mac.Write([]byte(t.Reveal()))
	return t.WithVerifier([32]byte(mac.Sum(nil)))
}

// after returns what t becomes.
func (p *Provider) after(g *Grant, t token.Token) token.Token {
	return successor(p.o.Secrets.Derive(refreshPurpose), g, g.N+1, t)
}

// again returns what t became, and false where the key that it became it by is gone.
// Which key that was the digest of the outcome tells.
func (p *Provider) again(g *Grant, t token.Token) (token.Token, bool) {
	for _, key := range p.o.Secrets.DeriveAll(refreshPurpose) {
		if next := successor(key, g, g.N, t); next.Matches(g.Current) {
			return next, true
		}
	}
	return token.Token{}, false
}

// A verdict is what a refresh token that is shown turns out to be.
type verdict uint8

const (
	unknown  verdict = iota // nobody's, or its successor cannot be told again
	rotates                 // it is the current one
	repeats                 // it is the one before, its successor is unused and was made a moment ago
	replayed                // it is older
)

// judge says what a refresh token is in its grant, and which one comes after it.
func (p *Provider) judge(g *Grant, t token.Token, now time.Time) (v verdict, next token.Token) {
	switch age := now.Sub(g.RotatedAt); {
	case t.Matches(g.Current):
		return rotates, p.after(g, t)
	case g.N > 0 && t.Matches(g.Previous) && age <= repeatWindow && age >= -clockSlack:
		next, ok := p.again(g, t)
		if !ok {
			return unknown, next // the key was taken away meanwhile: no sign of a thief
		}
		return repeats, next
	}
	return replayed, next
}

// A minted token is an access token that is noted, and not signed yet: that is no work
// for a transaction.
type minted struct {
	opaque token.Token
	own    *Token                      // that it carries with it; nil where the store has it
	claims *jose.Claims[access.Claims] // of a JWT
	alg    jose.Algorithm
	life   time.Duration
}

// mint notes an access token of a grant, bound to the key that was proved. The user is
// nil where the client asks for itself.
func (x *exchange) mint(tx Tx, g *Grant) (m *minted, err error) {
	c, u, now := x.client, x.user, x.now
	expires := now.Add(c.accessLife())
	if g.Expires.Before(expires) {
		expires = g.Expires // nobody tells verifiers of an end that comes by itself
	}
	m = &minted{life: expires.Sub(now)}
	// A JWT can be read by the client, and says who somebody is to everybody: what ends
	// it names that. Where the client must not know, its tokens say nothing.
	if !c.JWT || c.Sector != "" {
		m.opaque = token.New(token.Access)
		t := &Token{
			Selector: m.opaque.Selector(), Digest: m.opaque.Digest(), Grant: g.ID, Client: c.ID, Subject: g.Subject, SID: g.session(),
			Scopes: x.scopes, Audience: x.audience, JKT: x.key.JKT, AuthTime: g.AuthTime, ACR: g.ACR, AMR: g.AMR, Issued: now, Expires: expires,
			Actors: x.actors,
		}
		if u != nil {
			t.SEV = u.Epoch
		}
		if g.Subject == "" && t.carries() {
			m.own = t
			return m, nil
		}
		return m, tx.AddToken(t)
	}
	m.alg = c.signs()
	if err := x.canSign(m.alg); err != nil {
		return nil, err
	}
	m.claims = &jose.Claims[access.Claims]{
		Issuer: x.o.Issuer, Subject: g.Subject, Audience: x.audience, IssuedAt: now, Expires: expires, ID: rand.Text(),
		Data: access.Claims{ClientID: c.ID, Scope: strings.Join(x.scopes, " "), GID: g.ID, ACR: g.ACR, AMR: g.AMR, Act: actor(x.actors)},
	}
	d := &m.claims.Data
	if u == nil {
		m.claims.Subject = c.ID // RFC 9068 section 2.2
	} else {
		d.SEV, d.AuthTime = u.Epoch, g.AuthTime.Unix()
		// Somebody's roles go to no application of others': what that may do is what was
		// allowed it, and a service that looks at roles alone must not give it more.
		if c.FirstParty && !x.foreign {
			d.Roles = u.Roles
		}
	}
	if x.key.JKT != "" {
		d.Confirmation = &access.Confirmation{JKT: x.key.JKT}
	}
	d.Status, err = tx.Place(m.claims.Subject, &IDs{GID: g.ID, JTI: m.claims.ID, SEV: d.SEV, Client: c.ID}, expires.Add(verifiersLeeway))
	return m, err
}

// text is the token itself.
func (p *Provider) text(m *minted) (admit.Secret, error) {
	switch {
	case m.own != nil:
		return admit.NewSecret(p.sealOwn(m.opaque, m.own)), nil
	case m.claims == nil:
		return admit.NewSecret(m.opaque.Reveal()), nil
	}
	text, err := p.access.sign(p.o.Keys, m.alg, access.Type, m.claims)
	return admit.NewSecret(text), err
}

// endGrant ends a grant, and with it all that came of it, everywhere.
func endGrant(tx Tx, g *Grant, c *Client, reason string, now time.Time) error {
	ended, err := endUnnoted(tx, g, c, reason, now)
	if err != nil || !ended {
		return err
	}
	return tx.Note(Note{At: now, Event: reason, Subject: g.Subject, Client: g.Client, Detail: g.ID})
}

// endUnnoted is endGrant where one note is for several.
func endUnnoted(tx Tx, g *Grant, c *Client, reason string, now time.Time) (bool, error) {
	ended, err := tx.EndGrant(g.ID, reason, now)
	if err == nil && ended {
		err = tx.Tell(feed.GrantEnded(g.ID, g.Subject, reason, now.Add(c.accessLife()+verifiersLeeway)))
	}
	return ended, err
}

// session is the sid of the session that a grant ends with, "" for none.
func (g *Grant) session() string {
	if g.Offline {
		return ""
	}
	return g.SID
}

// behind returns who a grant is of: its session, nil where it has outlived that, and the
// user. ErrInvalidGrant where either that it needs has gone.
func behind(tx Tx, g *Grant, now time.Time) (s *Session, u *User, err error) {
	if g.SID != "" {
		s, err = tx.Session(g.SID, now)
		switch gone := s == nil || s.Subject != g.Subject; {
		case err != nil:
			return nil, nil, err
		case gone && !g.Offline:
			return nil, nil, because(ErrInvalidGrant, "The person has signed out.")
		case gone:
			s = nil
		}
	}
	u, err = tx.User(g.Subject)
	if err == nil && u == nil {
		err = because(ErrInvalidGrant, "There is nobody any more who has allowed it.")
	}
	return s, u, err
}

// used notes that a client was used with what somebody has allowed it.
func used(tx Tx, g *Grant, now time.Time) error {
	k, err := tx.Consent(g.Subject, g.Client)
	if err != nil || k == nil {
		return err
	}
	return k.used(tx, now)
}

// used notes that what was allowed was used.
func (k *Consent) used(tx Tx, now time.Time) error {
	if now.Sub(k.LastUsed) < lastUsedStep {
		return nil
	}
	k.LastUsed = now
	return tx.PutConsent(k)
}

// lacks returns what of scopes and resources was not allowed; k is nil where nothing was.
func (k *Consent) lacks(scopes, audiences []string) (newScopes, newAudiences []string) {
	if k == nil {
		return scopes, audiences
	}
	return without(scopes, k.Scopes), without(audiences, k.Audiences)
}

// narrowed returns the scopes that are asked for of those that there are, in their order:
// all of them where none is.
func narrowed(have, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return have, nil
	}
	if len(without(asked, have)) > 0 {
		return nil, ErrInvalidScope
	}
	return within(have, asked), nil
}

// audienceOf returns what a token is for: of the resources that may be asked for those
// that are (RFC 8707 section 2.2), and all of them where none is. Where there is none it is
// the issuer: a token that is good in several places can be presented by one of them at
// another.
//
// Who asks for people to be told of (scope openid), and uses no more than one service, gets
// one that is good at the userinfo endpoint, too.
func (p *Provider) audienceOf(c *Client, may, asked []string, people bool) ([]string, error) {
	switch {
	case len(without(asked, may)) > 0:
		return nil, ErrInvalidTarget
	case len(asked) > 0:
		return slices.Compact(slices.Sorted(slices.Values(asked))), nil
	case people && len(may) == 1 && len(c.Audiences) == 1 && may[0] != p.o.Issuer:
		return []string{may[0], p.o.Issuer}, nil
	case len(may) > 0:
		return may, nil
	}
	return []string{p.o.Issuer}, nil
}
