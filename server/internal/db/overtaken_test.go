package db_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// A thief asks for a key at the moment when the owner shuts him out: his request
// was let in, and comes to its turn after all keys have ended. Nobody would look
// for one that is made then.
func TestAttackAnAPIKeyIsMadeByASessionThatHasEndedMeanwhile(t *testing.T) {
	yes := true
	for name, shut := range map[string]func(d *desk, sid string) error{
		"the password set": func(d *desk, _ string) error {
			return d.accounts.SetPassword(t.Context(), "ann", admit.NewSecret("staple another horse"), account.By{}, time.Now())
		},
		"the user disabled": func(d *desk, _ string) error {
			_, err := d.accounts.Change(t.Context(), "ann", account.UserChange{Disabled: &yes}, account.By{}, time.Now())
			return err
		},
		"the session ended": func(d *desk, sid string) error { return d.sessions.EndSID(t.Context(), "ann", sid, "ended_by_user") },
	} {
		d := newDesk(t)
		s, err := d.sessions.Start(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), "ann", &session.StartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		thief := account.Asker{Subject: "ann", SID: s.SID, Proved: now}
		key := account.NewAPIKey{Name: "a test", Scopes: []string{account.ScopeProfile}, Forever: true}
		if _, _, err := d.accounts.MakeAPIKey(t.Context(), thief, key, now); err != nil {
			t.Fatal(err)
		}
		if err := shut(d, s.SID); err != nil {
			t.Fatal(err)
		}
		before, err := d.accounts.APIKeys(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = d.accounts.MakeAPIKey(t.Context(), thief, key, now)
		after, _ := d.accounts.APIKeys(t.Context(), "ann")
		if admit.KindOf(err) != admit.Unauthenticated || len(after) != len(before) {
			t.Errorf("%s: %v, and %d keys after %d", name, err, len(after), len(before))
		}
	}
}

// The code was typed in time, and the session began too late.
func TestAttackASignInByACodeBeginsASessionAfterTheOwnerEndedAll(t *testing.T) {
	yes := true
	for name, shut := range map[string]func(o *owner, now time.Time) error{
		"the password set": func(o *owner, now time.Time) error {
			return o.SetPassword(t.Context(), o.user.ID, admit.NewSecret("staple another horse"), account.By{}, now)
		},
		"the user disabled": func(o *owner, now time.Time) error {
			_, err := o.Change(t.Context(), o.user.ID, account.UserChange{Disabled: &yes}, account.By{}, now)
			return err
		},
	} {
		o := newOwner(t, "en")
		now := o.begun.Add(time.Minute)
		store, err := o.db.Sessions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sessions, err := session.New[struct{}](store, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sessions.Start(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), o.user.ID, nil); err != nil {
			t.Fatal(err)
		}
		flow, err := o.AskSignIn(t.Context(), "ann@example.org", false, "", account.Origin{}, now)
		if err != nil {
			t.Fatal(err)
		}
		user, _, err := o.VerifySignIn(t.Context(), flow, o.last(now).Code, account.Origin{}, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.ConfirmSignIn(t.Context(), user); err != nil {
			t.Errorf("nothing happened: %v", err)
		}
		if err := shut(o, now); err != nil {
			t.Fatal(err)
		}
		if err := o.ConfirmSignIn(t.Context(), user); admit.KindOf(err) != admit.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
}
