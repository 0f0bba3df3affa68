package limit

import (
	"fmt"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

func TestABudgetAllowsABurstAndThenOneEach(t *testing.T) {
	l := New()
	b := account.Budget{Burst: 3, Every: time.Second}
	now := time.Unix(1000, 0)
	for i := range 3 {
		if wait := l.Take("k", b, now); wait != 0 {
			t.Fatalf("try %d waits %v", i, wait)
		}
	}
	if wait := l.Take("k", b, now); wait != time.Second {
		t.Errorf("the fourth try waits %v, want 1s", wait)
	}
	if wait := l.Take("other", b, now); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
	if wait := l.Take("k", b, now.Add(time.Second)); wait != 0 {
		t.Errorf("after a second: waits %v", wait)
	}
}

func TestARefundIsATryMore(t *testing.T) {
	l := New()
	b := account.Budget{Burst: 1, Every: time.Hour}
	now := time.Unix(1000, 0)
	for range 100 {
		if wait := l.Take("k", b, now); wait != 0 {
			t.Fatalf("waits %v", wait)
		}
		l.Refund("k", b)
	}
}

func TestAFloodOfKeysIsBoundedAndKeepsWhoOwesMost(t *testing.T) {
	l := New()
	now := time.Unix(1000, 0)
	debtor := account.Budget{Burst: 1, Every: time.Hour}
	l.Take("debtor", debtor, now)
	for i := range 3 * maxKeys {
		l.Take(fmt.Sprint(i), account.Budget{Burst: 5, Every: time.Second}, now)
	}
	n := 0
	for i := range l.shards {
		n += len(l.shards[i].full)
	}
	if n > maxKeys {
		t.Errorf("%d keys are kept, want at most %d", n, maxKeys)
	}
	if wait := l.Take("debtor", debtor, now); wait == 0 {
		t.Error("a flood of other keys made a spent budget whole")
	}
}

// A clock that was ahead leaves budgets that are whole in a year only.
func TestAClockThatIsSetBackLeavesABudgetSpentButForOneTry(t *testing.T) {
	l := New()
	b := account.Budget{Burst: 3, Every: time.Minute}
	now := time.Unix(100_000_000, 0)
	l.Take("k", b, now)
	back := now.AddDate(-1, 0, 0)
	if wait := l.Take("k", b, back); wait != 0 {
		t.Errorf("the one try waits %v", wait)
	}
	if wait := l.Take("k", b, back); wait != time.Minute {
		t.Errorf("the one after it waits %v", wait)
	}
	if wait := l.Take("k", b, back.Add(time.Minute)); wait != 0 {
		t.Errorf("and a minute later: %v", wait)
	}
}
