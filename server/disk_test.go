//go:build linux

package server_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAFullDiskIsABoundedAnswerAndLosesNothing(t *testing.T) {
	disk := smallDisk(t, "8m")
	p, ops := watched(t, filepath.Join(disk, "data"))
	ann := p.ask("POST", "/api/v1/signup", "", m{"identifier": "ann", "password": goodPassword, "as": "token"})
	if ann.status != 201 {
		t.Fatalf("sign-up: %d %s", ann.status, ann.Body)
	}
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	var full answer
	for i := range 200 { // what is free inside the database's own files goes first
		begun := time.Now()
		full = p.ask("POST", "/api/v1/guest", "", m{"as": "token"})
		if took := time.Since(begun); took > 15*time.Second {
			t.Fatalf("guest %d: no answer for %v", i, took)
		}
		if full.status != 201 {
			break
		}
	}
	if full.status != 503 {
		t.Fatalf("on a full disk: %d %s", full.status, full.Body)
	}
	if a := p.ask("POST", "/api/v1/signup", "", m{"identifier": "bob", "password": goodPassword, "as": "token"}); a.status != 503 {
		t.Errorf("sign-up on a full disk: %d %s", a.status, a.Body)
	}
	if a := p.ask("POST", "/api/v1/signout", ann.Token, nil); a.status != 503 {
		t.Errorf("sign-out on a full disk: %d %s", a.status, a.Body)
	}
	if a := p.ask("GET", "/api/v1/session", ann.Token, nil); a.status != 200 {
		t.Errorf("a session on a full disk: %d %s", a.status, a.Body)
	}
	ops.becomes(t, `admit_condition{condition="disk_full"}`, 1)
	ops.degraded(t, p, "disk_full")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if a := p.ask("POST", "/api/v1/signup", "", m{"identifier": "bob", "password": goodPassword, "as": "token"}); a.status != 201 {
		t.Errorf("sign-up with room again: %d %s", a.status, a.Body)
	}
	if a := p.ask("POST", "/api/v1/signout", ann.Token, nil); a.status != 204 {
		t.Errorf("sign-out with room again: %d %s", a.status, a.Body)
	}
	if a := p.ask("GET", "/api/v1/session", ann.Token, nil); a.status != 401 {
		t.Errorf("after signing out: %d %s", a.status, a.Body)
	}
	ops.becomes(t, `admit_condition{condition="disk_full"}`, 0)
	p.logs("condition=disk_full", 2) // when it begins, and when it is over
	if n, ok := ops.value(t, `admit_database_transaction_failures_total{of="sessions"}`); !ok || n == 0 {
		t.Errorf("%v failed transactions are counted (%v)", n, ok)
	}
}

func TestADiskThatBecomesReadOnlyIsToldAndSessionsGoOn(t *testing.T) {
	disk := smallDisk(t, "16m")
	p, ops := watched(t, filepath.Join(disk, "data"))
	token := p.ask("POST", "/api/v1/signup", "", m{"identifier": "ann", "password": goodPassword, "as": "token"}).Token
	remount := func(how string) {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "remount,"+how, disk).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: the disk cannot be made %s: %v %s", how, err, out)
		}
	}
	// What holds files open for writing keeps a disk from that: so by its root.
	if err := exec.Command("mount", "-o", "remount,ro", disk).Run(); err != nil {
		t.Skipf("SKIPPED: a disk in use cannot be made read-only here: %v", err)
	}
	ops.becomes(t, `admit_condition{condition="disk_read_only"}`, 1)
	ops.degraded(t, p, "disk_read_only")
	if a := p.ask("GET", "/api/v1/session", token, nil); a.status != 200 {
		t.Errorf("a session on a read-only disk: %d %s", a.status, a.Body)
	}
	if a := p.ask("POST", "/api/v1/signout", token, nil); a.status != 503 {
		t.Errorf("sign-out on a read-only disk: %d %s", a.status, a.Body)
	}
	remount("rw")
	ops.becomes(t, `admit_condition{condition="disk_read_only"}`, 0)
	if a := p.ask("POST", "/api/v1/signout", token, nil); a.status != 204 {
		t.Errorf("sign-out when it can be written again: %d %s", a.status, a.Body)
	}
}

func TestADiskThatFailsIsToldAndSessionsGoOn(t *testing.T) {
	strace := tool(t, "strace")
	p, ops := watched(t, t.TempDir())
	token := p.ask("POST", "/api/v1/guest", "", m{"as": "token"}).Token
	tracer := exec.Command(strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EIO",
		"-p", fmt.Sprint(p.cmd.Process.Pid))
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	defer tracer.Wait()
	defer tracer.Process.Signal(os.Interrupt)
	until(t, "a write is refused", func() bool {
		a := p.ask("POST", "/api/v1/guest", "", m{"as": "token"})
		return a.status == 503 && a.Code != ""
	})
	ops.becomes(t, `admit_condition{condition="disk_failing"}`, 1)
	ops.degraded(t, p, "disk_failing")
	if a := p.ask("GET", "/api/v1/session", token, nil); a.status != 200 {
		t.Errorf("a session on a disk that fails: %d %s", a.status, a.Body)
	}
	tracer.Process.Signal(os.Interrupt)
	until(t, "writes go on", func() bool {
		return p.ask("POST", "/api/v1/guest", "", m{"as": "token"}).status == 201
	})
	ops.becomes(t, `admit_condition{condition="disk_failing"}`, 0)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, tail(p.out.String(), 10))
	}
}

// degraded expects requests to be sent here all the same, and the reason told.
func (o opsPort) degraded(t *testing.T, p *process, code string) {
	t.Helper()
	if got := status(t, p.url+"/readyz"); got != 200 {
		t.Errorf("ready to the public: %d", got)
	}
	if status, body := o.get(t, "/readyz"); status != 200 || !strings.Contains(body, `"status":"degraded"`) || !strings.Contains(body, `"code":"`+code+`"`) {
		t.Errorf("ready with %s: %d %s", code, status, body)
	}
}

// fill writes a file until the disk is full.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for n := 0; ; n++ {
		if _, err := f.Write(block); err != nil {
			return
		}
		if n > 1<<20 {
			t.Fatal("the disk does not fill")
		}
	}
}
