package copies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sessiontest"
)

func TestCopiesInRedisKeepThePromises(t *testing.T) {
	redis := startRedis(t)
	var n atomic.Int64
	sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
		r := newReplica(t, redis.url(), session.NewMemory(nil), func(o *Options) { o.Prefix = fmt.Sprint("t", n.Add(1), ":") })
		return sessiontest.Backend{Store: r.Store()}
	})
}

// FLUSHALL comes all the time, at any moment of a read and of a write.
func TestFlushingRedisLosesAndRevivesNothing(t *testing.T) {
	redis := startRedis(t)
	var n, flushed atomic.Int64
	var work sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	work.Go(func() {
		for ctx.Err() == nil {
			redis.must("FLUSHALL")
			flushed.Add(1)
			time.Sleep(500 * time.Microsecond)
		}
	})
	sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
		r := newReplica(t, redis.url(), session.NewMemory(nil), func(o *Options) { o.Prefix = fmt.Sprint("t", n.Add(1), ":") })
		return sessiontest.Backend{Store: session.NewSharedNear(r.Store(), 0)}
	})
	stop()
	work.Wait()
	if flushed.Load() < 100 {
		t.Errorf("%d times flushed: the test tests nothing", flushed.Load())
	}
}

func TestARecordIsReadFromTheDatabaseOnceForAllProcesses(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	a, b := newReplica(t, redis.url(), db), newReplica(t, redis.url(), db)
	v := mustAdd(t, a.Store(), "k", "one")
	for range 10 {
		wants(t, a.Store(), "k", "one")
		wants(t, b.Store(), "k", "one")
	}
	if n := db.reads.Load(); n != 1 {
		t.Errorf("twenty reads asked the database %d times, want 1", n)
	}
	mustSwap(t, b.Store(), "k", v, "two")
	wants(t, a.Store(), "k", "two")
	if err := a.Store().Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Store().Get(t.Context(), "k"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("after the delete: %v", err)
	}
}

// slow has reads that take a while after they have read.
type slow struct {
	session.Store
	gate, read chan struct{}
}

func (s *slow) Get(ctx context.Context, key string) (session.Item, error) {
	it, err := s.Store.Get(ctx, key)
	if key == "k" {
		s.read <- struct{}{}
		<-s.gate
	}
	return it, err
}

func TestAFillThatRacedAnEndingLeavesNoOldCopy(t *testing.T) {
	redis := startRedis(t)
	for name, between := range map[string]func(){"": func() {}, "and a FLUSHALL": func() { redis.must("FLUSHALL") }} {
		t.Run("an ending "+name, func(t *testing.T) {
			db := session.NewMemory(nil)
			gated := &slow{db, make(chan struct{}), make(chan struct{}, 100)}
			a, b := newReplica(t, redis.url(), gated), newReplica(t, redis.url(), db)
			v := mustAdd(t, b.Store(), "k", "alive")
			done := make(chan struct{})
			go func() {
				defer close(done)
				wants(t, a.Store(), "k", "alive")
			}()
			<-gated.read
			between()
			mustSwap(t, b.Store(), "k", v, "ended")
			between()
			close(gated.gate)
			<-done
			wants(t, b.Store(), "k", "ended")
			wants(t, a.Store(), "k", "ended")
		})
	}
}

// The session is ended while Redis cannot be reached, and Redis comes back with the
// copy that it had.
func TestACopyThatCouldNotBeTakenAwayRevivesNothing(t *testing.T) {
	for name, away := range map[string]func(*server, *wire) (back func()){
		"paused": func(s *server, w *wire) func() { s.pause(); return s.resume },
		"cut":    func(s *server, w *wire) func() { w.set(true); return func() { w.set(false) } },
		"slow": func(s *server, w *wire) func() {
			w.delay.Store(int64(time.Second))
			return func() { w.delay.Store(0) }
		},
		"restarted from its snapshot": func(s *server, w *wire) func() {
			s.must("SAVE")
			s.kill()
			return s.run
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := startRedis(t)
			w := newWire(t, redis)
			db := newDatabase()
			r := newReplica(t, w.url(), db)
			v := mustAdd(t, r.Store(), "k", "alive")
			wants(t, r.Store(), "k", "alive") // which makes the copy
			wants(t, r.Store(), "k", "alive")
			if s := r.Stats(); s.Hits == 0 {
				t.Fatalf("%+v: the test tests nothing", s)
			}
			back := away(redis, w)
			begun := time.Now()
			mustSwap(t, r.Store(), "k", v, "ended")
			wants(t, r.Store(), "k", "ended")
			if took := time.Since(begun); took > 1500*time.Millisecond {
				t.Errorf("without Redis a write and a read took %v", took)
			}
			for range 100 {
				begun := time.Now()
				wants(t, r.Store(), "k", "ended")
				if took := time.Since(begun); took > 600*time.Millisecond {
					t.Errorf("without Redis a read took %v", took)
				}
			}
			eventually(t, "it is told", func() bool { return r.Stats().Down() })
			back()
			r.waitUp(t)
			for range 5 {
				wants(t, r.Store(), "k", "ended")
			}
			mustAdd(t, r.Store(), "other", "alive") // what was written meanwhile may be held for a while
			wants(t, r.Store(), "other", "alive")
			before := r.Stats().Hits
			wants(t, r.Store(), "other", "alive")
			if r.Stats().Hits == before {
				t.Error("Redis is back, and there are no hits")
			}
			if s := r.Stats(); s.Bypassed || s.Why != nil {
				t.Errorf("Redis is back: %+v", s)
			}
		})
	}
}

func TestAStartIsNoOutageOfRedis(t *testing.T) {
	c, err := New(Options{
		URL: "redis://127.0.0.1:1", Database: session.NewMemory(nil), Log: slog.New(slog.DiscardHandler),
		Keys: func() [][]byte { return [][]byte{[]byte("a key of thirty-two bytes, or so")} },
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); !s.Bypassed || s.Down() {
		t.Errorf("before the first look: %+v", s)
	}
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { c.Run(ctx) })
	eventually(t, "it is told", func() bool { return c.Stats().Down() })
	stop()
	run.Wait()
}

// hears waits until a replica reads what was acknowledged then: no read that begins
// after the lease is older.
func hears(t *testing.T, r *replica, want string, acked time.Time) {
	t.Helper()
	for {
		late := time.Since(acked)
		it, err := r.near.Get(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if it.Value == want {
			t.Logf("heard after %v", late)
			return
		}
		if late > session.NearLease {
			t.Fatalf("%v after %q was acknowledged it reads %q", late, want, it.Value)
		}
		time.Sleep(time.Millisecond)
	}
}

// Two replicas, and only the one that writes is cut off from Redis: the other goes on
// with its copies, and must hear of it all the same.
func TestAWriterThatIsCutOffIsHeardWithinTheLease(t *testing.T) {
	redis := startRedis(t)
	w := newWire(t, redis)
	db := newDatabase()
	a, b := newReplica(t, w.url(), db), newReplica(t, redis.url(), db)
	v := mustAdd(t, a.near, "k", "alive")
	wants(t, b.near, "k", "alive")
	w.set(true)
	mustSwap(t, a.near, "k", v, "ended")
	acked := time.Now()
	wants(t, a.near, "k", "ended")
	hears(t, b, "ended", acked)
	wants(t, b.Store(), "k", "ended")
}

// The message of an ending has others look into the feed of the database at once.
func TestAnEndingWakesTheFeedOfOthers(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	a := newReplica(t, redis.url(), db)
	woken := make(chan struct{}, 100)
	b, err := New(Options{URL: redis.url(), Database: db, Keys: testKeys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b.Drive(session.NewSharedNear(b.Store(), 0), func() { woken <- struct{}{} }, nil)
	b.Past("one")
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() { b.Run(ctx) })
	<-woken // of the subscription: nobody knows what was missed
	m, err := session.New[struct{}](a.near, &session.Options{Bearer: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.StartWith(httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil), "alice", &session.StartOptions{Bearer: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(woken) > 0 {
		t.Error("a beginning woke the feed")
	}
	if err := m.EndAny(t.Context(), s.SID, "test"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-woken:
	case <-time.After(5 * time.Second):
		t.Error("the ending woke nobody")
	}
}

// A failover makes the server a replica, which takes no writes, and later a master
// again, with the copies that it had. It does not begin anew.
func TestARedisThatBecameAReplicaRevivesNothing(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	r := newReplica(t, redis.url(), db)
	v, u := mustAdd(t, r.Store(), "k", "alive"), mustAdd(t, r.Store(), "u", "alive")
	wants(t, r.Store(), "k", "alive")
	wants(t, r.Store(), "u", "alive")
	redis.must("REPLICAOF", "127.0.0.1", "1")
	mustSwap(t, db, "u", u, "ended") // as a transaction about accounts does
	if err := r.Forget(t.Context(), true, "u"); err != nil {
		t.Fatal(err)
	}
	wants(t, r.Store(), "u", "ended")
	mustSwap(t, r.Store(), "k", v, "ended")
	redis.must("REPLICAOF", "NO", "ONE")
	r.waitUp(t)
	for range 3 {
		wants(t, r.Store(), "u", "ended")
		wants(t, r.Store(), "k", "ended")
	}
}

// A server, or a command, that was given no Redis writes to the same database.
func TestAWriterWithoutRedisIsHeardByThoseWithIt(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	r := newReplica(t, redis.url(), db)
	without, err := New(Options{Database: db, Keys: testKeys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	v := mustAdd(t, r.near, "k", "0")
	for i := range 3 {
		eventually(t, "a hit", func() bool {
			before := r.Stats().Hits
			wants(t, r.Store(), "k", fmt.Sprint(i))
			return r.Stats().Hits > before
		})
		wants(t, r.near, "k", fmt.Sprint(i))
		want := fmt.Sprint(i + 1)
		v = mustSwap(t, without.Store(), "k", v, want)
		hears(t, r, want, time.Now())
	}
	// Where nobody uses Redis any more, a write costs no other.
	mustSwap(t, without.Store(), "k", v, "last")
	if it, err := db.Get(t.Context(), generationKey); err != nil || parseGeneration(it.Value).run != "" {
		t.Errorf("the generation is %q, %v", it.Value, err)
	}
}

// A replica that hears nothing any more: its copies end with the lease.
func TestAReaderThatIsCutOffUsesItsCopiesNoLongerThanTheLease(t *testing.T) {
	redis := startRedis(t)
	w := newWire(t, redis)
	db := newDatabase()
	a, b := newReplica(t, redis.url(), db), newReplica(t, w.url(), db)
	v := mustAdd(t, a.near, "k", "alive")
	wants(t, b.near, "k", "alive")
	wants(t, b.near, "k", "alive")
	w.set(true)
	mustSwap(t, a.near, "k", v, "ended")
	acked := time.Now()
	hears(t, b, "ended", acked)
	w.set(false)
	b.waitUp(t)
	eventually(t, "hits again", func() bool {
		before := b.near.Stats().Hits
		wants(t, b.near, "k", "ended")
		return b.near.Stats().Hits > before
	})
}

// The writer dies between the database and Redis. Whoever follows the feed of the
// database hears of the ending, and uses no copy.
func TestWhatTheFeedSaysHasEndedIsNotTakenFromACopy(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	r := newReplica(t, redis.url(), db)
	v := mustAdd(t, r.near, "k", "alive")
	wants(t, r.Store(), "k", "alive")
	mustSwap(t, db, "k", v, "ended") // and nobody is told
	wants(t, r.Store(), "k", "alive")
	r.Ended("k")
	wants(t, r.near, "k", "ended")
	wants(t, r.Store(), "k", "ended")
}

// A database was put back from a backup, and Redis knows what came after it.
func TestCopiesOfAnotherPastAreNotUsed(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	r := newReplica(t, redis.url(), db)
	v := mustAdd(t, r.near, "k", "after the backup")
	wants(t, r.Store(), "k", "after the backup")
	mustSwap(t, db, "k", v, "before it")
	wants(t, r.Store(), "k", "after the backup")
	r.Past("two")
	wants(t, r.near, "k", "before it")
	wants(t, r.Store(), "k", "before it")
	if n := r.Stats().Broken; n != 0 {
		t.Errorf("%d records are said to be none of ours", n)
	}
}

func TestACopyNeverProvesThatASessionExpired(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	r := newReplica(t, redis.url(), db)
	v, err := r.Store().Add(t.Context(), "k", session.Item{Value: "alive", Expires: in(200 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r.Store(), "k", "alive")
	later := in(time.Hour)
	if err := db.Touch(t.Context(), "k", v, later); err != nil { // by a replica that died before it told
		t.Fatal(err)
	}
	eventually(t, "it expires later", func() bool {
		it, err := r.Store().Get(t.Context(), "k")
		return err == nil && it.Expires.Equal(later)
	})
}

func TestWhatIsNoneOfOursIsDroppedAndToldOnce(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	r := newReplica(t, redis.url(), db)
	mustAdd(t, r.Store(), "k", "alive")
	mustAdd(t, r.Store(), "other", "of another user")
	wants(t, r.Store(), "k", "alive")
	wants(t, r.Store(), "other", "of another user")
	name, other := redis.keys(":k")[0], redis.keys(":other")[0]
	good := string(redis.must("GET", name).([]byte))
	for what, forged := range map[string]string{
		"junk":                         "junk",
		"nothing":                      "",
		"another session's":            string(redis.must("GET", other).([]byte)),
		"a changed one":                strings.Replace(good, "alive", "admin", 1),
		"one with its MAC taken away":  strings.Join(append(strings.Fields(good)[:1], strings.Fields(good)[2:]...), " "),
		"one that is a little shorter": good[:len(good)-1],
		"one that was made long ago":   r.seal(payloadOf(alive("old")), r.label(*r.generation.Load()), "k", time.Now().Add(-copyLife-2*time.Minute)),
	} {
		r.logged.Store(0)
		broken, lines := r.Stats().Broken, r.log.count("copy_broken")
		redis.must("SET", name, forged)
		for range 5 {
			wants(t, r.Store(), "k", "alive")
		}
		if what == "nothing" {
			continue // it stands for no answer, and is told by nobody
		}
		if n := r.Stats().Broken - broken; n != 1 {
			t.Errorf("%s: %d records dropped, want 1", what, n)
		}
		if n := r.log.count("copy_broken") - lines; n != 1 {
			t.Errorf("%s: %d lines in the log, want 1", what, n)
		}
		if string(redis.must("GET", name).([]byte)) == forged {
			t.Errorf("%s: it stands still", what)
		}
	}
	redis.must("DEL", name)
	redis.must("LPUSH", name, "a list") // WRONGTYPE
	wants(t, r.Store(), "k", "alive")
}

// A message of another process can be sent again by whoever listens: a record is
// read once more. One that is made up does nothing.
func TestForgedAndReplayedMessagesChangeNothing(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	a, b := newReplica(t, redis.url(), db), newReplica(t, redis.url(), db)
	mustAdd(t, a.near, "k", "alive")
	hit := func() bool {
		before := b.near.Stats().Hits
		wants(t, b.near, "k", "alive")
		return b.near.Stats().Hits > before
	}
	eventually(t, "a hit", hit)
	genuine := a.message("k", false)
	for _, forged := range []string{
		"", "k", "changed k", strings.Replace(genuine, "changed", "ended", 1), strings.Replace(genuine, " k", " q", 1),
		genuine[:len(genuine)-1], genuine + "k", strings.Repeat("x", 1<<20),
		a.sign("no form", "message"),
	} {
		before := b.Stats().Forged
		redis.must("PUBLISH", "admit:"+channel, forged)
		eventually(t, "the message is counted", func() bool { return b.Stats().Forged == before+1 })
		if !hit() {
			t.Errorf("%.40q made it forget", forged)
		}
	}
	for range 3 {
		redis.must("PUBLISH", "admit:"+channel, genuine)
		eventually(t, "the replayed message is heard", func() bool { return !hit() })
		wants(t, b.near, "k", "alive")
	}
}

// Two processes that reach different servers under one name, as after a failover that
// only one has noticed: the database says which counts.
func TestProcessesUseOneRedisOrNone(t *testing.T) {
	one, two := startRedis(t), startRedis(t)
	db := newDatabase()
	a := newReplica(t, one.url(), db)
	v := mustAdd(t, a.near, "k", "0")
	wants(t, a.near, "k", "0")
	b := beginReplica(t, two.url(), db)
	end := time.Now().Add(3 * time.Second)
	for i := 1; time.Now().Before(end); i++ {
		want := fmt.Sprint(i)
		v = mustSwap(t, b.near, "k", v, want)
		acked := time.Now()
		hears(t, a, want, acked)
	}
}

// The generation cannot be told, so a write that no copy can follow is not said to
// be done.
type deaf struct {
	session.Store
	on atomic.Bool
}

func (d *deaf) Get(ctx context.Context, key string) (session.Item, error) {
	if key == generationKey && d.on.Load() {
		return session.Item{}, session.ErrUnavailable
	}
	return d.Store.Get(ctx, key)
}

func TestAWriteThatNobodyCouldBeToldOfIsNotAcknowledged(t *testing.T) {
	redis := startRedis(t)
	w := newWire(t, redis)
	db := &deaf{Store: session.NewMemory(nil)}
	r := newReplica(t, w.url(), db)
	v := mustAdd(t, r.Store(), "k", "alive")
	w.set(true)
	db.on.Store(true)
	if _, err := r.Store().Swap(t.Context(), "k", v, alive("ended")); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Swap: %v, want unavailable", err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(payloadOf(session.Item{Value: "{\"n\": 1}", Subject: "alice", Version: 7, Expires: time.UnixMilli(1700000000000)}))
	f.Add("1 2 0 ")
	f.Add("1 2 9 short")
	f.Fuzz(func(t *testing.T, text string) {
		if it, err := itemOf(text); err == nil && payloadOf(it) != text {
			t.Errorf("%q became %q", text, payloadOf(it))
		}
	})
}

func FuzzText(f *testing.F) {
	c, err := New(Options{Database: session.NewMemory(nil), Keys: testKeys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	now := time.UnixMilli(1700000000000)
	f.Add(c.seal("payload", "g", "k", now))
	f.Add(c.message("k", true))
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := c.open(text, "g", "k", now); err == nil && !strings.HasSuffix(text, " "+p) {
			t.Errorf("%q opens to %q", text, p)
		}
		if _, key, _, err := c.readMessage(text); err == nil && !strings.HasSuffix(text, " "+key) {
			t.Errorf("%q is a message of %q", text, key)
		}
	})
}

// docs/how-to/put-redis-in-front.md names these.
func TestAUserOfRedisWithFewRightsWillDo(t *testing.T) {
	redis := startRedis(t)
	args := []any{"ACL", "SETUSER", "admit", "on", ">secret", "~admit:*", "&admit:*"}
	page, err := os.ReadFile("../../../docs/how-to/put-redis-in-front.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rights, _ := strings.Cut(string(page), "It needs `")
	rights, _, found := strings.Cut(rights, "`")
	if !found {
		t.Fatal("the page names no rights")
	}
	for _, right := range strings.Fields(rights) {
		args = append(args, right)
	}
	redis.must(args...)
	redis.must("CONFIG", "SET", "requirepass", "of the others")
	db := newDatabase()
	r := newReplica(t, strings.Replace(redis.url(), "redis://", "redis://admit:secret@", 1), db)
	v := mustAdd(t, r.near, "k", strings.Repeat("x", 200))
	wants(t, r.Store(), "k", strings.Repeat("x", 200))
	wants(t, r.Store(), "k", strings.Repeat("x", 200))
	wants(t, r.near, "k", strings.Repeat("x", 200))
	mustSwap(t, r.near, "k", v, "two")
	if err := r.near.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Errors != 0 || s.Hits == 0 || s.Generations != 1 {
		t.Errorf("%+v", s)
	}
}

// lateWriter answers that nobody knows, and writes a little later.
type lateWriter struct {
	session.Store
	late chan func()
}

func (l *lateWriter) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	if key != "k" {
		return l.Store.Swap(ctx, key, old, it)
	}
	l.late <- func() { l.Store.Swap(context.Background(), key, old, it) }
	return 0, session.ErrUnavailable
}

func TestAWriteThatTookEffectAfterItsAnswerIsSeenInTheEnd(t *testing.T) {
	redis := startRedis(t)
	db := &lateWriter{session.NewMemory(nil), make(chan func(), 1)}
	r := newReplica(t, redis.url(), db)
	v := mustAdd(t, r.near, "k", "before")
	wants(t, r.near, "k", "before")
	if _, err := r.near.Swap(t.Context(), "k", v, alive("after")); !errors.Is(err, session.ErrUnavailable) {
		t.Fatalf("Swap: %v", err)
	}
	wants(t, r.near, "k", "before") // which is near now
	(<-db.late)()
	wants(t, r.near, "k", "before")
	r.holdIsOver(t, 1)
	eventually(t, "it is read again", func() bool {
		it, err := r.near.Get(t.Context(), "k")
		return err == nil && it.Value == "after"
	})
	wants(t, r.Store(), "k", "after")
}

// Redis is away for days, and sessions end all the time.
func TestEndingsAreForgottenAlsoWhileRedisIsAway(t *testing.T) {
	redis := startRedis(t)
	r := newReplica(t, redis.url(), newDatabase())
	redis.kill()
	r.notices(t)
	for i := range 1000 {
		r.ended.Store(fmt.Sprint(i), time.Now()) // endedLife has gone by
	}
	r.Ended("now")
	eventually(t, "they are forgotten", func() bool {
		n := 0
		r.ended.Range(func(any, any) bool { n++; return true })
		return n == 1
	})
}

// The database was put back to before Redis was in use, or somebody tidied it up.
func TestWhereTheGenerationIsGoneAnotherBegins(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	a, b := newReplica(t, redis.url(), db), newReplica(t, redis.url(), db)
	v := mustAdd(t, a.near, "k", "before")
	wants(t, b.near, "k", "before")
	if err := db.Delete(t.Context(), generationKey); err != nil {
		t.Fatal(err)
	}
	mustSwap(t, a.near, "k", v, "after")
	hears(t, b, "after", time.Now())
	eventually(t, "another generation", func() bool {
		_, err := db.Get(t.Context(), generationKey)
		return err == nil
	})
	for _, r := range []*replica{a, b} {
		eventually(t, "Redis is used again", func() bool {
			before := r.Stats().Hits
			wants(t, r.Store(), "k", "after")
			return r.Stats().Hits > before && r.Stats().Why == nil
		})
	}
}

// The writer has lost Redis as well: others still have what was before.
func TestAWriteOfWhichNobodyKnowsIsSeenByOthersWithoutRedis(t *testing.T) {
	redis := startRedis(t)
	w := newWire(t, redis)
	inner := session.NewMemory(nil)
	db := &lateWriter{inner, make(chan func(), 1)}
	a, b := newReplica(t, w.url(), db), newReplica(t, redis.url(), inner)
	v := mustAdd(t, b.near, "k", "before")
	wants(t, b.near, "k", "before")
	w.set(true)
	a.notices(t)
	if _, err := a.near.Swap(t.Context(), "k", v, alive("after")); !errors.Is(err, session.ErrUnavailable) {
		t.Fatalf("Swap: %v", err)
	}
	(<-db.late)()
	wants(t, b.near, "k", "before")
	a.holdIsOver(t, 1)
	hears(t, b, "after", time.Now())
	eventually(t, "it is done with", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.later) == 0
	})
}

// What there is no room to remember is not left as it is.
func TestMoreUnsureWritesThanAreRememberedEndAllCopies(t *testing.T) {
	redis := startRedis(t)
	db := &lateWriter{session.NewMemory(nil), make(chan func(), 1)}
	r := newReplica(t, redis.url(), db)
	v := mustAdd(t, r.near, "k", "before")
	for i := range 10_000 {
		r.again(fmt.Sprint(i))
	}
	if _, err := r.near.Swap(t.Context(), "k", v, alive("after")); !errors.Is(err, session.ErrUnavailable) {
		t.Fatalf("Swap: %v", err)
	}
	wants(t, r.near, "k", "before")
	(<-db.late)()
	r.holdIsOver(t, 10_001)
	eventually(t, "it is read again", func() bool {
		it, err := r.near.Get(t.Context(), "k")
		return err == nil && it.Value == "after"
	})
}

// A server without Redis beside one with it does not know what became of a write.
func TestAWriteOfWhichAProcessWithoutRedisDoesNotKnowIsSeenByThoseWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := session.NewMemory(nil)
		db := &lateWriter{inner, make(chan func(), 1)}
		without, err := New(Options{Database: db, Keys: testKeys, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		first := generation{"first", "a run"}
		if _, err := inner.Add(t.Context(), generationKey, session.Item{Value: first.String(), Expires: forever}); err != nil {
			t.Fatal(err)
		}
		v := mustAdd(t, inner, "k", "before")
		if _, err := without.Store().Swap(t.Context(), "k", v, alive("after")); !errors.Is(err, session.ErrUnavailable) {
			t.Fatalf("Swap: %v", err)
		}
		(<-db.late)()
		time.Sleep(holdLife + time.Second)
		if it, err := inner.Get(t.Context(), generationKey); err != nil || it.Value == first.String() {
			t.Errorf("those with Redis still use copies of %q, %v", it.Value, err)
		}
		without.mu.Lock()
		defer without.mu.Unlock()
		if n := len(without.later); n > 0 || without.alone {
			t.Errorf("%d are still to be forgotten", n)
		}
	})
}
