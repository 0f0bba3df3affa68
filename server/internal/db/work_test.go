package db_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/limit"
)

// A ledger is a store that counts what is done.
type ledger struct {
	account.Store
	done map[string]int
}

func (l *ledger) Update(ctx context.Context, fn func(account.Tx) error) error {
	l.done["updates"]++
	return l.Store.Update(ctx, func(tx account.Tx) error { return fn(counted{tx, l.done}) })
}

type counted struct {
	account.Tx
	done map[string]int
}

func (c counted) Post(user, channel, sealed string, now time.Time) error {
	c.done["posted"]++
	return c.Tx.Post(user, channel, sealed, now)
}

func (c counted) PutChallenge(ch *account.Challenge) error {
	c.done["challenges"]++
	return c.Tx.PutChallenge(ch)
}

func (c counted) Record(r *account.Record) error {
	c.done["records"]++
	return c.Tx.Record(r)
}

func (c counted) PutUser(u *account.User) error {
	c.done["users"]++
	return c.Tx.PutUser(u)
}

// What is done is what takes time: a difference in it is measured from afar.
func TestAttackWhatIsDoneTellsWhoHasAnAccount(t *testing.T) {
	ring, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := password.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{database(t), map[string]int{}}
	s, err := account.New(l, account.Options{
		Passwords: passwords, Limiter: limit.New(), Keys: ring, CanMail: true, CanText: true, PublicURL: "https://id.example.org", Signing: newSigning(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, now, by := t.Context(), time.Now(), account.By{Actor: "operator"}
	right, wrong := admit.NewSecret(ownPassword), admit.NewSecret("staple another horse")
	for _, u := range []account.NewUser{
		{Identifiers: []string{"known@example.org", "known", "+49301234567"}, Verified: true, Password: right},
		{Identifiers: []string{"gone@example.org", "gone", "+49301234568"}, Verified: true, Password: right},
		{Identifiers: []string{"unproved@example.org", "+49301234569"}, Password: right},
		{Identifiers: []string{"mute"}, Password: right},
	} {
		user, err := s.AddUser(ctx, u, by, now)
		if err != nil {
			t.Fatal(err)
		}
		disabled := u.Identifiers[0] == "gone@example.org"
		if _, err := s.Change(ctx, user.ID, account.UserChange{Disabled: &disabled}, by, now); err != nil {
			t.Fatal(err)
		}
	}
	for _, names := range [][]string{
		{"nobody@example.org", "known@example.org", "gone@example.org", "unproved@example.org"},
		{"+49301234560", "+49301234567", "+49301234568", "+49301234569"},
		{"nobody", "known", "gone", "mute"},
	} {
		for call, do := range map[string]func(name string, from account.Origin) error{
			"sign-up": func(name string, from account.Origin) error {
				_, _, err := s.SignUp(ctx, account.SignUp{Identifier: name, Password: wrong}, from, now)
				return err
			},
			"sign-in": func(name string, from account.Origin) error {
				_, err := s.SignIn(ctx, name, wrong, from, now)
				return err
			},
			"recovery": func(name string, from account.Origin) error {
				flow, err := s.Forgot(ctx, name, from, now)
				if err == nil {
					err = s.Recover(ctx, account.NewPassword{Flow: flow, Code: "12345678", Password: wrong}, from, now)
				}
				return err
			},
		} {
			if call == "sign-up" && names[0] == "nobody" {
				continue // that a user name is taken is told there
			}
			var first string
			for i, name := range names {
				before, hashed := maps.Clone(l.done), passwords.Stats().Hashed
				err := do(name, account.Origin{Address: fmt.Sprintf("203.0.113.%d", i), Locale: "en"})
				did := map[string]int{"hashes": int(passwords.Stats().Hashed - hashed)}
				for what, n := range l.done {
					did[what] = n - before[what]
				}
				got := fmt.Sprint(did, err)
				if i == 0 {
					first = got
					t.Logf("%s of %s: %s", call, name, got)
				} else if got != first {
					t.Errorf("%s does for %s\n%s\nand for %s\n%s", call, names[0], first, name, got)
				}
			}
		}
	}
}
