package provider

import (
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/jose"
)

// The FAPI 2.0 Security Profile, as one switch of a client. Most of what it demands of a
// server (section 5.3.2) is so here for every client: no password grant, PKCE by S256, iss
// in answers, codes that are good once, redirects by 303, assertions for the issuer alone.
// This is what is left.

// profileAlgorithms are those that the profile allows (section 5.4.1).
var profileAlgorithms = []jose.Algorithm{jose.ES256, jose.EdDSA, jose.Ed25519, jose.PS256}

// profileAhead is how far ahead of our clock a client's may be (section 5.3.2.1).
const profileAhead = time.Minute

// mayProve reports whether what a client has signed with an algorithm proves anything.
func (c *Client) mayProve(alg jose.Algorithm) bool {
	return !c.FAPI || slices.Contains(profileAlgorithms, alg)
}

func (c *Client) mustPush() bool { return c.RequirePushed || c.FAPI }

func (c *Client) mustBind() bool { return c.DPoP || c.FAPI }

// timely says whether a proof was made when the profile allows it. For other clients the
// nonce alone counts, and their clocks may be wrong.
func (c *Client) timely(key dpop.Proof, now time.Time) error {
	if c.FAPI && key.IssuedAt.After(now.Add(profileAhead)) {
		return because(dpop.ErrProof, "The proof's iat is more than a minute ahead.")
	}
	return nil
}

// checkProfile looks at what can be wrong with a client of the profile before it asks for
// anything.
func (c *Client) checkProfile(bool) (field, why string) {
	if !c.FAPI {
		return "", ""
	}
	http := func(uri string) bool { return !strings.HasPrefix(uri, "https://") }
	signs := func(k *jose.Key) bool {
		return slices.ContainsFunc(profileAlgorithms, func(alg jose.Algorithm) bool {
			_, err := k.For(alg)
			return err == nil
		})
	}
	switch {
	case c.Auth != PrivateKeyJWT:
		return "auth_method", "By the FAPI 2.0 profile a client proves itself by its keys."
	case c.Keys != nil && !slices.ContainsFunc(c.Keys.Keys(), signs):
		return "jwks", "By the FAPI 2.0 profile a client signs with ES256, EdDSA or PS256, and none of these keys does."
	case c.may(DeviceCode):
		return "grant_types", "By the FAPI 2.0 profile people come by authorization codes alone."
	case slices.ContainsFunc(c.RedirectURIs, http):
		return "redirect_uris", "By the FAPI 2.0 profile redirect URIs are https."
	case c.CodeLife > codeLife:
		return "code_ttl", "By the FAPI 2.0 profile a code is good for 60 seconds at most."
	case !slices.Contains(profileAlgorithms, c.signs()):
		return "signing_alg", "By the FAPI 2.0 profile tokens are signed with ES256 or EdDSA."
	}
	return "", ""
}
