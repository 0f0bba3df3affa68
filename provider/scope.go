package provider

import (
	"maps"
	"slices"
)

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

// DefaultScopes are every standard scope that grant types allow.
func DefaultScopes(grants []GrantType) (all []string) {
	if !slices.Contains(grants, AuthorizationCode) && !slices.Contains(grants, DeviceCode) {
		return nil
	}
	all = []string{scopeOpenID, "profile", "email", "address", "phone"}
	if slices.Contains(grants, RefreshToken) {
		all = append(all, scopeOffline)
	}
	return all
}

// standardClaims are what the scopes of OpenID Connect Core section 5.4 give.
var standardClaims = map[string][]string{
	scopeOpenID:  nil,
	scopeOffline: nil,
	"profile": {
		"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
		"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
	},
	"email":   {"email", "email_verified"},
	"address": {"address"},
	"phone":   {"phone_number", "phone_number_verified"},
}

// claimsOf are the claims that a scope gives.
func claimsOf(scope string, extra map[string][]string) []string {
	if all, standard := standardClaims[scope]; standard {
		return all
	}
	return extra[scope]
}

// isOfPeople reports whether a scope says something of somebody who is signed in.
func isOfPeople(scope string) bool {
	_, is := standardClaims[scope]
	return is
}

// allScopes are the standard ones, and ours.
func (p *Provider) allScopes() []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(standardClaims)), maps.Keys(p.o.Scopes))
	slices.Sort(all)
	return all
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
