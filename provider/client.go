package provider

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/admit-auth/admit/jose"
)

// AuthMethod is how a client proves that it is that client, by the names of
// token_endpoint_auth_method (RFC 7591 section 2).
type AuthMethod string

// The methods.
const (
	// AnySecret is client_secret_basic or client_secret_post, as the client likes:
	// libraries differ in which one they begin with, and neither is the safer one.
	AnySecret     AuthMethod = ""
	NoAuth        AuthMethod = "none" // a public client: PKCE is all there is
	SecretBasic   AuthMethod = "client_secret_basic"
	SecretPost    AuthMethod = "client_secret_post"
	PrivateKeyJWT AuthMethod = "private_key_jwt"
)

// GrantType is what a client may present for tokens.
type GrantType string

// The grant types.
const (
	AuthorizationCode GrantType = "authorization_code"
	RefreshToken      GrantType = "refresh_token"
	ClientCredentials GrantType = "client_credentials"
	DeviceCode        GrantType = "urn:ietf:params:oauth:grant-type:device_code"
	TokenExchange     GrantType = "urn:ietf:params:oauth:grant-type:token-exchange"
)

const (
	codeLife    = time.Minute
	maxCodeLife = 10 * time.Minute // RFC 6749 section 4.1.2
)

// A Client is an application that is registered (RFC 7591 section 2).
type Client struct {
	ID   string
	Name string // as people know it
	URI  string // where they read about it, "" for nowhere

	Auth    AuthMethod
	Secrets []ClientSecret // more than one while one is replaced
	Keys    *jose.KeySet   // for PrivateKeyJWT
	KeysURI string         // in place of Keys: jwks_uri

	RedirectURIs          []string // compared letter by letter
	Native                bool     // of a program on a device: the port of a loopback URI may be any (RFC 8252 section 7.3)
	PostLogoutURIs        []string
	BackchannelLogoutURI  string // "" for none
	FrontchannelLogoutURI string // is shown in a frame of the sign-out page; "" for none

	Grants    []GrantType
	Scopes    []string // that it may ask for
	Audiences []string // resources that it may ask for (RFC 8707)
	// Resources are those that it is itself: it may look into the tokens for them, and
	// exchange them. Only who runs the provider can say so.
	Resources     []string
	FirstParty    bool // nobody is asked for consent
	DPoP          bool // it gets no tokens without a proof of a key that they are bound to (RFC 9449 section 5.2)
	RequirePushed bool // it pushes every authorization request (RFC 9126)
	RequireSigned bool // it signs every one, with its keys (RFC 9101)
	FAPI          bool // it is held to the FAPI 2.0 Security Profile, which implies DPoP and RequirePushed

	JWT        bool           // access tokens are JWTs (RFC 9068), and not opaque
	Signs      jose.Algorithm // of ID tokens and access tokens; "" for ES256
	Sector     string         // host of pairwise subjects (OpenID Connect Core section 8.1); "" for public ones
	CodeLife   time.Duration  // 0 for 60 s
	AccessLife time.Duration  // 0 for 5 min
	GrantLife  time.Duration  // of refresh tokens without offline_access it is the session's; 0 for 30 d

	CreatedAt  time.Time
	Disabled   bool
	Registered *Registered // how it has registered itself; nil of one that who runs the provider has registered
}

// clientOf returns a client by its id, nil for none.
func (p *Provider) clientOf(ctx context.Context, id string) (c *Client, err error) {
	err = p.o.Store.View(ctx, func(tx Tx) error {
		c, err = tx.Client(id)
		return err
	})
	return c, err
}

func (c *Client) may(g GrantType) bool { return slices.Contains(c.Grants, g) }

// meetsPeople reports whether people let the client in.
func (c *Client) meetsPeople() bool { return c.may(AuthorizationCode) || c.may(DeviceCode) }

// is reports whether the client is one of the audiences of a token.
func (c *Client) is(audience []string) bool {
	return slices.ContainsFunc(audience, func(a string) bool { return a == c.ID || slices.Contains(c.Resources, a) })
}

// signs is the algorithm of what is signed for the client.
func (c *Client) signs() jose.Algorithm { return cmp.Or(c.Signs, jose.ES256) }

// codeLife is how long a code is good.
func (c *Client) codeLife() time.Duration {
	longest := maxCodeLife
	if c.FAPI {
		longest = codeLife
	}
	return min(cmp.Or(c.CodeLife, codeLife), longest)
}

func (c *Client) accessLife() time.Duration { return cmp.Or(c.AccessLife, 5*time.Minute) }

func (c *Client) grantLife() time.Duration { return cmp.Or(c.GrantLife, 30*24*time.Hour) }
