package db_test

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
)

const ownPassword = "correct horse battery"

// An owner is a user over a real database, at times that the test says.
type owner struct {
	*account.Service
	t     *testing.T
	db    *db.DB
	user  *account.User
	begun time.Time
	mail  []account.Message // latest last
}

func newOwner(t *testing.T, locale string) *owner {
	t.Helper()
	d := database(t)
	o := &owner{Service: accounts(t, d, cookie.GenerateKey()), t: t, db: d, begun: time.Now()}
	from := account.Origin{Locale: locale}
	_, flow, err := o.SignUp(t.Context(), account.SignUp{Identifier: "ann@example.org", Password: admit.NewSecret(ownPassword)}, from, o.begun)
	if err != nil {
		t.Fatal(err)
	}
	if o.user, err = o.VerifySignUp(t.Context(), flow, o.last(o.begun).Code, from, o.begun); err != nil {
		t.Fatal(err)
	}
	return o
}

// at is the owner as it asks at a time, having just proved who it is.
func (o *owner) at(now time.Time) account.Asker {
	return account.Asker{Subject: o.user.ID, Proved: now, ACR: admit.TwoFactors, From: account.Origin{Locale: o.user.Locale, Address: "192.0.2.1"}}
}

// last delivers what waits and returns the last mail.
func (o *owner) last(now time.Time) account.Message {
	o.t.Helper()
	_, err := o.Deliver(o.t.Context(), now, func(_ context.Context, m account.Message) error {
		o.mail = append(o.mail, m)
		return nil
	})
	if err != nil || len(o.mail) == 0 {
		o.t.Fatalf("%d mails, %v", len(o.mail), err)
	}
	return o.mail[len(o.mail)-1]
}

// add adds an address and proves it.
func (o *owner) add(address string, now time.Time) {
	o.t.Helper()
	_, flow, err := o.AddIdentifier(o.t.Context(), o.at(now), address, now)
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err = o.VerifyIdentifier(o.t.Context(), o.at(now), flow, o.last(now).Code, now); err != nil {
		o.t.Fatal(err)
	}
}

// back is the token in the last mail, "" if there is none.
func (o *owner) back(now time.Time) string {
	_, token, _ := strings.Cut(o.last(now).Links[0], "/link/")
	return token
}

func TestAWayBackIsGoodForSevenDays(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, tt := range []struct {
		name  string
		after time.Duration
		want  error
	}{
		{"at its end", week - time.Millisecond, nil},
		{"after it", week, account.ErrWayBackEnded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOwner(t, "en")
			o.add("new@example.org", o.begun)
			token := o.back(o.begun)
			err := o.WayBack(t.Context(), token, admit.NewSecret("staple another horse"), account.Origin{}, o.begun.Add(tt.after))
			if !errors.Is(err, tt.want) {
				t.Errorf("WayBack: %v, want %v", err, tt.want)
			}
			again := o.WayBack(t.Context(), token, admit.NewSecret("staple another horse"), account.Origin{}, o.begun.Add(tt.after))
			if !errors.Is(again, account.ErrWayBackEnded) {
				t.Errorf("once more: %v", again)
			}
		})
	}
}

func TestAnAddressGetsAWayBackOnceNoOlderOneContestsIt(t *testing.T) {
	o := newOwner(t, "en")
	o.add("new@example.org", o.begun)
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{6 * 24 * time.Hour, false}, {15 * 24 * time.Hour, true}} {
		now := o.begun.Add(tt.after)
		for _, value := range []string{"new@example.org", "ann@example.org"} { // so that new@ is the one that was
			if _, err := o.MakePrimary(t.Context(), o.at(now), value, now); err != nil {
				t.Fatal(err)
			}
		}
		o.last(now)
		m := o.mail[slices.IndexFunc(o.mail, func(m account.Message) bool {
			return m.To == "new@example.org" && m.Code == "" && !m.At.Before(now)
		})]
		if got := strings.Contains(m.Links[0], "/link/"); m.To != "new@example.org" || got != tt.want {
			t.Errorf("after %v: mail to %s with %s, want a way back: %v", tt.after, m.To, m.Links[0], tt.want)
		}
	}
}

func TestACodeForAnAddressIsGoodForFifteenMinutesAndFiveTries(t *testing.T) {
	o := newOwner(t, "en")
	ctx := t.Context()
	ask := func() (flow, code string) {
		_, flow, err := o.AddIdentifier(ctx, o.at(o.begun), "new@example.org", o.begun)
		if err != nil {
			t.Fatal(err)
		}
		return flow, o.last(o.begun).Code
	}
	flow, code := ask()
	bad := "000000"
	if code == bad {
		bad = "000001"
	}
	for range 5 {
		if _, err := o.VerifyIdentifier(ctx, o.at(o.begun), flow, bad, o.begun); !errors.Is(err, account.ErrBadCode) {
			t.Errorf("a wrong code: %v", err)
		}
	}
	if _, err := o.VerifyIdentifier(ctx, o.at(o.begun), flow, code, o.begun); !errors.Is(err, account.ErrFlowEnded) {
		t.Errorf("the right code after five wrong ones: %v", err)
	}
	flow, code = ask()
	late := o.begun.Add(15 * time.Minute)
	if _, err := o.VerifyIdentifier(ctx, o.at(late), flow, code, late); !errors.Is(err, account.ErrFlowEnded) {
		t.Errorf("after 15 minutes: %v", err)
	}
}

func TestAProofIsRecentForTenMinutesAndNotFromTheFuture(t *testing.T) {
	o := newOwner(t, "en")
	for _, tt := range []struct {
		ago  time.Duration
		want error
	}{
		{10 * time.Minute, nil}, {10*time.Minute + time.Millisecond, admit.ErrProof},
		{-time.Minute, nil}, {-2 * time.Minute, admit.ErrProof},
	} {
		a := o.at(o.begun.Add(-tt.ago))
		if err := o.Recent(t.Context(), a, o.begun); !errors.Is(err, tt.want) {
			t.Errorf("%v ago: %v, want %v", tt.ago, err, tt.want)
		}
	}
}

func TestMailThatWaitsAboutAUserGoesWithTheUser(t *testing.T) {
	o := newOwner(t, "en")
	o.last(o.begun)
	seen := len(o.mail)
	if _, _, err := o.AddIdentifier(t.Context(), o.at(o.begun), "new@example.org", o.begun); err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.AddIdentifier(t.Context(), o.at(o.begun), "ann.lee", o.begun); err != nil {
		t.Fatal(err)
	}
	if err := o.DeleteOwn(t.Context(), o.at(o.begun), "ann@example.org", o.begun); err != nil {
		t.Fatal(err)
	}
	o.last(o.begun)
	if got := o.mail[seen:]; len(got) != 1 || got[0].Subject != "Your account is deleted" {
		t.Errorf("%d mails: %q", len(got), got[0].Subject)
	}
}

func TestMailOfChangesIsWrittenInTheLanguageOfTheUser(t *testing.T) {
	latin := regexp.MustCompile(`[A-Za-z]{3,}`)
	o := newOwner(t, "zh-CN")
	o.last(o.begun)
	seen := len(o.mail)
	o.add("new@example.org", o.begun)
	if _, err := o.MakePrimary(t.Context(), o.at(o.begun), "new@example.org", o.begun); err != nil {
		t.Fatal(err)
	}
	if _, err := o.RemoveIdentifier(t.Context(), o.at(o.begun), "ann@example.org", o.begun); err != nil {
		t.Fatal(err)
	}
	records, err := o.Activity(t.Context(), o.user.ID, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Disown(t.Context(), o.at(o.begun), records[0].ID, o.begun); err != nil {
		t.Fatal(err)
	}
	o.last(o.begun)
	if len(o.mail)-seen != 7 {
		t.Fatalf("%d mails", len(o.mail)-seen)
	}
	for _, m := range o.mail[seen:] {
		text := m.Subject + m.Text
		for _, link := range m.Links {
			text = strings.ReplaceAll(text, link, "")
		}
		if words := latin.FindAllString(strings.ReplaceAll(text, "UTC", ""), -1); len(words) > 0 || !strings.Contains(m.HTML, "<p ") {
			t.Errorf("%q has %v", m.Subject, words)
		}
	}
}

func TestWhatIsLeftOfADeletedUserStandsUnderAPseudonymThatTheKeysFindAgain(t *testing.T) {
	o := newOwner(t, "en")
	if err := o.DeleteOwn(t.Context(), o.at(o.begun), "ann@example.org", o.begun); err != nil {
		t.Fatal(err)
	}
	if records, err := o.Activity(t.Context(), o.user.ID, 0, 10); err != nil || len(records) > 0 {
		t.Errorf("under the id there are %d records: %v", len(records), err)
	}
	records, err := o.Activity(t.Context(), o.Pseudonym(o.user.ID), 0, 10)
	if err != nil || len(records) < 2 {
		t.Fatalf("under the pseudonym there are %d records: %v", len(records), err)
	}
	for _, r := range records {
		if r.Address+r.UserAgent+r.SID != "" || r.Detail != "" {
			t.Errorf("%+v tells of the person", r)
		}
	}
}

func TestAGoodbyeIsSentThoughMailWasBeingSentWhenTheUserWasDeleted(t *testing.T) {
	o := newOwner(t, "en")
	o.last(o.begun)
	if _, _, err := o.AddIdentifier(t.Context(), o.at(o.begun), "second@example.org", o.begun); err != nil {
		t.Fatal(err)
	}
	_, err := o.Deliver(t.Context(), o.begun, func(ctx context.Context, _ account.Message) error {
		return o.DeleteOwn(ctx, o.at(o.begun), "ann@example.org", o.begun)
	})
	if err != nil {
		t.Fatal(err)
	}
	if m := o.last(o.begun); m.Subject != "Your account is deleted" {
		t.Errorf("the last mail is %q", m.Subject)
	}
}
