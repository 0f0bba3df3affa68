package provider

import "slices"

// Scopes that mean something by themselves (OpenID Connect Core sections 3.1.2.1 and 11).
const (
	scopeOpenID  = "openid"
	scopeOffline = "offline_access"
)

// standardScopes are those of OpenID Connect Core section 5.4, with the claims that they
// give.
var standardScopes = map[string][]string{
	scopeOpenID:  nil,
	scopeOffline: nil,
	"profile": {"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile", "picture",
		"website", "gender", "birthdate", "zoneinfo", "locale", "updated_at"},
	"email":   {"email", "email_verified"},
	"address": {"address"},
	"phone":   {"phone_number", "phone_number_verified"},
}

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
		if slices.Contains(p.scopes[s], claim) {
			return s
		}
	}
	return ""
}
