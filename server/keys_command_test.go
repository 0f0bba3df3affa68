//go:build unix

package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
)

func TestACommandThatGivesNoMasterKeyIsNotWaitedFor(t *testing.T) {
	hangs := filepath.Join(t.TempDir(), "hangs")
	// A child of it keeps the output open after it was killed.
	if err := os.WriteFile(hangs, []byte("#!/bin/sh\nsleep 15 &\nwait\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, command string }{
		{"it hangs", "sleep 60"},
		{"a child of it hangs", hangs},
		{"it writes without end", "yes"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		begun := time.Now()
		text, err := runMasterCommand(ctx, tt.command)
		if !errors.Is(err, ErrMasterCommand) || text != "" {
			t.Errorf("%s: %d bytes, %v", tt.name, len(text), err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s: it took %v", tt.name, took)
		}
	}
}

func TestACommandSeesNoSecretOfOurs(t *testing.T) {
	t.Setenv("ADMIT_MASTER_KEY", "hunter2")
	t.Setenv("KMS_TOKEN", "of the command")
	text, err := runMasterCommand(t.Context(), "env")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "hunter2") || !strings.Contains(text, "KMS_TOKEN=of the command") {
		t.Errorf("the command sees\n%s", text)
	}
}

func TestAMasterKeyIsNeverPrintedWithTheConfiguration(t *testing.T) {
	cfg := Config{MasterKey: admit.NewSecret("hunter2")}
	var out strings.Builder
	if err := cfg.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, s := range cfg.Settings() {
		if text, ok := s.Value.(string); ok {
			out.WriteString(text)
		}
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Error("it is")
	}
}
