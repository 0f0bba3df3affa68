package db

import (
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// A backup does not know which keys were ended after it.
func TestARestoredDatabaseRevivesNoAPIKey(t *testing.T) {
	for _, keep := range []bool{false, true} {
		d, _ := newSessions(t)
		now := time.Now()
		err := d.Update(t.Context(), func(tx account.Tx) error {
			if err := tx.PutUser(&account.User{ID: "ann", CreatedAt: now}); err != nil {
				return err
			}
			return tx.AddAPIKey(&account.APIKey{ID: "k", User: "ann", Name: "a test", CreatedAt: now})
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Renew(t.Context(), keep, now); err != nil {
			t.Fatal(err)
		}
		err = d.View(t.Context(), func(tx account.Tx) error {
			_, err := tx.APIKey("k")
			return err
		})
		if (err == nil) != keep {
			t.Errorf("sessions are kept: %t; the key: %v", keep, err)
		}
	}
}

func TestAnAPIKeyIsKeptAsItIsAndEndsOnce(t *testing.T) {
	d, _ := newSessions(t)
	now := time.UnixMilli(1_700_000_000_000)
	in := &account.APIKey{
		ID: "k", User: "ann", Digest: [16]byte{1, 2, 3}, Name: "a test", Scopes: []string{"feed", "profile"}, Audiences: []string{"a", "b"},
		CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}
	err := d.Update(t.Context(), func(tx account.Tx) error {
		if err := tx.PutUser(&account.User{ID: "ann", CreatedAt: now}); err != nil {
			return err
		}
		if err := tx.AddAPIKey(in); err != nil {
			return err
		}
		out, err := tx.APIKey("k")
		if err != nil {
			return err
		}
		if out.Digest != in.Digest || out.Name != in.Name || len(out.Scopes) != 2 || len(out.Audiences) != 2 || !out.ExpiresAt.Equal(in.ExpiresAt) || !out.LastUsed.IsZero() || !out.EndedAt.IsZero() {
			t.Errorf("%+v is kept as %+v", in, out)
		}
		for n := range 2 {
			ended, err := tx.EndAPIKey("k", now.Add(time.Minute))
			if err != nil {
				return err
			}
			if ended != (n == 0) {
				t.Errorf("the ending number %d counts: %t", n+1, ended)
			}
		}
		if err := tx.DeleteAPIKeys("ann", now); err != nil {
			return err
		}
		all, err := tx.APIKeysOf("ann")
		if err != nil {
			return err
		}
		if len(all) != 1 || !all[0].EndedAt.Equal(now.Add(time.Minute)) {
			t.Errorf("an ended key is kept as %+v", all)
		}
		return tx.DeleteUser("ann")
	})
	if err != nil {
		t.Fatal(err)
	}
}
