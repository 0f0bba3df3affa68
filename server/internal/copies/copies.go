// Package copies keeps copies of a database's records in Redis, which may lose all
// of them at any moment.
//
// [New] makes a [Copies]; its Store stands in front of the database's store of
// sessions, and Run follows what other processes write. The database is always first: what
// is written is written there, and a copy only says what was read there.
//
// That no copy is older than what was acknowledged rests on four things:
//
//   - A reader that finds no copy leaves a lease in its place, and what it then read in the
//     database becomes a copy only where the lease still stands. Whoever writes takes
//     away whatever stands there, after the database has answered and before
//     anybody hears: so does FLUSHALL.
//   - Each copy is of a generation, whose name is a record in the database. A
//     writer that cannot reach Redis begins another before anybody hears of what it
//     wrote. Others look at the name all the time, and use no copies where they have
//     not seen it for [session.NearLease].
//   - A generation is of one run of one Redis. Where that restarts from a snapshot, or a
//     replica takes over without the last that was written, another generation begins.
//   - Copies and messages carry a MAC under the server's keys: who can write to Redis
//     can make the server look into its database, and read for some minutes what a
//     record that lives was before its last change; no more.
package copies

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit/session"
)

const (
	// copyLife bounds how long a copy is used: Redis forgets it then.
	copyLife = 5 * time.Minute
	// clockSlack is how far apart the clocks of processes may be.
	clockSlack = time.Minute
	// endedLife is how long an ending is remembered. An old copy that somebody put
	// back is not used that long after it was made: see open, whose clock may be
	// behind the maker's by as much as it allows for a clock ahead.
	endedLife = copyLife + 2*clockSlack + time.Second
	// leaseLife is longer than a read of the database takes.
	leaseLife = 10 * time.Second
	// holdLife is longer than a write to the database takes. Meanwhile nobody makes a
	// copy, and where the writer dies nobody has made one of what was before.
	holdLife = 15 * time.Second
	// distrustTime bounds how long a writer waits for another generation.
	distrustTime = 5 * time.Second
	// beat is how often the generation is looked at, and the way to Redis tried.
	beat = 500 * time.Millisecond
)

// generationKey is the record of the database that names the generation: no
// session's key, and its value is no session's record.
const generationKey = "copies"

// forever is the last expiry that a store keeps.
var forever = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// Options say where copies are and what they are of.
type Options struct {
	URL      string        // redis:// or rediss://; "" for a process that has no Redis, and does not Run, beside others that may
	Database session.Store // the sessions, and the generation
	Keys     func() [][]byte
	Log      *slog.Logger
	Prefix   string        // of keys in Redis; "admit:" for none
	Timeout  time.Duration // of a call; 250 ms for 0
}

// Copies are those of one database. It uses none before Run and Past, and outside
// of Run.
type Copies struct {
	o      Options
	redis  *client
	sender string // names this process in messages
	near   *session.Near
	wake   func()
	forget func(key string)

	began time.Time
	until atomic.Int64 // nanoseconds since began: the generation is known before
	keys  atomic.Pointer[[]macKey]
	// generation is what copies belong to; its run "" where none may be used.
	generation atomic.Pointer[generation]
	past       atomic.Pointer[string] // of the database; nil where it is not known

	asked  atomic.Uint64 // calls of distrust
	mu     sync.Mutex
	served uint64               // those that need do nothing more; guarded by mu
	result error                // what became of them; guarded by mu
	later  map[string]time.Time // keys that must be forgotten again; guarded by mu
	alone  bool                 // tidyAlone will come; guarded by mu
	ended  sync.Map             // keys of what has ended, to when no copy of it counts
	why    atomic.Pointer[error]
	logged atomic.Int64 // when a record was told that is none

	swept atomic.Int64    // Unix milliseconds: copies that expire before are not used
	wrote atomic.Int64    // nanoseconds since began: when Redis was last told of a write
	heard [2]atomic.Int64 // as of when the messages, and the generation, are known

	hits, misses, broken, forged, begun atomic.Uint64
}

// A generation names copies that may be used together.
type generation struct{ name, run string }

func (g generation) String() string { return g.name + " " + g.run }

func parseGeneration(text string) generation {
	name, run, _ := strings.Cut(text, " ")
	return generation{name, run}
}

// New returns copies. It calls nobody yet.
func New(o Options) (*Copies, error) {
	if o.Database == nil || o.Keys == nil || o.Log == nil {
		return nil, errors.New("copies: a database, keys and a log are needed")
	}
	if o.Prefix == "" {
		o.Prefix = "admit:"
	}
	if o.Timeout == 0 {
		o.Timeout = 250 * time.Millisecond
	}
	c := &Copies{o: o, sender: rand.Text(), began: time.Now(), later: map[string]time.Time{}}
	c.redis = newClient(o.URL, o.Prefix+"probe", o.Timeout)
	c.generation.Store(&generation{})
	c.takeKeys()
	return c, nil
}

// Drive says what hears of other processes: the copies in memory in front of the
// store; wake, that something has ended; forget, that a record other than a
// session's has changed. Call it before Run.
func (c *Copies) Drive(near *session.Near, wake func(), forget func(key string)) {
	c.near, c.wake, c.forget = near, wake, forget
}

// usable returns the generation, and whether copies may be used.
func (c *Copies) usable(now time.Time) (generation, bool) {
	g := *c.generation.Load()
	return g, g.run != "" && c.past.Load() != nil && int64(now.Sub(c.began)) < c.until.Load() && c.redis.up.Load()
}

func (c *Copies) name(key string) string { return c.o.Prefix + "c:" + key }

// Past names the past of the database, as the epoch of its feed does: copies that
// were made in another are not used. A database that was put back does not know what its
// copies say.
func (c *Copies) Past(name string) {
	if was := c.past.Load(); was == nil || *was != name {
		c.past.Store(&name)
		c.forgetNear()
	}
}

// label is what copies of a generation carry.
func (c *Copies) label(g generation) string { return g.name + "/" + *c.past.Load() }

// A lease is the right to make a copy. The zero lease is none.
type lease struct {
	run, label string
	name, text string
}

// look returns the copy of a record, or else the lease.
func (c *Copies) look(key string) (payload string, ok bool, l lease) {
	now := time.Now()
	g, usable := c.usable(now)
	if !usable {
		c.misses.Add(1)
		return "", false, l
	}
	if until, ended := c.ended.Load(key); ended && now.Before(until.(time.Time)) {
		c.misses.Add(1)
		return "", false, l
	}
	l = lease{run: g.run, label: c.label(g), name: c.name(key)}
	found, err := c.redis.get(g.run, l.name)
	if err == nil && found == "" {
		l.text = leasePrefix + rand.Text()
		found, err = c.redis.lease(g.run, l.name, l.text)
	}
	switch {
	case noText(err):
		c.misses.Add(1)
		c.drop(g, key, errBroken)
		return "", false, lease{}
	case err != nil:
		c.misses.Add(1)
		return "", false, lease{}
	case found == "":
		c.misses.Add(1)
		return "", false, l
	case found == held || strings.HasPrefix(found, leasePrefix):
		c.misses.Add(1)
		return "", false, lease{}
	}
	payload, err = c.open(found, l.label, key, now)
	if err == nil {
		c.hits.Add(1)
		return payload, true, lease{}
	}
	c.misses.Add(1)
	switch {
	case errors.Is(err, errGeneration):
		_ = c.redis.remove(g.run, l.name)
	case !errors.Is(err, errUnknownKey):
		c.drop(g, key, err)
	}
	return "", false, lease{}
}

// drop takes a record away that is none.
func (c *Copies) drop(g generation, key string, why error) {
	c.broken.Add(1)
	_ = c.redis.remove(g.run, c.name(key))
	// One line for it, and one a second for a flood.
	now := int64(time.Since(c.began))
	if was := c.logged.Load(); (was == 0 || now-was > int64(time.Second)) && c.logged.CompareAndSwap(was, now) {
		c.o.Log.Warn("a record in Redis is none of ours: it was dropped and read from the database", slog.String("code", "copy_broken"), slog.Any("error", why))
	}
}

// fill makes a copy of what was read under a lease.
func (c *Copies) fill(l lease, key, payload string) {
	if l.text != "" {
		_ = c.redis.fill(l.run, l.name, l.text, c.seal(payload, l.label, key, time.Now()))
	}
}

// Text returns the copy of a record other than a session's, or what read returns,
// of which it makes one.
func (c *Copies) Text(ctx context.Context, key string, read func(context.Context) (string, error)) (string, error) {
	payload, ok, l := c.look(key)
	if ok {
		return payload, nil
	}
	payload, err := read(ctx)
	if err == nil {
		c.fill(l, key, payload)
	}
	return payload, err
}

// hold keeps others from making copies of a record that is about to be written. It
// reports whether it does.
func (c *Copies) hold(key string) bool {
	g, usable := c.usable(time.Now())
	return usable && c.redis.hold(g.run, c.name(key)) == nil
}

// Forget takes the copies of records away that were written, here and wherever
// they are near. It returns when no process uses one any more for longer than
// [session.NearLease]; an error, that it may. Ends says that something has
// ended, so that others look into the feed.
func (c *Copies) Forget(ctx context.Context, ends bool, keys ...string) error {
	if c.told(ends, keys...) {
		return nil
	}
	return c.distrust(ctx)
}

// tell is Forget where an old copy does no harm: where Redis is away nobody hears.
func (c *Copies) tell(key string) { c.told(false, key) }

// told takes copies away and tells others, and reports whether that was done.
func (c *Copies) told(ends bool, keys ...string) bool {
	g, usable := c.usable(time.Now())
	if !usable {
		return false
	}
	names, messages := make([]string, len(keys)), make([]string, len(keys))
	for i, key := range keys {
		names[i], messages[i] = c.name(key), c.message(key, ends)
	}
	if c.redis.forget(g.run, c.o.Prefix+channel, names, messages) != nil {
		return false
	}
	c.wrote.Store(int64(time.Since(c.began)))
	return true
}

// distrust begins another generation. Calls that come together share one that
// began after all of them.
func (c *Copies) distrust(ctx context.Context) error {
	ticket := c.asked.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.served >= ticket {
		return c.result
	}
	c.served, c.result = c.asked.Load(), nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), distrustTime)
	defer cancel()
	if err := c.begin(ctx, ""); err != nil {
		c.result = fmt.Errorf("%w: it was written, and others may not see it at once: %w", session.ErrUnavailable, err)
	}
	return c.result
}

// begin begins a generation of a run, or of the same run as before for "". The
// copies are locked.
func (c *Copies) begin(ctx context.Context, run string) error {
	asked := time.Now()
	it, err := c.o.Database.Get(ctx, generationKey)
	absent := errors.Is(err, session.ErrNotFound)
	if err != nil && !absent {
		return err
	}
	if run == "" {
		// Where there is none, nobody uses copies: who has some has not yet seen that
		// it is gone, and looks all the time.
		if run = parseGeneration(it.Value).run; absent || run == "" {
			return nil
		}
		if c.o.URL == "" {
			run = "" // those who use Redis begin one of it again
		}
	}
	next := generation{rand.Text(), run}
	to := session.Item{Value: next.String(), Expires: forever}
	if absent {
		_, err = c.o.Database.Add(ctx, generationKey, to)
	} else {
		_, err = c.o.Database.Swap(ctx, generationKey, it.Version, to)
	}
	if errors.Is(err, session.ErrConflict) || errors.Is(err, session.ErrNotFound) {
		// Somebody else began one, after we had come.
		return c.readGeneration(ctx)
	}
	if err != nil {
		return err
	}
	c.begun.Add(1)
	// One that we never saw may have begun meanwhile, and told of what is near. While
	// there is none, nobody is told.
	if absent || it.Value != c.generation.Load().String() {
		c.forgetNear()
	}
	c.generation.Store(&next)
	c.know(asked)
	return nil
}

// readGeneration looks which generation it is. The copies are locked.
func (c *Copies) readGeneration(ctx context.Context) error {
	asked := time.Now()
	it, err := c.o.Database.Get(ctx, generationKey)
	if err != nil {
		return err
	}
	g, was := parseGeneration(it.Value), *c.generation.Load()
	if g != was {
		c.generation.Store(&g)
		c.forgetNear()
	}
	knew := c.heard[1].Load()
	c.know(asked)
	// Others went over to another server, and may have had copies there when this
	// process told the one before of its last writes.
	if g.run != was.run && c.wrote.Load() >= knew && knew > 0 {
		return c.begin(ctx, "")
	}
	return nil
}

func (c *Copies) know(asOf time.Time) {
	c.until.Store(int64(asOf.Add(session.NearLease).Sub(c.began)))
	c.hear(1, asOf)
}

func (c *Copies) forgetNear() {
	if c.near != nil {
		c.near.ForgetAll()
	}
	if c.forget != nil {
		c.forget("")
	}
}

// hear tells the copies in memory as of when they know everything: of the messages
// and of the generation, what is known less well.
func (c *Copies) hear(which int, asOf time.Time) {
	c.heard[which].Store(int64(asOf.Sub(c.began)))
	if least := min(c.heard[0].Load(), c.heard[1].Load()); least > 0 && c.near != nil {
		c.near.Heard(c.began.Add(time.Duration(least)))
	}
}

// Ended says that what has these keys has ended: none of its copies is used until
// those from before are too old. It is for who follows the database's feed, which counts
// whatever happened to Redis.
func (c *Copies) Ended(keys ...string) {
	until := time.Now().Add(endedLife)
	for _, key := range keys {
		c.ended.Store(key, until)
		if c.near != nil {
			c.near.Forget(key)
		}
	}
}

// Stats is what has happened.
type Stats struct {
	Hits, Misses uint64
	Errors       uint64 // of calls to Redis
	Broken       uint64 // records that were none of ours
	Forged       uint64 // messages that were none of ours
	Generations  uint64 // that were begun because Redis could not be reached, or was another
	Bypassed     bool   // copies are not used just now
	Why          error  // that Redis could not be reached at the last beat; nil where it could
}

// Down says whether copies are not used for a reason that an operator should know. Before
// the first beat has ended nobody knows, and nothing is wrong.
func (s Stats) Down() bool { return s.Bypassed && s.Why != nil }

// Stats reads the numbers.
func (c *Copies) Stats() Stats {
	_, usable := c.usable(time.Now())
	var why error
	if last := c.why.Load(); last != nil {
		why = *last
	}
	return Stats{
		Why:  why,
		Hits: c.hits.Load(), Misses: c.misses.Load(), Errors: c.redis.errors.Load(),
		Broken: c.broken.Load(), Forged: c.forged.Load(), Generations: c.begun.Load(), Bypassed: !usable,
	}
}
