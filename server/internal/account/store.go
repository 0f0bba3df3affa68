package account

import (
	"context"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

// A Store keeps the rows of accounts.
type Store interface {
	// View runs fn on a state that is consistent in itself.
	View(ctx context.Context, fn func(Tx) error) error
	// Update runs fn in a serializable transaction, which is durable when
	// Update returns nil and undone when fn returns an error. Fn may run more
	// than once; it does nothing slow, for others wait.
	Update(ctx context.Context, fn func(Tx) error) error
	// Auditing returns a context under which the store of sessions keeps r in
	// the transaction of each change of this kind: with the session's id and
	// subject where one begins or ends, and as it is where an epoch is raised.
	Auditing(ctx context.Context, of Change, r *Record) context.Context
	// Scrub returns when what earlier Updates overwrote can be read from no file
	// of the store any more.
	Scrub(ctx context.Context) error
}

// A Change of sessions.
type Change uint8

// The changes.
const (
	SessionBegun Change = iota
	SessionEnded
	EpochRaised
	SessionProved
)

// A Tx is what can be read and written inside a transaction.
type Tx interface {
	Users
	Credentials
	Factors
	Losses
	Challenges
	Clearings
	Audit
	Outbox
	Keyring
	APIKeys
	UserHandles
	Sessions
	Families
	Feed
	Places
	Imports
	Guesses
	Texts
	// Trace is the traceparent of what asks, "" where nobody traces.
	Trace() string
}

// Users are people with their identifiers and roles.
type Users interface {
	// User and UserByIdentifier return a user, or ErrUnknownUser.
	User(id string) (*User, error)
	UserByIdentifier(value string) (*User, error)
	// FindUsers returns up to q.Limit users that q asks for, in the order of
	// their ids.
	FindUsers(q *UserQuery) ([]*User, error)
	// Roles returns the roles that users have, by name, and how many have each.
	Roles() ([]Role, error)
	// PutUser makes a user, its identifiers and its roles be just as given;
	// ErrTaken if an identifier is somebody else's.
	PutUser(u *User) error
	// RoleHeld reports whether any user has the role.
	RoleHeld(role string) (bool, error)
	// RoleHeldBeside reports whether any other user has the role and can sign in.
	RoleHeldBeside(role, user string) (bool, error)
	// DeleteUser removes a user and all that hangs on it.
	DeleteUser(id string) error
	// Erase makes what is left of a user tell nothing of the person: sessions
	// and mail that waits are gone, and records of the audit stand under the
	// pseudonym, without detail, session, address and user agent.
	Erase(id, pseudonym string) error
}

// Credentials are what users prove themselves with, and what proofs have
// begun.
type Credentials interface {
	// PasswordHash returns "" where the user has none; setting "" removes it.
	PasswordHash(user string) (string, error)
	SetPasswordHash(user, hash string, now time.Time) error
	// UpgradePasswordHash replaces one hash of a password by another of the same.
	UpgradePasswordHash(user, old, hash string) error
	// PasswordChanged is when the user's password became what it is, the zero time
	// where there is none.
	PasswordChanged(user string) (time.Time, error)
	// PasswordHashes calls fn for the parameters of every stored hash.
	PasswordHashes(fn func(hash string)) error

	// RaiseEpoch ends every session of the user but the one with the sid except;
	// "" spares none. The feed is told. No device of the user is trusted any more.
	RaiseEpoch(user, except string) error
	// RaiseClaims is called where what tokens say of the user changes, such as its
	// roles: those that are out are refused as stale, and no session ends. The
	// feed is told.
	RaiseClaims(user string, now time.Time) error
	// Epoch is the "sev" of a token that says what else is read in the same
	// transaction. Users who never signed in have one, too, which may be 0 and is not
	// their own: the first session makes that.
	Epoch(user string) (n uint64, own bool, err error)
}

// Sessions are looked at, used and ended together with what hangs on them. What
// they answer for one that does not live is what session.Inspect does.
type Sessions interface {
	Session(sid string, now time.Time) (session.Info, error)
	// UseSession is Session, and notes that the session is in use.
	UseSession(sid string, now time.Time) (session.Info, error)
	// EndSession ends a session, and tells so.
	EndSession(sid, reason string, now time.Time) error
}

// Families are refresh tokens.
type Families interface {
	// Family returns a family, or nil.
	Family(id string) (*Family, error)
	AddFamily(f *Family) error
	// RotateFamily makes what was current the previous one, if the family has
	// rotated n times until now.
	RotateFamily(id string, n uint64, current token.Digest, now time.Time) error
	EndFamily(id, reason string) error
	// SweepFamilies removes up to limit of those that have expired.
	SweepFamilies(now time.Time, limit int) error
}

// Challenges are what has been asked and not yet proved.
type Challenges interface {
	// Challenge returns what has been asked of someone, or nil.
	Challenge(id string) (*Challenge, error)
	PutChallenge(c *Challenge) error
	// ListChallenges returns those of one purpose that concern a target.
	ListChallenges(purpose, target string) ([]*Challenge, error)
	DeleteChallenge(id string) error
	// DeleteChallenges removes all of one purpose that concern a target, and
	// all that have expired.
	DeleteChallenges(purpose, target string, now time.Time) error
}

// Audit is who did what.
type Audit interface {
	// Record adds a record.
	Record(r *Record) error
	// Activity returns up to limit records of a subject, latest first, that are
	// older than the one with the id before; from the latest on where that is 0,
	// and of everybody where subject is "".
	Activity(subject string, before int64, limit int) ([]Record, error)
	// Ending returns the first record of one of these events since the session
	// began that another session, or nobody's, left; nil where there is none.
	Ending(subject, sid string, events []string) (*Record, error)
	// SignedInBefore reports whether a session of a user other than this one is known
	// to have begun.
	SignedInBefore(user, sid string) (bool, error)
	// Records returns up to q.Limit records that q asks for, and where to go on:
	// the zero Mark where there are no more. There may be fewer than q.Limit, or
	// none, and yet more to come: one call looks at a bounded number.
	Records(q *RecordQuery) ([]Record, Mark, error)
	// SweepRecords removes up to limit records from before a time, oldest first.
	// It is the only way that a record goes.
	SweepRecords(before time.Time, limit int) (int, error)
}

// Outbox is the mail and the text messages that wait, in the transaction that
// caused them.
type Outbox interface {
	// Post keeps a message; one about a user, if that is not "", goes when the
	// user is erased.
	Post(user, channel, sealed string, now time.Time) error
	// Posted returns up to limit messages that are due, the new ones first: for
	// those somebody waits.
	Posted(channel string, now time.Time, limit int) ([]Posted, error)
	// Claim makes a message, which is as it was when it was read, due at a later
	// time for all others, and reports whether it is the caller's until then.
	Claim(p Posted, claim string, until time.Time) (bool, error)
	Unpost(Posted) error // not a later one that got its id
	// Postpone ends the claim of a message, if nobody else has claimed it since.
	Postpone(p Posted, until time.Time) error
	// Unclaim ends all claims. It is for who has the database to itself, at start.
	Unclaim(now time.Time) error
}

// Guesses are the budgets of guesses, as they outlive a process and as replicas
// share them.
type Guesses interface {
	// Owed is when the budget with this key is whole; a time in the past, or the
	// zero time, if it is.
	Owed(key string) (time.Time, error)
	Owe(key string, full time.Time) error
	// SweepOwed removes up to limit budgets that are whole.
	SweepOwed(now time.Time, limit int) (int, error)
}

// Feed tells those who accept credentials without asking what has ended.
type Feed interface {
	// Tell keeps events for them in this transaction. Who calls it ends a grant,
	// an API key, a signing key; what ends sessions and raises epochs tells so
	// itself. An event's Until is six minutes after the expiry of the last
	// credential that it can concern: five of leeway that a verifier may grant,
	// and one for its clock.
	Tell(events ...feed.Event) error
}

// ToldFor is how long the ending of a session and a raised epoch are told: an
// access token that was made before lives five minutes at most, and then six.
const ToldFor = 11 * time.Minute

// Keyring is the secrets of the server itself.
type Keyring interface {
	// Keys returns all, those of one purpose together, newest first.
	Keys() ([]Key, error)
	// PutKey adds a key, or changes the state, the end and the secret of the one
	// with its id. There is at most one active key of a purpose.
	PutKey(k Key) error
	// SealedBy counts the messages that wait, and the challenges that are open,
	// whose sealed text begins with head.
	SealedBy(head string, now time.Time) (mail, challenges int, err error)
	// DeleteSealedBy deletes them.
	DeleteSealedBy(head string) error
}

// A Key is a secret of the server as it is kept.
type Key struct {
	ID        string
	Purpose   string // such as "cookies"
	State     KeyState
	CreatedAt time.Time
	NotAfter  time.Time // when a retiring key is of no use any more
	Sealed    string    // nothing in a retired one
}

// A KeyState says what a key is good for.
type KeyState string

// The states, in their order.
const (
	KeyNext     KeyState = "next"     // it is published, and makes nothing yet
	KeyActive   KeyState = "active"   // it makes and it opens
	KeyRetiring KeyState = "retiring" // it opens
	KeyRetired  KeyState = "retired"  // it is gone; its id is known
)

// A Challenge is something that must be proved, such as that mail arrives. What
// is counted or spent once stands here and never in a page.
type Challenge struct {
	ID      string       // public; the selector of its tokens
	Asker   token.Digest // of the token that only the asking browser has
	Link    token.Digest // of the token that is mailed
	Purpose string
	Target  string // the identifier that is to be proved
	Tries   int    // left
	Expires time.Time
	Sealed  string // what becomes of it once it is proved
}

// A Record says who did what, when, from where. It holds no secrets.
type Record struct {
	ID        int64 // in the order of commits; the store gives it
	At        time.Time
	Subject   string // whose account; "" where it is nobody's
	Actor     string // who did it: a user's id, or "operator"
	Event     string // such as "signed_in"
	Detail    string // a code or a name, never a secret
	Reason    string // why, in the words of who did it to somebody else
	SID       string
	Address   string
	UserAgent string
	RequestID string
}

// A Posted is a sealed message that waits for delivery.
type Posted struct {
	ID     int64
	Sealed string
	Tries  int    // that have begun
	Claim  string // "" for nobody's
	At     time.Time
	Due    time.Time
}

// A Limiter counts tries in memory.
type Limiter interface {
	// Take spends one of a budget's tries and returns 0, or how long to wait.
	Take(key string, b Budget, now time.Time) time.Duration
	// Refund gives one back that was no failure after all.
	Refund(key string, b Budget)
	// Owed is how long it takes until the budget is whole.
	Owed(key string, now time.Time) time.Duration
}

// A Budget allows Burst tries at once, and one more each Every.
type Budget struct {
	Burst int
	Every time.Duration
}

// Next returns when a budget that is whole at full will be so after one more try,
// or how long that try must wait: the generic cell rate algorithm (ITU-T I.371).
// After a clock was set back a budget is whole farther ahead than any debt makes it: it
// is spent then but for this one try, which says so by the new clock.
func (b Budget) Next(full, now time.Time) (next time.Time, wait time.Duration) {
	all := time.Duration(b.Burst) * b.Every
	switch {
	case full.Before(now):
		full = now
	case full.Sub(now) > 2*all:
		full = now.Add(all - b.Every)
	}
	next = full.Add(b.Every)
	return next, max(0, next.Sub(now)-all)
}

// The budgets, for each key. Those of guesses stand beside what spends them.
var (
	knownBudget    = Budget{20, 30 * time.Second}
	changeBudget   = Budget{20, 5 * time.Minute} // of the password, by who has a session
	addressBudget  = Budget{50, 6 * time.Second}
	signUpBudget   = Budget{30, 20 * time.Second}
	mailBudget     = Budget{5, 10 * time.Minute}
	addBudget      = Budget{10, 5 * time.Minute}
	guestBudget    = Budget{300, 200 * time.Millisecond}
	handOverBudget = Budget{60, 2 * time.Second}
)
