package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Near is a [Store] that keeps copies of another store's records in the
// process's memory, so that a check costs no trip.
//
// A read that began before a write ended never sees the old record afterwards:
// a write poisons the fills in flight, after the store has answered and before the
// caller hears. What it wrote becomes the copy if nothing else happened to the record
// from its begin to its end, so that an update after an update costs one trip.
//
// [NewNear] makes one for a process that is alone in writing to that store, as a
// server with its database in a file is. [NewSharedNear] makes one for a store that
// others write to as well. It has to be told what they write, and by when all of it
// was told:
//
//	near.ForgetAll()       // now that the subscription stands: nobody knows what was missed
//	near.Heard(asked)      // all that was written before it was asked for is heard
//	near.Forget(key)       // for each message, whichever carries them; one's own may be left out
//	near.Heard(sent)       // again and again: a message that came back on the same way
//
// Without Heard its copies do not count for longer than [NearLease], and checks go to
// the store: whoever drives it may die at any time.
type Near struct {
	store Store
	cache table
	mu    sync.Mutex
	fills map[string]*fill // guarded by mu

	shared bool
	began  time.Time
	until  atomic.Int64 // nanoseconds since began: copies of a shared store count before
	misses atomic.Uint64
	hits   [stripes]struct {
		atomic.Uint64
		_ [56]byte // keeps neighbours on other cache lines
	}
}

const stripes = 32

// NearLease is how long after a [Near.Heard] a shared store's copies count. So it is
// the longest that a session lives on which ended elsewhere, when nobody could say
// so, and the longest that a change of its data is not seen.
const NearLease = 2 * time.Second

// A fill is a call of the store that will leave a copy unless poisoned: reads that
// share it, or one write.
type fill struct {
	readers  int // 0 for a write
	poisoned bool
}

// NewNear returns a store in front of another that nobody else writes to. Its
// copies take at most maxBytes, 64 MiB for 0; when there is no more room, those
// that expire first go.
func NewNear(store Store, maxBytes int64) *Near {
	if maxBytes == 0 {
		maxBytes = 64 << 20
	}
	n := &Near{store: store, fills: map[string]*fill{}}
	n.cache.init(0, maxBytes)
	return n
}

// NewSharedNear is NewNear for a store that others write to as well.
func NewSharedNear(store Store, maxBytes int64) *Near {
	n := NewNear(store, maxBytes)
	n.shared, n.began = true, time.Now()
	return n
}

// Get implements [Store].
func (n *Near) Get(ctx context.Context, key string) (Item, error) {
	if !n.shared {
		if it, ok := n.cache.get(key); ok {
			return it, ctx.Err()
		}
		return n.fill(ctx, key)
	}
	now := time.Now()
	if !n.fresh(now) {
		n.misses.Add(1)
		return n.store.Get(ctx, key)
	}
	// Somebody else may have touched it: a copy never proves that it expired.
	if it, ok := n.cache.get(key); ok && now.Before(it.Expires) {
		n.hits[key[len(key)-1]%stripes].Add(1)
		return it, ctx.Err()
	}
	return n.fill(ctx, key)
}

// fill reads from the store, and keeps a copy.
func (n *Near) fill(ctx context.Context, key string) (Item, error) {
	n.misses.Add(1)
	f := n.begin(key)
	it, err := n.store.Get(ctx, key)
	n.finish(key, f, it, err)
	return it, err
}

// fresh reports whether copies of a shared store count.
func (n *Near) fresh(now time.Time) bool { return int64(now.Sub(n.began)) < n.until.Load() }

// Heard says that Forget was called for every record that others wrote before
// asOf, which is a time of this process's clock. Before the first, and after a gap
// in what is heard, call ForgetAll.
func (n *Near) Heard(asOf time.Time) {
	until := int64(asOf.Add(NearLease).Sub(n.began))
	for {
		was := n.until.Load()
		if was >= until || n.until.CompareAndSwap(was, until) {
			return
		}
	}
}

// ForgetAll drops every copy.
func (n *Near) ForgetAll() {
	n.mu.Lock()
	for _, f := range n.fills {
		f.poisoned = true
	}
	clear(n.fills)
	n.mu.Unlock()
	n.cache.clear()
}

// NearStats is what a [Near] has done.
type NearStats struct {
	Hits, Misses uint64 // hits of a shared store's only: to count them would cost NewNear a tenth of each
	Records      int64  // copies
	Bytes        int64  // that they take
}

// Stats reads the numbers.
func (n *Near) Stats() NearStats {
	s := NearStats{Misses: n.misses.Load(), Records: n.cache.records.Load(), Bytes: n.cache.bytes.Load()}
	for i := range n.hits {
		s.Hits += n.hits[i].Load()
	}
	return s
}

// GetWithEpoch implements [EpochGetter].
func (n *Near) GetWithEpoch(ctx context.Context, key string) (Item, Epoch, error) {
	if e, ok := n.store.(EpochGetter); ok && n.shared && !n.fresh(time.Now()) {
		n.misses.Add(1)
		return e.GetWithEpoch(ctx, key) // one trip
	}
	it, err := n.Get(ctx, key)
	if err != nil || it.Subject == "" {
		return it, Epoch{}, err
	}
	// The record may have taken a trip: what was fresh before it need not be now.
	if !n.shared || n.fresh(time.Now()) {
		if epoch, ok := n.cache.epoch(it.Subject); ok {
			return it, epoch, nil
		}
	}
	e, err := n.Get(ctx, EpochKey(it.Subject))
	if errors.Is(err, ErrNotFound) {
		return it, Epoch{}, nil
	}
	return it, ParseEpoch(e.Value), err
}

// Add implements [Store].
func (n *Near) Add(ctx context.Context, key string, it Item) (version uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f := n.beginWrite(key)
	defer func() {
		it.Version = version
		n.finishWrite(key, f, it, err)
	}()
	return n.store.Add(context.WithoutCancel(ctx), key, it)
}

// Swap implements [Store].
//
// Writes are not cancelled with their request: the outcome of a cancelled one
// would not be known, and so neither whether a copy is old. The store bounds
// how long they take.
func (n *Near) Swap(ctx context.Context, key string, old uint64, it Item) (version uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f := n.beginWrite(key)
	defer func() {
		it.Version = version
		n.finishWrite(key, f, it, err)
	}()
	return n.store.Swap(context.WithoutCancel(ctx), key, old, it)
}

// Touch implements [Store].
func (n *Near) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.store.Touch(context.WithoutCancel(ctx), key, version, expires); err != nil {
		n.Forget(key)
		return err
	}
	n.poison(key)
	n.cache.touch(key, version, expires) // a copy of another version is none of ours
	return nil
}

// Delete implements [Store].
func (n *Near) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer n.Forget(key)
	return n.store.Delete(context.WithoutCancel(ctx), key)
}

// Forget drops the copy of a record that was written behind the cache's back, by
// another process or in a transaction of the caller's: in that case call it after
// the commit and before anyone is told.
func (n *Near) Forget(key string) {
	n.poison(key)
	n.cache.remove(key)
}

func (n *Near) poison(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.fills[key]; f != nil {
		f.poisoned = true
		delete(n.fills, key) // readers from now on begin a fill of their own
	}
}

// begin notes a read from the store.
func (n *Near) begin(key string) *fill {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.fills[key]
	if f == nil || f.readers == 0 {
		// A write that a read was beside leaves no copy: what was read may be younger.
		f = &fill{}
		n.fills[key] = f
	}
	f.readers++
	return f
}

// beginWrite notes a write that will leave a copy; nil where it will not. Of two writes
// at once nobody here knows which the store took last.
func (n *Near) beginWrite(key string) *fill {
	if n.shared && !n.fresh(time.Now()) {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fills[key] != nil {
		return nil
	}
	f := &fill{}
	n.fills[key] = f
	return f
}

// finishWrite makes what was written a copy if it was alone with its record. Else there
// is none, and those who read meanwhile leave none either.
func (n *Near) finishWrite(key string, f *fill, it Item, err error) {
	n.mu.Lock()
	alone := f != nil && n.fills[key] == f && err == nil && it.Version != 0
	if alone {
		delete(n.fills, key)
		n.cache.put(key, it)
	}
	n.mu.Unlock()
	if !alone {
		n.Forget(key)
	}
}

// finish makes the record a copy, unless it was written meanwhile. The lock is
// held until the copy stands, so that a poison comes before or after.
func (n *Near) finish(key string, f *fill, it Item, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f.readers--; f.readers == 0 && n.fills[key] == f {
		delete(n.fills, key)
	}
	if err == nil && !f.poisoned {
		n.cache.put(key, it)
	}
}

// List implements [Lister], without the cache.
func (n *Near) List(ctx context.Context, subject, after string, limit int) ([]Entry, error) {
	l, ok := n.store.(Lister)
	if !ok {
		return nil, ErrNoList
	}
	return l.List(ctx, subject, after, limit)
}

// Sweep implements [Sweeper] for the store and for the copies.
func (n *Near) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	if _, err := n.cache.sweep(ctx, now, limit); err != nil {
		return 0, err
	}
	s, ok := n.store.(Sweeper)
	if !ok {
		return 0, nil
	}
	return s.Sweep(ctx, now, limit)
}

// Durability implements [Durable]: that of the store.
func (n *Near) Durability() Durability {
	if d, ok := n.store.(Durable); ok {
		return d.Durability()
	}
	return SurvivesNothing
}
