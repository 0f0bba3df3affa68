// Package otp makes and checks the one-time codes of authenticator apps.
//
// Most programs make a key with [Generate], show its [Key.URI] as a QR code with
// [Key.Secret] beside it, keep the secret sealed, and check what is typed with
// [Key.Check], which says for which step of time a code is: keep the last one, by
// compare-and-set, and pass it back, for a code counts once.
//
// Codes by a counter are those of RFC 4226, codes by time those of RFC 6238.
package otp
