//go:build linux

package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An operator who forgets sudo -u is told so, and not that something broke.
func TestACommandOfAnotherUserIsToldWhoseTheServerIs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can be two users")
	}
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(openFolder(t), "admit") // where the test's own cache is closed
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(openFolder(t), "data")
	serve(t, data, freePort(t))
	cmd := exec.Command(program, "user", "list", "--data", data)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "(data_unwritable)") || !strings.Contains(string(out), "admit: hint: run this as the user of the server") {
		t.Errorf("%v\n%s", err, out)
	}
}

// openFolder is a folder that every user can reach.
func openFolder(t *testing.T) string {
	dir, err := os.MkdirTemp("", "admit")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
