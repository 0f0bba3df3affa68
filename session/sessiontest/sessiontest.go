// Package sessiontest checks that a store keeps the promises of [session.Store].
//
// [Run] is all there is to call; [RunSealed] checks besides that the store can keep
// the guards of sealed sessions. Run has no options and leaves nothing out: what
// a store can do besides, such as [session.Lister], it finds by type and checks
// too. A store that fails is mended, or the promise is.
package sessiontest

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/session"
)

// A Backend is a store to be checked, and what it keeps its records in.
type Backend struct {
	// Store has no records yet.
	Store session.Store

	// Restart ends what keeps the records, as harshly as the store says that it
	// can bear, begins it anew, and returns a store over what is left. It is
	// nil for a store whose records end with the process, and for no other.
	Restart func() session.Store
}

// Run checks a store. Open is called for every check; t is that check's, and
// t.Cleanup the place to close what was opened.
//
// A server's own expiry is waited for, at most 2 s. All else takes explicit
// times.
func Run(t *testing.T, open func(t testing.TB) Backend) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.run(newKit(t, open)) })
	}
}

// A check is one promise.
type check struct {
	name string
	run  func(*kit)
}

var checks = []check{
	{"a record comes back as it was added", comesBack},
	{"keys do not mix", keysDoNotMix},
	{"what does not fit is refused whole", refusesWhole},
	{"a record may be as large as all limits at once", largest},
	{"an absent record is not found", absent},
	{"add takes a free key only", addTakesFree},
	{"swap replaces the whole record of that version", swapReplaces},
	{"touch moves the expiry later only and keeps the version", touchMoves},
	{"delete removes", deletes},
	{"no version comes twice", noVersionTwice},
	{"what was read stays as it was", readStays},
	{"an ended context does nothing", endedContext},
	{"a record is kept until its expiry", keptUntilExpiry},
	{"a record and its subject's epoch come together", epochs},
	{"a guess is what was there, and counts in its epoch", guesses},
	{"list finds a subject's records in order", lists},
	{"list sees every write", listSees},
	{"list pages over what stays, whatever comes and goes", listStays},
	{"sweep removes what has expired, and nothing else", sweeps},
	{"sweep and touch agree on who was first", sweepAndTouch},
	{"sweep works in proportion to what expired", sweepProportion},
	{"of parallel swaps of one version one succeeds", oneSwap},
	{"of parallel adds one succeeds", oneAdd},
	{"callers that give up take nobody along", givingUp},
	{"parallel histories could have happened one by one", histories},
	{"acknowledged writes survive what the store says", durable},
	{"of 50 parallel updates none is lost", noLostUpdate},
	{"an ended session is not revived by an update in flight", notRevived},
	{"a sign-in keeps the guest's data and kills its id", signIn},
	{"end all ends every session but one at once", endAll},
	{"a change of claims ends no session, and none that has ended comes back", claimsChange},
	{"sessions are listed", listSessions},
}

// A kit is what a check works with.
type kit struct {
	testing.TB
	Backend
	ctx context.Context

	// Of sealed sessions.
	build func(*session.Options) (*session.Manager[visit], error)
	keys  *cookie.Keys
	line  string // the only key
}

func newKit(t testing.TB, open func(testing.TB) Backend) *kit {
	t.Helper()
	k := &kit{TB: t, Backend: open(t), ctx: t.Context()}
	if k.Store == nil {
		t.Fatal("no store to check")
	}
	k.build = func(o *session.Options) (*session.Manager[visit], error) { return session.New[visit](k.Store, o) }
	return k
}

// later is an hour from now, in whole milliseconds.
func later() time.Time { return time.UnixMilli(time.Now().UnixMilli()).Add(time.Hour) }

// add adds a record that must be taken.
func (k *kit) add(key string, it session.Item) session.Item {
	k.Helper()
	v, err := k.Store.Add(k.ctx, key, it)
	if err != nil {
		k.Fatalf("Add(%q): %v", key, err)
	}
	return k.versioned(it, v)
}

// swap replaces a record that must have the version.
func (k *kit) swap(key string, old uint64, it session.Item) session.Item {
	k.Helper()
	v, err := k.Store.Swap(k.ctx, key, old, it)
	if err != nil {
		k.Fatalf("Swap(%q, %d): %v", key, old, err)
	}
	return k.versioned(it, v)
}

func (k *kit) versioned(it session.Item, v uint64) session.Item {
	k.Helper()
	if v == 0 || v >= 1<<48 {
		k.Fatalf("version %d, want 1 to 1<<48 - 1", v)
	}
	it.Version = v
	return it
}

// want checks that a record stands as it should.
func (k *kit) want(key string, want session.Item) {
	k.Helper()
	got, err := k.Store.Get(k.ctx, key)
	if err != nil {
		k.Fatalf("Get(%q): %v", key, err)
	}
	k.same(key, got, want)
}

func (k *kit) same(key string, got, want session.Item) {
	k.Helper()
	if got.Value != want.Value {
		k.Fatalf("record %q has value %s, want %s", key, short(got.Value), short(want.Value))
	}
	if got.Subject != want.Subject {
		k.Fatalf("record %q has subject %q, want %q", key, got.Subject, want.Subject)
	}
	if got.Version != want.Version {
		k.Fatalf("record %q has version %d, want %d", key, got.Version, want.Version)
	}
	if got.Expires.UnixMilli() != want.Expires.UnixMilli() {
		k.Fatalf("record %q has expiry %v, want %v", key, got.Expires, want.Expires)
	}
}

// gone checks that there is no record.
func (k *kit) gone(key string) {
	k.Helper()
	if it, err := k.Store.Get(k.ctx, key); !errors.Is(err, session.ErrNotFound) {
		k.Fatalf("Get(%q) = %s, %v, want ErrNotFound", key, short(it.Value), err)
	}
}

// wantErr checks an answer.
func (k *kit) wantErr(what string, got, want error) {
	k.Helper()
	if !errors.Is(got, want) {
		k.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// forgets reports whether the store forgets expired records by itself.
func (k *kit) forgets() bool {
	_, sweeps := k.Store.(session.Sweeper)
	return !sweeps
}

func short(value string) string {
	const most = 40
	if len(value) > most {
		return strconv.Quote(value[:most]) + "…"
	}
	return strconv.Quote(value)
}
