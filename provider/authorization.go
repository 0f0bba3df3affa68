package provider

import "encoding/json"

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
