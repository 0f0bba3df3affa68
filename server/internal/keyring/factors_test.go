package keyring_test

import (
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/keyring"
)

// A factor outlives the keys of its server, or its owner would be shut out.
func TestFactorsAreCarriedOverToTheNextKey(t *testing.T) {
	for name, retire := range map[string]func(r *keyring.Ring, id string) (time.Time, error){
		"its time is over": func(r *keyring.Ring, _ string) (time.Time, error) {
			if _, err := r.Rotate(t.Context(), keyring.Cookies, "operator", begin); err != nil {
				return begin, err
			}
			later := begin.Add(181 * day)
			_, err := r.Tend(t.Context(), later)
			return later, err
		},
		"it leaked": func(r *keyring.Ring, id string) (time.Time, error) {
			_, err := r.Retire(t.Context(), id, true, "operator", begin)
			return begin, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := fresh(t)
			r := open(t, d, options(), begin)
			f := &account.Factor{ID: "f1", User: "u1", Kind: account.TOTP, CreatedAt: begin}
			f.Data = string(r.Cookies().Seal(nil, account.FactorSeal("f1"), []byte("a secret"), begin))
			err := d.Update(t.Context(), func(tx account.Tx) error {
				if err := tx.PutUser(&account.User{ID: "u1", CreatedAt: begin}); err != nil {
					return err
				}
				return tx.AddFactor(f)
			})
			if err != nil {
				t.Fatal(err)
			}
			old := list(t, r, keyring.Cookies, begin)[0].ID
			now, err := retire(r, old)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range list(t, r, keyring.Cookies, now) {
				if k.ID == old && k.State != account.KeyRetired {
					t.Fatalf("the old key is %s", k.State)
				}
			}
			err = d.View(t.Context(), func(tx account.Tx) (err error) {
				f, err = tx.Factor("f1")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if secret, _, err := r.Cookies().Open(nil, account.FactorSeal("f1"), f.Data, 0, now); err != nil || string(secret) != "a secret" {
				t.Errorf("the factor holds %q, %v", secret, err)
			}
		})
	}
}
