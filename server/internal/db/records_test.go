package db

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

var start = time.UnixMilli(1_700_000_000_000)

// perBlock records stand in each block: gaps between ids make blocks of few, and
// tests quick.
const (
	perBlock = 256
	gap      = blockSize / perBlock
)

// fill adds n records to the audit, as time goes by, and back by hours now and then.
func fill(t testing.TB, d *DB, n int, rng *rand.Rand, from int) int {
	t.Helper()
	events := []string{"signed_in", "signed_in", "signed_in", "signed_out", "sign_in_refused"}
	err := d.Update(t.Context(), func(tx account.Tx) error {
		for i := from; i < from+n; i++ {
			at := start.Add(time.Duration(i) * time.Second)
			if i/100%7 == 3 {
				at = at.Add(-5 * time.Hour)
			}
			event, subject, reason := events[rng.IntN(len(events))], fmt.Sprint("u", rng.IntN(50)), ""
			actor := subject
			switch {
			case i%400 == 17:
				event, actor, reason = "user_disabled", "operator", "Needle in it"
			case event == "sign_in_refused":
				actor = ""
			}
			err := tx.(*txn).exec(`INSERT INTO audit (id, at, subject, actor, event, detail, reason, sid, address, user_agent, request_id)
				VALUES (coalesce((SELECT max(id) FROM audit), 0) + ?, ?, ?, ?, ?, '', ?, '', '', '', ?)`, gap, at.UnixMilli(), subject, actor, event, reason, fmt.Sprint("r", i))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return from + n
}

// stored reads every record.
func stored(t testing.TB, d *DB) (all []account.Record) {
	t.Helper()
	read(t, d, account.RecordQuery{OldestFirst: true, Limit: 1000}, func(page []account.Record) { all = append(all, page...) })
	return all
}

// read asks until there are no more, and returns how often.
func read(t testing.TB, d *DB, q account.RecordQuery, hear func([]account.Record)) (calls int) {
	t.Helper()
	for {
		calls++
		var next account.Mark
		err := d.View(t.Context(), func(tx account.Tx) error {
			found, n, err := tx.Records(&q)
			next = n
			hear(found)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if q.From = next; next == (account.Mark{}) {
			return calls
		}
	}
}

func surveyed(t testing.TB, d *DB) {
	t.Helper()
	if err := d.SurveyAudit(t.Context(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// matches is what a query says, without any haste.
func matches(q account.RecordQuery, r account.Record) bool {
	return (q.Subject == "" || q.Subject == r.Subject) && (q.Actor == "" || q.Actor == r.Actor) && (q.Event == "" || q.Event == r.Event) &&
		(q.RequestID == "" || q.RequestID == r.RequestID) && (q.Since.IsZero() || !r.At.Before(q.Since)) && (q.Until.IsZero() || r.At.Before(q.Until)) &&
		r.ID > q.Newer && (q.Text == "" || strings.Contains(strings.ToLower(r.Detail+" "+r.Reason), strings.ToLower(q.Text)))
}

func TestASearchOfTheAuditFindsWhatIsThereWhateverIsKnownOfIt(t *testing.T) {
	d, err := Open(t.Context(), NewPlace(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	filled := fill(t, d, 5*perBlock+40, rng, 0)
	some := func(n int, values ...string) string {
		if rng.IntN(n) > 0 {
			return ""
		}
		return values[rng.IntN(len(values))]
	}
	compare := func(state string) {
		t.Helper()
		all := stored(t, d)
		found := 0
		for range 40 {
			q := account.RecordQuery{
				Subject: some(4, "u7", "u8", "nobody", "erased-7"), Actor: some(4, "operator", "u7", "", "erased-7"), Event: some(3, "signed_out", "user_disabled", "none"),
				RequestID: some(6, "r300", "r0", "r1100", "none"), Text: some(6, "needle"), OldestFirst: rng.IntN(2) == 0, Limit: 1 + rng.IntN(300),
			}
			if rng.IntN(3) == 0 {
				q.Since = start.Add(time.Duration(rng.IntN(2_000)) * time.Second)
			}
			if rng.IntN(3) == 0 {
				q.Until = start.Add(time.Duration(rng.IntN(2_000)) * time.Second)
			}
			if rng.IntN(4) == 0 {
				q.Newer, q.OldestFirst = int64(rng.IntN(25_000)), true
			}
			var want, got []int64
			for _, r := range all {
				if matches(q, r) {
					want = append(want, r.ID)
				}
			}
			if !q.OldestFirst {
				slices.Reverse(want)
			}
			read(t, d, q, func(page []account.Record) {
				if len(page) > q.Limit {
					t.Errorf("%s: %+v gives %d records", state, q, len(page))
				}
				for _, r := range page {
					got = append(got, r.ID)
				}
			})
			if !slices.Equal(got, want) {
				t.Fatalf("%s: %+v finds %d records, want %d", state, q, len(got), len(want))
			}
			found += len(got)
		}
		if found == 0 {
			t.Errorf("%s: nothing was ever found", state)
		}
	}
	compare("nothing is known")
	surveyed(t, d)
	if left, err := d.missingBlocks(t.Context()); err != nil || len(left) != 0 {
		t.Fatalf("%v are left, %v", left, err)
	}
	compare("all full blocks are known")
	filled = fill(t, d, 2*perBlock, rng, filled)
	compare("more were added")
	do := func(fn func(account.Tx) error) {
		t.Helper()
		if err := d.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	do(func(tx account.Tx) error { return tx.Erase("u7", "erased-7") })
	compare("a user was erased")
	surveyed(t, d)
	compare("and all is known again")
	for range 12 {
		do(func(tx account.Tx) error { _, err := tx.SweepRecords(start.Add(400*time.Second), 50); return err })
	}
	compare("the oldest went")
	do(func(tx account.Tx) error {
		for n := 1; n > 0; {
			var err error
			if n, err = tx.SweepRecords(start.AddDate(1, 0, 0), 10_000); err != nil {
				return err
			}
		}
		return nil
	})
	if left := stored(t, d); len(left) != 0 {
		t.Fatalf("%d records are left", len(left))
	}
	fill(t, d, 2*perBlock, rng, filled) // with ids that were another's
	compare("all went, and new ones came")
}

func TestASearchForWhatIsRareLooksAtFewRecords(t *testing.T) {
	d, err := Open(t.Context(), NewPlace(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	fill(t, d, 14*perBlock, rand.New(rand.NewPCG(1, 2)), 0)
	surveyed(t, d)
	for name, q := range map[string]account.RecordQuery{
		"a request":    {RequestID: "r100"},
		"no request":   {RequestID: "none"},
		"an early day": {Until: start.Add(-6 * time.Hour)},
		"no actor":     {Actor: "nobody"},
	} {
		q.Limit = 50_000
		if calls := read(t, d, q, func([]account.Record) {}); calls != 1 {
			t.Errorf("%s takes %d calls", name, calls)
		}
	}
}

func FuzzAFilterHasWhatWasAdded(f *testing.F) {
	f.Add("actor=operator", "event=signed_in")
	f.Fuzz(func(t *testing.T, a, b string) {
		in := make(filter, filterBytes)
		in.add(a)
		in.add(b)
		if !in.mayHave(a) || !in.mayHave(b) || !filter(nil).mayHave(a) {
			t.Errorf("%q or %q is not there", a, b)
		}
	})
}

func TestAFilterOfAFullBlockIsRarelyWrong(t *testing.T) {
	in := make(filter, filterBytes)
	for i := range 2 * blockSize {
		in.add(fmt.Sprint("request_id=", i))
	}
	wrong := 0
	for i := range 10_000 {
		if in.mayHave(fmt.Sprint("request_id=other", i)) {
			wrong++
		}
	}
	if wrong > 100 {
		t.Errorf("it takes %d of 10,000 for what it has not", wrong)
	}
	t.Logf("%d of 10,000", wrong)
}

// A database that was filled before, by the program that made five indexes.
func TestADatabaseWithTheFormerIndexesComesToHaveTheOneSchema(t *testing.T) {
	OfAFile(t)
	schema := func(file string) string {
		d, err := Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		all, err := texts(t.Context(), d.read, "SELECT coalesce(sql, '') FROM sqlite_master WHERE tbl_name LIKE 'audit%' ORDER BY name")
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(strings.Join(all, "\n"), "IF NOT EXISTS ", "")
	}
	file := EmptyPlace(t)
	fresh := schema(file)
	d, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		"DROP TABLE audit_blocks", "DROP TABLE audit_filters", "DELETE FROM migrations WHERE name LIKE '%0006%'", "DROP INDEX audit_subject",
		"CREATE INDEX audit_by_subject ON audit (subject, at)", "CREATE INDEX audit_by_actor ON audit (actor, at)", "CREATE INDEX audit_by_event ON audit (event, at)",
		"CREATE INDEX audit_by_time ON audit (at)", "CREATE INDEX audit_by_request ON audit (request_id)",
	} {
		if _, err := d.write.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := schema(file); got != fresh {
		t.Errorf("the schema is\n%s\nwant\n%s", got, fresh)
	}
}
