//go:build unix

package server_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/admit-auth/admit/server"
)

// Backups go into a folder that others may write to. One of them puts a pipe
// there, under a name as an interrupted backup leaves it: to open it would wait
// for ever, and there would be no backup from then on.
func TestAttackAPipeWaitsWhereABackupIsWritten(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, ".admit-backup-1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Backup(t.Context(), server.Config{Data: s.data}, server.BackupOptions{File: dir}); err != nil {
		t.Error(err)
	}
}
