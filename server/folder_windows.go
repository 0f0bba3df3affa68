package server

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// ownLike does nothing: a file takes after its folder.
func ownLike(file, folder string) error { return nil }

// isFull reports whether a disk was full.
func isFull(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }

// lockFolder does nothing, for folders cannot be locked; but one that is in use
// cannot be removed either.
func lockFolder(f *os.File) error { return nil }

// sameDisk reports whether two folders are on one volume.
func sameDisk(a, b string) bool { return filepath.VolumeName(a) == filepath.VolumeName(b) }
