// Package acme lets admit get its certificates from Pebble, the authority that
// Let's Encrypt tests its clients with.
//
// It holds tests only.
package acme
