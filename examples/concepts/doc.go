// Package concepts holds the small programs of docs/concepts. Each shows one
// thing, and go test runs it.
package concepts
