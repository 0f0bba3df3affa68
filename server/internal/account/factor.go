package account

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

// Second factors: what a user proves itself with beside what it signs in by. The
// gate is [Service.Gate]; a sign-in that it stops goes on with
// [Service.PassFactor].

// What is refused about factors.
var (
	ErrFactor        = admit.Unauthenticated.New("factor_needed", "A second factor is needed.").WithHint("Give a code of your authenticator app, a passkey or a recovery code.")
	ErrBadFactor     = admit.Unauthenticated.New("bad_factor", "This is not right, or was used before.").WithHint("A code of the app is good once: wait for the next one. If none is taken, the clock of the device that shows it may be wrong.")
	ErrWrongFactor   = admit.Forbidden.New("factor_wrong", "This code is wrong, or was used before.").WithHint("A code of the app is good once: wait for the next one. If none is taken, the clock of the device that shows it may be wrong.")
	ErrFactorEnded   = admit.Unauthenticated.New("factor_flow_ended", "This has taken too long, or something was changed meanwhile.").WithHint("Begin again.")
	ErrUnknownFactor = admit.NotFound.New("unknown_factor", "There is no such factor.")
	ErrFactorKind    = admit.Invalid.New("factor_unsupported", "This is not one of your factors.")
)

// A FactorKind is what a factor is.
type FactorKind string

// The kinds.
const (
	TOTP     FactorKind = "totp"
	Passkey  FactorKind = "passkey"
	Recovery FactorKind = "recovery" // the codes, all in one row
	Trusted  FactorKind = "device"   // no proof, but what spares one
)

// A Factor is a credential of a second kind.
type Factor struct {
	ID        string // public: of a passkey its credential id, in base64url
	User      string
	Kind      FactorKind
	Name      string
	CreatedAt time.Time
	LastUsed  time.Time
	ExpiresAt time.Time // of a trusted device; zero: never
	Counter   int64     // what only grows and is compared: the last time step, the count of signatures, how many codes are spent
	Data      string    // what it is checked with; a secret is sealed by [Service.sealFactor]
}

// Factors are second factors as they are kept.
type Factors interface {
	// Factor returns one, or ErrUnknownFactor.
	Factor(id string) (*Factor, error)
	// FactorsOf returns a user's, oldest first.
	FactorsOf(user string) ([]*Factor, error)
	// FactorsSealedBy returns those whose data begins with head.
	FactorsSealedBy(head string) ([]*Factor, error)
	AddFactor(f *Factor) error
	// ChangeFactor keeps the name, the last use, the counter and the data, if the
	// counter is still what it was; of two at once one is told false.
	ChangeFactor(f *Factor, was int64) (bool, error)
	DeleteFactor(id string) error
	DeleteFactors(user string, kinds ...FactorKind) error
	// FactorTries returns when a user's budget of wrong codes is whole again: each
	// known device has its own, and "" is all others together.
	FactorTries(user, device string) (fullAt time.Time, err error)
	PutFactorTries(user, device string, fullAt, now time.Time) error
}

const purposeFactor = "factor" // the second step of a sign-in; the target is the user

// A wrong code burns a try of the user, whatever flow, replica or address it came
// from: who knows the password and guesses codes has 5 at once and one an hour, of
// which each is right with 3 in a million, and the owner is told. Known devices
// have a budget each, which strangers cannot spend. Passkeys and recovery codes
// are too long to be guessed: they stay open to the owner on a new device whose
// other tries a stranger has burnt.
var (
	strangerFactorBudget = Budget{5, time.Hour}
	knownFactorBudget    = Budget{10, 5 * time.Minute}
)

// second reports whether a user with this factor must show one.
func (f *Factor) second() bool { return f.Kind == TOTP || f.Kind == Passkey && f.demanded() }

// A FactorNeeded is the refusal of who has shown one factor where two are needed.
type FactorNeeded struct {
	Flow    string       // what the second step is made with
	Browser string       // what the asking browser keeps besides, "" where none asks
	Factors []FactorKind // what would do
}

// Error returns the sentence of ErrFactor.
func (e *FactorNeeded) Error() string { return ErrFactor.Error() }

// Unwrap returns ErrFactor.
func (e *FactorNeeded) Unwrap() error { return ErrFactor }

// A First is what a sign-in has shown.
type First struct {
	AMR     []string
	Trusts  []string // tokens of the browser that may spare it the second step
	Keep    string   // what the edge wants to know again at the second step
	Browser bool     // a browser asks, which is given a cookie: the flow is good there only
}

// Assurance is what these methods amount to, in one of the words of package admit.
func Assurance(amr ...string) string {
	has := func(method string) bool { return slices.Contains(amr, method) }
	two := has("mfa")
	switch {
	case (has("hwk") || has("swk")) && (two || has("user")):
		return admit.PhishingResistant
	case two:
		return admit.TwoFactors
	}
	return admit.OneFactor
}

// A secondStep is what a flow knows of the first.
type secondStep struct {
	AMR      []string
	At       time.Time
	Keep     string
	Browser  bool
	Standing standing
}

// A standing is what must not have changed between two steps: what an owner, or
// an operator, changes to shut somebody out.
type standing struct {
	Digest string // of the password and the factors
	Epoch  uint64 // 0 where there was none, which the first session makes
}

func standingOf(tx Tx, user *User, factors []*Factor) (st standing, err error) {
	hash, err := tx.PasswordHash(user.ID)
	if err != nil {
		return st, err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %t", hash, user.Disabled)
	for _, f := range factors {
		if f.second() {
			io.WriteString(sum, " "+f.ID)
		}
	}
	st.Digest = hex.EncodeToString(sum.Sum(nil)[:16])
	st.Epoch, err = ownEpoch(tx, user.ID)
	return st, err
}

// ownEpoch is 0 where no session of the user was ever begun.
func ownEpoch(tx Tx, user string) (uint64, error) {
	n, own, err := tx.Epoch(user)
	if !own {
		n = 0
	}
	return n, err
}

// still reports whether nothing has changed since.
func (st standing) still(now standing) bool {
	return st.Digest == now.Digest && (st.Epoch == 0 || st.Epoch == now.Epoch)
}

// kindsOf returns which kinds of factors would do, in the order of the API.
func kindsOf(factors []*Factor, now time.Time) (kinds []FactorKind) {
	for _, kind := range []FactorKind{TOTP, Passkey, Recovery} {
		if slices.ContainsFunc(factors, func(f *Factor) bool { return f.Kind == kind && !f.empty() }) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// Gate is where every session of a user begins: it returns a *FactorNeeded where
// the user has a second factor that was not shown, and the browser is not trusted.
func (s *Service) Gate(ctx context.Context, user *User, first First, from Origin, now time.Time) error {
	if Assurance(first.AMR...) != admit.OneFactor {
		loss, err := s.LossOf(ctx, user.ID)
		if err != nil || loss == nil {
			return err
		}
		return s.update(ctx, func(tx Tx) error { // who has a factor has not lost it
			return s.stopLoss(tx, user.ID, from.mark(&Record{Actor: user.ID, Detail: "factor"}), now)
		})
	}
	var factors []*Factor
	spared := false
	err := s.store.View(ctx, func(tx Tx) (err error) {
		factors, err = tx.FactorsOf(user.ID)
		if err == nil && slices.ContainsFunc(factors, (*Factor).second) {
			spared = trusts(factors, first.Trusts, now)
		}
		return err
	})
	if err != nil || spared || !slices.ContainsFunc(factors, (*Factor).second) {
		return err
	}
	asker := token.New(token.OneTime)
	browser := asker.WithNewVerifier()
	needed := &FactorNeeded{Flow: asker.Reveal(), Factors: kindsOf(factors, now)}
	if first.Browser {
		needed.Browser = browser.Reveal()
	}
	err = s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		is, err := tx.User(user.ID)
		if err != nil {
			return err
		}
		// A password that was changed while it was verified must not get as far as
		// the second step, which does not ask for it again.
		hash, err := tx.PasswordHash(user.ID)
		if err != nil {
			return err
		}
		if is.Disabled || user.proof != "" && hash != user.proof {
			return ErrBadCredentials
		}
		st, err := standingOf(tx, is, factors)
		if err != nil {
			return err
		}
		step := secondStep{AMR: first.AMR, At: now, Keep: first.Keep, Browser: first.Browser, Standing: st}
		c, err := s.challenge(asker, browser, purposeFactor, user.ID, step, flowLife, now)
		if err != nil {
			return err
		}
		if err := tx.DeleteChallenges(purposeFactor, "", now); err != nil { // that have expired
			return err
		}
		if err := tx.PutChallenge(c); err != nil {
			return err
		}
		return tx.Record(from.mark(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "factor_asked", Detail: strings.Join(first.AMR, " ")}))
	})
	if err != nil {
		return err
	}
	return needed
}

// A Passing is a second step under way.
type Passing struct {
	Flow    string
	Browser string // what the asking browser has kept
	Kind    FactorKind
	Code    string // of a TOTP or a recovery code

	// Check judges a passkey, in the transaction that spends the flow, and returns
	// how the user has proved itself; ErrBadFactor burns a try. Nil for codes.
	Check func(tx Tx, user *User, factors []*Factor) (amr []string, err error)
}

// A Passed is a sign-in with both of its steps.
type Passed struct {
	User *User
	AMR  []string
	Keep string // as the first step gave it

	standing standing
}

// openStep returns the flow of a second step with what it knows.
func (s *Service) openStep(tx Tx, flow, browser string, now time.Time) (c *Challenge, step secondStep, err error) {
	asker, err := token.Parse(token.OneTime, strings.TrimSpace(flow))
	if err != nil {
		return nil, step, ErrFactorEnded
	}
	if c, err = tx.Challenge(asker.Selector()); err != nil {
		return nil, step, err
	}
	if c == nil || c.Purpose != purposeFactor || c.Tries <= 0 || !now.Before(c.Expires) || !asker.Matches(c.Asker) {
		return nil, step, ErrFactorEnded
	}
	if err := s.opened(c, &step, now); err != nil {
		return nil, step, errors.Join(ErrFactorEnded, err)
	}
	if step.Browser {
		if kept, err := token.Parse(token.OneTime, browser); err != nil || !kept.Matches(c.Link) {
			return nil, step, ErrFactorEnded // it was begun somewhere else
		}
	}
	return c, step, nil
}

// stepUser returns the user of a second step, if nothing has changed since the
// first.
func stepUser(tx Tx, c *Challenge, step secondStep) (*User, []*Factor, error) {
	user, err := tx.User(c.Target)
	if errors.Is(err, ErrUnknownUser) {
		return nil, nil, ErrFactorEnded
	}
	if err != nil {
		return nil, nil, err
	}
	factors, err := tx.FactorsOf(user.ID)
	if err != nil {
		return nil, nil, err
	}
	st, err := standingOf(tx, user, factors)
	if err == nil && (user.Disabled || !step.Standing.still(st)) {
		err = ErrFactorEnded
	}
	return user, factors, err
}

// PeekFactor returns whose second step a flow is, and what would do; it spends
// nothing.
func (s *Service) PeekFactor(ctx context.Context, flow, browser string, now time.Time) (user *User, factors []*Factor, kinds []FactorKind, err error) {
	err = s.store.View(ctx, func(tx Tx) error {
		c, step, err := s.openStep(tx, flow, browser, now)
		if err != nil {
			return err
		}
		user, factors, err = stepUser(tx, c, step)
		return err
	})
	return user, factors, kindsOf(factors, now), err
}

// PassFactor takes the second step of a sign-in. A wrong code burns a try of the
// flow and one of the user, for whoever has a password begins as many flows as it
// likes.
func (s *Service) PassFactor(ctx context.Context, p Passing, from Origin, now time.Time) (passed *Passed, err error) {
	tries := []try{{"prove:" + from.network(), addressBudget}}
	if err := s.take(tries, now); err != nil {
		return nil, err
	}
	// A flow that anybody can make up does not make everybody wait for a write.
	if _, _, _, err := s.PeekFactor(ctx, p.Flow, p.Browser, now); err != nil {
		return nil, err
	}
	var refused error
	err = s.update(ctx, func(tx Tx) error {
		refused, passed = nil, nil
		c, step, err := s.openStep(tx, p.Flow, p.Browser, now)
		if err != nil {
			return err
		}
		user, factors, err := stepUser(tx, c, step)
		if err != nil {
			return err
		}
		device, err := triesOf(tx, from, user)
		if err != nil {
			return err
		}
		amr, err := s.judge(tx, user, factors, p, device, from, now)
		if errors.Is(err, ErrBadFactor) {
			refused = err
			c.Tries--
			return tx.PutChallenge(c)
		}
		if err != nil {
			return err
		}
		passed = &Passed{User: user, AMR: both(step.AMR, amr), Keep: step.Keep}
		// Not the epoch: a session that is the first for long begins a new one.
		passed.standing.Digest = step.Standing.Digest
		// Who has a factor has not lost it.
		if err := s.stopLoss(tx, user.ID, from.mark(&Record{Actor: user.ID, Detail: "factor"}), now); err != nil {
			return err
		}
		return tx.DeleteChallenge(c.ID)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	s.refund(tries)
	return passed, nil
}

// both joins the methods of two steps, which are two factors.
func both(first, second []string) []string {
	return union(union(slices.Clone(first), second), []string{"mfa"})
}

func union(all, more []string) []string {
	for _, method := range more {
		if !slices.Contains(all, method) {
			all = append(all, method)
		}
	}
	return all
}

// Together joins the methods of a session with those of a proof that came later:
// a second factor beside another method makes two factors. A passkey that was shown
// long ago makes no code of now withstand phishing.
func Together(had, shown []string) []string {
	key := func(method string) bool { return method == "hwk" || method == "swk" || method == "user" }
	had = slices.Clone(had)
	if !slices.ContainsFunc(shown, key) {
		had = slices.DeleteFunc(had, key)
	}
	all := union(had, shown)
	is := func(methods ...string) int {
		return len(slices.DeleteFunc(slices.Clone(all), func(m string) bool { return !slices.Contains(methods, m) }))
	}
	if is("otp", "rc", "hwk", "swk") > 0 && is("pwd", "link", "sms", "otp", "rc", "hwk", "swk") > 1 {
		all = union(all, []string{"mfa"})
	}
	return all
}

// ReauthenticateBy is Reauthenticate with a factor of who is signed in.
func (s *Service) ReauthenticateBy(ctx context.Context, a Asker, p Passing, now time.Time) (amr []string, err error) {
	tries := []try{{"change:" + a.Subject, changeBudget}}
	if err := s.take(tries, now); err != nil {
		return nil, err
	}
	var refused error
	err = s.update(ctx, func(tx Tx) (err error) {
		refused, amr = nil, nil
		user, err := tx.User(a.Subject)
		if err != nil {
			return err
		}
		factors, err := tx.FactorsOf(a.Subject)
		if err != nil {
			return err
		}
		// Who stole a cookie has tries of its session alone.
		amr, err = s.judge(tx, user, factors, p, "session "+a.SID, a.From, now)
		if errors.Is(err, ErrBadFactor) {
			refused, err = &admit.FieldError{Field: "code", Err: ErrWrongFactor}, nil
		}
		return err
	})
	return amr, errors.Join(err, refused)
}

// judge checks one factor of a user. A wrong one is counted and kept, and is
// ErrBadFactor: the caller commits.
func (s *Service) judge(tx Tx, user *User, factors []*Factor, p Passing, device string, from Origin, now time.Time) (amr []string, err error) {
	budget := strangerFactorBudget
	if device != "" {
		budget = knownFactorBudget
	}
	full, err := tx.FactorTries(user.ID, device)
	if err != nil {
		return nil, err
	}
	if p.Kind == TOTP {
		if wait := budget.wait(full, now); wait > 0 {
			return nil, &admit.RetryError{After: wait, Err: ErrTooMany}
		}
	}
	switch {
	case p.Check != nil:
		amr, err = p.Check(tx, user, factors)
	case p.Kind == TOTP:
		amr, err = s.checkTOTP(tx, factors, p.Code, now)
	case p.Kind == Recovery:
		amr, err = s.checkRecovery(tx, user, factors, p.Code, from, now)
	default:
		return nil, &admit.FieldError{Field: "factor", Err: ErrFactorKind}
	}
	if !errors.Is(err, ErrBadFactor) {
		return amr, err
	}
	was := budget.wait(full, now)
	if was == 0 { // or wrong recovery codes without end would close the app for months
		full = budget.spend(full, now)
	}
	if err := tx.PutFactorTries(user.ID, device, full, now); err != nil {
		return nil, err
	}
	if was == 0 && budget.wait(full, now) > 0 && device == "" {
		// Somebody has the password and no factor: the owner must hear of it.
		if err := s.tellProved(tx, Asker{Subject: user.ID, From: from}, user, "factor_guessed", now); err != nil {
			return nil, err
		}
	}
	if e := tx.Record(from.mark(&Record{At: now, Subject: user.ID, Event: "factor_refused", Detail: string(p.Kind)})); e != nil {
		return nil, e
	}
	return nil, err
}

// triesOf is whose tries of the user are burnt.
func triesOf(tx Tx, from Origin, user *User) (device string, err error) {
	if from.Device == "" {
		return "", nil
	}
	at, err := tx.PasswordChanged(user.ID)
	if err == nil && slices.Contains(from.Known, Seen{user.ID, markOf(at)}) {
		device = from.Device
	}
	return device, err
}

// wait returns for how long a budget that is whole again at full is spent.
func (b Budget) wait(full, now time.Time) time.Duration {
	return max(0, max(0, full.Sub(now))-time.Duration(b.Burst-1)*b.Every)
}

// spend returns when it is whole again after one more.
func (b Budget) spend(full, now time.Time) time.Time {
	if full.Before(now) {
		full = now
	}
	return full.Add(b.Every)
}

// ConfirmFactor is Confirm for a sign-in of two steps: it reports, after its
// session was begun, whether what let it in still does.
func (s *Service) ConfirmFactor(ctx context.Context, p *Passed) error {
	return s.store.View(ctx, func(tx Tx) error {
		_, _, err := stepUser(tx, &Challenge{Target: p.User.ID}, secondStep{Standing: p.standing})
		return err
	})
}

// FactorSeal is the name that the secret of a factor is sealed under. It outlives
// every key: who retires one seals it anew.
func FactorSeal(id string) string { return "factor " + id }

// sealFactor seals what a factor is checked with.
func (s *Service) sealFactor(id string, secret []byte, now time.Time) string {
	return string(s.o.Keys.Seal(nil, FactorSeal(id), secret, now))
}

// everyFactor is all that stands in the way of, or spares, a second step.
var everyFactor = []FactorKind{TOTP, Passkey, Recovery, Trusted}

// ResetFactors removes the second factors of a user, for an operator who knows
// that it is the owner who has lost them. All sessions and API keys end, and the
// owner is told.
func (s *Service) ResetFactors(ctx context.Context, id string, by By, now time.Time) error {
	err := s.change(ctx, id, by, "factors_reset", "", true, now, func(tx Tx, user *User) error {
		if err := tx.DeleteFactors(id, everyFactor...); err != nil {
			return err
		}
		if err := s.stopLoss(tx, id, &Record{Actor: by.Actor, Detail: "reset"}, now); err != nil {
			return err
		}
		if err := endAPIKeys(tx, id, "factors_reset", now, everyKey); err != nil {
			return err
		}
		return s.tellProved(tx, Asker{Subject: id, From: by.From}, user, "factors_reset", now)
	})
	if err == nil {
		s.wake()
	}
	return err
}

func (s *Service) openFactor(f *Factor, now time.Time) ([]byte, error) {
	// Sealed ahead of time is refused, and the clock may have been set back since.
	if f.CreatedAt.After(now) {
		now = f.CreatedAt
	}
	secret, _, err := s.o.Keys.Open(nil, FactorSeal(f.ID), f.Data, 0, now)
	if err != nil {
		return nil, fmt.Errorf("open factor %s: %w", f.ID, err)
	}
	return secret, nil
}

// FactorsOf returns a user's factors, oldest first, trusted devices among them.
func (s *Service) FactorsOf(ctx context.Context, user string) (factors []*Factor, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		factors, err = tx.FactorsOf(user)
		return err
	})
	return factors, err
}
