package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// assertionLeeway is for the client's clock.
	assertionLeeway = 30 * time.Second
	// maxAssertionLife bounds for how long an id must be remembered.
	maxAssertionLife = time.Hour
	// strangersAssertionLife is that of clients that anybody can register: each assertion
	// is a record, whatever comes of it.
	strangersAssertionLife = 5 * time.Minute
	maxClientID            = 2048 // it may be a URL
)

// assertionAlgorithms are those of private_key_jwt. There is none with a shared secret.
var assertionAlgorithms = []jose.Algorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.PS256, jose.ES384, jose.ES512}

// A showing is who a request says that it is from, and what it shows for that.
type showing struct {
	id        string
	method    AuthMethod
	secret    admit.Secret
	assertion string
	once      once // of the assertion, where that was found good
}

// shown reads what a request shows. It shows one thing: of two, one reader would look at
// the one and another at the other (RFC 6749 section 2.3).
func shown(r *http.Request, f form) (*showing, error) {
	s := &showing{id: f.get("client_id"), method: NoAuth}
	ways := 0
	if headers := r.Header["Authorization"]; len(headers) > 0 {
		ways++
		id, secret, ok := parseBasic(headers[0])
		switch {
		case len(headers) > 1:
			return nil, because(ErrInvalidRequest, "There are two Authorization headers.")
		case !ok:
			return nil, because(ErrInvalidClient, "The header Authorization is not one of the scheme Basic, with id and secret form-encoded.")
		case s.id != "" && s.id != id:
			return nil, because(ErrInvalidRequest, "The parameter client_id is another one than that of the header Authorization.")
		}
		s.id, s.secret, s.method = id, admit.NewSecret(secret), SecretBasic
	}
	if secret := f.get("client_secret"); secret != "" {
		ways++
		s.secret, s.method = admit.NewSecret(secret), SecretPost
	}
	if typ := f.get("client_assertion_type"); typ != "" || f.get("client_assertion") != "" {
		ways++
		if typ != assertionType {
			return nil, because(ErrInvalidClient, "The parameter client_assertion_type is not "+assertionType+".")
		}
		s.assertion, s.method = f.get("client_assertion"), PrivateKeyJWT
		if s.id == "" {
			s.id = claimant(s.assertion)
		}
	}
	switch {
	case ways > 1:
		return nil, because(ErrInvalidRequest, "The client proves itself in more than one manner.")
	case s.id == "" || len(s.id) > maxClientID:
		return nil, because(ErrInvalidClient, "The request does not say which client it is from.")
	}
	return s, nil
}

// parseBasic reads an Authorization header. Id and secret are form-encoded before they
// become base64 (RFC 6749 section 2.3.1), so that each may have a colon.
func parseBasic(header string) (id, secret string, ok bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") || strings.ContainsAny(rest, "\r\n") {
		return "", "", false
	}
	text, err := base64.StdEncoding.Strict().DecodeString(strings.Trim(rest, " "))
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(text), ":")
	if !ok {
		return "", "", false
	}
	id, err = unescape(id)
	if err == nil {
		secret, err = unescape(secret)
	}
	return id, secret, err == nil && id != ""
}

// claimant is who an assertion says that it is from. Nothing is believed: it says whose
// keys to try.
func claimant(assertion string) string {
	_, rest, _ := strings.Cut(assertion, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	var claims struct {
		Subject string `json:"sub"`
	}
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.Subject
}

// prove says whether what was shown is the client's. It may fetch the client's keys, and
// computes: do not call it in an Update where that can be helped.
func (p *Provider) prove(ctx context.Context, s *showing, c *Client, now time.Time) error {
	switch {
	case c == nil || c.Disabled:
		return ErrInvalidClient
	case c.Auth != s.method && (c.Auth != AnySecret || s.method != SecretBasic && s.method != SecretPost):
		return ErrInvalidClient
	case s.method == PrivateKeyJWT:
		return p.proveKey(ctx, s, c, now)
	case s.method != NoAuth && !c.has(s.secret, now):
		return ErrInvalidClient
	}
	return nil
}

// asker returns the client that asks, and does in the same look at the store what else
// there is to look at: whoever is not that client is told nothing of it.
func (p *Provider) asker(r *http.Request, f form, now time.Time, also func(Tx, *Client) error) (*Client, error) {
	s, err := shown(r, f)
	if err != nil {
		return nil, err
	}
	var c *Client
	err = p.o.Store.View(r.Context(), func(tx Tx) (err error) {
		if c, err = tx.Client(s.id); err != nil || c == nil {
			return err
		}
		return also(tx, c)
	})
	if err != nil {
		return nil, err
	}
	if err := p.prove(r.Context(), s, c, now); err != nil {
		return nil, err
	}
	if s.once.id == "" {
		return c, nil
	}
	return c, p.o.Store.Update(context.WithoutCancel(r.Context()), s.once.spend)
}

// An assertion is what a client signs to prove itself (RFC 7523 section 3, and the draft
// that updates it: the audience is the issuer, and nobody besides).
type assertion struct{ audience string }

// UnmarshalJSON reads aud as it stands. An array of one is refused too: a server that
// signs for others what they ask for, and adds their name to a list, was an attack.
func (a *assertion) UnmarshalJSON(text []byte) error {
	var claims struct {
		Audience json.RawMessage `json:"aud"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return err
	}
	if len(claims.Audience) > 0 && claims.Audience[0] == '"' {
		return json.Unmarshal(claims.Audience, &a.audience)
	}
	return nil
}

// keysOf is the key under which a context carries the keys of the client that proves
// itself, so that one verifier serves all of them.
type keysOf struct{}

type contextKeys struct{}

// KeySet implements jose.KeySource.
func (contextKeys) KeySet(ctx context.Context, kid string) (*jose.KeySet, error) {
	source, ok := ctx.Value(keysOf{}).(jose.KeySource)
	if !ok {
		return nil, jose.ErrKey
	}
	return source.KeySet(ctx, kid)
}

func newAssertions() (*jose.Verifier[assertion], error) {
	return jose.NewVerifier(contextKeys{}, jose.Expected{Algorithms: assertionAlgorithms}, &jose.VerifierOptions[assertion]{
		Leeway: assertionLeeway,
		// proveKey looks at them, more narrowly.
		InsecureAnyIssuer: true, InsecureAnyAudience: true, InsecureAnyType: true,
	})
}

func (p *Provider) proveKey(ctx context.Context, s *showing, c *Client, now time.Time) error {
	keys, err := p.keysFor(c)
	if err != nil {
		return err
	}
	a, err := p.assertions.VerifyAt(context.WithValue(ctx, keysOf{}, keys), s.assertion, now)
	switch {
	case err != nil:
		return uncounted(err, ErrInvalidClient, "The assertion")
	case a.Header.Type != "" && !strings.EqualFold(a.Header.Type, "JWT") && a.Header.Type != "client-authentication+jwt":
		return because(ErrInvalidClient, "The assertion is a token of another type.")
	case !c.mayProve(a.Header.Algorithm):
		return because(ErrInvalidClient, "The assertion is signed with an algorithm that this client may not use.")
	case a.Issuer != c.ID || a.Subject != c.ID:
		return because(ErrInvalidClient, "The assertion's iss and sub are not both the client_id.")
	case a.Data.audience != p.o.Issuer:
		return because(ErrInvalidClient, "The assertion's aud is not the issuer, as one string and no list.")
	case a.ID == "":
		return because(ErrInvalidClient, "The assertion has no jti.")
	case a.Expires.Sub(now) > maxAssertionLife:
		return because(ErrInvalidClient, "The assertion expires later than in an hour.")
	case a.Expires.Sub(now) > strangersAssertionLife && c.Unverified():
		return because(ErrInvalidClient, "The assertion expires later than in 5 minutes, for a client that nobody knows.")
	}
	s.once = c.once("client_assertion", a.ID, a.Expires.Add(assertionLeeway), errAssertionUsed)
	return nil
}

var errAssertionUsed = because(ErrInvalidClient, "The assertion was used before.")

// uncounted is a refusal of what a client has signed, with what is wrong with the signature
// or the times.
func uncounted(err error, of *admit.Error, what string) error {
	e, ok := errors.AsType[*admit.Error](err)
	switch {
	case errors.Is(err, admit.Unavailable):
		return err
	case !ok || e.Kind() != admit.Unauthenticated:
		e = of
	}
	return because(of, what+" does not count. "+e.Error())
}

// keysFor are the keys that a client signs with.
func (p *Provider) keysFor(c *Client) (jose.KeySource, error) {
	if c.Keys == nil {
		return p.remoteKeys(c)
	}
	return c.Keys, nil
}

// maxRemote bounds how many key sets of clients are kept: who registers itself says where
// its keys are, and may say it anew each time.
const maxRemote = 1000

// A place is a jwks_uri, and who gets there: a stranger has not what is inside fetched by
// naming what a client of ours has there.
type place struct {
	uri string
	by  *http.Client
}

// remoteKeys are those behind a client's jwks_uri.
func (p *Provider) remoteKeys(c *Client) (jose.KeySource, error) {
	from := place{c.KeysURI, p.reach(c)}
	if known, ok := p.remote.Load(from); ok {
		return known.(jose.KeySource), nil
	}
	set, err := jose.NewRemoteKeySet(from.uri, &jose.RemoteOptions{Client: from.by})
	if err != nil {
		return nil, err
	}
	known, was := p.remote.LoadOrStore(from, set)
	if !was && p.remotes.Add(1) > maxRemote {
		p.remote.Clear()
		p.remotes.Store(0)
	}
	return known.(jose.KeySource), nil
}
