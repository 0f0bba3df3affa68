//go:build unix

package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// smallDisk mounts a file system of its own, which only root can.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: a small disk cannot be mounted here: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	return dir
}

func TestAFullDiskIsABoundedAnswerAndLosesNothing(t *testing.T) {
	disk := smallDisk(t, "8m")
	p := serve(t, filepath.Join(disk, "data"), freePort(t))
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
