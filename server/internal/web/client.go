package web

import (
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
)

// Applications that are registered. An API key may look at them and no more: one that
// is called first-party gets tokens of everybody who signs in, and nobody is asked.

// clientCalls are those about clients.
func clientCalls() []operation {
	const p = apiPrefix + "admin/clients"
	all := []operation{{
		call: "GET " + p, id: "adminListClients", summary: "Clients", scope: account.ScopeAdminRead,
		query:   ofPage,
		do:      byAdmin((*call).adminClients),
		answers: []answers{{200, "A page of clients", ClientList{}}},
		refuses: []*admit.Error{errRole, account.ErrMustChange, errParameter, errUnknown},
	}, {
		call: "POST " + p, id: "adminAddClient", summary: "Register a client", proof: account.RecentProof,
		about:   "It proves itself by a secret, unless it is public or has keys. A secret that is made is shown this once.",
		do:      byAdminTaking((*call).adminAddClient),
		example: `{"id": "shop", "name": "The shop", "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": ["https://shop.example.net/callback"], "reason": "goes live"}`,
		answers: []answers{{201, "The client, and its secret where one was made", MadeClient{}}},
		refuses: []*admit.Error{errRole, account.ErrReason, provider.ErrInvalidMetadata, provider.ErrInvalidRedirectURI, account.ErrClientTaken, account.ErrClientEnding},
	}, {
		call: "GET " + p + "/{client}", id: "adminGetClient", summary: "A client", scope: account.ScopeAdminRead,
		do:      byAdmin((*call).adminClient),
		answers: []answers{{200, "The client", Client{}}},
		refuses: []*admit.Error{errRole, account.ErrMustChange, account.ErrUnknownClient},
	}, {
		call: "PATCH " + p + "/{client}", id: "adminChangeClient", summary: "Change, disable or enable a client", proof: account.RecentProof,
		about:   "What is not named stays; a list that is named is the whole list. Who is disabled gets nothing, and nothing that it has counts, until it is enabled.",
		do:      byAdminTaking((*call).adminChangeClient),
		example: `{"redirect_uris": ["https://shop.example.net/callback", "https://shop.example.org/callback"], "reason": "has moved"}`,
		answers: []answers{{200, "The client as it is now", Client{}}},
		refuses: []*admit.Error{errRole, account.ErrReason, account.ErrUnknownClient, provider.ErrInvalidMetadata, provider.ErrInvalidRedirectURI, account.ErrClientEnding},
	}, {
		call: "DELETE " + p + "/{client}", id: "adminRemoveClient", summary: "Remove a client", proof: account.RecentProof,
		about:   "All that it was allowed ends at once, everywhere.",
		query:   ofReason,
		do:      byAdmin((*call).adminRemoveClient),
		answers: []answers{{204, "Removed", nil}},
		refuses: []*admit.Error{errRole, account.ErrReason, account.ErrUnknownClient, errParameter, errUnknown},
	}, {
		call: "POST " + p + "/{client}/secret", id: "adminRotateClientSecret", summary: "Give a client another secret", proof: account.RecentProof,
		about:   "The one before is good for the overlap, so that nothing stands still until the client has the new one.",
		do:      byAdminTaking((*call).adminRotateClientSecret),
		example: `{"overlap": 3600, "reason": "it is a year old"}`,
		answers: []answers{{200, "The client, and its secret where one was made", MadeClient{}}},
		refuses: []*admit.Error{errRole, account.ErrReason, account.ErrUnknownClient, account.ErrNoSecret, account.ErrManySecrets, account.ErrOverlap, provider.ErrInvalidMetadata},
	}}
	for i := range all {
		all[i].session = true
	}
	return all
}

// A Client is one as administrators see it.
type Client struct {
	ID                    string          `json:"id"`
	Name                  string          `json:"name" doc:"As people know it."`
	URI                   string          `json:"uri,omitempty" doc:"Where people read about it."`
	AuthMethod            string          `json:"auth_method" enum:"client_secret|private_key_jwt|none" doc:"How it proves itself; none of a public client."`
	Secrets               []ClientSecret  `json:"secrets,omitempty" doc:"Those that are good, the newest first."`
	JWKS                  json.RawMessage `json:"jwks,omitempty" doc:"Its public keys."`
	JWKSURI               string          `json:"jwks_uri,omitempty" doc:"Where its public keys are."`
	Native                bool            `json:"native" doc:"Whether it is a program on people's devices: a public client that is answered on a loopback address, on any port, or by a scheme of its own."`
	RedirectURIs          []string        `json:"redirect_uris"`
	PostLogoutURIs        []string        `json:"post_logout_redirect_uris"`
	BackchannelLogoutURI  string          `json:"backchannel_logout_uri,omitempty"`
	FrontchannelLogoutURI string          `json:"frontchannel_logout_uri,omitempty"`
	GrantTypes            []string        `json:"grant_types"`
	Scopes                []string        `json:"scopes" doc:"That it may ask for."`
	Audiences             []string        `json:"audiences" doc:"Resources that it may ask for (RFC 8707)."`
	Resources             []string        `json:"resources" doc:"Resources that it is itself."`
	AccessTokenFormat     string          `json:"access_token_format" enum:"opaque|jwt"`
	SigningAlg            string          `json:"signing_alg" enum:"ES256|RS256|EdDSA" doc:"Of what is signed for it."`
	AccessTTL             int64           `json:"access_ttl" doc:"Seconds that an access token is good."`
	CodeTTL               int64           `json:"code_ttl" doc:"Seconds that a code is good."`
	GrantTTL              int64           `json:"grant_ttl" doc:"Seconds that what it was allowed with offline_access lasts."`
	Sector                string          `json:"sector,omitempty" doc:"Clients of one sector know people by ids that nobody else knows them by; without one, by the ids that all do."`
	FirstParty            bool            `json:"first_party" doc:"Whether nobody is asked for consent."`
	DPoP                  bool            `json:"dpop_bound_access_tokens" doc:"Whether it gets no tokens without a proof of a key that they are bound to (RFC 9449)."`
	RequirePushed         bool            `json:"require_pushed_authorization_requests" doc:"Whether every authorization request must be pushed (RFC 9126)."`
	RequireSigned         bool            `json:"require_signed_request_object" doc:"Whether every one must be signed (RFC 9101)."`
	Disabled              bool            `json:"disabled"`
	Unverified            bool            `json:"unverified" doc:"It has registered itself without an invite, and nobody has looked at what it says of itself."`
	Invite                string          `json:"invite,omitempty" doc:"The id of the invite that it has registered itself with."`
	FAPI                  bool            `json:"fapi" doc:"Whether it is held to the FAPI 2.0 Security Profile."`
	CreatedAt             time.Time       `json:"created_at"`
}

// A ClientSecret is one without what proves anything.
type ClientSecret struct {
	ID        string     `json:"id,omitempty" doc:"The public part of it; absent of one that was made elsewhere."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Absent of one that never expires."`
}

// A MadeClient is a client with the secret that was made for it, which nobody can
// show again.
type MadeClient struct {
	Client
	Secret string `json:"secret,omitempty" doc:"Shown this once."`
}

// A ClientList is a page of clients. Next, where it is there, is the parameter after
// of the next page.
type ClientList struct {
	Clients []Client `json:"clients"`
	Next    string   `json:"next,omitempty"`
}

// A NewClient is what an administrator says of a client.
type NewClient struct {
	ID                    string          `json:"id" doc:"1 to 128 letters, digits, dots, dashes, underscores or tildes."`
	Name                  string          `json:"name" doc:"As people are to know it."`
	URI                   string          `json:"uri,omitempty" doc:"Where people read about it: an https address."`
	Public                bool            `json:"public,omitempty" doc:"It cannot keep a secret: a page's script, or a program on people's devices."`
	Secret                admit.Secret    `json:"secret,omitempty" doc:"One that it has already, of 16 random characters or more."`
	JWKS                  json.RawMessage `json:"jwks,omitempty" doc:"Its public keys, as a JWK set or one JWK: it proves itself by a signature."`
	JWKSURI               string          `json:"jwks_uri,omitempty" doc:"In place of jwks: the https address where they are."`
	RedirectURIs          []string        `json:"redirect_uris,omitempty" doc:"Needed with authorization_code. They are compared letter by letter."`
	PostLogoutURIs        []string        `json:"post_logout_redirect_uris,omitempty"`
	BackchannelLogoutURI  string          `json:"backchannel_logout_uri,omitempty"`
	FrontchannelLogoutURI string          `json:"frontchannel_logout_uri,omitempty" doc:"On the origin of a redirect URI: shown in a frame when people sign out."`
	GrantTypes            []string        `json:"grant_types" doc:"Of authorization_code, refresh_token, client_credentials, device_code and token_exchange. A resource that only looks into tokens needs none."`
	Scopes                []string        `json:"scopes,omitempty" doc:"Where there are none: every standard one that the grant types allow."`
	Audiences             []string        `json:"audiences,omitempty"`
	Resources             []string        `json:"resources,omitempty" doc:"Resources that it is itself: it may look into tokens for them, and exchange them."`
	AccessTokenFormat     string          `json:"access_token_format,omitempty" enum:"opaque|jwt" doc:"opaque where nothing is said."`
	SigningAlg            string          `json:"signing_alg,omitempty" enum:"ES256|RS256|EdDSA" doc:"ES256 where nothing is said."`
	AccessTTL             int64           `json:"access_ttl,omitempty" doc:"Seconds, 10 to 86400, of a JWT to 300; 300 where nothing is said."`
	CodeTTL               int64           `json:"code_ttl,omitempty" doc:"Seconds, 10 to 600; 60 where nothing is said."`
	GrantTTL              int64           `json:"grant_ttl,omitempty" doc:"Seconds that what it was allowed with offline_access lasts, 10 to ten years; 30 days where nothing is said."`
	Sector                string          `json:"sector,omitempty" doc:"A host, such as example.net: it knows people by ids that only clients of this sector know them by (OpenID Connect Core, section 8.1)."`
	FirstParty            bool            `json:"first_party,omitempty" doc:"Nobody is asked for consent."`
	DPoP                  bool            `json:"dpop_bound_access_tokens,omitempty" doc:"It gets no tokens without a proof of a key that they are bound to (RFC 9449). Any client may send one."`
	RequirePushed         bool            `json:"require_pushed_authorization_requests,omitempty" doc:"Every authorization request must be pushed (RFC 9126)."`
	RequireSigned         bool            `json:"require_signed_request_object,omitempty" doc:"Every one must be signed, with one of its keys (RFC 9101)."`
	FAPI                  bool            `json:"fapi,omitempty" doc:"It is held to the FAPI 2.0 Security Profile: it has keys, binds its tokens and pushes its requests."`
	Reason                string          `json:"reason,omitempty"`
}

// A ClientChange is what an administrator changes of a client; what is not there stays.
type ClientChange struct {
	Name                  *string         `json:"name,omitempty"`
	URI                   *string         `json:"uri,omitempty"`
	Disabled              *bool           `json:"disabled,omitempty"`
	Verified              *bool           `json:"verified,omitempty" doc:"Somebody has looked at one that has registered itself: it is as if you had. It can be taken back by disabling it alone."`
	JWKS                  json.RawMessage `json:"jwks,omitempty" doc:"In place of those that it had, or of jwks_uri."`
	JWKSURI               *string         `json:"jwks_uri,omitempty" doc:"In place of jwks."`
	RedirectURIs          *[]string       `json:"redirect_uris,omitempty"`
	PostLogoutURIs        *[]string       `json:"post_logout_redirect_uris,omitempty"`
	BackchannelLogoutURI  *string         `json:"backchannel_logout_uri,omitempty"`
	FrontchannelLogoutURI *string         `json:"frontchannel_logout_uri,omitempty"`
	GrantTypes            *[]string       `json:"grant_types,omitempty"`
	Scopes                *[]string       `json:"scopes,omitempty"`
	Audiences             *[]string       `json:"audiences,omitempty"`
	Resources             *[]string       `json:"resources,omitempty"`
	AccessTokenFormat     *string         `json:"access_token_format,omitempty" enum:"opaque|jwt"`
	SigningAlg            *string         `json:"signing_alg,omitempty" enum:"ES256|RS256|EdDSA"`
	AccessTTL             *int64          `json:"access_ttl,omitempty"`
	CodeTTL               *int64          `json:"code_ttl,omitempty"`
	GrantTTL              *int64          `json:"grant_ttl,omitempty"`
	Sector                *string         `json:"sector,omitempty" doc:"With another one it knows everybody by another id."`
	FirstParty            *bool           `json:"first_party,omitempty"`
	DPoP                  *bool           `json:"dpop_bound_access_tokens,omitempty"`
	RequirePushed         *bool           `json:"require_pushed_authorization_requests,omitempty"`
	RequireSigned         *bool           `json:"require_signed_request_object,omitempty"`
	FAPI                  *bool           `json:"fapi,omitempty" doc:"With true, dpop_bound_access_tokens and require_pushed_authorization_requests are, too."`
	Reason                string          `json:"reason,omitempty"`
}

// Account is in as the core takes it.
func (in *ClientChange) Account() (account.ClientChange, error) {
	out := account.ClientChange{
		Name: in.Name, URI: in.URI, Disabled: in.Disabled, Verified: in.Verified, JWKS: in.JWKS, JWKSURI: in.JWKSURI,
		RedirectURIs: in.RedirectURIs, PostLogoutURIs: in.PostLogoutURIs,
		BackchannelLogoutURI: in.BackchannelLogoutURI, FrontchannelLogoutURI: in.FrontchannelLogoutURI,
		Grants: in.GrantTypes, Scopes: in.Scopes, Audiences: in.Audiences, Resources: in.Resources,
		FirstParty: in.FirstParty, DPoP: in.DPoP, RequirePushed: in.RequirePushed, RequireSigned: in.RequireSigned, FAPI: in.FAPI,
		Signs: (*jose.Algorithm)(in.SigningAlg), Sector: in.Sector,
	}
	if in.AccessTokenFormat != nil {
		jwt, err := isJWT(*in.AccessTokenFormat)
		if err != nil {
			return out, err
		}
		out.JWT = &jwt
	}
	for _, ttl := range []struct {
		of *int64
		to **time.Duration
	}{{in.AccessTTL, &out.AccessLife}, {in.CodeTTL, &out.CodeLife}, {in.GrantTTL, &out.GrantLife}} {
		if ttl.of != nil {
			d := seconds(*ttl.of)
			*ttl.to = &d
		}
	}
	return out, nil
}

// isJWT reads access_token_format.
func isJWT(format string) (bool, error) {
	switch format {
	case "", "opaque":
		return false, nil
	case "jwt":
		return true, nil
	}
	return false, &admit.FieldError{Field: "access_token_format", Err: provider.ErrInvalidMetadata.WithHint("It is opaque or jwt.")}
}

// Account is in as the core takes it.
func (in *NewClient) Account() (account.NewClient, error) {
	jwt, err := isJWT(in.AccessTokenFormat)
	if err != nil {
		return account.NewClient{}, err
	}
	return account.NewClient{
		ID: in.ID, Name: in.Name, URI: in.URI, Public: in.Public, Secret: in.Secret, JWKS: in.JWKS, JWKSURI: in.JWKSURI,
		RedirectURIs: in.RedirectURIs, PostLogoutURIs: in.PostLogoutURIs,
		BackchannelLogoutURI: in.BackchannelLogoutURI, FrontchannelLogoutURI: in.FrontchannelLogoutURI,
		Grants: in.GrantTypes, Scopes: in.Scopes, Audiences: in.Audiences, Resources: in.Resources,
		FirstParty: in.FirstParty, DPoP: in.DPoP, RequirePushed: in.RequirePushed, RequireSigned: in.RequireSigned, FAPI: in.FAPI,
		JWT: jwt, Signs: jose.Algorithm(in.SigningAlg), Sector: in.Sector,
		AccessLife: seconds(in.AccessTTL), CodeLife: seconds(in.CodeTTL), GrantLife: seconds(in.GrantTTL),
	}, nil
}

// seconds is n of them, or nearly 300 years, which is refused wherever it is said.
func seconds(n int64) time.Duration {
	if n < 0 || n > math.MaxInt64/int64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Second
}

// ClientOf returns c as administrators see it.
func ClientOf(c *provider.Client, now time.Time) Client {
	list := func(all []string) []string { return append([]string{}, all...) }
	out := Client{
		ID: c.ID, Name: c.Name, URI: c.URI, AuthMethod: string(c.Auth), JWKSURI: c.KeysURI, Native: c.Native,
		RedirectURIs: list(c.RedirectURIs), PostLogoutURIs: list(c.PostLogoutURIs),
		BackchannelLogoutURI: c.BackchannelLogoutURI, FrontchannelLogoutURI: c.FrontchannelLogoutURI,
		GrantTypes: []string{}, Scopes: list(c.Scopes), Audiences: list(c.Audiences), Resources: list(c.Resources),
		AccessTokenFormat: "opaque", SigningAlg: string(cmp.Or(c.Signs, jose.ES256)),
		AccessTTL: int64(cmp.Or(c.AccessLife, 5*time.Minute).Seconds()), CodeTTL: int64(cmp.Or(c.CodeLife, time.Minute).Seconds()),
		GrantTTL: int64(cmp.Or(c.GrantLife, 30*24*time.Hour).Seconds()), Sector: c.Sector,
		FirstParty: c.FirstParty, DPoP: c.DPoP, RequirePushed: c.RequirePushed, RequireSigned: c.RequireSigned,
		Disabled: c.Disabled, Unverified: c.Unverified(), FAPI: c.FAPI, CreatedAt: shown(c.CreatedAt),
	}
	if c.Registered != nil {
		out.Invite = c.Registered.Invite
	}
	switch c.Auth {
	case provider.AnySecret, provider.SecretBasic, provider.SecretPost:
		out.AuthMethod = "client_secret"
	}
	if c.JWT {
		out.AccessTokenFormat = "jwt"
	}
	for _, g := range c.Grants {
		if g == provider.DeviceCode {
			g = "device_code" // as it is named where a client is registered
		}
		out.GrantTypes = append(out.GrantTypes, string(g))
	}
	if c.Keys != nil {
		out.JWKS, _ = json.Marshal(c.Keys) // Check took public keys alone, which are always marshalled
	}
	for _, s := range c.Secrets {
		secret := ClientSecret{ID: s.Selector}
		if !s.Expires.IsZero() {
			if !now.Before(s.Expires) {
				continue
			}
			at := shown(s.Expires)
			secret.ExpiresAt = &at
		}
		out.Secrets = append(out.Secrets, secret)
	}
	return out
}

// ClientsOf returns clients as administrators see them.
func ClientsOf(all []*provider.Client, now time.Time) []Client {
	out := make([]Client, len(all))
	for i, c := range all {
		out[i] = ClientOf(c, now)
	}
	return out
}

func (c *call) adminClients(asker) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	limit, err := pageSize(q)
	if err != nil {
		return err
	}
	all, err := c.Accounts.FindClients(c.r.Context(), q["after"], limit+1)
	if err != nil {
		return err
	}
	out := ClientList{}
	if len(all) > limit {
		all = slices.Clip(all[:limit])
		out.Next = all[limit-1].ID
	}
	out.Clients = ClientsOf(all, c.now)
	return c.json(http.StatusOK, out)
}

func (c *call) adminAddClient(a asker, in *NewClient) error {
	by, err := c.by(a, in.Reason)
	if err != nil {
		return err
	}
	ask, err := in.Account()
	if err != nil {
		return err
	}
	made, secret, err := c.Accounts.AddClient(c.r.Context(), ask, by, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, MadeClient{ClientOf(made, c.now), secret.Reveal()})
}

func (c *call) adminClient(asker) error {
	found, err := c.Accounts.FindClient(c.r.Context(), c.named("client"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, ClientOf(found, c.now))
}

func (c *call) adminChangeClient(a asker, in *ClientChange) error {
	by, err := c.by(a, in.Reason)
	if err != nil {
		return err
	}
	change, err := in.Account()
	if err != nil {
		return err
	}
	changed, err := c.Accounts.ChangeClient(c.r.Context(), c.named("client"), change, by, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, ClientOf(changed, c.now))
}

func (c *call) adminRemoveClient(a asker) error {
	by, err := c.byQuery(a)
	if err != nil {
		return err
	}
	if err := c.Accounts.RemoveClient(c.r.Context(), c.named("client"), by, c.now); err != nil {
		return err
	}
	return c.noContent()
}

// A rotation is how a client gets another secret.
type rotation struct {
	Secret  admit.Secret `json:"secret,omitempty" doc:"One that it has already; where there is none, one is made."`
	Overlap *int64       `json:"overlap,omitempty" doc:"Seconds that the one before is good, to 30 days; a day where nothing is said."`
	Reason  string       `json:"reason,omitempty"`
}

func (c *call) adminRotateClientSecret(a asker, in *rotation) error {
	by, err := c.by(a, in.Reason)
	if err != nil {
		return err
	}
	overlap := account.DefaultOverlap
	if in.Overlap != nil {
		overlap = seconds(*in.Overlap)
	}
	rotated, secret, err := c.Accounts.RotateClientSecret(c.r.Context(), c.named("client"), in.Secret, overlap, by, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, MadeClient{ClientOf(rotated, c.now), secret.Reveal()})
}
