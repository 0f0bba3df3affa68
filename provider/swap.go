package provider

import (
	"errors"
	"slices"
	"time"

	"github.com/admit-auth/admit/access"
)

// accessTokenType is what is exchanged, and what for (RFC 8693 section 3). An ID token
// says to its client who somebody is, and a refresh token is its client's alone: for
// either to become access would be a confusion that nobody asks for.
const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

// maxActors bounds how often a token may be handed on.
const maxActors = 5

// errSubject is what a subject_token is refused for, whatever is wrong with it: who
// tries tokens learns nothing.
var errSubject = because(ErrInvalidRequest, "The subject_token is no access token that counts and is for this client.")

// A swap is an exchange that may be made: a token for a service, with which it asks
// another one on behalf of the person (RFC 8693).
//
// What it gives is never more than what was shown. A service hands on what was sent to
// it, and no client what it was sent to others with; it is for one resource, of those
// that the service is registered for; the scopes are in both, and in what is asked for;
// it expires not after what was shown, and is of the same grant, so that it ends with
// that and with the session. It says through whom it came: nobody becomes the person.
type swap struct {
	*live
	scopes, audience []string
	until            time.Time
}

// swap looks what comes of the exchange that is asked for.
func (x *exchange) swap(tx Tx) (*swap, error) {
	f := x.f
	switch {
	case x.client.Auth == NoAuth: // anybody can say that he is that client
		return nil, because(ErrUnauthorizedClient, "A client that cannot prove itself exchanges nothing.")
	case f.get("subject_token") == "":
		return nil, because(ErrInvalidRequest, "The parameter subject_token is missing.")
	case f.get("subject_token_type") != accessTokenType:
		return nil, because(ErrInvalidRequest, "The subject_token_type is not "+accessTokenType+".")
	case f.get("requested_token_type") != "" && f.get("requested_token_type") != accessTokenType:
		return nil, because(ErrInvalidRequest, "The requested_token_type is not "+accessTokenType+".")
	}
	l, err := x.behindToken(tx, f.get("subject_token"), errSubject)
	switch {
	case err != nil:
		return nil, err
	case l.user == nil || !x.client.is(l.Audience):
		return nil, errSubject
	case l.JKT != "":
		return nil, because(ErrInvalidRequest, "The subject_token is bound to a key that is not this client's.")
	case len(l.Actors) >= maxActors:
		return nil, because(ErrInvalidRequest, "The subject_token was handed on too often already.")
	}
	s := &swap{live: l, until: l.Expires}
	if err := x.checkActor(tx, s); err != nil {
		return nil, err
	}
	if s.audience, err = x.target(); err != nil {
		return nil, err
	}
	// Userinfo and refreshing are between the person and the client that was let in.
	may := without(within(l.Scopes, x.client.Scopes), []string{scopeOpenID, scopeOffline})
	if len(may) == 0 { // a token that names none might be taken for one that may do all
		return nil, because(ErrInvalidScope, "There is no scope that the subject_token has and this client may ask for.")
	}
	s.scopes, err = narrowed(may, f.words("scope"))
	return s, err
}

// behindToken returns what an access token stands on, or the refusal of one that does not
// count: of every class but access tokens too.
func (x *exchange) behindToken(tx Tx, text string, refusal error) (*live, error) {
	b, err := x.parseBearer(x.asks, text, x.now)
	var l *live
	if err == nil {
		l, err = b.find(tx, x.now)
	}
	if errors.Is(err, ErrInvalidToken) {
		err = refusal
	}
	return l, err
}

// checkActor looks at who is said to act. That is the client that asks, whether it says so
// or not: a token of its own may prove it once more. Nobody acts in another one's name.
func (x *exchange) checkActor(tx Tx, s *swap) error {
	text, typ := x.f.get("actor_token"), x.f.get("actor_token_type")
	refusal := because(ErrInvalidRequest, "The actor_token is no access token of this client's own.")
	switch {
	case text == "" && typ == "":
		return nil
	case text == "" || typ != accessTokenType:
		return because(ErrInvalidRequest, "There is an actor_token of the type "+accessTokenType+", or nothing about one.")
	}
	l, err := x.behindToken(tx, text, refusal)
	switch {
	case err != nil:
		return err
	case l.user != nil || l.Client != x.client.ID || l.JKT != "":
		return refusal
	case l.Expires.Before(s.until):
		s.until = l.Expires
	}
	return nil
}

// target returns the one resource that is asked for, by either name that it has in RFC
// 8693. A token for two could be presented by one of them at the other.
func (x *exchange) target() ([]string, error) {
	asked := slices.Concat(x.f["resource"], x.f["audience"])
	slices.Sort(asked)
	asked = slices.Compact(asked)
	if len(asked) == 0 {
		asked = x.client.Audiences
	}
	switch {
	case len(asked) != 1:
		return nil, because(ErrInvalidTarget, "A token is for one resource: name it with resource or audience.")
	case !slices.Contains(x.client.Audiences, asked[0]):
		return nil, ErrInvalidTarget
	}
	return asked, nil
}

// trade gives what comes of an exchange.
func (x *exchange) trade(tx Tx) error {
	s, err := x.swap(tx)
	if err != nil {
		return err
	}
	if err := used(tx, s.grant, x.now); err != nil {
		return err
	}
	x.actors = append([]string{x.client.ID}, s.through()...)
	x.user, x.scopes, x.audience, x.foreign = s.user, s.scopes, s.audience, s.foreign
	// It is of the grant, and ends before it.
	g := *s.grant
	g.Expires = s.until
	x.grant = &g
	x.made, err = x.mint(tx, &g)
	return err
}

// through returns the clients that a token came through, the last one first.
func (t *Token) through() []string {
	if len(t.Actors) == 0 {
		return []string{t.Client}
	}
	return t.Actors
}

// actor is how a token tells of them (RFC 8693 section 4.1).
func actor(clients []string) *access.Actor {
	if len(clients) == 0 {
		return nil
	}
	return &access.Actor{Subject: clients[0], Act: actor(clients[1:])}
}

// actorsOf reads it.
func actorsOf(a *access.Actor) (clients []string) {
	for ; a != nil; a = a.Act {
		clients = append(clients, a.Subject)
	}
	return clients
}
