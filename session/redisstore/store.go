// Package redisstore keeps sessions in Redis or Valkey.
//
// Most programs need [New], with a [Client] that is one function around the
// client library which they have; [OpenPool] and [Pool.Store] are for those who have
// none. For a Redis Cluster there is [NewCluster].
//
// Every call is one round trip and one script on the server, so a change
// happens at once or not at all, and a check of a session reads its record and
// its subject's epoch together; a pool's store reads by MGET. It takes Redis 7.0 or
// later, or any Valkey.
package redisstore

import (
	"cmp"
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

// Options are the choices of a store.
type Options struct {
	// Prefix begins all keys; "admit:" for none. It is printable ASCII without
	// spaces, quotes and backslashes. Stores of one server need different ones,
	// in its numbered databases too: it is by the prefix that a store learns
	// that the server began anew.
	Prefix string

	// Timeout bounds every call; 2 s for 0.
	Timeout time.Duration

	// Durability is what the server's writes survive, which only you know:
	//
	//   - session.MayForget, the default, is right for every server. When it
	//     restarts, or a replica takes over, all sessions have ended: a snapshot
	//     or a replica that lags would bring back what was signed out.
	//   - session.SurvivesProcess and session.SurvivesMachine keep sessions
	//     through that. It takes appendonly yes with appendfsync always, and no
	//     replica that takes over; with less, what was ended may come back.
	//
	// Whoever changes it between MayForget and another ends all sessions.
	Durability session.Durability
}

// Store is a [session.Store] on one server, which may have replicas and a
// Sentinel. It also implements EpochGetter, Lister and Durable, and needs no
// sweeping: the server forgets what has expired. FLUSHALL ends all sessions and
// revives none.
//
// A record with a value of 200 bytes takes 730 bytes of the server's memory, 255
// of them in the index of the Lister, and a check about 6 µs of its time; one by a
// pool's store, a tenth of that.
//
// One thing is not noticed: a server that hands over to a replica, goes on as a
// replica without a restart, and later takes over again without its last writes.
type Store struct {
	base
	pool  *Pool  // to read without the script; nil for another client
	hints *hints // of a pool's
}

// New returns a store. Nil options are the defaults. It sends nothing yet.
func New(client Client, o *Options) (*Store, error) {
	s := new(Store)
	return s, s.init(client, o, false)
}

var errOptions = admit.Invalid.New("redis_options", "These options of the Redis store cannot be right.")

//go:embed script.lua
var script string

// base is what stores on one server and on a cluster have in common.
type base struct {
	client      Client
	records     string // what the records' keys begin with
	runs        string // the key of the server's run; "" where records do not tell it
	timeout     time.Duration
	durability  session.Durability
	source, sha string // of the script
}

func (b *base) init(client Client, o *Options, spread bool) error {
	if o == nil {
		o = &Options{}
	}
	b.client, b.timeout, b.durability = client, o.Timeout, max(o.Durability, session.MayForget)
	prefix := cmp.Or(o.Prefix, "admit:")
	if b.timeout == 0 {
		b.timeout = 2 * time.Second
	}
	odd := strings.ContainsFunc(prefix, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`'"\`, r) })
	if client == nil || odd || b.timeout < 0 || b.durability > session.SurvivesMachine {
		return fmt.Errorf("client %v, prefix %q, timeout %v, durability %d: %w", client != nil, prefix, b.timeout, b.durability, errOptions)
	}
	b.records = prefix + "r:"
	persistent := spread || b.durability > session.MayForget
	if !persistent {
		b.runs = prefix + "run"
	}
	b.source = fmt.Sprintf("local records, index, runs, persistent, spread = '%[1]sr:', '%[1]sindex', '%[1]srun', %t, %t\n%s",
		prefix, persistent, spread, script)
	sum := sha1.Sum([]byte(b.source)) // it is a name here, and Redis's choice
	b.sha = hex.EncodeToString(sum[:])
	return nil
}

// do runs the script. Its error is unavailable or the context's, and then a
// write may have happened or may yet.
func (b *base) do(ctx context.Context, key, op string, rest ...string) (any, error) {
	return b.doSince(ctx, time.Now(), key, op, rest...)
}

// doSince is do in what is left of the time.
func (b *base) doSince(ctx context.Context, begun time.Time, key, op string, rest ...string) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// One piece of memory, which a client that gives up may still read.
	c := &struct {
		bounded
		args [12]string
	}{bounded: within(ctx, begun, b.timeout), args: [12]string{"EVALSHA", b.sha, "1", b.records + key, "again", op}}
	defer c.end()
	args := append(c.args[:6], rest...)
	reply, err := b.client(&c.bounded, args...)
	if err != nil && strings.Contains(err.Error(), "NOSCRIPT") {
		if b.runs != "" {
			// A replica would keep the script although it may not write its run, and who
			// takes over would not be noticed: so it is not given to one.
			if _, err := b.client(&c.bounded, "EVAL", "return redis.call('PERSIST', KEYS[1])", "1", b.runs); err != nil {
				return nil, failure(ctx, err)
			}
		}
		args[0], args[1], args[4] = "EVAL", b.source, "new"
		reply, err = b.client(&c.bounded, args...)
	}
	return reply, failure(ctx, err)
}

// failure says what an error of a client's means.
func failure(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(err.Error(), "OOM "):
		return fmt.Errorf("%w: %w", session.ErrFull, err)
	}
	return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
}

// Get implements [session.Store].
func (s *Store) Get(ctx context.Context, key string) (session.Item, error) {
	begun := time.Now()
	if it, ok, err := s.readPlainly(ctx, begun, key); ok || err != nil {
		return it, err
	}
	return s.get(ctx, begun, key)
}

// Get implements [session.Store].
func (b *base) Get(ctx context.Context, key string) (session.Item, error) {
	return b.get(ctx, time.Now(), key)
}

func (b *base) get(ctx context.Context, begun time.Time, key string) (session.Item, error) {
	reply, err := b.doSince(ctx, begun, key, "get")
	if err != nil {
		return session.Item{}, err
	}
	r, ok := text(reply)
	if !ok {
		return session.Item{}, noAnswer(reply)
	}
	return item(r)
}

// GetWithEpoch implements [session.EpochGetter].
func (s *Store) GetWithEpoch(ctx context.Context, key string) (it session.Item, epoch session.Epoch, err error) {
	begun := time.Now()
	if it, epoch, ok, err := s.checkPlainly(ctx, begun, key); ok || err != nil {
		return it, epoch, err
	}
	reply, err := s.doSince(ctx, begun, key, "check")
	if err != nil {
		return it, epoch, err
	}
	value, record, err := splitEpoch(reply)
	if err != nil {
		return it, epoch, err
	}
	if it, err = item(record); err != nil {
		return it, epoch, err
	}
	s.note(key, it.Subject)
	if it.Subject == "" {
		return it, epoch, nil
	}
	if key := session.EpochKey(it.Subject); key[len(epochPrefix):] != it.Subject {
		// A subject that makes no key has its digest there, which the script did
		// not look for.
		e, err := s.get(ctx, begun, key)
		if errors.Is(err, session.ErrNotFound) {
			err = nil
		}
		return it, session.ParseEpoch(e.Value), err
	}
	return it, session.ParseEpoch(value), nil
}

var epochPrefix = session.EpochKey("")

// Add implements [session.Store].
func (s *Store) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	version, err := s.base.Add(ctx, key, it)
	if err == nil && !strings.HasPrefix(key, epochPrefix) {
		s.note(key, it.Subject)
	}
	return version, err
}

// Add implements [session.Store].
func (b *base) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	return b.put(ctx, key, nil, it)
}

// Swap implements [session.Store].
func (s *Store) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	version, err := s.base.Swap(ctx, key, old, it)
	s.noteWrite(key, it, version, err)
	return version, err
}

// SwapIn implements [session.Guesser].
func (s *Store) SwapIn(ctx context.Context, key string, old uint64, it session.Item, epoch session.Epoch) (uint64, error) {
	if it.Subject == "" {
		return s.Swap(ctx, key, old, it)
	}
	var buf [20]byte
	version, err := s.put(ctx, key, appendNumber(buf[:0], old), it, epoch.String(), s.records+session.EpochKey(it.Subject))
	s.noteWrite(key, it, version, err)
	return version, err
}

// Swap implements [session.Store].
func (b *base) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	var buf [20]byte
	return b.put(ctx, key, appendNumber(buf[:0], old), it)
}

// put makes a random number the version, and not the next one: a write that a
// client sent twice, because it did not hear the first answer, is so told from
// another's. Left to count, the second would be a conflict, and what was done
// would be done again.
//
// In is the epoch in which alone it counts, and where that is kept, or nothing.
func (b *base) put(ctx context.Context, key string, old []byte, it session.Item, in ...string) (uint64, error) {
	if err := session.CheckRecord(key, it); err != nil {
		return 0, err
	}
	version := rand.Uint64N(1<<48-1) + 1
	// The arguments are pieces of one text, which is one piece of memory.
	var buf [512]byte
	all := append(buf[:0], old...)
	all = appendNumber(appendNumber(all, version), millis(it.Expires))
	all = append(appendPadded(all, uint64(len(it.Subject)), atSubject-atSize-1), ' ')
	text := string(append(append(all, it.Subject...), it.Value...))
	was, text := text[:len(old)], text[len(old):]
	const width = atExpires - 1
	args := [6]string{was, text[:width], text[width : 2*width], text[2*width:]}
	return version, b.changed(b.do(ctx, key, "put", args[:4+copy(args[4:], in)]...))
}

// Touch implements [session.Store].
func (b *base) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	return b.changed(b.do(ctx, key, "touch", number(version), number(millis(expires))))
}

// Delete implements [session.Store].
func (b *base) Delete(ctx context.Context, key string) error {
	return b.changed(b.do(ctx, key, "delete"))
}

// changed reads the answer to a write.
func (b *base) changed(reply any, err error) error {
	if err != nil {
		return err
	}
	switch reply {
	case int64(1):
		return nil
	case int64(0):
		return session.ErrConflict
	case int64(-1):
		return session.ErrNotFound
	}
	return noAnswer(reply)
}

// List implements [session.Lister].
func (s *Store) List(ctx context.Context, subject, after string, limit int) (found []session.Entry, err error) {
	for len(found) < limit {
		// The script takes small steps, so that nobody waits long for it.
		reply, err := s.do(ctx, "", "list", subject, after, strconv.Itoa(limit-len(found)))
		if err != nil {
			return nil, err
		}
		page, next, err := entries(reply)
		if err != nil {
			return nil, err
		}
		if found = append(found, page...); next == "" {
			break
		}
		if next <= after {
			return nil, noAnswer(reply) // or it would be asked for ever
		}
		after = next
	}
	return found, ctx.Err()
}

// Durability implements [session.Durable].
func (b *base) Durability() session.Durability { return b.durability }
