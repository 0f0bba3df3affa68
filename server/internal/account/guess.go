package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/admit-auth/admit"
)

// What guesses at passwords may spend. Only failures spend: what is right, or was
// never tried, is given back.
//
// A Budget of B at once and one each E allows B+T/E in any time T. So all browsers
// together that an account does not know have 9 guesses in any hour and 96 in any
// day; a browser that it knows has 16 and 154 of its own. See reserve for what
// replicas add to the hour.
var (
	accountBudget = Budget{6, 16 * time.Minute}
	deviceBudget  = Budget{10, 10 * time.Minute}
	rightBudget   = Budget{120, 2 * time.Second} // of right passwords: each costs a hash, too

	// Of the networks that one address is in, from the narrowest on, and of
	// everybody. Where the last is spent nobody is refused for that: the others are tight.
	networkBudgets  = []Budget{{50, 6 * time.Second}, {100, 4 * time.Second}, {200, 2 * time.Second}}
	everybodyBudget = Budget{1000, 50 * time.Millisecond}
)

const everybody = "guesses" // the key

// ErrGuesses is told whatever budget is spent, and whether there is such an account
// or not. It stops only passwords.
var ErrGuesses = admit.RateLimited.New("guesses_spent", "There were too many wrong passwords.").
	WithHint("Wait a little. A mailed link, a code or a passkey signs you in at once, and so does the password in a browser that you have used here before.")

// A Pattern is what many wrong passwords have in common.
type Pattern struct {
	Kind     string // Stuffing or Spraying
	Network  string // where it comes from; of a spray, where it was noticed
	Accounts int    // about how many were tried, at least
}

// The kinds of patterns. Their names are events of the audit.
const (
	Stuffing = "stuffing_seen" // many accounts, from one network
	Spraying = "spraying_seen" // many accounts, with one password
)

// A Watch looks for patterns among guesses, in bounded memory. It hears of a
// password no more than a number that only this process can make of it.
type Watch interface {
	// Missed tells of a wrong password, and returns what has just become a pattern.
	Missed(network, account string, password uint64, now time.Time) []Pattern
	// Passed tells of a right one.
	Passed(network, account string, now time.Time)
	// Suspects reports whether a network has lately been part of a pattern.
	Suspects(network string, now time.Time) bool
}

// A Seen is a user who has signed in from a browser, and the password of then.
type Seen struct {
	User string
	Mark int64 // what DeviceMark returned
}

// A guess is a password that is tried, with the budgets that it holds until it is
// known whether it was right.
type guess struct {
	who   try // of the account for strangers, or of a known browser
	key   string
	known bool
	nets  []try // of its networks and of everybody
	right try
	wide  string // the network that patterns are seen in
	kept  bool   // it stands in the database
}

// guessAt takes the budgets of one in memory. It looks at nobody but those who have signed
// in from this browser before: refusals are free and quick, so that the time of
// one would tell who has an account.
func (s *Service) guessAt(ctx context.Context, identifier string, from Origin, now time.Time) (*guess, error) {
	networks := from.networks()
	g := &guess{wide: networks[len(networks)-1]}
	user, err := s.knownHere(ctx, identifier, from)
	if err != nil {
		return nil, err
	}
	if g.known = user != ""; g.known {
		g.who = try{"known:" + from.Device + ":" + user, deviceBudget}
		g.right = try{"right:" + user, rightBudget}
	} else {
		g.who = try{"account:" + identifier, accountBudget}
		g.right = try{"right:" + networks[0] + " " + identifier, rightBudget}
		tight := s.o.Watch != nil && s.o.Watch.Suspects(g.wide, now) ||
			s.o.Limiter.Owed(everybody, now) > time.Duration(everybodyBudget.Burst-1)*everybodyBudget.Every
		for i, network := range networks {
			b := networkBudgets[i]
			if tight {
				// Each miss costs ten. Honest people, who miss once or twice, are not
				// kept out; whoever has used up a tenth of the budget is.
				b = Budget{b.Burst / 10, b.Every * 10}
			}
			g.nets = append(g.nets, try{"network:" + network, b})
		}
	}
	g.key = s.keyOf(g.who.key)
	if err := s.take(append(g.nets[:len(g.nets):len(g.nets)], g.who, g.right), now); err != nil {
		return nil, guessesSpent(err)
	}
	if !g.known && s.o.Limiter.Take(everybody, everybodyBudget, now) == 0 {
		g.nets = append(g.nets, try{everybody, everybodyBudget})
	}
	return g, nil
}

// guessesSpent is one answer for every budget of a guess.
func guessesSpent(err error) error {
	if later, ok := errors.AsType[*admit.RetryError](err); ok {
		return &admit.RetryError{After: later.After, Err: ErrGuesses}
	}
	return err
}

// knownHere returns the user with this identifier who has signed in from this
// browser with the password of now, or "".
func (s *Service) knownHere(ctx context.Context, identifier string, from Origin) (string, error) {
	if from.Device == "" {
		return "", nil
	}
	for _, seen := range from.Known {
		u, err := s.User(ctx, seen.User)
		if err != nil || u.identifier(identifier) == nil {
			continue
		}
		mark, err := s.DeviceMark(ctx, u)
		if err != nil {
			return "", err
		}
		if mark == seen.Mark {
			return u.ID, nil
		}
	}
	return "", nil
}

// DeviceMark names the password of a user, for the cookie of a browser that it has
// signed in from: that is void once the password was changed. It tells nothing of
// the password.
func (s *Service) DeviceMark(ctx context.Context, user *User) (int64, error) {
	if user.proof != "" {
		return user.mark, nil // SignIn has just read it
	}
	var mark int64
	err := s.store.View(ctx, func(tx Tx) error {
		at, err := tx.PasswordChanged(user.ID)
		mark = markOf(at)
		return err
	})
	return mark, err
}

func markOf(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMilli()
}

// keyOf is how the database knows a budget: names of people stand in none.
func (s *Service) keyOf(key string) string {
	mac := hmac.New(sha256.New, s.o.Keys.Derive("guesses"))
	mac.Write([]byte(key))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// spend counts a guess in the database, which outlives the process and which
// replicas share, or says how long to wait.
func (g *guess) spend(tx Tx, now time.Time) (wait time.Duration, err error) {
	full, err := tx.Owed(g.key)
	if err != nil {
		return 0, err
	}
	next, wait := g.who.Next(full, now)
	if wait > 0 {
		return wait, nil
	}
	return 0, tx.Owe(g.key, next)
}

// look refuses a guess that the database has no budget for. The budget in memory
// stays spent, so that the next one is refused there.
func (s *Service) look(tx Tx, g *guess, now time.Time) (full time.Time, err error) {
	if full, err = tx.Owed(g.key); err != nil {
		return full, err
	}
	if _, wait := g.who.Next(full, now); wait > 0 {
		return full, &admit.RetryError{After: wait, Err: ErrGuesses}
	}
	return full, nil
}

// reserve counts a guess before the hash where others may be guessing beside it:
// replicas could each allow what all of them may. Where nobody has missed of late
// and no other guess is under way in this process, it does not, and an honest
// sign-in writes nothing. So each replica may let one through beside the others, which
// missed counts all the same and the next hour pays for: four replicas together stay at
// ten an hour.
func (s *Service) reserve(ctx context.Context, g *guess, full, now time.Time) error {
	if !s.o.Shared || !full.After(now) && s.o.Limiter.Owed(g.who.key, now) <= g.who.Every {
		return nil
	}
	var wait time.Duration
	err := s.store.Update(context.WithoutCancel(ctx), func(tx Tx) (err error) {
		wait, err = g.spend(tx, now)
		return err
	})
	if err == nil && wait > 0 {
		err = &admit.RetryError{After: wait, Err: ErrGuesses}
	}
	g.kept = err == nil
	return err
}

// release gives back what a guess holds that was none. It reports what went wrong, and
// then a try is spent that should not be.
func (s *Service) release(ctx context.Context, g *guess, right bool, now time.Time) error {
	s.refund(append(g.nets, g.who))
	if !right {
		s.refund([]try{g.right})
	}
	if !g.kept {
		return nil
	}
	g.kept = false
	return s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		full, err := tx.Owed(g.key)
		if err != nil || !full.After(now) {
			return err
		}
		return tx.Owe(g.key, full.Add(-g.who.Every))
	})
}

// missed counts a wrong password and keeps it in the audit, in one transaction. If
// that fails the budgets in memory stay spent: a full disk makes no guess free.
func (s *Service) missed(ctx context.Context, g *guess, user *User, identifier string, pw admit.Secret, from Origin, now time.Time) error {
	s.refund([]try{g.right})
	var seen []Pattern
	if s.o.Watch != nil && !g.known {
		seen = s.o.Watch.Missed(g.wide, identifier, s.digest(pw), now)
	}
	for _, p := range seen {
		s.o.Alarm(p)
	}
	return s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		if !g.kept {
			full, err := tx.Owed(g.key)
			if err != nil {
				return err
			}
			next, _ := g.who.Next(full, now) // also where others have spent it meanwhile
			if err := tx.Owe(g.key, next); err != nil {
				return err
			}
		}
		for _, p := range seen {
			r := &Record{At: now, Event: p.Kind, Detail: fmt.Sprintf("%d accounts or more", p.Accounts), Address: p.Network}
			if err := tx.Record(r); err != nil {
				return err
			}
		}
		return tx.Record(from.mark(&Record{At: now, Subject: idOf(user), Event: "sign_in_refused"}))
	})
}

// digest is the number that a password is to the Watch: under a key that this
// process made and keeps nowhere else, and too short to tell two passwords apart
// for sure.
func (s *Service) digest(pw admit.Secret) uint64 {
	mac := hmac.New(sha256.New, s.sprays)
	mac.Write([]byte(pw.Reveal())) // of which nothing is kept but the number
	return binary.BigEndian.Uint64(mac.Sum(nil))
}

// SweepGuesses forgets up to limit budgets that are whole, and reports whether there
// may be more.
func (s *Service) SweepGuesses(ctx context.Context, now time.Time) (more bool, err error) {
	const step = 500
	err = s.store.Update(ctx, func(tx Tx) error {
		n, err := tx.SweepOwed(now, step)
		more = n == step
		return err
	})
	return more, err
}

// networks are those that an address is in, from the narrowest to the widest that one
// customer of a provider may have: of IPv4 /32 and /24, of IPv6 /64, /56 and /48.
func (o Origin) networks() []string {
	a, err := netip.ParseAddr(o.Address)
	if err != nil {
		return []string{o.Address}
	}
	a = a.Unmap().WithZone("")
	bits := []int{64, 56, 48}
	if a.Is4() {
		bits = []int{32, 24}
	}
	all := make([]string, len(bits))
	for i, n := range bits {
		p, _ := a.Prefix(n) // n is in range
		all[i] = p.String()
	}
	return all
}
