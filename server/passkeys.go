package server

import (
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/passkey"
)

// authenticators check passkeys of the public URL; nil where there can be none.
func authenticators(publicURL string) account.Authenticators {
	if s := passkey.New(publicURL); s != nil {
		return s
	}
	return nil
}
