// Package relying lets clients that we did not write sign people in at the server, as a
// third party would, with their default settings.
package relying
