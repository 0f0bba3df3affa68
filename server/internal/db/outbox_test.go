package db_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/limit"
)

func database(t *testing.T) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.NewPlace(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func accounts(t *testing.T, d *db.DB, keys string) *account.Service {
	t.Helper()
	ring, err := cookie.ParseKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := password.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := account.New(d, account.Options{Passwords: passwords, Limiter: limit.New(), Keys: ring, CanMail: true, PublicURL: "https://id.example.org", Signing: newSigning(t)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMailWaitsUntilItIsSentAndIsSentOnce(t *testing.T) {
	d := database(t)
	ours, lost := cookie.GenerateKey(), cookie.GenerateKey()
	s := accounts(t, d, ours)
	begun := time.Now()
	_, flow, err := s.SignUp(t.Context(), account.SignUp{Identifier: "ann@example.org", Password: admit.NewSecret("correct horse battery")}, account.Origin{}, begun)
	if err != nil || flow == "" {
		t.Fatalf("SignUp = %q, %v", flow, err)
	}
	var tried, sent int
	deliver := func(s *account.Service, at time.Duration, fails error) {
		t.Helper()
		_, err := s.Deliver(t.Context(), begun.Add(at), func(_ context.Context, m account.Message) error {
			tried++
			if fails == nil {
				sent++
				if m.To != "ann@example.org" || len(m.Code) != 6 || !strings.Contains(m.Text, m.Code) || len(m.Links) != 1 {
					t.Errorf("sent %q", m.Text)
				}
			}
			return fails
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	down := errors.New("the mail server is down")
	deliver(s, 0, down)
	deliver(s, 0, down) // not due again
	if tried != 1 {
		t.Errorf("%d tries at once, want 1", tried)
	}
	deliver(s, 2*time.Second, down)
	if tried != 2 {
		t.Errorf("%d tries after two seconds, want 2", tried)
	}
	// A server that lost its newest key must not lose the mail.
	deliver(accounts(t, d, lost), time.Minute, nil)
	if tried != 2 {
		t.Errorf("sent what could not be read")
	}
	deliver(accounts(t, d, lost+"\n"+ours), time.Hour, nil)
	deliver(s, 2*time.Hour, nil)
	if sent != 1 {
		t.Errorf("sent %d times, want once", sent)
	}
}

func TestMailIsGivenUpAfterADay(t *testing.T) {
	d := database(t)
	s := accounts(t, d, cookie.GenerateKey())
	begun := time.Now()
	if _, _, err := s.SignUp(t.Context(), account.SignUp{Identifier: "ann@example.org", Password: admit.NewSecret("correct horse battery")}, account.Origin{}, begun); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for at := time.Duration(0); at < 48*time.Hour; at += 10 * time.Minute {
		_, err := s.Deliver(t.Context(), begun.Add(at), func(context.Context, account.Message) error {
			tried++
			return errors.New("the mail server is down")
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// At first each time, then once an hour, for a day.
	if tried < 24 || tried > 40 {
		t.Errorf("%d tries", tried)
	}
}

func TestMailDoesNotWaitForAClockThatWasSetBack(t *testing.T) {
	d := database(t)
	s := accounts(t, d, cookie.GenerateKey())
	begun := time.Now()
	if _, _, err := s.SignUp(t.Context(), account.SignUp{Identifier: "ann@example.org", Password: admit.NewSecret("correct horse battery")}, account.Origin{}, begun); err != nil {
		t.Fatal(err)
	}
	if n, oldest, err := d.Outbox(t.Context()); n != 1 || oldest.UnixMilli() != begun.UnixMilli() || err != nil {
		t.Errorf("Outbox = %d, %v, %v, want one since %v", n, oldest, err, begun)
	}
	sent, err := s.Deliver(t.Context(), begun.Add(-3*time.Hour), func(context.Context, account.Message) error { return nil })
	if sent != 1 || err != nil {
		t.Errorf("with a clock of three hours ago %d messages are sent, %v", sent, err)
	}
	if n, _, err := d.Outbox(t.Context()); n != 0 || err != nil {
		t.Errorf("Outbox = %d, %v, want none", n, err)
	}
	if c := s.MailCount(); c != (account.MailCount{Sent: 1}) {
		t.Errorf("MailCount = %+v, want one sent", c)
	}
}

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
