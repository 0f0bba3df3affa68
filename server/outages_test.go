//go:build linux

package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/postgrestest"
)

// A tally is a way to a site on which answers are counted, by what is wrong with
// the site when they come.
type tally struct {
	http.RoundTripper

	mu     sync.Mutex
	stages []*stage // guarded by mu, as is what is in them
}

// A stage is a time in which one thing is wrong, or nothing.
type stage struct {
	name          string
	answers       map[string]int
	read, written time.Duration // the longest that a GET took, and any other
	strange       []string      // answers that should not be
}

// expects says whether an answer of that kind is nothing to tell about.
func (s *stage) expects(kind string) bool {
	switch kind {
	case "2xx", "401": // of a session that has ended
		return true
	case "503":
		return strings.HasPrefix(s.name, "PostgreSQL")
	case "502":
		return s.name == replicaKilled // what it had under way
	}
	return false
}

const replicaKilled = "a replica is killed"

func (c *tally) begin(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stages = append(c.stages, &stage{name: name, answers: map[string]int{}})
}

// RoundTrip implements http.RoundTripper.
func (c *tally) RoundTrip(r *http.Request) (*http.Response, error) {
	begun := time.Now()
	res, err := c.RoundTripper.RoundTrip(r)
	var text []byte
	if err == nil {
		text, err = io.ReadAll(res.Body)
		res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(text))
	}
	if err != nil {
		res = nil
	}
	took := time.Since(begun)
	kind := "no answer"
	switch {
	case err != nil:
	case res.StatusCode/100 == 2:
		kind = "2xx"
	case res.StatusCode == 503 && res.Header.Get("Retry-After") == "":
		kind = "503 without Retry-After"
	default:
		kind = fmt.Sprint(res.StatusCode)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stages[len(c.stages)-1] // what goes wrong, goes wrong with what is under way
	s.answers[kind]++
	if !s.expects(kind) {
		s.strange = append(s.strange, fmt.Sprintf("%s %s: %s after %v: %v %s", r.Method, r.URL.Path, kind, took, err, text))
	}
	if r.Method == "GET" {
		s.read = max(s.read, took)
	} else {
		s.written = max(s.written, took)
	}
	return res, err
}

// Three replicas over PostgreSQL and Redis behind nginx, and each part fails in turn while
// people come and go and change things. OUTAGES=full keeps each away for ten
// seconds; otherwise it is two.
func TestBehindNGINXWithRedisAnyPartFailsAndNothingAcknowledgedIsLost(t *testing.T) {
	away, people := 2*time.Second, 4
	switch {
	case os.Getenv("OUTAGES") == "full":
		away, people = 10*time.Second, 8
	case testing.Short():
		t.Skip("with -short")
	}
	// What the how-to promises, and what a machine that has other work may add.
	const reads, writes, slack = 5 * time.Second, 10 * time.Second, 5 * time.Second

	redis, database := startCache(t), postgrestest.Start(t)
	c := replicate(t, database.Database(t), 3, "--redis", redis.url())
	c.late = 2 * time.Second
	site := c.front()
	count := &tally{RoundTripper: site.client.Transport}
	count.begin("all is well")
	site.client.Transport = count

	// each fails for a while, is mended, and has a second until the next.
	each := func(name string, fail, mend func()) {
		count.begin(name)
		fail()
		time.Sleep(away)
		mend()
		time.Sleep(time.Second)
	}
	start := func() { database.Restart(t) }
	// Somebody stays signed in, and looks: that is answered, or is 503, and is never 401.
	c.command("user", "add", "--identifier", "stays", "--password-file", "-")
	kept := site.signedIn("stays")
	ctx, leave := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	looking.Go(func() {
		for ctx.Err() == nil {
			a, err := site.api(context.Background(), "GET", "/api/v1/session", kept, nil)
			if err == nil && a.status != 200 && a.status < 500 {
				t.Errorf("who stays signed in: %d %s", a.status, a.Body)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	c.under(t, site, people, func() {
		time.Sleep(away)
		count.begin("Redis is flushed")
		for end := time.Now().Add(away); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			redis.ask("FLUSHALL")
		}
		each("Redis is paused", redis.pause, redis.resume)
		each("Redis is killed", redis.kill, redis.run)
		each(replicaKilled, c.replicas[0].kill, func() {
			c.replicas[0] = c.launch(portOf(t, c.replicas[0]), t.TempDir(), "--redis", redis.url())
			c.replicas[0].ready()
		})
		each("PostgreSQL is stopped", database.Stop, start)
		each("PostgreSQL is killed", database.Kill, start)
		each("PostgreSQL is paused", database.Pause, database.Resume)
		count.begin("all is well again")
		time.Sleep(away)
		leave()
		looking.Wait()
	})

	var table strings.Builder
	for _, s := range count.stages {
		fmt.Fprintf(&table, "\n%-30s", s.name)
		for _, kind := range slices.Sorted(maps.Keys(s.answers)) {
			fmt.Fprintf(&table, " %s: %d;", kind, s.answers[kind])
		}
		fmt.Fprintf(&table, " longest %v, GET %v", s.written.Round(time.Millisecond), s.read.Round(time.Millisecond))
	}
	t.Log(table.String())
	for _, s := range count.stages {
		if s.read > reads+slack || s.written > writes+slack {
			t.Errorf("%s: a request took %v, a GET %v", s.name, s.written, s.read)
		}
		if s.answers["2xx"] == 0 {
			t.Errorf("%s: nobody was served", s.name)
		}
		if n := s.answers["502"]; n > people+1 { // each has one under way
			t.Errorf("%s: %d answers of 502", s.name, n)
		}
		// Now and then one may be told to try again, as a write is whose copy goes
		// with the Redis that is just being killed.
		told := 0
		if !s.expects("503") {
			told = s.answers["503"]
		}
		for _, strange := range s.strange[:min(len(s.strange), 5)] {
			t.Logf("%s: %s", s.name, strange)
		}
		if len(s.strange) > told || 50*told > s.answers["2xx"] {
			t.Errorf("%s: %d answers that should not be", s.name, len(s.strange))
		}
	}
}
