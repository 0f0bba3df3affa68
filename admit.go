// Package admit holds the words that every package of admit shares: why a
// request was refused, who is asking, what must never be printed.
//
// Programs rarely start here. A net/http program that wants sessions imports
// [github.com/admit-auth/admit/session]; one that signs or seals cookies of
// its own imports [github.com/admit-auth/admit/cookie]. The ready-made server
// is the module github.com/admit-auth/admit/server.
package admit
