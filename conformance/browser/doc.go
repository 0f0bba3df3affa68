// Package browser holds the tests that walk through the server's pages in
// Debian's Chromium, as people do: with a mouse, by keyboard alone, on a
// phone, without scripts and in Chinese. Every page that they come to is held
// against axe-core's rules of accessibility.
package browser
