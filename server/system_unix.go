//go:build unix

package server

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockFile holds f for this process, or fails at once. The kernel lets go of
// it when the process ends, however it ends.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// lockFolder holds a folder for this process, or fails at once.
func lockFolder(f *os.File) error { return lockFile(f) }

// writable reports whether this user may make files in a folder.
func writable(dir string) bool { return unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK) == nil }

// ownerOf returns the user id of who owns a file.
func ownerOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}

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

// sameDisk reports whether two folders are on one file system.
func sameDisk(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && x.Sys().(*syscall.Stat_t).Dev == y.Sys().(*syscall.Stat_t).Dev
}

// isFull reports whether a disk was full.
func isFull(err error) bool {
	e, ok := errors.AsType[syscall.Errno](err)
	return ok && (e == syscall.ENOSPC || e == syscall.EDQUOT)
}

// readSpace returns the room on the disk of a folder.
func readSpace(dir string) (s space, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return s, err
	}
	unit := uint64(st.Bsize)
	const readOnly = 1 // ST_RDONLY, MNT_RDONLY
	return space{free: uint64(st.Bavail) * unit, size: uint64(st.Blocks) * unit, readOnly: st.Flags&readOnly != 0}, nil
}

// openFiles is how many files this process may have open, 0 where nothing
// bounds that. Go raises the limit to what is allowed when it starts.
func openFiles() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil || l.Cur > 1<<30 {
		return 0
	}
	return int(l.Cur)
}
