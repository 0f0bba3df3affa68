package session

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Near is a [Store] that keeps copies of another store's records in the
// process's memory, so that a check costs no trip. It is for a process that is
// alone in writing to that store, as a server with its database in a file is:
// what others write behind its back it does not see until [Near.Forget].
//
// A read that began before a write ended never sees the old record afterwards:
// a write poisons the fills in flight, and forgets its copy after the store
// has answered and before the caller hears.
type Near struct {
	store Store
	cache table
	mu    sync.Mutex
	fills map[string]*fill // guarded by mu
}

// A fill is a read from the store that will become a copy unless poisoned.
type fill struct {
	readers  int
	poisoned bool
}

// NewNear returns a store in front of another. Its copies take at most maxBytes,
// 64 MiB for 0; when there is no more room, those that expire first go.
func NewNear(store Store, maxBytes int64) *Near {
	if maxBytes == 0 {
		maxBytes = 64 << 20
	}
	n := &Near{store: store, fills: map[string]*fill{}}
	n.cache.init(0, maxBytes)
	return n
}

// Get implements [Store].
func (n *Near) Get(ctx context.Context, key string) (Item, error) {
	if it, ok := n.cache.get(key); ok {
		return it, ctx.Err()
	}
	f := n.begin(key)
	it, err := n.store.Get(ctx, key)
	n.finish(key, f, it, err)
	return it, err
}

// GetWithEpoch implements [EpochGetter].
func (n *Near) GetWithEpoch(ctx context.Context, key string) (Item, Epoch, error) {
	it, err := n.Get(ctx, key)
	if err != nil || it.Subject == "" {
		return it, Epoch{}, err
	}
	if epoch, ok := n.cache.epoch(it.Subject); ok {
		return it, epoch, nil
	}
	e, err := n.Get(ctx, EpochKey(it.Subject))
	if errors.Is(err, ErrNotFound) {
		return it, Epoch{}, nil
	}
	return it, ParseEpoch(e.Value), err
}

// Add implements [Store].
func (n *Near) Add(ctx context.Context, key string, it Item) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	defer n.Forget(key)
	return n.store.Add(context.WithoutCancel(ctx), key, it)
}

// Swap implements [Store].
//
// Writes are not cancelled with their request: the outcome of a cancelled one
// would not be known, and so neither whether a copy is old. The store bounds
// how long they take.
func (n *Near) Swap(ctx context.Context, key string, old uint64, it Item) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	defer n.Forget(key)
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

// Forget drops the copy of a record that was written behind the cache's back,
// such as an epoch that was raised in a transaction of the caller's. Call it
// after the commit and before anyone is told.
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
	if f == nil {
		f = &fill{}
		n.fills[key] = f
	}
	f.readers++
	return f
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
