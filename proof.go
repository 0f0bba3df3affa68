package admit

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// What admit's own server states in Principal.ACR, weakest first. Another
// issuer may have words of its own; those are in no order.
const (
	OneFactor         = "1fa" // a password, a code, a link
	TwoFactors        = "2fa" // two of different kinds
	PhishingResistant = "phr" // two factors, or a passkey that verified its user, of no use to a false site (OpenID EAP ACR Values 1.0)
)

// assurances is the one place that knows the order.
var assurances = [...]string{OneFactor, TwoFactors, PhishingResistant}

// enough returns the values of ACR that will do where one is asked for: it, and
// those of ours that are above it.
func enough(acr string) []string {
	if i := slices.Index(assurances[:], acr); i >= 0 {
		return assurances[i:]
	}
	return []string{acr}
}

// ErrProof is what a [ProofError] tells.
var ErrProof = Unauthenticated.New("proof_needed", "Please confirm first that it is you.").WithHint("Show your password, a passkey or another factor once more, or sign in again.")

// A ProofError is the refusal of who has proved itself too long ago, or too
// weakly, for what is asked (RFC 9470).
type ProofError struct {
	ACR    string        // the least that will do; "" where any does
	MaxAge time.Duration // of the proof; 0 where its age does not matter
}

// Error returns the sentence of ErrProof.
func (e *ProofError) Error() string { return ErrProof.Error() }

// Unwrap returns ErrProof.
func (e *ProofError) Unwrap() error { return ErrProof }

// Challenge returns the value of WWW-Authenticate (RFC 9470, section 3), which
// package problem sends: all values of acr that will do, the least first, and
// the age in whole seconds, rounded down so that who keeps to it passes.
func (e *ProofError) Challenge() string {
	b := []byte(`Bearer error="insufficient_user_authentication", error_description="A more recent or a stronger proof of the user is needed"`)
	if e.ACR != "" {
		b = append(b, `, acr_values="`+strings.Join(enough(e.ACR), " ")+`"`...)
	}
	if e.MaxAge > 0 {
		b = append(strconv.AppendInt(append(b, `, max_age="`...), int64(e.MaxAge/time.Second), 10), '"')
	}
	return string(b)
}

// CheckProof returns a *ProofError where the principal has proved itself less
// strongly than acr, unless that is "", or longer ago than maxAge, unless that is
// 0. Most programs want authn.RequireProof.
//
// There is no leeway, and a proof that is yet to come is none: a clock that was
// ahead would else make proofs that never grow old.
func (p Principal) CheckProof(acr string, maxAge time.Duration, now time.Time) error {
	age := now.Sub(p.AuthTime)
	if acr != "" && !slices.Contains(enough(acr), p.ACR) || maxAge > 0 && (age < 0 || age > maxAge) {
		return &ProofError{acr, maxAge}
	}
	return nil
}
