//go:build linux || darwin || freebsd

package server

import "golang.org/x/sys/unix"

// readSpace returns the room on the disk of a folder, in bytes, as this user
// may use it, and whether the disk can be read only.
func readSpace(dir string) (s space, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return s, err
	}
	unit := uint64(st.Bsize)
	const readOnly = 1 // ST_RDONLY, MNT_RDONLY
	return space{free: uint64(st.Bavail) * unit, size: st.Blocks * unit, readOnly: st.Flags&readOnly != 0}, nil
}
