//go:build linux

package server_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/server"
)

func TestPasswordsAreHashedBesideWithoutSecretsAndNobodyOutlivesTheServer(t *testing.T) {
	t.Setenv("ADMIT_MASTER_KEY", strings.Repeat("A", 43)+"=")
	p := serve(t, t.TempDir(), freePort(t))
	ann := m{"identifier": "ann", "password": goodPassword}
	if a := p.ask("POST", "/api/v1/signup", "", ann); a.status != 201 {
		t.Fatalf("sign-up: %d %s", a.status, a.Body)
	}
	pids := children(t, p)
	if len(pids) != 1 {
		t.Fatalf("%d processes hash", len(pids))
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pids[0]))
	if err != nil || string(environment) != "GOMAXPROCS=1\x00" {
		t.Errorf("it knows %q, %v", environment, err)
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pids[0]))
	if err != nil || !bytes.HasSuffix(line, []byte("\x00hasher\x00")) {
		t.Errorf("it is %q, %v", line, err)
	}
	// A terminal tells every process of a group, and a supervisor of a unit.
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		syscall.Kill(pids[0], sig)
	}
	if a := p.ask("POST", "/api/v1/signin", "", ann); a.status != 200 || len(children(t, p)) != 1 || children(t, p)[0] != pids[0] {
		t.Errorf("a sign-in after signals to it: %d %s, and %v hash where %v did", a.status, a.Body, children(t, p), pids)
	}
	syscall.Kill(pids[0], syscall.SIGKILL)
	if a := p.ask("POST", "/api/v1/signin", "", ann); a.status != 200 {
		t.Errorf("a sign-in after one was killed: %d %s", a.status, a.Body)
	}
	p.logs("passwords are hashed in the server's own process", 1)
	if a := p.ask("POST", "/api/v1/signin", "", ann); a.status != 200 || len(children(t, p)) != 1 {
		t.Errorf("the next sign-in: %d %s, with %d processes that hash", a.status, a.Body, len(children(t, p)))
	}
	pid := children(t, p)[0]
	syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL) // the server alone
	<-p.done
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(state), ") Z ") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it outlives the server")
		}
	}
}

func TestWhatHashesBadlyCostsNobodyASignIn(t *testing.T) {
	for name, command := range map[string][]string{
		"a program that is not there": {filepath.Join(t.TempDir(), "nothing")},
		"one that ends":               {"/bin/false"},
		"one that says what it hears": {"/bin/cat"},
		"one that talks":              {"/bin/sh", "-c", "yes"},
	} {
		var log bytes.Buffer
		s := newSite(t, func(c *server.Config) {
			c.Hashers = command
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		ann := m{"identifier": "ann", "password": goodPassword}
		s.client().post("signup", ann).want(201)
		s.client().post("signin", ann).want(200)
		s.client().post("signin", m{"identifier": "ann", "password": "another one of hers"}).want(401)
		if n := strings.Count(log.String(), "own process"); n != 1 {
			t.Errorf("%s: the log tells %d times\n%s", name, n, &log)
		}
	}
}

// Hashes of one place are good in the other.
func TestAHashFromBesideIsGoodHere(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Hashers = hashersOfTest() })
	ann := m{"identifier": "ann", "password": goodPassword}
	s.client().post("signup", ann).want(201)
	s.server.Close()
	s.open()
	s.client().post("signin", ann).want(200)
	s.server.Close()
	s.open(func(c *server.Config) { c.Hashers = hashersOfTest() })
	s.client().post("signin", ann).want(200)
}
