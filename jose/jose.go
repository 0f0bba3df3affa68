// Package jose is for tokens that are signed or encrypted: JWT, JWS, JWE, JWK
// (RFC 7515 to 7519, 8037, 8725).
//
// Most programs need a [Verifier]. What it demands is said once, where it is
// made; the token decides nothing, and there are no claims before all of it has
// been checked:
//
//	type Access struct {
//		SID   string `json:"sid"`
//		Scope string `json:"scope"`
//	}
//
//	keys, err := jose.NewRemoteKeySet("https://auth.example.org/oauth/jwks", nil)
//	v, err := jose.NewVerifier[Access](keys, jose.Expected{
//		Algorithms: []jose.Algorithm{jose.ES256},
//		Issuer:     "https://auth.example.org",
//		Audience:   []string{"https://api.example.org"},
//		Type:       "at+jwt",
//	}, nil)
//
//	claims, err := v.Verify(ctx, token)   // claims.Subject, claims.Data.Scope
//
// A [Signer] makes such tokens. Tokens are read in one way only: every value has
// one spelling, JSON is strict, and what is unusual is refused with a code that
// says why. Sizes are bounded before any work is done.
//
// Name a token by its jti, never by its text: from an ECDSA signature anybody
// makes a second one that is as good.
package jose
