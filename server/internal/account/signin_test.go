package account

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/password"
)

// Refusals for too many tries cost nothing, so that whoever collects addresses
// may have millions of them timed. A user that exists took 60 µs more to look
// up than one that does not.
func TestAttackTheTimeOfARefusalTellsWhoHasAnAccount(t *testing.T) {
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := password.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	store := &countingStore{}
	s, err := New(store, Options{Passwords: passwords, Limiter: spent{}, Keys: keys, Signing: newSigning(t), PublicURL: "https://id.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.SignIn(t.Context(), "ann@example.org", admit.NewSecret("a guess"), Origin{Address: "192.0.2.1"}, time.Now())
	if !errors.Is(err, ErrGuesses) || store.views > 0 {
		t.Errorf("%v after %d look-ups, want ErrGuesses after none", err, store.views)
	}
}

// Whoever floods the sign-up must not shut those out who sign in with a browser
// that is known: strangers have half of the slots, whatever they ask for.
func TestAttackAFloodOfSignUpsShutsOwnersOut(t *testing.T) {
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := password.New(&password.Options{Slots: 2, Queue: 1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(&countingStore{}, Options{Passwords: passwords, Limiter: unlimited{}, Keys: keys, Signing: newSigning(t), PublicURL: "https://id.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	for range 4 {
		flood.Go(func() {
			for ctx.Err() == nil {
				s.SignUp(ctx, SignUp{Identifier: "mallory", Password: admit.NewSecret("correct horse battery")}, Origin{}, time.Now())
			}
		})
	}
	for n := range 10 {
		if err := passwords.VerifyDummy(t.Context(), admit.NewSecret("a password"), password.Known); err != nil {
			t.Errorf("sign-in %d of an owner: %v", n, err)
		}
	}
	stop()
	flood.Wait()
}

// A countingStore counts look-ups and finds nobody.
type countingStore struct {
	Store
	views int
}

func (s *countingStore) View(context.Context, func(Tx) error) error {
	s.views++
	return ErrUnknownUser
}

func (s *countingStore) Update(context.Context, func(Tx) error) error { return ErrTaken }

// No budget of this Limiter ends.
type unlimited struct{}

func (unlimited) Take(string, Budget, time.Time) time.Duration { return 0 }
func (unlimited) Refund(string, Budget)                        {}
func (unlimited) Owed(string, time.Time) time.Duration         { return 0 }

// Every budget of this Limiter is spent.
type spent struct{}

func (spent) Take(string, Budget, time.Time) time.Duration { return time.Second }
func (spent) Refund(string, Budget)                        {}
func (spent) Owed(string, time.Time) time.Duration         { return time.Hour }

// signing is one key that signs access tokens.
type signing struct {
	key *jose.Key
	set *jose.KeySet
}

func newSigning(t testing.TB) *signing {
	t.Helper()
	key, err := jose.GenerateKey(jose.ES256, "")
	if err != nil {
		t.Fatal(err)
	}
	return &signing{key, jose.NewKeySet(key)}
}

func (s *signing) Signing() *jose.Key { return s.key }

func (s *signing) KeySet(context.Context, string) (*jose.KeySet, error) { return s.set, nil }
