package db_test

import (
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// Somebody who can set the clock of the server, or a bad time server, must not
// keep an owner from changing its account for as long as the clock is behind.
func TestAnAccountCanBeChangedAfterTheClockWasSetBack(t *testing.T) {
	o := newOwner(t, "en")
	o.add("new@example.org", o.begun)
	now := o.begun.Add(-time.Hour)
	for _, value := range []string{"new@example.org", "ann@example.org"} {
		if _, err := o.MakePrimary(t.Context(), o.at(now), value, now); err != nil {
			t.Error(err)
		}
	}
	err := o.ChangePassword(t.Context(), account.Asker{Subject: o.user.ID}, admit.NewSecret(ownPassword), admit.NewSecret("staple another horse"), now)
	if err != nil {
		t.Errorf("ChangePassword: %v", err)
	}
	o.last(now)
	told := false
	for _, m := range o.mail {
		told = told || m.To == "ann@example.org" && strings.Contains(m.Subject, "password was changed") && strings.Contains(m.Links[0], "/link/")
	}
	if !told {
		t.Error("the owner was told of no way back")
	}
}
