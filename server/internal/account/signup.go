package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/token"
)

const (
	// flowLife is what NIST SP 800-63B-4, 3.1.3.2, and ASVS 6.5.5 give an out-of-band
	// secret at most. The digits that an opened link shows live no longer.
	flowLife  = 10 * time.Minute
	setupLife = 7 * 24 * time.Hour
	flowTries = 5

	purposeSignUp = "signup"
	purposeSetup  = "setup"

	// RoleAdmin is what the first person who follows the set-up link gets.
	RoleAdmin = "admin"
)

// A SignUp is what a person fills in.
type SignUp struct {
	Identifier string
	Password   admit.Secret
	Name       string
	Setup      string // the token of the set-up link, "" for everybody else
}

// pending is what becomes of a sign-up once the address is proved. It waits
// sealed in the challenge: no user is made before.
type pending struct {
	Hash   string
	Name   string
	Locale string
	Setup  string // id of the set-up challenge, already proved
}

// SignUp begins an account. With a user name it is made at once. With an e-mail
// address or a phone number there is no user yet: a message goes out, and the flow
// it returns is proved with [Service.VerifySignUp]. Whether the address has an
// account is told to its owner only, by that message.
func (s *Service) SignUp(ctx context.Context, in SignUp, from Origin, now time.Time) (user *User, flow string, err error) {
	defer func() { s.o.Observer.SignUp("begin", err) }()
	id, err := ParseIdentifier(in.Identifier)
	if err != nil {
		return nil, "", &admit.FieldError{Field: "identifier", Err: err}
	}
	name, err := cleanName(in.Name)
	if err != nil {
		return nil, "", err
	}
	if err := s.reaches(id.Kind); err != nil {
		return nil, "", &admit.FieldError{Field: "identifier", Err: err}
	}
	var setup string
	if in.Setup != "" {
		link, err := s.PeekLink(ctx, in.Setup, now)
		if err != nil || !link.Setup {
			return nil, "", errors.Join(ErrFlowEnded, err)
		}
		setup = link.ID
	}
	tries := []try{{"signup:" + from.network(), signUpBudget}}
	if channel := id.Kind.Channel(); channel != "" {
		tries = append(tries, try{channel + ":" + id.Value, mailBudget})
	}
	if err := s.take(tries, now); err != nil {
		return nil, "", err
	}
	id.Primary = true
	user = &User{ID: newID(), Name: name, Locale: from.Locale, CreatedAt: now, Identifiers: []Identifier{id}}
	hash, err := s.hash(ctx, "password", in.Password, user, password.Stranger)
	if err != nil {
		s.refund(tries)
		return nil, "", err
	}
	if id.Kind.Channel() != "" {
		flow, err = s.ask(ctx, id, pending{hash, name, from.Locale, setup}, from, now)
		return nil, flow, err
	}
	err = s.update(ctx, func(tx Tx) error {
		if err := s.spendSetup(tx, setup, user, now); err != nil {
			return err
		}
		if err := unmistakable(tx, user); err != nil {
			return err
		}
		if err := tx.PutUser(user); err != nil {
			return err
		}
		if err := tx.SetPasswordHash(user.ID, hash, now); err != nil {
			return err
		}
		return tx.Record(from.mark(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "signed_up", Detail: string(id.Kind)}))
	})
	if errors.Is(err, ErrTaken) {
		err = &admit.FieldError{Field: "identifier", Err: err}
	}
	if err != nil {
		return nil, "", err
	}
	return user, "", nil
}

// ask sends a code and a link, whether the address is taken or not; the owner
// of a taken one is told so instead.
func (s *Service) ask(ctx context.Context, id Identifier, p pending, from Origin, now time.Time) (flow string, err error) {
	asker := token.New(token.OneTime)
	link := asker.WithNewVerifier()
	c, err := s.challenge(asker, link, purposeSignUp, id.Value, p, flowLife, now)
	if err != nil {
		return "", err
	}
	err = s.update(ctx, func(tx Tx) error {
		owner, err := tx.UserByIdentifier(id.Value)
		if err != nil && !errors.Is(err, ErrUnknownUser) {
			return err
		}
		l := letter{
			name: "signup_code", to: id.Value, locale: from.Locale, needs: c,
			Facts: Facts{Code: s.code(c.ID), Link: s.o.PublicURL + "/link/" + link.Reveal()},
		}
		if owner != nil && owner.identifier(id.Value).Verified {
			// The row is written all the same, as work and as answer: its code
			// was sent to nobody.
			l.name, l.Facts = "signup_taken", Facts{Link: s.o.PublicURL + "/signin"}
		}
		if id.Kind == Phone {
			if err := s.takeText(tx, id.Value, from, now); err != nil {
				return err
			}
		}
		// Sign-ups that nobody finished must not pile up.
		if err := tx.DeleteChallenges(purposeSignUp, "", now); err != nil {
			return err
		}
		if err := tx.PutChallenge(c); err != nil {
			return err
		}
		return s.post(tx, l, now)
	})
	if err != nil {
		return "", s.noText(ctx, err, from, now)
	}
	s.wake()
	return asker.Reveal(), nil
}

// code returns the six digits of a challenge.
func (s *Service) code(id string) string { return codeBy(s.o.Keys.Derive("code"), id) }

func codeBy(key []byte, id string) string { return digitsOf(key, id, 6) }

// digitsOf returns n digits of a text's MAC.
func digitsOf(key []byte, text string, n int) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	digits := fmt.Sprintf("%020d", binary.BigEndian.Uint64(mac.Sum(nil)))
	return digits[len(digits)-n:]
}

// isCode reports whether code is what by makes of a challenge with any key of the ring.
func (s *Service) isCode(by func(key []byte, id string) string, id, code string) bool {
	ok := false
	for _, key := range s.o.Keys.DeriveAll("code") {
		ok = same(by(key, id), code) || ok
	}
	return ok
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// VerifySignUp proves the address of a sign-up with the code that was mailed,
// and makes the user. The first proof takes all: what was set before it by
// somebody who never proved the address — password, sessions, other names,
// other sign-ups under way — is gone.
func (s *Service) VerifySignUp(ctx context.Context, flow, code string, from Origin, now time.Time) (*User, error) {
	tok, err := token.Parse(token.OneTime, strings.TrimSpace(flow))
	if err != nil {
		return nil, ErrFlowEnded
	}
	return s.proveSignUp(ctx, tok.Selector(), from, now, s.byCode(codeBy, tok, code))
}

// byCode is the check of who asked and types the code that by makes.
func (s *Service) byCode(by func(key []byte, id string) string, asker token.Token, code string) func(*Challenge) error {
	return func(c *Challenge) error {
		if !asker.Matches(c.Asker) {
			return ErrFlowEnded
		}
		if !s.isCode(by, c.ID, cleanCode(code)) {
			return ErrBadCode
		}
		return nil
	}
}

// VerifyLink is VerifySignUp for the browser that asked and also opened the
// mailed link: it needs both.
func (s *Service) VerifyLink(ctx context.Context, flow, link string, from Origin, now time.Time) (*User, error) {
	id, check, err := byLink(flow, link)
	if err != nil {
		return nil, err
	}
	return s.proveSignUp(ctx, id, from, now, check)
}

// byLink is the check of who asked and opened the mailed link.
func byLink(flow, link string) (id string, check func(*Challenge) error, err error) {
	asker, err := token.Parse(token.OneTime, flow)
	mailed, err2 := token.Parse(token.OneTime, link)
	if err != nil || err2 != nil || asker.Selector() != mailed.Selector() {
		return "", nil, ErrFlowEnded
	}
	return asker.Selector(), func(c *Challenge) error {
		if !asker.Matches(c.Asker) || !mailed.Matches(c.Link) {
			return ErrFlowEnded
		}
		return nil
	}, nil
}

// proveSignUp makes the user of a sign-up.
func (s *Service) proveSignUp(ctx context.Context, id string, from Origin, now time.Time, check func(*Challenge) error) (user *User, err error) {
	var p pending
	err = s.prove(ctx, id, purposeSignUp, &p, from, now, check, func(tx Tx, c *Challenge) (err error) {
		user, err = s.settle(tx, c, p, from, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return user, nil
}

// cleanCode returns a code as it was sent: people copy it with what stands around
// it, and some keyboards write digits in full width.
func cleanCode(code string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c), unicode.Is(unicode.Pd, c), unicode.Is(unicode.Cf, c):
			return -1
		case c >= '０' && c <= '９':
			return c - '０' + '0'
		}
		return c
	}, code)
}

// prove spends a challenge of a purpose: done finds in into what was sealed in it. A
// wrong code is counted and kept; every other refusal changes nothing.
func (s *Service) prove(ctx context.Context, id, purpose string, into any, from Origin, now time.Time, check func(*Challenge) error, done func(Tx, *Challenge) error) error {
	tries := []try{{"prove:" + from.network(), addressBudget}}
	if err := s.take(tries, now); err != nil {
		return err
	}
	open := func(tx Tx) (*Challenge, error) {
		c, err := tx.Challenge(id)
		if err == nil && (c == nil || c.Purpose != purpose || c.Tries <= 0 || !now.Before(c.Expires)) {
			err = ErrFlowEnded
		}
		return c, err
	}
	// A flow that anybody can make up does not make everybody wait for a write.
	err := s.store.View(ctx, func(tx Tx) error {
		_, err := open(tx)
		return err
	})
	if err != nil {
		return err
	}
	var refused error
	err = s.update(ctx, func(tx Tx) error {
		refused = nil
		c, err := open(tx)
		if err != nil {
			return err
		}
		if refused = check(c); errors.Is(refused, ErrBadCode) {
			c.Tries--
			return tx.PutChallenge(c)
		}
		if refused != nil {
			return refused
		}
		if err := s.opened(c, into, now); err != nil {
			return err
		}
		return done(tx, c)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return err
	}
	s.refund(tries)
	return nil
}

// opened reads what was sealed in a challenge.
func (s *Service) opened(c *Challenge, into any, now time.Time) error {
	payload, _, err := s.o.Keys.Open(nil, "challenge "+c.ID, c.Sealed, 0, now)
	if err != nil {
		return fmt.Errorf("open challenge %s: %w", c.ID, errors.Join(ErrFlowEnded, err))
	}
	if err := json.Unmarshal(payload, into); err != nil {
		return fmt.Errorf("decode challenge %s: %w", c.ID, err)
	}
	return nil
}

// settle makes the user whose address was just proved, or takes over an
// account that never proved it.
func (s *Service) settle(tx Tx, c *Challenge, p pending, from Origin, now time.Time) (*User, error) {
	id, err := ParseIdentifier(c.Target)
	if err != nil {
		return nil, fmt.Errorf("settle a sign-up: %w", err)
	}
	id.Verified, id.Primary = true, true
	user, err := tx.UserByIdentifier(c.Target)
	switch {
	case errors.Is(err, ErrUnknownUser):
		user = &User{ID: newID(), CreatedAt: now}
	case err != nil:
		return nil, err
	case user.identifier(c.Target).Verified:
		return nil, ErrFlowEnded // proved by somebody else meanwhile
	default:
		if user, err = s.firstProof(tx, user, c.Target, from, now); err != nil {
			return nil, err
		}
	}
	if id.Kind == Phone {
		if err := s.provedText(tx, id.Value, from, now); err != nil {
			return nil, err
		}
	}
	user.Name, user.Locale, user.Identifiers, user.MustChange = p.Name, p.Locale, []Identifier{id}, false
	if err := s.spendSetup(tx, p.Setup, user, now); err != nil {
		return nil, err
	}
	if err := tx.PutUser(user); err != nil {
		return nil, err
	}
	if err := tx.SetPasswordHash(user.ID, p.Hash, now); err != nil {
		return nil, err
	}
	if err := tx.DeleteChallenge(c.ID); err != nil {
		return nil, err
	}
	if err := tx.DeleteChallenges(purposeSignUp, c.Target, now); err != nil {
		return nil, err
	}
	return user, tx.Record(from.mark(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "signed_up", Detail: string(id.Kind)}))
}

// spendSetup gives the user the administrator's role for a set-up link, once.
func (s *Service) spendSetup(tx Tx, id string, user *User, now time.Time) error {
	if id == "" {
		return nil
	}
	c, err := tx.Challenge(id)
	if err != nil {
		return err
	}
	there, err := tx.RoleHeld(RoleAdmin)
	if err != nil {
		return err
	}
	// A log may hold the link for longer than it is needed: an operator may have
	// made the administrator meanwhile.
	if c == nil || c.Purpose != purposeSetup || !now.Before(c.Expires) || there {
		return ErrFlowEnded
	}
	user.Roles = append(user.Roles, RoleAdmin)
	return tx.DeleteChallenge(id)
}

// A Link is what a mailed or printed link is for.
type Link struct {
	ID     string
	Setup  bool   // it makes the first administrator
	Adds   bool   // it adds an address to an account
	Back   bool   // it is an address's way back
	Lost   bool   // it stops the removal of factors
	Target string // the address that is to be proved, or comes back
	Code   string // to be typed where the sign-up, or the sign-in, was begun

	Recovers bool   // it replaces a forgotten password
	SignsIn  bool   // it signs in
	Asked    Asking // who asked for that
	network  string
}

// PeekLink tells what a link is for and spends nothing: scanners open links.
func (s *Service) PeekLink(ctx context.Context, link string, now time.Time) (Link, error) {
	tok, err := token.Parse(token.OneTime, link)
	if err != nil {
		return Link{}, ErrFlowEnded
	}
	var c *Challenge
	err = s.store.View(ctx, func(tx Tx) (err error) {
		if c, err = tx.Challenge(tok.Selector()); err != nil || c == nil || c.Purpose != purposeSetup {
			return err
		}
		there, err := tx.RoleHeld(RoleAdmin)
		if there {
			c = nil
		}
		return err
	})
	if err != nil {
		return Link{}, err
	}
	if c == nil || !tok.Matches(c.Link) || c.Tries <= 0 || !now.Before(c.Expires) {
		return Link{}, ErrFlowEnded
	}
	l := Link{ID: c.ID, Setup: c.Purpose == purposeSetup, Target: c.Target, Code: s.code(c.ID)}
	if c.Purpose == purposeLost {
		return Link{ID: c.ID, Lost: true}, nil
	}
	if c.Purpose == purposeAdd || c.Purpose == purposeBack {
		l.Adds, l.Back = c.Purpose == purposeAdd, c.Purpose == purposeBack
		l.Target, err = s.addressOf(c, now)
	}
	if c.Purpose == purposeSignIn {
		err = s.peekSignIn(&l, c, now)
	}
	if c.Purpose == purposeRecover {
		l.Recovers = true
		l.Target, err = s.recoveredBy(c, now)
	}
	return l, err
}

// FlowID returns the public id of a flow, for comparing it with a link's.
func FlowID(flow string) string {
	tok, err := token.Parse(token.OneTime, flow)
	if err != nil {
		return ""
	}
	return tok.Selector()
}

// SetupLink returns the token of a new link that makes one administrator, and
// "" where there is one. Those it returned before are void.
func (s *Service) SetupLink(ctx context.Context, now time.Time) (string, error) {
	tok := token.New(token.OneTime)
	c := &Challenge{
		ID: tok.Selector(), Asker: tok.WithNewVerifier().Digest(), Link: tok.Digest(),
		Purpose: purposeSetup, Tries: 1, Expires: now.Add(setupLife),
	}
	there := false
	err := s.update(ctx, func(tx Tx) (err error) {
		if there, err = tx.RoleHeld(RoleAdmin); there || err != nil {
			return err
		}
		if err := tx.DeleteChallenges(purposeSetup, "", now); err != nil {
			return err
		}
		return tx.PutChallenge(c)
	})
	if there || err != nil {
		return "", err
	}
	return tok.Reveal(), nil
}

// cleanName returns a name as it is kept: on one line, without what a terminal
// would obey and what turns the text around that it is shown in. Joiners stay:
// there are names that need them.
func cleanName(name string) (string, error) {
	name = strings.Join(strings.Fields(strings.ToValidUTF8(name, "")), " ")
	name = strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.Is(unicode.Cc, c) || unicode.Is(unicode.Bidi_Control, c) {
			return -1
		}
		return c
	}, name))
	if utf8.RuneCountInString(name) > 200 {
		return "", &admit.FieldError{Field: "name", Err: ErrNameTooLong}
	}
	return name, nil
}
