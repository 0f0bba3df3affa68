// Package sharing holds the tests of sessions that several apps share: sub-domains
// and other domains in Debian's Chromium, browsers that keep no cookies, sockets
// that close with their session, and processes behind nginx over one Redis.
package sharing
