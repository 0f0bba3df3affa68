package provider

import (
	"context"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

// rememberedJWTs is how many access tokens need no signature checked again. What has
// ended is looked up each time.
const rememberedJWTs = 4096

// revokedToken is the purpose of [Tx].Spend for the ids of tokens that were revoked, of
// those that carry with them what they are worth: JWTs, and the opaque ones of clients. Its
// text is of when those were JWTs alone: what was revoked stays so beside an older program.
const revokedToken = "revoked jwt"

func newBearers(o *Options) (*jose.Verifier[access.Claims], error) {
	return jose.NewVerifier(o.Keys, jose.Expected{Algorithms: signingAlgorithms, Issuer: o.Issuer, Type: access.Type}, &jose.VerifierOptions[access.Claims]{
		Remember: rememberedJWTs,
		// Whom a token is for is for each endpoint to look at.
		InsecureAnyAudience: true,
	})
}

// A bearer is an access token that was shown. Nothing is known of it but its form, and
// of a JWT that we have signed it.
type bearer struct {
	opaque token.Token
	own    *Token                      // nil where it is no opaque one of a client's own
	jwt    *jose.Claims[access.Claims] // nil where it is opaque
}

// parseBearer reads an access token. Every other class of token is ErrInvalidToken: a
// code, a refresh token, an ID token or a logout token never stands for one.
func (p *Provider) parseBearer(ctx context.Context, text string, now time.Time) (bearer, error) {
	if t, err := token.Parse(token.Access, text); err == nil {
		return bearer{opaque: t}, nil
	}
	if t := p.openOwn(text, now); t != nil {
		return bearer{own: t}, nil
	}
	if strings.Count(text, ".") != 2 {
		return bearer{}, ErrInvalidToken
	}
	c, err := p.bearers.VerifyAt(ctx, text, now)
	switch {
	case admit.KindOf(err) == admit.Unavailable:
		return bearer{}, err
	case err != nil || c.ID == "":
		return bearer{}, ErrInvalidToken
	}
	return bearer{jwt: &c}, nil
}

// A live token is one that counts, with all that it stands on.
type live struct {
	*Token
	grant   *Grant
	client  *Client
	session *Session // nil where it outlives that, or is the client's own
	user    *User    // nil where it is the client's own
	foreign bool     // a client that it came through is not first-party
}

// find returns what a token stands on. It is ErrInvalidToken unless all of that lives:
// the token, its grant, the client, the session and the user, who has not signed out
// everywhere since.
func (b bearer) find(tx Tx, now time.Time) (*live, error) {
	t, err := b.row(tx)
	if err != nil {
		return nil, err
	}
	if t == nil || !now.Before(t.Expires) {
		return nil, ErrInvalidToken
	}
	l := &live{Token: t}
	// Whoever it came through must be there still: it was handed on by each of them.
	through := t.through()
	for i, id := range through {
		c, err := tx.Client(id)
		switch {
		case err != nil:
			return nil, err
		case c == nil || c.Disabled:
			return nil, ErrInvalidToken
		case i == 0:
			l.client = c
		}
		l.foreign = l.foreign || !c.FirstParty
	}
	if t.Subject == "" { // a client's own, or a JWT, of which it is not known yet
		l.grant = l.client.own(now)
	}
	if l.grant == nil || l.grant.ID != t.Grant {
		if l.grant, err = tx.Grant(t.Grant); err != nil {
			return nil, err
		}
	}
	if g := l.grant; g == nil || g.Ended != "" || !now.Before(g.Expires) || g.Client != through[len(through)-1] {
		return nil, ErrInvalidToken
	}
	// What a JWT does not say of these its grant does.
	t.Subject, t.SID = l.grant.Subject, l.grant.session()
	if l.grant.Subject == "" {
		return l, nil
	}
	l.session, l.user, err = behind(tx, l.grant, now)
	switch {
	case admit.KindOf(err) == admit.Invalid:
		return nil, ErrInvalidToken
	case err != nil:
		return nil, err
	case t.SEV < l.user.Epoch:
		return nil, ErrInvalidToken
	}
	return l, nil
}

// row returns the token as it is kept, nil for none.
func (b bearer) row(tx Tx) (*Token, error) {
	if b.stored() {
		t, err := tx.Token(b.opaque.Selector())
		if err != nil || t == nil || !b.opaque.Matches(t.Digest) {
			return nil, err
		}
		return t, nil
	}
	t := b.own
	if c := b.jwt; c != nil {
		t = &Token{
			Selector: c.ID, Grant: c.Data.GID, Client: c.Data.ClientID, SEV: c.Data.SEV,
			Scopes: strings.Fields(c.Data.Scope), Audience: c.Audience,
			ACR: c.Data.ACR, AMR: c.Data.AMR, Issued: c.IssuedAt, Expires: c.Expires, Actors: actorsOf(c.Data.Act),
		}
		if c.Data.AuthTime != 0 {
			t.AuthTime = time.Unix(c.Data.AuthTime, 0)
		}
		if c.Data.Confirmation != nil {
			t.JKT = c.Data.Confirmation.JKT
		}
	}
	revoked, err := tx.Spent(revokedToken, t.Selector)
	if err != nil || revoked {
		return nil, err
	}
	return t, nil
}

// stored reports whether it is a store that keeps the token.
func (b bearer) stored() bool { return b.own == nil && b.jwt == nil }

// lookUp returns any access token of ours that counts, or ErrInvalidToken.
func (p *Provider) lookUp(ctx context.Context, text string, now time.Time) (l *live, err error) {
	b, err := p.parseBearer(ctx, text, now)
	if err != nil {
		return nil, err
	}
	err = p.o.Store.View(ctx, func(tx Tx) (err error) {
		l, err = b.find(tx, now)
		return err
	})
	return l, err
}
