package account

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/token"
)

// A ClientChange is what becomes another of a client: nil fields stay. Who it is, and
// whether it proves itself by nothing, a secret or keys, stays in any case: another such
// client is registered in its place.
type ClientChange struct {
	Name                  *string         `name:"name"`
	URI                   *string         `name:"uri"`
	JWKS                  []byte          `name:"jwks"`     // in place of JWKSURI
	JWKSURI               *string         `name:"jwks_uri"` // in place of JWKS
	RedirectURIs          *[]string       `name:"redirect_uris"`
	PostLogoutURIs        *[]string       `name:"post_logout_redirect_uris"`
	BackchannelLogoutURI  *string         `name:"backchannel_logout_uri"`
	FrontchannelLogoutURI *string         `name:"frontchannel_logout_uri"`
	Grants                *[]string       `name:"grant_types"`
	Scopes                *[]string       `name:"scopes"`
	Audiences             *[]string       `name:"audiences"`
	Resources             *[]string       `name:"resources"`
	FirstParty            *bool           `name:"first_party"`
	DPoP                  *bool           `name:"dpop_bound_access_tokens"`
	RequirePushed         *bool           `name:"require_pushed_authorization_requests"`
	RequireSigned         *bool           `name:"require_signed_request_object"`
	FAPI                  *bool           `name:"fapi"`
	JWT                   *bool           `name:"access_token_format"`
	Signs                 *jose.Algorithm `name:"signing_alg"`
	Sector                *string         `name:"sector"`
	AccessLife            *time.Duration  `name:"access_ttl"`
	CodeLife              *time.Duration  `name:"code_ttl"`
	GrantLife             *time.Duration  `name:"grant_ttl"`
	// Disabled has it get nothing, and whatever it has count nowhere, until it is
	// enabled again.
	Disabled *bool `name:"disabled"`
	// Verified says that somebody has looked at a client that has registered itself: it is
	// as if the operator had registered it. Nobody can take that back.
	Verified *bool `name:"verified"`
}

const reasonClientDisabled = "client_disabled"

// apply returns c as it is to be.
func (in *ClientChange) apply(c provider.Client) (*provider.Client, error) {
	set(&c.Name, in.Name)
	c.Name = strings.TrimSpace(c.Name)
	set(&c.URI, in.URI)
	set(&c.RedirectURIs, in.RedirectURIs)
	set(&c.PostLogoutURIs, in.PostLogoutURIs)
	set(&c.BackchannelLogoutURI, in.BackchannelLogoutURI)
	set(&c.FrontchannelLogoutURI, in.FrontchannelLogoutURI)
	set(&c.Scopes, in.Scopes)
	set(&c.Audiences, in.Audiences)
	set(&c.Resources, in.Resources)
	set(&c.FirstParty, in.FirstParty)
	set(&c.DPoP, in.DPoP)
	set(&c.RequirePushed, in.RequirePushed)
	set(&c.RequireSigned, in.RequireSigned)
	set(&c.FAPI, in.FAPI)
	set(&c.JWT, in.JWT)
	set(&c.Signs, in.Signs)
	set(&c.Sector, in.Sector)
	set(&c.AccessLife, in.AccessLife)
	set(&c.CodeLife, in.CodeLife)
	set(&c.GrantLife, in.GrantLife)
	set(&c.Disabled, in.Disabled)
	switch {
	case in.Verified != nil && !*in.Verified && !c.Unverified():
		return nil, &admit.FieldError{Field: "verified", Err: provider.ErrInvalidMetadata.WithHint("It is a client that somebody has looked at. Disable it, or remove it.")}
	case in.Verified != nil && *in.Verified:
		c.Registered = nil
	case c.Registered != nil && in.more():
		// It is as the operator has said from now on, and no more as it says itself.
		of := *c.Registered
		of.Selector, of.Digest = "", token.Digest{}
		c.Registered = &of
	}
	if in.Grants != nil {
		c.Grants = grantTypes(*in.Grants)
	}
	profiled(&c)
	if in.RedirectURIs != nil && c.Auth == provider.NoAuth {
		c.Native = slices.ContainsFunc(c.RedirectURIs, onDevice)
	}
	if in.JWKSURI != nil {
		c.Keys, c.KeysURI = nil, *in.JWKSURI
	}
	if in.JWKS != nil {
		keys, err := parseKeys(in.JWKS)
		if err != nil {
			return nil, err
		}
		if c.Keys = keys; in.JWKSURI == nil {
			c.KeysURI = ""
		}
	}
	return &c, nil
}

func set[T any](at, to *T) {
	if to != nil {
		*at = *to
	}
}

// more reports whether more is changed than whether it is disabled.
func (in *ClientChange) more() bool {
	rest := *in
	rest.Disabled, rest.Verified = nil, nil
	return len(rest.named()) > 0
}

// named are the fields that a change names, for the audit.
func (in *ClientChange) named() (all []string) {
	v := reflect.ValueOf(in).Elem()
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			all = append(all, v.Type().Field(i).Tag.Get("name"))
		}
	}
	return all
}

// ChangeClient changes what is said of a client, from its next request on. Tokens that
// are out there stay what they are.
func (s *Service) ChangeClient(ctx context.Context, id string, in ClientChange, by By, now time.Time) (changed *provider.Client, err error) {
	// As in AddClient: a wrong one is refused there as here.
	if in.Signs != nil && slices.Contains([]jose.Algorithm{jose.ES256, jose.RS256, jose.EdDSA}, *in.Signs) && s.o.Ensure != nil {
		if err := s.o.Ensure(ctx, *in.Signs, now); err != nil {
			return nil, err
		}
	}
	err = s.update(ctx, func(tx Tx) error {
		c, err := client(tx, id)
		if err != nil {
			return err
		}
		if changed, err = in.apply(*c); err != nil {
			return err
		}
		if err := checkClient(changed, s.insecure()); err != nil {
			return err
		}
		event, detail := "client_changed", c.ID+": "+strings.Join(in.named(), " ")
		switch {
		case changed.Disabled && !c.Disabled:
			event, detail = reasonClientDisabled, c.ID
			err = endJWTs(tx, c, reasonClientDisabled, now)
		case c.Disabled && !changed.Disabled:
			event, detail = "client_enabled", c.ID
			err = notEnding(tx, id, "Wait until ", now)
		}
		if err != nil {
			return err
		}
		if err := tx.PutClient(changed); err != nil {
			return err
		}
		return tx.Record(by.Record(now, "", event, detail))
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}
