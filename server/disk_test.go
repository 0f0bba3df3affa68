//go:build linux

package server_test

import (
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
	if status, body := ops.get(t, "/readyz"); status != 200 || !strings.Contains(body, `"code":"disk_full"`) {
		t.Errorf("ready on a full disk: %d %s", status, body)
	}
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
