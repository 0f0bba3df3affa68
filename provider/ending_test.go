package provider

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/feed"
)

// A thief was signed in, and has let an application of his own in for when nobody is
// there. Its owner signs out everywhere else: the application is out too, and nobody who
// is led to it later is let in without a question.
func TestAttackAThiefHasLetAnAppInBeforeOthersAreSignedOut(t *testing.T) {
	h, e := listening(t, nil)
	h.app("evil", func(c *Client) { c.BackchannelLogoutURI = e.URL })
	h.m.PutSession(Session{SID: "thief", Subject: "alice", Expires: h.now.Add(time.Hour)})
	h.m.PutSession(Session{SID: "old", Subject: "alice", Expires: h.now.Add(time.Hour)})
	in := func(client, sid string) string {
		return h.tokens(client, func(c *Code) {
			c.Session.SID, c.Asked.Scopes = sid, []string{"openid", "offline_access"}
		}).string("refresh_token")
	}
	mine, his, outlived := in("app", "s1"), in("evil", "thief"), in("evil", "old")
	if err := h.SessionEnded(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	h.delivers()
	before := len(e.all())
	h.m.RemoveSession("thief")
	for range 2 {
		if err := h.SubjectEnded(t.Context(), "alice", "s1"); err != nil {
			t.Fatal(err)
		}
	}
	h.silent("evil", his)
	h.silent("evil", outlived)
	if !h.active("app", mine) {
		t.Error("what was allowed in the session that goes on has ended")
	}
	var asked []string
	if err := h.m.View(t.Context(), func(tx Tx) error {
		all, err := tx.Consents("alice")
		for _, c := range all {
			asked = append(asked, c.Client)
		}
		return err
	}); err != nil || len(asked) != 1 || asked[0] != "app" {
		t.Errorf("remembered is what was allowed to %v: %v", asked, err)
	}
	h.delivers()
	// His session at the application ends, and hers does not.
	if told := e.all()[before:]; len(told) != 1 || payload(t, told[0])["sid"] == nil || payload(t, told[0])["aud"] != "evil" {
		t.Errorf("told: %q", told)
	}
}

func TestOfWhoIsNoMoreEverythingEnds(t *testing.T) {
	h, _ := listening(t, nil)
	text := h.tokens("app", scoped("openid", "offline_access")).string("refresh_token")
	h.m.RemoveUser("alice")
	now := time.Now()
	if err := h.hear(t.Context(), feed.News{Events: []feed.Event{feed.SubjectRaised("alice", 8, "account_deleted", now.Add(time.Hour))}}); err != nil {
		t.Fatal(err)
	}
	h.silent("app", text)
	if len(h.told) != 1 {
		t.Errorf("told: %v", h.told)
	}
}

// Roles of somebody have changed: what applications were allowed is none of them.
func TestOfflineAccessOutlivesAChangeOfClaims(t *testing.T) {
	h, _ := listening(t, nil)
	text := h.tokens("app", scoped("openid", "offline_access")).string("refresh_token")
	h.m.RemoveSession("s1") // it has run out
	now := time.Now()
	if err := h.hear(t.Context(), feed.News{Events: []feed.Event{feed.SubjectRaised("alice", 8, "claims_changed", now.Add(time.Hour))}}); err != nil {
		t.Fatal(err)
	}
	if !h.active("app", text) {
		t.Error("offline access has ended with it")
	}
}

// A client that revokes its tokens, or loses them to a thief, has signed nobody out of its
// own pages: it hears when somebody signs out (OpenID Connect Back-Channel Logout 1.0
// section 2.5).
func TestAClientWhoseAccessHasEndedHearsOfTheSignOutStill(t *testing.T) {
	h, e := listening(t, nil)
	a := h.tokens("app", nil)
	if w := h.ask("revoke", "app", "token", a.string("refresh_token")); w.Code != 200 {
		t.Fatal(w.Code)
	}
	h.delivers()
	if n := len(e.all()); n != 0 {
		t.Errorf("by revoking it hears of %d sign-outs", n)
	}
	for range 2 {
		if err := h.SessionEnded(t.Context(), "s1"); err != nil {
			t.Fatal(err)
		}
		h.delivers()
	}
	if all := e.all(); len(all) != 1 || payload(t, all[0])["sid"] != payload(t, a.string("id_token"))["sid"] {
		t.Errorf("told: %q", all)
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A store notes whom to tell in the transaction that ends a session: the news of it wakes
// who tells.
func TestAClientIsToldAsSoonAsTheNewsIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.app("app", func(c *Client) { c.BackchannelLogoutURI = "https://app.example.org/logout" })
		told := make(chan time.Time, 1)
		h.o.HTTP = &http.Client{Transport: tripper(func(*http.Request) (*http.Response, error) {
			told <- time.Now()
			return &http.Response{StatusCode: 204, Body: io.NopCloser(strings.NewReader(""))}, nil
		})}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		log := feed.NewLog(nil)
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx, log) }()
		time.Sleep(lookAgain / 2)
		began := time.Now()
		if err := h.m.Update(ctx, func(tx Tx) error {
			return tx.PutDelivery(&Delivery{ID: "d", Client: "app", Subject: "alice", SID: "s1", At: h.now, Due: h.now})
		}); err != nil {
			t.Fatal(err)
		}
		log.Append(ctx, began, feed.SessionEnded("s1", "alice", "signed_out", began.Add(time.Hour)))
		if at := <-told; !at.Equal(began) {
			t.Errorf("it is told after %v", at.Sub(began))
		}
		cancel()
		<-done
	})
}
