package db

import (
	"fmt"
	"testing"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
)

func TestTokensOfOneGrantAndEpochShareAPlaceAndNobodyElseHasIt(t *testing.T) {
	db, _ := newSessions(t)
	now := time.Now()
	place := func(p account.Place, until time.Time, now time.Time) (n uint64) {
		t.Helper()
		if err := db.Update(t.Context(), func(tx account.Tx) (err error) {
			n, err = tx.Place(p, until, now)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	has := func(list uint64, after time.Time) map[uint64]account.Place {
		t.Helper()
		all := map[uint64]account.Place{}
		if err := db.View(t.Context(), func(tx account.Tx) error {
			return tx.EachPlace(list, after, func(n uint64, p account.Place) { all[n] = p })
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	one := account.Place{Grant: "g1", SID: "s1", Subject: "alice", SEV: 3}
	first := place(one, now.Add(time.Minute), now)
	if again := place(one, now.Add(3*time.Minute), now); again != first {
		t.Errorf("the same tokens have places %d and %d", first, again)
	}
	place(one, now.Add(2*time.Minute), now) // said before: three
	seen := map[uint64]bool{first: true}
	for _, p := range []account.Place{
		{Grant: "g1", SID: "s1", Subject: "alice", SEV: 4}, {Grant: "g2", SID: "s1", Subject: "alice", SEV: 3}, {Grant: "g1", SID: "s2", Subject: "alice", SEV: 3},
	} {
		n := place(p, now.Add(time.Minute), now)
		if seen[n] {
			t.Errorf("%+v has the place of another", p)
		}
		seen[n] = true
	}
	if all := has(0, now); len(all) != 4 || all[first] != one {
		t.Errorf("%+v", all)
	}
	if all := has(0, now.Add(150*time.Second)); len(all) != 1 || all[first] != one {
		t.Errorf("after two and a half minutes: %+v", all)
	}
	for _, list := range []uint64{1, 1 << 30, 1 << 45, 1<<64 - 1} {
		if all := has(list, now); len(all) != 0 {
			t.Errorf("list %d: %+v", list, all)
		}
	}
	// What is over makes room, a few at a time.
	place(account.Place{Grant: "g9", SID: "s9", Subject: "bob", SEV: 1}, now.Add(time.Hour), now.Add(time.Hour/2))
	var rows int
	if err := db.read.QueryRow("SELECT count(*) FROM status_places").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

func TestAFullListMakesRoomInTheNext(t *testing.T) {
	db, _ := newSessions(t)
	// All of the first list but for one in a hundred thousand.
	if _, err := db.write.Exec(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO status_places (place, grant_id, sid, subject, sev, until) SELECT i, 'g' || i, '', '', 0, 9e15 FROM n`, account.StatusListLen-10); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := db.Update(t.Context(), func(tx account.Tx) error {
		for i := range 100 {
			n, err := tx.Place(account.Place{Grant: fmt.Sprint("x", i)}, now.Add(time.Minute), now)
			if err != nil {
				return err
			}
			if n < account.StatusListLen-10 || n >= 100*account.StatusListLen {
				t.Errorf("place %d", n)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatTheFeedToldIsReadInOneTransaction(t *testing.T) {
	db, _ := newSessions(t)
	now := time.Now()
	if err := db.Update(t.Context(), func(tx account.Tx) error {
		return tx.Tell(feed.GrantEnded("g1", "alice", "test", now.Add(time.Minute)), feed.GrantEnded("g2", "alice", "test", now.Add(-time.Minute)))
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.View(t.Context(), func(tx account.Tx) error {
		events, err := tx.Told(now)
		if len(events) != 1 || events[0].Target != "g1" {
			t.Errorf("%+v", events)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
