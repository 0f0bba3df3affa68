package provider

import (
	"context"
	"net/url"
	"slices"
)

// maxFrames bounds how many clients one page tells: each is a page of somebody else's.
const maxFrames = 20

// Frames returns what the page that says goodbye shows in frames, so that the clients of a
// session hear in the browser itself that it has ended (OpenID Connect Front-Channel Logout
// 1.0): for pages of People that end a session, which call it before they do.
//
// It is a courtesy, and [Provider.Run] is what counts: browsers keep the cookies of a page
// in a frame apart, and nobody knows whether a frame was shown.
func (p *Provider) Frames(ctx context.Context, sid string) (frames []string, err error) {
	return frames, p.o.Store.View(ctx, func(tx Tx) error {
		frames = nil
		grants, err := tx.GrantsBehind(sid)
		if err != nil {
			return err
		}
		told := map[string]bool{}
		for _, g := range grants {
			if told[g.Client] || len(frames) == maxFrames {
				continue
			}
			told[g.Client] = true
			c, err := tx.Client(g.Client)
			if err != nil {
				return err
			}
			if c != nil && !c.Disabled && c.FrontchannelLogoutURI != "" {
				frames = append(frames, p.frame(c, sid))
			}
		}
		return nil
	})
}

// frame is the address that tells a client (section 2). Both parameters are there always,
// so that a client which wants them need not say so: without them any page could sign its
// people out, with an image that has that address.
func (p *Provider) frame(c *Client, sid string) string {
	return withQuery(c.FrontchannelLogoutURI, url.Values{"iss": {p.o.Issuer}, "sid": {p.sid(c, sid)}})
}

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
