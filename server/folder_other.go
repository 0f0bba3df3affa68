//go:build !linux

package server

// freeBytes is how much room a folder's disk has for us, where it is known.
func freeBytes(string) (n int64, known bool) { return 0, false }
