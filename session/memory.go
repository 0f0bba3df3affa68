package session

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Memory is a [Store] in the process's own memory, for one process: what it
// keeps ends with it. It also implements EpochGetter, Lister and Sweeper.
//
// Records are kept without pointers in 64 shards, so that a million sessions
// cost a garbage collection no more than a thousand do; the memory of expired
// ones is given back. It is bounded: when it is full, a new record takes the
// place of a guest's (one among those that would expire first), and where no
// guest is left, Add and growing swaps fail with ErrFull. A flood of strangers
// can so push out strangers, never somebody who is signed in.
//
// List looks at every record: about 20 ms for a million.
type Memory struct{ table }

// MemoryOptions bounds a Memory.
type MemoryOptions struct {
	MaxRecords int   // default 5,000,000; a signed-in subject has one more for its epoch
	MaxBytes   int64 // default 1 GiB, bookkeeping included
}

// NewMemory returns an empty store. Nil options are the defaults.
func NewMemory(o *MemoryOptions) *Memory {
	if o == nil {
		o = &MemoryOptions{}
	}
	m := new(Memory)
	m.init(o.MaxRecords, o.MaxBytes)
	return m
}

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, key string) (Item, error) {
	if err := ctx.Err(); err != nil {
		return Item{}, err
	}
	it, ok := m.get(key)
	if !ok {
		return Item{}, ErrNotFound
	}
	return it, nil
}

// GetWithEpoch implements [EpochGetter].
func (m *Memory) GetWithEpoch(ctx context.Context, key string) (it Item, epoch Epoch, err error) {
	if err := ctx.Err(); err != nil {
		return it, epoch, err
	}
	it, ok := m.get(key)
	if !ok {
		return it, epoch, ErrNotFound
	}
	if it.Subject != "" {
		epoch, _ = m.epoch(it.Subject)
	}
	return it, epoch, nil
}

// Add implements [Store].
func (m *Memory) Add(ctx context.Context, key string, it Item) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := CheckRecord(key, it); err != nil {
		return 0, err
	}
	s, h := m.shard(key)
	if err := m.reserve(1, weight(key, it), guests); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, r := s.find(h, key); r != 0 {
		m.unreserve(1, weight(key, it))
		return 0, ErrConflict
	}
	it.Version = s.nextVersion()
	s.insert(h, key, it)
	return it.Version, nil
}

// Swap implements [Store].
func (m *Memory) Swap(ctx context.Context, key string, old uint64, it Item) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := CheckRecord(key, it); err != nil {
		return 0, err
	}
	s, h := m.shard(key)
	// The room is reserved before the lock, for making it may take other
	// shards' locks; what the old record had is given back afterwards.
	was, err := s.weigh(h, key, old)
	if err != nil {
		return 0, err
	}
	is := weight(key, it)
	grow := max(is-was, 0)
	if err := m.reserve(0, grow, guests); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, r := s.find(h, key)
	if err := s.check(r, old); err != nil {
		m.unreserve(0, grow)
		return 0, err
	}
	it.Version = s.nextVersion()
	m.unreserve(0, was+grow-is)
	s.replace(i, r, h, key, it)
	return it.Version, nil
}

// Touch implements [Store].
func (m *Memory) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.touch(key, version, expires)
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.remove(key)
	return nil
}

// List implements [Lister].
func (m *Memory) List(ctx context.Context, subject, after string, limit int) ([]Entry, error) {
	var found []Entry
	for i := range m.shards {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		found = m.shards[i].collect(found, subject, after)
	}
	slices.SortFunc(found, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	return found[:min(len(found), max(limit, 0))], nil
}

// Sweep implements [Sweeper].
func (m *Memory) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	return m.sweep(ctx, now, limit)
}

// Len returns the number of records, expired ones that are not yet swept
// included.
func (m *Memory) Len() int { return int(m.records.Load()) }

// Durability implements [Durable].
func (m *Memory) Durability() Durability { return SurvivesNothing }

// A table is what Memory and Near have in common: records by key, in shards,
// with an order of expiry and a bound.
type table struct {
	seed       maphash.Seed
	maxRecords int64
	maxBytes   int64
	records    atomic.Int64
	bytes      atomic.Int64
	hand       atomic.Uint32 // the shard that is swept or robbed next
	shards     [numShards]shard
}

const numShards = 64

type shard struct {
	mu      sync.RWMutex
	index   []uint64 // hash<<32 | ref, open addressing; guarded by mu, as all below
	count   int
	version uint64
	arena   arena
	wheels  [2]wheel // of guests, of the others
	_       [64]byte // keeps neighbours' locks on other cache lines
}

const (
	guests = 1 << iota // who may be pushed out when room is needed
	others
)

func (t *table) init(maxRecords int, maxBytes int64) {
	t.seed = maphash.MakeSeed()
	t.maxRecords, t.maxBytes = int64(maxRecords), maxBytes
	if maxRecords <= 0 {
		t.maxRecords = 5_000_000
	}
	if maxBytes <= 0 {
		t.maxBytes = 1 << 30
	}
}

func (t *table) shard(key string) (*shard, uint32) {
	return t.pick(maphash.String(t.seed, key))
}

func (t *table) pick(h uint64) (*shard, uint32) {
	return &t.shards[h>>(64-6)], uint32(h)
}

// get returns a copy of the record: one allocation, which value and subject
// share.
func (t *table) get(key string) (Item, bool) {
	s, h := t.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, r := s.find(h, key)
	if r == 0 {
		return Item{}, false
	}
	return entry(s.arena.at(r)).item(), true
}

// epoch returns what the subject's epoch record says, without allocating.
func (t *table) epoch(subject string) (Epoch, bool) {
	var buf [maxKey]byte
	key := appendEpochKey(buf[:0], subject)
	s, h := t.pick(maphash.Bytes(t.seed, key))
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, r := s.find(h, string(key))
	if r == 0 {
		return Epoch{}, false
	}
	return parseEpoch(entry(s.arena.at(r)).value()), true
}

func (t *table) touch(key string, version uint64, expires time.Time) error {
	s, h := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, r := s.find(h, key)
	if err := s.check(r, version); err != nil {
		return err
	}
	e := entry(s.arena.at(r))
	if ms := millis(expires); ms > e.expires() {
		w := &s.wheels[e.wheel()]
		w.remove(&s.arena, r)
		e.setExpires(ms)
		w.add(&s.arena, r, ms)
	}
	return nil
}

// put keeps a copy of a record of another store, with that store's version, in place of
// any other. It pushes others out where there is no room.
func (t *table) put(key string, it Item) {
	if CheckRecord(key, it) != nil || t.reserve(1, weight(key, it), guests|others) != nil {
		t.remove(key)
		return
	}
	s, h := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, r := s.find(h, key); r != 0 {
		t.drop(s, i, r)
	}
	s.insert(h, key, it)
}

func (t *table) remove(key string) {
	s, h := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, r := s.find(h, key); r != 0 {
		t.drop(s, i, r)
	}
}

// clear removes all.
func (t *table) clear() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		var bytes int64
		for _, x := range s.index {
			if x != 0 {
				bytes += weighEntry(s.arena.at(ref(x)))
			}
		}
		t.unreserve(int64(s.count), bytes)
		s.index, s.count, s.arena, s.wheels = nil, 0, arena{}, [2]wheel{}
		s.mu.Unlock()
	}
}

// drop removes the record at a place of the index. The shard is locked.
func (t *table) drop(s *shard, i int, r ref) {
	t.unreserve(1, weighEntry(s.arena.at(r)))
	s.wheels[entry(s.arena.at(r)).wheel()].remove(&s.arena, r)
	s.arena.release(r)
	s.unindex(i)
}

// weight is what a record counts for against MaxBytes: its slot and its share
// of the index.
func weight(key string, it Item) int64 {
	_, size := slotSize(headerLen + len(key) + len(it.Subject) + len(it.Value))
	return int64(size) + indexWeight
}

func weighEntry(e entry) int64 { return int64(len(e)) + indexWeight }

const indexWeight = 12 // 8 bytes a place, two thirds of them in use

// reserve makes room, pushing out records of the wheels named where there is
// none, soonest to expire first.
func (t *table) reserve(n, bytes int64, victims int) error {
	over := func() bool { return t.records.Load() > t.maxRecords || t.bytes.Load() > t.maxBytes }
	t.records.Add(n)
	t.bytes.Add(bytes)
	for (n > 0 || bytes > 0) && over() {
		if !t.evict(victims) {
			t.unreserve(n, bytes)
			return ErrFull
		}
	}
	return nil
}

func (t *table) unreserve(n, bytes int64) {
	t.records.Add(-n)
	t.bytes.Add(-bytes)
}

// evict pushes one record out.
func (t *table) evict(victims int) bool {
	for range numShards {
		s := &t.shards[t.hand.Add(1)%numShards]
		s.mu.Lock()
		for k := range s.wheels {
			if victims&(1<<k) == 0 {
				continue
			}
			if r := s.wheels[k].first(); r != 0 {
				t.dropRef(s, r)
				s.mu.Unlock()
				return true
			}
		}
		s.mu.Unlock()
	}
	return false
}

func (t *table) dropRef(s *shard, r ref) {
	h := uint32(maphash.Bytes(t.seed, entry(s.arena.at(r)).key()))
	t.drop(s, s.findRef(h, r), r)
}

// sweepStep is how many records a sweep looks at before it lets others have
// the shard: some tens of microseconds.
const sweepStep = 64

func (t *table) sweep(ctx context.Context, now time.Time, limit int) (swept int, err error) {
	ms := millis(now)
	for range numShards {
		s := &t.shards[t.hand.Add(1)%numShards]
		for more := true; more && swept < limit; {
			if err := ctx.Err(); err != nil {
				return swept, err
			}
			var n int
			n, more = t.sweepShard(s, ms, min(sweepStep, limit-swept))
			swept += n
			if !more {
				s.shrink()
			}
		}
	}
	return swept, nil
}

func (t *table) sweepShard(s *shard, now uint64, steps int) (swept int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.wheels {
		w := &s.wheels[k]
		for {
			if steps == 0 {
				return swept, true
			}
			r, again := w.due(&s.arena, now)
			if r != 0 {
				t.dropRef(s, r)
				swept++
			}
			if !again {
				break
			}
			steps--
		}
	}
	return swept, false
}

// find returns the place in the index and the slot of a key; ref 0 if absent.
func (s *shard) find(h uint32, key string) (int, ref) {
	if len(s.index) == 0 {
		return 0, 0
	}
	for i := s.home(h); ; i = s.after(i) {
		x := s.index[i]
		if x == 0 {
			return i, 0
		}
		if uint32(x>>32) == h && string(entry(s.arena.at(ref(x))).key()) == key {
			return i, ref(x)
		}
	}
}

// findRef returns the place in the index of a slot that is known to be there.
func (s *shard) findRef(h uint32, r ref) int {
	for i := s.home(h); ; i = s.after(i) {
		if ref(s.index[i]) == r {
			return i
		}
	}
}

// home is where the search for a hash begins: the index need not have a power
// of two of places, and can grow by a quarter at a time.
func (s *shard) home(h uint32) int { return int(uint64(h) * uint64(len(s.index)) >> 32) }

// after is the place behind another.
func (s *shard) after(i int) int {
	if i++; i == len(s.index) {
		i = 0
	}
	return i
}

// check says whether a slot holds the version.
func (s *shard) check(r ref, version uint64) error {
	if r == 0 {
		return ErrNotFound
	}
	if entry(s.arena.at(r)).version() != version {
		return ErrConflict
	}
	return nil
}

// weigh returns the weight of a record if it has the version.
func (s *shard) weigh(h uint32, key string, version uint64) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, r := s.find(h, key)
	if err := s.check(r, version); err != nil {
		return 0, err
	}
	return weighEntry(s.arena.at(r)), nil
}

// nextVersion counts all writes of the shard, so that a key that is deleted
// and added anew never has an old version again.
func (s *shard) nextVersion() uint64 {
	s.version++
	return s.version
}

func (s *shard) insert(h uint32, key string, it Item) {
	if s.count >= len(s.index)*4/5 {
		s.reindex(make([]uint64, max(8, len(s.index)*5/4)))
	}
	i, _ := s.find(h, key)
	s.index[i] = uint64(h)<<32 | uint64(s.write(key, it))
	s.count++
}

func (s *shard) replace(i int, r ref, h uint32, key string, it Item) {
	s.wheels[entry(s.arena.at(r)).wheel()].remove(&s.arena, r)
	s.arena.release(r)
	s.index[i] = uint64(h)<<32 | uint64(s.write(key, it))
}

func (s *shard) write(key string, it Item) ref {
	r, b := s.arena.alloc(headerLen + len(key) + len(it.Subject) + len(it.Value))
	e := entry(b)
	e.fill(key, it)
	s.wheels[e.wheel()].add(&s.arena, r, e.expires())
	return r
}

// unindex empties a place and closes the gap behind it (Knuth 6.4, algorithm
// R), so that there are no grave stones to step over.
func (s *shard) unindex(i int) {
	n := len(s.index)
	for j := i; ; {
		s.index[i] = 0
		for {
			j = s.after(j)
			x := s.index[j]
			if x == 0 {
				s.count--
				return
			}
			home := s.home(uint32(x >> 32))
			if (j-home+n)%n >= (j-i+n)%n {
				s.index[i] = x
				i = j
				break
			}
		}
	}
}

// reindex moves to another index, which is empty. Hashes stand in it, so records
// are not looked at: 3 ns each.
func (s *shard) reindex(index []uint64) {
	old := s.index
	s.index = index
	for _, x := range old {
		if x == 0 {
			continue
		}
		i := s.home(uint32(x >> 32))
		for s.index[i] != 0 {
			i = s.after(i)
		}
		s.index[i] = x
	}
}

// shrink gives memory back that is no longer needed. The smaller index is made
// without the lock: a runtime that is giving memory back itself can take a
// millisecond over it.
func (s *shard) shrink() {
	s.mu.RLock()
	n, is := s.fit(), len(s.index)
	s.mu.RUnlock()
	if n == is {
		return
	}
	index := make([]uint64, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case n != s.fit(): // others came meanwhile
	case n == 0:
		s.index = nil
		s.arena.shrink()
	default:
		s.reindex(index)
	}
}

// fit returns how many places the index should have.
func (s *shard) fit() int {
	switch {
	case s.count == 0:
		return 0
	case s.count < len(s.index)/4:
		return max(8, len(s.index)/2)
	}
	return len(s.index)
}

// collect appends the shard's records of a subject, or of everybody for "".
func (s *shard) collect(found []Entry, subject, after string) []Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, x := range s.index {
		if x == 0 {
			continue
		}
		e := entry(s.arena.at(ref(x)))
		if (subject == "" || string(e.subject()) == subject) && string(e.key()) > after {
			found = append(found, Entry{Key: string(e.key()), Item: e.item()})
		}
	}
	return found
}

// An entry is a record in its slot: a header without pointers, then key,
// subject and value.
type entry []byte

const headerLen = 6 + 6 + 4 + 4 + 2 + 1 + 1 // version, expires, next, prev, len(value), len(key), len(subject)

func (e entry) fill(key string, it Item) {
	e.setVersion(it.Version)
	e.setExpires(millis(it.Expires))
	binary.LittleEndian.PutUint16(e[20:], uint16(len(it.Value)))
	e[22], e[23] = byte(len(key)), byte(len(it.Subject))
	n := headerLen
	n += copy(e[n:], key)
	n += copy(e[n:], it.Subject)
	copy(e[n:], it.Value)
}

func (e entry) item() Item {
	n := headerLen + int(e[22])
	both := string(e[n : n+int(e[23])+int(binary.LittleEndian.Uint16(e[20:]))])
	return Item{
		Subject: both[:e[23]],
		Value:   both[e[23]:],
		Expires: time.UnixMilli(int64(e.expires())),
		Version: e.version(),
	}
}

func (e entry) key() []byte     { return e[headerLen : headerLen+int(e[22])] }
func (e entry) subject() []byte { return e[headerLen+int(e[22]):][:e[23]] }
func (e entry) value() []byte {
	return e[headerLen+int(e[22])+int(e[23]):][:binary.LittleEndian.Uint16(e[20:])]
}

func (e entry) version() uint64     { return uint48(e[0:]) }
func (e entry) setVersion(v uint64) { putUint48(e[0:], v) }
func (e entry) expires() uint64     { return uint48(e[6:]) }
func (e entry) setExpires(v uint64) { putUint48(e[6:], v) }
func (e entry) next() ref           { return ref(binary.LittleEndian.Uint32(e[12:])) }
func (e entry) setNext(r ref)       { binary.LittleEndian.PutUint32(e[12:], uint32(r)) }
func (e entry) prev() ref           { return ref(binary.LittleEndian.Uint32(e[16:])) }
func (e entry) setPrev(r ref)       { binary.LittleEndian.PutUint32(e[16:], uint32(r)) }

// wheel returns which of the shard's wheels the record hangs in.
func (e entry) wheel() int {
	if e[23] == 0 {
		return 0
	}
	return 1
}

func uint48[T ~[]byte | ~string](b T) uint64 {
	_ = b[5]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40
}

func putUint48(b []byte, v uint64) {
	binary.LittleEndian.PutUint32(b, uint32(v))
	binary.LittleEndian.PutUint16(b[4:], uint16(v>>32))
}

// millis is the expiry as it is kept: milliseconds since 1970, in 48 bits.
func millis(t time.Time) uint64 { return uint64(min(max(t.UnixMilli(), 0), 1<<48-1)) }
