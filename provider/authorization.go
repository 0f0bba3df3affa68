package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// An Authorization is a request at the authorization endpoint that was found good, and
// waits for somebody.
type Authorization struct {
	Client  *Client
	Session *Session // nil where nobody is signed in
	Asked   Asked
	// Scopes are what the person is asked for: those of Asked, and those whose claims
	// are asked for one by one.
	Scopes []string
	// New are those of them that this client has not been allowed yet, and NewAudiences
	// the resources.
	New, NewAudiences []string
	// Why a sign-in is asked for where there is a session.
	Why Reason
	// LoginHint is what the client believes that the person signs in with.
	LoginHint string
	ACRValues []string
	Locales   []string // ui_locales

	endpoint, flow string
}

// Decision is what somebody has said to what is asked for.
type Decision string

// The decisions.
const (
	Undecided Decision = ""
	Allow     Decision = "allow"
	Deny      Decision = "deny"
)

// Reason is why a sign-in is asked for.
type Reason string

// The reasons.
const (
	Nobody   Reason = ""       // nobody is signed in
	Again    Reason = "login"  // prompt=login, or the proof is older than max_age
	Stronger Reason = "acr"    // a stronger proof is asked for
	Another  Reason = "select" // prompt=select_account, or id_token_hint is of another
)

// Flow is the request, sealed and bound to the session: for the form of a consent page.
func (a *Authorization) Flow() string { return a.flow }

// Endpoint is the path that the form of a consent page posts to.
func (a *Authorization) Endpoint() string { return a.endpoint }

// Resume is where the browser goes on after a sign-in: a path of the issuer's host.
// It is good for an hour, and for nothing but this request.
func (a *Authorization) Resume() string { return a.endpoint + "?flow=" + a.flow }

// A Waiting is a client whose request waits while somebody signs in.
type Waiting struct {
	Client      *Client
	RedirectURI string // where it is answered: all that is true of a client that is Unverified
}

// Waiting returns who waits at an address that Resume gave, so that each page of a sign-in
// can say for whom it is: nil where that is no such address, was made by somebody else, is
// too old, or was answered already and is good once. It writes nothing.
//
// Whoever makes a client's own request gets an address that names that client, and may send
// it to anybody, as he may the request. Nothing else makes a page name it.
func (p *Provider) Waiting(ctx context.Context, resume string) (*Waiting, error) {
	sealed, ok := strings.CutPrefix(resume, p.base+"/authorize?flow=")
	if !ok {
		return nil, nil
	}
	q, err := p.open(sealed, p.now())
	if err != nil {
		return nil, nil
	}
	var w *Waiting
	err = p.o.Store.View(ctx, func(tx Tx) (err error) {
		w, err = p.waiting(tx, *q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load who waits: %w", err)
	}
	return w, nil
}

func (p *Provider) waiting(tx Tx, q request) (*Waiting, error) {
	if q.Pushed != "" {
		row, err := tx.Pushed(q.Pushed)
		if err != nil || row == nil {
			return nil, err
		}
		if q.form, err = parseForm(row.Query); err != nil {
			return nil, nil
		}
	}
	if q.Once != "" {
		q.once = onceOf(q.flow)
	}
	c, err := tx.Client(q.get("client_id"))
	if err != nil || c == nil || c.Disabled {
		return nil, err
	}
	if q.get("request") != "" && !q.reread(c) {
		return nil, nil
	}
	if q.once.id != "" {
		if spent, err := tx.Spent(q.once.purpose, q.once.id); err != nil || spent {
			return nil, err
		}
	}
	to, err := p.destinationOf(c, &q)
	if err != nil { // the client is not what it was
		return nil, nil
	}
	return &Waiting{Client: c, RedirectURI: to.uri}, nil
}

// A ClaimsRequest is the parameter "claims" (OpenID Connect Core section 5.5).
type ClaimsRequest struct {
	UserInfo map[string]*ClaimWish `json:"userinfo,omitempty"`
	IDToken  map[string]*ClaimWish `json:"id_token,omitempty"`
}

// A ClaimWish is what is asked of one claim; a nil one asks for it in the default manner.
type ClaimWish struct {
	Essential bool              `json:"essential,omitempty"`
	Value     json.RawMessage   `json:"value,omitempty"`
	Values    []json.RawMessage `json:"values,omitempty"`
}
