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
// for several. It remembers some 16,000 sessions, so that an update is one trip as well,
// in 7 MB of the program's memory (30 MB at most). Nil options are the defaults. It sends nothing yet.
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
	r, ok, err := s.plainly(ctx, begun, []string{s.records + key})
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
	r, ok, err := s.plainly(ctx, begun, h.names())
	if !ok || err != nil {
		return it, epoch, false, err
	}
	if it, err = item(r[0]); err != nil || it.Subject != h.item.Subject {
		return it, epoch, false, err
	}
	e, err := item(r[1])
	if errors.Is(err, session.ErrNotFound) {
		err = nil
	}
	epoch = session.ParseEpoch(e.Value)
	if err == nil {
		s.noteRead(h, it, epoch)
	}
	return it, epoch, true, err
}

// plainly reads one or two records without the script. An absent one is "". Ok is false
// where the script has to be asked.
func (s *Store) plainly(ctx context.Context, begun time.Time, keys []string) (records [2]string, ok bool, err error) {
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

// Guess implements [session.Guesser].
func (s *Store) Guess(key string) (it session.Item, epoch session.Epoch, ok bool) {
	if s.pool == nil {
		return it, epoch, false
	}
	h := s.hints.of(key)
	if h == nil || !h.known {
		return it, epoch, false
	}
	return h.item, h.epoch, true
}

// note remembers whose a session is.
func (s *Store) note(key, subject string) {
	if s.pool == nil {
		return
	}
	h := &hint{}
	h.records[0] = s.records + key
	h.key = h.records[0][len(s.records):]
	if subject != "" {
		h.records[1] = s.records + session.EpochKey(subject)
		h.item.Subject = strings.Clone(subject) // what is read lies in an answer
	}
	s.hints.note(h)
}

// noteRead remembers what was read, with the hint that led there.
func (s *Store) noteRead(h *hint, it session.Item, epoch session.Epoch) {
	switch {
	case h.known && h.item.Version == it.Version && h.item.Expires.Equal(it.Expires) && h.epoch == epoch:
	case len(it.Value) <= maxGuess:
		it.Value, epoch.Spared = strings.Clone(it.Value), strings.Clone(epoch.Spared)
		s.hints.note(h.knowing(it, epoch))
	case h.known:
		s.hints.note(h.unknowing())
	}
}

// noteWrite remembers what was written, or that after an error nobody knows, of a session
// that was read before.
func (s *Store) noteWrite(key string, it session.Item, version uint64, err error) {
	if s.pool == nil {
		return
	}
	switch h := s.hints.of(key); {
	case h == nil || !h.known:
	case err == nil && it.Subject == h.item.Subject && len(it.Value) <= maxGuess:
		it.Version, it.Expires = version, time.UnixMilli(int64(millis(it.Expires)))
		s.hints.note(h.knowing(it, h.epoch))
	default:
		s.hints.note(h.unknowing())
	}
}

// hints remember some 16,000 sessions that were begun or read: whose they are, for a check
// that is no script has to name both of its records, and what they were last, for an
// update to begin with. What a hint says is held against each answer.
type hints struct {
	seed maphash.Seed
	sets [1 << 12]hintSet
}

type (
	hintSet [4]atomic.Pointer[hint]
	hint    struct {
		key     string
		records [2]string    // the names of its record and, of a subject's, of the epoch's
		item    session.Item // as it was last; nothing but the subject where that is not known
		epoch   session.Epoch
		known   bool
	}
)

// maxGuess bounds the values that hints keep, in bytes.
const maxGuess = 1 << 10

// names returns those of the records.
func (h *hint) names() []string {
	if h.records[1] == "" {
		return h.records[:1]
	}
	return h.records[:]
}

// knowing returns the hint with what was read or written, of the same subject's.
func (h *hint) knowing(it session.Item, epoch session.Epoch) *hint {
	it.Subject = h.item.Subject // in memory of its own
	return &hint{key: h.key, records: h.records, item: it, epoch: epoch, known: true}
}

// unknowing returns the hint without that.
func (h *hint) unknowing() *hint {
	return &hint{key: h.key, records: h.records, item: session.Item{Subject: h.item.Subject}}
}

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
		old := set[i].Load()
		if old == nil {
			if set[i].CompareAndSwap(nil, it) {
				return
			}
			old = set[i].Load()
		}
		if old.key == it.key {
			set[i].Store(it)
			return
		}
	}
	set[rand.IntN(len(set))].Store(it)
}

func (h *hints) set(key string) *hintSet {
	return &h.sets[maphash.String(h.seed, key)%uint64(len(h.sets))]
}
