package server

import "golang.org/x/sys/unix"

// freeBytes is how much room a folder's disk has for us, where it is known.
func freeBytes(dir string) (n int64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}
