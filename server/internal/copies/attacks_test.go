package copies

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Mallory may write to Redis. He keeps the copy of a session that lives, waits for
// its sign-out, and puts the copy back as late as it is still young enough to be
// used. The ending must be remembered for as long, also where the process that made
// the copy has a clock that is ahead.
func TestAttackACopyIsPutBackWhenItsEndingIsForgotten(t *testing.T) {
	for name, ahead := range map[string]time.Duration{
		"made by a clock that agrees":              0,
		"made by a clock that is a minute ahead":   clockSlack,
		"made by a clock that is a minute behind":  -clockSlack,
		"made by a clock that is almost as far on": clockSlack - time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := New(Options{Database: newDatabase(), Keys: testKeys, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				kept := c.seal("alive", "label", "k", time.Now().Add(ahead))
				if _, err := c.open(kept, "label", "k", time.Now()); err != nil {
					t.Fatalf("it is no copy at all: %v", err)
				}
				c.Ended("k")
				for begun := time.Now(); time.Since(begun) < 20*time.Minute; time.Sleep(time.Second / 2) {
					_, err := c.open(kept, "label", "k", time.Now())
					until, known := c.ended.Load("k")
					if err == nil && !(known && time.Now().Before(until.(time.Time))) {
						t.Fatalf("%v after the sign-out the copy from before counts again", time.Since(begun))
					}
				}
			})
		})
	}
}

// A copy that says it was made later than any clock may say could be kept, and put
// back when its ending is forgotten.
func TestAttackACopyFromTheFutureIsKeptForLater(t *testing.T) {
	c, err := New(Options{Database: newDatabase(), Keys: testKeys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := c.open(c.seal("alive", "label", "k", now.Add(clockSlack+time.Second)), "label", "k", now); err == nil {
		t.Error("a copy from the future counts")
	}
}

// Mallory fills the places of sessions that are looked at all the time with texts of
// as many bytes as Redis takes, so that each look-up brings them into the server.
func TestAttackAHugeRecordFillsTheServersMemory(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	r := newReplica(t, redis.url(), db)
	mustAdd(t, r.near, "k", "alive")
	redis.must("SETRANGE", r.name("k"), 32<<20, "x")
	run := r.generation.Load().run
	found, err := r.redis.get(run, r.name("k"))
	if err != nil || len(found) > maxRead {
		t.Errorf("a look-up brings %d bytes, %v", len(found), err)
	}
	for range 3 { // it is dropped, a copy is made, and the copy is read
		wants(t, r.Store(), "k", "alive")
	}
	if s := r.Stats(); s.Broken != 1 || s.Hits != 1 || s.Errors != 0 {
		t.Errorf("%+v: it was not dropped once, and a copy made", s)
	}
	if long := strings.Repeat("v", 60<<10); maxRead < len(r.seal(long, r.label(*r.generation.Load()), "k", time.Now()))+1000 {
		t.Error("the longest copy is longer than what is read")
	}
}

// Mallory puts a list in the place of a session that is looked at all the time. Redis
// refuses to read it as text: that must not count as a Redis that is away, or every
// look-up would go to the database, and every write begin a generation.
func TestAttackAListInThePlaceOfACopyTurnsRedisOff(t *testing.T) {
	redis := startRedis(t)
	db := newDatabase()
	r := newReplica(t, redis.url(), db)
	v := mustAdd(t, r.near, "k", "alive")
	for range 3 { // it is dropped, a copy is made, and the copy is read
		redis.must("DEL", r.name("k"))
		redis.must("LPUSH", r.name("k"), "x")
		for range 3 {
			wants(t, r.Store(), "k", "alive")
		}
	}
	redis.must("DEL", r.name("k"))
	redis.must("LPUSH", r.name("k"), "x")
	mustSwap(t, r.near, "k", v, "changed")
	wants(t, r.Store(), "k", "changed")
	if s := r.Stats(); s.Bypassed || s.Broken != 3 || s.Hits != 3 || s.Errors != 0 || s.Generations != 1 {
		t.Errorf("%+v", s)
	}
}
