package express

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// need skips loudly where a part is missing, and fails on a machine that is to
// test everything.
func need(t testing.TB) {
	t.Helper()
	_, err := os.Stat(filepath.Join("node_modules", "express-session"))
	for _, program := range []string{"node", "redis-server"} {
		if _, missing := exec.LookPath(program); missing != nil {
			err = errors.Join(err, missing)
		}
	}
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "express: SKIPPED, Express was not tried: %v\nexpress: run make test SETUP=1, or apt-get install npm redis-server, and npm ci in conformance/express\n", err)
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// start runs a program until the test ends, and returns what its first line
// that fits says.
func start(t testing.TB, line *regexp.Regexp, name string, args ...string) (string, *os.Process) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		r.Close()
	})
	said := make(chan string, 1)
	go func() {
		defer close(said)
		lines := bufio.NewScanner(r)
		var all []string
		found := false
		for lines.Scan() {
			if m := line.FindStringSubmatch(lines.Text()); m != nil && !found {
				found = true
				said <- m[len(m)-1]
			}
			if all = append(all, lines.Text()); !found && len(all) > 100 {
				break
			}
		}
		if !found {
			t.Logf("%s says: %s", name, strings.Join(all, "\n"))
		}
	}()
	select {
	case s := <-said:
		if s != "" {
			return s, cmd.Process
		}
	case <-time.After(20 * time.Second):
	}
	t.Fatalf("%s does not start", name)
	return "", nil
}

var listening = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)`)

// redisServer starts one and returns its URL.
func redisServer(t testing.TB) (string, *os.Process) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	return "redis://127.0.0.1:" + port, redisAt(t, port)
}

func redisAt(t testing.TB, port string) *os.Process {
	t.Helper()
	_, process := start(t, regexp.MustCompile("Ready to accept connections"), "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	return process
}

// peer builds the example once for a test.
func peer(t testing.TB) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "express-peer")
	out, err := exec.Command("go", "build", "-C", "../../examples", "-o", program, "./express-peer").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func TestExpressAndGoShareSessions(t *testing.T) {
	need(t)
	program := peer(t)
	redis, _ := redisServer(t)
	args := []string{"drive.mjs", redis}
	for _, secret := range []string{"keyboard cat", "new cat,keyboard cat", "new cat"} {
		node, _ := start(t, listening, "node", "server.mjs", "--redis", redis, "--secret", secret)
		ours, _ := start(t, listening, program, "--port", "0", "--redis", redis, "--secret", secret)
		args = append(args, node, ours)
	}
	out, err := exec.CommandContext(t.Context(), "node", args...).CombinedOutput()
	n := 0
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "ok ") {
			n++
		}
	}
	if err != nil || n < 42 {
		t.Errorf("%v, %d promises kept\n%s", err, n, out)
	}
	t.Logf("%d promises kept", n)
}

func TestAnOutageOfRedisIsAnAnswerInTime(t *testing.T) {
	need(t)
	redis, process := redisServer(t)
	site, _ := start(t, listening, peer(t), "--port", "0", "--redis", redis)
	jar, _ := cookiejar.New(nil)
	client := http.Client{Jar: jar, Timeout: 10 * time.Second}
	visit := func() (status int, sent bool, took time.Duration) {
		t.Helper()
		begin := time.Now()
		res, err := client.Get(site + "/visit")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode, len(res.Cookies()) > 0, time.Since(begin)
	}
	if status, sent, _ := visit(); status != 200 || !sent {
		t.Fatal(status)
	}
	for _, stranger := range []bool{false, true} {
		if stranger {
			client.Jar = nil
		}
		process.Signal(syscall.SIGSTOP)
		status, sent, took := visit()
		process.Signal(syscall.SIGCONT)
		if status != 503 || sent || took > 4*time.Second {
			t.Errorf("paused, a stranger %t: %d, a cookie %t, %v", stranger, status, sent, took)
		}
	}
	client.Jar = jar
	// back waits for an answer, and says whether it is from a new session.
	back := func(after string) (sent bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if status, sent, _ := visit(); status == 200 {
				return sent
			} else if sent {
				t.Errorf("after the %s: %d with a cookie", after, status)
			}
		}
		t.Fatalf("not back after the %s", after)
		return false
	}
	if back("pause") {
		t.Error("a pause has ended the session")
	}
	process.Kill()
	process.Wait()
	if status, sent, took := visit(); status != 503 || sent || took > 4*time.Second {
		t.Errorf("killed: %d, a cookie %t, %v", status, sent, took)
	}
	redisAt(t, strings.TrimPrefix(redis, "redis://127.0.0.1:"))
	if !back("restart") {
		t.Error("a Redis without a disk has kept the session")
	}
}
