//go:build linux

package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/postgrestest"
)

// Three servers over PostgreSQL and Redis. People come to all of them in turns; Redis is
// flushed, paused and cut off, and a server is killed.
func TestThreeReplicasWithRedisAreOneServer(t *testing.T) {
	redis := startCache(t)
	var ops [3]opsPort
	c := &cluster{t: t, url: postgrestest.Shared(t).Database(t)}
	launch := func(i int) *process {
		ops[i] = opsPort(freePort(t))
		return c.launch(freePort(t), t.TempDir(), "--redis", redis.url(), "--ops-listen", fmt.Sprint("localhost:", int(ops[i])))
	}
	for i := range ops {
		c.replicas = append(c.replicas, launch(i))
	}
	for i, p := range c.replicas {
		p.ready()
		ops[i].becomes(t, "admit_redis_up", 1)
	}
	c.command("user", "add", "--identifier", "ann", "--password-file", "-")
	in := m{"identifier": "ann", "password": goodPassword, "as": "token"}
	signIn := func(p *process) string {
		t.Helper()
		a := p.ask("POST", "/api/v1/signin", "", in)
		if a.status != 200 {
			t.Fatalf("sign-in: %d %s", a.status, a.Body)
		}
		return a.Token
	}
	all := func(token string, want int, what string) {
		t.Helper()
		for i, p := range c.replicas {
			if a := p.ask("GET", "/api/v1/session", token, nil); a.status != want {
				t.Errorf("%s, replica %d: %d %s, want %d", what, i, a.status, a.Body, want)
			}
		}
	}

	// Look-ups come from memory and Redis.
	kept := signIn(c.replicas[0])
	for range 20 {
		all(kept, 200, "signed in")
	}
	var near, far float64
	for _, o := range ops {
		n, _ := o.value(t, "admit_near_hits_total")
		f, _ := o.value(t, "admit_redis_hits_total")
		near, far = near+n, far+f
	}
	if near < 50 || far == 0 {
		t.Errorf("%v look-ups were answered from memory, %v from Redis", near, far)
	}

	// An ending is seen by the others within 50 ms of its answer: p99, while they look.
	var took []time.Duration
	for n := range 40 {
		token := signIn(c.replicas[n%3])
		all(token, 200, "signed in")
		ender := c.replicas[(n+1)%3]
		if a := ender.ask("POST", "/api/v1/signout", token, nil); a.status != 204 {
			t.Fatalf("sign-out: %d %s", a.status, a.Body)
		}
		for _, p := range c.replicas {
			if p != ender {
				took = append(took, c.soon(p, 401, "GET", "/api/v1/session", token))
			}
		}
	}
	slices.Sort(took)
	t.Logf("after a sign-out is answered, the others refuse: p50 %v, longest %v", took[len(took)/2], took[len(took)-1])

	// An API key is looked up in Redis first, and ends everywhere.
	out := c.command("token", "issue", "--kind", "api-key", "--user", "ann", "--name", "x", "--scope", "profile", "--json")
	var made struct {
		Token  string
		APIKey struct{ ID string } `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for range 2 {
		for i, p := range c.replicas {
			if a := p.ask("GET", "/api/v1/user", made.Token, nil); a.status != 200 {
				t.Errorf("replica %d and the key: %d %s", i, a.status, a.Body)
			}
		}
	}
	if redis.ask("EXISTS admit:c:k:"+made.APIKey.ID) != ":1" {
		t.Error("there is no copy of the API key")
	}
	if a := c.replicas[1].ask("DELETE", "/api/v1/api-keys/"+made.APIKey.ID, kept, nil); a.status != 204 {
		t.Fatalf("end the key: %d %s", a.status, a.Body)
	}
	for i, p := range c.replicas {
		if d := c.soon(p, 401, "GET", "/api/v1/user", made.Token); d > 2*time.Second {
			t.Errorf("replica %d took the key for %v", i, d)
		}
	}

	// What the command line ends, which has no Redis, is heard too.
	token := signIn(c.replicas[0])
	all(token, 200, "signed in")
	c.command("session", "end-all", "--user", "ann")
	for i, p := range c.replicas {
		if d := c.soon(p, 401, "GET", "/api/v1/session", token); d > 2*time.Second {
			t.Errorf("replica %d took the session for %v", i, d)
		}
	}

	t.Run("while Redis is flushed and paused and a server killed", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var trouble, people sync.WaitGroup
		trouble.Go(func() {
			for ctx.Err() == nil {
				redis.ask("FLUSHALL")
				time.Sleep(30 * time.Millisecond)
			}
		})
		trouble.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(900 * time.Millisecond)
				redis.pause()
				time.Sleep(600 * time.Millisecond)
				redis.resume()
			}
		})
		var rounds, refused atomic.Int64
		end := time.Now().Add(8 * time.Second)
		ask := func(n int, method, path, token string, in m) answer {
			for ; ; n++ {
				a, err := c.replicas[n%2].api(ctx, method, path, token, in) // the third is killed
				switch {
				case err != nil:
					t.Errorf("%s %s: %v", method, path, err)
					return a
				case a.status == 503 || a.status == 429:
					refused.Add(1)
					time.Sleep(20 * time.Millisecond)
					continue
				}
				return a
			}
		}
		for n := range 4 {
			people.Go(func() {
				for ; time.Now().Before(end); n++ {
					begun := ask(n, "POST", "/api/v1/guest", "", m{"as": "token"})
					if begun.status != 201 {
						t.Errorf("guest: %d %s", begun.status, begun.Body)
						continue
					}
					for i := range 3 {
						if a := ask(n+i, "GET", "/api/v1/session", begun.Token, nil); a.status != 200 {
							t.Errorf("begun, and then: %d %s", a.status, a.Body)
						}
					}
					if a := ask(n+1, "POST", "/api/v1/signout", begun.Token, nil); a.status != 204 {
						t.Errorf("sign-out: %d %s", a.status, a.Body)
					}
					acked := time.Now()
					for i := 0; ; i++ {
						late := time.Since(acked)
						a := ask(n+i, "GET", "/api/v1/session", begun.Token, nil)
						if a.status == 401 && i >= 2 {
							break
						}
						if a.status != 401 && late > 2*time.Second {
							t.Errorf("%v after it ended: %d %s", late, a.status, a.Body)
							break
						}
					}
					rounds.Add(1)
				}
			})
		}
		time.Sleep(2 * time.Second)
		c.replicas[2].kill()
		people.Wait()
		stop()
		trouble.Wait()
		t.Logf("%d rounds, %d answers of 503 and 429", rounds.Load(), refused.Load())
		if rounds.Load() < 20 {
			t.Errorf("%d rounds: the test tests nothing", rounds.Load())
		}
	})
	c.replicas[2] = launch(2)
	c.replicas[2].ready()
	for _, o := range ops {
		o.becomes(t, "admit_redis_up", 1)
	}
	last := signIn(c.replicas[2])
	all(last, 200, "after all")
	if out := c.command("session", "list", "--user", "ann"); strings.Contains(out, "copies") {
		t.Errorf("the list of sessions: %s", out)
	}
}

// Three replicas over PostgreSQL and Redis behind nginx, and each part fails in turn while
// people come and go.
func TestBehindNGINXWithRedisAnyPartFailsAndNothingAcknowledgedIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short")
	}
	redis, database := startCache(t), postgrestest.Start(t)
	c := replicate(t, database.Database(t), 3, "--redis", redis.url())
	c.late = 2 * time.Second
	site := c.front()
	c.under(t, site, 4, func() {
		time.Sleep(2 * time.Second)
		for range 20 {
			redis.ask("FLUSHALL")
			time.Sleep(50 * time.Millisecond)
		}
		redis.pause()
		time.Sleep(5 * time.Second)
		redis.resume()
		time.Sleep(2 * time.Second)
		p := c.replicas[0]
		p.kill()
		time.Sleep(time.Second)
		c.replicas[0] = c.launch(portOf(t, p), t.TempDir(), "--redis", redis.url())
		c.replicas[0].ready()
		redis.kill()
		time.Sleep(5 * time.Second)
		redis.run()
		time.Sleep(2 * time.Second)
		database.Kill()
		time.Sleep(3 * time.Second)
		database.Restart(t)
		time.Sleep(3 * time.Second)
	})
}
