package account

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit"
)

// What is refused about passkeys.
var (
	ErrPasskeysOff       = admit.Unavailable.New("passkeys_unavailable", "Passkeys cannot be used here.").WithHint("They need HTTPS and a name: they work at localhost and at a public URL with a host name.")
	ErrPasskeyMalformed  = admit.Invalid.New("passkey_malformed", "This is no answer of an authenticator.").WithHint("Send what PublicKeyCredential.toJSON returns, for the options of this flow.")
	ErrPasskeyRefused    = admit.Unauthenticated.New("passkey_refused", "This passkey was not accepted.").WithHint("Try again, or sign in another way.")
	ErrPasskeyUnknown    = admit.Unauthenticated.New("passkey_unknown", "This passkey is not known here any more.").WithHint("Sign in another way, and remove it where your passwords are kept.")
	ErrPasskeyElsewhere  = admit.Unauthenticated.New("passkey_elsewhere", "This passkey was made for another address than this one.").WithHint("A passkey is good at one address. Sign in another way, then add a passkey here.")
	ErrPasskeyUnverified = admit.Unauthenticated.New("passkey_unverified", "Your device did not check that it is you.").WithHint("Set a screen lock or a PIN on it, then try again, or sign in another way.")
	ErrPasskeyCloned     = admit.Unauthenticated.New("passkey_cloned", "This passkey seems to exist twice, so it is good no more.").WithHint("Sign in another way, remove it, and add a new one.")
	ErrPasskeyAlgorithm  = admit.Invalid.New("passkey_algorithm", "Passkeys of this kind cannot be used here.").WithHint("Use an authenticator with ES256, EdDSA or RS256.")
	ErrPasskeyTaken      = admit.Conflict.New("passkey_taken", "This passkey is registered already.")
	ErrPasskeyName       = admit.Invalid.New("passkey_name", "A passkey's name has 1 to 60 characters.")
	ErrPasskeyEnded      = admit.Unauthenticated.New("passkey_flow_ended", "This took too long, or was done already.").WithHint("Begin again.")
	ErrManyPasskeys      = admit.Conflict.New("too_many_passkeys", "There are 20 passkeys already.").WithHint("Remove one first.")
	ErrNoPasskey         = admit.NotFound.New("unknown_passkey", "There is no such passkey.")
	ErrLastWayIn         = admit.Conflict.New("last_way_in", "This is the last way into your account.").WithHint("First add another passkey, set a password or verify an e-mail address.")
)

// The algorithms that keys of passkeys may have, as COSE numbers them, best
// first.
const (
	ES256 = -7
	EdDSA = -8
	RS256 = -257
)

const (
	mostPasskeys   = 20
	maxPasskeyName = 60

	// PasskeyLife is for how long the options of a flow may be answered. The page
	// to sign in waits for as long, with a browser's suggestions in its first field.
	PasskeyLife = time.Hour
)

// A PasskeyFactor is a passkey: a key pair whose secret half an authenticator
// keeps. Its id is the authenticator's, in base64url, and its counter that of its
// signatures: 0 of one that is synced.
type PasskeyFactor struct {
	*Factor
	passkeyData
}

// passkeyData is the Data of a passkey's factor. Nothing of it is secret.
type passkeyData struct {
	Key        []byte    // the public half, as COSE writes it
	Site       string    // the relying party that it was made for
	AAGUID     []byte    // the kind of authenticator, as it says
	Transports []string  // how it can be reached
	Eligible   bool      // it may be synced: it is not bound to one device
	BackedUp   bool      // it was, when it was used last
	Second     bool      // it is asked for after a password
	ClonedAt   time.Time // when its counter told of a copy; zero for never
}

// passkeyOf reads a factor of the kind Passkey.
func passkeyOf(f *Factor) (*PasskeyFactor, error) {
	p := &PasskeyFactor{Factor: f}
	if err := json.Unmarshal([]byte(f.Data), &p.passkeyData); err != nil {
		return nil, fmt.Errorf("decode passkey %s: %w", f.ID, err)
	}
	return p, nil
}

// passkeysOf returns those among a user's factors.
func passkeysOf(factors []*Factor) (all []*PasskeyFactor, err error) {
	for _, f := range factors {
		if f.Kind != Passkey {
			continue
		}
		p, err := passkeyOf(f)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// keep writes what has changed, if nobody else has used the passkey since.
func (p *PasskeyFactor) keep(tx Tx, was int64) error {
	if err := p.pack(); err != nil {
		return err
	}
	kept, err := tx.ChangeFactor(p.Factor, was)
	if err == nil && !kept {
		err = ErrPasskeyEnded
	}
	return err
}

func (p *PasskeyFactor) pack() error {
	b, err := json.Marshal(p.passkeyData)
	if err != nil {
		return fmt.Errorf("encode passkey %s: %w", p.ID, err)
	}
	p.Data = string(b)
	return nil
}

// demanded reports whether a passkey is asked for after a password. One that was
// only made because it is convenient must shut nobody out who sits elsewhere: the
// default is that it is not.
func (f *Factor) demanded() bool {
	p, err := passkeyOf(f)
	return err != nil || p.Second
}

// HeldBy is what a session says of the key (RFC 8176). It is the authenticator's
// word: no attestation is asked for.
func (p *PasskeyFactor) HeldBy() string {
	if p.Eligible {
		return "swk"
	}
	return "hwk"
}

// UserHandles are what authenticators know users by. Unlike a user's id nobody
// can have chosen one, or know it from elsewhere.
type UserHandles interface {
	// UserHandle returns nil where the user never had a passkey.
	UserHandle(user string) ([]byte, error)
	SetUserHandle(user string, handle []byte) error
}

// Authenticators check what authenticators answer.
type Authenticators interface {
	RelyingParty() string
	// Register returns a new passkey; where silent it may have been made without
	// anybody being asked.
	Register(answer, challenge []byte, silent bool) (*Registered, error)
	// Verify checks a signature by the key that keyOf returns for the credential
	// and the user handle.
	Verify(answer, challenge []byte, verified bool, keyOf func(credential, handle []byte) ([]byte, error)) (Signed, error)
}

// A Signed is what an authenticator says of itself.
type Signed struct {
	Count              uint32
	Verified           bool // it checked who holds it
	Eligible, BackedUp bool
}

// A Registered is a passkey as its authenticator made it.
type Registered struct {
	Credential, Key []byte
	AAGUID          [16]byte
	Transports      []string
	Signed
}

// A ceremony is one question to an authenticator. It travels sealed in the flow,
// and costs no row before it is answered: every look at the page to sign in asks
// one. What is spent is kept.
type ceremony struct {
	Challenge []byte
	For       string // who may answer: a session or a browser
	User      string `json:",omitempty"` // whose passkeys may; "" for anybody's
	Handle    []byte `json:",omitempty"` // of a registration
	Silent    bool   `json:",omitempty"`
	Inner     string `json:",omitempty"` // the flow that this is a step of
	Made      time.Time
}

const (
	ceremonySignIn   = "passkey sign-in"
	ceremonyRegister = "passkey registration"
	ceremonyProof    = "passkey proof"
	ceremonyStep     = "passkey step"
)

// A PasskeyQuestion is what to ask an authenticator. It stands in the options that
// the edge writes.
type PasskeyQuestion struct {
	Flow      string // what to send back with the answer
	Site      string // the relying party
	Challenge []byte
	Known     []*PasskeyFactor // those that may answer, or in a registration must not be there

	// Of a registration alone.
	User   *User
	Handle []byte
}

// CanPasskey reports whether passkeys can be used at the public URL.
func (s *Service) CanPasskey() bool { return s.o.Authenticators != nil }

// question seals a ceremony.
func (s *Service) question(purpose string, c ceremony, now time.Time) (*PasskeyQuestion, error) {
	if !s.CanPasskey() {
		return nil, ErrPasskeysOff
	}
	c.Challenge, c.Made = make([]byte, 32), now
	rand.Read(c.Challenge)
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode a ceremony: %w", err)
	}
	return &PasskeyQuestion{Flow: string(s.o.Keys.Seal(nil, purpose, b, now)), Site: s.o.Authenticators.RelyingParty(), Challenge: c.Challenge, Handle: c.Handle}, nil
}

// ceremony opens what question sealed, for who asked it.
func (s *Service) ceremony(purpose, flow, who string, now time.Time) (ceremony, error) {
	c, err := s.openCeremony(purpose, flow, now)
	if err == nil && (c.For != who || who == "") {
		err = ErrPasskeyEnded // another browser's: whoever brings it here was told it
	}
	return c, err
}

func (s *Service) openCeremony(purpose, flow string, now time.Time) (ceremony, error) {
	var c ceremony
	if !s.CanPasskey() {
		return c, ErrPasskeysOff
	}
	b, _, err := s.o.Keys.Open(nil, purpose, flow, PasskeyLife, now)
	if err != nil {
		return c, ErrPasskeyEnded
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("decode a ceremony: %w", err)
	}
	return c, nil
}

// spend keeps that the ceremony was answered, once.
func (c *ceremony) spend(tx Tx, now time.Time) error {
	err := spend(tx, "passkey "+base64.RawURLEncoding.EncodeToString(c.Challenge), c.Made, c.Made.Add(PasskeyLife), now)
	if errors.Is(err, ErrOneTime) {
		return ErrPasskeyEnded
	}
	return err
}

// AskPasskey asks whoever sits at a browser for a passkey of this site.
func (s *Service) AskPasskey(browser string, now time.Time) (*PasskeyQuestion, error) {
	return s.question(ceremonySignIn, ceremony{For: browser}, now)
}

// SignInPasskey returns the user whose passkey answered what this browser was
// asked, and how it was proved. The authenticator has checked who holds it: a
// passkey by itself is two factors, what one has and what one knows or is.
func (s *Service) SignInPasskey(ctx context.Context, flow string, answer []byte, browser string, from Origin, now time.Time) (user *User, amr []string, err error) {
	defer func() { s.o.Observer.SignIn(err) }()
	tries := []try{{"passkey:" + from.network(), addressBudget}}
	if err := s.take(tries, now); err != nil {
		return nil, nil, err
	}
	c, err := s.ceremony(ceremonySignIn, flow, browser, now)
	if err != nil {
		return nil, nil, err
	}
	p, signed, err := s.answered(ctx, c, answer, true)
	if err == nil {
		err = s.store.View(ctx, func(tx Tx) (err error) {
			if user, err = tx.User(p.User); err == nil {
				user.passkey = p.ID
				user.epoch, err = ownEpoch(tx, p.User)
			}
			return err
		})
	}
	if err == nil {
		err = s.use(ctx, c, p, signed, from, now)
	}
	if err != nil {
		return nil, nil, err
	}
	s.refund(tries)
	return user, p.proof(signed), nil
}

// proof is how a user was proved who used the passkey.
func (p *PasskeyFactor) proof(signed Signed) []string {
	amr := []string{p.HeldBy(), "user"}
	if signed.Verified {
		amr = append(amr, "mfa")
	}
	return amr
}

// answered checks the answer to a ceremony of signing, and writes nothing.
func (s *Service) answered(ctx context.Context, c ceremony, answer []byte, verified bool) (p *PasskeyFactor, signed Signed, err error) {
	signed, err = s.o.Authenticators.Verify(answer, c.Challenge, verified, func(credential, handle []byte) ([]byte, error) {
		err := s.store.View(ctx, func(tx Tx) (err error) {
			p, err = theirs(tx, base64.RawURLEncoding.EncodeToString(credential), handle, c.User)
			return err
		})
		if err != nil {
			return nil, err
		}
		return p.Key, nil
	})
	return p, signed, err
}

// use notes that a passkey was used, in a transaction of its own.
func (s *Service) use(ctx context.Context, c ceremony, p *PasskeyFactor, signed Signed, from Origin, now time.Time) error {
	var refused error
	err := s.update(ctx, func(tx Tx) error {
		refused = s.used(tx, c, p, signed, from, now)
		if errors.Is(refused, ErrPasskeyCloned) {
			return nil // what it has noted stays
		}
		return refused
	})
	if err == nil && refused != nil {
		s.wake()
		err = refused
	}
	return err
}

// used spends the ceremony and notes that the passkey was used. Where it returns
// ErrPasskeyCloned the caller commits.
func (s *Service) used(tx Tx, c ceremony, p *PasskeyFactor, signed Signed, from Origin, now time.Time) error {
	if err := c.spend(tx, now); err != nil {
		return err
	}
	is, err := theirs(tx, p.ID, nil, p.User) // it may have been removed meanwhile
	if err != nil {
		return err
	}
	if !bytes.Equal(is.Key, p.Key) || is.Eligible != signed.Eligible {
		return ErrPasskeyRefused // whether it may be synced never changes (section 7.2)
	}
	was := is.Counter
	// Section 6.1.1: a counter that does not grow tells that two have the key.
	if (signed.Count != 0 || was != 0) && int64(signed.Count) <= was {
		if err := s.cloned(tx, is, from, now); err != nil {
			return err
		}
		return ErrPasskeyCloned
	}
	is.Counter, is.BackedUp, is.LastUsed = int64(signed.Count), signed.BackedUp, now
	return is.keep(tx, was)
}

// theirs returns a passkey that is good, of the user unless that is "".
func theirs(tx Tx, id string, handle []byte, user string) (*PasskeyFactor, error) {
	f, err := tx.Factor(id)
	if errors.Is(err, ErrUnknownFactor) || err == nil && f.Kind != Passkey {
		return nil, ErrPasskeyUnknown
	}
	if err != nil {
		return nil, err
	}
	if user != "" && f.User != user {
		return nil, ErrPasskeyRefused
	}
	p, err := passkeyOf(f)
	if err != nil {
		return nil, err
	}
	if !p.ClonedAt.IsZero() {
		return nil, ErrPasskeyCloned
	}
	is, err := tx.UserHandle(p.User)
	if err != nil {
		return nil, err
	}
	// Who asked for anybody's must be told whose (section 7.2, step 6).
	if (user == "" || len(handle) > 0) && !bytes.Equal(is, handle) {
		return nil, ErrPasskeyRefused
	}
	u, err := tx.User(p.User)
	if err == nil && u.Disabled {
		err = ErrPasskeyRefused
	}
	return p, err
}

// cloned marks a passkey that somebody has a copy of, tells its owner, and ends
// all sessions: which of them began with the copy nobody can tell.
func (s *Service) cloned(tx Tx, p *PasskeyFactor, from Origin, now time.Time) error {
	user, err := tx.User(p.User)
	if err != nil {
		return err
	}
	p.ClonedAt = now
	if err := p.keep(tx, p.Counter); err != nil {
		return err
	}
	if err := tx.RaiseEpoch(p.User, ""); err != nil {
		return err
	}
	a := Asker{Subject: p.User, From: from}
	if err := s.tellProved(tx, a, user, "passkey_cloned", now); err != nil {
		return err
	}
	return tx.Record(from.mark(&Record{At: now, Subject: p.User, Event: "passkey_cloned", Detail: p.Name}))
}

// AskForProof asks who is signed in for one of its passkeys.
func (s *Service) AskForProof(ctx context.Context, a Asker, now time.Time) (*PasskeyQuestion, error) {
	if !s.CanPasskey() {
		return nil, ErrPasskeysOff // rather than that there is none
	}
	factors, err := s.FactorsOf(ctx, a.Subject)
	if err != nil {
		return nil, err
	}
	known, err := s.good(factors)
	if err != nil {
		return nil, err
	}
	if len(known) == 0 {
		return nil, ErrNoPasskey
	}
	q, err := s.question(ceremonyProof, ceremony{For: a.SID, User: a.Subject}, now)
	if err == nil {
		q.Known = known
	}
	return q, err
}

// ProvePasskey checks the answer to AskForProof, and returns how it proves who is
// signed in. The caller notes it in the session.
func (s *Service) ProvePasskey(ctx context.Context, a Asker, flow string, answer []byte, now time.Time) (amr []string, err error) {
	tries := []try{{"passkey:" + a.Subject, knownBudget}}
	if err := s.take(tries, now); err != nil {
		return nil, err
	}
	c, err := s.ceremony(ceremonyProof, flow, a.SID, now)
	if err != nil {
		return nil, err
	}
	p, signed, err := s.answered(ctx, c, answer, true)
	if err == nil {
		err = s.use(ctx, c, p, signed, a.From, now)
	}
	if err != nil {
		return nil, errors.Join(err, s.Note(ctx, a.mark("proof_refused", "passkey", now)))
	}
	s.refund(tries)
	return p.proof(signed), nil
}

// AskForStep asks for a passkey as the second step of a sign-in, whose flow goes
// along with the answer.
func (s *Service) AskForStep(ctx context.Context, flow, browser string, now time.Time) (*PasskeyQuestion, error) {
	user, factors, _, err := s.PeekFactor(ctx, flow, browser, now)
	if err != nil {
		return nil, err
	}
	known, err := s.good(factors)
	if err != nil {
		return nil, err
	}
	q, err := s.question(ceremonyStep, ceremony{For: FlowID(flow), User: user.ID, Inner: flow}, now)
	if err == nil {
		q.Known = known
	}
	return q, err
}

// PasskeyStep returns the second step that an answer to AskForStep is. After a
// password it is enough that somebody touched the authenticator.
func (s *Service) PasskeyStep(ctx context.Context, flow string, answer []byte, from Origin, now time.Time) (Passing, error) {
	tries := []try{{"passkey:" + from.network(), addressBudget}}
	if err := s.take(tries, now); err != nil {
		return Passing{}, err
	}
	c, err := s.openCeremony(ceremonyStep, flow, now)
	if err != nil {
		return Passing{}, err
	}
	p, signed, err := s.answered(ctx, c, answer, false)
	if err != nil {
		return Passing{}, err
	}
	s.refund(tries)
	return Passing{Flow: c.Inner, Kind: Passkey, Check: func(tx Tx, user *User, _ []*Factor) ([]string, error) {
		if user.ID != p.User {
			return nil, ErrPasskeyRefused
		}
		err := s.used(tx, c, p, signed, from, now)
		if errors.Is(err, ErrPasskeyCloned) {
			err = errors.Join(err, ErrBadFactor) // so that what was noted stays
		}
		return p.proof(signed), err
	}}, nil
}

// NewPasskey asks the asker for a new passkey, after a recent proof. Silent is for
// a browser that may make one without asking anybody.
func (s *Service) NewPasskey(ctx context.Context, a Asker, silent bool, now time.Time) (*PasskeyQuestion, error) {
	if err := s.Recent(ctx, a, now); err != nil {
		return nil, err
	}
	var user *User
	var handle []byte
	var known []*PasskeyFactor
	err := s.store.View(ctx, func(tx Tx) (err error) {
		if user, err = tx.User(a.Subject); err != nil {
			return err
		}
		if handle, err = tx.UserHandle(a.Subject); err != nil {
			return err
		}
		known, err = allOf(tx, a.Subject)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(known) >= mostPasskeys {
		return nil, ErrManyPasskeys
	}
	if handle == nil {
		handle = make([]byte, 32)
		rand.Read(handle)
	}
	q, err := s.question(ceremonyRegister, ceremony{For: a.SID, User: a.Subject, Handle: handle, Silent: silent}, now)
	if err == nil {
		q.User, q.Known = user, known
	}
	return q, err
}

func allOf(tx Tx, user string) ([]*PasskeyFactor, error) {
	factors, err := tx.FactorsOf(user)
	if err != nil {
		return nil, err
	}
	return passkeysOf(factors)
}

// A NewPasskeyAnswer is what came back for NewPasskey.
type NewPasskeyAnswer struct {
	Flow   string
	Name   string // "" for one by the authenticator
	Else   string // the name where the authenticator is not known
	Second bool   // it is asked for after a password
	Answer []byte
}

// AddPasskey keeps the passkey that was made; the owner's address is told. Where
// it is the first factor that is asked for after a password, there are recovery
// codes, which are seen this once.
func (s *Service) AddPasskey(ctx context.Context, a Asker, in NewPasskeyAnswer, now time.Time) (_ *PasskeyFactor, codes []admit.Secret, err error) {
	if err := s.Recent(ctx, a, now); err != nil {
		return nil, nil, err
	}
	c, err := s.ceremony(ceremonyRegister, in.Flow, a.SID, now)
	if err != nil {
		return nil, nil, err
	}
	if c.User != a.Subject {
		return nil, nil, ErrPasskeyEnded
	}
	made, err := s.o.Authenticators.Register(in.Answer, c.Challenge, c.Silent)
	if err != nil {
		return nil, nil, err
	}
	p := &PasskeyFactor{
		Factor: &Factor{
			ID: base64.RawURLEncoding.EncodeToString(made.Credential), User: a.Subject, Kind: Passkey, CreatedAt: now, Counter: int64(made.Count),
		},
		passkeyData: passkeyData{
			Key: made.Key, Site: s.site(), AAGUID: made.AAGUID[:], Transports: made.Transports,
			Eligible: made.Eligible, BackedUp: made.BackedUp, Second: in.Second,
		},
	}
	if in.Name == "" {
		in.Name = madeBy(made.AAGUID, in.Else)
	}
	if p.Name, err = passkeyName(in.Name); err != nil {
		return nil, nil, err
	}
	if err := p.pack(); err != nil {
		return nil, nil, err
	}
	_, err = s.own(ctx, a, "passkey_added", p.Name, now, func(tx Tx, user *User) error {
		// It outlives its session: one that has ended meanwhile must not leave it.
		if _, err := tx.Session(a.SID, now); err != nil {
			return gone(err)
		}
		if err := c.spend(tx, now); err != nil {
			return err
		}
		switch handle, err := tx.UserHandle(a.Subject); {
		case err != nil:
			return err
		case handle == nil:
			if err := tx.SetUserHandle(a.Subject, c.Handle); err != nil {
				return err
			}
		case !bytes.Equal(handle, c.Handle):
			return ErrPasskeyEnded // two were asked for before there was one
		}
		all, err := allOf(tx, a.Subject)
		if err != nil {
			return err
		}
		if len(all) >= mostPasskeys {
			return ErrManyPasskeys
		}
		if _, err := tx.Factor(p.ID); !errors.Is(err, ErrUnknownFactor) {
			return errors.Join(err, ErrPasskeyTaken)
		}
		if err := tx.AddFactor(p.Factor); err != nil {
			return err
		}
		if codes, err = s.demand(tx, p, now); err != nil {
			return err
		}
		return s.tell(tx, a, user, "passkey_added", now)
	})
	if err != nil {
		return nil, nil, err
	}
	return p, codes, nil
}

// demand is what follows where a passkey is asked for after a password from now
// on: no browser is spared it, and there are recovery codes.
func (s *Service) demand(tx Tx, p *PasskeyFactor, now time.Time) ([]admit.Secret, error) {
	if !p.Second {
		return nil, nil
	}
	if err := tx.DeleteFactors(p.User, Trusted); err != nil {
		return nil, err
	}
	factors, err := tx.FactorsOf(p.User)
	if err != nil || slices.ContainsFunc(factors, func(f *Factor) bool { return f.Kind == Recovery && !f.empty() }) {
		return nil, err
	}
	return s.makeRecovery(tx, p.User, now)
}

// spare is what follows where one factor less may be asked for: with the last one
// the recovery codes go: there is nothing that they would stand in for.
func spare(tx Tx, user string) error {
	left, err := tx.FactorsOf(user)
	if err != nil || slices.ContainsFunc(left, (*Factor).second) {
		return err
	}
	return tx.DeleteFactors(user, Recovery)
}

// passkeyName returns a name as it is kept.
func passkeyName(name string) (string, error) {
	name, err := cleanName(name)
	if err != nil || name == "" || utf8.RuneCountInString(name) > maxPasskeyName {
		return "", &admit.FieldError{Field: "name", Err: ErrPasskeyName}
	}
	return name, nil
}

// Passkeys returns a user's, oldest first, and what authenticators know the user
// by: nil where it never had one.
func (s *Service) Passkeys(ctx context.Context, user string) (all []*PasskeyFactor, handle []byte, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		if all, err = allOf(tx, user); err != nil {
			return err
		}
		handle, err = tx.UserHandle(user)
		return err
	})
	return all, handle, err
}

// A PasskeyChange is what an owner may say of a passkey; nil leaves it.
type PasskeyChange struct {
	Name   *string
	Second *bool // it is asked for after a password; needs a recent proof
}

// ChangePasskey changes a passkey of the asker. It returns recovery codes as
// AddPasskey does.
func (s *Service) ChangePasskey(ctx context.Context, a Asker, id string, to PasskeyChange, now time.Time) (p *PasskeyFactor, codes []admit.Secret, err error) {
	if to.Name != nil {
		name, err := passkeyName(*to.Name)
		if err != nil {
			return nil, nil, err
		}
		to.Name = &name
	}
	if to.Second != nil {
		if err := s.Recent(ctx, a, now); err != nil {
			return nil, nil, err
		}
	}
	// Each change is a record of the audit, which is kept for long.
	if err := s.take([]try{{"profile:" + a.Subject, knownBudget}}, now); err != nil {
		return nil, nil, err
	}
	err = s.update(ctx, func(tx Tx) error {
		if p, _, err = ownPasskey(tx, a.Subject, id); err != nil {
			return err
		}
		user, err := tx.User(a.Subject)
		if err != nil {
			return err
		}
		var events []string
		if to.Name != nil && p.Name != *to.Name {
			p.Name = *to.Name
			events = append(events, "passkey_renamed")
		}
		if to.Second != nil && p.Second != *to.Second {
			if err := cmp.Or(a.recent(user, now), a.strong(tx)); err != nil {
				return err
			}
			p.Second = *to.Second
			event, told := "passkey_spared", "factor_removed"
			if p.Second {
				event, told = "passkey_demanded", "factor_added"
			}
			events = append(events, event)
			if err := tx.DeleteFactors(a.Subject, Trusted); err != nil {
				return err
			}
			if err := s.tellProved(tx, a, user, told, now); err != nil {
				return err
			}
		}
		for _, event := range events {
			if err := tx.Record(a.mark(event, p.Name, now)); err != nil {
				return err
			}
		}
		if err := p.keep(tx, p.Counter); err != nil {
			return err
		}
		if !p.Second {
			return spare(tx, a.Subject)
		}
		codes, err = s.demand(tx, p, now)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	s.wake()
	return p, codes, nil
}

// ownPasskey returns one passkey of a user, and all.
func ownPasskey(tx Tx, user, id string) (*PasskeyFactor, []*PasskeyFactor, error) {
	all, err := allOf(tx, user)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range all {
		if p.ID == id {
			return p, all, nil
		}
	}
	return nil, nil, ErrNoPasskey
}

// RemovePasskey removes a passkey of the asker, after a recent proof, unless it is
// the last way in; the owner's address is told.
func (s *Service) RemovePasskey(ctx context.Context, a Asker, id string, now time.Time) error {
	var p *PasskeyFactor
	err := s.store.View(ctx, func(tx Tx) (err error) {
		p, _, err = ownPasskey(tx, a.Subject, id)
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.own(ctx, a, "passkey_removed", p.Name, now, func(tx Tx, user *User) error {
		p, all, err := ownPasskey(tx, user.ID, id)
		if err != nil {
			return err
		}
		if err := s.wayInBeside(tx, user, p, all); err != nil {
			return err
		}
		if err := tx.DeleteFactor(id); err != nil {
			return err
		}
		// Whoever passed by it must not be spared it any longer.
		if err := tx.DeleteFactors(user.ID, Trusted); err != nil {
			return err
		}
		if err := spare(tx, user.ID); err != nil {
			return err
		}
		return s.tell(tx, a, user, "passkey_removed", now)
	})
	return err
}

// wayInBeside refuses where nothing but this passkey signs the user in.
func (s *Service) wayInBeside(tx Tx, user *User, p *PasskeyFactor, all []*PasskeyFactor) error {
	if !s.Good(p) {
		return nil
	}
	for _, other := range all {
		if other.ID != p.ID && s.Good(other) {
			return nil
		}
	}
	if len(s.reached(user)) > 0 {
		return nil
	}
	hash, err := tx.PasswordHash(user.ID)
	if err == nil && hash == "" {
		err = ErrLastWayIn
	}
	return err
}

func (s *Service) site() string {
	if !s.CanPasskey() {
		return ""
	}
	return s.o.Authenticators.RelyingParty()
}

// Good reports whether the passkey can sign its user in here.
func (s *Service) Good(p *PasskeyFactor) bool { return p.ClonedAt.IsZero() && p.Site == s.site() }

// good returns the passkeys among factors that can.
func (s *Service) good(factors []*Factor) ([]*PasskeyFactor, error) {
	all, err := passkeysOf(factors)
	return slices.DeleteFunc(all, func(p *PasskeyFactor) bool { return !s.Good(p) }), err
}

// endFactorsSince removes what a user was given since that a thief would come back
// with, and all trusted devices. What is asked for after a password goes only where
// the user has just proved who it is, as where it removes them one by one.
func endFactorsSince(tx Tx, user string, since time.Time, proved bool) error {
	if err := tx.DeleteFactors(user, Trusted); err != nil {
		return err
	}
	all, err := tx.FactorsOf(user)
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.CreatedAt.Before(since) || !proved && (f.second() || f.Kind == Recovery) {
			continue
		}
		if err := tx.DeleteFactor(f.ID); err != nil {
			return err
		}
	}
	return spare(tx, user)
}

// makers are authenticators that many people have, by AAGUID. It only names: what
// it says anybody can claim.
var makers = map[string]string{
	"ea9b8d664d011d213ce4b6b48cb575d4": "Google Password Manager",
	"fbfc3007154e4ecc8c0b6e020557d7bd": "Apple Passwords",
	"dd4ec289e01d41c9bb8970fa845d4bf2": "iCloud Keychain",
	"08987058cadc4b81b6e130de50dcbe96": "Windows Hello",
	"9ddd1817af5a4672a2b93e3dd95000a9": "Windows Hello",
	"6028b017b1d44c02b4b3afcdafc96bb2": "Windows Hello",
	"adce000235bcc60a648b0b25f1f05503": "Chrome on Mac",
	"53414d53554e47000000000000000000": "Samsung Pass",
	"bada5566a7aa401fbd9645619a55120d": "1Password",
	"d548826e79b4db40a3d811116f7e8349": "Bitwarden",
	"531126d6e717415c93203d9aa6981239": "Dashlane",
	"fdb141b25d84443e8a354698c205a502": "KeePassXC",
	"50726f746f6e5061737350726f746f6e": "Proton Pass",
}

// madeBy names an authenticator.
func madeBy(aaguid [16]byte, otherwise string) string {
	if name, ok := makers[hex.EncodeToString(aaguid[:])]; ok {
		return name
	}
	return cmp.Or(otherwise, "Passkey")
}
