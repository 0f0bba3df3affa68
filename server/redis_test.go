//go:build linux

package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A cache is a Redis of its own.
type cache struct {
	t    testing.TB
	port int
	args []string
	cmd  *exec.Cmd
}

func startCache(t testing.TB, flags ...string) *cache {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		const how = "redis-server is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip("SKIPPED: " + how)
	}
	c := &cache{t: t, port: freePort(t)}
	c.args = append([]string{program}, append([]string{"--bind", "127.0.0.1", "--port", fmt.Sprint(c.port), "--dir", t.TempDir(), "--save", ""}, flags...)...)
	t.Cleanup(c.kill)
	c.run()
	return c
}

func (c *cache) kill() {
	c.cmd.Process.Signal(syscall.SIGCONT)
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

func (c *cache) run() {
	c.t.Helper()
	c.cmd = exec.Command(c.args[0], c.args[1:]...)
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if answer := c.ask("PING"); answer == "+PONG" || strings.HasPrefix(answer, "-NOAUTH") {
			return
		} else if time.Now().After(end) {
			c.t.Fatal("redis-server does not answer")
		}
	}
}

func (c *cache) url() string { return fmt.Sprint("redis://127.0.0.1:", c.port) }

// ask sends a command without spaces in its arguments, and returns the first line of the
// answer.
func (c *cache) ask(command string) string {
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", c.port))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "%s\r\n", command)
	buf := make([]byte, 4096)
	n, _ := conn.Read(buf)
	line, _, _ := strings.Cut(string(buf[:n]), "\r")
	return line
}

func (c *cache) pause()  { c.cmd.Process.Signal(syscall.SIGSTOP) }
func (c *cache) resume() { c.cmd.Process.Signal(syscall.SIGCONT) }

func (p *process) signedIn(name string) (token string) {
	p.t.Helper()
	a := p.ask("POST", "/api/v1/signin", "", m{"identifier": name, "password": goodPassword, "as": "token"})
	if a.status != http.StatusOK || a.Token == "" {
		p.t.Fatalf("sign-in: %d %s", a.status, a.Body)
	}
	return a.Token
}

func TestWithRedisAwayTheServerGoesOnFromTheDatabase(t *testing.T) {
	redis := startCache(t)
	data := t.TempDir()
	port, ops := freePort(t), opsPort(freePort(t))
	flags := []string{"--redis", redis.url(), "--ops-listen", fmt.Sprint("localhost:", int(ops))}
	p := serve(t, data, port, flags...)
	ops.becomes(t, "admit_redis_up", 1)
	p.signUp("ann")
	first, second := p.signedIn("ann"), p.signedIn("ann")
	checks := func(token string, want int) {
		t.Helper()
		begun := time.Now()
		a := p.ask("GET", "/api/v1/session", token, nil)
		if a.status != want {
			t.Errorf("session: %d %s, want %d", a.status, a.Body, want)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	checks(first, 200)
	checks(second, 200)

	redis.pause()
	checks(second, 200)
	if a := p.ask("POST", "/api/v1/signout", first, nil); a.status != http.StatusNoContent {
		t.Fatalf("sign-out with Redis paused: %d %s", a.status, a.Body)
	}
	checks(first, 401)
	third := p.signedIn("ann")
	checks(third, 200)
	ops.becomes(t, "admit_redis_up", 0)
	ops.becomes(t, `admit_condition{condition="redis_unavailable"}`, 1)
	if status, body := ops.get(t, "/readyz"); status != http.StatusOK || !strings.Contains(body, "redis_unavailable") {
		t.Errorf("readiness: %d %s, want 200 and degraded", status, body)
	}
	p.kill()
	redis.resume()
	p = serve(t, data, port, flags...)
	ops.becomes(t, "admit_redis_up", 1)
	for range 3 {
		checks(first, 401)
		checks(second, 200)
		checks(third, 200)
	}
	redis.ask("FLUSHALL")
	checks(first, 401)
	checks(second, 200)

	// And it comes back without a restart.
	redis.pause()
	if a := p.ask("POST", "/api/v1/signout", second, nil); a.status != http.StatusNoContent {
		t.Fatalf("sign-out: %d %s", a.status, a.Body)
	}
	ops.becomes(t, "admit_redis_up", 0)
	ops.becomes(t, `admit_condition{condition="redis_unavailable"}`, 1) // which is looked at every few seconds
	redis.resume()
	ops.becomes(t, "admit_redis_up", 1)
	checks(second, 401)
	checks(third, 200)
	ops.becomes(t, `admit_condition{condition="redis_unavailable"}`, 0)
	p.logs("over: Redis is not used", 1)
}

// Flushed and paused all the time, while people sign in and out.
func TestPeopleSignInAndOutWhileRedisIsFlushedAndPaused(t *testing.T) {
	redis := startCache(t)
	p := serve(t, t.TempDir(), freePort(t), "--redis", redis.url())
	p.signUp("ann")
	ctx, stop := context.WithCancel(t.Context())
	var work, people sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			redis.ask("FLUSHALL")
			time.Sleep(20 * time.Millisecond)
		}
	})
	work.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(700 * time.Millisecond)
			redis.pause()
			time.Sleep(300 * time.Millisecond)
			redis.resume()
		}
	})
	var rounds atomic.Int64
	end := time.Now().Add(5 * time.Second)
	for range 4 {
		people.Go(func() {
			for time.Now().Before(end) {
				a := p.ask("POST", "/api/v1/guest", "", m{"as": "token"})
				if a.status != http.StatusCreated {
					if a.status != http.StatusTooManyRequests {
						t.Errorf("guest: %d %s", a.status, a.Body)
					}
					time.Sleep(50 * time.Millisecond)
					continue
				}
				if got := p.ask("GET", "/api/v1/session", a.Token, nil); got.status != 200 {
					t.Errorf("begun, then: %d %s", got.status, got.Body)
				}
				if out := p.ask("POST", "/api/v1/signout", a.Token, nil); out.status != http.StatusNoContent {
					t.Errorf("sign-out: %d %s", out.status, out.Body)
				}
				for range 3 {
					if got := p.ask("GET", "/api/v1/session", a.Token, nil); got.status != 401 {
						t.Errorf("ended, then: %d %s", got.status, got.Body)
					}
				}
				rounds.Add(1)
			}
		})
	}
	people.Wait()
	stop()
	work.Wait()
	if rounds.Load() < 20 {
		t.Errorf("%d rounds: the test tests nothing", rounds.Load())
	}
}

func TestThePasswordOfRedisIsNoFlag(t *testing.T) {
	redis := startCache(t, "--requirepass", "secret-of-the-cache")
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(file, "serve", "--data", t.TempDir(), "--redis", "redis://:secret-of-the-cache@127.0.0.1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "ADMIT_REDIS_PASSWORD") || strings.Contains(string(out), "secret-of-the-cache") {
		t.Errorf("a password in the URL: %v, %s", err, out)
	}
	port, ops := freePort(t), opsPort(freePort(t))
	start(t, port, "/usr/bin/env", "ADMIT_REDIS_PASSWORD=secret-of-the-cache", file, "serve", "--dev", "--listen", fmt.Sprintf("localhost:%d", port),
		"--data", t.TempDir(), "--redis", redis.url(), "--ops-listen", fmt.Sprint("localhost:", int(ops))).ready()
	ops.becomes(t, "admit_redis_up", 1)
}
