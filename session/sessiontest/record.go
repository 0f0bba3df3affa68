package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

// printable is every byte that a key may have.
func printable() string {
	var b strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		b.WriteByte(c)
	}
	return b.String()
}

// longest is a value of MaxValue bytes that no compression makes small.
func longest() string {
	b := make([]byte, session.MaxValue)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return string(b)
}

// subjects that a store must tell apart.
var subjects = []string{
	"alice", "Alice", "ALICE", "alic", "alice2", "al%", "al_ce", "*", "#", "#0", "e:alice", "alice|", "a b", " alice", "alice ",
	`'"; --\`, "\t\r\n", "张伟", "José", "Jose\u0301", "\U0001f511", strings.Repeat("s", 198), strings.Repeat("s", 199), strings.Repeat("s", 255),
}

func comesBack(k *kit) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	exp := later()
	items := map[string]session.Item{}
	for i, value := range []string{"", "x", "\x00", "\x00a", "a\x00", "\xff\xfe invalid \xc0\x80", "%s '\"\\ \r\n", "张伟", " ", string(every), strings.Repeat("long ", 2000), longest()} {
		items[fmt.Sprint("value-", i)] = session.Item{Value: value, Subject: "alice", Expires: exp}
	}
	for i, subject := range append([]string{""}, subjects...) {
		items[fmt.Sprint("subject-", i)] = session.Item{Value: "v", Subject: subject, Expires: exp}
	}
	times := []time.Time{
		exp.Add(time.Millisecond), exp.Add(999 * time.Millisecond), exp.Add(123456789 * time.Nanosecond),
		exp.Add(24 * 365 * time.Hour), time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), exp.In(time.FixedZone("east", 9*3600)),
	}
	if !k.forgets() {
		times = append(times, time.UnixMilli(0), time.UnixMilli(1), time.UnixMilli(999), time.Now().Add(-time.Hour))
	}
	for i, at := range times {
		items[fmt.Sprint("expiry-", i)] = session.Item{Value: "v", Subject: "alice", Expires: at}
	}
	for key, it := range items {
		items[key] = k.add(key, it)
	}
	for key, it := range items {
		k.want(key, it)
	}
}

func keysDoNotMix(k *kit) {
	p := printable()
	keys := []string{"k", "K", "kk", "k%", "k_", "k*", "k?", "k:", "k|a", "k'", `k"`, `k\`, `k\\`, "k/", "k/..", "k{a}", "k{b}", "e:", "e:k", "E:k", p, p[1:], "*", "%", "0", "00",
		strings.Repeat("x", 200), strings.Repeat("x", 199), strings.Repeat("x", 199) + "X"}
	kept := map[string]session.Item{}
	for i, key := range keys {
		kept[key] = k.add(key, session.Item{Value: fmt.Sprint("of ", i), Expires: later()})
	}
	for key, it := range kept {
		k.want(key, it)
	}
	for i, key := range keys {
		if i%2 == 0 {
			if err := k.Store.Delete(k.ctx, key); err != nil {
				k.Fatalf("Delete(%q): %v", key, err)
			}
			delete(kept, key)
		}
	}
	for _, key := range keys {
		if it, ok := kept[key]; ok {
			k.want(key, it)
		} else {
			k.gone(key)
		}
	}
}

func refusesWhole(k *kit) {
	good := session.Item{Value: "v", Subject: "alice", Expires: later()}
	kept := k.add("kept", good)
	refuse := func(what string, err error) {
		k.Helper()
		if admit.KindOf(err) != admit.Invalid {
			k.Errorf("%s: %v, want an error of kind Invalid", what, err)
		}
	}
	for what, key := range map[string]string{
		"an empty key": "", "a key of 201 bytes": strings.Repeat("k", 201), "a key with a space": "a b", "a key with a newline": "a\nb",
		"a key with NUL": "a\x00", "a key with DEL": "a\x7f", "a key that is not ASCII": "clé", "a key of any bytes": "a\xff",
	} {
		_, err := k.Store.Add(k.ctx, key, good)
		refuse("Add with "+what, err)
	}
	for what, it := range map[string]session.Item{
		"a value that is a byte too long":   {Value: longest() + "x", Expires: good.Expires},
		"a subject of 256 bytes":            {Subject: strings.Repeat("s", 256), Expires: good.Expires},
		"a subject with NUL":                {Subject: "a\x00", Expires: good.Expires},
		"a subject that is no UTF-8":        {Subject: "a\xff", Expires: good.Expires},
		"a subject that is cut in a letter": {Subject: strings.Repeat("é", 127) + "\xc3", Expires: good.Expires},
	} {
		_, err := k.Store.Add(k.ctx, "refused", it)
		refuse("Add with "+what, err)
		k.gone("refused")
		_, err = k.Store.Swap(k.ctx, "kept", kept.Version, it)
		refuse("Swap with "+what, err)
	}
	k.want("kept", kept)
	// Calls that write no record take a key too. One that is sent on as it is
	// may be read as another key, or as two commands.
	for _, key := range []string{"", " ", "kept ", " kept", "kept kept", "kept\n", "kept\r\ndelete kept", "kept\x00", "kept\xff", "*", "k*", "kep?", "%", "kep_", strings.Repeat("k", 300)} {
		free := func(call string, err error) {
			k.Helper()
			if admit.KindOf(err) != admit.Invalid && !errors.Is(err, session.ErrNotFound) {
				k.Errorf("%s(%q): %v, want an error of kind Invalid or ErrNotFound", call, key, err)
			}
		}
		_, err := k.Store.Get(k.ctx, key)
		free("Get", err)
		_, err = k.Store.Swap(k.ctx, key, kept.Version, good)
		free("Swap", err)
		free("Touch", k.Store.Touch(k.ctx, key, kept.Version, later().Add(time.Hour)))
		if g, ok := k.Store.(session.EpochGetter); ok {
			_, _, err = g.GetWithEpoch(k.ctx, key)
			free("GetWithEpoch", err)
		}
		if err := k.Store.Delete(k.ctx, key); err != nil {
			free("Delete", err)
		}
		k.want("kept", kept)
	}
}

// largest is a record with everything at its limit at once.
func largest(k *kit) {
	key := strings.Repeat("k", 199)
	it := session.Item{Value: longest(), Subject: strings.Repeat("é", 127) + "s", Expires: time.Date(9999, 12, 31, 23, 59, 59, 998e6, time.UTC)}
	other := k.add(key+"l", it)
	it = k.add(key+"k", it)
	k.want(key+"k", it)
	it = k.swap(key+"k", it.Version, session.Item{Value: longest(), Subject: it.Subject, Expires: it.Expires})
	k.want(key+"k", it)
	it.Expires = it.Expires.Add(time.Millisecond)
	if err := k.Store.Touch(k.ctx, key+"k", it.Version, it.Expires); err != nil {
		k.Fatalf("Touch of the largest record: %v", err)
	}
	k.want(key+"k", it)
	it = k.swap(key+"k", it.Version, session.Item{Value: "small", Expires: it.Expires})
	k.want(key+"k", it)
	k.want(key+"l", other)
}

func absent(k *kit) {
	k.gone("absent")
	_, err := k.Store.Swap(k.ctx, "absent", 1, session.Item{Value: "v", Expires: later()})
	k.wantErr("Swap of an absent record", err, session.ErrNotFound)
	k.wantErr("Touch of an absent record", k.Store.Touch(k.ctx, "absent", 1, later()), session.ErrNotFound)
	if err := k.Store.Delete(k.ctx, "absent"); err != nil {
		k.Errorf("Delete of an absent record: %v, want no error", err)
	}
	k.gone("absent")
}

func addTakesFree(k *kit) {
	first := k.add("k", session.Item{Value: "first", Subject: "alice", Expires: later(), Version: 77})
	for _, it := range []session.Item{
		{Value: "second", Subject: "bob", Expires: later().Add(time.Hour)},
		{Value: "second", Subject: "bob", Expires: later(), Version: first.Version},
		first,
	} {
		_, err := k.Store.Add(k.ctx, "k", it)
		k.wantErr("Add of a taken key", err, session.ErrConflict)
		k.want("k", first)
	}
}

// wrongVersions are none of a record that has version v.
func wrongVersions(v uint64) []uint64 {
	return []uint64{0, v - 1, v + 1, ^v, v + 1<<32, v + 1<<48, v | 1<<63, math.MaxInt64, math.MaxUint64}
}

func swapReplaces(k *kit) {
	exp := later()
	it := k.add("k", session.Item{Value: "0", Subject: "alice", Expires: exp})
	old := []uint64{it.Version}
	for i, next := range []session.Item{
		{Value: "1", Subject: "alice", Expires: exp},
		{Value: "1", Subject: "alice", Expires: exp}, // the same again is a new version too
		{Value: "", Subject: "alice", Expires: exp.Add(time.Hour)},
		{Value: "2", Subject: "bob", Expires: exp.Add(-30 * time.Minute)}, // earlier, as a tombstone's
		{Value: strings.Repeat("grown", 5000), Subject: "", Expires: exp.Add(time.Millisecond)},
		{Value: "shrunk", Subject: "alice", Expires: exp, Version: 12345},
	} {
		for _, wrong := range append(wrongVersions(it.Version), old[:len(old)-1]...) {
			_, err := k.Store.Swap(k.ctx, "k", wrong, session.Item{Value: "lost", Expires: exp})
			k.wantErr(fmt.Sprintf("Swap of version %d where %d stands", wrong, it.Version), err, session.ErrConflict)
		}
		k.want("k", it)
		it = k.swap("k", it.Version, next)
		k.want("k", it)
		for _, v := range old {
			if v == it.Version {
				k.Fatalf("swap %d gave version %d again", i, v)
			}
		}
		old = append(old, it.Version)
	}
}

func touchMoves(k *kit) {
	exp := later()
	it := k.add("k", session.Item{Value: "v", Subject: "alice", Expires: exp})
	touch := func(at time.Time) {
		k.Helper()
		if err := k.Store.Touch(k.ctx, "k", it.Version, at); err != nil {
			k.Fatalf("Touch to %v: %v", at.Sub(exp), err)
		}
		if at.After(it.Expires) {
			it.Expires = at
		}
		k.want("k", it)
	}
	for _, d := range []time.Duration{time.Millisecond, 0, -time.Hour, time.Hour, time.Hour, time.Minute, 2 * time.Hour} {
		touch(exp.Add(d))
	}
	for _, wrong := range wrongVersions(it.Version) {
		for _, at := range []time.Time{exp.Add(24 * time.Hour), exp} {
			k.wantErr("Touch of a wrong version", k.Store.Touch(k.ctx, "k", wrong, at), session.ErrConflict)
		}
	}
	k.want("k", it)
	// A touch is no change of the record: a swap goes on from the same version,
	// and sets the expiry whatever was touched.
	was := it.Version
	it = k.swap("k", it.Version, session.Item{Value: "w", Subject: "alice", Expires: exp})
	k.wantErr("Touch of the version before", k.Store.Touch(k.ctx, "k", was, exp.Add(24*time.Hour)), session.ErrConflict)
	k.want("k", it)
	touch(exp.Add(time.Hour))
}

func deletes(k *kit) {
	for round := range 3 {
		it := k.add("k", session.Item{Value: "v", Subject: "alice", Expires: later()})
		for range 2 {
			if err := k.Store.Delete(k.ctx, "k"); err != nil {
				k.Fatalf("Delete in round %d: %v", round, err)
			}
			k.gone("k")
		}
		_, err := k.Store.Swap(k.ctx, "k", it.Version, it)
		k.wantErr("Swap of a deleted record", err, session.ErrNotFound)
		k.wantErr("Touch of a deleted record", k.Store.Touch(k.ctx, "k", it.Version, later().Add(time.Hour)), session.ErrNotFound)
		k.gone("k")
	}
}

// An old version that came again would let a write pass that was decided on
// what an earlier record said.
func noVersionTwice(k *kit) {
	seen := map[uint64]bool{}
	note := func(it session.Item) session.Item {
		k.Helper()
		if seen[it.Version] {
			k.Fatalf("version %d came twice", it.Version)
		}
		seen[it.Version] = true
		return it
	}
	var last session.Item
	for round := range 30 {
		it := note(k.add("k", session.Item{Value: "v", Expires: later()}))
		if round > 0 {
			_, err := k.Store.Swap(k.ctx, "k", last.Version, session.Item{Value: "lost", Expires: later()})
			k.wantErr("Swap of a version from before the delete", err, session.ErrConflict)
		}
		for range round % 4 {
			it = note(k.swap("k", it.Version, session.Item{Value: "v", Expires: later()}))
		}
		last = it
		if s, ok := k.Store.(session.Sweeper); ok && round%2 == 1 {
			// What is swept has been deleted as well.
			if _, err := s.Sweep(k.ctx, later().Add(time.Hour), 10); err != nil {
				k.Fatal(err)
			}
			continue
		}
		if err := k.Store.Delete(k.ctx, "k"); err != nil {
			k.Fatal(err)
		}
	}
}

// What a reader holds must not change under it, whoever writes over the record
// or into the memory where it stood.
func readStays(k *kit) {
	value := strings.Repeat("mine", 16)
	it := k.add("k", session.Item{Value: value, Subject: "alice", Expires: later()})
	held, err := k.Store.Get(k.ctx, "k")
	if err != nil {
		k.Fatal(err)
	}
	it = k.swap("k", it.Version, session.Item{Value: strings.Repeat("else", 16), Subject: "mallo", Expires: later()})
	if err := k.Store.Delete(k.ctx, "k"); err != nil {
		k.Fatal(err)
	}
	for i := range 100 {
		k.add(fmt.Sprint("k", i), session.Item{Value: strings.Repeat("junk", 16), Subject: "mallo", Expires: later()})
	}
	if held.Value != value || held.Subject != "alice" {
		k.Errorf("what was read has become %s of %q", short(held.Value), held.Subject)
	}
}

func endedContext(k *kit) {
	it := k.add("k", session.Item{Value: "v", Subject: "alice", Expires: later()})
	cancelled, cancel := context.WithCancel(k.ctx)
	cancel()
	late, cancel := context.WithDeadline(k.ctx, time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, late} {
		calls := map[string]func() error{
			"Get":    func() error { _, err := k.Store.Get(ctx, "k"); return err },
			"Add":    func() error { _, err := k.Store.Add(ctx, "new", it); return err },
			"Swap":   func() error { _, err := k.Store.Swap(ctx, "k", it.Version, session.Item{}); return err },
			"Touch":  func() error { return k.Store.Touch(ctx, "k", it.Version, later().Add(time.Hour)) },
			"Delete": func() error { return k.Store.Delete(ctx, "k") },
		}
		if s, ok := k.Store.(session.EpochGetter); ok {
			calls["GetWithEpoch"] = func() error { _, _, err := s.GetWithEpoch(ctx, "k"); return err }
		}
		if s, ok := k.Store.(session.Lister); ok {
			calls["List"] = func() error { _, err := s.List(ctx, "alice", "", 10); return err }
		}
		if s, ok := k.Store.(session.Sweeper); ok {
			calls["Sweep"] = func() error { _, err := s.Sweep(ctx, later().Add(time.Hour), 10); return err }
		}
		for name, call := range calls {
			if err := call(); !unknown(err) {
				k.Errorf("%s with a context that had ended: %v, want its error", name, err)
			}
		}
	}
	k.want("k", it)
	k.gone("new")
}

// unknown reports whether an error says that the store could not answer.
func unknown(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || admit.KindOf(err) == admit.Unavailable
}

// A store reads no clock, except to forget by itself what has expired. Then it
// must not do so early, nor miss that an expiry was moved.
func keptUntilExpiry(k *kit) {
	if !k.forgets() {
		it := k.add("k", session.Item{Value: "v", Subject: "alice", Expires: time.Now().Add(-time.Hour)})
		k.want("k", it)
		it = k.swap("k", it.Version, session.Item{Value: "w", Subject: "alice", Expires: time.Now().Add(-2 * time.Hour)})
		k.want("k", it)
		return
	}
	// What has expired before it is added is there or is gone, and is no error: a
	// server may refuse such a time, or take it for never, or for seconds from now.
	for _, at := range []time.Time{time.UnixMilli(0), time.UnixMilli(1), time.Unix(1, 0), time.Unix(30*24*3600, 0), time.Now().Add(-time.Hour), time.Now()} {
		key := fmt.Sprint("past-", at.UnixMilli())
		it := session.Item{Value: "v", Subject: "alice", Expires: at}
		it = k.add(key, it)
		if got, err := k.Store.Get(k.ctx, key); err == nil {
			k.same(key, got, it)
		} else {
			k.wantErr("Get of what had expired", err, session.ErrNotFound)
		}
		it = k.add(key+"-swapped", session.Item{Value: "v", Expires: later()})
		it = k.swap(key+"-swapped", it.Version, session.Item{Value: "w", Expires: at})
		if got, err := k.Store.Get(k.ctx, key+"-swapped"); err == nil {
			k.same(key+"-swapped", got, it)
		} else {
			k.wantErr("Get of what had expired", err, session.ErrNotFound)
		}
	}
	// One expiry that a server with whole seconds would take for a second too
	// early, and one that it would if it counted seconds from now.
	now := time.Now()
	ends := map[string]time.Time{"at": now.Truncate(time.Second).Add(1950 * time.Millisecond), "in": now.Add(1900 * time.Millisecond)}
	plain := map[string]session.Item{}
	for key, at := range ends {
		plain[key] = k.add(key, session.Item{Value: "v", Subject: "alice", Expires: at})
	}
	short := session.Item{Value: "v", Subject: "alice", Expires: now.Add(1200 * time.Millisecond)}
	touched := k.add("touched", short)
	touched.Expires = later()
	if err := k.Store.Touch(k.ctx, "touched", touched.Version, touched.Expires); err != nil {
		k.Fatal(err)
	}
	swapped := k.swap("swapped", k.add("swapped", short).Version, session.Item{Value: "w", Expires: later()})
	for len(ends) > 0 {
		for key, at := range ends {
			if _, err := k.Store.Get(k.ctx, key); !time.Now().Before(at) {
				delete(ends, key)
			} else if err != nil {
				k.Fatalf("Get %v before the expiry: %v", time.Until(at), err)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // the server's clock is the one that counts
	k.want("touched", touched)
	k.want("swapped", swapped)
	for key, was := range plain {
		it, err := k.Store.Get(k.ctx, key)
		if err == nil {
			k.same(key, it, was)
			continue
		}
		k.wantErr("Get after the expiry", err, session.ErrNotFound)
		// Whoever read the record before it was forgotten writes nothing over
		// the next one.
		next := k.add(key, session.Item{Value: "anew", Expires: later()})
		for range 64 { // so many that a number which began anew comes to the old one
			if next.Version == was.Version {
				k.Fatalf("record %q has version %d again", key, was.Version)
			}
			next = k.swap(key, next.Version, session.Item{Value: "anew", Expires: later()})
		}
		_, err = k.Store.Swap(k.ctx, key, was.Version, was)
		k.wantErr("Swap of a version that was forgotten", err, session.ErrConflict)
		k.wantErr("Touch of a version that was forgotten", k.Store.Touch(k.ctx, key, was.Version, later().Add(time.Hour)), session.ErrConflict)
		k.want(key, next)
	}
}
