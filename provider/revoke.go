package provider

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/token"
)

// reasonRevoked is why a grant or a token has ended that its client has given back.
const reasonRevoked = "client_revoked"

// revoke ends what a client gives back (RFC 7009): with a refresh token its grant, and
// every access token of that; an access token alone.
//
// The answer to what is unknown, over, or another client's is the same: nothing has
// ended, and whoever tries tokens learns nothing.
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request) {
	now := p.now()
	f, err := posted(w, r)
	if err == nil && f.get("token") == "" {
		err = because(ErrInvalidRequest, "The parameter token is missing.")
	}
	if err == nil {
		err = p.giveBack(r, f, now)
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// giveBack looks first: what is unknown costs no write.
func (p *Provider) giveBack(r *http.Request, f form, now time.Time) error {
	end, err := p.ender(r.Context(), f.get("token"), now)
	if err != nil && !errors.Is(err, ErrUnsupportedTokenType) {
		return err
	}
	there := false
	c, asked := p.asker(r, f, now, func(tx Tx, c *Client) (err error) {
		if end != nil {
			there, err = end(tx, c, false)
		}
		return err
	})
	switch {
	case asked != nil:
		return asked
	case err != nil || !there:
		return err
	}
	return p.o.Store.Update(context.WithoutCancel(r.Context()), func(tx Tx) error {
		_, err := end(tx, c, true)
		return err
	})
}

// ender returns what ends a token, and reports whether there is one to end: nil for
// text that is none. What class a token is of it says itself, whatever token_type_hint
// says.
func (p *Provider) ender(ctx context.Context, text string, now time.Time) (func(tx Tx, c *Client, do bool) (bool, error), error) {
	if t, err := token.Parse(token.Refresh, text); err == nil {
		return func(tx Tx, c *Client, do bool) (bool, error) { return endFamily(tx, c, t, do, now) }, nil
	}
	b, err := p.parseBearer(ctx, text, now)
	switch {
	case err == nil:
		return func(tx Tx, c *Client, do bool) (bool, error) { return b.end(tx, c, do, now) }, nil
	case !errors.Is(err, ErrInvalidToken):
		return nil, err
	case p.isAnother(ctx, text):
		return nil, ErrUnsupportedTokenType
	}
	return nil, nil
}

// isAnother reports whether a text is a token of a class that nobody gives back, so that
// a client's author learns which of them he has mixed up.
func (p *Provider) isAnother(ctx context.Context, text string) bool {
	for _, kind := range []token.Kind{token.OneTime, token.ClientSecret, token.Session, token.APIKey, token.Invite, token.Registration} {
		if _, err := token.Parse(kind, text); err == nil {
			return true
		}
	}
	if strings.Count(text, ".") != 2 {
		return false
	}
	_, _, err := p.hints.Verify(ctx, text)
	return err == nil
}

// endFamily ends the grant of a refresh token. An older one will do: whoever lost an
// answer gives back what he has, and the token endpoint would end the grant for it too.
func endFamily(tx Tx, c *Client, t token.Token, do bool, now time.Time) (bool, error) {
	g, err := tx.Grant(gid(t))
	if err != nil || g == nil || g.Client != c.ID || g.Ended != "" {
		return false, err
	}
	if !do {
		return true, nil
	}
	return true, endGrant(tx, g, c, reasonRevoked, now)
}

// end ends an access token alone.
func (b bearer) end(tx Tx, c *Client, do bool, now time.Time) (bool, error) {
	t, err := b.row(tx)
	if err != nil || t == nil || t.Client != c.ID || !now.Before(t.Expires) {
		return false, err
	}
	if !do {
		return true, nil
	}
	until := t.Expires.Add(verifiersLeeway)
	if b.stored() {
		err = tx.EndToken(t.Selector)
	} else {
		_, err = tx.Spend(revokedToken, t.Selector, until)
	}
	if err != nil {
		return false, err
	}
	// A service that has kept what introspection said hears of it, too.
	return true, tx.Tell(feed.TokenEnded(t.Selector, t.Subject, reasonRevoked, until))
}
