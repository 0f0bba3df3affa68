package provider

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/token"
)

// A grantAnswer is what the token endpoint gives (RFC 6749 section 5.1).
type grantAnswer struct {
	AccessToken  string `json:"access_token"`
	IssuedType   string `json:"issued_token_type,omitempty"` // of an exchange
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
}

// appendTo implements byHand.
func (a *grantAnswer) appendTo(b []byte) ([]byte, bool) {
	o := handwritten{text: append(b, '{'), odd: a.AccessToken == "" || a.TokenType == "" || a.ExpiresIn == 0}
	o.put("access_token", a.AccessToken)
	o.put("issued_token_type", a.IssuedType)
	o.put("token_type", a.TokenType)
	o.putNumber("expires_in", a.ExpiresIn)
	o.put("refresh_token", a.RefreshToken)
	o.put("id_token", a.IDToken)
	o.put("scope", a.Scope)
	return o.end()
}

// token is the endpoint where clients get tokens (RFC 6749 section 3.2).
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	now := p.now()
	p.tellNonce(w, r, now)
	f, err := posted(w, r)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	a, err := p.exchange(r, f, now)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	write(w, http.StatusOK, a)
}

// An exchange is a request for tokens on its way.
type exchange struct {
	*Provider
	f     form
	kind  GrantType
	now   time.Time
	asks  context.Context // of who waits for the answer
	shows *showing
	key   dpop.Proof // that tokens are bound to; the zero Proof for none

	unproved error // why it does not count

	client    *Client
	presented token.Token // the refresh token
	noted     bool        // something must stay though the request is refused
	refused   error       // why it is, where something stays
	polled    *bool       // whether a device asks too early; nil until it was looked at

	actors  []string // of the token that is given (see Token); nil where nothing is exchanged
	foreign bool     // it comes through a client that is not first-party

	// What came of it.
	grant            *Grant
	session          *Session
	user             *User
	scopes, audience []string
	made             *minted
	refresh          token.Token // the zero Token for none
}

// exchange gives tokens for what a client presents.
//
// Who asks is proved outside of a transaction. In one, everything is then looked at
// again, and decided: of a code that 64 present at once one becomes tokens.
func (p *Provider) exchange(r *http.Request, f form, now time.Time) (*grantAnswer, error) {
	x := &exchange{Provider: p, f: f, kind: GrantType(f.get("grant_type")), now: now, asks: r.Context()}
	var err error
	if x.shows, err = shown(r, f); err != nil {
		return nil, err
	}
	var early error
	if err := p.o.Store.View(x.asks, func(tx Tx) (err error) {
		if x.client, err = tx.Client(x.shows.id); err == nil && x.client != nil {
			early = x.look(tx)
		}
		return err
	}); err != nil {
		return nil, err
	}
	if err := p.prove(x.asks, x.shows, x.client, now); err != nil {
		return nil, err
	}
	// What is refused without a write costs none, but for an assertion: whoever saw it
	// on its way must not use it though nothing came of it.
	if early == nil || x.shows.once.id != "" {
		x.key, x.unproved = p.proven(r, "", now)
		if early == nil {
			early = x.keyed()
		}
	}
	if early != nil && x.shows.once.id == "" {
		return nil, early
	}
	if x.made != nil && x.shows.once.id == "" && x.key.ID == "" {
		return x.answer() // of which nothing is written down
	}
	// Not with the context of who asks: what is decided must be decided whole.
	proved := x.client
	if err := p.o.Store.Update(context.WithoutCancel(x.asks), func(tx Tx) error { return x.decide(tx, proved) }); err != nil {
		return nil, err
	}
	if x.refused != nil {
		return nil, x.refused
	}
	return x.answer()
}

// look refuses what needs no write for it, and makes what needs none.
func (x *exchange) look(tx Tx) error {
	err := x.allowed()
	switch {
	case err != nil:
	case x.kind == AuthorizationCode:
		_, err = x.code(tx)
	case x.kind == RefreshToken:
		_, err = x.family(tx)
	case x.kind == TokenExchange:
		_, err = x.swap(tx)
	case x.kind == DeviceCode:
		err = x.lookAtDevice(tx)
	case x.own(tx) != nil:
		x.made = nil // decide writes what is missing, or says why not
	}
	return err
}

// allowed says whether the client may present what it does.
func (x *exchange) allowed() error {
	switch x.kind {
	case "":
		return because(ErrInvalidRequest, "The parameter grant_type is missing.")
	case AuthorizationCode, RefreshToken, ClientCredentials, TokenExchange:
	case DeviceCode:
		if x.o.DevicePage == "" {
			return ErrUnsupportedGrant
		}
	default:
		return ErrUnsupportedGrant
	}
	if !x.client.may(x.kind) {
		return because(ErrUnauthorizedClient, "This client may not use this grant type.")
	}
	return nil
}

// decide is the transaction, which may run again. A refusal takes everything back, unless
// something was noted that must stay.
func (x *exchange) decide(tx Tx, proved *Client) (err error) {
	x.refused, x.noted = nil, false
	// A request that was given up may come to its turn after the one that was sent in its
	// place. Who has hung up gets nothing, and is no thief.
	if err := x.asks.Err(); err != nil {
		return err
	}
	if x.client, err = tx.Client(x.shows.id); err != nil {
		return err
	}
	if x.client != proved { // it was changed meanwhile, or the store keeps none at hand
		if err := x.prove(x.asks, x.shows, x.client, x.now); err != nil {
			return err
		}
	}
	if err := x.shows.once.spend(tx); err != nil {
		return err
	}
	if err := spend(tx, x.key); err != nil {
		return err
	}
	x.noted = x.shows.once.id != "" || x.key.ID != ""
	err = x.act(tx)
	switch k := admit.KindOf(err); {
	// By Conflict a store says that the transaction must run again.
	case err == nil, !x.noted, k == admit.Internal, k == admit.Unavailable, k == admit.Conflict:
		return err
	}
	x.refused = err
	return nil
}

// act does what is asked for. It refuses before it writes, but where noted says so.
func (x *exchange) act(tx Tx) error {
	if err := x.allowed(); err != nil {
		return err
	}
	if err := x.keyed(); err != nil {
		return err
	}
	switch x.kind {
	case AuthorizationCode:
		return x.redeem(tx)
	case RefreshToken:
		return x.rotate(tx)
	case TokenExchange:
		return x.trade(tx)
	case DeviceCode:
		return x.redeemDevice(tx)
	default:
		return x.own(tx)
	}
}

// answer signs what a transaction has noted. Where that fails after a refresh, the client
// asks again and gets the same refresh token.
func (x *exchange) answer() (*grantAnswer, error) {
	access, err := x.text(x.made)
	if err != nil {
		return nil, err
	}
	a := &grantAnswer{
		AccessToken: access.Reveal(), TokenType: "Bearer", ExpiresIn: int64(x.made.life / time.Second),
		Scope: strings.Join(x.scopes, " "),
	}
	if x.key.JKT != "" {
		a.TokenType = "DPoP"
	}
	if x.kind == TokenExchange {
		a.IssuedType = accessTokenType
	}
	if x.refresh != (token.Token{}) {
		a.RefreshToken = x.refresh.Reveal()
	}
	if x.user != nil && slices.Contains(x.scopes, scopeOpenID) {
		a.IDToken, err = x.idToken(x.client, x.grant, x.user, x.session, a.AccessToken, x.f.get("code"), x.now)
	}
	return a, err
}

var errCode = because(ErrInvalidGrant, "The code is not one of this client's, or no longer good.")

// code returns the code that is presented, which may have been spent.
func (x *exchange) code(tx Tx) (*Code, error) {
	text := x.f.get("code")
	if text == "" {
		return nil, because(ErrInvalidRequest, "The parameter code is missing.")
	}
	t, err := token.Parse(token.OneTime, text)
	if err != nil {
		return nil, errCode
	}
	c, err := tx.Code(t.Selector())
	switch {
	case err != nil:
		return nil, err
	// A code of another client's, put into this one's answer, stays the other's
	// (RFC 9700 section 4.5).
	case c == nil || !t.Matches(c.Digest) || c.Asked.Client != x.client.ID || !x.now.Before(c.Expires):
		return nil, errCode
	}
	return c, nil
}

// redeem makes a grant of a code (RFC 6749 section 4.1.3).
func (x *exchange) redeem(tx Tx) error {
	c, err := x.code(tx)
	if err != nil {
		return err
	}
	if c.Grant != "" {
		return x.end(tx, c.Grant, reasonCodeReplayed)
	}
	if c.Asked.RedirectURI != x.f.get("redirect_uri") {
		return because(ErrInvalidGrant, "The redirect_uri is not the one that the code was sent to.")
	}
	if c.Asked.JKT != "" && c.Asked.JKT != x.key.JKT {
		return errUnproved
	}
	if err := checkVerifier(c.Asked.Challenge, x.f.get("code_verifier")); err != nil {
		return err
	}
	return x.become(tx, c)
}

// become makes a grant of a code that is good.
func (x *exchange) become(tx Tx, c *Code) (err error) {
	g := &Grant{
		Client: x.client.ID, Subject: c.Session.Subject, SID: c.Session.SID, Scopes: c.Asked.Scopes, Asked: c.Asked,
		AuthTime: c.Session.AuthTime, ACR: c.Session.ACR, AMR: c.Session.AMR, BegunAt: x.now, RotatedAt: x.now, JKT: x.boundTo(),
	}
	// Who has signed out since wants nothing to come of it, whatever was asked for.
	if x.session, x.user, err = behind(tx, g, x.now); err != nil {
		return err
	}
	if x.session == nil { // a code that is of no session
		return errCode
	}
	if err := x.allowedStill(tx, g); err != nil {
		return err
	}
	g.Expires = x.session.Expires
	if x.client.may(RefreshToken) {
		x.refresh = token.New(token.Refresh)
		g.ID, g.Current = gid(x.refresh), x.refresh.Digest()
		if slices.Contains(g.Scopes, scopeOffline) {
			g.Offline, g.Expires = true, x.now.Add(x.client.grantLife())
		}
	} else {
		g.ID = newID()
	}
	if err := x.narrow(g, nil); err != nil {
		return err
	}
	first, err := x.spend(tx, c.Selector, g.ID)
	if err != nil {
		return err
	}
	if !first { // by a store whose transactions see what others commit meanwhile
		if c, err = x.spent(tx, c.Selector); err != nil || c == nil {
			return err
		}
		return x.end(tx, c.Grant, reasonCodeReplayed)
	}
	if err := tx.AddGrant(g); err != nil {
		return err
	}
	return x.give(tx, g)
}

// allowedStill reports whether what a code was given for has not been taken back since.
func (x *exchange) allowedStill(tx Tx, g *Grant) error {
	if x.client.FirstParty {
		return nil
	}
	k, err := tx.Consent(g.Subject, g.Client)
	scopes, audiences := k.lacks(g.Scopes, g.Asked.Audiences)
	if err == nil && (k == nil || len(scopes)+len(audiences) > 0) {
		err = because(ErrInvalidGrant, "The person has taken back what was allowed.")
	}
	return err
}

// end ends the grant behind something that was good once and has been presented again:
// nobody can tell which of the two is the thief (RFC 6749 section 4.1.2, RFC 9700 section
// 4.14.2).
func (x *exchange) end(tx Tx, grant, reason string) error {
	g, err := tx.Grant(grant)
	if err != nil {
		return err
	}
	if g != nil {
		if err := endGrant(tx, g, x.client, reason, x.now); err != nil {
			return err
		}
	}
	x.noted = true
	return because(ErrInvalidGrant, "It was used before, so that all that came of it has been ended.")
}

// checkVerifier proves that who presents a code began with it (RFC 7636 section 4.6). A
// verifier for a code without a challenge is refused too: somebody has taken the
// challenge out on its way (RFC 9700 section 4.8.2).
func checkVerifier(challenge, verifier string) error {
	switch {
	case challenge == "" && verifier == "":
		return nil
	case challenge == "":
		return because(ErrInvalidGrant, "There is a code_verifier, and the code was asked for without a code_challenge.")
	case !isVerifier(verifier):
		return because(ErrInvalidGrant, "The code_verifier is missing, or not of 43 to 128 letters, digits and -._~.")
	}
	sum := sha256.Sum256([]byte(verifier))
	if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) != 1 {
		return because(ErrInvalidGrant, "The code_verifier is not that of the code_challenge.")
	}
	return nil
}

// isVerifier reports whether a text can be a code_verifier (RFC 7636 section 4.1).
func isVerifier(text string) bool {
	return len(text) >= 43 && len(text) <= 128 && !strings.ContainsFunc(text, needsEscape)
}

var errRefresh = because(ErrInvalidGrant, "The refresh token is not one of this client's, or no longer good.")

// family returns the grant of the refresh token that is presented.
func (x *exchange) family(tx Tx) (*Grant, error) {
	text := x.f.get("refresh_token")
	if text == "" {
		return nil, because(ErrInvalidRequest, "The parameter refresh_token is missing.")
	}
	var err error
	if x.presented, err = token.Parse(token.Refresh, text); err != nil {
		return nil, errRefresh
	}
	g, err := tx.Grant(gid(x.presented))
	switch {
	case err != nil:
		return nil, err
	// Another client learns nothing, and ends nothing.
	case g == nil || g.Client != x.client.ID || g.Ended != "" || !x.now.Before(g.Expires):
		return nil, errRefresh
	}
	return g, nil
}

// rotate puts the next refresh token in the place of the one that is presented.
func (x *exchange) rotate(tx Tx) error {
	g, err := x.family(tx)
	if err != nil {
		return err
	}
	if err := x.holds(g); err != nil {
		return err
	}
	v, next := x.judge(g, x.presented, x.now)
	switch v {
	case unknown:
		return errRefresh
	case replayed:
		return x.end(tx, g.ID, reasonRefreshReplayed)
	}
	if x.client.FAPI && v == rotates {
		// The profile wants them to stay as they are (section 5.3.2.1): a lost answer must
		// cost nobody his grant, and a thief would need the client's keys as well.
		v, next = repeats, x.presented
	}
	if x.session, x.user, err = behind(tx, g, x.now); err != nil {
		return err
	}
	if err := x.narrow(g, x.f.words("scope")); err != nil {
		return err
	}
	if x.refresh = next; v == rotates {
		if err := tx.RotateGrant(g.ID, g.N, next.Digest(), x.now); err != nil {
			return err
		}
	}
	return x.give(tx, g)
}

// narrow decides what the access token may do: what was allowed, of that what the client
// may ask for still, and of that what it asks for now. The grant stays as wide as it is.
func (x *exchange) narrow(g *Grant, asked []string) (err error) {
	if x.scopes, err = narrowed(g.Scopes, asked); err != nil {
		return err
	}
	x.scopes = within(x.scopes, x.client.Scopes)
	if len(x.scopes) == 0 && len(g.Scopes) > 0 { // a token that names none might be taken for one that may do all
		return ErrInvalidScope
	}
	may := within(g.Asked.Audiences, x.client.Audiences)
	if len(may) == 0 && len(g.Asked.Audiences) > 0 { // and not for the issuer in their place
		return ErrInvalidTarget
	}
	x.audience, err = x.audienceOf(x.client, may, x.f["resource"], slices.Contains(x.scopes, scopeOpenID))
	return err
}

// give notes what the client gets of somebody's grant.
func (x *exchange) give(tx Tx, g *Grant) (err error) {
	if err := used(tx, g, x.now); err != nil {
		return err
	}
	if slices.Contains(x.scopes, scopeOpenID) {
		if err := x.canSign(x.client.signs()); err != nil {
			return err
		}
	}
	x.grant = g
	x.made, err = x.mint(tx, g)
	return err
}

// newID is an id for what has no token that names it.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
