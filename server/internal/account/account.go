// Package account decides who may sign in, and keeps what is known about
// people.
//
// It is the core of the server: it knows neither HTTP nor SQL. The edge (web,
// cli) hands it facts as arguments; a [Store] keeps its rows; a [Limiter]
// counts tries. Most callers want [Service.SignIn] and [Service.SignUp].
package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/trace"
)

// What the service refuses. Strangers may read every sentence.
var (
	ErrBadCredentials = admit.Unauthenticated.New("bad_credentials", "The name or the password is wrong.")
	ErrBadPassword    = admit.Forbidden.New("bad_password", "The current password is wrong.")
	ErrBadCode        = admit.Unauthenticated.New("bad_code", "This code is wrong.").WithHint("Look at the latest message, and type all the digits in it.")
	ErrFlowEnded      = admit.Unauthenticated.New("flow_ended", "This code or link is no longer good.").WithHint("Begin again: what was sent is good once, for a few minutes and five tries.")
	ErrChanged        = admit.Conflict.New("password_changed", "The password was changed meanwhile.")
	ErrTaken          = admit.Conflict.New("identifier_taken", "This name is taken.").WithHint("Choose another one, or sign in.")
	ErrMail           = admit.Unavailable.New("mail_unavailable", "Mail cannot be sent from here yet.").WithHint("Sign up with a user name.")
	ErrPhone          = admit.Invalid.New("identifier_unsupported", "Phone numbers cannot be used here yet.").WithHint("Use a user name.")
	ErrPhoneMalformed = admit.Invalid.New("phone_malformed", "There is no such phone number.").WithHint("Write it with a plus and the country's code, such as +49 30 1234567.")
	ErrIdentifier     = admit.Invalid.New("identifier_malformed", "This is no e-mail address, no phone number and no user name.").WithHint("A user name has 2 to 64 letters, digits, dots, dashes or underscores. A phone number begins with a plus and the country's code.")
	ErrNameTooLong    = admit.Invalid.New("name_too_long", "A name may have 200 characters at most.")
	ErrTooMany        = admit.RateLimited.New("too_many_tries", "Too many tries.").WithHint("Wait a little, then try again.")
	ErrUnknownUser    = admit.NotFound.New("unknown_user", "There is no such user.")
	ErrDisabled       = admit.Forbidden.New("user_disabled", "This user is disabled.")
	ErrID             = admit.Invalid.New("id_malformed", "An id has up to 64 letters, digits, dashes or underscores.")
	ErrRole           = admit.Invalid.New("role_malformed", "A role has 1 to 64 small letters, digits, dashes or underscores.")
)

// A User is a person with an account. A *User that the service returns is
// shared: it must not be changed.
type User struct {
	ID          string
	Name        string
	Locale      string
	Disabled    bool
	MustChange  bool // the password, before anything else
	CreatedAt   time.Time
	Identifiers []Identifier
	Roles       []string

	proof string // the hash that SignIn verified
	mark  int64  // of the password then; see DeviceMark

	// What ConfirmSignIn looks at again.
	epoch   uint64 // before the proof was taken, 0 where there was none
	passkey string // that signed in, ""
}

// newID returns an id for a user: 130 random bits, in small letters and digits.
func newID() string { return strings.ToLower(rand.Text()) }

// HasRole reports whether the user was granted the role.
func (u *User) HasRole(role string) bool { return slices.Contains(u.Roles, role) }

// clone returns a copy that may be changed.
func (u *User) clone() *User {
	c := *u
	c.Identifiers = slices.Clone(u.Identifiers)
	c.Roles = slices.Clone(u.Roles)
	return &c
}

func (u *User) identifier(value string) *Identifier {
	i := slices.IndexFunc(u.Identifiers, func(id Identifier) bool { return id.Value == value })
	if i < 0 {
		return nil
	}
	return &u.Identifiers[i]
}

// An Origin is where a request comes from, as the edge saw it.
type Origin struct {
	Address   string // of the client, without the port
	UserAgent string
	Browser   string // what the user agent is called, such as "Firefox on Linux"
	RequestID string
	Locale    string // "en" or "zh-CN"
	Device    string // id of a browser that was seen before, "" if none
	Known     []Seen // users who signed in from that browser
}

// Options of a Service.
type Options struct {
	Passwords *password.Hasher
	Policy    password.Policy
	Limiter   Limiter
	Keys      *cookie.Keys // seal what waits in the database, and derive codes
	CanMail   bool
	CanText   bool              // text messages, to phone numbers
	Letters   *Letters          // templates of messages; nil for ours
	PublicURL string            // without a slash at the end
	Signing   Signing           // access tokens
	Audiences []string          // of access tokens; nil for PublicURL
	Observer  Observer          // may be nil
	Tracer    trace.Tracer      // may be nil
	Copies    Copies            // may be nil
	Watch     Watch             // may be nil
	Alarm     func(Pattern)     // is told what Watch has seen; may be nil
	Texts     TextBudget        // what texts may cost
	NoText    func(TextRefusal) // is told what was refused; may be nil
	Shared    bool              // other processes sign in over the same store
	Current   func() bool       // whether rows in memory are good, where others write too; nil: always

	FactorLossDelay time.Duration // before lost factors can be removed; 0 for three days

	Authenticators Authenticators // check passkeys; nil where there can be none

	// Ensure sees to it that there are keys of an algorithm that a client asks for; nil
	// where there are of ES256 alone.
	Ensure func(ctx context.Context, alg jose.Algorithm, now time.Time) error
}

// Copies are kept outside of this process.
type Copies interface {
	// Text returns the copy of a record, or what read returns, of which it makes one.
	Text(ctx context.Context, key string, read func(context.Context) (string, error)) (string, error)
}

// A Service is the core. It is safe for use by several goroutines.
type Service struct {
	store   Store
	o       Options
	tokens  *issuer
	lists   statusLists
	users   cache[User]
	apiKeys cache[APIKey]
	keyUse  keyUse
	sprays  []byte        // the key of what Watch hears of passwords
	least   atomic.Int64  // characters of a new password; SetMinPassword changes it
	mail    chan struct{} // wakes Deliver
	mails   mailCounters
	ours    *Letters // templates as we wrote them
	letters atomic.Pointer[Letters]
}

// New returns a service over a store.
func New(store Store, o Options) (*Service, error) {
	if store == nil || o.Passwords == nil || o.Limiter == nil || o.Keys == nil || o.Signing == nil {
		return nil, errors.New("account: a store, passwords, a limiter and keys, for signing too, are needed")
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.Current == nil {
		o.Current = func() bool { return true }
	}
	if o.NoText == nil {
		o.NoText = func(TextRefusal) {}
	}
	if o.Alarm == nil {
		o.Alarm = func(Pattern) {}
	}
	s := &Service{store: store, o: o, mail: make(chan struct{}, 1), sprays: []byte(rand.Text())}
	s.SetMinPassword(o.Policy.MinLength)
	var err error
	if s.ours, err = NewLetters("", nil); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	s.SetLetters(cmp.Or(o.Letters, s.ours))
	if s.tokens, err = newIssuer(o.Signing, o.PublicURL, o.Audiences); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	return s, nil
}

// MinPassword is the fewest characters that a new password may have.
func (s *Service) MinPassword() int { return int(s.least.Load()) }

// SetMinPassword changes it for passwords that are set from now on.
func (s *Service) SetMinPassword(n int) { s.least.Store(int64(max(n, password.MinLength))) }

// CanMail reports whether people can sign up with an e-mail address.
func (s *Service) CanMail() bool { return s.o.CanMail }

// CanText reports whether text messages can be sent to phone numbers.
func (s *Service) CanText() bool { return s.o.CanText }

// User returns the user, from memory where it can, or ErrUnknownUser.
func (s *Service) User(ctx context.Context, id string) (*User, error) {
	if u := s.users.get(id); u != nil && s.o.Current() {
		return u, nil
	}
	filled := s.users.begin()
	var u *User
	err := s.store.View(ctx, func(tx Tx) (err error) {
		u, err = tx.User(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.users.put(id, u, filled)
	return u, nil
}

// update changes rows in one transaction and forgets what is in memory before
// anyone is answered.
func (s *Service) update(ctx context.Context, fn func(Tx) error) error {
	// Whether a cancelled write happened would not be known; the store bounds
	// how long one takes.
	err := s.store.Update(context.WithoutCancel(ctx), fn)
	s.Forget()
	return err
}

// Forget forgets what is in memory: call it where another process has changed it.
func (s *Service) Forget() {
	s.users.clear()
	s.apiKeys.clear()
}

// A cache keeps rows in memory, by their ids. Any write forgets them all: writes
// are rare beside reads, and a cache that cannot be partly wrong is a good one.
type cache[Row any] struct {
	mu   sync.RWMutex
	gen  uint64          // guarded by mu
	rows map[string]*Row // guarded by mu
}

const maxCached = 20_000

func (c *cache[Row]) get(id string) *Row {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.rows[id]
}

func (c *cache[Row]) begin() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.gen
}

func (c *cache[Row]) put(id string, row *Row, gen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gen != c.gen {
		return // written meanwhile
	}
	if c.rows == nil || len(c.rows) >= maxCached {
		c.rows = map[string]*Row{}
	}
	c.rows[id] = row
}

func (c *cache[Row]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	clear(c.rows)
}
