// Package memcachestore keeps sessions in memcached.
//
// [New] is all that most programs call. Memcached drops any record when its
// memory is full, and all of them when it restarts: then people sign in again,
// and nothing that was ended comes back. Whoever cannot bear the former takes
// another store.
//
// Every change reads and compares and swaps over one connection, so that it
// happens at once or not at all.
package memcachestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

// Options are the choices of a store.
type Options struct {
	// Prefix begins all keys; "admit:" for none. It is up to 50 bytes of
	// printable ASCII without spaces: memcached takes keys of 250 bytes, of
	// which a session's takes up to 200. Stores of one server need different
	// ones.
	Prefix string

	// Timeout bounds every call; 2 s for 0.
	Timeout time.Duration

	// Connections is how many there are at most to each server; 64 for 0. A call
	// that finds them all in use waits for one, within Timeout.
	Connections int

	// Dial makes a connection; that of a [net.Dialer] for nil. It is for
	// memcached behind TLS.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Store is a [session.Store] on one or several memcached servers. It also
// implements Durable: it may forget. It is no EpochGetter, so that a check of a
// signed-in session is two trips, and no Lister: memcached cannot tell what it
// keeps.
//
// Memcached forgets what has expired. An expiry after the year 2038 is more than
// it can count: such a record stays until its room is needed.
type Store struct {
	prefix  string
	timeout time.Duration
	lines   lines
}

// New returns a store over servers, each "host:port" or the path of a socket.
// Nil options are the defaults. It sends nothing yet.
//
// Where there are several, a key's digest says which one has it. Every process
// must name the same ones in the same order. Whoever changes them empties them
// all first, with flush_all: a server that comes back into the list has what
// was ended meanwhile.
func New(servers []string, o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	s := &Store{prefix: o.Prefix, timeout: o.Timeout}
	if s.prefix == "" {
		s.prefix = "admit:"
	}
	if s.timeout == 0 {
		s.timeout = 2 * time.Second
	}
	odd := strings.ContainsFunc(s.prefix, func(r rune) bool { return r <= ' ' || r > '~' })
	if len(servers) == 0 || odd || len(s.prefix) > 50 || s.timeout < 0 || o.Connections < 0 {
		return nil, fmt.Errorf("servers %q, prefix %q, timeout %v, %d connections: %w", servers, s.prefix, s.timeout, o.Connections, errOptions)
	}
	s.lines.init(servers, o.Connections, o.Dial)
	return s, nil
}

var (
	errOptions = admit.Invalid.New("memcached_options", "These options of the memcached store cannot be right.")
	errNoCAS   = admit.Unavailable.New("memcached_without_cas", "This memcached does not compare and swap.").
			WithHint("Start it without -C. A proxy before it must pass gets and cas on.")
)

// do calls fn with a client that nobody else has. A connection that broke while
// nobody used it is noticed by the first command: then fn runs once more, over a
// new one.
//
// Its errors are those of package session, unavailable, or the context's; where
// it is one of the latter two, a write may have happened, or may yet.
func (s *Store) do(ctx context.Context, fn func(*memcache.Client) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var err error
	for again := true; again; {
		var l *line
		if l, err = s.lines.take(bounded); err == nil {
			err = fn(l.client)
		}
		again = s.lines.give(l, err)
	}
	switch {
	case err == nil, admit.KindOf(err) != admit.Internal:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(err.Error(), "SERVER_ERROR object too large"):
		return fmt.Errorf("%w: the server's limit of an item (-I): %w", session.ErrTooLarge, err)
	case strings.Contains(err.Error(), "SERVER_ERROR out of memory"):
		return fmt.Errorf("%w: %w", session.ErrFull, err)
	}
	return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
}

// read returns a record, and what it takes to compare and swap it. What cannot be
// read counts as absent, and raw says what stands there.
func (s *Store) read(c *memcache.Client, key string) (it session.Item, raw *memcache.Item, err error) {
	raw, err = c.Get(s.prefix + key)
	if errors.Is(err, memcache.ErrCacheMiss) {
		return it, nil, session.ErrNotFound
	}
	if err != nil {
		return it, nil, err
	}
	it, ok := item(string(raw.Value))
	if !ok {
		return it, raw, session.ErrNotFound
	}
	return it, raw, nil
}

// keeps reports whether a key can be that of a record. One that cannot must not
// reach memcached, for which it might be two commands.
func keeps(key string) bool { return session.CheckRecord(key, session.Item{}) == nil }

// raw is a record as memcached takes it.
func (s *Store) raw(key string, it session.Item) *memcache.Item {
	return &memcache.Item{Key: s.prefix + key, Value: record(it), Expiration: exptime(it.Expires, time.Now())}
}

// Get implements [session.Store].
func (s *Store) Get(ctx context.Context, key string) (it session.Item, err error) {
	if !keeps(key) {
		return it, session.ErrNotFound
	}
	err = s.do(ctx, func(c *memcache.Client) error {
		it, _, err = s.read(c, key)
		return err
	})
	return it, err
}

// Add implements [session.Store].
func (s *Store) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	if err := session.CheckRecord(key, it); err != nil {
		return 0, err
	}
	it.Version = newVersion()
	return it.Version, s.do(ctx, func(c *memcache.Client) error {
		write := s.raw(key, it)
		err := c.Add(write)
		if !errors.Is(err, memcache.ErrNotStored) {
			return err
		}
		there, raw, err := s.read(c, key)
		switch {
		case err == nil && there.Version == it.Version:
			return nil // a try whose answer was not heard
		case err == nil, raw == nil && errors.Is(err, session.ErrNotFound):
			return session.ErrConflict
		case raw == nil:
			return err
		}
		// Left alone, what cannot be read would take the key for ever.
		if write.CasID = raw.CasID; write.CasID == 0 {
			return errNoCAS
		}
		if err = c.CompareAndSwap(write); errors.Is(err, memcache.ErrCASConflict) || errors.Is(err, memcache.ErrCacheMiss) {
			return session.ErrConflict
		}
		return err
	})
}

// newVersion is random. Memcached's own numbers begin anew with every restart.
func newVersion() uint64 { return rand.Uint64N(1<<48-1) + 1 }

// Swap implements [session.Store].
func (s *Store) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	if err := session.CheckRecord(key, it); err != nil {
		return 0, err
	}
	it.Version = newVersion()
	return it.Version, s.change(ctx, key, old, func(session.Item) session.Item { return it })
}

// Touch implements [session.Store].
func (s *Store) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	if !keeps(key) {
		return session.ErrNotFound
	}
	expires = whole(expires)
	return s.change(ctx, key, version, func(it session.Item) session.Item {
		if expires.After(it.Expires) {
			it.Expires = expires
		}
		return it
	})
}

// change makes of the record that has this version what next does.
//
// What was read is compared over the connection that it was read over. Memcached's
// numbers for cas begin anew when it restarts: over another connection one could
// fit a record that somebody added since, and put back what was ended.
func (s *Store) change(ctx context.Context, key string, version uint64, next func(session.Item) session.Item) error {
	return s.do(ctx, func(c *memcache.Client) error {
		for { // until the deadline, which the connection knows
			it, raw, err := s.read(c, key)
			if err != nil {
				return err
			}
			if it.Version != version {
				return session.ErrConflict
			}
			if raw.CasID == 0 {
				return errNoCAS
			}
			to := next(it)
			if to == it {
				return nil
			}
			write := s.raw(key, to)
			write.CasID = raw.CasID
			switch err := c.CompareAndSwap(write); {
			case errors.Is(err, memcache.ErrCacheMiss):
				return session.ErrNotFound // forgotten since: it must not come back
			case !errors.Is(err, memcache.ErrCASConflict):
				return err
			}
		}
	})
}

// Delete implements [session.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if !keeps(key) {
		return nil
	}
	return s.do(ctx, func(c *memcache.Client) error {
		if err := c.Delete(s.prefix + key); !errors.Is(err, memcache.ErrCacheMiss) {
			return err
		}
		return nil
	})
}

// Durability implements [session.Durable].
func (s *Store) Durability() session.Durability { return session.MayForget }

// Close closes the connections that are not in use. The store may still be used.
func (s *Store) Close() error {
	s.lines.hangUp()
	return nil
}
