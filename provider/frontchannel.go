package provider

import (
	"net/url"
	"slices"
)

// checkFrontchannel says why a client cannot be told in a frame. The address is on the
// origin of a redirect URI, as OpenID Connect Front-Channel Logout 1.0 section 2 demands:
// what is loaded there says that somebody has just signed out.
func (c *Client) checkFrontchannel(insecure bool) string {
	uri := c.FrontchannelLogoutURI
	if uri == "" {
		return ""
	}
	if why := checkURI(uri, false, insecure); why != "" {
		return why
	}
	if !slices.ContainsFunc(c.RedirectURIs, func(r string) bool { return originOf(r) == originOf(uri) }) {
		return printable(uri) + " is not on the scheme, host and port of a redirect URI of the client."
	}
	return ""
}

// originOf is the scheme, host and port of an address.
func originOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
