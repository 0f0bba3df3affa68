package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a server under measurement.
type process struct {
	cmd       *exec.Cmd
	url       string
	binary    string
	data, dir string
}

// startAdmit starts the server as people do, on a data folder of its own, with a log.
func startAdmit(binary, dir string) *process {
	l, err := net.Listen("tcp", "localhost:0")
	must(err)
	at := l.Addr().(*net.TCPAddr).Port
	must(l.Close())
	p := &process{binary: binary, dir: dir, data: filepath.Join(dir, "data"), url: fmt.Sprintf("http://localhost:%d", at)}
	p.cmd = exec.Command(binary, "serve", "--data", p.data, "--listen", fmt.Sprintf("localhost:%d", at))
	log, err := os.Create(filepath.Join(dir, "log"))
	must(err)
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	must(p.cmd.Start())
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		res, err := http.Get(p.url + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return p
			}
		}
		if time.Since(begun) > 20*time.Second {
			must(fmt.Errorf("the server is not ready: %w", err))
		}
	}
}

// startBare starts this command with -bare.
func startBare(a answer, dir string) *process {
	self, err := os.Executable()
	must(err)
	f, err := os.CreateTemp(dir, "*.json")
	must(err)
	must(json.NewEncoder(f).Encode(a))
	must(f.Close())
	p := &process{cmd: exec.Command(self, "-bare", f.Name())}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	must(err)
	must(p.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(err)
	p.url = strings.TrimSpace(line)
	return p
}

// self is this process.
func self() *process {
	p, err := os.FindProcess(os.Getpid())
	must(err)
	return &process{cmd: &exec.Cmd{Process: p}}
}

// listen serves on a free port, and says where.
func listen(h http.HandlerFunc) error {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", l.Addr())
	return http.Serve(l, h)
}

func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.cmd.Wait()
}

// cpu is the processor time that the process has taken, of all its threads, in user and
// system mode: the fields 14 and 15 of its stat, in hundredths of a second.
func (p *process) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	must(err)
	_, rest, _ := strings.Cut(string(b), ") ") // the name may have spaces
	fields := strings.Fields(rest)
	var ticks time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		must(err)
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// addClient registers a client with the command line, and returns its secret.
func (p *process) addClient(id string, args ...string) (secret string) {
	cmd := exec.Command(p.binary, append([]string{"client", "add", "--data", p.data, "--id", id, "--name", id}, args...)...)
	out, err := cmd.Output()
	must(err)
	return strings.TrimSpace(string(out))
}

// answer returns what is answered, but for what net/http adds to it.
func (p *process) answer(of request) answer {
	q, err := http.NewRequest(of.method, p.url+of.path, strings.NewReader(of.body))
	must(err)
	for name, value := range of.header {
		q.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(q)
	must(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(err)
	if res.StatusCode != http.StatusOK {
		log.Fatalf("%s: %s", of.path, res.Status)
	}
	res.Header.Del("Date")
	if len(b) <= 2048 { // which net/http counts by itself
		res.Header.Del("Content-Length")
	}
	return answer{res.Header, b}
}
