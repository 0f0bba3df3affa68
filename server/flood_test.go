//go:build unix

package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// resident returns the memory of a process in KiB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("SKIPPED: memory is not told here: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// checks asks n times for the session and returns the slowest but one in a
// hundred.
func (p *process) checks(n int, cookie string) (p99 time.Duration) {
	p.t.Helper()
	var took []time.Duration
	for range n {
		r, _ := http.NewRequest("GET", p.url+"/api/v1/session", nil) // of a good URL
		r.Header.Set("Cookie", cookie)
		begun := time.Now()
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			p.t.Fatalf("a session check: %v\n%s", err, p.out)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		took = append(took, time.Since(begun))
		if res.StatusCode != http.StatusOK {
			p.t.Fatalf("a session check is answered with %s", res.Status)
		}
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// needFiles skips, loudly, where a process may not open as many files.
func needFiles(t *testing.T, n int) {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || uint64(l.Cur) < uint64(n) {
		t.Skipf("SKIPPED: this process may open %d files, and needs %d: ulimit -n %d", l.Cur, n, n)
	}
}

func TestTenThousandIdleConnectionsCostLittleAndSessionsAreStillChecked(t *testing.T) {
	const conns = 10_000
	needFiles(t, conns+600)
	port := freePort(t)
	p := serve(t, t.TempDir(), port, "--log-level", "error")
	cookie := signUpAt(t, p.url)
	p.checks(200, cookie)
	before := resident(t, p.cmd.Process.Pid)
	held := make([]net.Conn, conns)
	buf := make([]byte, 4096)
	for i := range held {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatalf("connection %d: %v\n%s", i, err, p.out)
		}
		defer c.Close()
		// Idle after an answer, as a browser's are: one that never asked costs less.
		fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if n, err := c.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 200") {
			t.Fatalf("connection %d: %q, %v", i, buf[:n], err)
		}
		held[i] = c
	}
	p99 := p.checks(500, cookie)
	grown := resident(t, p.cmd.Process.Pid) - before
	t.Logf("%d idle connections: %d MiB more, %d KiB each; a session check has a p99 of %v", conns, grown>>10, grown/conns, p99)
	if grown > 400<<10 {
		t.Errorf("they cost %d MiB, want 400 at most", grown>>10)
	}
	if p99 > 250*time.Millisecond { // 1 ms on a quiet machine
		t.Errorf("a session check has a p99 of %v meanwhile", p99)
	}
}

// Whoever opens connections without end gets what the bound allows; those that
// do nothing are shed, and people are answered.
func TestAttackConnectionsWithoutEndKeepNobodyOut(t *testing.T) {
	port := freePort(t)
	p := serve(t, t.TempDir(), port, "--log-level", "warn", "--max-connections", "64")
	cookie := signUpAt(t, p.url)
	http.DefaultClient.CloseIdleConnections()
	stop := make(chan struct{})
	done := make(chan struct{})
	var opened, shed atomic.Int64
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				continue
			}
			opened.Add(1)
			io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
			go func() { // holds it for as long as it may
				io.Copy(io.Discard, c)
				shed.Add(1)
				c.Close()
			}()
			if opened.Load()-shed.Load() > 60 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	answered := 0
	for range 300 {
		r, _ := http.NewRequest("GET", p.url+"/api/v1/session", nil) // of a good URL
		r.Header.Set("Cookie", cookie)
		if res, err := client.Do(r); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				answered++
			}
		}
	}
	close(stop)
	<-done
	t.Logf("%d connections were opened, %d shed; %d of 300 session checks were answered at the first try", opened.Load(), shed.Load(), answered)
	if answered < 200 {
		t.Errorf("%d of 300 session checks were answered at the first try", answered)
	}
	if p.stop() != 0 {
		t.Errorf("the server did not end well\n%s", p.out)
	}
}
