// Package relying lets clients that we did not write sign people in at the binary, as a
// third party would, with their default settings, and attacks it as one.
package relying
