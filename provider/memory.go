package provider

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/token"
)

// ErrFull says that a [Memory] has no room for what is to be added.
var ErrFull = admit.Unavailable.New("provider_full", "There are too many grants just now.").WithHint("Try again in a moment.")

var (
	errTaken    = errors.New("provider: there is one by that name already")
	errOutdated = errors.New("provider: the grant is at another rotation, or has ended")
)

// Memory is a [Store] in the process's own memory: what it keeps ends with it.
//
// Clients, users and sessions are those that it is told of by [Memory.PutClient] and its
// siblings. One transaction writes at a time, and none reads meanwhile.
//
// It is bounded, and reads no clock: a record that has expired goes as later times
// are told it, with what is added.
type Memory struct {
	o MemoryOptions

	mu         sync.RWMutex // guards all below
	clients    map[string]*Client
	invites    map[string]Invite
	users      map[string]User
	sessions   map[string]Session
	consents   map[pair]Consent
	codes      map[string]Code
	pushed     map[string]Pushed
	devices    map[string]Device
	userCodes  map[string]string // user code → selector
	grants     map[string]Grant
	tokens     map[string]Token
	spent      map[pair]time.Time
	deliveries map[string]Delivery
	of         map[string]map[string]bool // subject → grants that live
	behind     map[string]map[string]bool // sid → grants that live
	expiries   expiries
	latest     time.Time // that it was told
}

// A pair is a name made of two.
type pair struct{ a, b string }

// MemoryOptions are the choices of a [Memory].
type MemoryOptions struct {
	MaxRecords int        // that expire, and consents: 1,000,000 unless set
	Feed       feed.Sink  // is told what ends; nil for nobody
	Note       func(Note) // keeps events of importance; nil for nobody
}

// NewMemory returns an empty store. Nil options are the defaults.
func NewMemory(o *MemoryOptions) *Memory {
	m := &Memory{
		clients: map[string]*Client{}, invites: map[string]Invite{}, users: map[string]User{}, sessions: map[string]Session{}, consents: map[pair]Consent{},
		codes: map[string]Code{}, pushed: map[string]Pushed{}, devices: map[string]Device{}, userCodes: map[string]string{},
		grants: map[string]Grant{}, tokens: map[string]Token{}, spent: map[pair]time.Time{}, deliveries: map[string]Delivery{},
		of: map[string]map[string]bool{}, behind: map[string]map[string]bool{},
	}
	if o != nil {
		m.o = *o
	}
	if m.o.MaxRecords <= 0 {
		m.o.MaxRecords = 1_000_000
	}
	return m
}

// PutClient registers a client, in place of one with its id.
func (m *Memory) PutClient(c Client) { m.set(func() { m.clients[c.ID] = &c }) }

// RemoveClient forgets a client.
func (m *Memory) RemoveClient(id string) { m.set(func() { delete(m.clients, id) }) }

// PutInvite lets who has its token register clients.
func (m *Memory) PutInvite(i Invite) { m.set(func() { m.invites[i.ID] = i }) }

// PutUser notes who may sign in, in place of one with that subject.
func (m *Memory) PutUser(u User) { m.set(func() { m.users[u.Subject] = u }) }

// RemoveUser forgets a user, who may sign in no more.
func (m *Memory) RemoveUser(subject string) { m.set(func() { delete(m.users, subject) }) }

// PutSession notes a session, in place of one with that sid.
func (m *Memory) PutSession(s Session) { m.set(func() { m.sessions[s.SID] = s }) }

// RemoveSession forgets a session, which has ended.
func (m *Memory) RemoveSession(sid string) { m.set(func() { delete(m.sessions, sid) }) }

func (m *Memory) set(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
}

// View implements [Store].
func (m *Memory) View(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return fn(&memoryTx{Memory: m})
}

// Update implements [Store].
func (m *Memory) Update(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tx := &memoryTx{Memory: m, writes: true}
	if err := m.update(ctx, tx, fn); err != nil {
		return err
	}
	if m.o.Note != nil {
		for _, n := range tx.notes {
			m.o.Note(n)
		}
	}
	return nil
}

func (m *Memory) update(ctx context.Context, tx *memoryTx, fn func(Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.size()+roomToSpare > m.o.MaxRecords {
		m.sweep(m.o.MaxRecords)
	}
	kept := false
	defer func() { // after a panic too
		if !kept {
			tx.rollback()
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	// Before anybody can see what it is about.
	if m.o.Feed != nil && len(tx.told) > 0 {
		if err := m.o.Feed.Append(ctx, m.latest, tx.told...); err != nil {
			return fmt.Errorf("tell what has ended: %w", err)
		}
	}
	kept = true
	m.expiries.take(tx.fresh)
	m.sweep(2*len(tx.fresh) + 1)
	return nil
}

// A memoryTx is a transaction. It writes at once, and knows how to take it back.
type memoryTx struct {
	*Memory
	writes bool
	undo   []func()
	fresh  []expiry
	told   []feed.Event
	notes  []Note
}

func (tx *memoryTx) rollback() {
	for _, undo := range slices.Backward(tx.undo) {
		undo()
	}
}

// put writes a record, and knows which was there.
func put[K comparable, V any](tx *memoryTx, in map[K]V, key K, v V) {
	old, was := in[key]
	in[key] = v
	tx.undo = append(tx.undo, func() {
		if delete(in, key); was {
			in[key] = old
		}
	})
}

// replace puts a record, in place of one with its key where there is one.
func replace[K comparable, V any](tx *memoryTx, in map[K]V, key K, v V) error {
	if !tx.writes {
		return ErrReadOnly
	}
	if _, known := in[key]; !known {
		if err := tx.room(); err != nil {
			return err
		}
	}
	put(tx, in, key, v)
	return nil
}

// remove removes a record, and reports whether it was there.
func remove[K comparable, V any](tx *memoryTx, in map[K]V, key K) (was bool, err error) {
	if !tx.writes {
		return false, ErrReadOnly
	}
	old, was := in[key]
	if was {
		delete(in, key)
		tx.undo = append(tx.undo, func() { in[key] = old })
	}
	return was, nil
}

// add writes a record that was not there, and goes when it has expired.
func add[K comparable, V any](tx *memoryTx, in map[K]V, key K, v V, e expiry) error {
	switch _, taken := in[key]; {
	case !tx.writes:
		return ErrReadOnly
	case taken:
		return errTaken
	}
	if err := tx.room(); err != nil {
		return err
	}
	in[key] = v
	tx.undo = append(tx.undo, func() { delete(in, key) })
	tx.fresh = append(tx.fresh, e)
	return nil
}

// roomToSpare is how near to its bound a store gets before it looks for what may go: no
// transaction adds more than that.
const roomToSpare = 8

// room reports whether one more record can be kept.
func (tx *memoryTx) room() error {
	if tx.size() >= tx.o.MaxRecords {
		return ErrFull
	}
	return nil
}

func (m *Memory) size() int {
	return len(m.clients) + len(m.codes) + len(m.pushed) + len(m.devices) + len(m.grants) + len(m.tokens) + len(m.spent) + len(m.consents) + len(m.deliveries)
}

// hear keeps the latest time that was told.
func (m *Memory) hear(now time.Time) {
	if now.After(m.latest) {
		m.latest = now
	}
}

// Client implements [Tx].
func (tx *memoryTx) Client(id string) (*Client, error) { return tx.clients[id], nil }

// PutClient implements [Tx].
func (tx *memoryTx) PutClient(c *Client) error {
	own := *c
	return replace(tx, tx.clients, c.ID, &own)
}

// DeleteClient implements [Tx]. It looks at everything there is: clients go seldom.
func (tx *memoryTx) DeleteClient(id string) error {
	if was, err := remove(tx, tx.clients, id); !was {
		return err
	}
	drop(tx, tx.consents, func(c Consent) bool { return c.Client == id })
	drop(tx, tx.codes, func(c Code) bool { return c.Asked.Client == id })
	drop(tx, tx.pushed, func(p Pushed) bool { return p.Client == id })
	for _, d := range drop(tx, tx.devices, func(d Device) bool { return d.Asked.Client == id }) {
		delete(tx.userCodes, d.UserCode)
		tx.undo = append(tx.undo, func() { tx.userCodes[d.UserCode] = d.Selector })
	}
	for _, g := range drop(tx, tx.grants, func(g Grant) bool { return g.Client == id }) {
		if g.Ended == "" {
			tx.forget(g.Subject, g.SID, g.ID)
			tx.undo = append(tx.undo, func() { tx.index(g.Subject, g.SID, g.ID) })
		}
	}
	return nil
}

// drop removes records of a map, and returns them.
func drop[K comparable, V any](tx *memoryTx, in map[K]V, which func(V) bool) (gone []V) {
	for key, v := range in {
		if which(v) {
			delete(in, key)
			tx.undo = append(tx.undo, func() { in[key] = v })
			gone = append(gone, v)
		}
	}
	return gone
}

// Invite implements [Tx].
func (tx *memoryTx) Invite(id string) (*Invite, error) { return found(tx.invites, id) }

// UseInvite implements [Tx].
func (tx *memoryTx) UseInvite(id string, now time.Time) (bool, error) {
	i, ok := tx.invites[id]
	switch {
	case !tx.writes:
		return false, ErrReadOnly
	case !ok || i.Uses < 1 || !now.Before(i.Expires):
		return false, nil
	}
	i.Uses--
	put(tx, tx.invites, id, i)
	return true, nil
}

// Session implements [Tx].
func (tx *memoryTx) Session(sid string, now time.Time) (*Session, error) {
	if s, ok := tx.sessions[sid]; ok && now.Before(s.Expires) {
		return &s, nil
	}
	return nil, nil
}

// User implements [Tx].
func (tx *memoryTx) User(subject string) (*User, error) { return found(tx.users, subject) }

// Consent implements [Tx].
func (tx *memoryTx) Consent(subject, client string) (*Consent, error) {
	return found(tx.consents, pair{subject, client})
}

// found returns a copy of one record of a map, nil for none.
func found[K comparable, V any](in map[K]V, key K) (*V, error) {
	if v, ok := in[key]; ok {
		return &v, nil
	}
	return nil, nil
}

// PutConsent implements [Tx].
func (tx *memoryTx) PutConsent(c *Consent) error {
	return replace(tx, tx.consents, pair{c.Subject, c.Client}, Consent{c.Subject, c.Client, slices.Clone(c.Scopes), slices.Clone(c.Audiences), c.GivenAt, c.LastUsed})
}

// Consents implements [Tx].
func (tx *memoryTx) Consents(subject string) (all []*Consent, err error) {
	for name, c := range tx.consents { // a look for who reads a page
		if name.a == subject {
			all = append(all, &c)
		}
	}
	return all, nil
}

// EndConsent implements [Tx].
func (tx *memoryTx) EndConsent(subject, client string) (bool, error) {
	return remove(tx, tx.consents, pair{subject, client})
}

// Code implements [Tx].
func (tx *memoryTx) Code(selector string) (*Code, error) { return found(tx.codes, selector) }

// AddCode implements [Tx].
func (tx *memoryTx) AddCode(c *Code) error {
	if tx.writes {
		tx.hear(c.Asked.At)
	}
	return add(tx, tx.codes, c.Selector, *c, expiry{c.Expires, ofCode, pair{a: c.Selector}})
}

// SpendCode implements [Tx].
func (tx *memoryTx) SpendCode(selector, grant string) (bool, error) {
	c, ok := tx.codes[selector]
	switch {
	case !tx.writes:
		return false, ErrReadOnly
	case !ok || c.Grant != "":
		return false, nil
	}
	c.Grant = grant
	put(tx, tx.codes, selector, c)
	return true, nil
}

// Pushed implements [Tx].
func (tx *memoryTx) Pushed(selector string) (*Pushed, error) { return found(tx.pushed, selector) }

// AddPushed implements [Tx].
func (tx *memoryTx) AddPushed(p *Pushed) error {
	if tx.writes {
		tx.hear(p.At)
	}
	return add(tx, tx.pushed, p.Selector, *p, expiry{p.Expires, ofPushed, pair{a: p.Selector}})
}

// DropPushed implements [Tx].
func (tx *memoryTx) DropPushed(selector string) (bool, error) {
	return remove(tx, tx.pushed, selector)
}

// Device implements [Tx].
func (tx *memoryTx) Device(selector string) (*Device, error) { return found(tx.devices, selector) }

// DeviceOf implements [Tx].
func (tx *memoryTx) DeviceOf(userCode string) (*Device, error) {
	return found(tx.devices, tx.userCodes[userCode])
}

// AddDevice implements [Tx].
func (tx *memoryTx) AddDevice(d *Device) error {
	if _, taken := tx.userCodes[d.UserCode]; taken && tx.writes {
		return errTaken
	}
	if tx.writes {
		tx.hear(d.Asked.At)
	}
	if err := add(tx, tx.devices, d.Selector, *d, expiry{d.Expires, ofDevice, pair{d.Selector, d.UserCode}}); err != nil {
		return err
	}
	tx.userCodes[d.UserCode] = d.Selector
	tx.undo = append(tx.undo, func() { delete(tx.userCodes, d.UserCode) })
	return nil
}

// DecideDevice implements [Tx].
func (tx *memoryTx) DecideDevice(selector string, decided Decision, by *Session) (bool, error) {
	return tx.changeDevice(selector, func(d *Device) bool {
		undecided := d.Decision == Undecided
		if undecided {
			d.Decision, d.Session = decided, *by
		}
		return undecided
	})
}

// SpendDevice implements [Tx].
func (tx *memoryTx) SpendDevice(selector, grant string) (bool, error) {
	return tx.changeDevice(selector, func(d *Device) bool {
		good := d.Decision == Allow && d.Grant == ""
		if good {
			d.Grant = grant
		}
		return good
	})
}

// SlowDevice implements [Tx].
func (tx *memoryTx) SlowDevice(selector string, interval time.Duration) error {
	_, err := tx.changeDevice(selector, func(d *Device) bool { d.Interval = interval; return true })
	return err
}

// changeDevice changes one that is there, and reports whether it did.
func (tx *memoryTx) changeDevice(selector string, change func(*Device) bool) (bool, error) {
	d, ok := tx.devices[selector]
	switch {
	case !tx.writes:
		return false, ErrReadOnly
	case !ok || !change(&d):
		return false, nil
	}
	put(tx, tx.devices, selector, d)
	return true, nil
}

// Grant implements [Tx].
func (tx *memoryTx) Grant(id string) (*Grant, error) { return found(tx.grants, id) }

// AddGrant implements [Tx].
func (tx *memoryTx) AddGrant(g *Grant) error {
	if tx.writes {
		tx.hear(g.BegunAt)
	}
	if err := add(tx, tx.grants, g.ID, *g, expiry{g.Expires, ofGrant, pair{a: g.ID}}); err != nil {
		return err
	}
	if subject, sid, id := g.Subject, g.SID, g.ID; subject != "" || sid != "" {
		tx.index(subject, sid, id)
		tx.undo = append(tx.undo, func() { tx.forget(subject, sid, id) })
	}
	return nil
}

// index has GrantsOf and GrantsBehind find a grant.
func (m *Memory) index(subject, sid, grant string) {
	enter := func(in map[string]map[string]bool, key string) {
		if key == "" {
			return
		}
		if in[key] == nil {
			in[key] = map[string]bool{}
		}
		in[key][grant] = true
	}
	enter(m.of, subject)
	enter(m.behind, sid)
}

// forget has them find it no more.
func (m *Memory) forget(subject, sid, grant string) {
	if delete(m.of[subject], grant); len(m.of[subject]) == 0 {
		delete(m.of, subject)
	}
	if delete(m.behind[sid], grant); len(m.behind[sid]) == 0 {
		delete(m.behind, sid)
	}
}

// RotateGrant implements [Tx].
func (tx *memoryTx) RotateGrant(id string, n uint64, next token.Digest, now time.Time) error {
	g, ok := tx.grants[id]
	switch {
	case !tx.writes:
		return ErrReadOnly
	case !ok || g.N != n || g.Ended != "":
		return errOutdated
	}
	tx.hear(now)
	g.N, g.Previous, g.Current, g.RotatedAt = n+1, g.Current, next, now
	put(tx, tx.grants, id, g)
	return nil
}

// EndGrant implements [Tx].
func (tx *memoryTx) EndGrant(id, reason string, now time.Time) (bool, error) {
	g, ok := tx.grants[id]
	switch {
	case !tx.writes:
		return false, ErrReadOnly
	case !ok || g.Ended != "":
		return false, nil
	}
	tx.hear(now)
	g.Ended = reason
	put(tx, tx.grants, id, g)
	if g.SID == "" {
		tx.forget(g.Subject, "", id)
		tx.undo = append(tx.undo, func() { tx.index(g.Subject, "", id) })
	}
	return true, nil
}

// Outlive implements [Tx].
func (tx *memoryTx) Outlive(id string) error {
	g, ok := tx.grants[id]
	switch {
	case !tx.writes:
		return ErrReadOnly
	case !ok:
		return nil
	}
	subject, sid := g.Subject, g.SID
	g.SID = ""
	put(tx, tx.grants, id, g)
	tx.forget(subject, sid, id)
	if g.Ended == "" {
		tx.index(subject, "", id)
	}
	tx.undo = append(tx.undo, func() { tx.index(subject, sid, id) })
	return nil
}

// GrantsOf implements [Tx].
func (tx *memoryTx) GrantsOf(subject, client string) ([]*Grant, error) {
	return tx.all(tx.of[subject], client), nil
}

// GrantsBehind implements [Tx].
func (tx *memoryTx) GrantsBehind(sid string) ([]*Grant, error) {
	return tx.all(tx.behind[sid], ""), nil
}

// all returns grants in the order of their ids.
func (tx *memoryTx) all(ids map[string]bool, client string) (grants []*Grant) {
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if g := tx.grants[id]; client == "" || g.Client == client {
			grants = append(grants, &g)
		}
	}
	return grants
}

// Token implements [Tx].
func (tx *memoryTx) Token(selector string) (*Token, error) { return found(tx.tokens, selector) }

// AddToken implements [Tx].
func (tx *memoryTx) AddToken(t *Token) error {
	if tx.writes {
		tx.hear(t.Issued)
	}
	return add(tx, tx.tokens, t.Selector, *t, expiry{t.Expires, ofToken, pair{a: t.Selector}})
}

// EndToken implements [Tx].
func (tx *memoryTx) EndToken(selector string) error {
	_, err := remove(tx, tx.tokens, selector)
	return err
}

// Spend implements [Tx].
func (tx *memoryTx) Spend(purpose, id string, until time.Time) (bool, error) {
	name := pair{purpose, id}
	err := add(tx, tx.spent, name, until, expiry{until, ofSpent, name})
	if err == errTaken {
		return false, nil
	}
	return err == nil, err
}

// Spent implements [Tx].
func (tx *memoryTx) Spent(purpose, id string) (bool, error) {
	_, spent := tx.spent[pair{purpose, id}]
	return spent, nil
}

// Deliveries implements [Tx].
func (tx *memoryTx) Deliveries(now time.Time, most int) (due []*Delivery, err error) {
	for _, d := range tx.deliveries {
		if !d.Due.After(now) {
			due = append(due, &d)
		}
	}
	slices.SortFunc(due, func(a, b *Delivery) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID)) })
	return due[:min(most, len(due))], nil
}

// PutDelivery implements [Tx].
func (tx *memoryTx) PutDelivery(d *Delivery) error {
	return replace(tx, tx.deliveries, d.ID, *d)
}

// DropDelivery implements [Tx].
func (tx *memoryTx) DropDelivery(id string) error {
	_, err := remove(tx, tx.deliveries, id)
	return err
}

// Place implements [Tx]: there are no status lists.
func (tx *memoryTx) Place(string, *IDs, time.Time) ([]byte, error) { return nil, nil }

// Tell implements [Tx].
func (tx *memoryTx) Tell(e feed.Event) error {
	if !tx.writes {
		return ErrReadOnly
	}
	tx.told = append(tx.told, e)
	return nil
}

// Note implements [Tx].
func (tx *memoryTx) Note(n Note) error {
	if !tx.writes {
		return ErrReadOnly
	}
	tx.notes = append(tx.notes, n)
	return nil
}

// An expiry is when a record goes.
type expiry struct {
	at   time.Time
	of   recordKind
	name pair
}

type recordKind uint8

const (
	ofCode recordKind = iota
	ofGrant
	ofToken
	ofSpent
	ofPushed
	ofDevice
)

// expiries is a heap, the next one first, so that no sweep looks at what stays.
type expiries []expiry

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e expiries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *expiries) Push(x any)        { *e = append(*e, x.(expiry)) }
func (e *expiries) Pop() any {
	last := (*e)[len(*e)-1]
	(*e)[len(*e)-1] = expiry{}
	*e = (*e)[:len(*e)-1]
	return last
}

func (e *expiries) take(all []expiry) {
	for _, one := range all {
		heap.Push(e, one)
	}
}

// sweep removes up to so many records that have expired.
func (m *Memory) sweep(most int) {
	for ; most > 0 && len(m.expiries) > 0 && m.expiries[0].at.Before(m.latest); most-- {
		e := heap.Pop(&m.expiries).(expiry)
		switch e.of {
		case ofCode:
			delete(m.codes, e.name.a)
		case ofGrant:
			g := m.grants[e.name.a] // none where it went with its client
			m.forget(g.Subject, g.SID, g.ID)
			delete(m.grants, e.name.a)
		case ofToken:
			delete(m.tokens, e.name.a)
		case ofSpent:
			delete(m.spent, e.name)
		case ofPushed:
			delete(m.pushed, e.name.a)
		case ofDevice:
			delete(m.devices, e.name.a)
			delete(m.userCodes, e.name.b)
		}
	}
}
