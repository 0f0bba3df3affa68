package server

import (
	"net/url"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
)

// A callback is put into a redirect and, in part, into a policy.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{"https://shop.example.net/arrive", "http://localhost:8086/a", "https://a;b/", "https://a/?", "https://a@b/", "HTTPS://a/", "https://[::1]:80/\\", "https:///a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !isCallback(text) {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.String() != text && u.EscapedPath() == u.Path || u.Scheme != "https" && !isLoopback(u.Hostname()) {
			t.Errorf("%q is taken: %v, %v", text, u, err)
		}
		if strings.ContainsAny(u.Scheme+u.Host, " ;,'\"\r\n") || strings.ContainsAny(text, "?#") {
			t.Errorf("%q is taken", text)
		}
	})
}

// Whatever stands among the secrets, no error quotes it.
func FuzzSiteSecrets(f *testing.F) {
	for _, seed := range []string{"shop=0123456789abcdef0123456789abcdef", "shop", "=x", "shop= ", "# x", "a:b=c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const told = "told-to-nobody"
		c := Config{HandoverSites: []string{"shop=https://shop.example.net/arrive"}, HandoverSecrets: admit.NewSecret(text + told)}
		sites, err := c.sites()
		if err == nil && (len(sites) != 1 || len(sites[0].Secret.Reveal()) < minSiteSecret) {
			t.Errorf("%q gives %d sites", text, len(sites))
		}
		if err != nil && strings.Contains(RefusalOf(err).Detail+RefusalOf(err).Hint, told) {
			t.Errorf("an error quotes a secret: %v", err)
		}
	})
}
