package sessiontest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/session"
)

func TestSealedSessionsKeepThePromises(t *testing.T) {
	for _, c := range sealedChecks {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.run(newSealedKit(t, func(testing.TB) Backend { return Backend{Store: session.NewMemory(nil)} }, nil))
			})
		})
	}
}

// Each of these is what sessions in cookies would be if something about their
// guards were wrong, and must be caught.
var sealedMutants = []struct {
	fault  fault
	caught string // by which check, at the latest
}{
	{"there is no guard", "points that"},
	{"swap does not compare", "an ended session"},
	{"swap compares, and swaps a moment later", "of 50"},
	{"get reads the past", "of 50"},
	{"older cookies count for ever", "an older cookie"},
	{"a kept cookie is kept for ever", "the store sees"},
	{"no cookie is kept", "a lost answer"},
	{"older cookies are refused at once", "a lost answer"},
	{"another session's cookie is kept", "a lost answer"},
	{"generations stand still", "an older cookie"},
	{"a sign-out leaves the guard", "an ended session"},
	{"no epoch is raised", "end all"},
	{"a missing guard is made up", "a session ends"},
	{"the guard holds the data", "the store sees"},
}

func TestTheSuiteCatchesEverySealedMutant(t *testing.T) {
	if len(sealedMutants) == 0 {
		t.Fatal("nothing to catch")
	}
	for _, m := range sealedMutants {
		t.Run(string(m.fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open := func(testing.TB) Backend {
					return Backend{Store: &bent{Store: newNaive(m.fault), fault: m.fault, was: map[string]session.Item{}}}
				}
				build := session.NewSealed[visit]
				if m.fault == "there is no guard" {
					build = func(_ session.Store, keys *cookie.Keys, o *session.Options) (*session.Manager[visit], error) {
						return session.NewSealed[visit](nil, keys, unguarded(o))
					}
				}
				by := firstFailureOf(t, sealedChecks, func(t testing.TB) *kit { return newSealedKit(t, open, build) })
				if by == "" {
					t.Fatal("no check noticed")
				}
				if !strings.HasPrefix(by, m.caught) && beforeIn(sealedChecks, m.caught, by) {
					t.Errorf("caught late, by %q", by)
				}
			})
		})
	}
}

func unguarded(o *session.Options) *session.Options {
	if o == nil {
		o = &session.Options{}
	}
	insecure := *o
	insecure.InsecureNoGuard = true
	return &insecure
}

// A bent store changes the guards that it is given, with at most one fault.
type bent struct {
	session.Store
	fault fault
	mu    sync.Mutex
	was   map[string]session.Item // what was kept last; guarded by mu
	kept  string                  // of the first session; guarded by mu
}

// guardLen is the length of a guard that keeps no cookie, and holdLen what stands
// before the cookie in one that does: see guard.go of package session.
func guardLen(it session.Item) int {
	if it.Subject != "" {
		return 15
	}
	return 9
}

const holdLen = 14

func (b *bent) Get(ctx context.Context, key string) (session.Item, error) {
	it, err := b.Store.Get(ctx, key)
	b.mu.Lock()
	defer b.mu.Unlock()
	if was, ok := b.was[key]; ok && b.fault == "a missing guard is made up" && errors.Is(err, session.ErrNotFound) {
		was.Version, err = b.Store.Add(ctx, key, was)
		return was, err
	}
	return it, err
}

func (b *bent) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	b.mu.Lock()
	b.was[key] = it
	b.mu.Unlock()
	return b.Store.Add(ctx, key, it)
}

func (b *bent) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	b.mu.Lock()
	was := b.was[key]
	n := guardLen(it)
	guard := it.Value[0] == 2
	holds := guard && len(it.Value) > n
	generation := func(v string) string { return v[1:5] }
	switch b.fault {
	case "older cookies count for ever":
		if holds {
			it.Value = it.Value[:n] + "\x00\x00\x00\x00" + it.Value[n+4:]
		} else if guard && generation(it.Value) == generation(was.Value) {
			it.Value = was.Value
		}
	case "a kept cookie is kept for ever":
		if guard && !holds && generation(it.Value) == generation(was.Value) {
			it.Value = was.Value
		}
	case "no cookie is kept":
		if holds {
			it.Value = it.Value[:n]
		}
	case "older cookies are refused at once":
		if holds {
			it.Value = it.Value[:n] + generation(it.Value) + generation(it.Value) + it.Value[n+8:]
		}
	case "another session's cookie is kept":
		if holds {
			if b.kept == "" {
				b.kept = it.Value[n+holdLen:]
			}
			it.Value = it.Value[:n+holdLen] + b.kept
		}
	case "generations stand still":
		if guard {
			it.Value = it.Value[:1] + generation(was.Value) + it.Value[5:]
		}
	case "a sign-out leaves the guard":
		if !guard && was.Value[0] == 2 {
			it = was
		}
	case "no epoch is raised":
		if strings.HasPrefix(key, "e:") {
			it = was
		}
	case "the guard holds the data":
		if holds {
			it.Value += "a secret of hers"
		}
	}
	b.was[key] = it
	b.mu.Unlock()
	return b.Store.Swap(ctx, key, old, it)
}
