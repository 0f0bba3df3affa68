// Package proxy stands admit behind the proxies that people use, with the lines
// that they would write.
//
// It holds tests only, which need nginx and Caddy.
package proxy
