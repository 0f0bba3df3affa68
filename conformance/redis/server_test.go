package redis

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// programs returns the servers to be had: a failure without any on a machine
// that is to test everything, and a loud skip elsewhere.
func programs(t testing.TB) []string {
	t.Helper()
	var found []string
	for _, name := range []string{"redis-server", "valkey-server"} {
		if _, err := exec.LookPath(name); err == nil {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		const how = "redis-server is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip("SKIPPED: " + how)
	}
	return found
}

// A server is a process with a folder of its own.
type server struct {
	t    testing.TB
	args []string
	addr string // of a socket, or host and port
	cmd  *exec.Cmd
}

// start starts a server on a socket, or with "--port" among the flags on that
// port, and waits until it answers.
func start(t testing.TB, program string, flags ...string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, addr: filepath.Join(dir, "socket")}
	s.args = append([]string{program, "--dir", dir, "--unixsocket", s.addr, "--port", "0"}, flags...)
	t.Cleanup(s.kill)
	s.run()
	return s
}

func (s *server) run() {
	s.t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ready()
}

// ready waits until the server answers.
func (s *server) ready() {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if answer, err := s.ask("PING"); err == nil && answer == "PONG" {
			return
		} else if time.Now().After(end) {
			s.t.Fatalf("%s does not answer: %v, %v", s.args[0], answer, err)
		}
	}
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// restart is a crash.
func (s *server) restart() {
	s.t.Helper()
	s.kill()
	s.run()
}

func (s *server) network() string {
	if strings.HasPrefix(s.addr, "/") {
		return "unix"
	}
	return "tcp"
}

// ask sends a command on a connection of its own.
func (s *server) ask(args ...string) (any, error) {
	c, err := redis.Dial(s.network(), s.addr, redis.DialReadTimeout(5*time.Second))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	rest := make([]any, len(args)-1)
	for i, a := range args[1:] {
		rest[i] = a
	}
	return c.Do(args[0], rest...)
}

func (s *server) must(args ...string) any {
	s.t.Helper()
	answer, err := s.ask(args...)
	if err != nil {
		s.t.Fatalf("%q: %v", args, err)
	}
	return answer
}

func (s *server) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, s.network(), s.addr)
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
