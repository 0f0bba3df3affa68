package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/session/mongostore/mongotest"
)

// servers start what a store needs, in a folder, and return the flag's value.
var servers = []struct {
	name      string
	processes int
	start     func(t *testing.T, dir string) string
}{
	{"memory", 1, func(*testing.T, string) string { return "memory" }},
	{"SQLite", 4, func(_ *testing.T, dir string) string { return "sqlite:" + filepath.Join(dir, "visits.db") }},
	{"PostgreSQL", 4, func(t *testing.T, dir string) string {
		data := filepath.Join(dir, "data")
		run(t, dir, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
		serve(t, dir, "postgres", "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir)
		where := "postgres://postgres@/postgres?sslmode=disable&host=" + url.QueryEscape(dir)
		ping(t, "pgx", where, "SELECT 1")
		return where
	}},
	{"MariaDB", 4, func(t *testing.T, dir string) string {
		data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "socket")
		run(t, dir, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--skip-test-db", "--auth-root-authentication-method=normal")
		serve(t, dir, "mariadbd", "--no-defaults", "--datadir="+data, "--skip-networking", "--socket="+socket)
		ping(t, "mysql", "root@unix("+socket+")/", "CREATE DATABASE IF NOT EXISTS app")
		return "mysql://root@unix(" + socket + ")/app?timeout=5s&readTimeout=15s&writeTimeout=15s"
	}},
	{"Redis", 4, func(t *testing.T, dir string) string {
		port := freePort(t)
		serve(t, dir, "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", dir)
		answers(t, "127.0.0.1:"+port)
		return "redis://127.0.0.1:" + port
	}},
	{"memcached", 4, func(t *testing.T, dir string) string {
		port := freePort(t)
		serve(t, dir, "memcached", "-l", "127.0.0.1", "-p", port)
		answers(t, "127.0.0.1:"+port)
		return "memcached://127.0.0.1:" + port
	}},
	{"a stand-in for MongoDB", 4, func(t *testing.T, _ string) string { return mongotest.Start(t).URI() }},
}

// The counter that naive stores lose: several processes behind a proxy that gives
// each request to the next one, and a browser that sends 50 requests at once.
func TestTheCounterNeverResetsAndNeverLosesAVisitOnAnyStore(t *testing.T) {
	program := filepath.Join(t.TempDir(), "store")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			where := s.start(t, folder(t))
			var workers []*url.URL
			for range s.processes {
				workers = append(workers, worker(t, program, where))
			}
			var turn atomic.Int64
			front := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(workers[int(turn.Add(1))%len(workers)])
			}})
			defer front.Close()
			client := front.Client()
			client.Jar, _ = cookiejar.New(nil)

			for n := 1; n <= 8; n++ {
				if got := visit(t, client, front.URL); got != n {
					t.Fatalf("visit %d is counted as %d", n, got)
				}
			}
			const parallel = 50
			seen := make([]int, parallel)
			var wg sync.WaitGroup
			for i := range seen {
				wg.Go(func() { seen[i] = visit(t, client, front.URL) })
			}
			wg.Wait()
			count := map[int]bool{}
			for _, n := range seen {
				if count[n] || n <= 8 || n > 8+parallel {
					t.Errorf("a visit is counted as %d, of %v", n, seen)
				}
				count[n] = true
			}
			if got := visit(t, client, front.URL); got != 8+parallel+1 {
				t.Errorf("after %d visits the next is counted as %d", 8+parallel, got)
			}
		})
	}
}

func visit(t *testing.T, c *http.Client, url string) (n int) {
	res, err := c.Get(url)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if _, err := fmt.Sscanf(string(text), "visit %d\n", &n); err != nil || res.StatusCode != 200 {
		t.Errorf("%s: %s", res.Status, text)
	}
	return n
}

// worker starts a process of the program and returns where it listens.
func worker(t *testing.T, program, where string) *url.URL {
	t.Helper()
	cmd := exec.Command(program, "--store", where, "--listen", "127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stderr).ReadString('\n')
	at, found := strings.CutPrefix(strings.TrimSpace(line[min(len(line), len("2026/11/26 00:00:00 ")):]), "http://")
	if err != nil || !found {
		t.Fatalf("the program says %q", line)
	}
	go io.Copy(io.Discard, stderr)
	return &url.URL{Scheme: "http", Host: at}
}

// folder is one that sockets can be in, and others than root.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const nobody = 65534

// command is one of a server's. Where it is missing, that is a failure on the
// machine that is to test everything, and a loud skip elsewhere. It runs as
// somebody who is not root: database servers refuse to.
func command(t *testing.T, dir, program string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(program)
	for _, in := range []string{"/usr/sbin", "/usr/lib/postgresql/*/bin"} {
		if paths, _ := filepath.Glob(filepath.Join(in, program)); err != nil && len(paths) > 0 {
			path, err = paths[len(paths)-1], nil
		}
	}
	if err != nil {
		const how = "%s is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			t.Fatalf(how, program)
		}
		t.Skipf("SKIPPED: "+how, program)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

func run(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	if out, err := command(t, dir, program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func serve(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	cmd := command(t, dir, program, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// wait asks until there is no error.
func wait(t *testing.T, ask func() error) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the server does not answer: %v", err)
		}
	}
}

func answers(t *testing.T, addr string) {
	t.Helper()
	wait(t, func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func ping(t *testing.T, driver, dsn, query string) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	wait(t, func() error { _, err := db.ExecContext(t.Context(), query); return err })
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
