package provider

import (
	"net/url"
	"slices"
)

// Origins are those of the client's own pages, by its redirect URIs: for
// Options.Origin. A program on a device has none.
func (c *Client) Origins() (all []string) {
	if c.Native || c.Disabled {
		return nil
	}
	for _, uri := range c.RedirectURIs {
		u, err := url.Parse(uri)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			continue
		}
		if o := u.Scheme + "://" + u.Host; !slices.Contains(all, o) {
			all = append(all, o)
		}
	}
	return all
}
