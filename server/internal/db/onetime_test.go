package db_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// Each form of a one-time token keeps the same promises.
func oneTimes(t *testing.T, run func(t *testing.T, d *desk, issue func(account.OneTime, time.Time) admit.Secret, spend func(string, admit.Secret, time.Time) (string, error))) {
	for name, form := range map[string]struct {
		issue func(*desk, account.OneTime, time.Time) (admit.Secret, error)
		spend func(*desk) func(context.Context, string, admit.Secret, time.Time) (string, error)
	}{
		"opaque": {
			func(d *desk, o account.OneTime, now time.Time) (admit.Secret, error) {
				return d.accounts.IssueOneTime(d.Context(), o, now)
			},
			func(d *desk) func(context.Context, string, admit.Secret, time.Time) (string, error) {
				return d.accounts.SpendOneTime
			},
		},
		"JWT": {
			func(d *desk, o account.OneTime, now time.Time) (admit.Secret, error) {
				return d.accounts.IssueOneTimeJWT(o, now)
			},
			func(d *desk) func(context.Context, string, admit.Secret, time.Time) (string, error) {
				return d.accounts.SpendOneTimeJWT
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			run(t, d, func(o account.OneTime, now time.Time) admit.Secret {
				t.Helper()
				text, err := form.issue(d, o, now)
				if err != nil {
					t.Fatal(err)
				}
				return text
			}, func(purpose string, presented admit.Secret, now time.Time) (string, error) {
				return form.spend(d)(t.Context(), purpose, presented, now)
			})
		})
	}
}

func TestAOneTimeTokenIsSpentOnceByFiftyAtOnceAndAcrossRestarts(t *testing.T) {
	oneTimes(t, func(t *testing.T, d *desk, issue func(account.OneTime, time.Time) admit.Secret, spend func(string, admit.Secret, time.Time) (string, error)) {
		now := time.Now()
		tok := issue(account.OneTime{Purpose: "approve", Subject: "ann"}, now)
		d.restart()
		var good, refused atomic.Int32
		var work sync.WaitGroup
		for range 50 {
			work.Go(func() {
				switch subject, err := spend("approve", tok, now); {
				case err == nil && subject == "ann":
					good.Add(1)
				case errors.Is(err, account.ErrOneTime):
					refused.Add(1)
				default:
					t.Errorf("spent for %q: %v", subject, err)
				}
			})
		}
		work.Wait()
		if good.Load() != 1 || refused.Load() != 49 {
			t.Errorf("%d were good and %d refused, want 1 and 49", good.Load(), refused.Load())
		}
		d.restart()
		if _, err := spend("approve", tok, now); !errors.Is(err, account.ErrOneTime) {
			t.Errorf("after a restart: %v", err)
		}
	})
}

func TestAOneTimeTokenIsGoodForOnePurposeAndNotForLong(t *testing.T) {
	oneTimes(t, func(t *testing.T, d *desk, issue func(account.OneTime, time.Time) admit.Secret, spend func(string, admit.Secret, time.Time) (string, error)) {
		now := time.Now()
		tok := issue(account.OneTime{Purpose: "approve", Subject: "ann", Life: time.Minute}, now)
		for name, try := range map[string]struct {
			purpose string
			tok     admit.Secret
			now     time.Time
		}{
			"another purpose": {"sign in", tok, now},
			"no purpose":      {"", tok, now},
			"too late":        {"approve", tok, now.Add(time.Minute + time.Second)},
			"tampered with":   {"approve", admit.NewSecret(tok.Reveal()[:len(tok.Reveal())-2] + "xx"), now},
			"nothing":         {"approve", admit.Secret{}, now},
		} {
			if _, err := spend(try.purpose, try.tok, try.now); !errors.Is(err, account.ErrOneTime) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if subject, err := spend("approve", tok, now.Add(50*time.Second)); err != nil || subject != "ann" {
			t.Errorf("in time: %q, %v", subject, err)
		}
		long := issue(account.OneTime{Purpose: "approve", Subject: "ann", Life: 1000 * time.Hour}, now)
		if _, err := spend("approve", long, now.Add(account.MaxOneTimeLife+time.Second)); !errors.Is(err, account.ErrOneTime) {
			t.Errorf("after the longest life: %v", err)
		}
		// A token for access is none for this, nor this one for that.
		if _, _, err := d.accounts.VerifyJWT(t.Context(), tok.Reveal()); err == nil {
			t.Error("it is taken for an access token")
		}
		_, access := d.family(account.Grant{Client: account.OwnClient}, now)
		if _, err := spend("", access.Access, now); !errors.Is(err, account.ErrOneTime) {
			t.Errorf("an access token: %v", err)
		}
	})
}

// A backup from before a token was spent does not make it good again.
func TestARestoredDatabaseRevivesNoOneTimeToken(t *testing.T) {
	oneTimes(t, func(t *testing.T, d *desk, issue func(account.OneTime, time.Time) admit.Secret, spend func(string, admit.Secret, time.Time) (string, error)) {
		now := time.Now()
		tok := issue(account.OneTime{Purpose: "approve", Subject: "ann", Life: time.Hour}, now.Add(-time.Minute))
		_, tokens := d.family(account.Grant{Client: account.OwnClient}, now)
		if _, err := d.db.Renew(t.Context(), true, now); err != nil {
			t.Fatal(err)
		}
		if _, err := spend("approve", tok, now); !errors.Is(err, account.ErrOneTime) {
			t.Errorf("spent again: %v", err)
		}
		if subject, err := spend("approve", issue(account.OneTime{Purpose: "approve", Subject: "ann"}, now.Add(time.Second)), now.Add(time.Second)); err != nil || subject != "ann" {
			t.Errorf("one from after: %q, %v", subject, err)
		}
		if tokens, err := d.refresh(tokens.Refresh, "", now); err != nil {
			t.Errorf("a session that is kept: %v", err)
		} else if _, err := d.db.Renew(t.Context(), false, now); err != nil {
			t.Error(err)
		} else if _, err := d.refresh(tokens.Refresh, "", now); !errors.Is(err, account.ErrRefreshToken) {
			t.Errorf("a session that is not: %v", err)
		}
	})
}
