//go:build unix

package server

import "golang.org/x/sys/unix"

// openFiles is how many files this process may have open, 0 where it is not
// known. Go raises the limit to what is allowed when it starts.
func openFiles() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil || l.Cur > 1<<30 {
		return 0
	}
	return int(l.Cur)
}
