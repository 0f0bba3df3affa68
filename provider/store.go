package provider

import (
	"context"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

// A Store keeps what a provider must not forget. [NewMemory] is one; package
// providertest says whether another is right.
//
// All that belongs together is read or written in one transaction: what a transaction
// has read is still so when it commits, or it runs again. An Update that returns nil
// is durable.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// ErrReadOnly is what AddToken, Place, Tell and Note of a View say where they would have to
// write. Nothing has failed: it is to be done again in an Update. All else that writes fails
// there as the store has it.
var ErrReadOnly = admit.Conflict.New("read_only", "It takes a write.")

// A Tx is a transaction. What it returns is the caller's own, but for what its slices
// and maps hold and for a Client, which are everybody's: nobody writes to them. Where
// nothing is there it returns nil and no error.
type Tx interface {
	Client(id string) (*Client, error)
	// PutClient registers a client, or has one be as it is given. DeleteClient removes one
	// with its consents, codes and grants; it tells nobody.
	PutClient(*Client) error
	DeleteClient(id string) error
	// Invite returns an invite, also one that is used up or has expired, as long as it is
	// known. UseInvite takes one of its uses where there is one and it has not expired, and
	// reports whether.
	Invite(id string) (*Invite, error)
	UseInvite(id string, now time.Time) (bool, error)

	// Session returns a session that lives at a time, and notes nothing.
	Session(sid string, now time.Time) (*Session, error)
	// User returns who may sign in: nobody who was disabled.
	User(subject string) (*User, error)

	Consent(subject, client string) (*Consent, error)
	PutConsent(*Consent) error
	// Consents returns all of a subject, and EndConsent reports whether there was one.
	Consents(subject string) ([]*Consent, error)
	EndConsent(subject, client string) (bool, error)

	// Code is found by its selector. A code that was spent is kept until it would have
	// expired: who presents it again is a thief, or was robbed.
	Code(selector string) (*Code, error)
	AddCode(*Code) error
	// SpendCode notes which grant a code became, and reports whether it was the first to.
	SpendCode(selector, grant string) (first bool, err error)

	// Pushed is a request that was pushed, found by its selector. DropPushed removes it,
	// and reports whether it was there: it is the first.
	Pushed(selector string) (*Pushed, error)
	AddPushed(*Pushed) error
	DropPushed(selector string) (first bool, err error)

	// Device is found by the selector of its device code, and DeviceOf by its user code.
	Device(selector string) (*Device, error)
	DeviceOf(userCode string) (*Device, error)
	AddDevice(*Device) error
	// DecideDevice notes what somebody has decided, and reports whether that was the first
	// decision: another one changes nothing.
	DecideDevice(selector string, d Decision, by *Session) (first bool, err error)
	// SpendDevice is SpendCode, of one that was allowed.
	SpendDevice(selector, grant string) (first bool, err error)
	// SlowDevice notes how long the device must wait between two polls.
	SlowDevice(selector string, interval time.Duration) error

	Grant(id string) (*Grant, error)
	AddGrant(*Grant) error
	// RotateGrant puts the next refresh token in the place of the current one, where
	// the grant is at rotation n still; another outcome makes the transaction run again.
	RotateGrant(id string, n uint64, next token.Digest, now time.Time) error
	// EndGrant ends a grant that lives, and reports whether it did.
	EndGrant(id, reason string, now time.Time) (bool, error)
	// Outlive takes the session from a grant, alive or not: it has ended, and the client
	// was told.
	Outlive(id string) error
	// GrantsOf returns grants of a subject with a client, "" for every one, and GrantsBehind
	// those of a session: that live, or have ended and have their session still. A client
	// that revokes a token has nobody signed out, and is told when somebody does.
	GrantsOf(subject, client string) ([]*Grant, error)
	GrantsBehind(sid string) ([]*Grant, error)

	// Token is an opaque access token of a grant, found by its selector. Those that a client
	// has of its own carry with them what is known of them.
	Token(selector string) (*Token, error)
	AddToken(*Token) error
	EndToken(selector string) error

	// Spend notes that an id was used, until a time, and reports whether it was the
	// first: of client assertions, and what else is good once.
	Spend(purpose, id string, until time.Time) (first bool, err error)
	// Spent reports whether one was.
	Spent(purpose, id string) (bool, error)

	// Deliveries returns those that are due, the longest due first.
	Deliveries(now time.Time, most int) ([]*Delivery, error)
	// PutDelivery adds one, or replaces the one with its id.
	PutDelivery(*Delivery) error
	DropDelivery(id string) error

	// Place gives a JWT a place on a status list, as its claim "status"; nil where
	// there are none. In a View that is one which is there already, or ErrReadOnly.
	Place(subject string, claims *IDs, until time.Time) ([]byte, error)
	// Tell tells whoever verifies tokens elsewhere.
	Tell(feed.Event) error
	// Note keeps an event of importance: who did what.
	Note(Note) error
}

// IDs are what can end a token.
type IDs struct {
	SID, GID, JTI string
	SEV           uint64 // the subject's epoch
	Client        string // that it was given to
}

// A Session is of somebody who is signed in.
type Session struct {
	SID      string // not a secret; clients get one derived from it
	Subject  string
	AuthTime time.Time
	ACR      string
	AMR      []string
	Expires  time.Time
}

// A User is who a token is about.
type User struct {
	Subject string // "sub" where a client asks for no pairwise one; it never changes hands
	Epoch   uint64 // the "sev" of tokens
	Roles   []string
	// Claims are the standard claims of OpenID Connect Core section 5.1, by name, as
	// JSON values: only those that are known.
	Claims map[string]any
}

// A Consent is what somebody has allowed a client.
type Consent struct {
	Subject, Client string
	Scopes          []string
	Audiences       []string
	GivenAt         time.Time
	LastUsed        time.Time
}

// A Code is an authorization code on its way (RFC 6749 section 4.1.2).
type Code struct {
	Selector string
	Digest   token.Digest
	Grant    string // that it has become, "" while it is good
	Expires  time.Time
	Asked    Asked
	Session  Session
}

// Asked is what was asked for, and allowed, at the authorization endpoint.
type Asked struct {
	Client      string
	RedirectURI string // as it was sent
	Scopes      []string
	Audiences   []string // the resource parameters (RFC 8707)
	Challenge   string   // S256 of PKCE (RFC 7636)
	Nonce       string
	Claims      *ClaimsRequest // of what was asked for by name, what the client may have
	JKT         string         // dpop_jkt (RFC 9449 section 10)
	At          time.Time      // when it was asked for first
}

// A Grant is what came of one code, or what a client has of its own: its refresh
// tokens, of which one at a time is good, and every access token.
type Grant struct {
	ID       string // the "gid" of its tokens; no secret
	Client   string
	Subject  string // "" of a client's own
	SID      string // of the session that it was allowed in, "" once that has ended
	Offline  bool   // it outlives that session (offline_access)
	Scopes   []string
	Asked    Asked
	AuthTime time.Time
	ACR      string
	AMR      []string
	BegunAt  time.Time
	Expires  time.Time
	Ended    string // why it has; "" while it lives
	JKT      string // thumbprint of the key that its refresh tokens are bound to

	N         uint64       // rotations
	Current   token.Digest // of the refresh token that is good; zero where there is none
	Previous  token.Digest
	RotatedAt time.Time
}

// A Token is an opaque access token.
type Token struct {
	Selector string
	Digest   token.Digest
	Grant    string // "gid"
	Client   string
	Subject  string
	SID      string // of the session that it ends with, not derived; "" for none
	SEV      uint64
	Scopes   []string
	Audience []string
	JKT      string
	AuthTime time.Time
	ACR      string
	AMR      []string
	Issued   time.Time
	Expires  time.Time
	// Actors are the clients through which an exchange has handed on what it may do, the
	// one that it was given to first, and that which was let in last. None where it was
	// given for a grant itself.
	Actors []string
}

// A Note is an event for the audit.
type Note struct {
	At                      time.Time
	Event                   string // such as "client_authorized"
	Subject, Client, Detail string
}

// Keys sign, and check what was signed.
type Keys interface {
	// Signing returns the key that signs with an algorithm now, nil where there is none.
	// As long as it is the same one, so is the pointer.
	Signing(alg jose.Algorithm) *jose.Key
	jose.KeySource // with every key that has signed what still lives
	// Published is the set of public keys, for /oauth/jwks. What Signing returns is among
	// them, and that before anybody needs it: who verifies keeps copies.
	Published(ctx context.Context) (*jose.KeySet, error)
}

// Secrets are keys that never leave, each derived for a purpose. *cookie.Keys is one. They
// outlive the process, are the same in every replica, and count, after they were replaced,
// for an hour, and for as long as access tokens live where that is longer: what is sealed
// ends with them.
type Secrets interface {
	Derive(purpose string) []byte      // of the key that is used now
	DeriveAll(purpose string) [][]byte // of every key that still counts, that one first
	Seal(dst []byte, name string, value []byte, now time.Time) []byte
	Open(dst []byte, name, sealed string, maxAge time.Duration, now time.Time) (value []byte, old bool, err error)
}
