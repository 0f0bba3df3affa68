package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"net/http/httptest"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/postgres"
	"github.com/admit-auth/admit/server/internal/postgrestest"
	"github.com/admit-auth/admit/session"
)

// onlyShared is for tests of several servers over one database: they run once, over
// PostgreSQL whatever the other tests run over.
func onlyShared(t testing.TB) {
	t.Helper()
	if TestsPostgres() {
		t.Skip("run already")
	}
}

// replicas opens a database so many times, as servers do that start at once.
func replicas(t testing.TB, url string, n int) []*DB {
	t.Helper()
	all, errs := make([]*DB, n), make([]error, n)
	var starting sync.WaitGroup
	for i := range all {
		starting.Go(func() { all[i], errs[i] = Open(t.Context(), url) })
	}
	starting.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		t.Cleanup(func() { d.Close() })
	}
	return all
}

// listening lets a replica listen until the test ends.
func listening(t testing.TB, d *DB) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { d.Listen(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

func TestOfReplicasThatStartAtOnceOneMigratesAndAllShareAnEpoch(t *testing.T) {
	onlyShared(t)
	all := replicas(t, postgrestest.Shared(t).Database(t), 5)
	var epochs []feed.Epoch
	for _, d := range append(all, replicas(t, all[0].url, 1)...) { // and one that starts later
		var ran int
		if err := d.read.QueryRowContext(t.Context(), "SELECT count(*) FROM migrations").Scan(&ran); err != nil {
			t.Fatal(err)
		}
		known, err := steps(inPostgres)
		if err != nil || ran != len(known) || len(d.Schema().Pending) > 0 {
			t.Errorf("%d of %d migrations ran, %+v, %v", ran, len(known), d.Schema(), err)
		}
		past, _, _, err := d.feed.reading(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		epochs = append(epochs, past.Head().Epoch)
	}
	if slices.Sort(epochs); epochs[0] == (feed.Epoch(0)) || epochs[0] != epochs[len(epochs)-1] {
		t.Errorf("epochs %v, want one", epochs)
	}
}

// A cluster that was promoted, or recovered to an earlier time, has another life;
// so has a database that was made anew from a dump.
func TestADatabaseWithAnotherLifeBeginsOneEpochForAll(t *testing.T) {
	onlyShared(t)
	all := replicas(t, postgrestest.Shared(t).Database(t), 2)
	epoch := func(d *DB) feed.Epoch {
		t.Helper()
		past, _, _, err := d.feed.reading(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return past.Head().Epoch
	}
	before := epoch(all[0])
	if err := all[0].checkLife(t.Context()); err != nil || epoch(all[0]) != before {
		t.Fatalf("the same life: epoch %v after %v, %v", epoch(all[0]), before, err)
	}
	if _, err := all[0].write.ExecContext(t.Context(), "UPDATE feed_head SET life = 'another'"); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if err := d.checkLife(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := epoch(all[0]); after == before || after != epoch(all[1]) {
		t.Errorf("epochs %v and %v after %v", after, epoch(all[1]), before)
	}
}

// The one that numbers first waits to commit, and another wants a number meanwhile:
// if that one could commit before, who follows would step over the first for good.
func TestTheLaterOfTwoNumbersCannotBeCommittedFirst(t *testing.T) {
	onlyShared(t)
	all := replicas(t, postgrestest.Shared(t).Database(t), 3)
	now := time.Now()
	event := func(name string) closing {
		return closing{events: []feed.Event{feed.TokenEnded(name, "", "", now.Add(time.Hour))}}
	}
	first, err := all[0].write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Rollback()
	if err := first.conclude(t.Context(), now, event("first")); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() {
		second, err := all[1].write.BeginTx(t.Context(), nil)
		if err == nil {
			defer second.Rollback()
			if err = second.conclude(t.Context(), now, event("second")); err == nil {
				err = second.Commit()
			}
		}
		told <- err
	}()
	// Wait until the second waits for the first, as PostgreSQL sees it.
	for waits := 0; waits == 0; time.Sleep(time.Millisecond) {
		if err := all[2].read.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := all[2].feed.since(t.Context(), feed.ID{}, time.Now()); err != nil || n.Head.Seq != 0 || len(n.Events) > 0 {
		t.Errorf("before any commit: %+v, %v", n, err)
	}
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	n, err := all[2].feed.since(t.Context(), feed.ID{}, time.Now())
	if err != nil || len(n.Events) != 2 || n.Events[0].Target != "first" || n.Events[1].Target != "second" || n.Head.Seq != 2 {
		t.Errorf("%+v, %v", n, err)
	}
}

// Records of the audit get their ids in the order of commits, too: who follows the
// audit by id would otherwise step over some.
func TestNoFollowerStepsOverAnythingThatReplicasWrite(t *testing.T) {
	onlyShared(t)
	const writers, each = 8, 25
	all := replicas(t, postgrestest.Shared(t).Database(t), 3)
	listening(t, all[2])
	var managers []*session.Manager[struct{}]
	for _, d := range all[:2] {
		s, err := d.Sessions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, err := session.New[struct{}](s, nil)
		if err != nil {
			t.Fatal(err)
		}
		managers = append(managers, m)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var writing sync.WaitGroup
	for w := range writers {
		d, m := all[w%2], managers[w%2]
		writing.Go(func() {
			for i := range each {
				user := fmt.Sprint("u", w)
				at := d.Auditing(ctx, account.SessionEnded, &account.Record{At: time.Now(), Event: "signed_out", Actor: user})
				var err error
				if i%2 == 0 {
					err = d.Update(ctx, func(tx account.Tx) error {
						return errors.Join(tx.Record(&account.Record{At: time.Now(), Event: "noted", Actor: user}),
							tx.Tell(feed.TokenEnded(fmt.Sprint(user, "-", i), "", "", time.Now().Add(time.Hour))))
					})
				} else {
					var begun *session.Session[struct{}]
					if begun, err = m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil), user, nil); err == nil {
						err = m.EndAny(at, begun.SID, "signed_out")
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	var mark int64 // of the audit
	records := 0
	look := func() {
		err := all[2].View(ctx, func(tx account.Tx) error {
			found, _, err := tx.Records(&account.RecordQuery{Newer: mark, Limit: 10_000})
			for _, r := range found {
				mark = max(mark, r.ID)
			}
			records += len(found)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	events, over := 0, false
	var last feed.ID
	enough := errors.New("enough")
	err := all[2].Feed().Follow(ctx, feed.ID{}, func(n feed.News) error {
		for _, e := range n.Events {
			if e.ID.Seq != uint64(events)+1 {
				t.Errorf("number %d is heard after %d", e.ID.Seq, events)
			}
			events++
		}
		last = n.Head
		look()
		if over && events == writers*each {
			return enough
		}
		select {
		case <-done:
			over = true
		default:
		}
		return nil
	})
	look()
	if err != enough || events != writers*each || records != writers*each {
		t.Errorf("%v: %d events up to %v, and %d records, of %d", err, events, last, records, writers*each)
	}
}

// From the call that ends it at one replica to the follower of another.
func TestAnEndingIsHeardByAnotherReplicaWithin50Milliseconds(t *testing.T) {
	onlyShared(t)
	const n = 200
	all := replicas(t, postgrestest.Shared(t).Database(t), 2)
	listening(t, all[1])
	s, err := all[0].Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.New[struct{}](s, nil)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	heard := map[string]time.Time{} // guarded by mu
	came := make(chan struct{}, n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go all[1].Feed().Follow(ctx, feed.ID{}, func(news feed.News) error {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range news.Events {
			heard[e.Target] = time.Now()
			came <- struct{}{}
		}
		return nil
	})
	var took, since []time.Duration
	for i := range n {
		begun, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil), fmt.Sprint("u", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		asked := time.Now()
		if err := m.EndAny(t.Context(), begun.SID, "signed_out"); err != nil {
			t.Fatal(err)
		}
		acknowledged := time.Now()
		select {
		case <-came:
		case <-time.After(5 * time.Second):
			t.Fatal("it is not heard")
		}
		mu.Lock()
		at := heard[begun.SID]
		mu.Unlock()
		if i > 0 { // the first may have been before it listened
			took, since = append(took, at.Sub(asked)), append(since, max(0, at.Sub(acknowledged)))
		}
	}
	slices.Sort(took)
	slices.Sort(since)
	p := func(all []time.Duration, q int) time.Duration { return all[len(all)*q/100] }
	t.Logf("after it was acknowledged: p50 %v, p99 %v, slowest %v; from the call on: p50 %v, p99 %v",
		p(since, 50), p(since, 99), since[len(since)-1], p(took, 50), p(took, 99))
	if p(since, 50) > 50*time.Millisecond { // p99 is a figure of a machine that does nothing else
		t.Errorf("half of them are heard after more than 50 ms")
	}
}

// What is told while a replica is cut off is read from the log, and its connections
// are made again.
func TestAReplicaThatLostItsConnectionsCatchesUp(t *testing.T) {
	onlyShared(t)
	server := postgrestest.Shared(t)
	all := replicas(t, server.Database(t), 2)
	listening(t, all[1])
	tell := func(name string) {
		t.Helper()
		err := all[0].Update(t.Context(), func(tx account.Tx) error {
			return tx.Tell(feed.TokenEnded(name, "", "", time.Now().Add(time.Hour)))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var heard []string
	tell("a")
	enough := errors.New("enough")
	var after feed.ID
	for len(heard) < 3 {
		err := all[1].Feed().Follow(ctx, after, func(n feed.News) error {
			for _, e := range n.Events {
				heard = append(heard, e.Target)
			}
			after = n.Head
			switch len(heard) {
			case 1:
				// Every connection to this database but the one that asks, the listener's too.
				if _, err := all[0].write.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
					t.Error(err)
				}
				tell("b")
			case 2:
				tell("c")
			case 3:
				return enough
			}
			return nil
		})
		if err != enough && admit.KindOf(err) != admit.Unavailable {
			t.Fatal(err)
		}
	}
	if got := strings.Join(heard, ""); got != "abc" {
		t.Errorf("heard %q", got)
	}
	// Woken again, not only by the heartbeat: the listener is back.
	var listeners int
	for listeners == 0 {
		if err := all[0].read.QueryRowContext(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'").Scan(&listeners); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatOneReplicaChangesTheOthersDoNotRemember(t *testing.T) {
	onlyShared(t)
	all := replicas(t, postgrestest.Shared(t).Database(t), 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if all[1].Current() {
		t.Error("copies are good before anything was heard")
	}
	listening(t, all[1])
	var changes, keys atomic.Int64
	var done sync.WaitGroup
	done.Go(func() {
		all[1].Heed(ctx, func(k bool) error {
			changes.Add(1)
			if k {
				keys.Add(1)
			}
			return nil
		})
	})
	wait := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	wait("it never becomes current", all[1].Current)
	n, k := changes.Load(), keys.Load()
	update := func(fn func(account.Tx) error) {
		t.Helper()
		if err := all[0].Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx account.Tx) error { return addUser(tx, "ann") })
	wait("a new user is not heard of", func() bool { return changes.Load() == n+1 })
	if keys.Load() != k {
		t.Error("keys were read for a user")
	}
	update(func(tx account.Tx) error {
		return tx.PutKey(account.Key{ID: "k", Purpose: "cookies", State: account.KeyActive, CreatedAt: time.Now()})
	})
	wait("a new key is not heard of", func() bool { return keys.Load() == k+1 })
	update(func(tx account.Tx) error { return tx.Record(&account.Record{At: time.Now(), Event: "x"}) })
	cancel()
	done.Wait()
	if changes.Load() != n+2 {
		t.Errorf("%d changes, want %d", changes.Load(), n+2)
	}
	wait("copies are good for ever without news", func() bool { return !all[1].Current() })
}

// A header may hold any byte.
func TestTextThatPostgreSQLRefusesIsNoOutage(t *testing.T) {
	onlyShared(t)
	d := replicas(t, postgrestest.Shared(t).Database(t), 1)[0]
	for _, text := range []string{"\x00", "a\xff", "\xed\xa0\x80"} {
		err := d.Update(t.Context(), func(tx account.Tx) error {
			if _, err := tx.UserByIdentifier(text); !errors.Is(err, account.ErrUnknownUser) {
				return err
			}
			return tx.Record(&account.Record{At: time.Now(), Event: "signed_in", UserAgent: text, Address: text})
		})
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Nobody may hold what all wait for longer than some seconds: a replica that was
// stopped where it stood, or cut off.
func TestAReplicaThatStandsStillIsNotWaitedForForLong(t *testing.T) {
	onlyShared(t)
	all := replicas(t, postgrestest.Shared(t).Database(t), 2)
	tx, err := all[0].write.beginWriting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	begun := time.Now()
	err = all[1].Update(t.Context(), func(tx account.Tx) error { return addUser(tx, "ann") })
	if took := time.Since(begun); err != nil || took < stalled/2 || took > 2*stalled {
		t.Errorf("%v after %v", err, took)
	}
}

// An outage is an answer in time, and is over when it is over.
func TestAPostgreSQLOutageIsAnAnswerInTime(t *testing.T) {
	onlyShared(t)
	if testing.Short() {
		t.Skip("with -short: it waits for time-outs")
	}
	server := postgrestest.Start(t)
	d := replicas(t, server.Database(t), 1)[0]
	listening(t, d)
	calls := map[string]func() error{
		"View": func() error {
			return d.View(t.Context(), func(tx account.Tx) error { _, err := tx.Roles(); return err })
		},
		"Update": func() error {
			return d.Update(t.Context(), func(tx account.Tx) error { _, err := tx.Roles(); return err })
		},
		"Ping": func() error { return d.Ping(t.Context()) },
		"Outbox": func() error {
			ctx, cancel := context.WithTimeout(t.Context(), readTimeout)
			defer cancel()
			_, _, err := d.Outbox(ctx)
			return err
		},
		"feed": func() error { _, err := d.feed.since(t.Context(), feed.ID{}, time.Now()); return err },
	}
	ask := func(what string, within time.Duration, ok func(error) bool) {
		t.Helper()
		var asking sync.WaitGroup
		for name, call := range calls {
			for range 10 {
				asking.Go(func() {
					begun := time.Now()
					err := call()
					if took := time.Since(begun); !ok(err) || took > within {
						t.Errorf("%s, %s: %v after %v", what, name, err, took)
					}
				})
			}
		}
		asking.Wait()
	}
	const slack = 4 * time.Second // of a machine that is busy
	slow := func() (over func()) {
		tx, err := d.write.BeginTx(t.Context(), nil)
		if err == nil {
			_, err = tx.ExecContext(t.Context(), "SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE user_roles, instance, outbox, feed_head IN ACCESS EXCLUSIVE MODE")
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() { tx.Rollback() }
	}
	away := func(err error) bool { return admit.KindOf(err) == admit.Unavailable }
	good := func(err error) bool { return err == nil }
	ask("at work", slack, good)
	over := slow()
	ask("slow", writeTimeout+slack, away)
	over()
	ask("quick again", writeTimeout+slack, good)
	server.Pause()
	ask("paused", writeTimeout+slack, away)
	server.Resume()
	ask("resumed", writeTimeout+slack, good)
	server.Kill()
	ask("killed", slack, away)
	server.Restart(t)
	ask("started again", writeTimeout+slack, good)
	server.Stop()
	ask("stopped", slack, away)
	server.Restart(t)
	ask("started after a stop", writeTimeout+slack, good)
}

// Numbers and bytes come back as they went in, through a statement that is new and
// one that is known.
func TestValuesGoToPostgreSQLAndBackUnchanged(t *testing.T) {
	onlyShared(t)
	a, err := postgres.Parse(postgrestest.Shared(t).Database(t))
	if err != nil {
		t.Fatal(err)
	}
	pool := postgres.Open(a, 1, "")
	defer pool.Close()
	for range 2 {
		for _, v := range []any{int64(-1 << 63), int64(0), 1.5, true, false, "", "a'b\"?$1\n张", []byte{}, []byte{0, 0xff, '\\'}, nil} {
			kind := map[bool]string{true: "text"}[v == nil]
			switch v.(type) {
			case int64:
				kind = "bigint"
			case float64:
				kind = "double precision"
			case bool:
				kind = "boolean"
			case string:
				kind = "text"
			case []byte:
				kind = "bytea"
			}
			var got any
			if err := pool.QueryRow("SELECT CAST($1 AS "+kind+")", v).Scan(&got); err != nil || fmt.Sprint(got) != fmt.Sprint(v) {
				t.Errorf("%T %v came back as %T %v, %v", v, v, got, got, err)
			}
		}
	}
	// A commit of what has failed is none.
	tx, err := pool.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("SELECT 1/0"); err == nil {
		t.Error("a division by zero succeeds")
	}
	if err := tx.Commit(); err == nil || errors.Is(err, sql.ErrTxDone) {
		t.Errorf("Commit: %v", err)
	}
}

func TestAURLOfAnotherMachineAsksForACertificate(t *testing.T) {
	for url, good := range map[string]bool{
		"postgres://u@127.0.0.1/d": true, "postgres://u@/d?host=/run/postgresql": true, "postgresql://u:p@db.example.org:5433/d": true,
		"postgres://u@a.example.org,b.example.org/d?target_session_attrs=read-write": true, "postgres://u@h/d?sslmode=disable": true,
		"mysql://u@h/d": false, "postgres://u@h:notaport/d": false, "postgres://u@h/d?sslmode=maybe": false, "u:secret@h": false,
	} {
		_, err := postgres.Parse(url)
		if (err == nil) != good || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
