package providertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/token"
)

// A fault is what is wrong with a store.
type fault string

// A suite that cannot fail shows nothing: each of these faults must be caught.
var mutants = []struct {
	fault  fault
	caught string // by which check, at the latest
}{
	{"what is not there is an error", "what is not there"},
	{"clients fold case", "a client"},
	{"clients are kept as they were first", "a client"},
	{"a secret of a client does not expire", "a client"},
	{"limits of a client are forgotten", "a client that registers"},
	{"clients do not go", "a client that registers"},
	{"invites are used for ever", "an invite"},
	{"an invite that has expired is used", "an invite"},
	{"expired sessions live", "a session"},
	{"the nonce is forgotten", "a code"},
	{"the wishes for claims are forgotten", "a code"},
	{"the method of the session is forgotten", "a code"},
	{"times are whole seconds", "a code"},
	{"a device is found by any code", "a device comes back"},
	{"where a device has asked from is forgotten", "a device comes back"},
	{"every decision is the first", "a device is decided"},
	{"who decides is forgotten", "a device is decided"},
	{"what is denied is spent", "what is denied"},
	{"no device slows down", "a device slows"},
	{"the key of a grant is forgotten", "a grant"},
	{"epochs are floats", "a token"},
	{"one audience is kept", "a token"},
	{"consents are kept as they were first", "a consent"},
	{"consents are of everybody", "a consent"},
	{"consents do not end", "a consent ends"},
	{"add overwrites", "no record"},
	{"every code is spent first", "a code is spent once"},
	{"spent codes are forgotten", "a code is spent once"},
	{"what a code became is what it was asked for last", "a code is spent once"},
	{"purposes are one", "an id is spent"},
	{"purpose and id are run together", "an id is spent"},
	{"ids fold case", "an id is spent"},
	{"the token before is forgotten", "a rotation puts"},
	{"a rotation keeps its time", "a rotation puts"},
	{"a rotation does not compare", "a rotation of another"},
	{"a rotation that does not happen is no error", "a rotation of another"},
	{"every end is the first", "a grant ends once"},
	{"ended grants are found", "what lives"},
	{"grants are found of every client", "what lives"},
	{"grants behind nothing are found behind everything", "what lives"},
	{"nothing was spent", "what was spent"},
	{"all deliveries are due", "deliveries are due"},
	{"deliveries are not dropped", "deliveries are due"},
	{"a long request is cut", "a pushed request"},
	{"requests are of one client", "a pushed request"},
	{"every drop is the first", "a pushed request"},
	{"tokens do not end", "a token ends"},
	{"ending one token ends its grant's", "a token ends"},
	{"a record is the store's own", "what was read"},
	{"a failed Update is kept", "an Update that fails"},
	{"a failed Update tells", "an Update that fails"},
	{"an Update that panics is kept", "an Update that panics"},
	{"an Update reads what was before", "an Update sees"},
	{"what is told is told twice", "what is told"},
	{"nothing is told", "what is told"},
	{"contexts are ignored", "an ended context"},
	{"an Update looks, and writes a moment later", "of 64"},
	{"only what is written is looked at again", "what a transaction has read"},
	{"a View reads without a lock", "a transaction sees"},
	{"a View swallows what it is to write", "a View says"},
}

func TestTheSuiteCatchesEveryMutant(t *testing.T) {
	for _, m := range mutants {
		t.Run(string(m.fault), func(t *testing.T) {
			by := firstFailure(t, func(t testing.TB) Backend { return broken(t, m.fault) })
			if by == "" {
				t.Fatal("no check noticed")
			}
			if !strings.HasPrefix(by, m.caught) && position(m.caught) < position(by) {
				t.Errorf("caught late, by %q", by)
			}
		})
	}
}

func TestAStoreWithoutAFaultPasses(t *testing.T) {
	if by := firstFailure(t, func(t testing.TB) Backend { return broken(t, "") }); by != "" {
		t.Errorf("caught by %q", by)
	}
}

func position(name string) int {
	return slices.IndexFunc(checks, func(c check) bool { return strings.HasPrefix(c.name, name) })
}

func firstFailure(t *testing.T, open func(testing.TB) Backend) string {
	for _, c := range checks {
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() { // for FailNow ends its goroutine
			defer close(done)
			c.run(newKit(r, open))
		}()
		<-done
		if r.Failed() {
			t.Logf("caught: %s: %s", c.name, r.text)
			return c.name
		}
	}
	return ""
}

// A recorder is a test that may fail without failing the test it stands in.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed bool   // guarded by mu
	text   string // of the first failure; guarded by mu
}

func (r *recorder) fail(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.failed {
		r.failed, r.text = true, text
	}
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Error(args ...any)            { r.fail(fmt.Sprint(args...)) }
func (r *recorder) Errorf(f string, args ...any) { r.fail(fmt.Sprintf(f, args...)) }
func (r *recorder) Fatal(args ...any)            { r.fail(fmt.Sprint(args...)); runtime.Goexit() }
func (r *recorder) Fatalf(f string, args ...any) { r.fail(fmt.Sprintf(f, args...)); runtime.Goexit() }

// broken is the store in memory with a fault.
func broken(t testing.TB, f fault) Backend {
	b := Memory(t)
	s := &faulty{Store: b.Store, fault: f, shared: map[string]*provider.Grant{}, became: map[string]string{}}
	b.Store = s
	put, seen := b.Client, map[string]bool{}
	b.Client = func(c provider.Client) {
		if !seen[c.ID] || f != "clients are kept as they were first" {
			seen[c.ID] = true
			put(c)
		}
	}
	told := b.Told
	b.Told = func() []feed.Event {
		switch all := append(told(), s.early...); f {
		case "nothing is told":
			return nil
		case "what is told is told twice":
			return slices.Concat(all, all)
		default:
			return all
		}
	}
	return b
}

type faulty struct {
	provider.Store
	fault fault

	mu     sync.Mutex
	shared map[string]*provider.Grant // guarded by mu
	became map[string]string          // guarded by mu
	early  []feed.Event
	added  []string // grants, guarded by mu
	tokens []string // guarded by mu
}

func (s *faulty) View(ctx context.Context, fn func(provider.Tx) error) error {
	switch s.fault {
	case "contexts are ignored":
		ctx = context.WithoutCancel(ctx)
	case "a View reads without a lock":
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(&unlocked{s: s, ctx: ctx})
	}
	return s.Store.View(ctx, func(tx provider.Tx) error {
		err := fn(&faultyTx{Tx: tx, s: s})
		if s.fault == "a View swallows what it is to write" && errors.Is(err, provider.ErrReadOnly) {
			err = nil
		}
		return err
	})
}

func (s *faulty) Update(ctx context.Context, fn func(provider.Tx) error) (err error) {
	switch s.fault {
	case "contexts are ignored":
		ctx = context.WithoutCancel(ctx)
	case "a failed Update is kept":
		if e := s.Store.Update(ctx, func(tx provider.Tx) error { err = fn(&faultyTx{Tx: tx, s: s}); return nil }); e != nil {
			return e
		}
		return err
	case "an Update that panics is kept":
		var panicked any
		if e := s.Store.Update(ctx, func(tx provider.Tx) error {
			defer func() { panicked = recover() }()
			err = fn(&faultyTx{Tx: tx, s: s})
			return err
		}); e != nil {
			return e
		}
		if panicked != nil {
			panic(panicked)
		}
		return err
	case "an Update looks, and writes a moment later":
		return s.twice(ctx, false, fn)
	case "only what is written is looked at again":
		return s.twice(ctx, true, fn)
	}
	return s.Store.Update(ctx, func(tx provider.Tx) error { return fn(&faultyTx{Tx: tx, s: s}) })
}

// An unlocked transaction reads from one of its own each time.
type unlocked struct {
	provider.Tx
	s   *faulty
	ctx context.Context
}

func looks[V any](tx *unlocked, fn func(provider.Tx) (V, error)) (v V, err error) {
	runtime.Gosched()
	err = tx.s.Store.View(tx.ctx, func(in provider.Tx) (err error) { v, err = fn(in); return err })
	return v, err
}

func (tx *unlocked) Client(id string) (*provider.Client, error) {
	return looks(tx, func(in provider.Tx) (*provider.Client, error) { return in.Client(id) })
}
func (tx *unlocked) Session(sid string, now time.Time) (*provider.Session, error) {
	return looks(tx, func(in provider.Tx) (*provider.Session, error) { return in.Session(sid, now) })
}
func (tx *unlocked) User(s string) (*provider.User, error) {
	return looks(tx, func(in provider.Tx) (*provider.User, error) { return in.User(s) })
}
func (tx *unlocked) Consent(s, c string) (*provider.Consent, error) {
	return looks(tx, func(in provider.Tx) (*provider.Consent, error) { return in.Consent(s, c) })
}
func (tx *unlocked) Consents(s string) ([]*provider.Consent, error) {
	return looks(tx, func(in provider.Tx) ([]*provider.Consent, error) { return in.Consents(s) })
}
func (tx *unlocked) Code(s string) (*provider.Code, error) {
	return looks(tx, func(in provider.Tx) (*provider.Code, error) { return in.Code(s) })
}
func (tx *unlocked) Device(s string) (*provider.Device, error) {
	return looks(tx, func(in provider.Tx) (*provider.Device, error) { return in.Device(s) })
}
func (tx *unlocked) DeviceOf(s string) (*provider.Device, error) {
	return looks(tx, func(in provider.Tx) (*provider.Device, error) { return in.DeviceOf(s) })
}
func (tx *unlocked) Grant(id string) (*provider.Grant, error) {
	return looks(tx, func(in provider.Tx) (*provider.Grant, error) { return in.Grant(id) })
}
func (tx *unlocked) Token(s string) (*provider.Token, error) {
	return looks(tx, func(in provider.Tx) (*provider.Token, error) { return in.Token(s) })
}
func (tx *unlocked) GrantsOf(s, c string) ([]*provider.Grant, error) {
	return looks(tx, func(in provider.Tx) ([]*provider.Grant, error) { return in.GrantsOf(s, c) })
}
func (tx *unlocked) GrantsBehind(s string) ([]*provider.Grant, error) {
	return looks(tx, func(in provider.Tx) ([]*provider.Grant, error) { return in.GrantsBehind(s) })
}

// A twice is a transaction that is taken back, and notes what it has written, to be
// written a moment later.
type twice struct {
	provider.Tx
	writes []func(provider.Tx) error
}

var (
	errTakenBack = errors.New("taken back")
	errConflict  = errors.New("somebody else has written it")
)

// twice runs fn, and writes later what it has found. Strictly, what comes of a write
// must be what came of it before, or all runs again.
func (s *faulty) twice(ctx context.Context, strictly bool, fn func(provider.Tx) error) error {
	for {
		tx := &twice{}
		var failed error
		if err := s.Store.Update(ctx, func(in provider.Tx) error {
			tx.Tx = in
			failed = fn(tx)
			return errTakenBack
		}); err != errTakenBack {
			return err
		}
		if failed != nil {
			return failed
		}
		runtime.Gosched()
		err := s.Store.Update(ctx, func(in provider.Tx) error {
			for _, write := range tx.writes {
				if err := write(in); err != nil && strictly {
					return err
				}
			}
			return nil
		})
		if err != errConflict {
			return err
		}
	}
}

// both writes, and notes to write it again.
func (tx *twice) both(fn func(provider.Tx) error) error {
	tx.writes = append(tx.writes, fn)
	return fn(tx.Tx)
}

// first is both, of what may be the first.
func (tx *twice) first(fn func(provider.Tx) (bool, error)) (bool, error) {
	first, err := fn(tx.Tx)
	tx.writes = append(tx.writes, func(in provider.Tx) error {
		if again, err := fn(in); err != nil || again == first {
			return err
		}
		return errConflict
	})
	return first, err
}

func (tx *twice) PutConsent(c *provider.Consent) error {
	return tx.both(func(in provider.Tx) error { return in.PutConsent(c) })
}
func (tx *twice) EndConsent(s, c string) (bool, error) {
	return tx.first(func(in provider.Tx) (bool, error) { return in.EndConsent(s, c) })
}
func (tx *twice) AddCode(c *provider.Code) error {
	d := *c
	return tx.both(func(in provider.Tx) error { return in.AddCode(&d) })
}
func (tx *twice) AddGrant(g *provider.Grant) error {
	return tx.both(func(in provider.Tx) error { return in.AddGrant(g) })
}
func (tx *twice) AddToken(t *provider.Token) error {
	return tx.both(func(in provider.Tx) error { return in.AddToken(t) })
}
func (tx *twice) EndToken(s string) error {
	return tx.both(func(in provider.Tx) error { return in.EndToken(s) })
}
func (tx *twice) Tell(e feed.Event) error {
	return tx.both(func(in provider.Tx) error { return in.Tell(e) })
}
func (tx *twice) Note(n provider.Note) error {
	return tx.both(func(in provider.Tx) error { return in.Note(n) })
}
func (tx *twice) SpendCode(s, grant string) (bool, error) {
	return tx.first(func(in provider.Tx) (bool, error) { return in.SpendCode(s, grant) })
}
func (tx *twice) AddDevice(d *provider.Device) error {
	return tx.both(func(in provider.Tx) error { return in.AddDevice(d) })
}
func (tx *twice) DecideDevice(s string, d provider.Decision, by *provider.Session) (bool, error) {
	return tx.first(func(in provider.Tx) (bool, error) { return in.DecideDevice(s, d, by) })
}
func (tx *twice) SpendDevice(s, grant string) (bool, error) {
	return tx.first(func(in provider.Tx) (bool, error) { return in.SpendDevice(s, grant) })
}
func (tx *twice) SlowDevice(s string, interval time.Duration) error {
	return tx.both(func(in provider.Tx) error { return in.SlowDevice(s, interval) })
}
func (tx *twice) Spend(purpose, id string, until time.Time) (bool, error) {
	return tx.first(func(in provider.Tx) (bool, error) { return in.Spend(purpose, id, until) })
}
func (tx *twice) EndGrant(id, reason string, now time.Time) (bool, error) {
	return tx.first(func(in provider.Tx) (bool, error) { return in.EndGrant(id, reason, now) })
}
func (tx *twice) RotateGrant(id string, n uint64, next token.Digest, now time.Time) error {
	if err := tx.Tx.RotateGrant(id, n, next, now); err != nil {
		return err
	}
	tx.writes = append(tx.writes, func(in provider.Tx) error {
		if in.RotateGrant(id, n, next, now) != nil {
			return errConflict
		}
		return nil
	})
	return nil
}

// A faultyTx is a transaction with one fault.
type faultyTx struct {
	provider.Tx
	s     *faulty
	added []string // grants, by this one
}

func (tx *faultyTx) is(f fault) bool { return tx.s.fault == f }

func (tx *faultyTx) Client(id string) (*provider.Client, error) {
	c, err := tx.Tx.Client(id)
	switch {
	case c == nil && tx.is("clients fold case"):
		return tx.Tx.Client(strings.ToLower(id))
	case c != nil && tx.is("a secret of a client does not expire"):
		d := *c
		d.Secrets = slices.Clone(c.Secrets)
		for i := range d.Secrets {
			d.Secrets[i].Expires = time.Time{}
		}
		return &d, err
	}
	return c, err
}

func (tx *faultyTx) Session(sid string, now time.Time) (*provider.Session, error) {
	if tx.is("expired sessions live") {
		now = time.Time{}
	}
	return tx.Tx.Session(sid, now)
}

func (tx *faultyTx) Consent(subject, client string) (*provider.Consent, error) {
	c, err := tx.Tx.Consent(subject, client)
	if tx.is("consents are of everybody") && c == nil {
		return tx.Tx.Consent("name1", client)
	}
	return c, err
}

func (tx *faultyTx) PutConsent(c *provider.Consent) error {
	if old, _ := tx.Tx.Consent(c.Subject, c.Client); old != nil && tx.is("consents are kept as they were first") {
		return nil
	}
	return tx.Tx.PutConsent(c)
}

func (tx *faultyTx) EndConsent(subject, client string) (bool, error) {
	if tx.is("consents do not end") {
		c, err := tx.Tx.Consent(subject, client)
		return c != nil, err
	}
	return tx.Tx.EndConsent(subject, client)
}

func (tx *faultyTx) Code(selector string) (*provider.Code, error) {
	c, err := tx.Tx.Code(selector)
	switch {
	case c == nil:
		if tx.is("what is not there is an error") {
			err = errors.New("no rows")
		}
	case tx.is("spent codes are forgotten") && c.Grant != "":
		return nil, nil
	case tx.is("what a code became is what it was asked for last"):
		tx.s.mu.Lock()
		c.Grant = tx.s.became[selector]
		tx.s.mu.Unlock()
	}
	return c, err
}

func (tx *faultyTx) AddCode(c *provider.Code) error {
	d := *c
	switch tx.s.fault {
	case "the nonce is forgotten":
		d.Asked.Nonce = ""
	case "the wishes for claims are forgotten":
		d.Asked.Claims = nil
	case "the method of the session is forgotten":
		d.Session.AMR = nil
	case "times are whole seconds":
		d.Session.AuthTime = d.Session.AuthTime.Truncate(time.Second)
	case "add overwrites":
		if old, _ := tx.Tx.Code(d.Selector); old != nil {
			return nil
		}
	}
	return tx.Tx.AddCode(&d)
}

func (tx *faultyTx) SpendCode(selector, grant string) (bool, error) {
	tx.s.mu.Lock()
	tx.s.became[selector] = grant
	tx.s.mu.Unlock()
	first, err := tx.Tx.SpendCode(selector, grant)
	return first || tx.is("every code is spent first") && grant != "x", err
}

func (tx *faultyTx) DeviceOf(userCode string) (*provider.Device, error) {
	if d, _ := tx.Tx.Device(userCode); d != nil && tx.is("a device is found by any code") {
		return d, nil
	}
	return tx.Tx.DeviceOf(userCode)
}

func (tx *faultyTx) AddDevice(d *provider.Device) error {
	e := *d
	if tx.is("where a device has asked from is forgotten") {
		e.Address = ""
	}
	return tx.Tx.AddDevice(&e)
}

func (tx *faultyTx) DecideDevice(selector string, d provider.Decision, by *provider.Session) (bool, error) {
	if tx.is("who decides is forgotten") {
		by = &provider.Session{}
	}
	first, err := tx.Tx.DecideDevice(selector, d, by)
	return first || tx.is("every decision is the first"), err
}

func (tx *faultyTx) SpendDevice(selector, grant string) (bool, error) {
	first, err := tx.Tx.SpendDevice(selector, grant)
	d, _ := tx.Tx.Device(selector)
	return first || d != nil && d.Decision == provider.Deny && tx.is("what is denied is spent"), err
}

func (tx *faultyTx) SlowDevice(selector string, interval time.Duration) error {
	if tx.is("no device slows down") {
		return nil
	}
	return tx.Tx.SlowDevice(selector, interval)
}

func (tx *faultyTx) AddGrant(g *provider.Grant) error {
	h := *g
	if tx.is("the key of a grant is forgotten") {
		h.JKT = ""
	}
	tx.added = append(tx.added, g.ID)
	tx.s.mu.Lock()
	tx.s.added = append(tx.s.added, g.ID)
	tx.s.mu.Unlock()
	return tx.Tx.AddGrant(&h)
}

func (tx *faultyTx) Grant(id string) (*provider.Grant, error) {
	g, err := tx.Tx.Grant(id)
	if tx.is("an Update reads what was before") && slices.Contains(tx.added, id) {
		return nil, err
	}
	if g == nil || !tx.is("a record is the store's own") {
		return g, err
	}
	tx.s.mu.Lock()
	defer tx.s.mu.Unlock()
	if own := tx.s.shared[id]; own != nil && own.N == g.N || own != nil && own.N == 99 {
		return own, nil
	}
	tx.s.shared[id] = g
	return g, nil
}

func (tx *faultyTx) RotateGrant(id string, n uint64, next token.Digest, now time.Time) error {
	switch tx.s.fault {
	case "the token before is forgotten":
		if err := tx.Tx.RotateGrant(id, n, next, now); err != nil {
			return err
		}
		n++
	case "a rotation keeps its time":
		if g, _ := tx.Tx.Grant(id); g != nil {
			now = g.RotatedAt
		}
	case "a rotation does not compare":
		if g, _ := tx.Tx.Grant(id); g != nil && g.Ended == "" {
			n = g.N
		}
	case "a rotation that does not happen is no error":
		tx.Tx.RotateGrant(id, n, next, now)
		return nil
	}
	return tx.Tx.RotateGrant(id, n, next, now)
}

func (tx *faultyTx) EndGrant(id, reason string, now time.Time) (bool, error) {
	ended, err := tx.Tx.EndGrant(id, reason, now)
	if g, _ := tx.Tx.Grant(id); g != nil && tx.is("every end is the first") {
		ended = true
	}
	return ended, err
}

func (tx *faultyTx) GrantsOf(subject, client string) ([]*provider.Grant, error) {
	switch tx.s.fault {
	case "grants are found of every client":
		client = ""
	case "ended grants are found":
		all, err := tx.Tx.GrantsOf(subject, client)
		for _, id := range tx.s.added {
			if g, _ := tx.Tx.Grant(id); g != nil && g.Ended != "" {
				all = append(all, g)
			}
		}
		return all, err
	}
	return tx.Tx.GrantsOf(subject, client)
}

func (tx *faultyTx) GrantsBehind(sid string) ([]*provider.Grant, error) {
	all, err := tx.Tx.GrantsBehind(sid)
	if tx.is("grants behind nothing are found behind everything") {
		for _, id := range tx.s.added {
			if g, _ := tx.Tx.Grant(id); g != nil && g.SID == "" {
				all = append(all, g)
			}
		}
	}
	return all, err
}

func (tx *faultyTx) AddToken(t *provider.Token) error {
	u := *t
	switch tx.s.fault {
	case "epochs are floats":
		u.SEV = uint64(float64(u.SEV))
	case "one audience is kept":
		u.Audience = u.Audience[:min(1, len(u.Audience))]
	}
	tx.s.mu.Lock()
	tx.s.tokens = append(tx.s.tokens, t.Selector)
	tx.s.mu.Unlock()
	return tx.Tx.AddToken(&u)
}

func (tx *faultyTx) EndToken(selector string) error {
	switch tx.s.fault {
	case "tokens do not end":
		return nil
	case "ending one token ends its grant's":
		var all error
		for _, s := range tx.s.tokens {
			all = errors.Join(all, tx.Tx.EndToken(s))
		}
		return all
	}
	return tx.Tx.EndToken(selector)
}

func (tx *faultyTx) Spend(purpose, id string, until time.Time) (bool, error) {
	switch tx.s.fault {
	case "purposes are one":
		purpose = ""
	case "purpose and id are run together":
		purpose, id = "", purpose+id
	case "ids fold case":
		id = strings.ToLower(id)
	}
	return tx.Tx.Spend(purpose, id, until)
}

func (tx *faultyTx) Tell(e feed.Event) error {
	if tx.is("a failed Update tells") {
		tx.s.early = append(tx.s.early, e)
		return nil
	}
	return tx.Tx.Tell(e)
}
