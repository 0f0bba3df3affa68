package db_test

import (
	"errors"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

func TestAnApprovalBelongsToASessionAndAFreshProof(t *testing.T) {
	o := newOwner(t, "en")
	in := func(sid string, proved time.Duration) account.Asker {
		a := o.at(o.begun.Add(-proved))
		a.SID = sid
		return a
	}
	for _, tt := range []struct {
		name string
		a    account.Asker
		want error
	}{
		{"of a moment ago", in("s1", 0), nil},
		{"five minutes old", in("s1", 5*time.Minute), nil},
		{"older", in("s1", 5*time.Minute+time.Millisecond), admit.ErrProof},
		{"without a session", in("", 0), account.ErrApprovalSession},
	} {
		approval, err := o.Approve(t.Context(), tt.a, "transfer", nil, o.begun)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if err != nil {
			continue
		}
		for _, other := range []account.Asker{{SID: "s1"}, {Subject: o.user.ID}, in("s2", 0)} {
			if err := o.Redeem(t.Context(), other, approval, "transfer", nil, o.begun); !errors.Is(err, account.ErrApprovalSession) {
				t.Errorf("%s: spent by %+v: %v", tt.name, other, err)
			}
		}
		if err := o.Redeem(t.Context(), in("s1", time.Hour), approval, "transfer", []byte(" { } "), o.begun.Add(5*time.Minute-time.Millisecond)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	// What is settled by a proof of the address takes approvals along, as it does
	// everything that was begun before it.
	approval, err := o.Approve(t.Context(), in("s1", 0), "transfer", nil, o.begun)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.DeleteOwn(t.Context(), in("s1", 0), "ann@example.org", o.begun); err != nil {
		t.Fatal(err)
	}
	if err := o.Redeem(t.Context(), in("s1", 0), approval, "transfer", nil, o.begun); !errors.Is(err, account.ErrApprovalEnded) {
		t.Errorf("after the account is gone: %v", err)
	}
}
