package provider

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
)

func TestAClientThatContradictsItselfIsNotRegistered(t *testing.T) {
	d := newDesk(t)
	key := deskSigning().by[jose.ES256].Public()
	for _, c := range []struct {
		name   string
		change func(*Client)
		good   bool
	}{
		{"as it is", func(*Client) {}, true},
		{"with a secret in either manner", func(c *Client) { c.Auth = AnySecret }, true},
		{"public", func(c *Client) {
			c.Auth, c.Secrets, c.Grants = NoAuth, nil, []GrantType{AuthorizationCode, RefreshToken}
		}, true},
		{"with keys", func(c *Client) { c.Auth, c.Secrets, c.Keys = PrivateKeyJWT, nil, jose.NewKeySet(key) }, true},
		{"with keys behind a URL", func(c *Client) { c.Auth, c.Secrets, c.KeysURI = PrivateKeyJWT, nil, "https://a.example/jwks" }, true},
		{"of its own alone", func(c *Client) { c.Grants, c.RedirectURIs = []GrantType{ClientCredentials}, nil }, true},
		{"by its device", func(c *Client) { c.Grants, c.RedirectURIs = []GrantType{DeviceCode, RefreshToken}, nil }, true},
		{"with an id that is a URL", func(c *Client) { c.ID = "https://app.example.org/a b" }, true},

		{"without an id", func(c *Client) { c.ID = "" }, false},
		{"with an id of another script", func(c *Client) { c.ID = "客户" }, false},
		{"with a control character in its id", func(c *Client) { c.ID = "a\nb" }, false},
		{"with a long id", func(c *Client) { c.ID = strings.Repeat("a", 2049) }, false},
		{"with an unknown method", func(c *Client) { c.Auth = "tls_client_auth" }, false},
		{"with a method of secrets and none", func(c *Client) { c.Secrets = nil }, false},
		{"public with a secret", func(c *Client) { c.Auth, c.Grants = NoAuth, []GrantType{AuthorizationCode} }, false},
		{"public with something of its own", func(c *Client) { c.Auth, c.Secrets = NoAuth, nil }, false},
		{"by a key and without one", func(c *Client) { c.Auth, c.Secrets = PrivateKeyJWT, nil }, false},
		{"with keys here and there", func(c *Client) {
			c.Auth, c.Secrets, c.Keys, c.KeysURI = PrivateKeyJWT, nil, jose.NewKeySet(key), "https://a.example/jwks"
		}, false},
		{"without a grant type", func(c *Client) { c.Grants = nil }, false},
		{"with the password grant", func(c *Client) { c.Grants = append(c.Grants, "password") }, false},
		{"with nothing to refresh", func(c *Client) { c.Grants = []GrantType{ClientCredentials, RefreshToken} }, false},
		{"with no place for a code", func(c *Client) { c.RedirectURIs = nil }, false},
		{"signed by a secret", func(c *Client) { c.Signs = jose.HS256 }, false},
		{"a JWT and pairwise", func(c *Client) { c.JWT, c.Sector = true, "a.example" }, false},
		{"with a code of an hour", func(c *Client) { c.CodeLife = time.Hour }, false},
		{"with a token of a week", func(c *Client) { c.AccessLife = 7 * 24 * time.Hour }, false},
		{"with a grant of yesterday", func(c *Client) { c.GrantLife = -time.Hour }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, _ := d.client("app", c.change)
			err := client.Check()
			if c.good != (err == nil) || err != nil && !errors.Is(err, ErrInvalidMetadata) {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

func TestSecretsOverlapWhileOneIsReplaced(t *testing.T) {
	d := newDesk(t)
	c, first := d.client("app", nil)
	f := fields("grant_type", "client_credentials")
	asks := func(secret, want string) {
		t.Helper()
		if a := d.post(f, basic("app", secret)); want == "" {
			d.given(a)
		} else {
			d.refused(a, want)
		}
	}
	next := *c
	second := next.RotateSecret(time.Hour, d.now).Reveal()
	asks(second, "invalid_client")
	d.m.PutClient(next)
	asks(first, "")
	asks(second, "")
	if len(c.Secrets) != 1 || !c.Secrets[0].Expires.IsZero() {
		t.Errorf("who has a copy of the client has seen its secrets change: %+v", c.Secrets)
	}
	d.now = d.now.Add(30 * time.Minute)
	third := next.RotateSecret(2*time.Hour, d.now).Reveal() // which is no new life for the first
	d.m.PutClient(next)
	asks(first, "")
	d.now = d.now.Add(30 * time.Minute)
	asks(first, "invalid_client")
	asks(second, "")
	asks(third, "")
	last := next.RotateSecret(0, d.now).Reveal()
	d.m.PutClient(next)
	asks(second, "invalid_client")
	asks(third, "invalid_client")
	asks(last, "")
	if len(next.Secrets) != 1 {
		t.Errorf("the client has %d secrets", len(next.Secrets))
	}
}
