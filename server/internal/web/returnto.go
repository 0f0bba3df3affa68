package web

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/admit-auth/admit"
)

var errReturnTo = admit.Invalid.New("return_to_refused", "The link that brought you here wanted to lead you on to another site, which is not allowed.").
	WithHint("Go on from the start page.")

// maxReturnTo bounds return_to, which is kept in a cookie beside other things.
const maxReturnTo = 1024

// What an application asks for comes along in the address that leads on to it.
const (
	maxAppReturnTo = 12 << 10
	maxKept        = 1536 // of those that a cookie keeps: four of them leave room for others
)

// leadsToApp reports whether a target is where the provider goes on with what an
// application asked for.
func leadsToApp(target string) bool {
	return strings.HasPrefix(target, authorizePath+"?flow=") || strings.HasPrefix(target, logoutPath+"?flow=")
}

// keepable is a target as a cookie keeps it, "" for one that is too long.
func keepable(target string) string {
	if len(target) > maxKept {
		return ""
	}
	return target
}

// signInTo is the sign-in that leads on to a target, "" for nowhere in particular.
func signInTo(target string) string {
	if target == "" {
		return "/signin"
	}
	return "/signin?" + url.Values{"return_to": {target}}.Encode()
}

// carrying is a page of the next step, with the target in its address where no cookie
// keeps it: what an application asks for may be longer than any cookie.
func carrying(path, target string) string {
	if keepable(target) == target {
		return path
	}
	return path + "?" + url.Values{"return_to": {target}}.Encode()
}

// carried is where a step leads on to: by the address that it has come by, and else by
// what a cookie has kept.
func (c *call) carried(kept string) (string, error) {
	return c.returnTo(cmp.Or(c.r.URL.Query().Get("return_to"), kept))
}

// returnTo returns where return_to may lead: a path of ours, or an https
// address of one of ReturnHosts. It is "" where nothing was asked for.
//
// Browsers take \ for /, drop tabs and line ends, and trim spaces (URL
// standard, 4.4), so a text with one of those is refused before anything is
// read into it; what has an authority must name one of ours exactly, without
// a user in front of it.
func (s *server) returnTo(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	odd := func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' }
	limit := maxReturnTo
	if leadsToApp(text) {
		limit = maxAppReturnTo
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > limit || strings.ContainsFunc(text, odd) || u.User != nil || u.Opaque != "" {
		return "", errReturnTo
	}
	switch {
	case u.Scheme == "" && u.Host == "":
		if !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") {
			return "", errReturnTo
		}
	case u.Scheme == s.public.Scheme && u.Host == s.public.Host:
	case u.Scheme == "https" && slices.Contains(s.ReturnHosts, u.Host):
	default:
		return "", errReturnTo
	}
	return text, nil
}
