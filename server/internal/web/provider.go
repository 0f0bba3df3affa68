package web

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
)

// The provider of package provider lets applications in. Its people are ours: who is
// signed in here, and the pages that sign in, ask and explain.

const (
	authorizePath = "/oauth/authorize"
	logoutPath    = "/oauth/logout"
)

// clientPaths are the endpoints that programs call, and how. OPTIONS is asked for
// scripts of clients' pages (CORS). The set of keys is an operation.
var clientPaths = map[string][]string{
	"/oauth/par":                              {"POST", "OPTIONS"},
	"/oauth/token":                            {"POST", "OPTIONS"},
	"/oauth/device":                           {"POST"},
	"/oauth/introspect":                       {"POST"},
	"/oauth/revoke":                           {"POST", "OPTIONS"},
	"/oauth/register":                         {"GET", "POST", "PUT", "DELETE"},
	"/oauth/userinfo":                         {"GET", "POST", "OPTIONS"},
	"/.well-known/openid-configuration":       {"GET", "OPTIONS"},
	"/.well-known/oauth-authorization-server": {"GET", "OPTIONS"},
	"/.well-known/oauth-protected-resource":   {"GET", "OPTIONS"},
}

// forClients reports whether a path is an endpoint that programs call.
func forClients(path string) bool { return clientPaths[path] != nil }

// isPublished reports whether there is a document at a path that is for everybody. What
// keeps other sites from embedding it would say nothing: there is nobody's data in it, and
// scripts ask for it by the rules of CORS, which do not look at that header.
func isPublished(path string) bool {
	return path == keySetPath || strings.HasPrefix(path, "/status-lists/") || strings.HasPrefix(path, "/.well-known/") && forClients(path)
}

// judgesOrigins reports whether what answers at a path tells by itself what another
// site's page may do there: nothing that goes by cookies at the endpoints for programs,
// and nothing but a redirect to a GET at the other two.
func judgesOrigins(path string) bool {
	return path == authorizePath || path == logoutPath || forClients(path)
}

// provide makes the provider and registers its endpoints.
func (s *server) provide() (err error) {
	if s.Provider == nil {
		return nil
	}
	if s.letsIn, err = s.Provider(people{}); err != nil {
		return err
	}
	for _, path := range []string{authorizePath, logoutPath} {
		s.page(path, methods{"GET": (*call).byProvider, "POST": (*call).byProvider})
	}
	s.page(devicePath, methods{"GET": (*call).devicePage, "POST": (*call).deviceForm})
	for path, allowed := range clientPaths {
		if !s.letsIn.Serves(path) {
			continue // registration, where it is not switched on
		}
		m := methods{}
		for _, method := range allowed {
			m[method] = (*call).byProvider
		}
		s.handle(path, (*call).failAPI, m)
	}
	return nil
}

// byPeople is a request as the provider's people are asked about it.
func (c *call) byPeople() *http.Request { return c.r.WithContext(asked{c.r.Context(), c}) }

// An asked context is that of what the provider does in a call.
type asked struct {
	context.Context
	by *call
}

type callKey struct{}

// Value implements context.Context.
func (a asked) Value(key any) any {
	switch key.(type) {
	case callKey:
		return a.by
	case account.OriginKey:
		return a.by.origin
	}
	return a.Context.Value(key)
}

// callOf is the call in which the provider has a request in hand.
func callOf(r *http.Request) *call { return r.Context().Value(callKey{}).(*call) }

// byProvider has the provider answer.
func (c *call) byProvider() error {
	if forClients(c.r.URL.Path) {
		if err := c.overheard(); err != nil {
			return err
		}
	}
	// Programs see no pages, but what they are refused is logged, and devices and strangers
	// are counted by where they ask from.
	c.letsIn.ServeHTTP((*noted)(c), c.byPeople())
	return nil
}

// OriginOf is where a request came from that the provider has in hand.
func OriginOf(r *http.Request) account.Origin { return callOf(r).origin() }

// AddressOf is its address.
func AddressOf(r *http.Request) netip.Addr {
	c, ok := r.Context().Value(callKey{}).(*call)
	if !ok {
		return netip.Addr{}
	}
	at, _ := netip.ParseAddr(c.origin().Address)
	return at
}

// Refused notes for the log and the figures what the provider refuses in a call, and what
// has failed in it.
func Refused(r *http.Request, err error) {
	c, ok := r.Context().Value(callKey{}).(*call)
	if !ok {
		return
	}
	c.cause, c.code = err, "server_error"
	if e, ok := errors.AsType[*admit.Error](err); ok {
		c.code = e.Code()
	}
}

// A noted call writes to the client, and notes for the log with what status the provider
// answers. Nothing else here wraps a writer, and this one hides nothing of it (Unwrap): the
// provider is a handler that others mount, too, and to tell its status by other means each
// of its answers would have to pass through ours.
type noted call

// Header implements http.ResponseWriter.
func (n *noted) Header() http.Header { return n.w.Header() }

// WriteHeader implements http.ResponseWriter.
func (n *noted) WriteHeader(status int) {
	n.status = status
	n.w.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (n *noted) Write(b []byte) (int, error) {
	if n.status == 0 {
		n.status = http.StatusOK
	}
	return n.w.Write(b)
}

// Unwrap is for http.ResponseController.
func (n *noted) Unwrap() http.ResponseWriter { return n.w }

// people are those of the server: the provider hands back the call that it is asked in.
type people struct{}

// answer answers the call with a page in place of the provider.
func (people) answer(r *http.Request, h handler) {
	c := callOf(r)
	for i := range c.headers { // the provider has set some less strict
		c.w.Header()[c.headers[i].name] = c.headers[i].value
	}
	if err := h(c); err != nil {
		c.cause = err
		c.failPage(err)
	}
}

// Session returns who is signed in in this browser. That is not who presents a token in
// a header, which no browser does, nor one that other services see, who must first choose
// a new password, or is a guest.
func (people) Session(r *http.Request) (*provider.Session, error) {
	c := callOf(r)
	if scheme, _ := authorization(c.r); scheme != "" {
		return nil, nil
	}
	i, user, err := c.holder()
	switch {
	case admit.KindOf(err) == admit.Unauthenticated:
		return nil, nil
	case err != nil:
		return nil, err
	case c.shown(i) || user.MustChange && c.r.URL.Path != logoutPath: // who must may sign out
		return nil, nil
	}
	return &provider.Session{SID: i.SID, Subject: i.Subject, AuthTime: i.AuthTime, ACR: i.ACR, AMR: i.AMR(), Expires: i.ExpiresAt}, nil
}

// SignIn leads to the page that brings about what is wanting.
func (p people) SignIn(_ http.ResponseWriter, r *http.Request, a *provider.Authorization) {
	p.answer(r, func(c *call) error { return c.signInFor(a) })
}

func (c *call) signInFor(a *provider.Authorization) error {
	if err := c.speak(a.Locales); err != nil {
		return err
	}
	i, user, err := c.holder()
	if err == nil && user.MustChange {
		c.target = a.Resume()
		return account.ErrMustChange
	}
	to := url.Values{"return_to": {a.Resume()}}
	switch {
	case a.Session == nil || err != nil:
		if a.LoginHint != "" && len(a.LoginHint) <= maxHint {
			to.Set("login_hint", a.LoginHint)
		}
		return c.seeOther("/signin?" + to.Encode())
	case a.Why == provider.Another:
		return c.show(http.StatusOK, c.choosing(a, user))
	case a.Why == provider.Stronger:
		by, err := c.stronger(i.Subject, a.ACRValues)
		if err != nil {
			return err
		}
		if by == "" { // to ask would be in vain: the client is told
			return c.seeOther(a.Resume())
		}
		to.Set("by", by)
	}
	return c.seeOther("/account/confirm?" + to.Encode())
}

// maxHint bounds what a client believes that somebody signs in with; no identifier is
// longer.
const maxHint = 320

// stronger returns by what the user can prove itself as strongly as one of the values
// demands, "" for nothing.
func (c *call) stronger(subject string, acrs []string) (by string, err error) {
	factors, err := c.Accounts.FactorsOf(c.r.Context(), subject)
	if err != nil {
		return "", err
	}
	d := c.factorList(factors)
	passkeys, _, err := c.Accounts.Passkeys(c.r.Context(), subject)
	switch {
	case err != nil:
		return "", err
	case slices.Contains(acrs, admit.TwoFactors) && len(d.Apps) > 0:
		return string(account.TOTP), nil
	case slices.Contains(acrs, admit.TwoFactors) && d.Left > 0:
		return string(account.Recovery), nil
	case len(passkeys) > 0 && c.Accounts.CanPasskey():
		return string(account.Passkey), nil
	}
	return "", nil
}

// Consent asks for what an application wants.
func (p people) Consent(_ http.ResponseWriter, r *http.Request, a *provider.Authorization) {
	p.answer(r, func(c *call) error { return c.consentFor(a) })
}

// Fault explains what cannot be answered to an application.
func (p people) Fault(_ http.ResponseWriter, r *http.Request, err error) {
	p.answer(r, func(c *call) error { return c.faultOfApp(err) })
}

// SignOut ends the session, or asks whether to.
func (p people) SignOut(_ http.ResponseWriter, r *http.Request, l *provider.Logout) {
	p.answer(r, func(c *call) error { return c.signOutFor(l) })
}

// signOutFor ends the session at once where the application has shown that it knows whose
// it is, and otherwise asks: a link must not sign anybody out.
func (c *call) signOutFor(l *provider.Logout) error {
	if err := c.speak(l.Locales); err != nil {
		return err
	}
	user, _, _, err := c.visitor()
	if err != nil {
		return err
	}
	if l.Asked && user != nil {
		return c.show(http.StatusOK, c.leaving(l, user))
	}
	var frames []string
	if user != nil {
		if frames, err = c.signOutEverywhere(); err != nil {
			return err
		}
	}
	if to := l.Resume(); to != "" || len(frames) > 0 {
		return c.goodbye(frames, to)
	}
	return c.done("signed_out", "/")
}

// signOutEverywhere ends the request's session, and returns what is shown in frames to
// the applications that it was used for.
func (c *call) signOutEverywhere() (frames []string, err error) {
	i, err := c.Sessions.Check(c.r)
	if err == nil && c.letsIn != nil && !i.Guest() {
		if frames, err = c.letsIn.Frames(c.r.Context(), i.SID); err != nil {
			return nil, err
		}
	}
	return frames, c.signOut()
}

// goodbye leads on, to where nothing is said to the first page. With frames there is a page
// in between: browsers follow Refresh once a page and its frames are loaded (HTML, shared
// declarative refresh steps), so that nothing waits for longer than it must, and no script
// is needed. Who does not want to wait has a link.
func (c *call) goodbye(frames []string, to string) error {
	if len(frames) == 0 {
		return c.seeOther(to)
	}
	if to == "" {
		to = "/"
		if err := c.notice.Set(c.w, []byte("signed_out")); err != nil {
			return err
		}
	}
	h := c.w.Header()
	h.Set("Refresh", "0;url="+to)
	h.Set("Content-Security-Policy", c.headers[0].value[0]+"; frame-src"+frameSources(frames))
	return c.show(http.StatusOK, c.parting(frames, to))
}

// A parting is what the page that says goodbye shows.
type parting struct {
	Frames []string
	To     string
}

func (c *call) parting(frames []string, to string) *page {
	p := c.page("goodbye")
	p.Data = parting{frames, to}
	return p
}

// frameSources are the sources of just these frames. A policy knows no queries, nor ";"
// and "," in paths, and cannot name an IPv6 address (CSP 3 section 2.3.1).
func frameSources(frames []string) (sources string) {
	for _, frame := range frames {
		u, err := url.Parse(frame)
		switch {
		case err != nil:
		case strings.Contains(u.Host, "["):
			sources += " " + u.Scheme + ":"
		default:
			sources += " " + u.Scheme + "://" + u.Host + strings.NewReplacer(";", "%3B", ",", "%2C").Replace(u.EscapedPath())
		}
	}
	return sources
}

// leaving is the page that asks whether to sign out.
func (c *call) leaving(l *provider.Logout, user *account.User) *page {
	p := c.page("leaving")
	p.User, p.Data = user, ""
	if l.Client != nil && !l.Client.Unverified() { // what a stranger's calls itself may be another's name
		p.Data = nameOf(l.Client)
	}
	to := l.Resume()
	if u, err := url.Parse(to); err == nil {
		p.Flow = u.Query().Get("flow")
	}
	p.Form = &form{Action: "/signout", Submit: c.say("signout.button"), ReturnTo: to}
	return p
}

// speak chooses the language that an application says its people prefer, where they have
// not chosen one here.
func (c *call) speak(locales []string) error {
	if _, err := c.tongue.Get(c.r); err == nil || len(locales) == 0 {
		return nil
	}
	known := slices.DeleteFunc(slices.Clone(locales), func(tag string) bool {
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		return primary != "zh" && primary != "en"
	})
	if len(known) == 0 {
		return nil
	}
	c.lang = languageOf(known[0])
	return c.tongue.Set(c.w, []byte(c.lang), 0)
}

// onward leads to the target of a form. Chromium holds the redirects that follow a form
// to the policy of its page, which cannot name where every application is, nor where
// that leads on: a page in between ends the chain.
func (c *call) onward(target string) error {
	if c.r.Method != "POST" || !leadsToApp(target) {
		return c.seeOther(target)
	}
	c.w.Header().Set("Refresh", "0;url="+target)
	p := c.page("onward")
	p.Data = target
	return c.show(http.StatusOK, p)
}

// switches reports whether who is signed in wants to be somebody else.
func (c *call) switches() bool {
	return c.r.URL.RawQuery != "" && c.r.URL.Query().Get("switch") == "yes"
}

// switchTo is where somebody else signs in, who then goes on to a target.
func switchTo(target string) string {
	return "/signin?" + url.Values{"switch": {"yes"}, "return_to": {target}}.Encode()
}

// An appFault is what is wrong with what an application asked for.
type appFault struct {
	Code, Why string // for its makers, in English
}

// faultOfApp says what is wrong where nobody can be sent back to an application.
func (c *call) faultOfApp(err error) error {
	e, ok := errors.AsType[*admit.Error](err)
	if k := admit.KindOf(err); !ok || k == admit.Internal || k == admit.Unavailable {
		return err
	}
	c.cause, c.code = err, e.Code()
	return c.show(http.StatusBadRequest, c.appFault(e.Code(), err.Error()))
}

func (c *call) appFault(code, why string) *page {
	p := c.page("appfault")
	p.Data = appFault{Code: code, Why: why}
	return p
}
