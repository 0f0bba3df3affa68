package memcachestore

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A server is a memcached of a test's own, on a socket.
type memcached struct {
	t    testing.TB
	args []string
	addr string
	cmd  *exec.Cmd
}

// start starts memcached with these flags and waits until it answers. Where it is
// missing, it is a failure on the machine that is to test everything, and a loud
// skip elsewhere.
func start(t testing.TB, flags ...string) *memcached {
	t.Helper()
	program, err := exec.LookPath("memcached")
	if err != nil {
		const how = "memcached is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip("SKIPPED: " + how)
	}
	dir, err := os.MkdirTemp("", "memcached") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &memcached{t: t, addr: filepath.Join(dir, "socket")}
	s.args = append([]string{program, "-s", s.addr, "-t", "2"}, flags...)
	if os.Getuid() == 0 {
		s.args = append(s.args, "-u", "root") // it asks to be told
	}
	t.Cleanup(s.kill)
	s.run()
	return s
}

func (s *memcached) run() {
	s.t.Helper()
	os.Remove(s.addr)
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if answer, err := s.ask("version"); err == nil && strings.HasPrefix(answer, "VERSION") {
			return
		} else if time.Now().After(end) {
			s.t.Fatalf("memcached does not answer: %q, %v", answer, err)
		}
	}
}

// kill is kill -9.
func (s *memcached) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// pause returns when all threads have stopped: until then one may still answer.
func (s *memcached) pause() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGSTOP)
	var stopped syscall.WaitStatus
	if _, err := syscall.Wait4(s.cmd.Process.Pid, &stopped, syscall.WUNTRACED, nil); err != nil || !stopped.Stopped() {
		s.t.Fatalf("memcached is not paused: %v", err)
	}
}

func (s *memcached) restart() {
	s.t.Helper()
	s.kill()
	s.run()
}

// ask sends a command on a connection of its own and returns the first line of
// the answer.
func (s *memcached) ask(command string) (string, error) {
	c, err := net.Dial("unix", s.addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "%s\r\n", command)
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

func (s *memcached) must(command, want string) {
	s.t.Helper()
	if got, err := s.ask(command); got != want || err != nil {
		s.t.Fatalf("%s: %q, %v, want %q", command, got, err, want)
	}
}

func open(t testing.TB, o *Options, addrs ...string) *Store {
	t.Helper()
	s, err := New(addrs, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
