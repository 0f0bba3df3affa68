package keyring_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/keyring"
)

var others = map[jose.Algorithm]string{jose.RS256: keyring.SigningRS256, jose.EdDSA: keyring.SigningEdDSA}

// all is a ring with keys of every algorithm.
func all(t testing.TB, r *keyring.Ring, now time.Time) *keyring.Ring {
	t.Helper()
	for alg := range others {
		if err := r.Ensure(t.Context(), alg, now); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// signs says which key signs with each algorithm.
func signs(r *keyring.Ring) map[jose.Algorithm]string {
	ids := map[jose.Algorithm]string{}
	for _, alg := range []jose.Algorithm{jose.ES256, jose.RS256, jose.EdDSA} {
		if k := r.SigningWith(alg); k != nil {
			ids[alg] = k.ID()
		}
	}
	return ids
}

func published(t testing.TB, r *keyring.Ring) (ids []string) {
	t.Helper()
	set, err := r.KeySet(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Keys() {
		if k.IsPrivate() {
			t.Errorf("%s is published with its private half", k.ID())
		}
		ids = append(ids, k.ID())
	}
	return ids
}

func TestKeysOfAnAlgorithmAreThereOnceTheyWereAskedFor(t *testing.T) {
	r, d := ring(t)
	now := time.Now()
	before := r.Signing()
	for alg, purpose := range others {
		if r.SigningWith(alg) != nil || len(list(t, r, purpose, now)) > 0 {
			t.Fatalf("there are keys of %s that nobody asked for", alg)
		}
		if err := r.Ensure(t.Context(), alg, now); err != nil {
			t.Fatal(err)
		}
		k := r.SigningWith(alg)
		if k == nil || k.Algorithm() != alg || !k.IsPrivate() || !slices.Contains(published(t, r), k.ID()) {
			t.Fatalf("%v signs with %s", k, alg)
		}
		// Who asks again gets the same ones; so does a process that starts.
		if err := r.Ensure(t.Context(), alg, now); err != nil || r.SigningWith(alg) != k {
			t.Errorf("there is another key of %s: %v", alg, err)
		}
		states := []account.KeyState{account.KeyActive, account.KeyNext}
		keys := list(t, r, purpose, now)
		if len(keys) != 2 || keys[0].State != states[0] || keys[1].State != states[1] {
			t.Errorf("the keys of %s are %v", alg, keys)
		}
	}
	if r.Signing() != before {
		t.Error("where nobody asks for an algorithm another key signs now")
	}
	if again := open(t, d, options(), now); again.SigningWith(jose.RS256).ID() != r.SigningWith(jose.RS256).ID() {
		t.Error("a process that starts has other keys")
	}
	for _, alg := range []jose.Algorithm{jose.HS256, "none", ""} {
		if err := r.Ensure(t.Context(), alg, now); !errors.Is(err, keyring.ErrPurpose) {
			t.Errorf("Ensure(%q) = %v", alg, err)
		}
	}
}

func TestEveryAlgorithmHasItsOwnRotationWithOverlap(t *testing.T) {
	now := time.Now()
	r, _ := ring(t)
	all(t, r, now)
	before := signs(r)
	for alg, purpose := range others {
		was := signs(r)
		later := now.Add(time.Hour)
		next := list(t, r, purpose, later)[1].ID
		k, err := r.Rotate(t.Context(), purpose, "operator", later)
		if err != nil || k.Purpose != purpose || k.ID != next {
			t.Fatalf("Rotate(%s) = %v, %v, and %s was the next one", purpose, k, err, next)
		}
		is := published(t, r)
		if !slices.Contains(is, was[alg]) || !slices.Contains(is, k.ID) {
			t.Errorf("what the key before has signed is not verified")
		}
		for other, id := range was {
			if other != alg && !slices.Contains(is, id) {
				t.Errorf("with %s, %s has rotated", alg, other)
			}
		}
	}
	// By itself, too: each of them, a period after its next key was made.
	due := now.Add(time.Hour + options().Every)
	if did, err := r.Tend(t.Context(), due); !did || err != nil {
		t.Fatalf("Tend = %t, %v", did, err)
	}
	for alg, purpose := range others {
		if k := list(t, r, purpose, due)[0]; k.State != account.KeyActive || k.ID == before[alg] {
			t.Errorf("%s has not rotated", alg)
		}
	}
}

// Who has got at one key that signs has got at those beside it.
func TestAttackAKeyOfOneAlgorithmLeakedAndTheOthersGoOn(t *testing.T) {
	now := time.Now()
	r, d := ring(t)
	before := signs(all(t, r, now))
	if _, err := r.Retire(t.Context(), before[jose.EdDSA], false, "operator", now); err == nil {
		t.Error("a key in use is erased without force")
	}
	if _, err := r.Retire(t.Context(), before[jose.EdDSA], true, "operator", now); err != nil {
		t.Fatal(err)
	}
	after, ended := signs(r), told(t, d)
	for alg, id := range before {
		if after[alg] == id || after[alg] == "" || !slices.Contains(ended, id) || slices.Contains(published(t, r), id) {
			t.Errorf("%s: %s is signed with after %s, of which the feed says: %t", alg, after[alg], id, slices.Contains(ended, id))
		}
	}
}

// Clients are registered for them, and would be without.
func TestAlgorithmsThatWereAskedForAreThereAfterARestoreToo(t *testing.T) {
	now := time.Now()
	r, d := ring(t)
	before := signs(all(t, r, now))
	if err := keyring.Forget(t.Context(), d, now); err != nil {
		t.Fatal(err)
	}
	after := signs(open(t, d, options(), now))
	for alg, id := range before {
		if after[alg] == "" || after[alg] == id {
			t.Errorf("%s is signed with by %q after a restore, and by %q before", alg, after[alg], id)
		}
	}
}
