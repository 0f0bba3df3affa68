package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/admit-auth/admit/session"
)

// A suite that cannot fail shows nothing: each of these faults must be caught,
// and the same store without a fault must pass.
var mutants = []struct {
	fault  fault
	caught string // by which check, at the latest
}{
	{"swap does not compare", "swap replaces"},
	{"swap compares, and swaps a moment later", "of parallel swaps"},
	{"swap keeps the expiry", "swap replaces"},
	{"swap keeps the subject", "swap replaces"},
	{"swap of the same value keeps the version", "swap replaces"},
	{"swap compares 32 bits of the version", "swap replaces"},
	{"swap makes what is not there", "an absent record"},
	{"add overwrites", "add takes"},
	{"add looks, and adds a moment later", "of parallel adds"},
	{"versions begin anew after a delete", "no version"},
	{"versions begin anew after a sweep", "no version"},
	{"touch moves the version", "touch moves"},
	{"touch moves the expiry back", "touch moves"},
	{"touch does not compare", "touch moves"},
	{"touch does nothing", "touch moves"},
	{"delete fails where nothing is", "an absent record"},
	{"delete deletes nothing", "keys do not"},
	{"keys fold case", "keys do not"},
	{"keys end at 100 bytes", "keys do not"},
	{"values end at NUL", "a record comes"},
	{"values are made UTF-8", "a record comes"},
	{"values are cut at 32 KiB", "a record comes"},
	{"long values are cut and not refused", "what does not fit"},
	{"any key is taken", "what does not fit"},
	{"keys end at a space where nothing is written", "what does not fit"},
	{"keys are patterns where nothing is written", "what does not fit"},
	{"a record has 61,800 bytes of room", "a record may be"},
	{"expiries are whole seconds", "a record comes"},
	{"expiries have 32 bits of seconds", "a record comes"},
	{"the subject is forgotten", "a record comes"},
	{"subjects are trimmed", "a record comes"},
	{"get hides what has expired", "a record"},
	{"get gives its own buffer", "what was read"},
	{"get reads the past", "parallel histories"},
	{"a write is seen a moment later", "swap replaces"},
	{"contexts are ignored", "an ended context"},
	{"who gives up makes the next one fail", "callers that"},
	{"a failed write answers that it happened", "what does not fit"},
	{"the epoch of nobody counts", "a record and its"},
	{"an expired epoch does not count", "a record and its"},
	{"the epoch is found by a cut subject", "a record and its"},
	{"a guess is the one before", "a guess is"},
	{"a guess has no epoch", "a guess is"},
	{"any epoch will do", "a guess is"},
	{"no epoch will do", "a guess is"},
	{"the number of the epoch will do", "a guess is"},
	{"any version of the right epoch will do", "a guess is"},
	{"nobody needs an epoch too", "a guess is"},
	{"list has no order", "list finds"},
	{"list begins with after", "list finds"},
	{"list matches prefixes", "list finds"},
	{"list folds case", "list finds"},
	{"list has no limit", "list finds"},
	{"list leaves nobody's out", "list finds"},
	{"list keeps an old subject's", "list sees"},
	{"list pages by number", "list pages"},
	{"sweep spares the millisecond", "sweep removes"},
	{"sweep is early", "sweep removes"},
	{"sweep has no limit", "sweep removes"},
	{"sweep counts wrongly", "sweep removes"},
	{"sweep forgets that it was touched", "sweep removes"},
	{"sweep looks, and removes a moment later", "sweep and touch"},
	{"sweep looks at all", "sweep works"},
	{"a restart loses a write", "acknowledged"},
	{"a restart brings back what was deleted", "acknowledged"},
	{"a restart brings back what was before", "acknowledged"},
	{"a restart loses touches", "acknowledged"},
	{"versions begin anew after a restart", "acknowledged"},
	{"it says that it survives and cannot be restarted", "acknowledged"},
}

func TestTheSuiteCatchesEveryMutant(t *testing.T) {
	if len(mutants) == 0 {
		t.Fatal("nothing to catch")
	}
	for _, m := range mutants {
		t.Run(string(m.fault), func(t *testing.T) {
			t.Parallel()
			by := firstFailure(t, func(testing.TB) Backend { return newNaive(m.fault).backend() })
			if by == "" {
				t.Fatal("no check noticed")
			}
			if !strings.HasPrefix(by, m.caught) && before(m.caught, by) {
				t.Errorf("caught late, by %q", by)
			}
		})
	}
}

// Faults of stores that forget by themselves.
var forgetfulMutants = []fault{
	"expiries round down to seconds", "touch does not reach the expiry", "swap does not reach the expiry", "a forgotten record comes back",
	"an expiry of 0 is refused", "an expiry that has passed is an error of swap", "versions begin anew when a record is forgotten",
}

func TestTheDocumentationCountsChecksAndFaultyStores(t *testing.T) {
	text, err := os.ReadFile("../../docs/how-to/write-a-store.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{fmt.Sprint(len(checks), " checks"), fmt.Sprint(len(mutants)+len(forgetfulMutants), " faulty stores")} {
		if !strings.Contains(string(text), want) {
			t.Errorf("write-a-store.md does not speak of %s", want)
		}
	}
}

func TestTheSuiteCatchesAStoreThatForgetsBadly(t *testing.T) {
	for _, fault := range forgetfulMutants {
		t.Run(string(fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if firstFailure(t, func(testing.TB) Backend { return newForgetful(fault).backend() }) == "" {
					t.Fatal("no check noticed")
				}
			})
		})
	}
}

func TestAPlainStoreKeepsThePromises(t *testing.T) {
	Run(t, func(testing.TB) Backend { return newNaive("").backend() })
}

func TestAStoreThatForgetsByItselfKeepsThePromises(t *testing.T) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.run(newKit(t, func(testing.TB) Backend { return newForgetful("").backend() }))
			})
		})
	}
}

// firstFailure runs the checks until one fails, and returns its name.
func firstFailure(t *testing.T, open func(testing.TB) Backend) string {
	return firstFailureOf(t, checks, func(t testing.TB) *kit { return newKit(t, open) })
}

func firstFailureOf(t *testing.T, checks []check, kit func(testing.TB) *kit) string {
	for _, c := range checks {
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() { // for FailNow ends its goroutine
			defer close(done)
			c.run(kit(r))
		}()
		<-done
		if r.Failed() {
			t.Logf("caught: %s: %s", c.name, r.text)
			return c.name
		}
	}
	return ""
}

// before reports whether the check that begins with a is run before b.
func before(a, b string) bool { return beforeIn(checks, a, b) }

func beforeIn(checks []check, a, b string) bool {
	at := func(name string) int {
		return slices.IndexFunc(checks, func(c check) bool { return strings.HasPrefix(c.name, name) })
	}
	return at(a) < at(b)
}

// A recorder is a test that may fail without failing the test it stands in.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed bool   // guarded by mu
	text   string // of the first failure; guarded by mu
}

func (r *recorder) fail(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.failed {
		r.failed, r.text = true, text
	}
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Helper()                           {}
func (r *recorder) Logf(string, ...any)               {}
func (r *recorder) Error(args ...any)                 { r.fail(fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.fail(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.fail(fmt.Sprint(args...)); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.fail(fmt.Sprintf(format, args...))
	runtime.Goexit()
}
func (r *recorder) FailNow() { r.fail("failed"); runtime.Goexit() }

type fault string

// A naive store is a map, as short as it can be, with at most one fault.
type naive struct {
	fault    fault
	mu       sync.Mutex
	m        map[string]session.Item
	version  uint64
	old      map[string]session.Item // what faults remember
	buf      []byte
	offset   int
	poisoned bool
	soonest  time.Time // no record expires before
}

func newNaive(f fault) *naive {
	return &naive{fault: f, m: map[string]session.Item{}, old: map[string]session.Item{}}
}

func (n *naive) has(f fault) bool { return n.fault == f }

func (n *naive) backend() Backend {
	if n.has("it says that it survives and cannot be restarted") {
		return Backend{Store: n}
	}
	return Backend{Store: n, Restart: n.restart}
}

func (n *naive) restart() session.Store {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, was := range n.old {
		_, there := n.m[key]
		switch {
		case n.has("a restart brings back what was deleted") && !there,
			n.has("a restart brings back what was before") && there,
			n.has("a restart loses touches") && there && was.Version == n.m[key].Version:
			n.m[key] = was
		}
	}
	switch n.fault {
	case "a restart loses a write":
		for key := range n.m {
			delete(n.m, key)
			break
		}
	case "versions begin anew after a restart":
		n.version = 0
	}
	return n
}

func (n *naive) Durability() session.Durability { return session.SurvivesProcess }

func (n *naive) key(key string) string {
	switch {
	case n.has("keys end at a space where nothing is written"):
		if i := strings.IndexAny(key, " \r\n"); i >= 0 {
			return key[:i]
		}
	case n.has("keys are patterns where nothing is written"):
		for is := range n.m {
			if ok, _ := path.Match(key, is); ok {
				return is
			}
		}
	case n.has("keys fold case"):
		return strings.ToLower(key)
	case n.has("keys end at 100 bytes"):
		return key[:min(len(key), 100)]
	}
	return key
}

// in is an item as it is kept.
func (n *naive) in(it session.Item) session.Item {
	switch n.fault {
	case "values end at NUL":
		it.Value, _, _ = strings.Cut(it.Value, "\x00")
	case "values are made UTF-8":
		it.Value = strings.ToValidUTF8(it.Value, "\ufffd")
	case "values are cut at 32 KiB":
		it.Value = it.Value[:min(len(it.Value), 32<<10)]
	case "long values are cut and not refused":
		it.Value = it.Value[:min(len(it.Value), session.MaxValue)]
	case "expiries are whole seconds":
		it.Expires = it.Expires.Truncate(time.Second)
	case "expiries have 32 bits of seconds":
		it.Expires = time.UnixMilli(it.Expires.UnixMilli() % (1 << 32 * 1000))
	case "the subject is forgotten":
		it.Subject = ""
	case "subjects are trimmed":
		it.Subject = strings.TrimSpace(it.Subject)
	}
	n.version++
	it.Expires, it.Version = time.UnixMilli(it.Expires.UnixMilli()), n.version
	if it.Expires.Before(n.soonest) {
		n.soonest = it.Expires
	}
	return it
}

func (n *naive) ctx(ctx context.Context) error {
	if n.has("contexts are ignored") {
		return nil
	}
	return ctx.Err()
}

func (n *naive) check(key string, it session.Item) error {
	switch {
	case n.has("long values are cut and not refused") && len(it.Value) > session.MaxValue:
		return nil
	case n.has("any key is taken"):
		return nil
	}
	return session.CheckRecord(key, it)
}

// pause lets go of the store between a look and a deed.
func (n *naive) pause() {
	n.mu.Unlock()
	time.Sleep(100 * time.Microsecond)
	n.mu.Lock()
}

func (n *naive) Get(ctx context.Context, key string) (session.Item, error) {
	if err := n.ctx(ctx); err != nil {
		return session.Item{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key = n.key(key)
	it, ok := n.m[key]
	if n.has("get reads the past") && n.version%7 == 0 {
		if was, was2 := n.old[key]; was2 {
			it, ok = was, true
		}
	}
	if n.has("get hides what has expired") && !time.Now().Before(it.Expires) {
		ok = false
	}
	if !ok {
		return session.Item{}, session.ErrNotFound
	}
	if n.has("get gives its own buffer") && it.Value != "" {
		n.buf = append(n.buf[:0], it.Value...)
		it.Value = unsafe.String(&n.buf[0], len(n.buf))
	}
	return it, nil
}

func (n *naive) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	if err := n.ctx(ctx); err != nil {
		return 0, err
	}
	if err := n.check(key, it); err != nil {
		return 0, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key = n.key(key)
	_, taken := n.m[key]
	if n.has("who gives up makes the next one fail") {
		_, hasty := ctx.Deadline()
		switch {
		case hasty:
			n.poisoned = true
			return 0, context.DeadlineExceeded
		case n.poisoned:
			return 0, session.ErrUnavailable
		}
	}
	if n.has("add looks, and adds a moment later") {
		n.pause()
	}
	if taken && !n.has("add overwrites") {
		return 0, session.ErrConflict
	}
	if n.has("get gives its own buffer") && len(n.buf) > 0 {
		copy(n.buf, it.Value)
	}
	if n.has("a record has 61,800 bytes of room") {
		it.Value = it.Value[:min(len(it.Value), max(61_800-len(key)-len(it.Subject), 0))]
	}
	it = n.in(it)
	n.m[key] = it
	return it.Version, nil
}

func (n *naive) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	if err := n.ctx(ctx); err != nil {
		return 0, err
	}
	if err := n.check(key, it); err != nil {
		if n.has("a failed write answers that it happened") {
			return 1, nil
		}
		return 0, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key = n.key(key)
	was, ok := n.m[key]
	same := was.Version == old || n.has("swap compares 32 bits of the version") && uint32(was.Version) == uint32(old)
	switch {
	case !ok && n.has("swap makes what is not there"):
	case !ok:
		return 0, session.ErrNotFound
	case !same && !n.has("swap does not compare"):
		return 0, session.ErrConflict
	}
	if n.has("swap compares, and swaps a moment later") {
		n.pause()
	}
	if !n.has("a restart loses touches") && !n.has("a restart brings back what was deleted") {
		n.old[key] = was
	}
	unchanged := n.has("swap of the same value keeps the version") && was.Value == it.Value
	it = n.in(it)
	switch {
	case n.has("swap keeps the expiry"):
		it.Expires = was.Expires
	case n.has("swap keeps the subject"):
		it.Subject = was.Subject
	case unchanged:
		it.Version = was.Version
	}
	if n.has("a write is seen a moment later") {
		time.AfterFunc(time.Millisecond, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.m[key] = it
		})
		return it.Version, nil
	}
	n.m[key] = it
	return it.Version, nil
}

func (n *naive) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	if err := n.ctx(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key = n.key(key)
	it, ok := n.m[key]
	switch {
	case !ok:
		return session.ErrNotFound
	case it.Version != version && !n.has("touch does not compare"):
		return session.ErrConflict
	case n.has("touch does nothing"):
		return nil
	}
	if n.has("a restart loses touches") || n.has("sweep forgets that it was touched") {
		n.old[key] = it
	}
	if expires = time.UnixMilli(expires.UnixMilli()); expires.After(it.Expires) || n.has("touch moves the expiry back") {
		it.Expires = expires
	}
	if n.has("touch moves the version") {
		n.version++
		it.Version = n.version
	}
	n.m[key] = it
	return nil
}

func (n *naive) Delete(ctx context.Context, key string) error {
	if err := n.ctx(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key = n.key(key)
	it, ok := n.m[key]
	switch {
	case !ok && n.has("delete fails where nothing is"):
		return session.ErrNotFound
	case n.has("delete deletes nothing"):
		return nil
	case n.has("versions begin anew after a delete"):
		n.version = 0
	case n.has("a restart brings back what was deleted") && ok:
		n.old[key] = it
	}
	delete(n.m, key)
	return nil
}

func (n *naive) GetWithEpoch(ctx context.Context, key string) (session.Item, session.Epoch, error) {
	it, err := n.Get(ctx, key)
	if err != nil || it.Subject == "" && !n.has("the epoch of nobody counts") {
		return it, session.Epoch{}, err
	}
	subject := it.Subject
	if n.has("the epoch is found by a cut subject") {
		subject = subject[:min(len(subject), 198)]
	}
	e, err := n.Get(ctx, session.EpochKey(subject))
	if errors.Is(err, session.ErrNotFound) || n.has("an expired epoch does not count") && e.Expires.Before(time.Now()) {
		return it, session.Epoch{}, nil
	}
	return it, session.ParseEpoch(e.Value), err
}

// Guess remembers all that there is.
func (n *naive) Guess(key string) (session.Item, session.Epoch, bool) {
	it, epoch, err := n.GetWithEpoch(context.Background(), key)
	if n.has("a guess is the one before") {
		if was, ok := n.old[key]; ok {
			it = was
		}
	}
	if n.has("a guess has no epoch") {
		epoch = session.Epoch{}
	}
	return it, epoch, err == nil
}

func (n *naive) SwapIn(ctx context.Context, key string, old uint64, it session.Item, epoch session.Epoch) (uint64, error) {
	is, now, err := n.GetWithEpoch(ctx, key)
	if err != nil {
		return 0, err
	}
	switch {
	case n.has("any version of the right epoch will do"):
		old = is.Version
	case n.has("no epoch will do") && now == session.Epoch{}, n.has("the number of the epoch will do") && now.N == epoch.N:
		epoch = now
	}
	if now != epoch && (it.Subject != "" || n.has("nobody needs an epoch too")) && !n.has("any epoch will do") {
		return 0, session.ErrConflict
	}
	return n.Swap(ctx, key, old, it)
}

func (n *naive) List(ctx context.Context, subject, after string, limit int) ([]session.Entry, error) {
	if err := n.ctx(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	keys := slices.Sorted(maps.Keys(n.m))
	if n.has("list has no order") {
		slices.SortFunc(keys, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	}
	if n.has("list pages by number") && len(keys) >= 200 { // as OFFSET does
		if after == "" {
			n.offset = 0
		}
		keys = keys[min(n.offset, len(keys)):]
		n.offset += limit
		after = ""
	}
	var found []session.Entry
	for _, key := range keys {
		it := n.m[key]
		mine := subject == "" || it.Subject == subject
		switch n.fault {
		case "list matches prefixes":
			mine = strings.HasPrefix(it.Subject, subject)
		case "list folds case":
			mine = mine || strings.EqualFold(it.Subject, subject)
		case "list leaves nobody's out":
			mine = mine && it.Subject != ""
		case "list keeps an old subject's":
			mine = mine || n.old[key].Subject == subject
		}
		if mine && (key > after || n.has("list begins with after") && key == after) && (len(found) < limit || n.has("list has no limit")) {
			found = append(found, session.Entry{Key: key, Item: it})
		}
	}
	return found, nil
}

func (n *naive) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	if err := n.ctx(ctx); err != nil {
		return 0, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch n.fault {
	case "sweep spares the millisecond":
		now = now.Add(-time.Millisecond)
	case "sweep is early":
		now = now.Add(time.Millisecond)
	}
	if now.Before(n.soonest) && !n.has("sweep looks at all") {
		return 0, nil
	}
	var due []string
	n.soonest = time.Unix(1<<40, 0)
	for key, it := range n.m {
		if n.has("sweep forgets that it was touched") && n.old[key].Version == it.Version {
			it = n.old[key]
		}
		if it.Expires.UnixMilli() <= now.UnixMilli() {
			due = append(due, key)
		}
		if it.Expires.Before(n.soonest) {
			n.soonest = it.Expires
		}
	}
	if !n.has("sweep has no limit") {
		due = due[:min(len(due), max(limit, 0))]
	}
	if n.has("sweep looks, and removes a moment later") {
		n.pause()
	}
	for _, key := range due {
		delete(n.m, key)
	}
	if n.has("versions begin anew after a sweep") && len(due) > 0 {
		n.version = 0
	}
	if n.has("sweep counts wrongly") {
		return min(limit, 1), nil
	}
	return len(due), nil
}

// A forgetful store forgets expired records by itself, and can nothing else.
type forgetful struct {
	session.Store
	fault fault
	mu    sync.Mutex
	ends  map[string]time.Time
}

func newForgetful(f fault) *forgetful {
	return &forgetful{Store: newNaive(""), fault: f, ends: map[string]time.Time{}}
}

func (f *forgetful) backend() Backend { return Backend{Store: f} }

// end notes the server's own idea of an expiry.
func (f *forgetful) end(key string, at time.Time) {
	if f.fault == "expiries round down to seconds" {
		at = at.Truncate(time.Second)
	}
	f.ends[key] = at
}

// forget removes what has expired.
func (f *forgetful) forget(key string) {
	if at, ok := f.ends[key]; ok && !time.Now().Before(at) {
		f.Store.Delete(context.Background(), key)
		delete(f.ends, key)
		if f.fault == "versions begin anew when a record is forgotten" {
			f.Store.(*naive).version = 0
		}
	}
}

func (f *forgetful) Get(ctx context.Context, key string) (session.Item, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at, ok := f.ends[key]; ok && f.fault == "a forgotten record comes back" && !time.Now().Before(at) {
		return session.Item{Value: "another"}, nil
	}
	f.forget(key)
	return f.Store.Get(ctx, key)
}

func (f *forgetful) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(key)
	if f.fault == "an expiry of 0 is refused" && it.Expires.UnixMilli() == 0 {
		return 0, session.ErrUnavailable
	}
	v, err := f.Store.Add(ctx, key, it)
	if err == nil {
		f.end(key, it.Expires)
	}
	return v, err
}

func (f *forgetful) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(key)
	if f.fault == "an expiry that has passed is an error of swap" && it.Expires.Before(time.Now()) {
		return 0, session.ErrUnavailable
	}
	v, err := f.Store.Swap(ctx, key, old, it)
	if err == nil && f.fault != "swap does not reach the expiry" {
		f.end(key, it.Expires)
	}
	return v, err
}

func (f *forgetful) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(key)
	err := f.Store.Touch(ctx, key, version, expires)
	if err == nil && f.fault != "touch does not reach the expiry" && expires.After(f.ends[key]) {
		f.end(key, expires)
	}
	return err
}

func (f *forgetful) Delete(ctx context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ends, key)
	return f.Store.Delete(ctx, key)
}
