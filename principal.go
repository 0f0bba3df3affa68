package admit

import (
	"context"
	"slices"
	"time"
)

// A Principal is who is asking, after the last check. Packages make one from
// a credential; handlers read it with [FromContext] and pass it down as an
// argument.
type Principal struct {
	Subject    string    // the user's id; "" for a guest
	SID        string    // the session's public id; "" where there is no session
	Credential string    // how it was presented: "cookie", "token" or "jwt"
	AuthTime   time.Time // when the subject last proved itself; zero for a guest
	AMR        []string  // how: authentication methods (RFC 8176), such as "pwd"
	ACR        string    // the assurance reached, such as TwoFactors; "" if none is stated
	Roles      []string
	Scopes     []string
	ClientID   string // the OAuth client that acts for the subject, if one does
}

// Guest reports whether nobody has signed in.
func (p Principal) Guest() bool { return p.Subject == "" }

// HasRole reports whether the principal has the role.
func (p Principal) HasRole(role string) bool { return slices.Contains(p.Roles, role) }

type principalKey struct{}

// NewContext returns a context that carries p. Call it once a request, at the
// edge, after the last check.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// FromContext returns who is asking, and false where nobody was established.
func FromContext(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}
