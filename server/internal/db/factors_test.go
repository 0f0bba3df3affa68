package db_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/otp"
	"github.com/admit-auth/admit/server/internal/account"
)

// enrol adds an authenticator app and returns it with the recovery codes.
func (o *owner) enrol(now time.Time) (*otp.Key, []admit.Secret) {
	o.t.Helper()
	n, err := o.BeginTOTP(o.t.Context(), o.at(now), now)
	if err != nil {
		o.t.Fatal(err)
	}
	k, err := otp.Parse(n.Secret.Reveal(), nil)
	if err != nil {
		o.t.Fatal(err)
	}
	_, codes, err := o.ConfirmTOTP(o.t.Context(), o.at(now), n.Flow, k.At(now), "", now)
	if err != nil {
		o.t.Fatal(err)
	}
	return k, codes
}

// first is the first step of a sign-in by whoever knows the password.
func (o *owner) first(now time.Time) *account.FactorNeeded {
	o.t.Helper()
	user, err := o.SignIn(o.t.Context(), "ann@example.org", admit.NewSecret(ownPassword), account.Origin{}, now)
	if err != nil {
		o.t.Fatal(err)
	}
	err = o.Gate(o.t.Context(), user, account.First{AMR: []string{"pwd"}, Browser: true}, account.Origin{}, now)
	needed, ok := errors.AsType[*account.FactorNeeded](err)
	if !ok {
		o.t.Fatalf("the gate says %v", err)
	}
	return needed
}

// tell lets the server do its work at a time and returns the subjects of the mail
// that goes out.
func (o *owner) tell(now time.Time) (subjects []string) {
	o.t.Helper()
	if err := o.TellLosses(o.t.Context(), now); err != nil {
		o.t.Fatal(err)
	}
	n := len(o.mail)
	o.last(now)
	for _, m := range o.mail[n:] {
		subjects = append(subjects, m.Subject)
	}
	return subjects
}

const day = 24 * time.Hour

// The attack: who has the password says that the factors are lost. The owner hears
// of it three times in three days, and nothing happens before.
func TestLostFactorsAreRemovedAfterADelayWithNoticesAndAMailedCode(t *testing.T) {
	o := newOwner(t, "en")
	ctx, at := t.Context(), func(d time.Duration) time.Time { return o.begun.Add(d) }
	o.enrol(at(0))
	o.tell(at(0))

	f := o.first(at(time.Minute))
	loss, err := o.BeginLoss(ctx, f.Flow, f.Browser, account.Origin{}, at(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if got := o.tell(at(time.Minute)); !slices.Equal(got, []string{"Somebody says that your second factors are lost"}) {
		t.Errorf("at the start %q are sent", got)
	}
	// To begin again makes nothing sooner, and is told no more.
	f = o.first(at(day))
	if again, err := o.BeginLoss(ctx, f.Flow, f.Browser, account.Origin{}, at(day)); err != nil || !again.DueAt.Equal(loss.DueAt.Truncate(time.Millisecond)) {
		t.Errorf("begun again: %v, %v", again, err)
	}
	for d := day + time.Hour; d < 3*day; d += 11 * time.Hour {
		f = o.first(at(d))
		if _, err := o.AskLossProof(ctx, f.Flow, f.Browser, account.Origin{}, at(d)); !errors.Is(err, account.ErrLossEarly) {
			t.Fatalf("after %v the code is mailed: %v", d, err)
		}
	}
	if got := o.tell(at(36*time.Hour + 2*time.Minute)); !slices.Equal(got, []string{"Still: somebody says that your second factors are lost"}) {
		t.Errorf("halfway %q are sent", got)
	}
	if got := o.tell(at(2 * day)); len(got) != 0 {
		t.Errorf("a day before the end %q are sent", got)
	}
	due := at(3*day + 2*time.Minute)
	if got := o.tell(due); !slices.Equal(got, []string{"The second factors of your account can be removed now"}) {
		t.Errorf("at the end %q are sent", got)
	}

	f = o.first(due)
	proof, err := o.AskLossProof(ctx, f.Flow, f.Browser, account.Origin{}, due)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.FinishLoss(ctx, f.Flow, f.Browser, proof, "000000", account.Origin{}, due); !errors.Is(err, account.ErrBadCode) {
		t.Errorf("with a wrong code: %v", err)
	}
	code := o.last(due).Code
	// A flow of somebody else, or none, is of no use with the right code.
	if err := o.FinishLoss(ctx, f.Flow, "", proof, code, account.Origin{}, due); !errors.Is(err, account.ErrFactorEnded) {
		t.Errorf("in another browser: %v", err)
	}
	if err := o.FinishLoss(ctx, f.Flow, f.Browser, proof, code, account.Origin{}, due); err != nil {
		t.Fatal(err)
	}
	if factors, err := o.FactorsOf(ctx, o.user.ID); err != nil || len(factors) != 0 {
		t.Errorf("%d factors are left, %v", len(factors), err)
	}
	if got := o.tell(due); !slices.Contains(got, "The second factors of your account were removed") {
		t.Errorf("the owner is told %q", got)
	}
}

func TestALinkOrASignInWithAFactorStopsTheRemovalOfFactors(t *testing.T) {
	for name, stop := range map[string]func(*owner, *otp.Key, []admit.Secret, time.Time) error{
		"the mailed link": func(o *owner, _ *otp.Key, _ []admit.Secret, now time.Time) error {
			_, token, _ := strings.Cut(o.mail[len(o.mail)-1].Links[0], "/link/")
			if l, err := o.PeekLink(o.t.Context(), token, now); err != nil || !l.Lost {
				o.t.Errorf("the link is %+v, %v", l, err)
			}
			return o.StopLoss(o.t.Context(), token, account.Origin{}, now)
		},
		"the app": func(o *owner, k *otp.Key, _ []admit.Secret, now time.Time) error {
			f := o.first(now)
			_, err := o.PassFactor(o.t.Context(), account.Passing{Flow: f.Flow, Browser: f.Browser, Kind: account.TOTP, Code: k.At(now)}, account.Origin{}, now)
			return err
		},
		"a recovery code": func(o *owner, _ *otp.Key, codes []admit.Secret, now time.Time) error {
			f := o.first(now)
			_, err := o.PassFactor(o.t.Context(), account.Passing{Flow: f.Flow, Browser: f.Browser, Kind: account.Recovery, Code: codes[4].Reveal()}, account.Origin{}, now)
			return err
		},
		"a passkey": func(o *owner, _ *otp.Key, _ []admit.Secret, now time.Time) error {
			return o.Gate(o.t.Context(), o.user, account.First{AMR: []string{"hwk", "user"}}, account.Origin{}, now)
		},
		"who is signed in": func(o *owner, _ *otp.Key, _ []admit.Secret, now time.Time) error {
			return o.StopOwnLoss(o.t.Context(), o.at(now), now)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOwner(t, "zh-CN")
			key, codes := o.enrol(o.begun)
			f := o.first(o.begun)
			if _, err := o.BeginLoss(t.Context(), f.Flow, f.Browser, account.Origin{}, o.begun); err != nil {
				t.Fatal(err)
			}
			o.tell(o.begun.Add(2 * day)) // halfway
			if err := stop(o, key, codes, o.begun.Add(2*day)); err != nil {
				t.Fatal(err)
			}
			late := o.begun.Add(4 * day)
			f = o.first(late)
			if _, err := o.AskLossProof(t.Context(), f.Flow, f.Browser, account.Origin{}, late); !errors.Is(err, account.ErrLossEarly) {
				t.Errorf("after it was stopped: %v", err)
			}
		})
	}
}

func TestWhoDoesNotFinishTheRemovalBeginsAnew(t *testing.T) {
	o := newOwner(t, "en")
	o.enrol(o.begun)
	f := o.first(o.begun)
	if _, err := o.BeginLoss(t.Context(), f.Flow, f.Browser, account.Origin{}, o.begun); err != nil {
		t.Fatal(err)
	}
	o.tell(o.begun.Add(4 * day))
	o.tell(o.begun.Add(18 * day))
	if l, err := o.LossOf(t.Context(), o.user.ID); l != nil || err != nil {
		t.Errorf("it is %+v, %v", l, err)
	}
}

// The attack: a thief who took the account adds a factor of its own. The owner's
// way back must not end at a question that only the thief can answer.
func TestAWayBackTakesTheThiefsFactorsAway(t *testing.T) {
	o := newOwner(t, "en")
	mine, _ := o.enrol(o.begun)
	stolen := o.begun.Add(8 * day) // the week before is undone altogether
	if err := o.ChangePassword(t.Context(), o.at(stolen), admit.NewSecret(ownPassword), admit.NewSecret("a thief's own password"), stolen); err != nil {
		t.Fatal(err)
	}
	back := o.back(stolen)
	o.enrol(stolen.Add(time.Minute))
	if _, err := o.RenewRecovery(t.Context(), o.at(stolen.Add(time.Minute)), stolen.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	now := stolen.Add(time.Hour)
	if err := o.WayBack(t.Context(), back, admit.NewSecret(ownPassword), account.Origin{}, now); err != nil {
		t.Fatal(err)
	}
	factors, err := o.FactorsOf(t.Context(), o.user.ID)
	if err != nil || len(factors) != 1 {
		t.Fatalf("%d factors are left, %v", len(factors), err)
	}
	f := o.first(now)
	if _, err := o.PassFactor(t.Context(), account.Passing{Flow: f.Flow, Browser: f.Browser, Kind: account.TOTP, Code: mine.At(now)}, account.Origin{}, now); err != nil {
		t.Errorf("with the owner's own: %v", err)
	}
}

func TestTheOwnerHearsWhenStrangersHaveUsedUpTheirGuesses(t *testing.T) {
	o := newOwner(t, "en")
	o.enrol(o.begun)
	o.tell(o.begun)
	var told []string
	for range 3 {
		f := o.first(o.begun)
		for range 4 {
			_, err := o.PassFactor(t.Context(), account.Passing{Flow: f.Flow, Browser: f.Browser, Kind: account.TOTP, Code: "000000"}, account.Origin{}, o.begun)
			if err == nil {
				t.Fatal("a guess was right")
			}
		}
		told = append(told, o.tell(o.begun)...)
	}
	if !slices.Equal(told, []string{"Somebody knows how to get as far as your second factor"}) {
		t.Errorf("the owner is told %q", told)
	}
}
