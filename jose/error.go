package jose

import "github.com/admit-auth/admit"

// Why a token is refused. All but [ErrKeysAway] are [admit.Unauthenticated].
// Each code is stable; what else is in the error's text is for the log.
var (
	ErrMalformed = admit.Unauthenticated.New("jwt_malformed", "The token is not well-formed.")
	ErrTooLong   = admit.Unauthenticated.New("jwt_too_long", "The token is too long.")
	ErrAlgorithm = admit.Unauthenticated.New("jwt_algorithm", "The token's algorithm is not accepted here.")
	ErrCritical  = admit.Unauthenticated.New("jwt_critical", "The token demands an extension that is not supported.")
	ErrType      = admit.Unauthenticated.New("jwt_type", "The token is of another type.")
	ErrKey       = admit.Unauthenticated.New("jwt_key_unknown", "No accepted key has signed the token.")
	ErrSignature = admit.Unauthenticated.New("jwt_signature", "The token's signature is wrong.")
	ErrEncrypted = admit.Unauthenticated.New("jwt_encrypted", "An encrypted token is not accepted in place of a signed one.")
	ErrDecrypt   = admit.Unauthenticated.New("jwe_undecryptable", "The token cannot be decrypted.")

	ErrClaims      = admit.Unauthenticated.New("jwt_claims", "The token's claims are not well-formed.")
	ErrMissing     = admit.Unauthenticated.New("jwt_claim_missing", "A required claim is missing.")
	ErrExpired     = admit.Unauthenticated.New("jwt_expired", "The token has expired.")
	ErrNotYetValid = admit.Unauthenticated.New("jwt_not_yet_valid", "The token is not valid yet.")
	ErrIssuer      = admit.Unauthenticated.New("jwt_issuer", "The token is from another issuer.")
	ErrAudience    = admit.Unauthenticated.New("jwt_audience", "The token is for another audience.")

	// ErrKeysAway is admit.Unavailable: the issuer's keys could not be fetched,
	// so that nothing is known of the token.
	ErrKeysAway = admit.Unavailable.New("jwt_keys_away", "The issuer's keys cannot be had just now.")
)

// ErrBadKey is the refusal of a key: malformed, too weak, or not for its
// algorithm. It is [admit.Invalid].
var ErrBadKey = admit.Invalid.New("jwk_invalid", "The key cannot be used.")
