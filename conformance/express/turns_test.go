package express

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/admit-auth/admit/session/mongostore/mongotest"
)

// Express and Go take turns on one cookie jar, over each place where Express
// keeps sessions. The promises are in turns.test.mjs and cookies.test.mjs.
func TestExpressAndGoTakeTurns(t *testing.T) {
	need(t)
	program := peer(t)
	for _, place := range []struct {
		name string
		open func(testing.TB) (at string)
	}{
		{"redis", func(t testing.TB) string { url, _ := redisServer(t); return url }},
		{"memcached", memcachedServer},
		// A stand-in: there is no MongoDB to be had.
		{"mongo", func(t testing.TB) string {
			if uri := os.Getenv("MONGODB_URI"); uri != "" {
				return uri
			}
			return mongotest.Start(t).URI()
		}},
		{"postgres", postgresServer},
	} {
		t.Run(place.name, func(t *testing.T) {
			at := []string{"--store", place.name, "--" + place.name, place.open(t), "--port", "0"}
			env := os.Environ()
			for _, p := range []struct {
				name, secret string
				command      []string
			}{
				{"NODE", "new,old", []string{"node", "server.mjs"}}, // first: its package makes the table
				{"OLD", "old", []string{"node", "server.mjs"}},
				{"GO", "new,old", []string{program}},
				{"GO2", "new,old", []string{program}},
			} {
				args := append(append(p.command[1:], at...), "--secret", p.secret)
				site, _ := start(t, listening, p.command[0], args...)
				env = append(env, p.name+"="+site)
			}
			promises := []string{"turns.test.mjs"}
			if place.name == "redis" { // cookies do not care where sessions are
				promises = append(promises, "cookies.test.mjs")
			}
			cmd := exec.CommandContext(t.Context(), "node", append([]string{"--test", "--test-reporter=tap"}, promises...)...)
			cmd.Env = env
			out, err := cmd.CombinedOutput()
			var kept string
			if m := regexp.MustCompile(`(?m)^# pass (\d+)$`).FindSubmatch(out); m != nil {
				kept = string(m[1])
			}
			if err != nil || len(kept) < 2 {
				t.Errorf("%v, %s promises kept\n%s", err, kept, failures(string(out)))
			}
			t.Logf("%s promises kept", kept)
		})
	}
}

// failures are the lines of a report that tell of one.
func failures(report string) string {
	var b strings.Builder
	telling := false
	for line := range strings.Lines(report) {
		if strings.HasPrefix(line, "not ok") {
			telling = true
		} else if strings.HasPrefix(line, "ok") || strings.HasPrefix(line, "# Subtest") {
			telling = false
		}
		if telling {
			b.WriteString(line)
		}
	}
	if b.Len() == 0 {
		return report
	}
	return b.String()
}

// find returns a program's path. Where it is missing, it is a failure on the
// machine that is to test everything, and a loud skip elsewhere.
func find(t testing.TB, program string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program); len(paths) > 0 {
		return paths[len(paths)-1]
	}
	const how = "%s is missing: make test SETUP=1 installs it"
	if os.Getenv("CI") == "true" {
		t.Fatalf(how, program)
	}
	t.Skipf("SKIPPED: "+how, program)
	return ""
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

// memcachedServer starts one and returns where it is.
func memcachedServer(t testing.TB) string {
	t.Helper()
	port := freePort(t)
	args := []string{"-l", "127.0.0.1", "-p", port, "-vv"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root") // it asks to be told
	}
	start(t, regexp.MustCompile(`server listening`), find(t, "memcached"), args...)
	return "127.0.0.1:" + port
}

// postgresServer starts one and returns the URL of an empty database.
func postgresServer(t testing.TB) string {
	t.Helper()
	initdb, postgres, port := find(t, "initdb"), find(t, "postgres"), freePort(t)
	dir, err := os.MkdirTemp("", "admit-express-") // not t.TempDir, which is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	create := exec.Command(initdb, "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
	create.Dir = dir
	run := []string{postgres, "-D", filepath.Join(dir, "data"), "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"}
	if os.Getuid() == 0 { // which PostgreSQL refuses to be
		const nobody = 65534
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		create.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		run = append([]string{find(t, "setpriv"), "--reuid", fmt.Sprint(nobody), "--regid", fmt.Sprint(nobody), "--clear-groups"}, run...)
	}
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", create, err, out)
	}
	start(t, regexp.MustCompile("ready to accept connections"), run[0], run[1:]...)
	return "postgres://postgres@127.0.0.1:" + port + "/postgres"
}
