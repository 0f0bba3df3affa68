package copies

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

// A Store is the database's store of sessions, with copies in Redis.
type Store struct{ c *Copies }

// Store returns the store.
func (c *Copies) Store() *Store { return &Store{c} }

// Get implements [session.Store].
func (s *Store) Get(ctx context.Context, key string) (session.Item, error) {
	if err := ctx.Err(); err != nil {
		return session.Item{}, err
	}
	payload, ok, l := s.c.look(key)
	if ok {
		it, err := itemOf(payload)
		// Another process may have noted that it is in use: a copy never proves that
		// a session expired.
		if err == nil && time.Now().Before(it.Expires) && it.Expires.UnixMilli() > s.c.swept.Load() {
			return it, nil
		}
	}
	it, err := s.c.o.Database.Get(ctx, key)
	if err == nil {
		s.c.fill(l, key, payloadOf(it))
	}
	return it, err
}

// GetWithEpoch implements [session.EpochGetter]: without Redis in as many trips as
// the database takes.
func (s *Store) GetWithEpoch(ctx context.Context, key string) (session.Item, session.Epoch, error) {
	if _, usable := s.c.usable(time.Now()); !usable {
		if e, ok := s.c.o.Database.(session.EpochGetter); ok {
			s.c.misses.Add(1)
			return e.GetWithEpoch(ctx, key)
		}
	}
	it, err := s.Get(ctx, key)
	if err != nil || it.Subject == "" {
		return it, session.Epoch{}, err
	}
	e, err := s.Get(ctx, session.EpochKey(it.Subject))
	if errors.Is(err, session.ErrNotFound) {
		return it, session.Epoch{}, nil
	}
	return it, session.ParseEpoch(e.Value), err
}

// Add implements [session.Store]. Of what was not there, there is no copy; there
// may be the lease of a reader that found nothing.
func (s *Store) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	version, err := s.c.o.Database.Add(ctx, key, it)
	s.c.tell(key)
	return version, err
}

// Swap implements [session.Store].
func (s *Store) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.c.hold(key)
	version, err := s.c.o.Database.Swap(ctx, key, old, it)
	_, ends := session.Ending(ctx)
	return version, s.after(ctx, key, ends, err)
}

// Touch implements [session.Store]. A copy that expires earlier does no harm, but
// that everybody who reads it would touch the record again.
func (s *Store) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	err := s.c.o.Database.Touch(ctx, key, version, expires)
	s.c.tell(key)
	return err
}

// Delete implements [session.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.c.hold(key)
	return s.after(ctx, key, false, s.c.o.Database.Delete(ctx, key))
}

// after forgets the copies of a record after a write, and returns what the writer is
// to be told.
func (s *Store) after(ctx context.Context, key string, ends bool, err error) error {
	switch {
	case err == nil:
		return s.c.Forget(ctx, ends, key)
	case unsure(err): // it may have happened, or may yet; nobody was told that it has
		s.c.again(key)
	}
	s.c.tell(key) // somebody else wrote, and may have died before he took the copy away
	return err
}

// unsure reports whether a write that failed so may have happened.
func unsure(err error) bool {
	if err == nil || errors.Is(err, session.ErrConflict) || errors.Is(err, session.ErrNotFound) {
		return false
	}
	return admit.KindOf(err) != admit.Invalid
}

// again has a record forgotten once more, when no write that is under way now can
// take effect any more.
func (c *Copies) again(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.later) >= 10_000 {
		key = tooMany
	}
	c.later[key] = time.Now().Add(holdLife)
	if c.o.URL == "" && !c.alone { // it does not Run
		c.alone = true
		time.AfterFunc(holdLife, c.tidyAlone)
	}
}

// tidyAlone tells others, who have Redis, what is to be forgotten, and comes again where
// that is not due or failed: not for keys whose copies are gone by themselves.
func (c *Copies) tidyAlone() {
	ctx, cancel := context.WithTimeout(context.Background(), distrustTime)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tidy(ctx)
	maps.DeleteFunc(c.later, func(_ string, at time.Time) bool { return time.Since(at) > copyLife })
	if c.alone = len(c.later) > 0; c.alone {
		time.AfterFunc(holdLife, c.tidyAlone)
	}
}

// tooMany stands for keys that there was no room for: no copy may be used then.
const tooMany = ""

// List implements [session.Lister], from the database.
func (s *Store) List(ctx context.Context, subject, after string, limit int) ([]session.Entry, error) {
	l, ok := s.c.o.Database.(session.Lister)
	if !ok {
		return nil, session.ErrNoList
	}
	all, err := l.List(ctx, subject, after, limit)
	i := slices.IndexFunc(all, func(e session.Entry) bool { return e.Key == generationKey })
	if err != nil || i < 0 {
		return all, err
	}
	// It is nobody's business, and a page that is not full would be the last.
	last := all[len(all)-1].Key
	all = slices.Delete(all, i, i+1)
	if len(all) == limit-1 {
		one, err := l.List(ctx, subject, last, 1)
		return append(all, one...), err
	}
	return all, nil
}

// Sweep implements [session.Sweeper], of the database: Redis forgets by itself.
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	w, ok := s.c.o.Database.(session.Sweeper)
	if !ok {
		return 0, nil
	}
	if ms := now.UnixMilli(); ms > s.c.swept.Load() {
		s.c.swept.Store(ms)
	}
	return w.Sweep(ctx, now, limit)
}

// Durability implements [session.Durable]: that of the database.
func (s *Store) Durability() session.Durability {
	if d, ok := s.c.o.Database.(session.Durable); ok {
		return d.Durability()
	}
	return session.SurvivesNothing
}
