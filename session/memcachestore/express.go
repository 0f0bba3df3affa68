package memcachestore

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/express"
)

// ExpressOptions are what connect-memcached was given, and those of a connection.
type ExpressOptions struct {
	Prefix string        // prefix
	TTL    time.Duration // ttl, for cookies that end with the browser; a day for 0

	// As in Options.
	Timeout     time.Duration
	Connections int
	Dial        func(ctx context.Context, network, address string) (net.Conn, error)
}

// Express keeps sessions as Express's connect-memcached does. It is an
// [express.Store].
//
// Every change compares and swaps, so that none from Go is lost, or comes back
// after its session was destroyed. Connect-memcached does neither, and its touch
// is a set: what Node writes, it writes over all that came in between, and a
// request in Node that lasts longer than a sign-out undoes it.
//
// Records that connect-memcached encrypts (its option secret) are not read.
type Express struct {
	ttl   time.Duration
	store Store // its connections
}

// NewExpress returns a store over one server, "host:port" or the path of a
// socket: among several, npm's memcached chooses in a way of its own. Nil options
// are the defaults. It sends nothing yet.
func NewExpress(server string, o *ExpressOptions) (*Express, error) {
	if o == nil {
		o = &ExpressOptions{}
	}
	e := &Express{ttl: o.TTL, store: Store{prefix: o.Prefix, timeout: o.Timeout}}
	if e.ttl == 0 {
		e.ttl = 24 * time.Hour
	}
	if e.store.timeout == 0 {
		e.store.timeout = 2 * time.Second
	}
	odd := strings.ContainsFunc(o.Prefix, func(r rune) bool { return r <= ' ' || r > '~' })
	if server == "" || odd || e.ttl < time.Second || e.store.timeout < 0 || o.Connections < 0 {
		return nil, fmt.Errorf("server %q, prefix %q, ttl %v, timeout %v, %d connections: %w", server, o.Prefix, e.ttl, e.store.timeout, o.Connections, errOptions)
	}
	e.store.lines.init([]string{server}, o.Connections, o.Dial)
	return e, nil
}

// flagJSON is how npm's memcached marks what it has to parse.
const flagJSON = 2

// Npm's memcached takes a value apart at its line breaks, and so puts a backslash
// before each. JSON.stringify makes none; a program in Go may keep JSON that has
// some, and unescaped they would end the Node process. No JSON has the pair
// itself.
var (
	escaped   = strings.NewReplacer("\r", "\\\r", "\n", "\\\n")
	unescaped = strings.NewReplacer("\\\r", "\r", "\\\n", "\n")
)

// key returns the key of a session. An id may be any text that was signed with
// the secret, for another cookie perhaps: what no key can hold is not there.
func (e *Express) key(sid string) (string, error) {
	key := e.store.prefix + sid
	if len(utf16.Encode([]rune(key))) > 250 { // as npm's memcached counts and does
		sum := md5.Sum([]byte(key))
		return hex.EncodeToString(sum[:]), nil
	}
	if len(key) > 250 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == 0x7f || r == 0xa0 || r == 0xfeff }) {
		return "", session.ErrNotFound
	}
	return key, nil
}

// read returns a record, and what it takes to compare and swap it.
func (e *Express) read(c *memcache.Client, key string) (express.Record, *memcache.Item, error) {
	raw, err := c.Get(key)
	if errors.Is(err, memcache.ErrCacheMiss) {
		err = session.ErrNotFound
	}
	if err != nil {
		return express.Record{}, nil, err
	}
	return express.Record{JSON: unescaped.Replace(string(raw.Value))}, raw, nil
}

// raw is a record as memcached takes it.
func (e *Express) raw(key string, rec express.Record) *memcache.Item {
	now := time.Now()
	if rec.Until.IsZero() {
		rec.Until = now.Add(e.ttl)
	}
	return &memcache.Item{Key: key, Value: []byte(escaped.Replace(rec.JSON)), Flags: flagJSON, Expiration: exptime(rec.Until, now)}
}

// Get implements [express.Store].
func (e *Express) Get(ctx context.Context, sid string) (rec express.Record, err error) {
	key, err := e.key(sid)
	if err != nil {
		return rec, err
	}
	err = e.store.do(ctx, func(c *memcache.Client) error {
		rec, _, err = e.read(c, key)
		return err
	})
	return rec, err
}

// Add implements [express.Store].
func (e *Express) Add(ctx context.Context, sid string, rec express.Record) (express.Record, error) {
	key, err := e.key(sid)
	if err != nil {
		return express.Record{}, fmt.Errorf("session id %q: %w", sid, errKey)
	}
	return express.Record{JSON: rec.JSON}, e.store.do(ctx, func(c *memcache.Client) error {
		err := c.Add(e.raw(key, rec))
		if errors.Is(err, memcache.ErrNotStored) {
			if there, _, err := e.read(c, key); err == nil && there.JSON == rec.JSON {
				return nil // a try whose answer was not heard
			}
			return session.ErrConflict
		}
		return err
	})
}

var errKey = admit.Invalid.New("memcached_key", "Memcached cannot keep a session under this id.")

// Swap implements [express.Store].
func (e *Express) Swap(ctx context.Context, sid string, old, next express.Record) (express.Record, error) {
	key, err := e.key(sid)
	if err != nil {
		return express.Record{}, err
	}
	return express.Record{JSON: next.JSON}, e.change(ctx, key, old, e.raw(key, next))
}

// Touch implements [express.Store]. Connect-memcached's touch is a set of the
// whole record, whose cookie then ends later, too. That is done here, where the
// record is still the one: memcached does not tell for how long it keeps one, so
// that its reader has to believe the record.
func (e *Express) Touch(ctx context.Context, sid string, old express.Record, until time.Time) error {
	key, err := e.key(sid)
	if err != nil {
		return err
	}
	next := express.Record{JSON: express.Touched(old.JSON, until), Until: until}
	if err := e.change(ctx, key, old, e.raw(key, next)); !errors.Is(err, session.ErrConflict) {
		return err
	}
	return nil
}

// Delete implements [express.Store].
func (e *Express) Delete(ctx context.Context, sid string, old express.Record) error {
	key, err := e.key(sid)
	if old == (express.Record{}) {
		if err != nil {
			return nil
		}
		return e.store.do(ctx, func(c *memcache.Client) error {
			if err := c.Delete(key); !errors.Is(err, memcache.ErrCacheMiss) {
				return err
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	// Memcached cannot compare and delete, but swap for what has expired.
	return e.change(ctx, key, old, &memcache.Item{Key: key, Flags: flagJSON, Value: []byte("null"), Expiration: -1})
}

// change swaps the record, if it is still old, over the connection that it was
// read over: see [Store].
func (e *Express) change(ctx context.Context, key string, old express.Record, next *memcache.Item) error {
	return e.store.do(ctx, func(c *memcache.Client) error {
		for { // until the deadline, which the connection knows
			rec, raw, err := e.read(c, key)
			switch {
			case err != nil:
				return err
			case rec.JSON != old.JSON:
				return session.ErrConflict
			case raw.CasID == 0:
				return errNoCAS
			}
			next.CasID = raw.CasID
			switch err := c.CompareAndSwap(next); {
			case errors.Is(err, memcache.ErrCacheMiss):
				return session.ErrNotFound // destroyed since: it must not come back
			case !errors.Is(err, memcache.ErrCASConflict):
				return err
			}
		}
	})
}

// Close closes the connections that are not in use. The store may still be used.
func (e *Express) Close() error { return e.store.Close() }

var _ express.Store = (*Express)(nil)
