package db

import (
	"fmt"
	"testing"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
)

// everyone is what has ended when all have.
var everyone = &account.Endings{Everyone: 1 << 60}

func TestTokensOfOneGrantAndEpochShareAPlaceAndNobodyElseHasIt(t *testing.T) {
	db, _ := newSessions(t)
	now := time.Now().Truncate(time.Minute) // places are kept to the minute
	place := func(p account.Place, until time.Time) (n uint64) {
		t.Helper()
		if err := db.Update(t.Context(), func(tx account.Tx) (err error) {
			n, err = tx.Place(p, until)
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
			used, err := tx.ListUsed(list, after)
			if err != nil {
				return err
			}
			err = tx.EndedPlaces(list, after, everyone, func(n uint64, p account.Place) { all[n] = p })
			if used != (len(all) > 0) {
				t.Errorf("list %d is used: %v", list, used)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	one := account.Place{Grant: "g1", SID: "s1", Subject: "alice", SEV: 3}
	first := place(one, now.Add(time.Minute))
	if again := place(one, now.Add(3*time.Minute)); again != first {
		t.Errorf("the same tokens have places %d and %d", first, again)
	}
	place(one, now.Add(2*time.Minute)) // said before: three
	seen := map[uint64]bool{first: true}
	for _, p := range []account.Place{
		{Grant: "g1", SID: "s1", Subject: "alice", SEV: 4}, {Grant: "g2", SID: "s1", Subject: "alice", SEV: 3}, {Grant: "g1", SID: "s2", Subject: "alice", SEV: 3},
		{Grant: "g1", SID: "s1", Subject: "alice", SEV: 3, Client: "app"},
	} {
		n := place(p, now.Add(time.Minute))
		if seen[n] {
			t.Errorf("%+v has the place of another", p)
		}
		seen[n] = true
	}
	if all := has(0, now); len(all) != 5 || all[first] != one {
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
	for _, want := range []int{2, 2, 0} {
		if n, err := db.SweepPlaces(t.Context(), now.Add(90*time.Second), 2); n != want || err != nil {
			t.Errorf("%d places swept, %v, want %d", n, err, want)
		}
	}
	if all := has(0, now); len(all) != 1 || all[first] != one {
		t.Errorf("after the sweep: %+v", all)
	}
}

func TestOnlyPlacesOfWhatHasEndedAreBrought(t *testing.T) {
	db, _ := newSessions(t)
	until := time.Now().Add(time.Hour)
	all := map[string]account.Place{
		"its session":         {Grant: "g1", SID: "ended", Subject: "a", SEV: 5},
		"its grant":           {Grant: "ended", SID: "s2", Subject: "b", SEV: 5},
		"its client":          {Grant: "g6", SID: "s6", Subject: "f", SEV: 5, Client: "ended"},
		"its subject's epoch": {Grant: "g3", SID: "s3", Subject: "raised", SEV: 5},
		"everyone's epoch":    {Grant: "g4", SID: "s4", Subject: "d", SEV: 2},
		"nothing":             {Grant: "g5", SID: "s5", Subject: "e", SEV: 5},
	}
	e := &account.Endings{Sessions: map[string]bool{"ended": true}, Grants: map[string]bool{"ended": true}, Clients: map[string]bool{"ended": true}, Raised: map[string]uint64{"raised": 6}, Everyone: 3}
	got := map[uint64]account.Place{}
	places := map[string]uint64{}
	if err := db.Update(t.Context(), func(tx account.Tx) error {
		for name, p := range all {
			n, err := tx.Place(p, until)
			if err != nil {
				return err
			}
			places[name] = n
		}
		return tx.EndedPlaces(0, time.Now(), e, func(n uint64, p account.Place) { got[n] = p })
	}); err != nil {
		t.Fatal(err)
	}
	for name, p := range all {
		if is, ok := got[places[name]]; ok != (name != "nothing") || ok && is != p {
			t.Errorf("%s: %+v, %v", name, is, ok)
		}
	}
}

func TestAFullListMakesRoomInTheNext(t *testing.T) {
	db, _ := newSessions(t)
	// All of the first list but for one in a hundred thousand.
	if _, err := db.write.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO status_places (place, grant_id, sid, subject, sev, client_id, until) SELECT i, 'g' || i, '', '', 0, '', 9e15 FROM n`, account.StatusListLen-10); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := db.Update(t.Context(), func(tx account.Tx) error {
		for i := range 100 {
			n, err := tx.Place(account.Place{Grant: fmt.Sprint("x", i)}, now.Add(time.Minute))
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

// What a refresh costs more, in the transaction that it makes anyway.
func BenchmarkPlace(b *testing.B) {
	db, _ := newSessions(b)
	if _, err := db.write.Exec(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
		INSERT INTO status_places (place, grant_id, sid, subject, sev, client_id, until) SELECT 2 * i, 'g' || i, 's' || i, 'u' || i, 3, '', 9e15 FROM n`); err != nil {
		b.Fatal(err)
	}
	for name, p := range map[string]account.Place{"again": {Grant: "g7", SID: "s7", Subject: "u7", SEV: 3}, "new": {Grant: "x", SID: "s", Subject: "u"}} {
		b.Run(name, func(b *testing.B) {
			until := time.Now().Add(time.Minute)
			if err := db.Update(b.Context(), func(tx account.Tx) error {
				for b.Loop() {
					if p.SEV != 3 {
						p.SID = fmt.Sprint(until.UnixNano())
					}
					until = until.Add(50 * time.Millisecond)
					if _, err := tx.Place(p, until); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.Run("ended", func(b *testing.B) {
		e := &account.Endings{Sessions: map[string]bool{"s7": true}, Raised: map[string]uint64{}}
		for i := range 1000 {
			e.Raised[fmt.Sprint("u", 10*i)] = 4
		}
		for b.Loop() {
			n := 0
			if err := db.View(b.Context(), func(tx account.Tx) error {
				return tx.EndedPlaces(0, time.Now(), e, func(uint64, account.Place) { n++ })
			}); err != nil || n != 1001 {
				b.Fatal(n, err)
			}
		}
	})
}
