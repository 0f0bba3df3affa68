package access

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/revocation"
	"github.com/admit-auth/admit/statuslist"
)

// Type is that of an access token (RFC 9068 section 2.1).
const Type = "at+jwt"

// Claims are an access token's own (RFC 9068, with what can end it), beside the
// registered ones that jose.Claims types. One that is left out is zero.
type Claims struct {
	ClientID string   `json:"client_id,omitempty"` // the client that it was made for
	Scope    string   `json:"scope,omitempty"`     // what that may do, with spaces between
	Roles    []string `json:"roles,omitempty"`     // the subject's

	SID string `json:"sid,omitempty"` // the session that it presents
	GID string `json:"gid,omitempty"` // the grant that it comes from: a consent, a refresh family, an API key
	SEV uint64 `json:"sev,omitempty"` // the subject's epoch when it was made

	AuthTime int64    `json:"auth_time,omitempty"` // the Unix second in which the subject last proved itself
	ACR      string   `json:"acr,omitempty"`       // the assurance reached
	AMR      []string `json:"amr,omitempty"`       // how, by the names of RFC 8176

	// Status says where a status list tells whether it still counts.
	Status json.RawMessage `json:"status,omitempty"`

	// Confirmation is there where the token is bound to a key: who presents it
	// must prove that he has it, so that it is no bearer token.
	Confirmation *Confirmation `json:"cnf,omitempty"`

	// Act is there where the token was exchanged: who acts for the subject.
	Act *Actor `json:"act,omitempty"`

	known *known
}

// A Confirmation names the key that a token is bound to (RFC 7800).
type Confirmation struct {
	JKT string `json:"jkt,omitempty"` // its SHA-256 thumbprint (RFC 9449 section 6.1)
}

// An Actor is a client that acts for a subject (RFC 8693 section 4.1). Within it is the
// one that has let it, and innermost the one that the subject has let in. Only the first
// one presents the token: the others are for the records, and it ends with each of them.
type Actor struct {
	Subject string `json:"sub"` // its client_id
	Act     *Actor `json:"act,omitempty"`
}

// known is what a Verifier makes of a token once, and looks at each time.
type known struct {
	ids       revocation.Digests
	through   []revocation.Digests // clients that it was handed on by
	principal admit.Principal
	status    statuslist.Reference // its URI is "" where there is none
}

// prepare makes what is looked at each time.
func prepare(c *jose.Claims[Claims]) {
	d := &c.Data
	d.known = &known{
		ids: revocation.IDs{
			Session: d.SID, Grant: d.GID, Token: c.ID, Subject: c.Subject, Client: d.ClientID, Key: c.Header.KeyID, SEV: d.SEV,
		}.Digest(),
		// Who appends to a slice that others share must get one of his own.
		principal: admit.Principal{
			Subject: c.Subject, SID: d.SID, Credential: "jwt", AMR: slices.Clip(d.AMR), ACR: d.ACR,
			Roles: slices.Clip(d.Roles), Scopes: slices.Clip(strings.Fields(d.Scope)), ClientID: d.ClientID,
		},
	}
	if len(d.Status) > 0 {
		d.known.status, _ = statuslist.ParseReference(d.Status) // another way to tell it is none of ours
	}
	for a := d.Act; a != nil; a = a.Act {
		if a.Subject != d.ClientID {
			d.known.through = append(d.known.through, revocation.IDs{Client: a.Subject}.Digest())
		}
	}
	if d.AuthTime > 0 {
		d.known.principal.AuthTime = time.Unix(d.AuthTime, 0)
	}
}
