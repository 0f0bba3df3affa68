package keyring_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/keyring"
)

const (
	signed = 6 * time.Minute  // as the server has it: 5 minutes of a token, and leeway
	ahead  = 90 * time.Second // the same
	maxAge = time.Minute      // what the published set says of itself
)

// signing are the keys that sign, as they are at a time.
func signing(t testing.TB, r *keyring.Ring, now time.Time) []keyring.Key {
	t.Helper()
	return list(t, r, keyring.Signing, now)
}

// rotate gives the turn to the next key that signs.
func rotate(t testing.TB, r *keyring.Ring, now time.Time) keyring.Key {
	t.Helper()
	k, err := r.Rotate(t.Context(), keyring.Signing, "operator", now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// token is one that the ring signs now, for 5 minutes.
func token(t testing.TB, r *keyring.Ring) string {
	t.Helper()
	s, err := jose.NewSigner[struct{}](r.Signing(), "at+jwt", nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	text, err := s.Sign(&jose.Claims[struct{}]{Issuer: "us", Audience: []string{"you"}, IssuedAt: now, Expires: now.Add(5 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func verifier(t testing.TB, keys jose.KeySource, remember int) *jose.Verifier[struct{}] {
	t.Helper()
	v, err := jose.NewVerifier(keys, jose.Expected{
		Algorithms: []jose.Algorithm{jose.ES256}, Issuer: "us", Audience: []string{"you"}, Type: "at+jwt",
	}, &jose.VerifierOptions[struct{}]{Remember: remember})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A line carries the published set to a RemoteKeySet, without a network.
type line struct {
	ring  *keyring.Ring
	asked int
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.asked++
	set, err := l.ring.KeySet(r.Context(), "")
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(set)
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Cache-Control": {"max-age=60"}}, Body: io.NopCloser(bytes.NewReader(text)),
	}, err
}

// remote is a verifier elsewhere, with every option as it is unless set.
func remote(t testing.TB, r *keyring.Ring) (*jose.RemoteKeySet, *line) {
	t.Helper()
	l := &line{ring: r}
	keys, err := jose.NewRemoteKeySet("https://id.example.org/oauth/jwks", &jose.RemoteOptions{Client: &http.Client{Transport: l}})
	if err != nil {
		t.Fatal(err)
	}
	return keys, l
}

// A cache is a verifier of the simplest kind: it fetches the set when its copy
// is too old, and never for a kid.
type cache struct {
	from jose.KeySource
	set  *jose.KeySet
	at   time.Time
}

func (c *cache) KeySet(ctx context.Context, kid string) (*jose.KeySet, error) {
	if c.set == nil || time.Since(c.at) > maxAge {
		set, err := c.from.KeySet(ctx, kid)
		if err != nil {
			return nil, err
		}
		c.set, c.at = set, time.Now()
	}
	return c.set, nil
}

func ring(t testing.TB) (*keyring.Ring, *db.DB) {
	t.Helper()
	d := fresh(t)
	return open(t, d, options(), time.Now()), d
}

// told are the keys of which the feed says that they have ended.
func told(t testing.TB, d *db.DB) (ids []string) {
	t.Helper()
	heard := errors.New("heard")
	err := d.Feed().Follow(t.Context(), feed.ID{}, func(n feed.News) error {
		for _, e := range n.Events {
			if e.Kind == feed.Key {
				ids = append(ids, e.Target)
			}
		}
		return heard
	})
	if !errors.Is(err, heard) {
		t.Error(err)
	}
	return ids
}

func TestAKeyIsPublishedBeforeItSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ring(t)
		for range 5 {
			time.Sleep(time.Hour)
			before := signing(t, r, time.Now())
			if got := statesOf(before[:2]); got != "active next" {
				t.Fatalf("the states are %s", got)
			}
			set, err := r.KeySet(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			k := rotate(t, r, time.Now())
			if k.ID != before[1].ID || k.State != account.KeyActive || r.Signing().ID() != k.ID {
				t.Errorf("%+v signs, and not the next key %s", k, before[1].ID)
			}
			if !slices.ContainsFunc(set.Keys(), func(k *jose.Key) bool { return k.ID() == r.Signing().ID() }) {
				t.Error("the key was not published before")
			}
			if after := signing(t, r, time.Now()); statesOf(after[:3]) != "active next retiring" || after[2].ID != before[0].ID {
				t.Errorf("then the keys are %+v", after)
			}
		}
	})
}

func TestRotationsInARowFailNoVerifierThatKeepsTheSetForAsLongAsItMay(t *testing.T) {
	for _, every := range []time.Duration{2 * time.Second, 7 * time.Second, time.Minute} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := ring(t)
				away, _ := remote(t, r)
				verifiers := map[string]*jose.Verifier[struct{}]{
					"the ring's own":                verifier(t, r, 100),
					"one with a RemoteKeySet":       verifier(t, away, 100),
					"one that fetches by age alone": verifier(t, &cache{from: r}, 100),
				}
				check := func(token string, signed time.Time) {
					t.Helper()
					for name, v := range verifiers {
						if _, err := v.Verify(t.Context(), token); err != nil {
							t.Fatalf("%s, %v after it was signed: %v", name, time.Since(signed), err)
						}
					}
				}
				type made struct {
					token string
					at    time.Time
				}
				var alive []made
				signers := map[string]bool{}
				turn, tend := time.Now(), time.Now()
				for end := time.Now().Add(9 * time.Minute); time.Now().Before(end); time.Sleep(every / 4) {
					now := time.Now()
					if !now.Before(turn) {
						rotate(t, r, now)
						turn = now.Add(every)
					}
					if !now.Before(tend) {
						if _, err := r.Tend(t.Context(), now); err != nil {
							t.Fatal(err)
						}
						tend = now.Add(time.Minute)
					}
					signers[r.Signing().ID()] = true
					one := made{token(t, r), now}
					check(one.token, now)
					alive = slices.DeleteFunc(append(alive, one), func(m made) bool { return now.Sub(m.at) >= 5*time.Minute-time.Second }) // claims have seconds
					check(alive[0].token, alive[0].at)
					some := alive[rand.IntN(len(alive))]
					check(some.token, some.at)
				}
				if want := int((9*time.Minute-ahead)/every) - 1; len(signers) < want {
					t.Errorf("%d keys have signed, want %d", len(signers), want)
				}
				set, err := r.KeySet(t.Context(), "")
				if err != nil || len(set.Keys()) > 256 {
					t.Errorf("%d keys are public, %v", len(set.Keys()), err)
				}
			})
		})
	}
}

func TestAKeyThatWaitsForItsTurnIsShownAsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ring(t)
		first := r.Signing().ID()
		// Both keys of the first start are known to whoever knows any.
		time.Sleep(time.Second)
		second := rotate(t, r, time.Now())
		if second.State != account.KeyActive || r.Signing().ID() != second.ID {
			t.Errorf("after the first rotation, %+v", second)
		}
		time.Sleep(time.Second)
		third := rotate(t, r, time.Now())
		if third.State != account.KeyNext || third.NotBefore == nil || !third.NotBefore.Equal(third.CreatedAt.Add(ahead)) {
			t.Errorf("after the second, %+v", third)
		}
		if _, err := r.Retire(t.Context(), second.ID, false, "operator", time.Now()); !errors.Is(err, keyring.ErrActive) {
			t.Errorf("to retire the one that goes on meanwhile: %v", err)
		}
		if got := statesOf(signing(t, r, time.Now())); got != "active next next retiring" {
			t.Errorf("the states are %s", got)
		}
		if got := r.Signing().ID(); got != second.ID {
			t.Errorf("%s signs, and not %s", got, second.ID)
		}
		time.Sleep(time.Until(*third.NotBefore) - 1)
		if got := r.Signing().ID(); got != second.ID {
			t.Errorf("just before its turn, %s signs", got)
		}
		time.Sleep(time.Nanosecond)
		if got := r.Signing().ID(); got != third.ID {
			t.Errorf("at its turn, %s signs", got)
		}
		keys := signing(t, r, time.Now())
		// The states are those that the commands go by.
		if _, err := r.Retire(t.Context(), third.ID, false, "operator", time.Now()); !errors.Is(err, keyring.ErrActive) {
			t.Errorf("to retire the one whose turn it is: %v", err)
		}
		if got := statesOf(keys); got != "active next retiring retiring" || keys[0].ID != third.ID || keys[0].NotBefore != nil {
			t.Errorf("the keys are %+v", keys)
		}
		if keys[3].ID != first && keys[2].ID != first {
			t.Errorf("the first key %s is gone", first)
		}
	})
}

func TestNoMoreKeysArePublicThanAVerifierTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ring(t)
		keys, _ := remote(t, r)
		v := verifier(t, keys, 0)
		n := 0
		for ; ; n++ {
			_, err := r.Rotate(t.Context(), keyring.Signing, "operator", time.Now())
			if errors.Is(err, keyring.ErrTooMany) {
				break
			}
			if err != nil || n > 300 {
				t.Fatalf("rotation %d: %v", n, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n < 200 {
			t.Errorf("only %d rotations", n)
		}
		if err := keys.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := v.Verify(t.Context(), token(t, r)); err != nil {
			t.Error(err)
		}
		// And it goes on by itself.
		time.Sleep(ahead + signed)
		rotate(t, r, time.Now())
	})
}

func TestSigningKeysRotateAndRetireByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d := ring(t)
		begun, first := time.Now(), r.Signing().ID()
		for _, tt := range []struct {
			after  time.Duration
			did    bool
			states string
		}{
			{90*day - time.Minute, false, "active next"},
			{90 * day, true, "active next retiring"},
			{90*day + signed - time.Second, false, "active next retiring"},
			{90*day + signed, true, "active next retired"},
			{180*day - time.Minute, false, "active next retired"},
			{180 * day, true, "active next retiring retired"},
		} {
			time.Sleep(time.Until(begun.Add(tt.after)))
			did, err := r.Tend(t.Context(), time.Now())
			if err != nil || did != tt.did {
				t.Errorf("after %v: did %v, %v", tt.after, did, err)
			}
			keys := signing(t, r, time.Now())
			if got := statesOf(keys); got != tt.states {
				t.Errorf("after %v: %s, want %s", tt.after, got, tt.states)
			}
			if keys[0].ID != r.Signing().ID() {
				t.Errorf("after %v %s signs, and not %s", tt.after, r.Signing().ID(), keys[0].ID)
			}
		}
		set, err := r.KeySet(t.Context(), "")
		if err != nil || slices.ContainsFunc(set.Keys(), func(k *jose.Key) bool { return k.ID() == first }) {
			t.Errorf("the first key is public, %v", err)
		}
		// Nothing was taken back: all that it signed had expired.
		if ids := told(t, d); ids != nil {
			t.Errorf("the feed tells of %v", ids)
		}
	})
}

func TestInAnEmergencyAFreshKeySignsAndNothingOfTheOldOneCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d := ring(t)
		time.Sleep(time.Hour)
		rotate(t, r, time.Now())
		time.Sleep(time.Second)
		old := token(t, r)
		away, l := remote(t, r)
		here, there := verifier(t, r, 100), verifier(t, away, 100)
		for _, v := range []*jose.Verifier[struct{}]{here, there, here, there} { // remembered by now
			if _, err := v.Verify(t.Context(), old); err != nil {
				t.Fatal(err)
			}
		}
		before := signing(t, r, time.Now())
		if _, err := r.Retire(t.Context(), before[0].ID, false, "operator", time.Now()); !errors.Is(err, keyring.ErrActive) {
			t.Errorf("without force: %v", err)
		}
		loss, err := r.Retire(t.Context(), before[0].ID, true, "operator", time.Now())
		if want := (keyring.Loss{Tokens: true}); err != nil || loss != want {
			t.Fatalf("%+v, %v", loss, err)
		}
		if _, err := here.Verify(t.Context(), old); !errors.Is(err, jose.ErrKey) {
			t.Errorf("the verifier beside it says %v", err)
		}
		after := signing(t, r, time.Now())
		if got := statesOf(after); got != "active next retired retired retired" {
			t.Errorf("the states are %s", got)
		}
		for _, k := range after[:2] {
			if slices.ContainsFunc(before, func(b keyring.Key) bool { return b.ID == k.ID }) {
				t.Errorf("%s was there before", k.ID)
			}
		}
		if after[0].ID != r.Signing().ID() {
			t.Errorf("%s signs", r.Signing().ID())
		}
		// Elsewhere the first token of the fresh key renews the set: at once, or
		// as here, where it was fetched just now, when the cool-down is over.
		if _, err := there.Verify(t.Context(), token(t, r)); !errors.Is(err, jose.ErrKey) {
			t.Errorf("in the cool-down the fresh key is known: %v", err)
		}
		time.Sleep(10 * time.Second)
		if _, err := there.Verify(t.Context(), token(t, r)); err != nil {
			t.Error(err)
		}
		if _, err := there.Verify(t.Context(), old); !errors.Is(err, jose.ErrKey) {
			t.Errorf("the verifier elsewhere says %v", err)
		}
		if l.asked != 2 {
			t.Errorf("it fetched %d times", l.asked)
		}
		// And who is told that the key is gone need not wait for that.
		old = token(t, r)
		if _, err := there.Verify(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Retire(t.Context(), after[0].ID, true, "operator", time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := away.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := there.Verify(t.Context(), old); !errors.Is(err, jose.ErrKey) {
			t.Errorf("after a refresh it says %v", err)
		}
		// The feed tells of every key that could have signed for a thief, and the
		// audit of who did it.
		got, want := told(t, d), []string{before[0].ID, before[1].ID, before[2].ID, after[0].ID, after[1].ID}
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("the feed tells of %v, want %v", got, want)
		}
		err = d.View(t.Context(), func(tx account.Tx) error {
			all, _, err := tx.Records(&account.RecordQuery{Event: "key_retired", Limit: 100})
			for _, k := range before {
				if !slices.ContainsFunc(all, func(r account.Record) bool { return r.Detail == k.ID && r.Actor == "operator" }) {
					t.Errorf("the audit does not have %s in %v", k.ID, all)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAKeyThatSignsIsErasedOnlyByForceWhileTokensLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ring(t)
		time.Sleep(time.Hour)
		old := token(t, r)
		v := verifier(t, r, 100)
		rotate(t, r, time.Now())
		keys := signing(t, r, time.Now())
		_, err := r.Retire(t.Context(), keys[2].ID, false, "operator", time.Now())
		if !errors.Is(err, keyring.ErrNeeded) {
			t.Errorf("a retiring key: %v", err)
		}
		if _, err := v.Verify(t.Context(), old); err != nil {
			t.Error(err)
		}
		// A next key has signed nothing.
		if loss, err := r.Retire(t.Context(), keys[1].ID, false, "operator", time.Now()); err != nil || loss != (keyring.Loss{}) {
			t.Errorf("a next key: %+v, %v", loss, err)
		}
		after := signing(t, r, time.Now())
		if got := statesOf(after); got != "active next retiring retired" || after[1].ID == keys[1].ID {
			t.Errorf("the keys are %+v", after)
		}
		if loss, err := r.Retire(t.Context(), keys[2].ID, true, "operator", time.Now()); err != nil || !loss.Tokens {
			t.Errorf("by force: %+v, %v", loss, err)
		}
		if _, err := v.Verify(t.Context(), old); !errors.Is(err, jose.ErrKey) {
			t.Errorf("what it signed: %v", err)
		}
		if got := r.Signing().ID(); got != keys[0].ID {
			t.Errorf("%s signs, and not %s", got, keys[0].ID)
		}
	})
}

func TestWhatIsRememberedOutlivesWhatChangesNoKey(t *testing.T) {
	r, d := ring(t)
	set, err := r.KeySet(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rotate(t.Context(), keyring.Cookies, "operator", time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := r.Reseal(t.Context(), masters(t, cookie.GenerateKey()), "operator", time.Now()); err != nil {
		t.Fatal(err)
	}
	if again, err := r.KeySet(t.Context(), ""); err != nil || again != set {
		t.Errorf("it is another set, %v", err)
	}
	if _, err := r.Tend(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	// And of another process's change, everything is seen.
	if other, err := keyring.Open(t.Context(), d, options(), time.Now()); !errors.Is(err, keyring.ErrMasterMissing) {
		t.Errorf("%v, %v", other, err)
	}
}

// A slowStore tells what is written before who wrote it goes on.
type slowStore struct {
	account.Store
	written func()
}

func (s *slowStore) Update(ctx context.Context, fn func(account.Tx) error) error {
	err := s.Store.Update(ctx, fn)
	if s.written != nil {
		s.written()
	}
	return err
}

// Who hears of an ending asks in the same millisecond. With the set of before it
// would refuse the tokens of the new key for as long as its cool-down lasts.
func TestWhoHearsThatAKeyWasTakenBackGetsTheSetOfAfterwards(t *testing.T) {
	now := time.Now()
	store := &slowStore{Store: fresh(t)}
	r := open(t, store, options(), now)
	old := r.Signing().ID()
	answered := make(chan *jose.KeySet, 1)
	store.written = func() {
		store.written = nil
		go func() {
			set, _ := r.Settled().KeySet(context.Background(), "") // which never fails
			answered <- set
		}()
		// It gets its time to answer with what is there.
		select {
		case set := <-answered:
			answered <- set
		case <-time.After(50 * time.Millisecond):
		}
	}
	if _, err := r.Retire(t.Context(), old, true, "operator", now); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(<-answered)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), old) || !strings.Contains(string(text), r.Signing().ID()) {
		t.Errorf("the key %s was taken back and %s signs; who asked got %s", old, r.Signing().ID(), text)
	}
}

func TestInAnEmergencyNoneThatWaitedSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := ring(t)
		time.Sleep(time.Hour)
		for range 3 {
			rotate(t, r, time.Now())
			time.Sleep(time.Second)
		}
		before := signing(t, r, time.Now())
		if got := statesOf(before); got != "active next next next retiring" {
			t.Fatalf("the states are %s", got)
		}
		if _, err := r.Retire(t.Context(), r.Signing().ID(), true, "operator", time.Now()); err != nil {
			t.Fatal(err)
		}
		after := signing(t, r, time.Now())
		if got := statesOf(after); got != "active next retired retired retired retired retired" {
			t.Errorf("the states are %s", got)
		}
		if r.Signing().ID() != after[0].ID || slices.ContainsFunc(before, func(k keyring.Key) bool { return k.ID == after[0].ID }) {
			t.Errorf("%s signs", r.Signing().ID())
		}
	})
}

func TestAskingForKeysAllocatesNothing(t *testing.T) {
	r, _ := ring(t)
	v := r.Signing()
	for _, rotations := range []int{0, 3} {
		for range rotations {
			rotate(t, r, time.Now())
		}
		n := testing.AllocsPerRun(100, func() {
			v = r.Signing()
			_, _ = r.KeySet(t.Context(), v.ID())
		})
		if n != 0 {
			t.Errorf("after %d rotations, %v allocations", rotations, n)
		}
	}
}

func TestThePublishedSetHasNothingThatSigns(t *testing.T) {
	r, d := ring(t)
	rotate(t, r, time.Now())
	set, err := r.KeySet(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Keys []map[string]any }
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Keys) != 3 {
		t.Fatalf("%s, %v", text, err)
	}
	for _, k := range doc.Keys {
		for name := range k {
			if !slices.Contains([]string{"kty", "crv", "x", "y", "alg", "kid", "use"}, name) {
				t.Errorf("a key has %q", name)
			}
		}
	}
	for _, k := range set.Keys() {
		if k.IsPrivate() {
			t.Errorf("%v can sign", k)
		}
	}
	// Not by the bytes either: none of what is kept stands in it.
	err = d.View(t.Context(), func(tx account.Tx) error {
		keys, err := tx.Keys()
		for _, k := range keys {
			if k.Purpose != keyring.Signing {
				continue
			}
			jwk, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(k.Sealed, "plain."))
			if err != nil {
				return err
			}
			_, d, ok := strings.Cut(string(jwk), `"d":"`)
			if d, _, _ = strings.Cut(d, `"`); !ok || len(d) != 43 {
				t.Fatalf("a key without a private part: the test looks for the wrong thing")
			}
			if strings.Contains(string(text), d) {
				t.Error("a private key is published")
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestADamagedSigningKeyOpensNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(signing []account.Key)
	}{
		{"no JWK", func(k []account.Key) { k[0].Sealed = "plain.MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" }},
		{"two that changed places", func(k []account.Key) { k[0].Sealed, k[1].Sealed = k[1].Sealed, k[0].Sealed }},
		{"none", func(k []account.Key) { k[1].Sealed = "" }},
	} {
		d := fresh(t)
		open(t, d, options(), begin)
		var all []account.Key
		err := d.Update(t.Context(), func(tx account.Tx) error {
			keys, err := tx.Keys()
			keys = slices.DeleteFunc(keys, func(k account.Key) bool { return k.Purpose != keyring.Signing })
			tt.spoil(keys)
			for _, k := range keys {
				err = errors.Join(err, tx.PutKey(k))
			}
			all = keys
			return err
		})
		if err != nil || len(all) != 2 {
			t.Fatal(all, err)
		}
		if _, err := keyring.Open(t.Context(), d, options(), begin); !errors.Is(err, keyring.ErrDamaged) {
			t.Errorf("%s: Open: %v", tt.name, err)
		}
		if err := keyring.Check(all, nil); !errors.Is(err, keyring.ErrDamaged) {
			t.Errorf("%s: Check: %v", tt.name, err)
		}
	}
}

func TestAnOlderDatabaseGetsSigningKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admit.db")
	d := database(t, file)
	r := open(t, d, options(), begin)
	sealed := string(r.Cookies().Seal(nil, "c", []byte("v"), begin))
	// As one that knew no such keys had left it, and as a restore leaves it.
	if err := keyring.Forget(t.Context(), d, begin); err != nil {
		t.Fatal(err)
	}
	before := r.Signing().ID()
	r = open(t, d, options(), begin)
	if got := statesOf(signing(t, r, begin)); got != "active next retired retired" {
		t.Errorf("the states are %s", got)
	}
	if r.Signing().ID() == before {
		t.Error("a key that was forgotten signs")
	}
	if err := opens(r, sealed, begin); err != nil {
		t.Error(err)
	}
}
