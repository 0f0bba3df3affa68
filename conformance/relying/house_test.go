package relying

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const password = "a long password of somebody"

// temporary is the folder of what all tests share.
var temporary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if temporary, err = os.MkdirTemp("", "admit-relying-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(temporary)
	code := m.Run()
	if shared.house != nil {
		shared.house.stop()
	}
	if chromium.stop != nil {
		chromium.stop()
	}
	return code
}

// find returns a program's path. Where it is missing, it is a failure on the
// machine that is to test everything, and a loud skip elsewhere.
func find(t testing.TB, programs ...string) string {
	t.Helper()
	for _, program := range programs {
		for _, name := range []string{program, "/usr/sbin/" + program} {
			if path, err := exec.LookPath(name); err == nil {
				return path
			}
		}
	}
	missing(t, programs[0])
	return ""
}

func missing(t testing.TB, what string) {
	t.Helper()
	const how = "%s is missing: make test SETUP=1 installs it"
	if os.Getenv("CI") == "true" {
		t.Fatalf(how, what)
	}
	fmt.Fprintf(os.Stderr, "relying: SKIPPED: "+how+"\n", what)
	t.Skipf("SKIPPED: "+how, what)
}

// built compiles a program of ours once.
func built(t testing.TB, module, name string) string {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	program := filepath.Join(temporary, filepath.Base(name))
	if _, err := os.Stat(program); err == nil {
		return program
	}
	if out, err := exec.Command("go", "build", "-C", filepath.Join("..", "..", module), "-o", program, name).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return program
}

var builds sync.Mutex

// A house is the binary, which serves a folder of its own.
type house struct {
	url, data string
	*process
}

// shared is the house of all tests that do not kill theirs.
var shared struct {
	sync.Mutex
	house *house
}

func home(t testing.TB) *house {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.house == nil {
		shared.house = newHouse(t, filepath.Join(temporary, "data"), "localhost:0")
	}
	return shared.house
}

// newHouse starts the binary, with what is in the folder already.
func newHouse(t testing.TB, data, listen string) *house {
	t.Helper()
	h := &house{data: data}
	os.Remove(filepath.Join(data, "admit.sock")) // of one that was killed
	h.process = launch(t, nil, built(t, "server", "./cmd/admit"), "serve", "--dev", "--listen", listen, "--data", data)
	h.url = h.says(t, regexp.MustCompile(`^(http://localhost:\d+)$`))
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) { // until commands are heard
		if _, err := os.Stat(filepath.Join(data, "admit.sock")); err == nil {
			return h
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("no commands are heard:\n%s", h.log())
		}
	}
}

// admit runs a command beside the server.
func (h *house) admit(t testing.TB, in string, args ...string) string {
	t.Helper()
	c := exec.Command(built(t, "server", "./cmd/admit"), append(args, "--data", h.data)...)
	c.Stdin = strings.NewReader(in)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("admit %v: %v\n%s", args, err, &said)
	}
	return strings.TrimSpace(string(out))
}

// user makes somebody, who is called so.
func (h *house) user(t testing.TB, id, name string) {
	t.Helper()
	h.admit(t, password, "user", "add", "--identifier", id, "--name", name, "--password-file", "-")
}

// client registers one, and returns its secret.
func (h *house) client(t testing.TB, id string, args ...string) string {
	t.Helper()
	return h.admit(t, "", append([]string{"client", "add", "--id", id, "--name", "The " + id}, args...)...)
}

// endAll ends each session of a user, as an operator does.
func (h *house) endAll(t testing.TB, user string) {
	t.Helper()
	var all []struct{ SID string }
	if err := json.Unmarshal([]byte(h.admit(t, "", "session", "list", "--user", user, "--json")), &all); err != nil || len(all) == 0 {
		t.Fatalf("%s has %d sessions: %v", user, len(all), err)
	}
	for _, s := range all {
		h.admit(t, "", "session", "end", s.SID)
	}
}

// asked is how often a line of the log says this.
func (h *house) asked(line string) int { return strings.Count(h.log(), line+`"`) }

// A process is a program that runs until the test ends.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	mu    sync.Mutex
	said  []string
	more  chan struct{} // holds something when said has grown
}

// launch starts a program, which whoever asks for it stops.
func launch(t testing.TB, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), ended: make(chan struct{}), more: make(chan struct{}, 1)}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.Env = append(os.Environ(), env...)
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			p.mu.Lock()
			p.said = append(p.said, lines.Text())
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
		r.Close()
		p.cmd.Wait()
		close(p.ended)
	}()
	return p
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.said, "\n")
}

// says waits for a line.
func (p *process) says(t testing.TB, line *regexp.Regexp) string {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		p.mu.Lock()
		for _, text := range p.said {
			if m := line.FindStringSubmatch(text); m != nil {
				p.mu.Unlock()
				return m[len(m)-1]
			}
		}
		p.mu.Unlock()
		select {
		case <-p.more:
		case <-p.ended:
			t.Fatalf("it has ended:\n%s", p.log())
		case <-late:
			t.Fatalf("it does not say %s:\n%s", line, p.log())
		}
	}
}

// stop ends it, by force where it does not end by itself.
func (p *process) stop() {
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// reachable waits until something listens there.
func reachable(t testing.TB, p *process, address string) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("nothing listens at %s:\n%s", address, p.log())
		}
	}
}

// secretFile is a file with a secret in it.
func secretFile(t testing.TB, secret string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// eventually waits until a check finds nothing wrong.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	err := errors.New("")
	for begun := time.Now(); time.Since(begun) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func text(t testing.TB, r io.ReadCloser) string {
	t.Helper()
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func decoded(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
