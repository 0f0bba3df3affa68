package provider

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/admit-auth/admit/dpop"
)

// Tokens that are bound to a key (DPoP, RFC 9449): whoever steals one has nothing without
// the key. A proof at the token endpoint binds the access token, and of a public client
// the refresh tokens, too. Those of another client are bound by its authentication, and
// it may take another key (section 5).

const noncePurpose = "provider dpop nonce"

var (
	errProofUsed    = because(dpop.ErrProof, dpop.ErrReplayed.Error())
	errProofMissing = because(dpop.ErrProof, "This client's tokens are bound to a key: the header DPoP with a proof of it is missing.")

	// Whoever stole it has none of these keys, and learns not which one it would be.
	errUnproved = because(ErrInvalidGrant, "It is bound to a key, of which there is no proof.")
	errUnbound  = because(ErrInvalidGrant, "It was given without a proof of a key, and is bound to none later: whoever stole it could bind it to his own.")

	errDowngrade = because(ErrInvalidToken, "This token is bound to a key: it counts after the scheme DPoP, and with a proof.")
	errUpgrade   = because(ErrInvalidToken, "This token is bound to no key: it counts after the scheme Bearer.")
	errOtherKey  = because(ErrInvalidToken, "This token is bound to another key.")
)

// newProofs makes what checks proofs. They are for addresses of the issuer, whatever Host
// says. Every replica takes the others' nonces, and they age with the keys that they are
// made with.
func newProofs(issuer *url.URL, secrets Secrets) (*dpop.Verifier, error) {
	return dpop.NewVerifier(issuer.Scheme+"://"+issuer.Host, &dpop.Options{
		NonceKeys: func() [][]byte { return secrets.DeriveAll(noncePurpose) },
	})
}

// proven returns the proof of a key that a request carries, the zero Proof for none. It
// is good once in this process; [spend] has it be good once everywhere.
func (p *Provider) proven(r *http.Request, token string, now time.Time) (dpop.Proof, error) {
	if !dpop.Has(r) {
		return dpop.Proof{}, nil
	}
	key, err := p.proofs.Take(r, token, now)
	if errors.Is(err, dpop.ErrReplayed) {
		err = errProofUsed
	}
	return key, err
}

// spend has a proof be good no more, at any replica.
func spend(tx Tx, key dpop.Proof) error {
	return once{"dpop proof", key.ID, key.Until, errProofUsed}.spend(tx)
}

// tellNonce says what the next proof must name to whoever sends them (section 8.2).
func (p *Provider) tellNonce(w http.ResponseWriter, r *http.Request, now time.Time) {
	if dpop.Has(r) || strings.EqualFold(schemeOf(r), "DPoP") {
		w.Header()["Dpop-Nonce"] = []string{p.proofs.Nonce(now)}
	}
}

func schemeOf(r *http.Request) string {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return scheme
}

// pushedWith is the proof that an authorization request was pushed with, which is then bound
// to that key as if it had said dpop_jkt (section 10.1).
func (p *Provider) pushedWith(r *http.Request, f form, c *Client, now time.Time) (dpop.Proof, error) {
	key, err := p.proven(r, "", now)
	if err == nil {
		err = c.timely(key, now)
	}
	if err != nil || key.JKT == "" {
		return key, err
	}
	if said := f.get("dpop_jkt"); said != "" && said != key.JKT {
		return key, because(dpop.ErrProof, "The dpop_jkt is of another key than the proof.")
	}
	f["dpop_jkt"] = []string{key.JKT}
	return key, nil
}

// keyed says whether a client that asks for tokens has proved its key, where it has to or
// has tried to.
func (x *exchange) keyed() error {
	switch {
	case x.unproved != nil:
		return x.unproved
	case x.client.mustBind() && x.key.JKT == "":
		return errProofMissing
	}
	return x.client.timely(x.key, x.now)
}

// boundTo is the key that the refresh tokens of a new grant are bound to, "" for none.
func (x *exchange) boundTo() string {
	if x.client.Auth != NoAuth {
		return ""
	}
	return x.key.JKT
}

// holds says whether who presents a refresh token may. Who may not ends nothing: to be
// able to end a grant, a thief needs the key as well.
func (x *exchange) holds(g *Grant) error {
	switch {
	case g.JKT != "" && g.JKT != x.key.JKT:
		return errUnproved
	case g.JKT == "" && x.boundTo() != "":
		return errUnbound
	}
	return nil
}

// present says whether who presents an access token may: with a proof for this request
// and token by the key that it is bound to, or where it is bound to none without.
func (p *Provider) present(r *http.Request, text string, proves bool, t *live, now time.Time) error {
	switch {
	case t.JKT != "" && !proves:
		return errDowngrade
	case t.JKT == "" && proves:
		return errUpgrade
	case !proves:
		return nil
	case !dpop.Has(r):
		return dpop.ErrProof
	}
	key, err := p.proven(r, text, now)
	switch {
	case err != nil:
		return err
	case key.JKT != t.JKT:
		return errOtherKey
	}
	if err := t.client.timely(key, now); err != nil {
		return err
	}
	return p.o.Store.Update(context.WithoutCancel(r.Context()), func(tx Tx) error { return spend(tx, key) })
}
