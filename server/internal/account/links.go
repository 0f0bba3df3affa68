package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

// Signing in by what is sent to an identifier: a link with a code, or a code alone.

const (
	purposeSignIn = "signin" // by the identifier that is the target

	maxOpenings = 3 // of one link, elsewhere, that are told of
	reportCost  = 3 // asks that one "not me" takes away from who asked
)

// The budgets of signing in by what is sent. Where a browser is known it has its
// own, so that no stranger keeps the owner from a link.
var (
	askBudget    = Budget{60, 5 * time.Second}                 // asks from one network, or from a browser that is known
	lettersMine  = Budget{5, 10 * time.Minute}                 // to one identifier, asked for from one network
	lettersAll   = Budget{20, 3 * time.Minute}                 // and from all
	reportBudget = Budget{1, flowLife}                         // of one sign-in
	openedBudget = Budget{maxOpenings, flowLife / maxOpenings} // likewise
)

// An asking is what is known of a sign-in that somebody asked for.
type asking struct {
	User    string // "" where there is nobody to sign in: no code was sent
	To      string // the identifier that it was sent to
	Text    bool   // by text message
	Linked  bool   // with a link
	Address string // of who asked
	Agent   string
	Network string
	Key     string // of the budget that the asker asks from
	At      time.Time
}

// An Asking is what somebody who opens a link elsewhere is told of who asked.
type Asking struct {
	Address   string
	UserAgent string
	At        time.Time
	Far       bool // from another network than who opens it
}

// AskSignIn sends what signs in to an identifier: a code, and where mail goes and
// link is set a link as well. The answer, the work and the number of writes are the
// same whether somebody can be signed in so or not, which is told to the owner of
// the identifier only; device is what to call the asker's browser there. It returns
// the flow, for who asks.
func (s *Service) AskSignIn(ctx context.Context, identifier string, link bool, device string, from Origin, now time.Time) (flow string, err error) {
	id, err := ParseIdentifier(identifier)
	if err != nil {
		return "", &admit.FieldError{Field: "identifier", Err: err}
	}
	if err := s.sends(id.Kind); err != nil {
		return "", &admit.FieldError{Field: "identifier", Err: err}
	}
	tries := []try{{"asks:" + from.network(), askBudget}, {"letters:" + from.network() + " " + id.Value, lettersMine}, {"letters:" + id.Value, lettersAll}}
	who, err := s.knownHere(ctx, id.Value, from)
	if err != nil {
		return "", err
	}
	if who != "" {
		of := from.Device + " " + who
		tries = []try{{"asks:" + of, askBudget}, {"letters:" + of, lettersMine}}
	}
	if err := s.take(tries, now); err != nil {
		return "", err
	}
	asker := token.New(token.OneTime)
	mailed := asker.WithNewVerifier()
	err = s.update(ctx, func(tx Tx) error {
		user, to, err := s.reach(tx, id)
		if err != nil {
			return err
		}
		a := asking{
			User: idOf(user), To: to.Value, Text: to.Kind == Phone, Linked: link && to.Kind == Email,
			Address: from.Address, Agent: from.UserAgent, Network: from.network(), Key: tries[0].key, At: now,
		}
		c, err := s.challenge(asker, mailed, purposeSignIn, id.Value, a, flowLife, now)
		if err != nil {
			return err
		}
		if err := s.replace(tx, id.Value, a.Network, now); err != nil {
			return err
		}
		if err := tx.PutChallenge(c); err != nil {
			return err
		}
		if to.Kind == Phone {
			if err := s.takeText(tx, to.Value, from, now); err != nil {
				if id.Kind == Phone || !errors.Is(err, ErrTexts) {
					return err
				}
				user, to = nil, id // a user name whose number may get no text is as one that has none
			}
		}
		if err := s.post(tx, s.signInLetter(user, to, c, mailed, a, device, from.Locale), now); err != nil {
			return err
		}
		return tx.Record(from.mark(&Record{At: now, Subject: a.User, Event: "sign_in_asked"}))
	})
	if err != nil {
		s.refund(tries)
		return "", s.noText(ctx, err, from, now)
	}
	s.wake()
	return asker.Reveal(), nil
}

// signInLetter is what goes out where somebody asks to sign in. Where there is no
// account the owner of an address is told so. A user name without an account has
// no owner, and a text would cost money: a letter to nobody is as much work.
func (s *Service) signInLetter(user *User, to Identifier, c *Challenge, link token.Token, a asking, device, locale string) letter {
	l := letter{
		name: "signin_code", to: to.Value, locale: locale, needs: c,
		Facts: Facts{Code: s.code(c.ID), At: a.At, From: a.Address, Device: device},
	}
	if a.Linked {
		l.Link = s.o.PublicURL + "/link/" + link.Reveal()
	}
	switch {
	case user != nil:
		l.about, l.locale = user.ID, cmp.Or(user.Locale, locale)
	case to.Kind == Email:
		l.name, l.Facts = "signin_nobody", Facts{Link: s.o.PublicURL + "/signup"}
	default:
		l.to = ""
	}
	return l
}

// sends is reaches where a message is the way in: a user name, whose user has an
// address perhaps, needs one as well.
func (s *Service) sends(k Kind) error {
	if k == Username && !s.o.CanText {
		k = Email
	}
	return s.reaches(k)
}

// reach returns the user whom a message to an identifier can let in, nil for nobody,
// and what is written to: for a user name what else was proved.
func (s *Service) reach(tx Tx, id Identifier) (*User, Identifier, error) {
	user, err := tx.UserByIdentifier(id.Value)
	switch {
	case errors.Is(err, ErrUnknownUser) || err == nil && user.Disabled:
		return nil, id, nil
	case err != nil:
		return nil, id, err
	case id.Kind.Channel() != "":
		return user, id, nil
	}
	if to := s.reached(user); len(to) > 0 {
		return user, to[0], nil
	}
	return nil, id, nil
}

// replace ends the codes for a target that were asked for before from the same
// network. Those of others stay: a stranger who asks again and again must not end
// what the owner is about to type.
func (s *Service) replace(tx Tx, target, network string, now time.Time) error {
	if err := tx.DeleteChallenges(purposeSignUp, "", now); err != nil { // and all that have expired
		return err
	}
	old, err := tx.ListChallenges(purposeSignIn, target)
	if err != nil {
		return err
	}
	for _, c := range old {
		a, err := s.asked(c, now)
		if err != nil || a.Network == network {
			if err := tx.DeleteChallenge(c.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// asked returns what is known of a sign-in that was asked for.
func (s *Service) asked(c *Challenge, now time.Time) (a asking, err error) {
	err = s.opened(c, &a, now)
	return a, err
}

// digits are what a link shows that was opened elsewhere. They are not the mailed
// code: who has only read the mail has not opened the link.
func (s *Service) digits(id string) string {
	return digitsBy(s.o.Keys.Derive("code"), id)
}

func digitsBy(key []byte, id string) string {
	for n := 0; ; n++ {
		if d := codeBy(key, fmt.Sprint("digits ", n, " ", id)); d != codeBy(key, id) {
			return d
		}
	}
}

// What signed somebody in, as an authentication method (RFC 8176; "link" is ours).
const (
	byLinkAMR = "link"
	byMailAMR = "otp"
	byTextAMR = "sms"
)

// VerifySignIn signs in who asked and types the code that was sent, or the digits
// that the opened link shows. Wrong ones are counted for this flow, and for the
// identifier across all flows: asking again gives no new tries. The link stays good
// where that budget is spent. It returns how the user proved itself, too.
func (s *Service) VerifySignIn(ctx context.Context, flow, code string, from Origin, now time.Time) (user *User, amr string, err error) {
	tok, err := token.Parse(token.OneTime, strings.TrimSpace(flow))
	if err != nil {
		return nil, "", ErrFlowEnded
	}
	c, err := s.signInBehind(ctx, tok, now)
	if err != nil {
		return nil, "", err
	}
	a, err := s.asked(c, now)
	if err != nil {
		return nil, "", err
	}
	g, err := s.codeGuess(ctx, c.Target, from)
	if err != nil {
		return nil, "", err
	}
	if err := s.take([]try{g.who}, now); err != nil {
		return nil, "", err
	}
	err = s.store.View(ctx, func(tx Tx) error {
		_, err := s.look(tx, g, now)
		return err
	})
	if later, ok := errors.AsType[*admit.RetryError](err); ok {
		return nil, "", &admit.RetryError{After: later.After, Err: ErrTooMany}
	}
	if err != nil {
		return nil, "", err
	}
	code = cleanCode(code)
	user, err = s.proveSignIn(ctx, tok.Selector(), from, now, func(c *Challenge) error {
		amr = byMailAMR
		if a.Text {
			amr = byTextAMR
		}
		shown := a.Linked && s.isCode(digitsBy, c.ID, code)
		if shown {
			amr = byLinkAMR
		}
		if !tok.Matches(c.Asker) {
			return ErrFlowEnded
		}
		if sent := s.isCode(codeBy, c.ID, code); a.User == "" || !sent && !shown {
			return ErrBadCode
		}
		return nil
	})
	if errors.Is(err, ErrBadCode) {
		return nil, "", errors.Join(err, s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
			if _, err := g.spend(tx, now); err != nil {
				return err
			}
			return tx.Record(from.mark(&Record{At: now, Subject: a.User, Event: "code_refused"}))
		}))
	}
	s.refund([]try{g.who})
	return user, amr, err
}

// codeGuess is the budget of wrong codes for an identifier: as of wrong passwords, in
// memory and in the database, which replicas share. A browser that is known has one
// of its own.
func (s *Service) codeGuess(ctx context.Context, target string, from Origin) (*guess, error) {
	who, err := s.knownHere(ctx, target, from)
	g := &guess{who: try{"codes:" + target, accountBudget}, known: who != ""}
	if g.known {
		g.who = try{"codes of:" + from.Device + ":" + who, deviceBudget}
	}
	g.key = s.keyOf(g.who.key)
	return g, err
}

// signInBehind returns the sign-in that who has this token asked for.
func (s *Service) signInBehind(ctx context.Context, asker token.Token, now time.Time) (c *Challenge, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		c, err = tx.Challenge(asker.Selector())
		return err
	})
	if err == nil && (c == nil || c.Purpose != purposeSignIn || c.Tries <= 0 || !now.Before(c.Expires) || !asker.Matches(c.Asker)) {
		return nil, ErrFlowEnded
	}
	return c, err
}

// VerifySignInLink is VerifySignIn for the browser that asked and also opened the
// mailed link: it needs both.
func (s *Service) VerifySignInLink(ctx context.Context, flow, link string, from Origin, now time.Time) (user *User, amr string, err error) {
	id, check, err := byLink(flow, link)
	if err != nil {
		return nil, "", err
	}
	user, err = s.proveSignIn(ctx, id, from, now, check)
	return user, byLinkAMR, err
}

func (s *Service) proveSignIn(ctx context.Context, id string, from Origin, now time.Time, check func(*Challenge) error) (user *User, err error) {
	defer func() { s.o.Observer.SignIn(err) }()
	var a asking
	err = s.prove(ctx, id, purposeSignIn, &a, from, now, check, func(tx Tx, c *Challenge) (err error) {
		if user, err = s.arrive(tx, a, from, now); err != nil {
			return err
		}
		if user.epoch, err = ownEpoch(tx, user.ID); err != nil {
			return err
		}
		if a.Text {
			if err := s.provedText(tx, a.To, from, now); err != nil {
				return err
			}
		}
		return tx.DeleteChallenge(c.ID)
	})
	if err != nil {
		return nil, err
	}
	return user, nil
}

// arrive returns the user who has just proved the identifier that was written to.
// The first proof takes all: what was set before it, by somebody who never proved
// it, is gone. Where that somebody has proved another one, only the identifier
// goes: accounts are never merged.
func (s *Service) arrive(tx Tx, a asking, from Origin, now time.Time) (*User, error) {
	user, err := tx.User(a.User)
	if errors.Is(err, ErrUnknownUser) {
		return nil, ErrFlowEnded
	}
	if err != nil {
		return nil, err
	}
	id := user.identifier(a.To)
	switch {
	case user.Disabled || id == nil: // since it was asked for
		return nil, ErrFlowEnded
	case id.Verified:
		return user, nil
	}
	if user, err = s.firstProof(tx, user, a.To, from, now); err != nil {
		return nil, err
	}
	return user, tx.PutUser(user)
}

// ConfirmSignIn is Confirm for a link, a code or a passkey: it reports, after a
// session was begun for a user, whether the user may still sign in so. In between an
// operator may have disabled it, or its owner have removed the passkey or ended
// every session.
func (s *Service) ConfirmSignIn(ctx context.Context, user *User) error {
	overtaken := ErrFlowEnded
	if user.passkey != "" {
		overtaken = ErrPasskeyRefused
	}
	return s.store.View(ctx, func(tx Tx) error {
		is, err := tx.User(user.ID)
		if errors.Is(err, ErrUnknownUser) || err == nil && is.Disabled {
			return overtaken
		}
		if err == nil && user.passkey != "" {
			_, err = theirs(tx, user.passkey, nil, user.ID)
		}
		if err != nil {
			return err
		}
		epoch, err := ownEpoch(tx, user.ID)
		if err == nil && user.epoch != 0 && epoch != user.epoch {
			err = overtaken
		}
		return err
	})
}

// SignInFlow returns until when a sign-in waits for its proof, to who asked for it.
// Whether the link was opened is not told: who lures the owner would be glad to
// know, and only of somebody who has an account a link is opened.
func (s *Service) SignInFlow(ctx context.Context, flow string, now time.Time) (until time.Time, err error) {
	tok, err := token.Parse(token.OneTime, flow)
	if err != nil {
		return until, ErrFlowEnded
	}
	c, err := s.signInBehind(ctx, tok, now)
	if err != nil {
		return until, err
	}
	return c.Expires, nil
}

// peekSignIn completes what is told of a link that signs in.
func (s *Service) peekSignIn(l *Link, c *Challenge, now time.Time) error {
	a, err := s.asked(c, now)
	if err != nil {
		return err
	}
	l.SignsIn, l.Code, l.Target = true, s.digits(c.ID), a.To
	l.Asked = Asking{Address: a.Address, UserAgent: a.Agent, At: a.At}
	l.network = a.Network
	return nil
}

// From returns who asked for the sign-in of a link, as somebody sees it who opens
// it from there.
func (l Link) From(there Origin) Asking {
	a := l.Asked
	a.Far = l.network != there.network()
	return a
}

// Opened reports whether it should be told that a link was opened in another
// browser than the one that asked, as scanners do: of each link only a few times.
func (s *Service) Opened(l Link, now time.Time) bool {
	return s.o.Limiter.Take("opened:"+l.ID, openedBudget, now) == 0
}

// ReportSignIn takes note that whoever got a link did not ask for it. It is shown
// to the account and counted against who asked. It ends nothing, for a scanner may
// press every button; and it counts once.
func (s *Service) ReportSignIn(ctx context.Context, link string, from Origin, now time.Time) error {
	tok, err := token.Parse(token.OneTime, link)
	if err != nil {
		return ErrFlowEnded
	}
	var c *Challenge
	err = s.store.View(ctx, func(tx Tx) (err error) {
		c, err = tx.Challenge(tok.Selector())
		return err
	})
	if err != nil {
		return err
	}
	if c == nil || c.Purpose != purposeSignIn || !tok.Matches(c.Link) || !now.Before(c.Expires) {
		return ErrFlowEnded
	}
	a, err := s.asked(c, now)
	if err != nil || s.o.Limiter.Take("report:"+c.ID, reportBudget, now) > 0 {
		return err
	}
	for range reportCost {
		s.o.Limiter.Take(a.Key, askBudget, now)
	}
	return s.record(ctx, Record{At: now, Subject: a.User, Event: "sign_in_disowned", Detail: a.Address}, from)
}
