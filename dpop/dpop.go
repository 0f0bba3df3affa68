// Package dpop binds tokens to a key of who was given them (RFC 9449): a token
// that was stolen is of no use without it.
//
// A service needs a [Verifier]. The access token says in cnf.jkt which key it
// belongs to; with each request comes a proof, signed by that key for this
// request alone:
//
//	proofs, err := dpop.NewVerifier("https://api.example.org", nil)
//	err = proofs.Check(r, token, jkt)   // jkt is from the verified token
//
// A program that has such a token sends it through [Prover.Transport].
//
// A proof counts once. What that takes is bounded: at most so many are
// remembered, and where more come in, those remembered longest are forgotten
// and all proofs as old as they are no longer taken. With nonces, which are on
// unless they are given up, the sender is told a new one and tries again, which
// costs him one more request and nobody anything else.
package dpop

import (
	"crypto/subtle"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
)

// Why a proof does not count. What is wrapped around them is for the log.
var (
	ErrProof    = admit.Unauthenticated.New("invalid_dpop_proof", "The proof that you have the key is missing or wrong.")
	ErrReplayed = admit.Unauthenticated.New("dpop_proof_replayed", "The proof that you have the key was used before.").WithHint("Sign a new proof for each request.")
	ErrNonce    = admit.Unauthenticated.New("use_dpop_nonce", "The proof that you have the key must name the nonce that comes with this answer.").WithHint("Sign a new proof with the nonce in the header DPoP-Nonce, and try again.")
	ErrOtherKey = admit.Unauthenticated.New("dpop_other_key", "The token belongs to another key.")
	// ErrBusy comes only where nonces were given up: so many proofs came in
	// that whether this one was used before is no longer known.
	ErrBusy = admit.Unavailable.New("dpop_busy", "Too many proofs come in to tell whether this one was used before.").WithHint("Sign a new proof and try again.")
)

const (
	proofType   = "dpop+jwt"
	header      = "Dpop" // as net/http spells DPoP
	nonceHeader = "Dpop-Nonce"
	scheme      = "DPoP"
)

// A payload is the claims of a proof that are not registered (RFC 9449 section
// 4.2).
type payload struct {
	Method    string `json:"htm"`
	URI       string `json:"htu"`
	TokenHash string `json:"ath,omitempty"`
	Nonce     string `json:"nonce,omitempty"`
}

// algorithms are what proofs are signed with unless the options say otherwise:
// what browsers and telephones have, and what is quick to check.
var algorithms = [...]jose.Algorithm{jose.ES256, jose.EdDSA}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
