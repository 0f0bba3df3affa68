package web

import (
	"context"
	"net/http"
	"sync"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/session"
)

// DPoP (RFC 9449), for clients that want their tokens to be of no use to a thief:
// a proof at sign-in binds both to its key.

// VerifyJWT returns the session that an access token presents, and the thumbprint
// of the key that it is bound to, "" for none.
type VerifyJWT func(ctx context.Context, text string) (by *session.Named, jkt string, err error)

// bearers returns what verifies tokens that come without a proof: those that are
// bound to a key must not count.
func bearers(proofs *dpop.Verifier, verify VerifyJWT) func(context.Context, string) (*session.Named, error) {
	return func(ctx context.Context, text string) (*session.Named, error) {
		by, jkt, err := verify(ctx, text)
		if err == nil && jkt != "" {
			return nil, proofs.Challenged(access.ErrBound)
		}
		return by, err
	}
}

// A proving is what came of the proof in a request. That counts once, and the
// session of a request may be asked for more often.
type proving struct {
	once sync.Once
	by   *session.Named
	err  error
}

type provingKey struct{}

// proven returns the session that a request presents by a token with a proof.
func proven(r *http.Request, text string, proofs *dpop.Verifier, verify VerifyJWT) (*session.Named, error) {
	p, ok := r.Context().Value(provingKey{}).(*proving)
	if !ok {
		p = &proving{}
	}
	p.once.Do(func() {
		by, jkt, err := verify(r.Context(), text)
		switch {
		case err != nil:
			p.err = proofs.Challenged(err)
		case jkt == "":
			p.err = access.ErrUnbound
		default:
			p.by, p.err = by, proofs.Check(r, text, jkt)
		}
	})
	if p.err != nil {
		return nil, p.err
	}
	return p.by, nil
}

// Proving returns a request that presents a token with a proof so that this is
// checked once, and false where it does not.
func Proving(r *http.Request) (*http.Request, bool) {
	if scheme, _ := authorization(r); scheme != proofScheme {
		return r, false
	}
	return r.WithContext(context.WithValue(r.Context(), provingKey{}, &proving{})), true
}

// proving readies the call for a proof, if one comes with its token.
func (c *call) proving() {
	var proves bool
	if c.r, proves = Proving(c.r); proves {
		c.tellNonce()
	}
}

// bind notes the key that the client wants its tokens bound to, if it has sent a
// proof. That is checked before any password is: who lacks the nonce alone has
// lost no try.
func (c *call) bind(to jwtCookie) (err error) {
	if !dpop.Has(c.r) {
		return nil
	}
	if to.Cookie { // no browser sends a proof beside it
		return &admit.FieldError{Field: "cookie", Err: errJWTCookie}
	}
	c.tellNonce()
	c.jkt, err = c.Proofs.Prove(c.r, c.now)
	return err
}

// tellNonce says what the next proof must name.
func (c *call) tellNonce() {
	c.w.Header()["Dpop-Nonce"] = []string{c.Proofs.Nonce(c.now)}
}

// tokenType is what RFC 9449 section 5 calls tokens that are bound to a key.
func (c *call) tokenType() string {
	if c.jkt == "" {
		return ""
	}
	return proofScheme
}
