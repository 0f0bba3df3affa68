//go:build linux

package server_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// systemd is a socket that is told how a service does.
type systemd struct {
	t    *testing.T
	name string
	conn *net.UnixConn
}

func newSystemd(t *testing.T) *systemd {
	t.Helper()
	s := &systemd{t: t, name: filepath.Join(t.TempDir(), "notify")}
	var err error
	if s.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.name, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

// hears waits for what the service says next.
func (s *systemd) hears(want string) {
	s.t.Helper()
	s.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 256)
	n, err := s.conn.Read(b)
	if err != nil || string(b[:n]) != want {
		s.t.Fatalf("systemd hears %q, %v, want %q", b[:n], err, want)
	}
}

func TestSystemdHearsOfStartReloadAndStop(t *testing.T) {
	s := newSystemd(t)
	t.Setenv("NOTIFY_SOCKET", s.name)
	dir := t.TempDir()
	settings := filepath.Join(dir, "admit.yaml")
	set := func(text string) {
		t.Helper()
		if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("log_level: error\n")
	p := launch(t, filepath.Join(dir, "data"), freePort(t), "--config", settings)
	s.hears("READY=1")
	p.ready() // at once: it listened before it said so
	p.ask("POST", "/api/v1/guest", "", nil)
	if strings.Contains(p.out.String(), "POST /api/v1/guest") {
		t.Errorf("a request is logged at level error:\n%s", p.out)
	}
	reload := func() {
		t.Helper()
		p.cmd.Process.Signal(syscall.SIGHUP)
		s.hears("RELOADING=1")
		s.hears("READY=1")
	}
	set("log_level: info\nmax_connections: 100\n")
	reload()
	p.ask("POST", "/api/v1/guest", "", nil)
	set("log_levle: debug\n")
	reload()
	p.ask("POST", "/api/v1/guest", "", nil)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.hears("STOPPING=1")
	out := p.out.String()
	for what, want := range map[string]string{
		"the request after the reload": "POST /api/v1/guest", "what waits": "waiting=[max_connections]", "the mistake": "did you mean log_level?",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not told:\n%s", what, out)
		}
	}
}

func TestTheUnitIsGoodAndHardened(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.Replace(string(file(t, "../deploy/admit.service")), "/usr/local/bin/admit", program, 1)
	copied := filepath.Join(t.TempDir(), "admit.service")
	if err := os.WriteFile(copied, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", copied).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", copied).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze security says\n%s", out)
	}
	if level, _ := strconv.ParseFloat(string(m[1]), 64); level > 2 {
		t.Errorf("the exposure level is %v, want 2 at most\n%s", level, out)
	}
}

// What the container file builds, run as it would be: alone in a root that is
// read-only but for the data, as a user that is nobody.
func TestTheContainersProgramRunsAloneAsNobody(t *testing.T) {
	t.Parallel() // it builds for a minute, and is another process
	text := string(file(t, "../deploy/Containerfile"))
	stage := text[strings.Index(text, "FROM scratch"):]
	for _, want := range []string{"USER 65532:65532", "VOLUME /data", `ENTRYPOINT ["/admit"]`, "ADMIT_DATA=/data"} {
		if !strings.Contains(stage, want) {
			t.Errorf("the container has no %q", want)
		}
	}
	build := regexp.MustCompile(`(?m)^RUN (cd server && .* go build .*)$`).FindStringSubmatch(text)
	if build == nil {
		t.Fatal("the container builds nothing")
	}
	version := regexp.MustCompile(`golang:(\S+)`).FindStringSubmatch(text)
	if version == nil || !bytes.Contains(file(t, "go.mod"), []byte("\ngo "+version[1])) {
		t.Errorf("the container builds with Go %v, go.mod says otherwise", version)
	}
	root := t.TempDir()
	cmd := exec.Command("sh", "-euc", strings.ReplaceAll(build[1], "/out/admit", filepath.Join(root, "admit")))
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := elf.Open(filepath.Join(root, "admit"))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, prog := range program.Progs {
		if prog.Type == elf.PT_INTERP || prog.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has %v", prog.Type)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can give a process a root of its own")
	}
	data := filepath.Join(root, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	for dir := root; dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	serve := exec.Command("/admit", "serve", "--listen", fmt.Sprintf("localhost:%d", port), "--json")
	serve.Env = []string{"ADMIT_DATA=/data"}
	serve.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	p := &process{t: t, url: fmt.Sprintf("http://localhost:%d", port), cmd: serve, out: &lines{}, done: make(chan error, 1)}
	var ready bytes.Buffer
	serve.Stdout, serve.Stderr = &ready, p.out
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { serve.Process.Kill() })
	go func() { p.done <- serve.Wait() }()
	p.ready()
	if a := p.ask("POST", "/api/v1/guest", "", m{"as": "token"}); a.status != 201 {
		t.Errorf("a guest: %d %s", a.status, a.Body)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.out)
	}
	if !json.Valid(ready.Bytes()) {
		t.Errorf("it says %q", ready.Bytes())
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 2 {
		t.Errorf("the root holds %v, %v: want admit and data", entries, err)
	}
}

func file(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
