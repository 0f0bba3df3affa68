package redisstore

import (
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"sync/atomic"

	"github.com/admit-auth/admit/session"
)

// Store returns a store in the server of the pool: [New] of Do, where what only reads is
// no script, which takes the server a tenth of the time and the program a sixth less. The
// script is there to notice a server that began anew, and these connections do, for they
// end with it: so the pool has to lead to the server itself, and not to one that speaks
// for several. A user with limited rights needs those to INFO and MGET also. Nil options
// are the defaults. It sends nothing yet.
func (p *Pool) Store(o *Options) (*Store, error) {
	s, err := New(p.Do, o)
	s.pool = p
	return s, err
}

// Get implements [session.Store].
func (s *Store) Get(ctx context.Context, key string) (session.Item, error) {
	if s.pool != nil {
		if r, ok, err := s.plainly(ctx, s.records+key); err != nil {
			return session.Item{}, err
		} else if ok {
			return item(r[0])
		}
	}
	return s.base.Get(ctx, key)
}

// Add implements [session.Store].
func (s *Store) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	version, err := s.base.Add(ctx, key, it)
	if err == nil && !strings.HasPrefix(key, epochPrefix) {
		s.note(key, it.Subject)
	}
	return version, err
}

// checkPlainly is GetWithEpoch without the script. Ok is false where that has to be asked.
func (s *Store) checkPlainly(ctx context.Context, key string) (it session.Item, epoch session.Epoch, ok bool, err error) {
	h := s.hints.of(key)
	if h == nil {
		return it, epoch, false, nil
	}
	r, ok, err := s.plainly(ctx, h.records...)
	if !ok || err != nil {
		return it, epoch, false, err
	}
	if it, err = item(r[0]); err != nil || it.Subject != h.subject {
		return it, epoch, false, err
	}
	e, err := item(r[1])
	if errors.Is(err, session.ErrNotFound) {
		err = nil
	}
	return it, session.ParseEpoch(e.Value), true, err
}

// plainly reads one or two records without the script. An absent one is "". Ok is false
// where the script has to be asked.
func (s *Store) plainly(ctx context.Context, keys ...string) (records [2]string, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return records, false, err
	}
	c := within(ctx, s.timeout)
	defer c.end()
	records, run, err := s.pool.mget(&c, keys) // to which a key of another type is absent
	if _, refused := err.(refusal); refused || err == nil && run == "" {
		return records, false, nil
	} else if err != nil {
		return records, false, failure(ctx, err)
	}
	if s.durability > session.MayForget {
		run = kept
	}
	for _, r := range records {
		if r != "" && (len(r) < atSize || r[atRun:atSize-1] != run) {
			return records, false, nil // of an earlier run, or none of ours
		}
	}
	return records, true, nil
}

// note remembers whose a session is.
func (s *Store) note(key, subject string) {
	if s.pool == nil {
		return
	}
	// Of memory of its own: what is read lies in an answer.
	h := &hint{key: strings.Clone(key), subject: strings.Clone(subject), records: []string{s.records + key}}
	if subject != "" {
		h.records = append(h.records, s.records+session.EpochKey(subject))
	}
	s.hints.note(h)
}

// hints remember whose sessions are, of some 16,000 that were read last: a check that is
// no script has to name both of its records. What a hint says is held against each answer.
type hints struct {
	seed maphash.Seed
	sets [1 << 12]hintSet
}

type (
	hintSet [4]atomic.Pointer[hint]
	hint    struct {
		key, subject string
		records      []string // the names of its record and, of a subject's, of the epoch's
	}
)

// of returns the hint for a session, or nil.
func (h *hints) of(key string) *hint {
	set := h.set(key)
	for i := range set {
		if it := set[i].Load(); it != nil && it.key == key {
			return it
		}
	}
	return nil
}

// note keeps it, in the place of any other where there is no room.
func (h *hints) note(it *hint) {
	set := h.set(it.key)
	for i := range set {
		if old := set[i].Load(); (old == nil || old.key == it.key) && set[i].CompareAndSwap(old, it) {
			return
		}
	}
	set[rand.IntN(len(set))].Store(it)
}

func (h *hints) set(key string) *hintSet {
	return &h.sets[maphash.String(h.seed, key)%uint64(len(h.sets))]
}
