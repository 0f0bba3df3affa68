package provider

import "net/url"

// Origins are those of the client's own pages, by its redirect URIs: for
// Options.Origin. A program on a device has none.
func (c *Client) Origins() (all []string) {
	if c.Native || c.Disabled {
		return nil
	}
	for _, uri := range c.RedirectURIs {
		if o := originOf(uri); o != "" {
			all = union(all, o)
		}
	}
	return all
}

// originOf is the scheme, host and port of a page's address, "" where it is none.
func originOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
