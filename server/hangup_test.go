//go:build unix

package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSIGHUPReadsTheFileAgainAndAMistakeChangesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admit.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log_level: info\n")
	p := serve(t, t.TempDir(), freePort(t), "--config", file)
	for _, step := range []struct{ text, says string }{
		{"log_level: warn\nlog_format: json\n", "changed: log_level\nadmit: waits for the next start: log_format"},
		{"log_level: loud\n", "the old configuration holds"},
		{"log_level: info\n", "changed: log_level\n"},
	} {
		write(step.text)
		from := len(p.out.String())
		if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(p.out.String()[from:], step.says); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after %q the server did not say %q:\n%s", step.text, step.says, p.out)
			}
		}
	}
	if code := p.stop(); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
}
