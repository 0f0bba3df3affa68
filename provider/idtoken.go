package provider

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/jose"
)

// idType is that of an ID token. Everything else that is signed with these keys has a
// type of its own, so that none can be taken for another.
const idType = "JWT"

// idLife is for how long an ID token is good: a client reads it when it comes.
const idLife = time.Hour

// signingAlgorithms are those that a client may choose from.
var signingAlgorithms = []jose.Algorithm{jose.ES256, jose.EdDSA, jose.RS256}

// tokens is what makes and reads signed tokens.
type tokens struct {
	access     signers[access.Claims]
	ids        signers[map[string]any]
	logouts    signers[logoutClaims]
	bearers    *jose.Verifier[access.Claims]
	hints      *jose.PayloadVerifier
	assertions *jose.Verifier[assertion]
	objects    *jose.Verifier[objectClaims]
	remote     sync.Map     // place → jose.KeySource
	remotes    atomic.Int64 // about how many
}

func newTokens(o *Options) (*tokens, error) {
	bearers, err := newBearers(o)
	if err != nil {
		return nil, err
	}
	assertions, err := newAssertions()
	if err != nil {
		return nil, err
	}
	objects, err := newObjects()
	if err != nil {
		return nil, err
	}
	hints, err := jose.NewPayloadVerifier(o.Keys, signingAlgorithms, idType, nil)
	if err != nil {
		return nil, err
	}
	return &tokens{bearers: bearers, hints: hints, assertions: assertions, objects: objects}, nil
}

// signers are one for each algorithm, of the key that signs now.
type signers[D any] struct{ last sync.Map } // jose.Algorithm → *signer[D]

type signer[D any] struct {
	key *jose.Key
	*jose.Signer[D]
}

// canSign says so before something is spent for what then cannot be signed.
func (p *Provider) canSign(alg jose.Algorithm) error {
	if p.o.Keys.Signing(alg) == nil {
		return fmt.Errorf("provider: no key signs with %s", alg)
	}
	return nil
}

// sign returns the token of these claims.
func (s *signers[D]) sign(keys Keys, alg jose.Algorithm, typ string, c *jose.Claims[D]) (string, error) {
	key := keys.Signing(alg)
	if key == nil {
		return "", fmt.Errorf("provider: no key signs with %s", alg)
	}
	last, _ := s.last.Load(alg)
	one, ok := last.(*signer[D])
	if !ok || one.key != key {
		made, err := jose.NewSigner[D](key, typ, nil)
		if err != nil {
			return "", fmt.Errorf("provider: sign with %v: %w", key, err)
		}
		one = &signer[D]{key, made}
		s.last.Store(alg, one)
	}
	return one.Sign(c)
}

// derive is what a name becomes for one party: nobody who has not the salt can go back,
// or tell that two of them are of one.
func (p *Provider) derive(purpose, party, name string) string {
	key := []byte(p.o.Salt.Reveal())
	if len(key) == 0 {
		key = p.o.Secrets.Derive("provider salt")
	}
	mac := hmac.New(sha256.New, key)
	for _, part := range [...]string{purpose, party, name} {
		fmt.Fprintf(mac, "%d:%s", len(part), part) // so that nothing moves from one to the next
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// subject is who somebody is to a client (OpenID Connect Core section 8).
func (p *Provider) subject(c *Client, subject string) string {
	if c.Sector == "" {
		return subject
	}
	return p.derive("sub", c.Sector, subject)
}

// sid is what a session is called to a client. Two of them cannot find out that one
// browser uses both.
func (p *Provider) sid(c *Client, sid string) string { return p.derive("sid", c.ID, sid) }

// idToken returns the ID token that goes with an access token (OpenID Connect Core
// sections 2 and 3.1.3.6). Code is "" where there is none, at a refresh: what comes of
// one has no nonce (section 12.2). The session is nil where the grant has outlived it.
func (p *Provider) idToken(c *Client, g *Grant, u *User, s *Session, accessToken, code string, now time.Time) (string, error) {
	d := map[string]any{}
	if g.Asked.Claims != nil {
		// What the scopes give is at the userinfo endpoint (section 5.4).
		d = claimsFor(u, nil, g.Asked.Claims.IDToken, nil)
	}
	d["azp"] = c.ID
	d["auth_time"] = g.AuthTime.Unix()
	if g.ACR != "" {
		d["acr"] = g.ACR
	}
	if len(g.AMR) > 0 {
		d["amr"] = g.AMR
	}
	if s != nil {
		d["sid"] = p.sid(c, s.SID)
	}
	if code != "" && g.Asked.Nonce != "" {
		d["nonce"] = g.Asked.Nonce
	}
	if accessToken != "" {
		d["at_hash"] = halfHash(c.signs(), accessToken)
	}
	return p.ids.sign(p.o.Keys, c.signs(), idType, &jose.Claims[map[string]any]{
		Issuer: p.o.Issuer, Subject: p.subject(c, g.Subject), Audience: []string{c.ID}, IssuedAt: now, Expires: now.Add(idLife), Data: d,
	})
}

// halfHash is at_hash: the left half of the hash that the signature uses.
func halfHash(alg jose.Algorithm, text string) string {
	if alg == jose.EdDSA || alg == jose.Ed25519 {
		sum := sha512.Sum512([]byte(text))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// claimsFor returns what is told of somebody: what the scopes give, and what is wished
// by name, of which the authorization endpoint has left what the person was asked about.
// What is wished with a value is told where that is the value.
func claimsFor(u *User, scopes []string, wish map[string]*ClaimWish, extra map[string][]string) map[string]any {
	told := map[string]any{}
	tell := func(name string) {
		if v, known := u.Claims[name]; known && wish[name].grants(v) && !reserved(name) {
			told[name] = v
		}
	}
	for _, scope := range scopes {
		for _, name := range claimsOf(scope, extra) {
			tell(name)
		}
	}
	for name := range wish {
		tell(name)
	}
	return told
}

// reserved are the claims that are not about the person: nothing that is known of one
// may stand in their place.
func reserved(name string) bool {
	switch name {
	case "iss", "sub", "aud", "exp", "nbf", "iat", "jti",
		"azp", "nonce", "auth_time", "acr", "amr", "sid", "at_hash", "c_hash", "cnf", "events", "active":
		return true
	}
	return false
}

// grants reports whether a value is one that is wished.
func (w *ClaimWish) grants(v any) bool {
	if w == nil || len(w.Value) == 0 && len(w.Values) == 0 {
		return true
	}
	is, err := json.Marshal(v)
	same := func(raw json.RawMessage) bool {
		var b bytes.Buffer
		return json.Compact(&b, raw) == nil && bytes.Equal(b.Bytes(), is)
	}
	return err == nil && (len(w.Value) > 0 && same(w.Value) || slices.ContainsFunc(w.Values, same))
}

// errHint is what a hint is refused for, whatever is wrong with it.
var errHint = errors.New("the id_token_hint is no ID token of this issuer")

// hint returns what an ID token of ours says, an expired one too (OpenID Connect Core
// section 3.1.2.1). Sub and sid are as the client aud knows them.
func (p *Provider) hint(ctx context.Context, text string, now time.Time) (sub, sid, aud string, expired bool, err error) {
	payload, _, err := p.hints.Verify(ctx, text)
	if errors.Is(err, admit.Unavailable) {
		return "", "", "", false, err
	}
	var c struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"` // ours have one
		SID      string `json:"sid"`
		Expires  int64  `json:"exp"`
	}
	if err != nil || json.Unmarshal(payload, &c) != nil || c.Issuer != p.o.Issuer || c.Subject == "" || c.Audience == "" || c.Expires == 0 {
		return "", "", "", false, errHint
	}
	return c.Subject, c.SID, c.Audience, now.Unix() >= c.Expires, nil
}
