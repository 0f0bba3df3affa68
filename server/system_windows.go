package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// lockFile holds f for this process, or fails at once. The system lets go of
// it when the process ends, however it ends.
func lockFile(f *os.File) error {
	const exclusiveAtOnce = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), exclusiveAtOnce, 0, 1, 0, &windows.Overlapped{})
}

// lockFolder does nothing, for folders cannot be locked; but one that is in use
// cannot be removed either.
func lockFolder(*os.File) error { return nil }

// Who may do what with a file is not looked at: it takes after its folder.
func writable(string) bool         { return true }
func ownerOf(fs.FileInfo) int      { return -1 }
func ownLike(string, string) error { return nil }

// sameDisk reports whether two folders are on one volume.
func sameDisk(a, b string) bool { return filepath.VolumeName(a) == filepath.VolumeName(b) }

// isFull reports whether a disk was full.
func isFull(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }

// The room on a disk, and how many files may be open, are not asked for here.
func readSpace(string) (space, error) { return space{}, errors.ErrUnsupported }
func openFiles() int                  { return 0 }
