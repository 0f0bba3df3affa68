package keyring_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/keyring"
)

const day = 24 * time.Hour

var begin = time.UnixMilli(1_800_000_000_000)

func database(t testing.TB, file string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func fresh(t testing.TB) *db.DB {
	t.Helper()
	return database(t, filepath.Join(t.TempDir(), "admit.db"))
}

func masters(t testing.TB, lines ...string) []*keyring.MasterKey {
	t.Helper()
	keys, err := keyring.ParseMasterKeys(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func options(masters ...*keyring.MasterKey) keyring.Options {
	return keyring.Options{Masters: masters, Life: 180 * day, Signed: 6 * time.Minute, Ahead: 90 * time.Second, Every: 90 * day}
}

func open(t testing.TB, store account.Store, o keyring.Options, now time.Time) *keyring.Ring {
	t.Helper()
	r, err := keyring.Open(t.Context(), store, o, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// list returns the keys for one purpose.
func list(t testing.TB, r *keyring.Ring, purpose string, now time.Time) (keys []keyring.Key) {
	t.Helper()
	all, err := r.List(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		if k.Purpose == purpose {
			keys = append(keys, k)
		}
	}
	return keys
}

// statesOf are those of keys, in the order of the list.
func statesOf(keys []keyring.Key) string {
	var states []string
	for _, k := range keys {
		states = append(states, string(k.State))
	}
	return strings.Join(states, " ")
}

// states are those of the keys that seal.
func states(t testing.TB, r *keyring.Ring) string {
	t.Helper()
	return statesOf(list(t, r, keyring.Cookies, begin))
}

func opens(r *keyring.Ring, sealed string, now time.Time) error {
	_, _, err := r.Cookies().Open(nil, "c", sealed, 0, now)
	return err
}

func TestKeysOutliveTheProcess(t *testing.T) {
	d, a := fresh(t), masters(t, cookie.GenerateKey())
	r := open(t, d, options(a...), begin)
	sealed := string(r.Cookies().Seal(nil, "c", []byte("v"), begin))
	again := open(t, d, options(a...), begin.Add(time.Hour))
	if err := opens(again, sealed, begin); err != nil {
		t.Error(err)
	}
	if got := states(t, again); got != "active" {
		t.Errorf("states are %q", got)
	}
}

func TestNoKeyIsOpenUnlessAllAre(t *testing.T) {
	one, two := cookie.GenerateKey(), cookie.GenerateKey()
	for _, tt := range []struct {
		name   string
		before []string // master keys that seal
		spoil  func(t *testing.T, keys []account.Key) []account.Key
		with   []string // master keys that are to open
		want   error
	}{
		{name: "the right master key", before: []string{one}, with: []string{one}},
		{name: "the right one in second place", before: []string{one}, with: []string{two, one}},
		{name: "a master key for the first time", with: []string{one}},
		{name: "a wrong master key", before: []string{one}, with: []string{two}, want: keyring.ErrMasterWrong},
		{name: "no master key", before: []string{one}, want: keyring.ErrMasterMissing},
		{name: "two rows that changed places", before: []string{one}, with: []string{one}, want: keyring.ErrDamaged,
			spoil: func(_ *testing.T, k []account.Key) []account.Key {
				k[0].Sealed, k[1].Sealed = k[1].Sealed, k[0].Sealed
				return k
			}},
		{name: "an unsealed key among sealed ones", before: []string{one}, with: []string{one}, want: keyring.ErrDamaged,
			spoil: func(_ *testing.T, k []account.Key) []account.Key {
				k[1].Sealed = "plain.MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
				return k
			}},
		{name: "a sealed key that was cut", before: []string{one}, with: []string{one}, want: keyring.ErrDamaged,
			spoil: func(_ *testing.T, k []account.Key) []account.Key {
				k[0].Sealed = k[0].Sealed[:len(k[0].Sealed)-4]
				return k
			}},
		{name: "an unsealed key that is short", want: keyring.ErrDamaged,
			spoil: func(_ *testing.T, k []account.Key) []account.Key {
				k[0].Sealed = "plain.AAAA"
				return k
			}},
		{name: "nothing in the place of a key", before: []string{one}, with: []string{one}, want: keyring.ErrDamaged,
			spoil: func(_ *testing.T, k []account.Key) []account.Key {
				k[0].Sealed = ""
				return k
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := fresh(t)
			o := options()
			if tt.before != nil {
				o = options(masters(t, tt.before...)...)
			}
			r := open(t, d, o, begin)
			if _, err := r.Rotate(t.Context(), keyring.Cookies, "operator", begin.Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			sealed := string(r.Cookies().Seal(nil, "c", []byte("v"), begin))
			if tt.spoil != nil {
				err := d.Update(t.Context(), func(tx account.Tx) error {
					keys, err := tx.Keys()
					for _, k := range tt.spoil(t, keys) {
						err = errors.Join(err, tx.PutKey(k))
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			with := options()
			if tt.with != nil {
				with = options(masters(t, tt.with...)...)
			}
			again, err := keyring.Open(t.Context(), d, with, begin.Add(time.Minute))
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			if err := opens(again, sealed, begin); err != nil {
				t.Error(err)
			}
			all, err := again.List(t.Context(), begin)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range all {
				if k.MasterKey != with.Masters[0].ID() {
					t.Errorf("key %s is sealed by %q", k.ID, k.MasterKey)
				}
			}
		})
	}
}

func TestKeysRotateAndRetireByThemselves(t *testing.T) {
	d := fresh(t)
	r := open(t, d, options(), begin)
	sealed := string(r.Cookies().Seal(nil, "c", []byte("v"), begin))
	for _, tt := range []struct {
		after  time.Duration
		did    bool
		states string
		opens  bool
	}{
		{89 * day, false, "active", true},
		{90 * day, true, "active retiring", true},
		{90*day + time.Minute, false, "active retiring", true},
		{180 * day, true, "active retiring retiring", true},
		{180*day + 6*time.Minute, true, "active retiring retiring", true}, // one that signed has retired
		{270*day - time.Minute, false, "active retiring retiring", true},
		{270 * day, true, "active retiring retiring retired", false},
	} {
		now := begin.Add(tt.after)
		did, err := r.Tend(t.Context(), now)
		if err != nil || did != tt.did {
			t.Errorf("after %v: did %v, %v", tt.after, did, err)
		}
		if got := states(t, r); got != tt.states {
			t.Errorf("after %v: %s, want %s", tt.after, got, tt.states)
		}
		if err := opens(r, sealed, now); (err == nil) != tt.opens {
			t.Errorf("after %v the first value: %v", tt.after, err)
		}
	}
	never := options()
	never.Every = 0
	if did, err := open(t, fresh(t), never, begin).Tend(t.Context(), begin.Add(3650*day)); did || err != nil {
		t.Errorf("without rotation: did %v, %v", did, err)
	}
}

func TestTwoProcessesCannotRotateAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admit.db")
	var rings [4]*keyring.Ring
	for i := range rings {
		rings[i] = open(t, database(t, file), options(), begin)
	}
	// By themselves: one does it, the others see what it did.
	now := begin.Add(90 * day)
	var work sync.WaitGroup
	for _, r := range rings {
		work.Go(func() {
			if _, err := r.Tend(context.WithoutCancel(t.Context()), now); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if got := states(t, rings[0]); got != "active retiring" {
		t.Fatalf("after 90 days: %s", got)
	}
	for _, r := range rings {
		sealed := string(r.Cookies().Seal(nil, "c", []byte("v"), now))
		for _, other := range rings {
			if err := opens(other, sealed, now); err != nil {
				t.Error(err)
			}
		}
	}
	// By hand: who has not seen the other's rotation is told.
	var fine, late atomic.Int32
	for _, r := range rings {
		work.Go(func() {
			switch _, err := r.Rotate(context.WithoutCancel(t.Context()), keyring.Cookies, "operator", now.Add(time.Second)); {
			case err == nil:
				fine.Add(1)
			case errors.Is(err, keyring.ErrChanged):
				late.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	work.Wait()
	if fine.Load() != 1 || late.Load() != 3 {
		t.Errorf("%d rotated, %d were told", fine.Load(), late.Load())
	}
	// And has seen it then.
	if _, err := rings[0].Rotate(t.Context(), keyring.Cookies, "operator", now.Add(2*time.Second)); err != nil && !errors.Is(err, keyring.ErrChanged) {
		t.Error(err)
	}
}

func TestAProcessSeesWhatAnotherDidToTheKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admit.db")
	one, two := open(t, database(t, file), options(), begin), open(t, database(t, file), options(), begin)
	if _, err := one.Rotate(t.Context(), keyring.Cookies, "operator", begin.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	sealed := string(one.Cookies().Seal(nil, "c", []byte("v"), begin))
	if _, err := two.Tend(t.Context(), begin.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := opens(two, sealed, begin); err != nil {
		t.Error(err)
	}
}

func TestAKeyThatIsNeededIsErasedOnlyByForce(t *testing.T) {
	d := fresh(t)
	r := open(t, d, options(), begin)
	id := list(t, r, keyring.Cookies, begin)[0].ID
	sealed := string(r.Cookies().Seal(nil, "c", []byte("v"), begin))
	err := d.Update(t.Context(), func(tx account.Tx) error {
		return errors.Join(
			tx.Post("", "mail", string(r.Cookies().Seal(nil, "outbox", nil, begin)), begin),
			tx.PutChallenge(&account.Challenge{ID: "one", Expires: begin.Add(time.Hour), Sealed: string(r.Cookies().Seal(nil, "challenge one", nil, begin))}),
			tx.PutChallenge(&account.Challenge{ID: "old", Expires: begin, Sealed: string(r.Cookies().Seal(nil, "challenge old", nil, begin))}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	now := begin.Add(time.Minute)
	if _, err := r.Retire(t.Context(), id, false, "operator", now); !errors.Is(err, keyring.ErrActive) {
		t.Errorf("the active key: %v", err)
	}
	if _, err := r.Retire(t.Context(), "000000", true, "operator", now); !errors.Is(err, keyring.ErrUnknown) {
		t.Errorf("an unknown key: %v", err)
	}
	if _, err := r.Rotate(t.Context(), keyring.Cookies, "operator", now); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Retire(t.Context(), id, false, "operator", now); !errors.Is(err, keyring.ErrNeeded) {
		t.Errorf("a key that is needed: %v", err)
	}
	if err := opens(r, sealed, now); err != nil {
		t.Errorf("what was refused has happened: %v", err)
	}
	loss, err := r.Retire(t.Context(), id, true, "operator", now)
	if want := (keyring.Loss{Browsers: true, Mail: 1, Challenges: 1}); err != nil || loss != want {
		t.Errorf("%+v, %v; want %+v", loss, err, want)
	}
	if err := opens(r, sealed, now); err == nil {
		t.Error("an erased key opens")
	}
	if loss, err = r.Retire(t.Context(), id, false, "operator", now); err != nil || loss != (keyring.Loss{}) {
		t.Errorf("once more: %+v, %v", loss, err)
	}
	// The active one leaked: another takes its place in the same moment.
	if loss, err = r.Retire(t.Context(), list(t, r, keyring.Cookies, begin)[0].ID, true, "operator", now.Add(time.Second)); err != nil || !loss.Browsers {
		t.Errorf("the active key, by force: %+v, %v", loss, err)
	}
	if got := states(t, r); got != "active retired retired" {
		t.Errorf("states are %s", got)
	}
}

func TestAFileOfKeysIsTakenOver(t *testing.T) {
	newer, older := cookie.GenerateKey(), cookie.GenerateKey()
	file := newer + "\n" + older + "\n"
	before, err := cookie.ParseKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	aged, err := cookie.ParseKeys(older)
	if err != nil {
		t.Fatal(err)
	}
	d, o := fresh(t), options(masters(t, cookie.GenerateKey())...)
	o.Adopt = file
	r := open(t, d, o, begin)
	for _, k := range []*cookie.Keys{before, aged} {
		if err := opens(r, string(k.Seal(nil, "c", nil, begin)), begin); err != nil {
			t.Error(err)
		}
	}
	if r.Cookies().IDs()[0] != before.IDs()[0] {
		t.Error("the newest of the file is not the one in use")
	}
	// Once more, as after a crash before the file was removed: nothing changes.
	r = open(t, d, o, begin.Add(time.Minute))
	if got := states(t, r); got != "active retiring" {
		t.Errorf("states are %s", got)
	}
	// A file from a backup brings no key back that was retired, and one that is
	// not known only opens.
	if _, err := r.Retire(t.Context(), list(t, r, keyring.Cookies, begin)[1].ID, true, "operator", begin.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	o.Adopt = cookie.GenerateKey() + "\n" + file
	r = open(t, d, o, begin.Add(2*time.Hour))
	if got := states(t, r); got != "active retiring retired" {
		t.Errorf("after a restore, states are %s", got)
	}
	if r.Cookies().IDs()[0] != before.IDs()[0] {
		t.Error("a key of an old file is the one in use")
	}
	o.Adopt = "this is no key"
	if _, err := keyring.Open(t.Context(), fresh(t), o, begin); err == nil {
		t.Error("a file of something else is adopted")
	}
}

func TestTheMasterKeyChangesWhileKeysAreInUse(t *testing.T) {
	d := fresh(t)
	a, b := masters(t, cookie.GenerateKey()), masters(t, cookie.GenerateKey())
	r := open(t, d, options(), begin)
	sealed := string(r.Cookies().Seal(nil, "c", []byte("v"), begin))
	for _, tt := range []struct {
		name string
		with []*keyring.MasterKey
	}{{"add", a}, {"the same again", a}, {"change", b}, {"remove", nil}, {"add again", a}} {
		if err := r.Reseal(t.Context(), tt.with, "operator", begin); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if _, err := r.Rotate(t.Context(), keyring.Cookies, "operator", begin); err != nil {
			t.Fatalf("%s, then rotate: %v", tt.name, err)
		}
		again := open(t, d, options(tt.with...), begin)
		for _, ring := range []*keyring.Ring{r, again} {
			if err := opens(ring, sealed, begin); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
}

func TestChangesOfOneProcessWaitForEachOther(t *testing.T) {
	a, b := masters(t, cookie.GenerateKey()), masters(t, cookie.GenerateKey())
	r := open(t, fresh(t), options(a...), begin)
	ctx := context.WithoutCancel(t.Context())
	var work sync.WaitGroup
	for _, do := range []func() error{
		func() error { return r.Reseal(ctx, a, "operator", begin) },
		func() error { return r.Reseal(ctx, b, "operator", begin) },
		func() error { _, err := r.Rotate(ctx, keyring.Cookies, "operator", begin); return err },
		func() error { _, err := r.List(ctx, begin); return err },
		func() error { _, err := r.Tend(ctx, begin); return err },
	} {
		work.Go(func() {
			for range 10 {
				if err := do(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
}
