package web

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
)

// nameOf is how people know an application.
func nameOf(c *provider.Client) string { return cmp.Or(c.Name, c.ID) }

// A waiting is the application that somebody signs in for.
type waiting struct {
	Name     string // of a stranger's the host that it leads to, and "" for a program on this device
	Stranger bool   // nobody has looked at what it says of itself
}

// waitingFor is a client as the pages before the consent page show it. What a stranger's
// says of itself stands on that page alone, under a warning.
func waitingFor(of *provider.Client, redirectURI string) *waiting {
	if !of.Unverified() {
		return &waiting{Name: nameOf(of)}
	}
	host, here := destination(redirectURI)
	if host == "" && !here || len(host) > maxHost {
		return nil
	}
	return &waiting{host, true}
}

// maxHost is more than any host has (RFC 1035 section 3.1): the end of a longer one, which
// is what counts, would be out of sight.
const maxHost = 260

// waiting returns who waits at a target, nil for nobody that can be named. That is told by
// the sealed request in it alone: what else stands in an address anybody can write there.
func (c *call) waiting(target string) *waiting {
	if c.letsIn == nil || !leadsToApp(target) {
		return nil
	}
	w, err := c.letsIn.Waiting(c.r.Context(), target)
	if err != nil && c.r.Context().Err() == nil {
		// For want of a line of text nobody is kept from signing in.
		c.Log.LogAttrs(c.r.Context(), slog.LevelError, "for whom somebody signs in cannot be told", slog.String("request_id", c.id), slog.String("error", err.Error()))
	}
	if w == nil {
		return nil
	}
	return waitingFor(w.Client, w.RedirectURI)
}

// A permission is something that an application may do.
type permission struct {
	Text string
	Name string // of a scope that has no words here
}

// asksFor puts into words what a client asks for: what it may not yet, and what it may
// already.
func (c *call) asksFor(of *provider.Client, scopes, fresh []string) (may, had []permission) {
	old := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return slices.Contains(fresh, s) })
	return c.permissions(of, fresh), c.permissions(of, old)
}

// permissions puts scopes of a client into words. What is the weightiest stands last,
// before the buttons.
func (c *call) permissions(of *provider.Client, scopes []string) (all []permission) {
	for _, s := range scopes {
		switch s {
		case "openid":
			p := permission{Text: c.say("may.openid")}
			if of.Sector != "" {
				p.Text = c.say("may.pairwise")
			}
			all = append(all, p)
		case "profile":
			all = append(all, permission{Text: c.say("may.profile")})
		case "email":
			all = append(all, permission{Text: c.say("may.email")})
		case "phone":
			all = append(all, permission{Text: c.say("may.phone")})
		case "address":
			all = append(all, permission{Text: c.say("may.address")})
		case "offline_access":
		default:
			all = append(all, permission{Name: s})
		}
	}
	if slices.Contains(scopes, "offline_access") {
		all = append(all, permission{Text: c.say("may.offline")})
	}
	return all
}

// A consentPage is what an application asks for.
type consentPage struct {
	App, About string       // its name, and where people read about it
	New, Had   []permission // what it may not yet, and what it may already
	Resources  []string     // services that it uses with that; "" is none that it may not yet
	To         string       // the host that it leads to
	Here       bool         // it leads to a program on this device
	Stranger   bool         // nobody has looked at what it says of itself
	Flow       string
	Another    string // where somebody else signs in
}

// consentFor asks the person. Who presses a button is led to the application, and on from
// there to wherever it likes, to which Chromium applies this page's policy.
func (c *call) consentFor(a *provider.Authorization) error {
	if err := c.speak(a.Locales); err != nil {
		return err
	}
	_, user, err := c.holder()
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Security-Policy", strings.Replace(c.headers[0].value[0], "form-action 'self'", "form-action 'self'"+formTargets(a.Asked.RedirectURI, a.Client), 1))
	return c.show(http.StatusOK, c.consents(a, user))
}

func (c *call) consents(a *provider.Authorization, user *account.User) *page {
	p := c.page("consent")
	p.User, p.Flow = user, a.Flow()
	d := &consentPage{App: nameOf(a.Client), About: a.Client.URI, Resources: a.NewAudiences, Flow: a.Flow(), Another: switchTo(authorizePath + "?flow=" + a.Flow())}
	d.New, d.Had = c.asksFor(a.Client, a.Scopes, a.New)
	d.To, d.Here = destination(cmp.Or(a.Asked.RedirectURI, onlyOf(a.Client.RedirectURIs)))
	if d.Stranger = a.Client.Unverified(); d.Stranger {
		d.About = "" // a page of its own would tell people what it likes
	}
	p.Title, p.Data = c.say("consent.asks", d.App), d
	return p
}

// onlyOf returns the one text of a list that has one.
func onlyOf(all []string) string {
	if len(all) == 1 {
		return all[0]
	}
	return ""
}

// destination is what people are told of where a redirect URI leads: a host, or this
// device.
func destination(uri string) (host string, here bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", false
	}
	if here, _, _ := loopback(u.Host); here || u.Scheme != "https" {
		return "", true
	}
	return u.Host, false
}

// formTargets are the sources of form-action for a client: any https address, for who
// gets the answer there may lead on, and otherwise what is its own. A host source cannot
// name an IPv6 address (CSP 3 section 2.3.1).
func formTargets(uri string, c *provider.Client) string {
	u, err := url.Parse(cmp.Or(uri, onlyOf(c.RedirectURIs)))
	switch {
	case err != nil || u.Scheme == "" || u.Scheme == "https":
		return " https:"
	case u.Scheme != "http" || strings.Contains(u.Host, "["):
		return " https: " + u.Scheme + ":"
	}
	return " https: http://" + u.Hostname() + ":*"
}

// A choosing is what the page that asks who somebody wants to be leads to.
type choosing struct{ Same, Another string }

// choosing is the page that asks whether to go on as who is signed in.
func (c *call) choosing(a *provider.Authorization, user *account.User) *page {
	p := c.page("choose")
	p.User, p.Flow = user, a.Flow()
	p.app = waitingFor(a.Client, cmp.Or(a.Asked.RedirectURI, onlyOf(a.Client.RedirectURIs)))
	p.Data = choosing{a.Resume(), switchTo(a.Resume())}
	return p
}
