package db_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	notice(t, s, "ann", begun)
	var tried, sent int
	deliver := func(s *account.Service, at time.Duration, fails error) {
		t.Helper()
		_, err := s.Deliver(t.Context(), begun.Add(at), func(_ context.Context, m account.Message) error {
			tried++
			if fails == nil {
				sent++
				if m.To != "ann@example.org" || m.Name != "password_removed" || len(m.Links) != 1 || m.Key == "" {
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
	notice(t, s, "ann", begun)
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
	// At first each time, then once in half an hour or an hour, for a day.
	if tried < 24 || tried > 60 {
		t.Errorf("%d tries", tried)
	}
	if c := s.MailCount(); c.GivenUp != 1 || c.Failed != uint64(tried) {
		t.Errorf("MailCount = %+v after %d tries, want one given up", c, tried)
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

// notice makes a user and posts one message about it that does not end.
func notice(t *testing.T, s *account.Service, name string, now time.Time) *account.User {
	t.Helper()
	u, err := s.Import(t.Context(), &account.User{Identifiers: []account.Identifier{{Value: name + "@example.org", Kind: account.Email, Verified: true, Primary: true}}}, "", account.By{}, now)
	if err == nil {
		err = s.SetPassword(t.Context(), u.ID, admit.Secret{}, account.By{}, now)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestACodeThatHasEndedIsNotSent(t *testing.T) {
	d := database(t)
	s := accounts(t, d, cookie.GenerateKey())
	begun := time.Now()
	ask := func() string {
		t.Helper()
		_, flow, err := s.SignUp(t.Context(), account.SignUp{Identifier: "ann@example.org", Password: admit.NewSecret("correct horse battery")}, account.Origin{}, begun)
		if err != nil {
			t.Fatal(err)
		}
		return flow
	}
	var got []account.Message
	deliver := func(after time.Duration, fails error) {
		t.Helper()
		if _, err := s.Deliver(t.Context(), begun.Add(after), func(_ context.Context, m account.Message) error {
			got = append(got, m)
			return fails
		}); err != nil {
			t.Fatal(err)
		}
	}
	// Expired while the mail server was down.
	ask()
	deliver(0, errors.New("down"))
	for after := time.Minute; after < 10*time.Minute; after += time.Minute {
		deliver(after, errors.New("down"))
	}
	tried := len(got)
	deliver(10*time.Minute, nil)
	if tried < 7 || len(got) != tried {
		t.Errorf("%d tries in 10 minutes, then %d more", tried, len(got)-tried)
	}
	// Used up by another: the address was proved with a later code.
	begun = begun.Add(time.Hour)
	ask()
	waits := time.Duration(0)
	deliver(waits, errors.New("down"))
	got = nil
	flow := ask()
	deliver(0, nil) // the first waits for its second try
	if len(got) != 1 {
		t.Fatalf("%d messages, want one", len(got))
	}
	if _, err := s.VerifySignUp(t.Context(), flow, got[0].Code, account.Origin{}, begun); err != nil {
		t.Fatal(err)
	}
	deliver(time.Minute, nil)
	if len(got) != 1 {
		t.Error("a code that had ended was sent")
	}
	if c := s.MailCount(); c.Over != 2 || c.GivenUp != 0 {
		t.Errorf("MailCount = %+v, want two that were over", c)
	}
	if n, _, err := d.Outbox(t.Context()); n != 0 || err != nil {
		t.Errorf("%d messages wait, %v", n, err)
	}
}

func TestAMessageIsOneSendersAtATime(t *testing.T) {
	d := database(t)
	keys := cookie.GenerateKey()
	begun := time.Now()
	const messages, senders = 30, 6
	services := make([]*account.Service, senders)
	for i := range services {
		services[i] = accounts(t, d, keys)
	}
	for i := range messages {
		notice(t, services[0], fmt.Sprint("ann", i), begun)
	}
	var mu sync.Mutex
	taken := map[string]account.Claimed{}
	var work sync.WaitGroup
	for _, s := range services {
		work.Go(func() {
			for {
				claimed, err := s.Claim(t.Context(), "mail", 4, nil, begun)
				if err != nil || len(claimed) == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				for _, c := range claimed {
					if _, twice := taken[c.Key]; twice {
						t.Errorf("message %d was claimed twice", c.ID)
					}
					taken[c.Key] = c
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if len(taken) != messages {
		t.Fatalf("%d of %d messages were claimed", len(taken), messages)
	}
	// Their holders are gone: nothing is lost, but not before.
	s := services[0]
	early, err := s.Claim(t.Context(), "mail", messages, nil, begun.Add(account.ClaimLife-time.Second))
	if err != nil || len(early) != 0 {
		t.Errorf("%d messages were claimed while others held them, %v", len(early), err)
	}
	late := begun.Add(account.ClaimLife)
	again, err := s.Claim(t.Context(), "mail", messages, nil, late)
	if err != nil || len(again) != messages {
		t.Fatalf("%d messages, %v, want all again", len(again), err)
	}
	// A holder that was only slow does not free what is another's now.
	if _, err := services[1].Settle(t.Context(), taken[again[0].Key], errors.New("slow"), late); err != nil {
		t.Fatal(err)
	}
	if more, err := s.Claim(t.Context(), "mail", messages, nil, late.Add(time.Minute)); err != nil || len(more) != 0 {
		t.Errorf("%d messages are free, %v", len(more), err)
	}
	for _, c := range again {
		if _, err := s.Settle(t.Context(), c, nil, late); err != nil {
			t.Fatal(err)
		}
	}
	if n, _, err := d.Outbox(t.Context()); n != 0 || err != nil {
		t.Errorf("%d messages wait, %v", n, err)
	}
}

func TestWhoStartsAloneSendsAtOnceWhatADeadServerHeld(t *testing.T) {
	d := database(t)
	s := accounts(t, d, cookie.GenerateKey())
	begun := time.Now()
	notice(t, s, "ann", begun)
	if c, err := s.Claim(t.Context(), "mail", 10, nil, begun); len(c) != 1 || err != nil {
		t.Fatalf("%d, %v", len(c), err)
	}
	if err := s.Unclaim(t.Context(), begun); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Claim(t.Context(), "mail", 10, nil, begun); len(c) != 1 || err != nil {
		t.Errorf("%d messages, %v, want the one", len(c), err)
	}
}

func TestWhatIsRefusedForGoodIsGivenUpAtOnceAndAudited(t *testing.T) {
	d := database(t)
	s := accounts(t, d, cookie.GenerateKey())
	begun := time.Now()
	u := notice(t, s, "ann", begun)
	if _, err := s.Deliver(t.Context(), begun, func(context.Context, account.Message) error {
		return &account.Failure{Code: "mail 550 5.1.1", Final: true, Err: errors.New("no such mailbox")}
	}); err != nil {
		t.Fatal(err)
	}
	if n, _, err := d.Outbox(t.Context()); n != 0 || err != nil {
		t.Errorf("%d messages wait, %v", n, err)
	}
	if c := s.MailCount(); c != (account.MailCount{Failed: 1, Refused: 1}) {
		t.Errorf("MailCount = %+v", c)
	}
	records, err := s.Activity(t.Context(), u.ID, 0, 1)
	if err != nil || len(records) != 1 || records[0].Event != "message_given_up" || records[0].Detail != "password_removed mail 550 5.1.1" {
		t.Errorf("the audit says %+v, %v", records, err)
	}
}

func TestWhatMayHaveBeenSentWaitsAsLongAsAMailServerMayTake(t *testing.T) {
	d := database(t)
	s := accounts(t, d, cookie.GenerateKey())
	begun := time.Now()
	notice(t, s, "ann", begun)
	tried := 0
	for after := time.Duration(0); after <= 21*time.Minute; after += time.Minute {
		if _, err := s.Deliver(t.Context(), begun.Add(after), func(context.Context, account.Message) error {
			tried++
			return &account.Failure{Unsure: true, Err: errors.New("no answer")}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if tried != 3 {
		t.Errorf("%d tries in 21 minutes, want 3", tried)
	}
}

func TestATextMessageDoesNotWaitBehindMail(t *testing.T) {
	d := database(t)
	s := accounts(t, d, cookie.GenerateKey())
	begun := time.Now()
	for i := range 3 {
		notice(t, s, fmt.Sprint("ann", i), begun)
	}
	if c, err := s.Claim(t.Context(), "text", 10, nil, begun); len(c) != 0 || err != nil {
		t.Errorf("%d text messages, %v, want none", len(c), err)
	}
	// The new ones go before those that failed.
	first, err := s.Claim(t.Context(), "mail", 3, nil, begun)
	if err != nil || len(first) != 3 {
		t.Fatalf("%d, %v", len(first), err)
	}
	for _, c := range first {
		if _, err := s.Settle(t.Context(), c, errors.New("down"), begun); err != nil {
			t.Fatal(err)
		}
	}
	later := begun.Add(time.Hour)
	notice(t, s, "bob", later)
	if c, err := s.Claim(t.Context(), "mail", 1, nil, later); err != nil || len(c) != 1 || c[0].To != "bob@example.org" {
		t.Errorf("claimed %v, %v, want the new one", c, err)
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
