//go:build unix

package server

import (
	"errors"
	"os"
	"syscall"
)

// ownLike gives a file the owner of a folder, where we are root: the server is
// not, and must be able to use what root restored for it.
func ownLike(file, folder string) error {
	if os.Getuid() != 0 {
		return nil
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	of := info.Sys().(*syscall.Stat_t)
	return os.Chown(file, int(of.Uid), int(of.Gid))
}

// isFull reports whether a disk was full.
func isFull(err error) bool {
	e, ok := errors.AsType[syscall.Errno](err)
	return ok && (e == syscall.ENOSPC || e == syscall.EDQUOT)
}

// lockFolder holds a folder for this process, or fails at once.
func lockFolder(f *os.File) error { return lockFile(f) }

// sameDisk reports whether two folders are on one file system.
func sameDisk(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && x.Sys().(*syscall.Stat_t).Dev == y.Sys().(*syscall.Stat_t).Dev
}
