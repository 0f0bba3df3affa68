// Package password hashes passwords and checks them.
//
// Most programs need [New], [Hasher.Hash] and [Hasher.Verify]:
//
//	passwords, err := password.New(nil)
//
//	err = password.Policy{}.Check(ctx, pw)                  // at sign-up
//	hash, err := passwords.Hash(ctx, pw, password.Stranger) // what the database keeps
//
//	ok, upgrade, err := passwords.Verify(ctx, pw, hash, password.Stranger)
//	if ok && upgrade {                                      // hashed by an older program
//		hash, err = passwords.Hash(ctx, pw, password.Known)
//	}
//
// New hashes are Argon2id in the PHC string format, with a fresh salt and the
// parameters that OWASP asks for (19 MiB, 2 passes, 1 lane). Verify also reads what
// other programs made, and says that it should be replaced: Argon2, bcrypt, scrypt
// and PBKDF2 (Django's, Firebase's and WordPress' too), the forms of crypt(3) with
// SHA-2, and, where it is allowed or they were wrapped, those that are insecure:
// MD5-crypt, phpass, and what LDAP and older programs hashed once.
//
// A Hasher runs a fixed number of hashes at once, so that a flood of sign-ins
// holds a fixed amount of memory. With its garbage, at the default GOGC, that
// was 63 MiB resident for one slot, 196 for four and 356 for eight
// (BenchmarkFlood shows the heap's part); stored hashes that ask for more than
// 19 MiB hold more, up to 256 MiB each. The surplus waits a moment and is then
// told to retry.
package password

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/admit-auth/admit"
)

// What the package refuses.
var (
	ErrFormat = admit.Invalid.New("hash_malformed", "This is no password hash in a form that is known here.")
	ErrBusy   = admit.Unavailable.New("password_busy", "Too many people are signing in at once.").WithHint("Try again in a moment.")
)

// A Priority says whose turn comes first when slots are short.
type Priority uint8

const (
	// Stranger is anybody. Strangers together never hold more than half of
	// the slots, rounded up.
	Stranger Priority = iota
	// Known is a browser that the user has signed in from before, so that a
	// flood of strangers cannot shut owners out.
	Known
)

// Options of a Hasher. The zero value is what most programs want.
type Options struct {
	// Slots is how many hashes run at once; default twice GOMAXPROCS, so that
	// strangers alone can use all of the machine. Each holds 19 MiB and, as
	// garbage, up to two and a half times as much.
	Slots int
	// Wait is how long a hash waits for a slot; default 2 s.
	Wait time.Duration
	// Queue is how many of each priority may wait; more are refused at once.
	// Default 16 for each slot.
	Queue int
	// Argon2id computes what the function of that name does somewhere else, such as
	// in a process beside this one; nil computes it here.
	Argon2id func(password, salt []byte, passes, memoryKiB uint32, lanes uint8, size uint32) []byte
	// InsecureHashes lets Verify take hashes that Insecure reports, as they are.
	// Without it they must be wrapped first, see Wrap.
	InsecureHashes bool
}

// A Hasher hashes and verifies. It is safe for use by several goroutines.
type Hasher struct {
	slots     chan struct{} // for everybody
	strangers chan struct{} // a stranger holds one of these too
	// Each priority waits in its own queue: in one for all, waiting strangers
	// would shut owners out of slots that are free.
	queueKnown, queueStrangers chan struct{}

	wait  time.Duration
	dummy Hash
	argon func(password, salt []byte, passes, memoryKiB uint32, lanes uint8, size uint32) []byte

	entered, refused atomic.Uint64
	waited           atomic.Int64 // nanoseconds

	insecure bool
	tally    func(kind string, amount int) // of work, in tests

	mu      sync.RWMutex
	foreign []work // of each other kind that is stored the most; guarded by mu
}

// maxForeign bounds what a refusal may cost: kinds of stored hashes beyond it
// are not made up for.
const maxForeign = 8

// New returns a Hasher.
func New(o *Options) (*Hasher, error) {
	if o == nil {
		o = &Options{}
	}
	slots := o.Slots
	if slots == 0 {
		slots = 2 * runtime.GOMAXPROCS(0)
	}
	queue := o.Queue
	if queue == 0 {
		queue = 16 * slots
	}
	wait := o.Wait
	if wait == 0 {
		wait = 2 * time.Second
	}
	argon := o.Argon2id
	if argon == nil {
		argon = Argon2id
	}
	if slots < 1 || queue < 1 || wait < 0 {
		return nil, errors.New("password: a hasher needs a slot, room to wait and time")
	}
	dummy, err := Parse(dummyHash)
	if err != nil {
		return nil, err
	}
	return &Hasher{
		slots:          make(chan struct{}, slots),
		strangers:      make(chan struct{}, (slots+1)/2),
		queueKnown:     make(chan struct{}, queue),
		queueStrangers: make(chan struct{}, queue),
		wait:           wait,
		dummy:          dummy,
		argon:          argon,
		insecure:       o.InsecureHashes,
	}, nil
}

// dummyHash is of a password that nobody knows, with the parameters of new ones.
const dummyHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Hash returns the hash of a new password, for the database. It waits for a
// slot as Verify does: whoever signs up is a Stranger, and one who has proved
// something first is Known. ErrBusy in an admit.RetryError where there is none
// in time.
func (h *Hasher) Hash(ctx context.Context, pw admit.Secret, prio Priority) (string, error) {
	if err := h.enter(ctx, prio); err != nil {
		return "", err
	}
	defer h.leave(prio)
	return h.newHash(pw.Reveal()), nil
}

// Verify reports whether the password is the one of a stored hash, and whether
// the hash should be replaced by a new one. ErrFormat where the hash cannot be
// read; ErrInsecure where it may not be taken as it is; ErrBusy as Hash. A wrong password costs as much as an unknown user, see
// VerifyDummy, whatever the form of the hash.
func (h *Hasher) Verify(ctx context.Context, pw admit.Secret, hash string, prio Priority) (ok, upgrade bool, err error) {
	stored, err := Parse(hash)
	if err != nil {
		return false, false, err
	}
	if stored.fast() && !h.insecure {
		return false, false, ErrInsecure
	}
	if err := h.enter(ctx, prio); err != nil {
		return false, false, err
	}
	defer h.leave(prio)
	if h.matches(&stored, pw.Reveal()) {
		return true, !stored.current(), nil
	}
	h.spend(pw.Reveal(), stored.works())
	return false, false, nil
}

// VerifyDummy does the work of a wrong password, for a user that does not
// exist. Its error is one of waiting.
func (h *Hasher) VerifyDummy(ctx context.Context, pw admit.Secret, prio Priority) error {
	if err := h.enter(ctx, prio); err != nil {
		return err
	}
	defer h.leave(prio)
	h.spend(pw.Reveal(), nil)
	return nil
}

// spend does of each kind of work that stored hashes need the most that one of
// them does, less what has been done already: so all refusals cost the same.
func (h *Hasher) spend(pw string, done []work) {
	h.mu.RLock()
	foreign := h.foreign
	h.mu.RUnlock()
	for _, w := range slices.Concat(h.dummy.works(), foreign) {
		left := w.amount
		for _, d := range done {
			if d.kind == w.kind {
				left -= d.amount
			}
		}
		if left > 0 {
			h.do(&w, left, pw)
		}
	}
}

// Expect tells the Hasher that hashes of this one's form and parameters are
// stored, so that a refusal costs the same whether a user has one of them,
// another or none. Hashes that New makes need no telling.
func (h *Hasher) Expect(hash string) {
	f, err := Parse(hash)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range f.works() {
		w.like.text, w.like.key = "", make([]byte, len(w.like.key)) // it is remembered for its cost
		i := slices.IndexFunc(h.foreign, func(o work) bool { return o.kind == w.kind })
		switch {
		case w.kind == h.dummy.works()[0].kind:
		case i < 0 && len(h.foreign) < maxForeign:
			h.foreign = append(slices.Clone(h.foreign), w)
		case i >= 0 && h.foreign[i].amount < w.amount:
			h.foreign = slices.Clone(h.foreign)
			h.foreign[i] = w
		}
	}
}

// enter waits for a slot.
func (h *Hasher) enter(ctx context.Context, prio Priority) error {
	queue := h.queueKnown
	if prio == Stranger {
		queue = h.queueStrangers
	}
	select {
	case queue <- struct{}{}:
		defer func() { <-queue }()
	default:
		return h.busy()
	}
	begun := time.Now()
	timeout := time.NewTimer(h.wait)
	defer timeout.Stop()
	if prio == Stranger {
		select {
		case h.strangers <- struct{}{}:
		case <-timeout.C:
			return h.busy()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case h.slots <- struct{}{}:
		h.entered.Add(1)
		h.waited.Add(int64(time.Since(begun)))
		return nil
	case <-timeout.C:
	case <-ctx.Done():
	}
	if prio == Stranger {
		<-h.strangers
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.busy()
}

func (h *Hasher) leave(prio Priority) {
	<-h.slots
	if prio == Stranger {
		<-h.strangers
	}
}

func (h *Hasher) busy() error {
	h.refused.Add(1)
	return &admit.RetryError{After: h.wait, Err: ErrBusy}
}

// Stats is how busy a Hasher is.
type Stats struct {
	Slots   int // there are
	Busy    int // are in use
	Waiting int // wait for one

	// Since New.
	Hashed  uint64        // got a slot
	Waited  time.Duration // together, until they did
	Refused uint64        // got ErrBusy
}

// Stats returns how busy the Hasher is. Most programs never call it: it is for
// whoever watches a server.
func (h *Hasher) Stats() Stats {
	return Stats{
		Slots: cap(h.slots), Busy: len(h.slots), Waiting: len(h.queueKnown) + len(h.queueStrangers),
		Hashed: h.entered.Load(), Waited: time.Duration(h.waited.Load()), Refused: h.refused.Load(),
	}
}

// Argon2id computes Argon2id (RFC 9106), version 1.3. Most programs never call it:
// it is for those that set [Options.Argon2id], at the other end.
func Argon2id(password, salt []byte, passes, memoryKiB uint32, lanes uint8, size uint32) []byte {
	return argon2.IDKey(password, salt, passes, memoryKiB, lanes, size)
}

// Identify returns the name of a stored hash's scheme, such as "bcrypt", and
// whether the hash can be verified.
func Identify(hash string) (scheme string, ok bool) {
	h, err := Parse(hash)
	if err != nil {
		return "", false
	}
	return h.scheme, true
}
