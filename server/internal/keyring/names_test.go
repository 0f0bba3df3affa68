package keyring_test

import (
	"errors"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/keyring"
)

func TestTheSecretOfNamesStaysWhateverHappensToOtherKeys(t *testing.T) {
	d, m, now := fresh(t), masters(t, cookie.GenerateKey()), begin
	r := open(t, d, options(), now)
	want := r.Names().Reveal()
	if len(want) != 32 {
		t.Fatalf("it has %d bytes", len(want))
	}
	still := func(r *keyring.Ring, after string) {
		t.Helper()
		if r.Names().Reveal() != want {
			t.Errorf("after %s people have other names", after)
		}
	}
	still(open(t, d, options(), now), "a start")
	if _, err := r.Rotate(t.Context(), keyring.Cookies, "ann", now); err != nil {
		t.Fatal(err)
	}
	for _, k := range list(t, r, keyring.Cookies, now) {
		if _, err := r.Retire(t.Context(), k.ID, true, "ann", now); err != nil {
			t.Fatal(err)
		}
	}
	still(r, "every other secret was erased")
	if err := r.Reseal(t.Context(), m, "ann", now); err != nil {
		t.Fatal(err)
	}
	if k := list(t, r, keyring.Names, now); len(k) != 1 || k[0].MasterKey != m[0].String()[len("keyring.MasterKey("):len(m[0].String())-1] {
		t.Errorf("sealed, it is %v", k)
	}
	still(open(t, d, options(m...), now), "it was sealed")
	if err := keyring.Forget(t.Context(), d, now); err != nil {
		t.Fatal(err)
	}
	r = open(t, d, options(m...), now.Add(1000*day))
	still(r, "a restore, and years")
	still(open(t, d, options(m...), now.Add(1000*day)), "another replica began")
	k := list(t, r, keyring.Names, now)[0]
	if _, err := r.Retire(t.Context(), k.ID, true, "ann", now); !errors.Is(err, keyring.ErrPermanent) {
		t.Errorf("it can be erased: %v", err)
	}
	if _, err := r.Rotate(t.Context(), keyring.Names, "ann", now); !errors.Is(err, keyring.ErrPermanent) {
		t.Errorf("it can be rotated: %v", err)
	}
}

func TestADatabaseFromBeforeThereWereNamesGetsTheSecret(t *testing.T) {
	d := fresh(t)
	open(t, d, options(), begin)
	if err := d.Update(t.Context(), func(tx account.Tx) error {
		all, err := tx.Keys()
		for _, k := range all {
			if k.Purpose == keyring.Names { // as if it were another's that nobody knows
				k.State, k.Sealed = account.KeyRetired, ""
				err = errors.Join(err, tx.PutKey(k))
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	made := open(t, d, options(), begin).Names()
	if again := open(t, d, options(), begin).Names(); made.IsZero() || again.Reveal() != made.Reveal() {
		t.Error("it gets none, or one at every start")
	}
}

func TestKeysOfEveryAlgorithmAreThereForWhoReadsTheSet(t *testing.T) {
	r, d := ring(t)
	now := time.Now()
	if err := r.EnsureAll(t.Context(), time.Now); err != nil {
		t.Fatal(err)
	}
	before := published(t, r)
	if len(before) != 6 || len(signs(r)) != 3 {
		t.Fatalf("published are %v, and %v sign", before, signs(r))
	}
	// Of a second replica, whoever reads there has the same ones.
	other := open(t, d, options(), now)
	if err := other.EnsureAll(t.Context(), time.Now); err != nil || signs(other)[jose.RS256] != signs(r)[jose.RS256] {
		t.Errorf("another process has %v: %v", signs(other), err)
	}
	// Who asks again causes no write.
	if err := r.EnsureAll(t.Context(), time.Now); err != nil || len(published(t, r)) != 6 {
		t.Errorf("%v: %v", published(t, r), err)
	}
}
