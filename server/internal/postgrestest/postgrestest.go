//go:build unix

// Package postgrestest starts PostgreSQL servers for tests.
//
// [Start] is for a test that stops or kills its server; most tests want a database
// of the one that [Shared] starts.
package postgrestest

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/postgres"
)

// A Server is a PostgreSQL server with nothing in it, on a loopback port.
type Server struct {
	port int
	dir  string
	cmd  *exec.Cmd
	gone chan struct{} // closed once cmd has ended
	made atomic.Int64  // databases

	filling sync.Mutex
	filled  string // name of the database that Copy copies, "" until there is one; guarded by filling
}

// find returns a program's path. Where it is missing, it is a failure on the
// machine that is to test everything, and a loud skip elsewhere.
func find(t testing.TB, program string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if paths, _ := filepath.Glob(filepath.Join("/usr/lib/postgresql/*/bin", program)); len(paths) > 0 {
		return paths[len(paths)-1]
	}
	const how = "%s is missing: make test SETUP=1 installs it, or apt-get install postgresql"
	if os.Getenv("CI") == "true" {
		t.Fatalf(how, program)
	}
	t.Skipf("SKIPPED: "+how, program)
	return ""
}

var (
	mu     sync.Mutex
	shared *Server // guarded by mu
)

// Shared returns a server for all tests of a program, which End stops.
func Shared(t testing.TB) *Server {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if shared == nil {
		shared = start(t)
	}
	return shared
}

// End stops the server that Shared has started, if it has: call it after all tests.
func End() {
	mu.Lock()
	defer mu.Unlock()
	if shared != nil {
		shared.remove()
		shared = nil
	}
}

// Start starts a server that is the test's alone, and stops with it.
func Start(t testing.TB) *Server {
	t.Helper()
	s := start(t)
	t.Cleanup(s.remove)
	return s
}

func start(t testing.TB) *Server {
	t.Helper()
	initdb := find(t, "initdb")
	// Not t.TempDir, which is long for a socket and closed to others.
	dir, err := os.MkdirTemp("", "admit-pg-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: dir}
	defer func() {
		if t.Failed() {
			s.remove()
		}
	}()
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	// An order of text that is not that of bytes, as most servers have it.
	create := s.apart(exec.Command(initdb, "-N", "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"))
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", create, err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	s.Restart(t)
	return s
}

const nobody = 65534

// apart lets a command run as one who is not root: PostgreSQL refuses to.
func (s *Server) apart(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupted test stops it in its own way
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// Restart starts the server again, and waits until it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	db := s.open(t)
	defer db.Close()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		s.cmd = s.apart(exec.Command(find(t, "postgres"), "-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.port),
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+s.dir, "-c", "max_connections=300"))
		s.cmd.Stdout, s.cmd.Stderr = log, log
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmd, gone := s.cmd, make(chan struct{})
		s.gone = gone
		go func() { cmd.Wait(); close(gone) }()
		for up := true; up && time.Now().Before(deadline); {
			select {
			case <-gone:
				up = false // what was killed may yet hold its memory
			case <-time.After(20 * time.Millisecond):
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				err := db.PingContext(ctx)
				cancel()
				if err == nil {
					return
				}
			}
		}
	}
	text, _ := os.ReadFile(log.Name())
	t.Fatalf("PostgreSQL does not start: %s", text)
}

// open returns a pool for an administrator of the server.
func (s *Server) open(t testing.TB) *sql.DB {
	t.Helper()
	a, err := postgres.Parse(s.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	return postgres.Open(a, 1, "")
}

func (s *Server) url(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s", s.port, database)
}

// Database makes an empty database and returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("admit", s.made.Add(1))
	s.Exec(t, "CREATE DATABASE "+name)
	return s.url(name)
}

// Copy makes a copy of a database that fill was given the URL of, and returns its URL.
// It fills one at the first call, so that all who call it are to give the same fill.
func (s *Server) Copy(t testing.TB, fill func(url string) error) string {
	t.Helper()
	s.filling.Lock()
	defer s.filling.Unlock() // of one database, one copy is made at a time
	if s.filled == "" {
		url := s.Database(t)
		if err := fill(url); err != nil {
			t.Fatal(err)
		}
		s.filled = url[strings.LastIndexByte(url, '/')+1:]
	}
	name := fmt.Sprint("admit", s.made.Add(1))
	s.Exec(t, "CREATE DATABASE "+name+" TEMPLATE "+s.filled)
	return s.url(name)
}

// Exec runs a statement as an administrator of the server.
func (s *Server) Exec(t testing.TB, statement string) {
	t.Helper()
	db := s.open(t)
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Kill is kill -9, of which the server hears nothing.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	<-s.gone
}

// Stop ends the server as an administrator does who is in a hurry.
func (s *Server) Stop() {
	s.cmd.Process.Signal(syscall.SIGINT)
	<-s.gone
}

// Pause stops the server and all its sessions where they are, until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets them go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// signal sends a signal to the server and to its children, each of which has a
// process group of its own.
func (s *Server) signal(sig syscall.Signal) {
	server := s.cmd.Process.Pid
	syscall.Kill(server, sig) // first, so that it makes no more
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(text), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(server) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				syscall.Kill(pid, sig)
			}
		}
	}
}

func (s *Server) remove() {
	if s.cmd != nil && s.gone != nil {
		s.Resume()
		s.cmd.Process.Signal(syscall.SIGQUIT)
		<-s.gone
	}
	os.RemoveAll(s.dir)
}
