//go:build unix

package server_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/server/internal/postgrestest"
)

var scratch string // a folder for the whole run

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == hasherArgument {
		if err := server.ServeHashes(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	if os.Getenv(serving) != "" {
		serveTokens()
		return
	}
	if os.Getenv(issuing) != "" {
		issue()
		return
	}
	var err error
	if scratch, err = os.MkdirTemp("", "admit-test-*"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	defer postgrestest.End()
	m.Run()
}

// hasherArgument makes the test program a hasher.
const hasherArgument = "hasher"

func hashersOfTest() []string { return []string{os.Args[0], hasherArgument} }

// binary is the program under test, built once, where a test asks for it.
var binary = sync.OnceValues(func() (string, error) {
	file := filepath.Join(scratch, "admit")
	out, err := exec.Command("go", "build", "-o", file, "./cmd/admit").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

// A process is a server of its own, as a person starts it.
type process struct {
	t    testing.TB
	url  string
	cmd  *exec.Cmd
	out  *lines
	done chan error

	client *http.Client // nil: http.DefaultClient
}

// serve starts the program on the data folder and waits until it is ready.
func serve(t testing.TB, data string, port int, more ...string) *process {
	t.Helper()
	p := launch(t, data, port, more...)
	p.ready()
	return p
}

// ready waits until the server may be used.
func (p *process) ready() {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		res, err := http.Get(p.url + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-p.done:
			p.t.Fatalf("the server stopped: %v\n%s", err, p.out)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the server is not ready\n%s", p.out)
		}
	}
}

// launch starts the program and does not wait.
func launch(t testing.TB, data string, port int, more ...string) *process {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{file, "serve", "--dev", "--listen", fmt.Sprintf("localhost:%d", port), "--data", data}, more...)
	return start(t, port, args...)
}

func start(t testing.TB, port int, args ...string) *process {
	t.Helper()
	p := &process{t: t, url: fmt.Sprintf("http://localhost:%d", port), out: &lines{}, done: make(chan error, 1)}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), "ADMIT_DEV_KEY=key-of-the-test")
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	// The children of a tracer die with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	return p
}

// kill is kill -9.
func (p *process) kill() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// stop asks the server to end and returns its exit code.
func (p *process) stop() int {
	p.t.Helper()
	syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.t.Fatalf("the server does not stop\n%s", p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// freePort returns a loopback port that was free a moment ago.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// answer is what the API may say.
type answer struct {
	status  int
	Code    string
	Token   string
	Session struct{ SID string }
	Body    string
}

// api asks the server as a client without cookies. An error means that there
// was no answer.
func (p *process) api(ctx context.Context, method, path, token string, in m) (answer, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return answer{}, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, body)
	if err != nil {
		return answer{}, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.DefaultClient
	if p.client != nil {
		client = p.client
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: res.StatusCode, Body: string(b)}
	if len(b) > 0 {
		err = json.Unmarshal(b, &a)
	}
	return a, err
}

// ask is api where an answer is certain.
func (p *process) ask(method, path, token string, in m) answer {
	p.t.Helper()
	a, err := p.api(p.t.Context(), method, path, token, in)
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", method, path, err, p.out)
	}
	return a
}

// form has a client ask, as programs do that speak OAuth.
func (p *process) form(path, client, secret string, f url.Values) (a m) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), "POST", p.url+path, strings.NewReader(f.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, secret)
	res, err := cmp.Or(p.client, http.DefaultClient).Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&a); res.StatusCode != 200 || err != nil && err != io.EOF { // nothing is answered to who gives back
		p.t.Fatalf("%s: %d, %v", path, res.StatusCode, err)
	}
	return a
}

// tail returns the last lines of a text.
func tail(text string, n int) string {
	all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// It is on no disk: the key that opens it is, and so is its end once that was acknowledged.
func TestAClientsOwnTokenAndItsEndOutliveKillNine(t *testing.T) {
	data, port := t.TempDir(), freePort(t)
	again := func() *process {
		p := launch(t, data, port)
		p.ready()
		return p
	}
	p := again()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(file, "client", "add", "--data", data, "--id", "job", "--name", "The job", "--grant", "client_credentials").Output()
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(out))
	var tokens []string
	for range 2 {
		tokens = append(tokens, p.form("/oauth/token", "job", secret, url.Values{"grant_type": {"client_credentials"}})["access_token"].(string))
	}
	count := func(want ...bool) {
		t.Helper()
		for i, text := range tokens {
			if got := p.form("/oauth/introspect", "job", secret, url.Values{"token": {text}})["active"]; got != want[i] {
				t.Errorf("token %d counts: %v", i, got)
			}
		}
	}
	p.kill()
	p = again()
	count(true, true)
	p.form("/oauth/revoke", "job", secret, url.Values{"token": {tokens[0]}})
	p.kill()
	p = again()
	count(false, true)
}
