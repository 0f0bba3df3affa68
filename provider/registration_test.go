package provider

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
)

// aSite is a client that may be registered.
func aSite(changes ...func(*Client)) *Client {
	_, kept := NewSecret()
	c := &Client{
		ID: "shop", Name: "The shop", Secrets: []ClientSecret{kept},
		RedirectURIs: []string{"https://shop.example.net/cb"},
		Grants:       []GrantType{AuthorizationCode, RefreshToken},
		Scopes:       DefaultScopes([]GrantType{AuthorizationCode, RefreshToken}),
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func asPublic(c *Client) { c.Auth, c.Secrets = NoAuth, nil }

func asNative(c *Client) { asPublic(c); c.Native = true }

func madeKey(t *testing.T, alg jose.Algorithm) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey(alg, "")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAClientIsRegisteredOnlyAsItMayAct(t *testing.T) {
	es, shared := madeKey(t, jose.ES256), madeKey(t, jose.HS256)
	keyed := func(keys ...*jose.Key) func(*Client) {
		return func(c *Client) { c.Auth, c.Secrets, c.Keys = PrivateKeyJWT, nil, jose.NewKeySet(keys...) }
	}
	grants := func(all ...GrantType) func(*Client) {
		return func(c *Client) {
			c.Grants, c.Scopes = all, DefaultScopes(all)
			if !c.may(AuthorizationCode) {
				c.RedirectURIs = nil
			}
		}
	}
	for _, tt := range []struct {
		name    string
		field   string // that is wrong, "" for none
		changes []func(*Client)
	}{
		{"a site with a secret", "", nil},
		{"an app on a page", "", []func(*Client){asPublic}},
		{"an app on a phone", "", []func(*Client){asNative, func(c *Client) { c.RedirectURIs = []string{"org.example.shop:/cb", "http://127.0.0.1/cb"} }}},
		{"a service with a key", "", []func(*Client){keyed(es.Public()), grants(ClientCredentials)}},
		{"a service with an address of keys", "", []func(*Client){keyed(), func(c *Client) { c.Keys, c.KeysURI = nil, "https://shop.example.net/jwks" }}},
		{"a television", "", []func(*Client){asPublic, grants(DeviceCode, RefreshToken)}},
		{"lives at their bounds", "", []func(*Client){func(c *Client) { c.CodeLife, c.AccessLife = 10*time.Second, 24*time.Hour }}},
		{"scopes and resources of its own", "", []func(*Client){func(c *Client) {
			c.Scopes, c.Audiences = []string{"openid", "orders:read"}, []string{"https://api.example.net/", "urn:example:api"}
		}}},
		{"a service that calls for people", "", []func(*Client){grants(TokenExchange), func(c *Client) {
			c.Resources, c.Audiences = []string{"https://orders.example.net"}, []string{"https://stock.example.net"}
		}}},
		{"a service that only looks into tokens", "", []func(*Client){grants(), func(c *Client) { c.Resources = []string{"https://stock.example.net"} }}},
		{"an exchange of nobody's tokens", "resources", []func(*Client){grants(TokenExchange)}},
		{"an exchange by a public client", "grant_types", []func(*Client){asPublic, grants(TokenExchange), func(c *Client) { c.Resources = []string{"https://orders.example.net"} }}},
		{"a resource that anybody may say he is", "resources", []func(*Client){asPublic, func(c *Client) { c.Resources = []string{"https://orders.example.net"} }}},
		{"a resource that is no URI", "resources", []func(*Client){func(c *Client) { c.Resources = []string{"orders"} }}},
		{"a resource twice", "resources", []func(*Client){func(c *Client) { c.Resources = []string{"https://a.example", "https://a.example"} }}},
		{"a frame at a sign-out", "", []func(*Client){func(c *Client) { c.FrontchannelLogoutURI = "https://shop.example.net/out?a=b" }}},
		{"a frame on another host", "frontchannel_logout_uri", []func(*Client){func(c *Client) { c.FrontchannelLogoutURI = "https://out.shop.example.net/out" }}},
		{"a frame on another port", "frontchannel_logout_uri", []func(*Client){func(c *Client) { c.FrontchannelLogoutURI = "https://shop.example.net:8443/out" }}},
		{"a frame in the clear", "frontchannel_logout_uri", []func(*Client){func(c *Client) { c.FrontchannelLogoutURI = "http://shop.example.net/out" }}},
		{"a frame of nobody's", "grant_types", []func(*Client){grants(ClientCredentials), func(c *Client) { c.FrontchannelLogoutURI = "https://shop.example.net/out" }}},
		{"no id", "id", []func(*Client){func(c *Client) { c.ID = "" }}},
		{"an id with a colon", "id", []func(*Client){func(c *Client) { c.ID = "shop:x" }}},
		{"an id that is long", "id", []func(*Client){func(c *Client) { c.ID = strings.Repeat("x", 129) }}},
		{"no name", "name", []func(*Client){func(c *Client) { c.Name = " " }}},
		{"a name that hides text", "name", []func(*Client){func(c *Client) { c.Name = "shop\u202e" }}},
		{"no secret", "auth_method", []func(*Client){func(c *Client) { c.Secrets = nil }}},
		{"a public client with a secret", "auth_method", []func(*Client){func(c *Client) { c.Auth = NoAuth }}},
		{"a secret beside a key", "auth_method", []func(*Client){keyed(es.Public()), func(c *Client) { c.Secrets = make([]ClientSecret, 1) }}},
		{"a way that there is not", "auth_method", []func(*Client){func(c *Client) { c.Auth = "tls_client_auth" }}},
		{"a native client with a secret", "auth_method", []func(*Client){func(c *Client) { c.Native = true }}},
		{"no keys", "jwks", []func(*Client){keyed()}},
		{"a private key", "jwks", []func(*Client){keyed(es)}},
		{"a shared key", "jwks", []func(*Client){keyed(shared)}},
		{"a key that encrypts", "jwks", []func(*Client){keyed(madeKey(t, jose.ECDHES).Public())}},
		{"keys and an address of keys", "jwks", []func(*Client){keyed(es.Public()), func(c *Client) { c.KeysURI = "https://shop.example.net/jwks" }}},
		{"keys over http", "jwks_uri", []func(*Client){keyed(), func(c *Client) { c.Keys, c.KeysURI = nil, "http://shop.example.net/jwks" }}},
		{"no grant type", "grant_types", []func(*Client){grants()}},
		{"a grant type that there is not", "grant_types", []func(*Client){grants("password")}},
		{"a grant type twice", "grant_types", []func(*Client){grants(AuthorizationCode, AuthorizationCode)}},
		{"refresh tokens of nobody", "grant_types", []func(*Client){grants(ClientCredentials, RefreshToken)}},
		{"credentials of a public client", "grant_types", []func(*Client){asPublic, grants(AuthorizationCode, ClientCredentials)}},
		{"no redirect URI", "redirect_uris", []func(*Client){func(c *Client) { c.RedirectURIs = nil }}},
		{"a redirect URI that nothing uses", "redirect_uris", []func(*Client){grants(ClientCredentials), func(c *Client) { c.RedirectURIs = []string{"https://shop.example.net/cb"} }}},
		{"a log-out of nobody", "grant_types", []func(*Client){grants(ClientCredentials), func(c *Client) { c.BackchannelLogoutURI = "https://shop.example.net/out" }}},
		{"a redirect URI twice", "redirect_uris", []func(*Client){func(c *Client) { c.RedirectURIs = append(c.RedirectURIs, c.RedirectURIs...) }}},
		{"a scope of two words", "scopes", []func(*Client){func(c *Client) { c.Scopes = []string{"openid profile"} }}},
		{"a scope twice", "scopes", []func(*Client){func(c *Client) { c.Scopes = []string{"openid", "openid"} }}},
		{"a scope of people", "scopes", []func(*Client){grants(ClientCredentials), func(c *Client) { c.Scopes = []string{"email"} }}},
		{"offline_access without refreshing", "scopes", []func(*Client){grants(AuthorizationCode), func(c *Client) { c.Scopes = []string{"offline_access"} }}},
		{"an audience that is no URI", "audiences", []func(*Client){func(c *Client) { c.Audiences = []string{"api"} }}},
		{"an audience with a fragment", "audiences", []func(*Client){func(c *Client) { c.Audiences = []string{"https://api.example.net/#"} }}},
		{"a code for an hour", "code_ttl", []func(*Client){func(c *Client) { c.CodeLife = time.Hour }}},
		{"a code for no time", "code_ttl", []func(*Client){func(c *Client) { c.CodeLife = -time.Second }}},
		{"a token for a week", "access_ttl", []func(*Client){func(c *Client) { c.AccessLife = 7 * 24 * time.Hour }}},
		{"a grant for a second", "grant_ttl", []func(*Client){func(c *Client) { c.GrantLife = time.Second }}},
		{"a JWT of somebody whom it must not know", "access_token_format", []func(*Client){func(c *Client) { c.JWT, c.Sector = true, "shop.example.net" }}},
		{"no signature", "signing_alg", []func(*Client){func(c *Client) { c.Signs = "none" }}},
		{"a shared signature", "signing_alg", []func(*Client){func(c *Client) { c.Signs = jose.HS256 }}},
	} {
		err := aSite(tt.changes...).Check(false)
		field := ""
		if e, ok := errors.AsType[*admit.FieldError](err); ok {
			field = e.Field
			if sentinel, _ := errors.AsType[*admit.Error](err); sentinel.Hint() == "" {
				t.Errorf("%s: nobody is told what to do", tt.name)
			}
		}
		if field != tt.field || err != nil && field == "" {
			t.Errorf("%s: %v, want %q to be wrong", tt.name, err, tt.field)
		}
	}
}

// Each address is where somebody's browser, code or token goes.
func TestAddressesOfAClientAreExactAndOfNobodyElse(t *testing.T) {
	for uri, taken := range map[string]string{ // by a site, a program on a device, and where loopback is let be insecure
		"https://app.example.org/cb":              "web native insecure",
		"https://app.example.org":                 "web native insecure",
		"https://app.example.org:8443/cb?x=y":     "web native insecure",
		"http://127.0.0.1/cb":                     "native insecure",
		"http://127.0.0.1:8080/cb":                "native insecure",
		"http://[::1]:8080/cb":                    "native insecure",
		"http://localhost:8080/cb":                "insecure",
		"org.example.app:/cb":                     "native",
		"org.example.app://cb":                    "native",
		"app:/cb":                                 "",
		"http://app.example.org/cb":               "",
		"http://127.0.0.1.example.org/cb":         "",
		"http://localhost.example.org/cb":         "",
		"http://10.0.0.1/cb":                      "",
		"/cb":                                     "",
		"//app.example.org/cb":                    "",
		"app.example.org/cb":                      "",
		"localhost:8080/cb":                       "",
		"https:/cb":                               "",
		"https:app.example.org":                   "",
		"https://app.example.org/cb#x":            "",
		"https://app.example.org/cb#":             "",
		"https://x@app.example.org/cb":            "",
		"https://x:y@app.example.org/cb":          "",
		"https://app.example.org@evil.example":    "",
		"https://*.example.org/cb":                "",
		"https://app.example.org/*":               "",
		"http://127.0.0.1:*/cb":                   "",
		"https://app.example.org/cb ":             "",
		"https://app.example.org/c b":             "",
		"https://app.example.org\\@evil.example/": "",
		"https://app.example.org/cb\r\nX: y":      "",
		"https://app.exämple.org/cb":              "",
		"javascript:alert(1)":                     "",
		"javascript:alert(1)//example.org":        "",
		"data:text/html,x":                        "",
		"file:///etc/passwd":                      "",
		"urn:ietf:wg:oauth:2.0:oob":               "",
		"":                                        "",
		"*":                                       "",
		"https://app.example.org/" + strings.Repeat("x", 2000): "",
	} {
		for _, who := range []struct {
			name string
			c    *Client
		}{{"web", aSite()}, {"native", aSite(asNative)}, {"insecure", aSite()}} {
			want := strings.Contains(" "+taken+" ", " "+who.name+" ")
			who.c.RedirectURIs = []string{uri}
			err := who.c.Check(who.name == "insecure")
			if (err == nil) != want || err != nil && !errors.Is(err, ErrInvalidRedirectURI) {
				t.Errorf("%q is to be taken of %s: %v, and is: %v", uri, who.name, want, err)
			}
			// What was registered is taken when it is used, and what is used was taken.
			if used := wrongRedirect(uri, who.c.Native, who.name == "insecure"); err == nil && used != "" {
				t.Errorf("%q is registered of %s, and then refused: %v", uri, who.name, used)
			}
			out := aSite(func(c *Client) {
				c.PostLogoutURIs = []string{uri}
				c.Native = who.c.Native
				c.Auth, c.Secrets = who.c.Auth, who.c.Secrets
			})
			if err := out.Check(who.name == "insecure"); (err == nil) != want {
				t.Errorf("%q after a log-out of %s: %v", uri, who.name, err)
			}
		}
		back := aSite(func(c *Client) { c.BackchannelLogoutURI = uri })
		if err := back.Check(false); (err == nil) != (strings.HasPrefix(taken, "web") || uri == "") {
			t.Errorf("%q is called at a log-out: %v", uri, err)
		}
	}
}

func TestASecretOfAnotherServerGoesOnAndAWeakOneDoesNot(t *testing.T) {
	made, kept := NewSecret()
	now := time.Now()
	for _, tt := range []struct {
		name, text string
		good       bool
	}{
		{"one of ours", made.Reveal(), true},
		{"hexadecimal digits", "5f2c1e9a7b3d4860f1e2d3c4b5a69788", true},
		{"base64", "dGhpcyBpcyBhIHJhbmRvbSBzZWNyZXQ+/=", true},
		{"16 characters", "aB3dE5gH7jK9mN1p", true},
		{"15 characters", "aB3dE5gH7jK9mN1", false},
		{"one character again and again", strings.Repeat("a", 64), false},
		{"several lines", "aB3dE5gH7jK9mN1p\naB3dE5gH7jK9mN1p", false},
		{"letters beyond ASCII", "äöüaB3dE5gH7jK9mN1p", false},
		{"nothing", "", false},
		{"a book", strings.Repeat("aB3dE5gH7jK9mN1p", 33), false},
	} {
		s, err := ParseSecret(admit.NewSecret(tt.text))
		if (err == nil) != tt.good {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), tt.text) && tt.text != "" {
				t.Errorf("%s: the error quotes it", tt.name)
			}
			continue
		}
		c := &Client{Secrets: []ClientSecret{{Selector: kept.Selector}, s}}
		if !c.has(admit.NewSecret(tt.text), now) {
			t.Errorf("%s does not prove anything", tt.name)
		}
		for _, wrong := range []string{tt.text + "x", tt.text[1:], "", strings.ToUpper(tt.text)} {
			if wrong != tt.text && c.has(admit.NewSecret(wrong), now) {
				t.Errorf("%s: %q proves it, too", tt.name, wrong)
			}
		}
		c.Secrets[1].Expires = now
		if c.has(admit.NewSecret(tt.text), now) {
			t.Errorf("%s proves something when it has expired", tt.name)
		}
	}
}

// What is taken has one reading: the host that is shown is where the browser goes.
func FuzzAddressOfAClient(f *testing.F) {
	for _, uri := range []string{"https://app.example.org/cb", "http://127.0.0.1:80/", "org.example.app:/cb", "https://a@b", "https://a\\@b", "https://a/#", "https://[::1", "javascript:x"} {
		f.Add(uri, true)
		f.Add(uri, false)
	}
	f.Fuzz(func(t *testing.T, uri string, native bool) {
		if checkURI(uri, native, false) != "" {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.Fragment != "" || u.User != nil || u.Scheme == "" || strings.ContainsAny(uri, "*#\\ \r\n\x00") {
			t.Fatalf("%q is taken", uri)
		}
		if u.Scheme == "http" && !(native && loopback(u.Hostname())) || u.Scheme == "https" && u.Host == "" {
			t.Fatalf("%q is taken", uri)
		}
		if !native && u.Scheme != "https" {
			t.Fatalf("%q is taken of a site", uri)
		}
	})
}
