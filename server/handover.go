package server

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session/handover"
)

// Why sites that may take sign-ins over are refused.
var (
	ErrSites       = admit.Invalid.New("handover_contradiction", "The settings of hand-overs do not fit together.")
	ErrSiteSecrets = admit.Invalid.New("handover_secrets_unreadable", "The secrets of hand-overs cannot be read.")
)

// minSiteSecret is what package handover asks for.
const minSiteSecret = 32

// sites are those of handover_sites with their secrets, which no error quotes.
func (c Config) sites() ([]handover.Site, error) {
	secrets, err := c.siteSecrets()
	if err != nil {
		return nil, err
	}
	var all []handover.Site
	seen := map[string]bool{}
	public := c.PublicURL != "" || len(c.ACME) > 0
	for _, text := range c.HandoverSites {
		name, callback, _ := strings.Cut(text, "=") // Check has seen it
		secret, known := secrets[name]
		hint := ""
		switch {
		case seen[name]:
			hint = "each needs a name of its own, also where two arrive at one URL"
		case public && strings.HasPrefix(callback, "http:"):
			hint = "its URL is of this machine, to which the public cannot be sent"
		case !known:
			hint = "its secret is missing: give " + name + "=SECRET in the file that handover_secrets_file names, or in ADMIT_HANDOVER_SECRETS"
		case len(secret) < minSiteSecret:
			hint = fmt.Sprintf("its secret is shorter than %d characters; admit cookie keygen writes one", minSiteSecret)
		}
		if hint != "" {
			return nil, fmt.Errorf("handover_sites: %s: %w", name, ErrSites.WithHint(hint))
		}
		seen[name] = true
		all = append(all, handover.Site{Name: name, Callback: callback, Secret: admit.NewSecret(secret)})
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if !seen[name] {
			return nil, fmt.Errorf("%s: %w", name, ErrSites.WithHint("it has a secret but no URL: name it in handover_sites, or take its secret away"))
		}
	}
	return all, nil
}

// siteSecrets are the secrets by the names of sites, from a file or from the
// environment.
func (c Config) siteSecrets() (map[string]string, error) {
	text, where, parts := c.HandoverSecrets.Reveal(), "ADMIT_HANDOVER_SECRETS", strings.Fields
	if c.HandoverSecretsFile != "" {
		if text != "" {
			return nil, ErrSites.WithHint("the secrets come from handover_secrets_file or from ADMIT_HANDOVER_SECRETS, not from both")
		}
		b, err := os.ReadFile(c.HandoverSecretsFile)
		if err != nil {
			return nil, fmt.Errorf("handover_secrets_file: %w: %w", ErrSiteSecrets.WithHint("name a file with a line NAME=SECRET for each site"), err)
		}
		text, where = string(b), c.HandoverSecretsFile
		parts = func(text string) []string { return strings.Split(text, "\n") }
	}
	all := map[string]string{}
	for i, part := range parts(text) {
		part = strings.TrimSpace(part)
		if part == "" || strings.HasPrefix(part, "#") {
			continue
		}
		name, secret, ok := strings.Cut(part, "=")
		if _, twice := all[name]; !ok || twice || !isSiteName(name) || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("%s:%d: %w", where, i+1, ErrSiteSecrets.WithHint("each is NAME=SECRET, once, the secret of visible ASCII without spaces"))
		}
		all[name] = secret
	}
	return all, nil
}

// isSiteName reports whether a site may be called so: in URLs, and in Basic
// authentication, where a colon would end it.
func isSiteName(text string) bool {
	return len(text) > 0 && len(text) <= 64 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// isCallback reports whether browsers may be sent to a URL with a code.
func isCallback(text string) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= 1000 && strings.HasPrefix(text, u.Scheme+"://"+u.Host+"/") && u.User == nil && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" &&
		!strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' || r == '#' }) &&
		(isOrigin(u.Scheme+"://"+u.Host, "https") || isOrigin(u.Scheme+"://"+u.Host, "http"))
}
