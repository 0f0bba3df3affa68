package redisstore

import (
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit/session"
)

// Store returns a store in the server of the pool: [New] of Do, where what only reads is
// no script, which takes the server a tenth of the time and the program some less. The
// script is there to notice a server that began anew, and these connections do, for they
// end with it: so the pool has to lead to the server itself, and not to one that speaks
// for several. A user with limited rights needs those to INFO and MGET also. It keeps some
// 3 MB in the program's memory. Nil options are the defaults. It sends nothing yet.
func (p *Pool) Store(o *Options) (*Store, error) {
	s, err := New(p.Do, o)
	s.pool, s.hints = p, &hints{seed: maphash.MakeSeed()}
	return s, err
}

// readPlainly is Get without the script. Ok is false where that has to be asked.
func (s *Store) readPlainly(ctx context.Context, begun time.Time, key string) (it session.Item, ok bool, err error) {
	if s.pool == nil {
		return it, false, nil
	}
	r, ok, err := s.plainly(ctx, begun, s.records+key)
	if ok && err == nil {
		it, err = item(r[0])
	}
	return it, ok, err
}

// checkPlainly is GetWithEpoch without the script. Ok is false where that has to be asked.
func (s *Store) checkPlainly(ctx context.Context, begun time.Time, key string) (it session.Item, epoch session.Epoch, ok bool, err error) {
	if s.pool == nil {
		return it, epoch, false, nil
	}
	h := s.hints.of(key)
	if h == nil {
		return it, epoch, false, nil
	}
	r, ok, err := s.plainly(ctx, begun, h.records...)
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
func (s *Store) plainly(ctx context.Context, begun time.Time, keys ...string) (records [2]string, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return records, false, err
	}
	c := within(ctx, begun, s.timeout)
	defer c.end()
	run, texts := kept, [3]string{}
	if s.runs == "" {
		texts, err = s.pool.mget(&c, keys)
	} else {
		// The script finds it in a key, and takes no record of another for its own. After
		// a fail-over there and back that is not the server's.
		all := [3]string{}
		n := copy(all[:], keys)
		all[n] = s.runs
		if texts, run, err = s.pool.mgetOfRun(&c, all[:n+1]); texts[n] != run {
			run = ""
		}
	}
	if isRefusal(err) || err == nil && run == "" {
		return records, false, nil
	} else if err != nil {
		return records, false, failure(ctx, err)
	}
	for i := range keys {
		r := texts[i]
		if r != "" && (len(r) < atSize || r[atRun:atSize-1] != run) {
			return records, false, nil // of an earlier run, or none of ours
		}
		records[i] = r
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

// hints remember whose sessions are, of some 16,000 that were begun or read: a check that
// is no script has to name both of its records. What a hint says is held against each
// answer.
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
