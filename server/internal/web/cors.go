package web

import (
	"slices"
	"strings"
)

const apiPrefix = "/api/v1/"

// share answers for cross-origin scripts (the CORS protocol of the Fetch
// standard). Pages of a configured origin may use the API with tokens that
// they put in a header; cookies are neither read nor set for them, so that
// nothing they do counts as the user of this browser. It reports whether the
// request was a preflight and is answered.
func (c *call) share(allow []string) bool {
	if len(c.CORSOrigins) == 0 || !strings.HasPrefix(c.r.URL.Path, apiPrefix) {
		return false
	}
	h := c.w.Header()
	h["Vary"] = []string{"Origin"}
	origin := c.r.Header.Get("Origin")
	if origin == "" || origin == c.PublicURL || !slices.Contains(c.CORSOrigins, origin) {
		return false
	}
	c.foreign = true
	c.r.Header.Del("Cookie")
	h["Access-Control-Allow-Origin"] = []string{origin}
	if c.r.Method != "OPTIONS" || c.r.Header.Get("Access-Control-Request-Method") == "" {
		h["Access-Control-Expose-Headers"] = []string{"Retry-After, WWW-Authenticate, DPoP-Nonce"}
		return false
	}
	h["Access-Control-Allow-Methods"] = []string{strings.Join(allow, ", ")}
	h["Access-Control-Allow-Headers"] = []string{"Authorization, Content-Type, DPoP"}
	h["Access-Control-Max-Age"] = []string{"600"}
	c.noContent()
	return true
}
