// Package provider lets other people's applications in, exactly as far as somebody
// allowed.
//
// A [Provider] is an OAuth 2.1 authorization server and OpenID provider. Most programs
// make one with [New], and mount it at the root of the issuer's host:
//
//	p, err := provider.New(provider.Options{
//		Issuer:  "https://id.example.org",
//		Store:   store,   // NewMemory, or one of yours that providertest found right
//		Keys:    keys,    // that sign
//		Secrets: secrets, // *cookie.Keys
//		People:  people,  // who is signed in, and the pages
//	})
//	mux.Handle("/oauth/", p)
//	mux.Handle("/.well-known/", p)
//
// The program around it keeps its own sign-in, whatever that is, and its own pages: it
// is the provider's [People]. A request of an application comes to the authorization
// endpoint. The provider finds out whether it counts, asks People who is signed in, has
// them sign somebody in or ask for consent where that is needed, and sends the browser
// back with a code that is good once, for a minute. The application's server redeems it.
//
// There is one flow for people: the authorization code with PKCE (S256). Where
// [Options.DevicePage] says so there is another one, for devices that have no browser (RFC
// 8628). A client also gets tokens of its own (client credentials), and a service exchanges
// one that it was sent for one to another service (RFC 8693). What OAuth 2.1 has left behind
// is not here: no implicit flow, no passwords, no plain challenges, no patterns of redirect
// URIs.
//
// Of any client, requests may be pushed (RFC 9126) or signed (RFC 9101), and tokens bound to
// a key (DPoP, RFC 9449); of one that says so in [Client] they must be. Who runs the provider
// registers clients in the store; with [Options.Registration] they also register themselves
// (RFC 7591).
package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/dpop"
)

// Options configure a Provider. Issuer, Store, Keys, Secrets and People are needed.
type Options struct {
	Issuer  string // such as https://id.example.org; no slash at its end
	Path    string // of the endpoints below the issuer; "" for /oauth
	Store   Store
	Keys    Keys
	Secrets Secrets
	People  People

	// Salt is what pairwise subjects are made with, and the sid that a client is told. It
	// never changes, for with it would change who everybody is. Where it is left out both
	// are made with Secrets, and change when those do.
	Salt admit.Secret

	// HTTP reaches the addresses that clients have registered, for their keys and to tell
	// them of sign-outs. Unless set it is one that reaches public addresses and Networks
	// alone, and asks no proxy.
	HTTP *http.Client
	// Networks are of your own in which clients are at home. Whoever has an invite can then
	// have something in them called, and learn whether it answers; a stranger cannot.
	Networks []netip.Prefix

	Scopes map[string][]string // of ours besides the standard ones, with the claims that each gives
	ACRs   []string            // that People can bring about; nil for those of package admit

	// Origin tells whether scripts of pages of an origin, such as
	// https://app.example.net, may call the endpoints that clients call: those of
	// registered clients. Nil is for none.
	Origin func(ctx context.Context, origin string) (bool, error)

	// DevicePage is where people type the code that a device shows, such as
	// https://id.example.org/device: a page that calls [Provider.Device]. Without it nothing
	// of RFC 8628 is here.
	DevicePage string
	// Address is where a request comes from, for the page and for bounds; nil for
	// RemoteAddr, which behind a proxy is the proxy's.
	Address func(*http.Request) netip.Addr

	// Registration lets clients register themselves; nil keeps that to who runs the
	// provider.
	Registration *Registration

	// Locales are the languages that the pages of People are in, for discovery.
	Locales []string

	// InsecureLoopback allows http for redirects, log-out and keys on loopback addresses of
	// clients that are no native ones: for development.
	InsecureLoopback bool

	// Refused hears of each refusal that a client is told, and of each error of ours that
	// it is not: for your log and your figures. Its code is that of the *admit.Error in it;
	// there is no secret in its text. Nil has Log told, of refusals at level debug.
	Refused func(r *http.Request, err error)

	Log *slog.Logger // of what no client is told; nil for slog.Default()

	now func() time.Time // of tests
}

// People is the application around a provider: it knows who is signed in, and shows
// the pages. What it shows must not be framed and not be kept: headers that say so are
// set before it is called, and it may set stricter ones.
type People interface {
	// Session returns who is signed in in the browser that sends r, nil for nobody
	// and for guests.
	Session(r *http.Request) (*Session, error)
	// SignIn leads the browser to a sign-in, after which it must come back by
	// a.Resume(). Where somebody is signed in already, that is not enough: a.Why tells.
	// Who waits there each of its pages can ask [Provider.Waiting].
	SignIn(w http.ResponseWriter, r *http.Request, a *Authorization)
	// Consent shows what a client asks for. Its form posts a.Flow() as "flow" and
	// "decision", "allow" or "deny", to a.Endpoint(). The browser is then sent on to the
	// client, which a Content-Security-Policy with form-action has to allow for.
	Consent(w http.ResponseWriter, r *http.Request, a *Authorization)
	// Fault shows what is wrong where the browser must not be sent back to the client,
	// because nobody knows who that is, or because it helps to try again.
	Fault(w http.ResponseWriter, r *http.Request, err error)
	// SignOut asks whether to sign out, and of which session, ends it, and then leads to
	// l.Resume(), or where that is "" shows that nobody is signed in. Where l.Asked is
	// false the client has shown which session it means, and that is ended at once. The
	// clients hear of it by [Provider.SessionEnded], or by the feed of [Provider.Run];
	// those that want to hear of it in the browser by the page that shows [Provider.Frames].
	SignOut(w http.ResponseWriter, r *http.Request, l *Logout)
}

// A Provider is an authorization server and OpenID provider. It does not change and is
// safe for use by several goroutines.
type Provider struct {
	o      Options
	base   string // path of the endpoints, such as /oauth
	cross  *http.CrossOriginProtection
	routes map[string]route
	beyond *http.Client   // to addresses of strangers, as Options.HTTP is to those of others
	proofs *dpop.Verifier // of keys that tokens are bound to
	*tokens
	devices

	wake      chan struct{} // that there is something to deliver
	described atomic.Pointer[described]
	published atomic.Pointer[published]
}

// A route is an endpoint.
type route struct {
	serve   http.HandlerFunc
	methods []string
	scripts bool // of registered clients' pages may call it (CORS)
}

// New checks options and returns a provider. It refuses an issuer that is no https URL,
// or http on a loopback address.
func New(o Options) (*Provider, error) {
	at, err := parseIssuer(o.Issuer)
	switch {
	case err != nil:
		return nil, err
	case o.Store == nil || o.Keys == nil || o.Secrets == nil || o.People == nil:
		return nil, errors.New("provider: Store, Keys, Secrets and People are needed")
	case o.Path == "":
		o.Path = "/oauth"
	case o.Path[0] != '/' || o.Path == "/" || path.Clean(o.Path) != o.Path:
		return nil, fmt.Errorf("provider: the path %q is not of the form /oauth", o.Path)
	}
	o.Scopes, o.ACRs, o.Networks = maps.Clone(o.Scopes), slices.Clone(o.ACRs), slices.Clone(o.Networks)
	if o.ACRs == nil {
		o.ACRs = []string{admit.OneFactor, admit.TwoFactors, admit.PhishingResistant}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	for scope := range o.Scopes {
		if _, taken := standardClaims[scope]; taken || !isScope(scope) {
			return nil, fmt.Errorf("provider: %q cannot be a scope of your own", scope)
		}
	}
	if o.Address == nil {
		o.Address = func(r *http.Request) netip.Addr {
			at, _ := netip.ParseAddrPort(r.RemoteAddr)
			return at.Addr()
		}
	}
	if err := checkDevicePage(o.DevicePage); err != nil {
		return nil, err
	}
	beyond := o.HTTP
	if o.HTTP == nil {
		beyond = &http.Client{Transport: guarded(o.InsecureLoopback), Timeout: fetchTime}
		o.HTTP = &http.Client{Transport: guarded(o.InsecureLoopback, o.Networks...), Timeout: fetchTime}
	}
	t, err := newTokens(&o)
	if err != nil {
		return nil, err
	}
	proofs, err := newProofs(at, o.Secrets)
	if err != nil {
		return nil, err
	}
	p := &Provider{
		o: o, base: at.Path + o.Path, cross: http.NewCrossOriginProtection(), beyond: beyond, proofs: proofs, tokens: t,
		wake: make(chan struct{}, 1),
	}
	// Behind a proxy that changes Host, pages of ours would else count as foreign.
	if err := p.cross.AddTrustedOrigin(at.Scheme + "://" + at.Host); err != nil {
		return nil, fmt.Errorf("provider: the issuer %q: %w", o.Issuer, err)
	}
	get, post, both := []string{"GET", "HEAD"}, []string{"POST"}, []string{"GET", "POST"}
	metadata := route{p.metadata, get, true}
	p.routes = map[string]route{
		// No HEAD: who looks at a link before somebody follows it would get the code.
		p.base + "/authorize":  {p.authorize, both, false},
		p.base + "/par":        {p.par, post, true},
		p.base + "/token":      {p.token, post, true},
		p.base + "/introspect": {p.introspect, post, false},
		p.base + "/revoke":     {p.revoke, post, true},
		p.base + "/userinfo":   {p.userinfo, both, true},
		p.base + "/jwks":       {p.jwks, get, true},
		p.base + "/logout":     {p.logout, both, false},
		// OpenID Connect Discovery puts its document behind the issuer's path, RFC 8414
		// before it, and for both (section 5).
		at.Path + "/.well-known/openid-configuration":       metadata,
		"/.well-known/openid-configuration" + at.Path:       metadata,
		"/.well-known/oauth-authorization-server" + at.Path: metadata,
		ownResource + at.Path:                               {p.resource, get, true},
	}
	if o.DevicePage != "" {
		p.routes[p.base+"/device"] = route{p.device, post, false}
	}
	if o.Registration != nil {
		p.routes[p.base+"/register"] = route{p.register, []string{"GET", "POST", "PUT", "DELETE"}, false}
	}
	return p, nil
}

// parseIssuer demands the one spelling that every client compares (RFC 8414 section 2).
func parseIssuer(issuer string) (*url.URL, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.String() != issuer || u.RawPath != "" ||
		strings.ContainsAny(issuer, "?#") || u.Host != strings.ToLower(u.Host) || u.Path != "" && path.Clean(u.Path) != u.Path || u.Path == "/" {
		return nil, fmt.Errorf("provider: the issuer %q is not of the form https://id.example.org", issuer)
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, fmt.Errorf("provider: the issuer %q is not https", issuer)
	}
	return u, nil
}

// loopback reports whether a host is this machine by its name.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// now is read once for each request.
func (p *Provider) now() time.Time {
	if p.o.now != nil {
		return p.o.now()
	}
	return time.Now()
}

// Serves reports whether a path is one that something is at, with these options.
func (p *Provider) Serves(path string) bool {
	_, ok := p.routes[path]
	return ok
}

// ServeHTTP serves the endpoints, and 404 for everything else. It never looks at the
// Host of a request: every address that it tells is the issuer's.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at, ok := p.routes[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if at.scripts && p.o.Origin != nil && p.shares(w, r, at.methods) {
		return
	}
	if !slices.Contains(at.methods, r.Method) {
		w.Header().Set("Allow", strings.Join(at.methods, ", "))
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	at.serve(w, r)
}

var byOrigin = []string{"Origin"}

// shares tells a browser that a page of a client may read the answer (CORS), and
// reports whether that was all it asked. Without credentials: nothing here goes by
// cookies.
func (p *Provider) shares(w http.ResponseWriter, r *http.Request, methods []string) bool {
	h := w.Header()
	if h["Vary"] == nil {
		h["Vary"] = byOrigin
	} else {
		h.Add("Vary", "Origin")
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	ok, err := p.o.Origin(r.Context(), origin)
	if err != nil {
		p.o.Log.ErrorContext(r.Context(), "whose origin this is cannot be told", "error", err)
	}
	if err != nil || !ok {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, DPoP-Nonce, Retry-After")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
