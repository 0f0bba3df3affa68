package server

import (
	"errors"

	"golang.org/x/sys/windows"
)

// ownLike does nothing: a file takes after its folder.
func ownLike(file, folder string) error { return nil }

// isFull reports whether a disk was full.
func isFull(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }
