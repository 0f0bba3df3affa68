package provider

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
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

	RedirectURIs         []string // compared letter by letter
	Native               bool     // of a program on a device: the port of a loopback URI may be any (RFC 8252 section 7.3)
	PostLogoutURIs       []string
	BackchannelLogoutURI string // "" for none
	Grants               []GrantType
	Scopes               []string // that it may ask for
	Audiences            []string // resources that it may ask for (RFC 8707)
	FirstParty           bool     // nobody is asked for consent

	JWT        bool           // access tokens are JWTs (RFC 9068), and not opaque
	Signs      jose.Algorithm // of ID tokens and access tokens; "" for ES256
	Sector     string         // host of pairwise subjects (OpenID Connect Core section 8.1); "" for public ones
	CodeLife   time.Duration  // 0 for 60 s
	AccessLife time.Duration  // 0 for 5 min
	GrantLife  time.Duration  // of refresh tokens without offline_access it is the session's; 0 for 30 d

	CreatedAt time.Time
	Disabled  bool
}

// A ClientSecret is the digest of a secret that a client proves itself by. Secrets are
// tokens of kind token.ClientSecret: random, so that a plain digest is enough.
type ClientSecret struct {
	Selector string
	Digest   token.Digest
	Expires  time.Time // zero for never
}

// ErrInvalidMetadata is the refusal of a client that contradicts itself (RFC 7591 section
// 3.2.2).
var ErrInvalidMetadata = admit.Invalid.New("invalid_client_metadata", "The client cannot be registered like this.")

const (
	maxCodeTime   = 10 * time.Minute // RFC 6749 section 4.1.2
	maxAccessTime = 24 * time.Hour   // for so long verifiers must remember what has ended
)

// Check says what contradicts itself in a client. Whoever registers one asks, and
// CheckRedirects of its redirect URIs.
func (c *Client) Check() error {
	wrong := ""
	secret, people := len(c.Secrets) > 0, c.may(AuthorizationCode) || c.may(DeviceCode)
	switch {
	case c.ID == "" || len(c.ID) > maxClientID || strings.ContainsFunc(c.ID, func(r rune) bool { return r < ' ' || r > '~' }):
		wrong = "The id is not of 1 to 2048 printable ASCII characters."
	case !slices.Contains([]AuthMethod{AnySecret, NoAuth, SecretBasic, SecretPost, PrivateKeyJWT}, c.Auth):
		wrong = "There is no such method of authentication."
	case secret != (c.Auth == AnySecret || c.Auth == SecretBasic || c.Auth == SecretPost):
		wrong = "A client has a secret where it proves itself by one, and only there."
	case c.Auth == PrivateKeyJWT && (c.Keys == nil) == (c.KeysURI == ""):
		wrong = "A client that proves itself by a key has either keys, or a URL of them."
	case len(c.Grants) == 0:
		wrong = "There is no grant type."
	case slices.ContainsFunc(c.Grants, func(g GrantType) bool {
		return !slices.Contains([]GrantType{AuthorizationCode, RefreshToken, ClientCredentials, DeviceCode}, g)
	}):
		wrong = "There is no such grant type."
	case c.may(RefreshToken) && !people:
		wrong = "There is nothing to refresh: what is a client's own it asks for again."
	case c.may(ClientCredentials) && c.Auth == NoAuth:
		wrong = "A client that cannot prove itself has nothing of its own."
	case c.may(AuthorizationCode) && len(c.RedirectURIs) == 0:
		wrong = "There is no redirect URI to send a code to."
	case c.Signs != "" && !slices.Contains(signingAlgorithms, c.Signs):
		wrong = "Nothing is signed with this algorithm: it is ES256, EdDSA or RS256."
	case c.JWT && c.Sector != "":
		wrong = "A JWT says who somebody is, which a client with pairwise subjects must not know."
	case c.CodeLife < 0 || c.CodeLife > maxCodeTime:
		wrong = "A code lives no longer than ten minutes."
	case c.AccessLife < 0 || c.AccessLife > maxAccessTime:
		wrong = "An access token lives no longer than a day."
	case c.GrantLife < 0:
		wrong = "A grant lives for less than no time."
	default:
		return nil
	}
	return because(ErrInvalidMetadata, wrong)
}

// RotateSecret gives the client a new secret. Those that it has had are good for a while
// still, so that the new one can be brought to every machine of it; where that is no time
// they are gone.
func (c *Client) RotateSecret(overlap time.Duration, now time.Time) admit.Secret {
	t, until := token.New(token.ClientSecret), now.Add(overlap)
	secrets := []ClientSecret{{Selector: t.Selector(), Digest: t.Digest()}}
	for _, s := range c.Secrets {
		if s.Expires.IsZero() || s.Expires.After(until) {
			s.Expires = until
		}
		if s.Expires.After(now) {
			secrets = append(secrets, s)
		}
	}
	c.Secrets = secrets // and not in place: who has a copy of the client reads them
	return admit.NewSecret(t.Reveal())
}

func (c *Client) may(g GrantType) bool { return slices.Contains(c.Grants, g) }

// signs is the algorithm of what is signed for the client.
func (c *Client) signs() jose.Algorithm { return cmp.Or(c.Signs, jose.ES256) }

func (c *Client) accessLife() time.Duration { return cmp.Or(c.AccessLife, 5*time.Minute) }

func (c *Client) grantLife() time.Duration { return cmp.Or(c.GrantLife, 30*24*time.Hour) }
