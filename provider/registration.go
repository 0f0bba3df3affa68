package provider

import (
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
)

// What a registration is refused for (RFC 7591 section 3.2.2). What is wrong in
// particular is their hint.
var (
	ErrInvalidRedirectURI = admit.Invalid.New("invalid_redirect_uri", "An address of the client cannot be taken.")
	ErrInvalidMetadata    = admit.Invalid.New("invalid_client_metadata", "A client cannot be registered like this.")
	// ErrUnapproved is what a software statement is refused with: nobody's is believed here,
	// and who sends one counts on it.
	ErrUnapproved = admit.Invalid.New("unapproved_software_statement", "Software statements are not taken here.")
)

const (
	maxName      = 100 // characters
	maxURI       = 2000
	maxURIs      = 50 // of one kind
	maxScopes    = 100
	maxTokenLife = 24 * time.Hour // longer is for refresh tokens
	maxGrantLife = 10 * 365 * 24 * time.Hour
)

// Check reports why a client must not be registered: as an *admit.FieldError that wraps
// ErrInvalidRedirectURI or ErrInvalidMetadata. Where insecureLoopback is set, http is taken
// on loopback addresses as with [Options.InsecureLoopback].
func (c *Client) Check(insecureLoopback bool) error {
	for _, check := range []func(insecure bool) (field, why string){
		c.checkName, c.checkProof, c.checkGrants, c.checkRequests, c.checkScopes, c.checkLives, c.checkStranger, c.checkProfile,
	} {
		if field, why := check(insecureLoopback); why != "" {
			return &admit.FieldError{Field: field, Err: ErrInvalidMetadata.WithHint(why)}
		}
	}
	for _, list := range []struct {
		field string
		uris  []string
	}{{"redirect_uris", c.RedirectURIs}, {"post_logout_redirect_uris", c.PostLogoutURIs}} {
		why := ""
		switch {
		case len(list.uris) > maxURIs:
			why = "There are 50 at most."
		case doubled(list.uris):
			why = "One of them is there twice."
		}
		for _, uri := range list.uris {
			if why == "" {
				why = checkURI(uri, c.Native, insecureLoopback)
			}
		}
		if why != "" {
			return &admit.FieldError{Field: list.field, Err: ErrInvalidRedirectURI.WithHint(why)}
		}
	}
	if uri := c.BackchannelLogoutURI; uri != "" {
		// It is called from here, and no app on a device can be.
		if why := checkURI(uri, false, insecureLoopback); why != "" {
			return &admit.FieldError{Field: "backchannel_logout_uri", Err: ErrInvalidRedirectURI.WithHint(why)}
		}
	}
	if why := c.checkFrontchannel(insecureLoopback); why != "" {
		return &admit.FieldError{Field: "frontchannel_logout_uri", Err: ErrInvalidRedirectURI.WithHint(why)}
	}
	return nil
}

// checkURI says why a client cannot be reached by an address, "" where it can.
func checkURI(uri string, native, insecure bool) string {
	why := wrongRedirect(uri, native, insecure)
	switch u, err := url.Parse(uri); {
	case len(uri) > maxURI:
		return "An address has 2000 characters at most."
	case err == nil && (u.Scheme == "" || u.Opaque != "" && u.Host == "" && !native):
		why = "is not absolute, such as https://app.example.org/callback"
	case strings.Contains(uri, "*"):
		// It would be compared letter by letter, and match nothing that anybody meant.
		why = "has a *, and there are no patterns: each address is written out"
	}
	if why == "" {
		return ""
	}
	return printable(uri) + " " + why + "."
}

func (c *Client) checkName(insecure bool) (field, why string) {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case len(c.ID) > maxID || !isID(c.ID):
		return "id", "An id has 1 to 128 letters, digits, dots, dashes, underscores or tildes."
	case strings.TrimSpace(c.Name) == "" || utf8.RuneCountInString(c.Name) > maxName || !utf8.ValidString(c.Name) || strings.ContainsFunc(c.Name, unprintable):
		return "name", "A name has 1 to 100 characters: people see it when they are asked for consent."
	case c.URI != "" && checkURI(c.URI, false, insecure) != "":
		return "uri", checkURI(c.URI, false, insecure)
	case c.Sector != "" && !isHost(c.Sector):
		return "sector", "A sector is a host, such as example.net."
	}
	return "", ""
}

// checkStranger keeps a client that nobody knows from passing for one that somebody does,
// and from what is had without asking a person.
func (c *Client) checkStranger(bool) (field, why string) {
	switch {
	case !c.Unverified():
	case c.FirstParty:
		return "first_party", "Nobody knows whose client this is: say first that it was looked at."
	case c.may(ClientCredentials):
		return "grant_types", "Nobody knows whose client this is, so that there is nothing of its own for it."
	case isMixed(c.Name):
		return "name", "It has letters of several scripts, one of which may be taken for the other."
	}
	return "", ""
}

// companions are scripts that stand together in names of one language: as in
// Unicode Technical Standard 39, highly restrictive.
var companions = [][]*unicode.RangeTable{
	{unicode.Latin, unicode.Han, unicode.Hiragana, unicode.Katakana}, {unicode.Latin, unicode.Han, unicode.Bopomofo}, {unicode.Latin, unicode.Han, unicode.Hangul},
	{unicode.Cyrillic}, {unicode.Greek}, {unicode.Arabic}, {unicode.Hebrew}, {unicode.Devanagari}, {unicode.Bengali}, {unicode.Tamil}, {unicode.Telugu},
	{unicode.Thai}, {unicode.Georgian}, {unicode.Armenian}, {unicode.Ethiopic}, {unicode.Khmer}, {unicode.Lao}, {unicode.Myanmar}, {unicode.Sinhala},
	{unicode.Gujarati}, {unicode.Gurmukhi}, {unicode.Kannada}, {unicode.Malayalam}, {unicode.Oriya}, {unicode.Tibetan}, {unicode.Mongolian},
}

// isMixed reports whether a name has letters of scripts that do not belong together, or
// marks piled on one letter, which stand over the lines beside it.
func isMixed(name string) bool {
	marks := 0
	for _, r := range name {
		if marks++; !unicode.Is(unicode.M, r) {
			marks = 0
		}
		if marks > 2 {
			return true
		}
	}
	return !slices.ContainsFunc(companions, func(scripts []*unicode.RangeTable) bool {
		return !strings.ContainsFunc(name, func(r rune) bool {
			return unicode.IsLetter(r) && !unicode.In(r, scripts...) && !unicode.In(r, unicode.Common, unicode.Inherited)
		})
	})
}

// isHost takes the host of a URL as it is written there: small letters, and no port.
func isHost(text string) bool {
	u, err := url.Parse("https://" + text)
	return err == nil && len(text) <= 253 && u.Host == text && u.Hostname() == text && text == strings.ToLower(text) && text != "" &&
		strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

// maxID bounds the ids of clients that somebody writes, and not those that are URLs.
const maxID = 128

// isID takes what is itself in URLs, forms and headers.
func isID(id string) bool {
	return id != "" && !strings.ContainsFunc(id, needsEscape)
}

// checkProof looks at how the client proves itself: in one way.
func (c *Client) checkProof(insecure bool) (field, why string) {
	keyed := c.Keys != nil || c.KeysURI != ""
	switch c.Auth {
	case NoAuth:
		if len(c.Secrets) > 0 || keyed {
			return "auth_method", "A public client has no secret and no keys."
		}
	case AnySecret, SecretBasic, SecretPost:
		if len(c.Secrets) == 0 || keyed {
			return "auth_method", "A client that proves itself by a secret has one, and no keys."
		}
	case PrivateKeyJWT:
		switch {
		case len(c.Secrets) > 0:
			return "auth_method", "A client that proves itself by a key has no secret."
		case (c.Keys == nil) == (c.KeysURI == ""):
			return "jwks", "A client that proves itself by a key has keys, or an address where they are."
		case c.Keys != nil:
			return "jwks", checkKeys(c.Keys)
		default:
			return "jwks_uri", checkURI(c.KeysURI, false, insecure)
		}
	default:
		return "auth_method", "There is no such way for a client to prove itself."
	}
	return "", ""
}

func checkKeys(set *jose.KeySet) string {
	if len(set.Keys()) == 0 {
		return "There is no key in it that is understood and strong enough."
	}
	for _, k := range set.Keys() {
		switch {
		case k.Public() == nil:
			return "A shared key is none to sign an assertion with: use a key pair."
		case k.IsPrivate():
			return "There is a private key in it. It belongs to the client alone: register its public half, and make another one if this copy was not to be."
		case !signsAssertions(k):
			return "There is a key in it that signs no assertions: they are signed with ES256, EdDSA, RS256, PS256, ES384 or ES512."
		}
	}
	return ""
}

func signsAssertions(k *jose.Key) bool {
	return slices.ContainsFunc(assertionAlgorithms, func(alg jose.Algorithm) bool {
		_, err := k.For(alg)
		return err == nil
	})
}

func (c *Client) checkGrants(bool) (field, why string) {
	for _, g := range c.Grants {
		if !slices.Contains([]GrantType{AuthorizationCode, RefreshToken, ClientCredentials, DeviceCode, TokenExchange}, g) {
			return "grant_types", "There are authorization_code, refresh_token, client_credentials, " + string(DeviceCode) + " and " + string(TokenExchange) + "."
		}
	}
	switch {
	case len(c.Grants) == 0 && len(c.Resources) == 0:
		return "grant_types", "A client needs a grant type: without one there is nothing that it can ask for. A resource that looks into tokens needs none."
	case doubled(c.Grants):
		return "grant_types", "One of them is there twice."
	case c.may(RefreshToken) && !c.meetsPeople():
		return "grant_types", "Refresh tokens come with a person who allows it: refresh_token goes with authorization_code or the device grant. With client_credentials, a client asks again."
	case c.may(ClientCredentials) && c.Auth == NoAuth:
		return "grant_types", "A public client cannot prove itself, so it has no credentials: client_credentials needs a secret or keys."
	case c.may(TokenExchange) && c.Auth == NoAuth:
		return "grant_types", "A public client cannot prove itself, so that anybody could exchange a token that was stolen from it: the token exchange needs a secret or keys."
	case c.may(TokenExchange) && len(c.Resources) == 0:
		return "resources", "A service exchanges the tokens that are for it: name the resource that it is."
	case len(c.Resources) > 0 && c.Auth == NoAuth:
		return "resources", "A public client cannot prove that it is a resource."
	case c.may(AuthorizationCode) && len(c.RedirectURIs) == 0:
		return "redirect_uris", "With authorization_code, a client has an address where it is answered."
	case !c.may(AuthorizationCode) && len(c.RedirectURIs) > 0:
		return "redirect_uris", "A redirect URI is for authorization_code, which this client has not."
	case !c.meetsPeople() && (len(c.PostLogoutURIs) > 0 || c.BackchannelLogoutURI != "" || c.FrontchannelLogoutURI != ""):
		return "grant_types", "Nobody signs in at a client with these grant types, and so nobody signs out."
	case c.JWT && c.Sector != "":
		return "access_token_format", "A JWT says who somebody is, which a client with pairwise subjects must not know."
	case c.Native && c.Auth != NoAuth:
		return "auth_method", "A program on people's devices keeps no secret (RFC 8252 section 8.5): it is a public client."
	}
	return "", ""
}

// checkRequests looks at how the client's authorization requests come.
func (c *Client) checkRequests(bool) (field, why string) {
	switch {
	case c.RequirePushed && !c.may(AuthorizationCode):
		return "require_pushed_authorization_requests", "Without authorization_code there are no requests to push."
	case c.RequireSigned && !c.may(AuthorizationCode):
		return "require_signed_request_object", "Without authorization_code there are no requests to sign."
	case c.RequireSigned && !c.signsRequests():
		return "require_signed_request_object", "A client that signs its requests has keys."
	}
	return "", ""
}

func (c *Client) checkScopes(bool) (field, why string) {
	switch {
	case len(c.Scopes) > maxScopes:
		return "scopes", "There are 100 at most."
	case doubled(c.Scopes):
		return "scopes", "One of them is there twice."
	}
	for _, s := range c.Scopes {
		switch {
		case !isScope(s):
			return "scopes", "A scope has no spaces, quotes or letters beyond ASCII."
		case isOfPeople(s) && !c.meetsPeople():
			return "scopes", "The scope " + s + " is about somebody who signs in, and nobody does with these grant types."
		case s == scopeOffline && !c.may(RefreshToken):
			return "scopes", "The scope offline_access needs the grant type refresh_token."
		}
	}
	for _, list := range []struct {
		field string
		uris  []string
	}{{"audiences", c.Audiences}, {"resources", c.Resources}} {
		for _, a := range list.uris {
			u, err := url.Parse(a) // RFC 8707 section 2
			if err != nil || !u.IsAbs() || strings.Contains(a, "#") || len(a) > maxURI || strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r > '~' }) {
				return list.field, printable(a) + " is no absolute URI without a fragment, such as https://api.example.org."
			}
		}
		if doubled(list.uris) || len(list.uris) > maxURIs {
			return list.field, "There are 50 at most, each of them once."
		}
	}
	return "", ""
}

func (c *Client) checkLives(bool) (field, why string) {
	for _, life := range []struct {
		field       string
		length, max time.Duration
		why         string
	}{
		{"code_ttl", c.CodeLife, maxCodeLife, "A code is good for 10 seconds to 10 minutes: it is on its way, and nowhere else."},
		{"access_ttl", c.AccessLife, maxTokenLife, "An access token is good for 10 seconds to a day: a refresh token gives another one."},
		{"grant_ttl", c.GrantLife, maxGrantLife, "What a client was allowed is good for 10 seconds to 10 years."},
	} {
		if life.length != 0 && (life.length < 10*time.Second || life.length > life.max) {
			return life.field, life.why
		}
	}
	if c.Signs == "" || slices.Contains(signingAlgorithms, c.Signs) {
		return "", ""
	}
	return "signing_alg", "Tokens are signed with ES256, RS256 or EdDSA."
}

func doubled[T comparable](all []T) bool {
	seen := map[T]bool{}
	for _, v := range all {
		if seen[v] {
			return true
		}
		seen[v] = true
	}
	return false
}
