//go:build !linux && !darwin && !freebsd

package server

import "errors"

// readSpace is for systems that tell it in a way that we do not read.
func readSpace(string) (space, error) { return space{}, errors.ErrUnsupported }
