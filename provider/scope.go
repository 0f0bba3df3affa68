package provider

import "slices"

// Scopes that mean something by themselves (OpenID Connect Core sections 3.1.2.1 and 11).
const (
	scopeOpenID  = "openid"
	scopeOffline = "offline_access"
)

// isScope reports whether a text can be a scope (RFC 6749 section 3.3).
func isScope(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return text != ""
}

// giving returns the first of scopes that gives a claim, or "".
func (p *Provider) giving(claim string, scopes []string) string {
	for _, s := range scopes {
		if slices.Contains(claimsOf(s, p.o.Scopes), claim) {
			return s
		}
	}
	return ""
}
