package provider

import (
	"slices"
	"testing"
	"time"

	"github.com/admit-auth/admit/feed"
)

func TestWhatIsTakenBackEndsWithEveryToken(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	_, theirs := d.client("other", nil)
	first := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	second := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	kept := d.given(d.post(redeeming(d.code("other", nil)), basic("other", theirs)))
	inFlight := d.code("app", nil)
	d.told = nil

	if there, err := d.TakeBack(t.Context(), "alice", "app"); !there || err != nil {
		t.Fatalf("TakeBack = %t, %v", there, err)
	}
	for _, a := range []*reply{first, second} {
		d.refused(d.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", secret)), "invalid_grant")
	}
	// A code that was on its way comes too late.
	d.refused(d.post(redeeming(inFlight), basic("app", secret)), "invalid_grant")
	d.given(d.post(fields("grant_type", "refresh_token", "refresh_token", kept.string("refresh_token")), basic("other", theirs)))

	ended := slices.DeleteFunc(slices.Clone(d.told), func(e feed.Event) bool { return e.Kind != feed.Grant })
	if len(ended) != 2 || ended[0].Subject != "alice" || !ended[0].Until.After(d.now.Add(5*time.Minute)) {
		t.Errorf("verifiers are told %+v", ended)
	}
	if n := d.notes[len(d.notes)-1]; n.Event != "client_taken_back" || n.Subject != "alice" || n.Client != "app" {
		t.Errorf("the note is %+v", n)
	}
	notes := len(d.notes)
	if there, err := d.TakeBack(t.Context(), "alice", "app"); there || err != nil || len(d.notes) != notes {
		t.Errorf("a second TakeBack = %t, %v, with %d notes", there, err, len(d.notes)-notes)
	}
}

func TestWhatIsAllowedIsListedLastUsedFirst(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	_, ours := d.client("ours", func(c *Client) { c.FirstParty = true })
	d.client("never", nil)
	d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	begun := d.now
	d.now = d.now.Add(2 * time.Hour)
	code := d.code("ours", nil)
	if err := d.m.Update(t.Context(), func(tx Tx) error { // nobody is asked
		_, err := tx.EndConsent("alice", "ours")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	d.given(d.post(redeeming(code), basic("ours", ours)))
	all, err := d.Allowed(t.Context(), "alice")
	if err != nil || len(all) != 2 {
		t.Fatalf("Allowed = %+v, %v", all, err)
	}
	if a := all[0]; a.Client.ID != "ours" || !a.Since.Equal(d.now) || !a.LastUsed.Equal(d.now) {
		t.Errorf("the first is %+v", a)
	}
	if a := all[1]; a.Client.ID != "app" || !a.Since.Equal(begun) || !slices.Equal(a.Scopes, []string{"openid", "email", "read"}) {
		t.Errorf("the second is %+v", a)
	}
	if all, err := d.Allowed(t.Context(), "bob"); len(all) > 0 || err != nil {
		t.Errorf("somebody else has allowed %+v, %v", all, err)
	}
}
