package limit

import (
	"fmt"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

var began = time.Unix(1_000_000, 0)

func TestManyAccountsFromOneNetworkAreToldOnceAndTheNetworkIsSuspect(t *testing.T) {
	w := NewWatch()
	var told []account.Pattern
	for i := range 200 {
		told = append(told, w.Missed("203.0.113.0/24", fmt.Sprint("user", i), uint64(i), began)...)
	}
	if len(told) != 1 || told[0].Kind != account.Stuffing || told[0].Network != "203.0.113.0/24" || told[0].Accounts < 20 {
		t.Errorf("told %v", told)
	}
	if !w.Suspects("203.0.113.0/24", began) || w.Suspects("198.51.100.0/24", began) {
		t.Error("the wrong network is suspect")
	}
	if w.Suspects("203.0.113.0/24", began.Add(watchFor)) {
		t.Error("it is suspect for ever")
	}
}

func TestOnePasswordAtManyAccountsIsToldWhereverItComesFrom(t *testing.T) {
	w := NewWatch()
	var told []account.Pattern
	for i := range 200 {
		told = append(told, w.Missed(fmt.Sprintf("10.%d.0.0/24", i), fmt.Sprint("user", i), 42, began)...)
	}
	if len(told) != 1 || told[0].Kind != account.Spraying {
		t.Errorf("told %v", told)
	}
	if w.Suspects("10.0.0.0/24", began) || !w.Suspects("10.199.0.0/24", began) {
		t.Error("networks are suspect that did not spray after it was seen, or those that did are not")
	}
}

func TestOnePersonWhoMissesOftenIsNoPattern(t *testing.T) {
	w := NewWatch()
	for i := range 1000 {
		if told := w.Missed("203.0.113.0/24", "ann", uint64(i%3), began); told != nil {
			t.Fatalf("told %v", told)
		}
	}
}

func TestThousandsBehindOneAddressWhoMissAndThenGetInAreNoPattern(t *testing.T) {
	w := NewWatch()
	for i := range 5000 {
		name := fmt.Sprint("user", i)
		w.Passed("203.0.113.0/24", name, began)
		if i%10 == 0 {
			if told := w.Missed("203.0.113.0/24", name, uint64(i), began); told != nil {
				t.Fatalf("told %v", told)
			}
		}
	}
}

func TestAFloodOfNetworksAndPasswordsAreBoundedAndOnesThatSprayAreKept(t *testing.T) {
	w := NewWatch()
	for i := range 100 {
		w.Missed("203.0.113.0/24", fmt.Sprint("user", i), 42, began)
	}
	for i := range 200_000 {
		w.Missed(fmt.Sprint("network", i), "ann", uint64(1000+i), began)
	}
	if len(w.networks) > maxWatched || len(w.passwords) > maxWatched {
		t.Errorf("%d networks and %d passwords are kept", len(w.networks), len(w.passwords))
	}
	if !w.Suspects("203.0.113.0/24", began) {
		t.Error("a flood made a suspect be forgotten")
	}
}

// Years of suspicion after a clock was wrong would be a lock-out.
func TestAClockThatIsSetBackBeginsSketchesAnew(t *testing.T) {
	w := NewWatch()
	for i := range 20 {
		w.Missed("203.0.113.0/24", fmt.Sprint("user", i), uint64(i), began)
	}
	back := began.AddDate(-1, 0, 0)
	for i := range 20 {
		if told := w.Missed("203.0.113.0/24", fmt.Sprint("other", i), uint64(i), back); told != nil {
			t.Fatalf("told %v", told)
		}
	}
}
