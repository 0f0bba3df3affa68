package sessiontest

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

func epochs(k *kit) {
	g, ok := k.Store.(session.EpochGetter)
	if !ok {
		return
	}
	exp := later()
	sid := token.New(token.Session).Selector()
	with := func(key string, want session.Item, epoch session.Epoch) {
		k.Helper()
		it, n, err := g.GetWithEpoch(k.ctx, key)
		if err != nil {
			k.Fatalf("GetWithEpoch(%q): %v", key, err)
		}
		k.same(key, it, want)
		if n != epoch {
			k.Fatalf("GetWithEpoch(%q) of subject %q: epoch %v, want %v", key, want.Subject, n, epoch)
		}
	}
	_, _, err := g.GetWithEpoch(k.ctx, "absent")
	k.wantErr("GetWithEpoch of an absent record", err, session.ErrNotFound)

	// Nobody's record has no epoch, whatever stands under nobody's key.
	k.add(session.EpochKey(""), session.Item{Value: "5", Subject: "*", Expires: exp})
	none := session.Epoch{}
	with("guest", k.add("guest", session.Item{Value: "v", Expires: exp}), none)

	for i, subject := range subjects {
		key := fmt.Sprint("of-", i)
		it := k.add(key, session.Item{Value: "v", Subject: subject, Expires: exp})
		with(key, it, none)
		epoch := session.Item{Value: fmt.Sprint(100 + i), Subject: "*", Expires: exp}
		if !k.forgets() {
			epoch.Expires = time.UnixMilli(1000) // an expired one counts until it is swept
		}
		epoch = k.add(session.EpochKey(subject), epoch)
		with(key, it, session.Epoch{N: uint64(100 + i)})
	}
	for i, subject := range subjects {
		it, err := k.Store.Get(k.ctx, fmt.Sprint("of-", i))
		if err != nil {
			k.Fatal(err)
		}
		with(fmt.Sprint("of-", i), it, session.Epoch{N: uint64(100 + i)}) // the other subjects' are none of it
		epoch, err := k.Store.Get(k.ctx, session.EpochKey(subject))
		if err != nil {
			k.Fatal(err)
		}
		for value, n := range map[string]uint64{
			"1764086400000": 1764086400000, "281474976710655": 1<<48 - 1, "281474976710656": 0, "18446744073709551617": 0, "": 0, "x": 0, "-1": 0, "1 ": 0, "007": 7, "1\x002": 0,
			"2 1 " + sid: 2, "2 1 x": 0, "2  " + sid: 0, "2 1": 2, "1 2": 0, "2 1 1 " + sid: 2, "2 1 1": 0,
		} {
			epoch = k.swap(session.EpochKey(subject), epoch.Version, session.Item{Value: value, Subject: "*", Expires: exp})
			want := session.Epoch{N: n}
			if strings.HasPrefix(value, "2 1 1 ") || value == "2 1" {
				want.Floor = min(n, 1)
			}
			if n == 2 && strings.HasSuffix(value, sid) {
				want.Since, want.Spared = 1, sid
			}
			with(fmt.Sprint("of-", i), it, want)
		}
		if err := k.Store.Delete(k.ctx, session.EpochKey(subject)); err != nil {
			k.Fatal(err)
		}
		with(fmt.Sprint("of-", i), it, none)
	}
	k.add(session.EpochKey("carol"), session.Item{Value: "9", Subject: "*", Expires: exp})
	it := k.add("moves", session.Item{Value: "v", Subject: "alice", Expires: exp})
	it = k.swap("moves", it.Version, session.Item{Value: "v", Subject: "carol", Expires: exp})
	with("moves", it, session.Epoch{N: 9})
	it = k.swap("moves", it.Version, session.Item{Value: "v", Expires: exp})
	with("moves", it, none)
}

func guesses(k *kit) {
	g, ok := k.Store.(session.Guesser)
	if !ok {
		return
	}
	if _, _, ok := g.Guess("absent"); ok {
		k.Fatal("Guess knows an absent record")
	}
	exp := later()
	for i, subject := range subjects {
		key := fmt.Sprint("of-", i)
		it := k.add(key, session.Item{Value: "v", Subject: subject, Expires: exp})
		now := session.Epoch{N: 5}
		epoch := k.add(session.EpochKey(subject), session.Item{Value: "5", Subject: "*", Expires: exp})

		// Nobody else is here, so that what is remembered is what there is.
		remembered := func() {
			k.Helper()
			if last, n, ok := g.Guess(key); ok {
				k.same(key, last, it)
				if n != now {
					k.Fatalf("Guess(%q): epoch %v, want %v", key, n, now)
				}
			}
		}
		read := func() {
			k.Helper()
			if e, ok := k.Store.(session.EpochGetter); ok {
				if _, _, err := e.GetWithEpoch(k.ctx, key); err != nil {
					k.Fatal(err)
				}
			}
			remembered()
		}
		swapIn := func(value string, old uint64, epoch session.Epoch, want error) {
			k.Helper()
			next := session.Item{Value: value, Subject: subject, Expires: exp}
			v, err := g.SwapIn(k.ctx, key, old, next, epoch)
			k.wantErr(fmt.Sprintf("SwapIn(%q) of subject %q in epoch %v", key, subject, epoch), err, want)
			if err == nil {
				it = k.versioned(next, v)
			}
			k.want(key, it)
		}
		read()
		swapIn("w", it.Version, now, nil)
		remembered()
		read()
		before := it.Version
		it = k.swap(key, it.Version, session.Item{Value: "x", Subject: subject, Expires: exp})
		swapIn("y", before, now, session.ErrConflict)
		read()
		for _, other := range []session.Epoch{{}, {N: 6}, {N: 5, Floor: 4}} {
			swapIn("y", it.Version, other, session.ErrConflict)
		}
		for _, later := range []session.Epoch{now.Next(""), now.NextClaims(), now.Next(token.New(token.Session).Selector())} {
			epoch = k.swap(session.EpochKey(subject), epoch.Version, session.Item{Value: later.String(), Subject: "*", Expires: exp})
			swapIn("z", it.Version, now, session.ErrConflict)
			now = later
			read()
			swapIn(later.String(), it.Version, now, nil)
		}
		if err := k.Store.Delete(k.ctx, session.EpochKey(subject)); err != nil {
			k.Fatal(err)
		}
		swapIn("of no epoch", it.Version, now, session.ErrConflict)
		if err := k.Store.Delete(k.ctx, key); err != nil {
			k.Fatal(err)
		}
		_, err := g.SwapIn(k.ctx, key, it.Version, it, now)
		k.wantErr("SwapIn of an absent record", err, session.ErrNotFound)
	}

	guest := k.add("guest", session.Item{Value: "v", Expires: exp})
	v, err := g.SwapIn(k.ctx, "guest", guest.Version, session.Item{Value: "w", Expires: exp}, session.Epoch{N: 5})
	k.wantErr("SwapIn of nobody's record", err, nil)
	k.want("guest", k.versioned(session.Item{Value: "w", Expires: exp}, v))
}

// page lists a subject's records by pages.
func (k *kit) page(l session.Lister, subject string, size int) []session.Entry {
	k.Helper()
	var all []session.Entry
	for after := ""; ; {
		page, err := l.List(k.ctx, subject, after, size)
		if err != nil {
			k.Fatalf("List(%q, %q, %d): %v", subject, after, size, err)
		}
		if len(page) > size {
			k.Fatalf("List(%q, %q, %d) gave %d records", subject, after, size, len(page))
		}
		for _, e := range page {
			if e.Key <= after {
				k.Fatalf("List gave key %q after %q", e.Key, after)
			}
			after = e.Key
		}
		all = append(all, page...)
		if len(page) < size {
			return all
		}
	}
}

// wantList checks what is listed for a subject.
func (k *kit) wantList(l session.Lister, subject string, size int, want map[string]session.Item) {
	k.Helper()
	got := k.page(l, subject, size)
	for _, e := range got {
		it, ok := want[e.Key]
		if !ok {
			k.Fatalf("List of %q by %d has %q of subject %q", subject, size, e.Key, e.Subject)
		}
		k.same(e.Key, e.Item, it)
	}
	if len(got) != len(want) {
		k.Fatalf("List of %q by %d has %d records, want %d", subject, size, len(got), len(want))
	}
}

func lists(k *kit) {
	l, ok := k.Store.(session.Lister)
	if !ok {
		return
	}
	k.wantList(l, "alice", 10, nil)
	k.wantList(l, "", 10, nil)
	exp := later()
	all, of := map[string]session.Item{}, map[string]map[string]session.Item{}
	for i, subject := range append([]string{""}, subjects...) {
		of[subject] = map[string]session.Item{}
		// Upper case, lower case and signs, so that the order is that of bytes.
		for _, c := range []string{"a", "B", "_", "~", "0", "~a", "Ba", "!"} {
			key := fmt.Sprint(c, i)
			it := k.add(key, session.Item{Value: key, Subject: subject, Expires: exp.Add(time.Duration(i) * time.Second)})
			all[key], of[subject][key] = it, it
		}
	}
	for _, subject := range subjects {
		for _, size := range []int{1, 3, 7, 8, 9, 1000} {
			k.wantList(l, subject, size, of[subject])
		}
	}
	for _, size := range []int{7, len(all) - 1, len(all), len(all) + 1} {
		k.wantList(l, "", size, all)
	}
	k.wantList(l, "nobody has this name", 10, nil)
	keys := slices.Sorted(maps.Keys(of["alice"]))
	for _, c := range []struct {
		after string
		limit int
		want  []string
	}{
		{"", 0, nil},
		{"", 3, keys[:3]},
		{keys[2], 3, keys[3:6]},
		{keys[2] + "!", 3, keys[3:6]}, // a key that is not there will do
		{keys[len(keys)-1], 3, nil},
		{"~~~~", 3, nil},
	} {
		page, err := l.List(k.ctx, "alice", c.after, c.limit)
		if err != nil {
			k.Fatal(err)
		}
		var got []string
		for _, e := range page {
			got = append(got, e.Key)
		}
		if !slices.Equal(got, c.want) {
			k.Fatalf("List after %q up to %d: %q, want %q", c.after, c.limit, got, c.want)
		}
	}
}

func listSees(k *kit) {
	l, ok := k.Store.(session.Lister)
	if !ok {
		return
	}
	of := func(subject string, want map[string]session.Item) {
		k.Helper()
		k.wantList(l, subject, 10, want)
	}
	it := k.add("k", session.Item{Value: "v", Subject: "alice", Expires: later()})
	of("alice", map[string]session.Item{"k": it})
	it.Expires = it.Expires.Add(time.Hour)
	if err := k.Store.Touch(k.ctx, "k", it.Version, it.Expires); err != nil {
		k.Fatal(err)
	}
	of("alice", map[string]session.Item{"k": it})
	it = k.swap("k", it.Version, session.Item{Value: "w", Subject: "alice", Expires: later()})
	of("alice", map[string]session.Item{"k": it})
	it = k.swap("k", it.Version, session.Item{Value: "w", Subject: "bob", Expires: later()})
	of("alice", nil)
	of("bob", map[string]session.Item{"k": it})
	it = k.swap("k", it.Version, session.Item{Value: "w", Expires: later()})
	of("bob", nil)
	of("", map[string]session.Item{"k": it})
	it = k.swap("k", it.Version, session.Item{Value: "w", Subject: "alice", Expires: later()})
	of("alice", map[string]session.Item{"k": it})
	if err := k.Store.Delete(k.ctx, "k"); err != nil {
		k.Fatal(err)
	}
	of("alice", nil)
	of("", nil)
	it = k.add("k", session.Item{Value: "x", Subject: "bob", Expires: later()})
	of("alice", nil)
	of("bob", map[string]session.Item{"k": it})
	if s, ok := k.Store.(session.Sweeper); ok {
		if _, err := s.Sweep(k.ctx, it.Expires, 10); err != nil {
			k.Fatal(err)
		}
		of("bob", nil)
	}
}

func listStays(k *kit) {
	l, ok := k.Store.(session.Lister)
	if !ok {
		return
	}
	stays := map[string]bool{}
	for i := range 200 {
		key := fmt.Sprintf("%03d-stays", i)
		stays[key] = true
		k.add(key, session.Item{Value: "v", Subject: "alice", Expires: later()})
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			key := fmt.Sprintf("%03d-comes", i*37%200)
			k.Store.Add(k.ctx, key, session.Item{Value: "v", Subject: "alice", Expires: later()})
			if i%2 == 1 {
				k.Store.Delete(k.ctx, key)
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	for range 5 {
		seen := map[string]bool{}
		for _, e := range k.page(l, "alice", 7) {
			seen[e.Key] = true
		}
		for key := range stays {
			if !seen[key] {
				k.Fatalf("List left out %q", key)
			}
		}
	}
}

func sweeps(k *kit) {
	s, ok := k.Store.(session.Sweeper)
	if !ok {
		return
	}
	sweep := func(now time.Time, limit, want int) {
		k.Helper()
		n, err := s.Sweep(k.ctx, now, limit)
		if err != nil {
			k.Fatalf("Sweep: %v", err)
		}
		if n != want {
			k.Fatalf("Sweep up to %d removed %d, want %d", limit, n, want)
		}
	}
	at := later()
	sweep(at, 10, 0)
	stay := map[string]session.Item{}
	for i, d := range []time.Duration{1, 2, 999, 1000, 60_000, 86_400_000, 1 << 41} {
		subject := []string{"", "alice"}[i%2]
		key := fmt.Sprint("stays-", i)
		stay[key] = k.add(key, session.Item{Value: "v", Subject: subject, Expires: at.Add(d * time.Millisecond)})
		key = fmt.Sprint("goes-", i)
		k.add(key, session.Item{Value: "v", Subject: subject, Expires: at.Add((1 - d) * time.Millisecond)})
	}
	touched := k.add("touched", session.Item{Value: "v", Subject: "alice", Expires: at.Add(-time.Minute)})
	touched.Expires = at.Add(time.Minute)
	if err := k.Store.Touch(k.ctx, "touched", touched.Version, touched.Expires); err != nil {
		k.Fatal(err)
	}
	stay["touched"] = touched
	swapped := k.add("swapped", session.Item{Value: "v", Expires: at.Add(-time.Minute)})
	stay["swapped"] = k.swap("swapped", swapped.Version, session.Item{Value: "v", Expires: at.Add(time.Minute)})
	short := k.add("goes-short", session.Item{Value: "v", Expires: at.Add(time.Minute)})
	k.swap("goes-short", short.Version, session.Item{Value: "v", Expires: at.Add(-time.Minute)})

	sweep(at, 0, 0)
	sweep(at, 1, 1)
	sweep(at, 3, 3)
	sweep(at, 100, 4)
	sweep(at, 100, 0)
	for i := range 7 {
		k.gone(fmt.Sprint("goes-", i))
	}
	k.gone("goes-short")
	for key, it := range stay {
		k.want(key, it)
	}
	sweep(at.Add(time.Millisecond-time.Nanosecond), 100, 0) // expiries and now are whole milliseconds
	sweep(at.Add(time.Millisecond), 100, 1)
	k.gone("stays-0")

	// More than any step.
	k.fill("many-", 1000, at)
	sweep(at.Add(time.Millisecond), 900, 900)
	sweep(at.Add(time.Millisecond), 900, 100)
}

// A record that is touched while it is swept is kept or gone, and whoever
// touched it knows which.
func sweepAndTouch(k *kit) {
	s, ok := k.Store.(session.Sweeper)
	if !ok {
		return
	}
	at := later()
	for round := range 100 {
		key := fmt.Sprint("k", round)
		it := k.add(key, session.Item{Value: "v", Subject: "alice", Expires: at})
		var touched, swept error
		var wg sync.WaitGroup
		begun := make(chan struct{})
		wg.Go(func() {
			close(begun)
			_, swept = s.Sweep(k.ctx, at, 1000)
		})
		if <-begun; round%2 == 1 {
			runtime.Gosched()
		}
		touched = k.Store.Touch(k.ctx, key, it.Version, at.Add(time.Hour))
		wg.Wait()
		if swept != nil {
			k.Fatal(swept)
		}
		if errors.Is(touched, session.ErrNotFound) {
			k.gone(key)
			continue
		}
		if touched != nil {
			k.Fatal(touched)
		}
		it.Expires = at.Add(time.Hour)
		k.want(key, it)
	}
}

// Sweeping nothing out of many costs what sweeping nothing out of few does.
func sweepProportion(k *kit) {
	s, ok := k.Store.(session.Sweeper)
	if !ok {
		return
	}
	// The least of many counts: a database also tidies up by itself for a while,
	// and a machine does other things, but what walks over all never comes down.
	cost := func(enough func(time.Duration) bool) time.Duration {
		best := time.Hour
		for begun, n := time.Now(), 0; n < 10 || !enough(best) && time.Since(begun) < 5*time.Second; n++ {
			start := time.Now()
			if n, err := s.Sweep(k.ctx, time.Now(), 100); n != 0 || err != nil {
				k.Fatalf("Sweep of nothing: %d, %v", n, err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	k.fill("few", 200, later())
	few := cost(func(time.Duration) bool { return true })
	k.fill("many", 6000, later())
	alike := func(many time.Duration) bool { return many <= 50*time.Microsecond || many <= 6*few }
	if many := cost(alike); !alike(many) {
		k.Errorf("sweeping nothing took %v among 200 records and %v among 6,200", few, many)
	}
}

// fill adds n records at once.
func (k *kit) fill(prefix string, n int, expires time.Time) {
	k.Helper()
	const adders = 32
	var wg sync.WaitGroup
	for g := range adders {
		wg.Go(func() {
			for i := g; i < n; i += adders {
				it := session.Item{Value: strings.Repeat("v", i%300), Subject: []string{"", "alice"}[i%2], Expires: expires}
				if _, err := k.Store.Add(k.ctx, fmt.Sprint(prefix, i), it); err != nil {
					k.Errorf("Add: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// A kept is what the writer of a record knows of it.
type kept struct {
	item    session.Item
	deleted bool
	before  []session.Item // what it was once
}

// What was acknowledged is there after a restart, or, where the store may
// forget, it is gone; what was overwritten or deleted never comes back.
func durable(k *kit) {
	class := session.SurvivesNothing
	if d, ok := k.Store.(session.Durable); ok {
		class = d.Durability()
	}
	if class == session.SurvivesNothing {
		if k.Restart != nil {
			k.Fatal("the store says that it survives nothing, yet can be restarted")
		}
		return
	}
	if k.Restart == nil {
		k.Fatal("the store says what it survives, yet cannot be restarted to show it")
	}
	versions := map[uint64]bool{}
	k.useUp(versions)
	all := k.writeAlot()
	k.Store = k.Restart()
	k.useUp(versions)
	lost := 0
	for key, was := range all {
		it, err := k.Store.Get(k.ctx, key)
		switch {
		case errors.Is(err, session.ErrNotFound):
			if !was.deleted {
				lost++
			}
		case err != nil:
			k.Fatal(err)
		case was.deleted:
			k.Fatalf("record %q was deleted and came back with the restart", key)
		default:
			k.same(key, it, was.item)
		}
	}
	if lost > 0 && class != session.MayForget {
		k.Fatalf("%d of %d records were lost with the restart", lost, len(all))
	}
	if l, ok := k.Store.(session.Lister); ok && class != session.MayForget {
		want := map[string]session.Item{}
		for key, was := range all {
			if !was.deleted && was.item.Subject == "alice" {
				want[key] = was.item
			}
		}
		k.wantList(l, "alice", 100, want)
	}
	// Whoever holds a version from before writes nothing over.
	for key, was := range all {
		it := was.item
		if _, err := k.Store.Get(k.ctx, key); errors.Is(err, session.ErrNotFound) {
			was.before = append(was.before, it)
			it = k.add(key, session.Item{Value: "anew", Expires: later()})
		}
		it = k.swap(key, it.Version, session.Item{Value: "anew", Expires: later()})
		for _, old := range was.before {
			_, err := k.Store.Swap(k.ctx, key, old.Version, session.Item{Value: "lost", Expires: later()})
			k.wantErr("Swap of a version from before the restart", err, session.ErrConflict)
		}
	}
}

// useUp gives one key many versions, none of them seen before, and deletes it.
func (k *kit) useUp(seen map[uint64]bool) {
	k.Helper()
	it := k.add("used", session.Item{Value: "v", Expires: later()})
	for range 100 {
		if seen[it.Version] {
			k.Fatalf("version %d came again after the restart", it.Version)
		}
		seen[it.Version] = true
		it = k.swap("used", it.Version, it)
	}
	if err := k.Store.Delete(k.ctx, "used"); err != nil {
		k.Fatal(err)
	}
}

// writeAlot adds, swaps, touches and deletes in parallel, and returns what was
// acknowledged.
func (k *kit) writeAlot() map[string]*kept {
	var mu sync.Mutex
	var wg sync.WaitGroup
	all := map[string]*kept{}
	for g := range 8 {
		wg.Go(func() {
			for i := range 40 {
				key := fmt.Sprint("k", g, "-", i)
				e := &kept{item: session.Item{Value: "v", Subject: []string{"", "alice", "bob"}[i%3], Expires: later()}}
				v, err := k.Store.Add(k.ctx, key, e.item)
				e.item.Version = v
				for n := range i % 4 {
					if err == nil {
						e.before = append(e.before, e.item)
						e.item.Value = fmt.Sprint("v", n)
						e.item.Version, err = k.Store.Swap(k.ctx, key, e.item.Version, e.item)
					}
				}
				if err == nil && i%5 == 1 {
					e.item.Expires = e.item.Expires.Add(time.Hour)
					err = k.Store.Touch(k.ctx, key, e.item.Version, e.item.Expires)
				}
				if err == nil && i%7 == 3 {
					e.before, e.deleted = append(e.before, e.item), true
					err = k.Store.Delete(k.ctx, key)
				}
				if err != nil {
					k.Errorf("write %q: %v", key, err)
					return
				}
				mu.Lock()
				all[key] = e
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if k.Failed() {
		k.FailNow()
	}
	return all
}
