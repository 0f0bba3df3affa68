package db_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/revocation"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// Who accepts tokens without asking hears of a changed role, and no session ends.
func TestARoleThatIsGivenOrTakenMakesTokensStaleAndEndsNoSession(t *testing.T) {
	d := database(t)
	s := accounts(t, d, cookie.GenerateKey())
	now := time.Now()
	user, _, err := s.SignUp(t.Context(), account.SignUp{Identifier: "ann", Password: admit.NewSecret(ownPassword)}, account.Origin{}, now)
	if err != nil {
		t.Fatal(err)
	}
	store, err := d.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.New[struct{}](store, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil)
	begun, err := m.Start(w, r, user.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", strings.Split(w.Header().Get("Set-Cookie"), ";")[0])
	set := revocation.New(nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go set.Run(ctx, d.Feed())
	ready := time.Now().Add(10 * time.Second)
	check := func(epoch uint64) error {
		d := revocation.IDs{Subject: user.ID, SEV: epoch}.Digest()
		return set.Check(&d, time.Now())
	}
	for check(begun.Epoch) != nil {
		if time.Now().After(ready) {
			t.Fatal("the feed is not heard")
		}
		time.Sleep(time.Millisecond)
	}

	by := account.By{Actor: "operator"}
	for n, tt := range []struct {
		name   string
		do     func() error
		raises bool
	}{
		{"given", func() error { return s.Grant(t.Context(), user.ID, "editor", by, now) }, true},
		{"given twice", func() error { return s.Grant(t.Context(), user.ID, "editor", by, now) }, false},
		{"taken", func() error { return s.Revoke(t.Context(), user.ID, "editor", by, now) }, true},
		{"taken twice", func() error { return s.Revoke(t.Context(), user.ID, "editor", by, now) }, false},
		{"renamed", func() error {
			name := "Ann"
			_, err := s.Change(t.Context(), user.ID, account.UserChange{Name: &name}, by, now)
			return err
		}, false},
	} {
		before, err := m.Check(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.do(); err != nil {
			t.Fatal(err)
		}
		after, err := m.Check(r)
		if err != nil || after.SID != begun.SID {
			t.Fatalf("%d %s: the session is %v, %v", n, tt.name, after, err)
		}
		if raised := after.Epoch == before.Epoch+1; raised != tt.raises || !raised && after.Epoch != before.Epoch {
			t.Errorf("%d %s: the epoch went from %d to %d", n, tt.name, before.Epoch, after.Epoch)
		}
		if !tt.raises {
			continue
		}
		changed := time.Now()
		for !errors.Is(check(before.Epoch), revocation.ErrStaleClaims) {
			if time.Since(changed) > time.Second {
				t.Fatalf("%s: a verifier has heard nothing after %v", tt.name, time.Since(changed))
			}
			time.Sleep(time.Millisecond)
		}
		if err := check(after.Epoch); err != nil {
			t.Errorf("%s: a token made after it: %v", tt.name, err)
		}
	}
}
