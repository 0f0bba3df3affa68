package session

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/token"
)

// NewSealed returns a Manager whose sessions travel in their cookies, encrypted
// under the first of the keys and readable under each. The store keeps a guard of
// each live session: its id, the generation of its cookie and when it ends.
//
//	sessions, err := session.NewSealed[Visit](session.NewMemory(nil), keys, nil)
//
// All methods mean what they mean with [New]. Each change of the data makes a new
// generation, and an older cookie brings nothing back: while the newer one may
// not have reached the browser the guard keeps it too, and a request with the
// older one is rolled forward to it; after that the older one is refused with an
// [EndedError] that says [ReasonReplaced]. Where the guard is gone, so is the session.
//
// [Manager.Handler] tells guards what they need keep no longer. Without it, each
// keeps the newest cookie as long as the session is not ended.
//
// A session has room for about 2,900 bytes of data: name and value of a cookie are
// 4,096 at most. What does not fit is ErrTooLarge, and nothing has changed. List
// and Find know of a session what its guard knows: SID, Subject, IdleExpiresAt,
// ExpiresAt, Epoch. Options.Bearer and Options.Named are for sessions that are kept.
func NewSealed[D any](guards Store, keys *cookie.Keys, o *Options) (*Manager[D], error) {
	if o == nil {
		o = &Options{}
	}
	switch {
	case keys == nil:
		return nil, errors.New("session: no keys")
	case o.Bearer || o.Named != nil || o.InsecureURLSessions:
		return nil, errors.New("session: a sealed session is in a cookie: neither Bearer nor Named nor InsecureURLSessions")
	case guards != nil && o.InsecureNoGuard:
		return nil, errors.New("session: a store for guards, and InsecureNoGuard")
	case guards == nil && !o.InsecureNoGuard:
		return nil, errors.New("session: NewSealed needs a store for guards; Options.InsecureNoGuard goes without")
	}
	s := &sealed{guards: guards, keys: keys}
	var store Store = s
	if guards == nil {
		store = unguarded{s}
	}
	m, err := New[D](store, o)
	if err != nil {
		return nil, err
	}
	m.seal, s.cookie = s, m.cookie
	if s.epochs, _ = guards.(EpochGetter); s.epochs == nil {
		m.epochs = nil
	}
	return m, nil
}

// ErrNoGuard is the refusal to end what nobody keeps.
var ErrNoGuard = admit.Invalid.New("no_guard", "Sessions that are kept in cookies alone cannot be ended from afar.")

// sealed is a store to its Manager: of records that requests carry, and guards
// that another store keeps. What a call's request carried, and the cookie that it
// is to be answered with, are in the call's context: see [carry].
type sealed struct {
	guards Store
	epochs EpochGetter // guards, if it is one
	keys   *cookie.Keys
	cookie *cookie.Cookie
}

// A carry is the context of one call of a Manager. The cookies in it are read once
// for a request.
type carry struct {
	context.Context
	seal   *sealed
	first  carried
	others []carried // who has more than one was planted some

	guard   guard // as it was read last
	of      string
	version uint64
	newest  *carried // that was read with it

	token string // that the call gives out; "" where the request's stays

	text string // to set the cookie to; "" for as it is
	age  time.Duration
}

// A carried is a good cookie, opened.
type carried struct {
	text       string // sealed
	old        bool   // under an older key
	generation uint32
	expires    int64 // Unix milliseconds; 0 but for what has no guard
	token      string
	subject    string
	record     string
}

// Value returns the context itself for its store.
func (c *carry) Value(key any) any {
	if key == any(c.seal) {
		return c
	}
	return c.Context.Value(key)
}

// carry opens the request's cookies, where sessions are in them. Else the carry is
// nil, and does nothing.
func (m *Manager[D]) carry(r *http.Request) (*http.Request, *carry) {
	if m.seal == nil {
		return r, nil
	}
	p := new(struct {
		carry   carry
		request http.Request
	})
	c := &p.carry
	c.Context, c.seal = r.Context(), m.seal
	if before := m.seal.carried(c.Context); before != nil {
		c.first, c.others, c.guard, c.of, c.version = before.first, before.others, before.guard, before.of, before.version
	} else {
		var buf [maxCookies]string
		for _, text := range cookie.Values(r.Header, m.seal.cookie.Name(), buf[:0]) {
			o := &c.first
			if o.text != "" {
				o = new(carried)
			}
			if m.seal.open(o, text) && o != &c.first {
				c.others = append(c.others, *o)
			}
		}
	}
	copyRequest(&p.request, r, c)
	return &p.request, c
}

// peek is carry for a call that only reads, unless Handler has read just now.
func (m *Manager[D]) peek(r *http.Request) *http.Request {
	if m.seal == nil {
		return r
	}
	if c, ok := r.Context().Value(m).(interface{ fresh(time.Time) bool }); ok && c.fresh(m.made) {
		return r
	}
	r, _ = m.carry(r)
	return r
}

// carried returns the call's carry, nil where there is none.
func (s *sealed) carried(ctx context.Context) *carry {
	if s == nil {
		return nil
	}
	c, _ := ctx.Value(s).(*carry)
	return c
}

// tokens appends the tokens of the cookies.
func (c *carry) tokens(dst []string) []string {
	if c == nil {
		return dst
	}
	if c.first.text != "" {
		dst = append(dst, c.first.token)
	}
	for i := range c.others {
		dst = append(dst, c.others[i].token)
	}
	return dst
}

// find returns the newest cookie of a session, nil where there is none.
func (c *carry) find(sid string) (found *carried) {
	if c == nil || c.first.text == "" {
		return nil
	}
	if sidOf(c.first.token) == sid {
		found = &c.first
	}
	for i := range c.others {
		if o := &c.others[i]; sidOf(o.token) == sid && (found == nil || o.generation > found.generation) {
			found = o
		}
	}
	return found
}

// send sets the cookie, if it is another now.
func (c *carry) send(w http.ResponseWriter) error {
	if c == nil || c.text == "" {
		return nil
	}
	return c.seal.cookie.SetRaw(w, c.text, c.age)
}

// set is send at the end of a call that went well.
func (c *carry) set(w http.ResponseWriter, err *error) {
	if c != nil && *err == nil {
		*err = c.send(w)
	}
}

// gives notes that the call gives a new token out.
func (c *carry) gives(t token.Token) {
	if c != nil {
		c.token = t.Reveal()
	}
}

// renews reports whether the call gives out a new token of the session.
func (c *carry) renews(sid string) bool { return c != nil && c.token != "" && sidOf(c.token) == sid }

// note keeps what the guard was, for the write that follows.
func (c *carry) note(sid string, version uint64, g guard) {
	if c != nil {
		c.of, c.version, c.guard = sid, version, g
	}
}

// answer sets what the cookie will be: this text, of this record.
func (c *carry) answer(text string, rec *record, expires time.Time) {
	if c == nil {
		return
	}
	c.text, c.age = text, 0
	if rec.flags&flagPersistent != 0 {
		now := time.Now()
		c.age = min(expires.Sub(now), rec.end().Sub(now))
	}
}

// In the cookie, sealed:
//
//	format     1 byte
//	generation 4 bytes
//	expires    6 bytes, Unix milliseconds  only without a guard
//	token      as the plain session's cookie has it
//	subject    a byte of length and the text
//	record     the rest, with the data
const (
	formatSealed    = 1
	formatUnguarded = 2
)

func (o *carried) append(b []byte) []byte {
	format := byte(formatSealed)
	if o.expires != 0 {
		format = formatUnguarded
	}
	b = binary.LittleEndian.AppendUint32(append(b, format), o.generation)
	if o.expires != 0 {
		b = appendUint48(b, o.expires)
	}
	b = append(append(b, o.token...), byte(len(o.subject)))
	return append(append(b, o.subject...), o.record...)
}

// parse reads what append wrote. Its texts share the memory of plain.
func (o *carried) parse(plain string) bool {
	head := 1 + 4
	if len(plain) > 0 && plain[0] == formatUnguarded {
		head += 6
	}
	end := head + token.Len + 1
	if len(plain) < end || plain[0] != formatSealed && plain[0] != formatUnguarded || len(plain) < end+int(plain[end-1]) {
		return false
	}
	o.generation = uint32At(plain[1:])
	if plain[0] == formatUnguarded {
		o.expires = int64(uint48(plain[5:]))
	}
	o.token, plain = plain[head:end-1], plain[end-1:]
	o.subject, o.record = plain[1:1+plain[0]], plain[1+plain[0]:]
	return (o.expires != 0) == (head > 5)
}

// close appends the value of the cookie that holds this.
func (s *sealed) close(dst []byte, o *carried, now time.Time) ([]byte, error) {
	if len(o.subject) > maxText {
		return nil, ErrTooLarge
	}
	var plain [512]byte
	before := len(dst)
	dst = s.keys.Seal(dst, s.cookie.Name(), o.append(plain[:0]), now)
	if n := len(s.cookie.Name()) + len(dst) - before; n > cookie.MaxSize {
		return nil, fmt.Errorf("a cookie of %d bytes, %d over the limit of browsers: %w: %w", n, n-cookie.MaxSize, ErrTooLarge, cookie.ErrTooLarge)
	}
	return dst, nil
}

// open reads a cookie's value. It reports false for what is none of ours.
func (s *sealed) open(o *carried, text string) bool {
	var buf [512]byte
	plain, old, err := s.keys.Open(buf[:0], s.cookie.Name(), text, 0, time.Now())
	if err != nil {
		return false
	}
	*o = carried{text: text, old: old}
	if !o.parse(string(plain)) || (o.expires != 0) != (s.guards == nil) {
		*o = carried{}
		return false
	}
	return true
}

// sidOf returns the selector of a session's token.
func sidOf(tok string) string { return tok[len("adm_s_"):][:22] }

// Get implements [Store].
func (s *sealed) Get(ctx context.Context, key string) (Item, error) {
	it, err := s.guards.Get(ctx, key)
	if err != nil || !token.IsSelector(key) {
		return it, err
	}
	return s.unwrap(ctx, key, it)
}

// GetWithEpoch implements [EpochGetter], where the guards' store does.
func (s *sealed) GetWithEpoch(ctx context.Context, key string) (Item, Epoch, error) {
	it, epoch, err := s.epochs.GetWithEpoch(ctx, key)
	if err == nil && token.IsSelector(key) {
		it, err = s.unwrap(ctx, key, it)
	}
	return it, epoch, err
}

// unwrap puts the record in the place of its guard: that of the newest cookie,
// which the request carries or the guard keeps.
func (s *sealed) unwrap(ctx context.Context, key string, it Item) (Item, error) {
	c := s.carried(ctx)
	o := c.find(key)
	var g guard
	if !g.parse(&it) {
		return buried(it, o), nil
	}
	if o == nil {
		it.Value = g.record()
		return it, nil
	}
	if o.generation > g.generation {
		// The guard is older than the cookie. A copy may be: its store forgets
		// it when told to touch a version that is none any more.
		s.guards.Touch(ctx, key, it.Version, it.Expires)
		var err error
		if it, err = s.guards.Get(ctx, key); err != nil {
			return it, err
		}
		if !g.parse(&it) {
			return buried(it, o), nil
		}
	}
	newest := o
	if o.generation != g.generation {
		newest = new(carried)
		if o.generation > g.generation { // the store has lost a write
			return Item{}, ErrNotFound
		}
		if o.generation < g.floor || g.cookie == "" || !s.open(newest, g.cookie) ||
			sidOf(newest.token) != key || newest.generation != g.generation {
			it.Value = o.tombstone(ReasonReplaced)
			return it, nil
		}
	}
	if newest.subject != it.Subject { // who writes the store makes no session somebody else's
		return Item{}, ErrNotFound
	}
	it.Value = newest.record
	c.note(key, it.Version, g)
	c.newest = newest
	return it, nil
}

// buried returns a tombstone as the Manager wants it: with the holder's digest,
// for a good cookie proves him.
func buried(it Item, o *carried) Item {
	var rec record
	if o != nil && rec.parse(it.Value) && rec.ended() {
		it.Value = o.tombstone(rec.data)
	}
	return it
}

func (o *carried) tombstone(reason string) string {
	var rec record
	rec.parse(o.record)
	return tombstone(rec.digest, reason)
}

// Add implements [Store].
func (s *sealed) Add(ctx context.Context, key string, it Item) (uint64, error) {
	if !token.IsSelector(key) {
		return s.guards.Add(ctx, key, it) // an epoch
	}
	var rec record
	rec.parse(it.Value)
	return s.put(ctx, key, &rec, it, guard{generation: 1}, false, func(it Item) (uint64, error) {
		return s.guards.Add(ctx, key, it)
	})
}

// Swap implements [Store].
func (s *sealed) Swap(ctx context.Context, key string, old uint64, it Item) (uint64, error) {
	if !token.IsSelector(key) {
		return s.guards.Swap(ctx, key, old, it)
	}
	c := s.carried(ctx)
	var rec record
	if rec.parse(it.Value); rec.ended() {
		c.answer("", &rec, it.Expires)
		it.Value = string([]byte{formatV1, flagEnded}) + rec.data
		return s.guards.Swap(ctx, key, old, it)
	}
	g, err := s.guard(ctx, key, old)
	if err != nil {
		return 0, err
	}
	next := g.generation + 1
	if next == 0 {
		return 0, ErrTooLarge
	}
	// Who stole an older cookie is not raised along with a new proof.
	holds := !c.renews(key)
	if o := c.find(key); holds && o != nil {
		g.presented(o.generation, next, rec.grace(), time.Now())
	}
	g.generation = next
	return s.put(ctx, key, &rec, it, g, holds, func(it Item) (uint64, error) {
		return s.guards.Swap(ctx, key, old, it)
	})
}

// put seals a record as the cookie of the guard's generation, writes the guard,
// which holds the cookie or not, and has the cookie set.
func (s *sealed) put(ctx context.Context, key string, rec *record, it Item, g guard, holds bool, write func(Item) (uint64, error)) (uint64, error) {
	g.end, g.epoch = uint32(min((rec.end().UnixMilli()+999)/1000, math.MaxUint32)), rec.epoch
	var buf [512]byte // for most sessions no memory but the value's is taken
	b := g.append(buf[:0], holds)
	head := len(b)
	b, err := s.seal(ctx, b, key, g.generation, it)
	if err != nil {
		return 0, err
	}
	value := string(b)
	text := value[head:]
	if g.cookie = text; !holds {
		g.cookie, value = "", strings.Clone(value[:head])
	}
	it.Value = value
	version, err := write(it)
	if err == nil {
		c := s.carried(ctx)
		c.note(key, version, g)
		c.answer(text, rec, it.Expires)
	}
	return version, err
}

// guard returns the guard of this version.
func (s *sealed) guard(ctx context.Context, key string, version uint64) (g guard, err error) {
	if c := s.carried(ctx); c != nil && c.of == key && c.version == version {
		return c.guard, nil
	}
	it, err := s.guards.Get(ctx, key)
	if err == nil && (it.Version != version || !g.parse(&it)) {
		err = ErrConflict
	}
	return g, err
}

// seal appends the cookie of a generation. The token in it is the one that the
// call gives out, or that of the request.
func (s *sealed) seal(ctx context.Context, dst []byte, key string, generation uint32, it Item) ([]byte, error) {
	c := s.carried(ctx)
	next := carried{generation: generation, subject: it.Subject, record: it.Value}
	if s.guards == nil {
		next.expires = it.Expires.UnixMilli()
	}
	if o := c.find(key); c.renews(key) {
		next.token = c.token
	} else if o != nil {
		next.token = o.token
	} else {
		return nil, errors.New("session: a sealed session is changed by who does not have it")
	}
	return s.close(dst, &next, time.Now())
}

// settle does what a request can do without its handler: it brings the browser the
// newest cookie, under the newest key, and the guard forgets a cookie that the
// browser has. Losing a race is fine: the next request does it.
func (s *sealed) settle(ctx context.Context, h *held, now time.Time) {
	if s == nil {
		return
	}
	c := s.carried(ctx)
	o := c.find(h.sid)
	if c.of != h.sid { // two cookies, and the other was read last
		return
	}
	if c.newest.old {
		if text, err := s.close(nil, c.newest, now); err == nil {
			c.answer(string(text), &h.rec, h.item.Expires)
		}
	} else if c.newest != o {
		c.answer(c.newest.text, &h.rec, h.item.Expires)
	}
	if c.guard.cookie == "" {
		return
	}
	g := c.guard
	g.presented(o.generation, g.generation, h.rec.grace(), now)
	if g == c.guard {
		return
	}
	version, err := s.guards.Swap(ctx, h.sid, c.version, Item{Value: g.value(), Subject: h.item.Subject, Expires: h.item.Expires})
	if err == nil {
		h.item.Version = version
		c.note(h.sid, version, g)
	}
}

// grace is for how long at least a new generation does not end the one before:
// requests that were sent together arrive one by one. It is as long as a refresh
// token's.
func (rec *record) grace() time.Duration {
	return min(10*time.Second, time.Duration(rec.idle)*time.Millisecond/20)
}

// Touch implements [Store].
func (s *sealed) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	err := s.guards.Touch(ctx, key, version, expires)
	if err == nil {
		s.carried(ctx).again(key, expires)
	}
	return err
}

// again has a cookie that outlives the browser set anew, for longer.
func (c *carry) again(key string, expires time.Time) {
	var rec record
	if o := c.find(key); o != nil && rec.parse(o.record) {
		c.answer(cmp.Or(c.text, o.text), &rec, expires)
	}
}

// Delete implements [Store].
func (s *sealed) Delete(ctx context.Context, key string) error { return s.guards.Delete(ctx, key) }

// List implements [Lister].
func (s *sealed) List(ctx context.Context, subject, after string, limit int) ([]Entry, error) {
	l, ok := s.guards.(Lister)
	if !ok {
		return nil, ErrNoList
	}
	all, err := l.List(ctx, subject, after, limit)
	for i := range all {
		var g guard
		if g.parse(&all[i].Item) {
			all[i].Value = g.record()
		}
	}
	return all, err
}

// Sweep implements [Sweeper].
func (s *sealed) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	if w, ok := s.guards.(Sweeper); ok {
		return w.Sweep(ctx, now, limit)
	}
	return 0, nil
}

// unguarded is sealed without guards: what the request carries is the record.
type unguarded struct{ *sealed }

// Get implements [Store]. Everybody's epoch is the first, for ever.
func (s unguarded) Get(ctx context.Context, key string) (Item, error) {
	if !token.IsSelector(key) {
		return Item{Value: "1", Subject: epochOwner, Expires: time.UnixMilli(1<<48 - 1), Version: 1}, nil
	}
	c := s.carried(ctx)
	o := c.find(key)
	if o == nil {
		return Item{}, ErrNotFound
	}
	c.note(key, 1, guard{})
	c.newest = o
	return Item{Value: o.record, Subject: o.subject, Expires: time.UnixMilli(o.expires), Version: 1}, nil
}

// Add implements [Store].
func (s unguarded) Add(ctx context.Context, key string, it Item) (uint64, error) {
	return s.Swap(ctx, key, 1, it)
}

// Swap implements [Store].
func (s unguarded) Swap(ctx context.Context, key string, _ uint64, it Item) (uint64, error) {
	if !token.IsSelector(key) {
		return 0, ErrNoGuard // to raise an epoch is to end
	}
	c := s.carried(ctx)
	var rec record
	if rec.parse(it.Value); rec.ended() {
		c.answer("", &rec, it.Expires)
		return 1, nil
	}
	text, err := s.seal(ctx, nil, key, 1, it)
	if err == nil {
		c.answer(string(text), &rec, it.Expires)
	}
	return 1, err
}

// Touch implements [Store].
func (s unguarded) Touch(ctx context.Context, key string, _ uint64, expires time.Time) error {
	it, err := s.Get(ctx, key)
	if err == nil {
		it.Expires = expires
		_, err = s.Swap(ctx, key, 1, it)
	}
	return err
}

// Delete implements [Store].
func (s unguarded) Delete(context.Context, string) error { return nil }

// List implements [Lister].
func (s unguarded) List(context.Context, string, string, int) ([]Entry, error) { return nil, ErrNoList }

// Sweep implements [Sweeper].
func (s unguarded) Sweep(context.Context, time.Time, int) (int, error) { return 0, nil }
