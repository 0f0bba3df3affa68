//go:build unix

package server

import (
	"os"
	"syscall"
)

// lockFile holds f for this process, or fails at once. The kernel lets go of
// it when the process ends, however it ends.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
