package server

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockFile holds f for this process, or fails at once. The system lets go of
// it when the process ends, however it ends.
func lockFile(f *os.File) error {
	const exclusiveAtOnce = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), exclusiveAtOnce, 0, 1, 0, &windows.Overlapped{})
}
