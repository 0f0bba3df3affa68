// Package handover carries a sign-in from one domain to another, where no cookie
// can be shared.
//
// Most programs need an [Origin] on the domain where people sign in, and a
// [Target] on each of the others:
//
//	// id.example.org
//	origin, err := handover.NewOrigin(sessions, store, &handover.OriginOptions{
//		Sites: []handover.Site{{Name: "shop", Callback: "https://shop.example.net/arrive", Secret: secret}},
//	})
//	mux.Handle("/handover/", origin)
//
//	// shop.example.net
//	target, err := handover.NewTarget("https://id.example.org/handover", "shop", secret, nil)
//	sessions, err := session.New[Cart](store, &session.Options{Parents: target})
//	…
//	err = target.Begin(w, r, "/cart")      // where somebody has to be signed in
//	…
//	arrival, err := target.Arrive(w, r)    // at /arrive
//	s, err := sessions.Start(w, r, arrival.Subject, arrival.StartOptions())
//	http.Redirect(w, r, arrival.ReturnTo, http.StatusSeeOther)
//
// It is the target that begins. It leaves a secret in the browser, sends it to
// the origin with the secret's digest (the challenge), and takes a code back only
// from a browser that it sent. So nobody can sign a browser in as somebody else
// by sending it a code. The code is good once, for 30 seconds, for the target that
// it was made for, and only together with the secret; the target's server
// redeems it at the origin's.
//
// The two sessions end together: ending either ends both, and use of one keeps
// the other from idling.
package handover

import (
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/admit-auth/admit"
)

// Refusals.
var (
	// ErrUnsolicited: somebody else's code would sign the browser in as him.
	ErrUnsolicited = admit.Forbidden.New("handover_unsolicited", "This browser did not set out from here to be signed in.").WithHint("Begin again from where you wanted to go.")
	ErrCode        = admit.Invalid.New("handover_code", "This hand-over is over, was used before, or is not for this site.").WithHint("Begin again from where you wanted to go.")
	ErrSite        = admit.Forbidden.New("handover_site", "No site is registered here that may ask for this.")
	ErrReturn      = admit.Invalid.New("handover_return", "A hand-over leads back to a path of the same site only.")
	errMalformed   = admit.Invalid.New("handover_malformed", "This is no request for a hand-over.")
)

// codeLife is how long a code is good.
const codeLife = 30 * time.Second

// minSecret is the length of the shortest secret of a site.
const minSecret = 32

// challengeOf is S256 of RFC 7636.
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// What the two servers say to each other, as JSON.
type (
	redemption struct {
		Code     string `json:"code"`
		Verifier string `json:"verifier"`
	}
	question struct {
		SID    string `json:"sid"`
		Reason string `json:"reason,omitempty"`
	}
	answer struct {
		Alive bool `json:"alive"`
	}
)

// Handed is the session of the origin, as a target is told of it. Most programs
// see an [Arrival].
type Handed struct {
	SID        string    `json:"sid"`
	Subject    string    `json:"subject"`
	AuthTime   time.Time `json:"auth_time"`
	AMR        string    `json:"amr,omitempty"` // with spaces between
	ACR        string    `json:"acr,omitempty"`
	Persistent bool      `json:"persistent,omitempty"`
	ExpiresAt  time.Time `json:"expires_at"`
}
