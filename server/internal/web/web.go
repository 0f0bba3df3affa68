// Package web is the server's HTTP edge.
//
// [New] returns its one handler: the JSON API under /api/v1, the pages, the
// health checks and, in development, the inbox. It decodes requests, asks
// package account, keeps sessions and writes answers; it decides nothing
// about people.
package web

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/trace"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/handover"
)

// Data is what a session remembers besides who it is.
type Data struct {
	// Guest is the id under which applications keep what a guest did. It
	// stays in the session when the guest signs up or in.
	Guest string `json:"guest,omitempty"`
}

// Options of the handler. All but CORSOrigins, ReturnHosts, Proxies, Aliases, Dev and the feed are needed.
type Options struct {
	Accounts    *account.Service
	Sessions    *session.Manager[Data]
	Proofs      *dpop.Verifier // of requests to PublicURL
	Keys        *cookie.Keys   // seal the cookies of flows and known browsers
	Ring        func(context.Context) ([]Key, error)
	Published   jose.KeySource // whose public halves anybody may have
	PublicURL   string         // an origin, without a slash at the end
	CookieName  func(name string) string
	CORSOrigins []string       // exact origins that may use the API with header tokens
	ReturnHosts []string       // hosts besides our own that return_to may name
	Proxies     []netip.Prefix // whose X-Forwarded-For and -Proto are believed; with one, only they and this machine may ask in plain HTTP
	Aliases     []string       // other names of the public host: pages asked for there lead to it
	Log         *slog.Logger
	Ready       func(context.Context) error
	Dev         *Dev // nil but with --dev

	Feed feed.Source // may be nil
	// FeedFollower says with what audiences a request may follow the feed, or
	// why not. It is asked again each second as long as the request lasts, and not
	// about API keys. It may be nil.
	FeedFollower func(*http.Request) (audiences []string, err error)
	// Sites may take sessions over to their domains, with codes that are kept in
	// Codes, which all processes share. There may be none.
	Sites []handover.Site
	Codes session.Store
	// Provider makes what lets applications in, whose people are ours. It may be nil.
	Provider func(provider.People) (*provider.Provider, error)

	// Streams is done when answers without an end must end; nil for never.
	Streams context.Context

	Theme  *Theme // nil for ours
	Before *Edge  // whose place it takes, and whose pages are still open; may be nil

	Observer Observer     // may be nil
	Tracer   trace.Tracer // may be nil
}

// Dev is what only a development server shows.
type Dev struct {
	Key   admit.Secret // opens the inbox
	Inbox interface{ Messages() []account.Message }
}

const (
	maxBody  = 64 << 10 // bytes of every request's body
	maxAgent = 256      // bytes of a user agent that are kept, in each record of the audit
)

// MaxHeader bounds the headers of a request, its target included, in bytes. What
// is far beyond it net/http refuses, in words of its own.
const MaxHeader = 16 << 10

// SealedLife is the longest that a value lives which Options.Keys have sealed: a
// browser is known for so long after a sign-in. Keys must open for as long.
const SealedLife = 180 * 24 * time.Hour

// KeySetAge is for how long a copy of the published keys may be used without
// looking again. Keys must be published for longer before they sign.
const KeySetAge = time.Minute

// permissions takes from pages what none of ours asks for: what a script that got
// in could reach is less. Passkeys stay.
const permissions = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), screen-wake-lock=(), usb=()"

// A server is the handler.
type server struct {
	Options
	public   *url.URL
	cross    *http.CrossOriginProtection // of the pages
	shared   *http.CrossOriginProtection // of the API, which CORSOrigins may use
	mux      *http.ServeMux
	exact    map[string]route         // paths without variables, which need no mux
	paths    []string                 // all that are registered
	headers  []header                 // of every answer but those to programs
	plain    []header                 // of those
	open     []header                 // of documents that are for everybody
	device   *cookie.Vault            // browsers that were seen before
	flow     *cookie.Vault            // the sign-up that this browser has begun
	link     *cookie.Vault            // the link that this browser has opened
	asking   *cookie.Vault            // the sign-in that this browser has asked for
	recovery *cookie.Vault            // the recovery that this browser has begun
	notice   *cookie.Vault            // what the next page says was done
	unknown  func(int, time.Duration) // is told of requests for no route
	asked    *cookie.Vault            // what waits for a proof
	step     *cookie.Vault            // the sign-in whose second step this browser is at
	trusted  *cookie.Vault            // tokens of users who trust this browser
	inbox    *cookie.Vault            // the key of the development inbox
	jwt      *cookie.Cookie           // an access token
	handing  *handover.Origin         // nil without sites
	letsIn   *provider.Provider       // nil where no applications are let in
	tongue   *cookie.Cookie           // the language that was chosen, no secret
	browser  *cookie.Vault            // what the flows of its passkeys are bound to
	offered  *cookie.Cookie           // a passkey was offered here, no secret
	look     *views                   // what pages are made of
	buffers  sync.Pool                // of pages, which show writes at once
	keySet   atomic.Pointer[keySet]   // the published keys as they are answered
}

// A header is a field with its value, ready to be set without an allocation.
type header struct {
	name  string
	value []string
}

// An Edge is the handler.
type Edge struct{ *server }

// New returns the handler.
func New(o Options) (*Edge, error) {
	public, err := url.Parse(o.PublicURL)
	if err != nil || public.Host == "" {
		return nil, fmt.Errorf("web: public URL %q is no origin", o.PublicURL)
	}
	s := &server{
		Options: o, public: public, mux: http.NewServeMux(), exact: map[string]route{},
		cross: http.NewCrossOriginProtection(), shared: http.NewCrossOriginProtection(),
	}
	for _, origin := range o.CORSOrigins {
		if err := s.shared.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("web: CORS origin %q: %w", origin, err)
		}
	}
	for _, v := range []struct {
		vault  **cookie.Vault
		name   string
		maxAge time.Duration
	}{
		{&s.device, "admit-device", SealedLife},
		{&s.flow, "admit-flow", time.Hour},
		{&s.link, "admit-link", time.Hour},
		{&s.asking, "admit-signin", time.Hour},
		{&s.recovery, "admit-recover", time.Hour},
		{&s.notice, "admit-notice", time.Minute},
		{&s.asked, "admit-asked", askedLife},
		{&s.step, "admit-step", stepLife},
		{&s.trusted, "admit-trusted", account.TrustLife},
		{&s.inbox, "admit-inbox", 12 * time.Hour},
		{&s.browser, "admit-browser", browserLife},
	} {
		name := o.CookieName(v.name)
		c, err := cookie.New(name, &cookie.Options{InsecureAllowHTTP: !strings.HasPrefix(name, "__")})
		if err != nil {
			return nil, fmt.Errorf("web: %w", err)
		}
		*v.vault = cookie.NewSealed(c, o.Keys, v.maxAge)
	}
	for to, name := range map[**cookie.Cookie]string{&s.tongue: "admit-lang", &s.jwt: JWTCookie, &s.offered: "admit-offered"} {
		name = o.CookieName(name)
		if *to, err = cookie.New(name, &cookie.Options{InsecureAllowHTTP: !strings.HasPrefix(name, "__")}); err != nil {
			return nil, fmt.Errorf("web: %w", err)
		}
	}
	s.unknown = s.observer().Route("any", "unknown")
	forms := "'self'"
	for _, host := range o.ReturnHosts {
		forms += " https://" + host // browsers hold redirects after a form to it too
	}
	forms += arrivals(o.Sites)
	// What a program gets is no document: a policy for documents would only cost. Each
	// header costs 0.2 µs in net/http, and the ninth one 1 µs more.
	s.open = []header{
		{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"Cache-Control", []string{"no-store"}},
	}
	if public.Scheme == "https" {
		s.open = append(s.open, header{"Strict-Transport-Security", []string{"max-age=31536000; includeSubDomains"}})
	}
	s.plain = append(slices.Clone(s.open), header{"Cross-Origin-Resource-Policy", []string{"same-origin"}})
	s.headers = append(slices.Clone(s.plain),
		header{"Referrer-Policy", []string{"same-origin"}},
		header{"Cross-Origin-Opener-Policy", []string{"same-origin"}},
		header{"Permissions-Policy", []string{permissions}},
	)
	s.headers[0].value = []string{"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action " + forms + "; base-uri 'none'; frame-ancestors 'none'"}
	s.register(operations())
	s.feeds()
	if err := s.handOvers(); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if err := s.provide(); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	s.buffers.New = func() any { return new(bytes.Buffer) }
	s.pages()
	return &Edge{s}, s.wear(o.Theme, o.Before)
}

// A call is one request on its way through the edge.
type call struct {
	*server
	w    http.ResponseWriter
	r    *http.Request
	now  time.Time
	id   string // of the request, in the log, in problems and in the answer's header; no secret
	lang string // "en" or "zh-CN"; language finds it

	views  *views // the same for the whole of the call
	why    string // the visitor has no session any more
	strict bool   // a theme is tried on: what it cannot show is an error

	key     *account.APIKey // that the request is made with, in place of a session; nil for none
	keyUser *account.User   // whose it is

	site    string // whose server asks; "" for nobody's
	noted   bool   // the session was read, and that it is in use is noted
	foreign bool   // a script of one of CORSOrigins asks
	jkt     string // thumbprint of the key that tokens will be bound to; "" for none
	inside  bool   // the access token will come in a cookie of its own
	target  string // where a page leads once its visitor is signed in; "" for the account

	parameters []parameter   // of the query, as they are declared
	proof      time.Duration // how old one may be, as it is declared; 0 for any

	seen   func(status int, took time.Duration) // the Observer, of this route
	route  string                               // the method and the pattern: not the path, which may hold a secret
	status int                                  // what was answered, for the log
	code   string                               // why it was refused, for the log
	cause  error                                // what it was refused with, for the log where it is our fault
	sid    string
	from   string     // the client's address, where a proxy told it
	span   trace.Span // nil where nobody traces
	ids    [1]string  // id, as the value of a header
}

// A handler answers a call, or returns why it does not. It has written
// nothing when it returns an error.
type handler func(*call) error

// methods maps a method to what answers it.
type methods map[string]handler

// handle registers a path. Fail answers what a handler refuses: as a problem in
// the API, as a page elsewhere.
func (s *server) handle(path string, fail func(*call, error), m methods) {
	if get, ok := m["GET"]; ok && m["HEAD"] == nil {
		m["HEAD"] = get
	}
	allow := slices.Sorted(maps.Keys(m))
	s.paths = append(s.paths, path)
	type known struct {
		name string
		seen func(status int, took time.Duration)
	}
	routes := map[string]known{}
	for method := range m {
		routes[method] = known{method + " " + path, s.observer().Route(method, path)}
	}
	to := s.route(path, func(c *call) {
		if k, ok := routes[c.r.Method]; ok {
			c.route, c.seen = k.name, k.seen
		}
		if c.share(allow) {
			return
		}
		h, ok := m[c.r.Method]
		if !ok {
			c.w.Header().Set("Allow", strings.Join(allow, ", "))
			fail(c, problem.ErrMethod)
			return
		}
		if err := h(c); err != nil {
			c.cause = err
			fail(c, err)
		}
	})
	s.mux.Handle(path, to)
	if !strings.Contains(path, "{") && !strings.HasSuffix(path, "/") {
		s.exact[path] = to
	}
}

// Paths returns the patterns of all paths, for tests that look at each.
func (s *server) Paths() []string { return s.paths }

// A route is reached through the mux but called with the call at hand.
type route struct {
	headers []header           // of its answers
	fail    func(*call, error) // answers what is refused before it is called
	run     func(*call)        // nil where nothing is
}

// route is what is at a path, or the pattern of one.
func (s *server) route(path string, run func(*call)) route {
	switch {
	case isPublished(path):
		return route{s.open, (*call).failAPI, run}
	case forPrograms(path):
		return route{s.plain, (*call).failAPI, run}
	}
	return route{s.headers, (*call).failPage, run}
}

// ServeHTTP makes a route a http.Handler for the mux; it is never called.
func (route) ServeHTTP(http.ResponseWriter, *http.Request) {}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{server: s, w: w, r: r, now: time.Now(), seen: s.unknown}
	c.identify()
	r = c.r
	defer c.finish()
	c.views = s.look
	to, ok := s.exact[r.URL.Path]
	pattern := r.URL.Path
	if !ok {
		var matched http.Handler
		matched, pattern = s.mux.Handler(r)
		if to, ok = matched.(route); !ok {
			to = s.route(r.URL.Path, nil)
		}
	}
	h := w.Header()
	h["X-Request-Id"] = c.ids[:]
	for i := range to.headers {
		h[to.headers[i].name] = to.headers[i].value
	}
	if r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	r.Pattern = pattern
	if pattern != "/healthz" && pattern != "/readyz" {
		if err := c.admissible(); err != nil {
			if errors.Is(err, problem.ErrHost) && c.alias() {
				return
			}
			to.fail(c, err)
			return
		}
	}
	if !ok {
		// The mux would redirect to a cleaner path, or knows nothing.
		to.fail(c, problem.ErrNotFound)
		return
	}
	to.run(c)
}

// named returns the text of the path where its pattern has {name}. What the
// client escaped is one part: an address may have a slash in it.
func (c *call) named(name string) string {
	pattern, path := strings.Split(c.r.Pattern, "/"), strings.Split(c.r.URL.EscapedPath(), "/")
	if i := slices.Index(pattern, "{"+name+"}"); i >= 0 && i < len(path) {
		text, _ := url.PathUnescape(path[i]) // net/http has parsed it
		return text
	}
	return ""
}

// admissible refuses requests with too much of a header, for another host, and
// those that another site's page sends.
func (c *call) admissible() error {
	size := len(c.r.RequestURI)
	for name, values := range c.r.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	if size > MaxHeader {
		return problem.ErrHeader
	}
	if len(c.Proxies) > 0 {
		if err := c.throughProxy(); err != nil {
			return err
		}
	}
	if c.r.Host != c.public.Host {
		if here, _, _ := loopback(c.r.Host); !here {
			return problem.ErrHost
		}
	}
	api := strings.HasPrefix(c.r.URL.Path, apiPrefix)
	if scheme, _ := authorization(c.r); scheme != "" {
		c.proving()
		if err := c.overheard(); err != nil || api {
			return err
		}
	}
	if judgesOrigins(c.r.URL.Path) {
		return nil
	}
	cross := c.cross
	if api {
		cross = c.shared
	}
	if err := cross.Check(c.r); err != nil {
		return fmt.Errorf("%w: %w", problem.ErrCrossSite, err)
	}
	return nil
}

// alias leads whoever asks for a page at another of our names to the public
// one. Only there are cookies, and passkeys, good.
func (c *call) alias() bool {
	host, _, err := net.SplitHostPort(c.r.Host)
	if err != nil {
		host = c.r.Host
	}
	if c.r.Method != "GET" && c.r.Method != "HEAD" || strings.HasPrefix(c.r.URL.Path, "/api/") || !slices.Contains(c.Aliases, host) {
		return false
	}
	c.w.Header().Set("Location", at(c.PublicURL, c.r.URL))
	c.begin(http.StatusPermanentRedirect)
	return true
}

// The schemes in which a token may come in the header Authorization.
const (
	bearerScheme = "Bearer"
	proofScheme  = "DPoP"
)

// authorization returns the token that a request is judged by, "" in place of a
// scheme where its header has none. No browser sends one by itself, as it does
// cookies and the credentials of Basic authentication.
func authorization(r *http.Request) (scheme, text string) {
	all := r.Header["Authorization"]
	if len(all) != 1 {
		return "", ""
	}
	sent, text, _ := strings.Cut(all[0], " ")
	for _, scheme := range [...]string{bearerScheme, proofScheme} {
		if strings.EqualFold(sent, scheme) {
			return scheme, strings.TrimLeft(text, " ")
		}
	}
	return "", ""
}

// overheard refuses a credential that came over a network in the clear: whoever
// was on the way has it. What a trusted proxy brings came to it by HTTPS.
func (c *call) overheard() error {
	if c.r.TLS != nil || c.from != "" {
		return nil
	}
	if peer, err := netip.ParseAddrPort(c.r.RemoteAddr); err == nil && !peer.Addr().Unmap().IsLoopback() {
		return errHTTPS
	}
	return nil // or it came by a socket of this machine
}

// loopback reports whether a Host header names this machine, and whether by an
// address. It returns the port with its colon.
func loopback(hostport string) (here, ip bool, port string) {
	host := hostport
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		host, port = h, ":"+p
	}
	host = strings.Trim(host, "[]")
	ip = host == "127.0.0.1" || host == "::1"
	return ip || host == "localhost", ip, port
}

// finish logs the call, and answers it where a handler panicked.
func (c *call) finish() {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler {
			panic(p)
		}
		c.Log.LogAttrs(c.r.Context(), slog.LevelError, "panic", slog.String("request_id", c.id), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		if c.status == 0 {
			fail := (*call).failPage
			if forPrograms(c.r.URL.Path) {
				fail = (*call).failAPI
			}
			fail(c, errors.New("panic"))
		}
	}
	now := time.Now()
	c.seen(c.status, now.Sub(c.now))
	if c.code != "" {
		c.observer().Problem(c.code)
	}
	c.log(now)
	if c.span != nil {
		c.endSpan()
	}
}

// log writes the call's one line.
func (c *call) log(now time.Time) {
	level := slog.LevelInfo
	fault := c.fault()
	if fault {
		level = slog.LevelError
	}
	ctx, to := c.r.Context(), c.Log.Handler()
	if !to.Enabled(ctx, level) {
		return
	}
	// A record by hand, for it needs not to know the line of code it is from.
	line := slog.NewRecord(now, level, cmp.Or(c.route, "request"), 0)
	line.AddAttrs(
		slog.String("request_id", c.id),
		slog.Int("status", c.status),
		slog.Duration("took", now.Sub(c.now)),
	)
	if c.sid != "" {
		line.AddAttrs(slog.String("sid", c.sid))
	}
	if c.key != nil {
		line.AddAttrs(slog.String("api_key", c.key.ID[:8]))
	}
	if c.site != "" {
		line.AddAttrs(slog.String("site", c.site))
	}
	if trace := c.trace(); trace != "" {
		line.AddAttrs(slog.String("trace_id", trace))
	}
	if c.code != "" {
		line.AddAttrs(slog.String("code", c.code))
	}
	if fault && c.cause != nil {
		line.AddAttrs(slog.String("error", c.cause.Error()))
	}
	_ = to.Handle(ctx, line) // there is nowhere to tell it
}

// origin says where the request comes from. Known browsers are looked up only
// where somebody proves who he is.
func (c *call) origin() account.Origin {
	address := c.from
	if address == "" {
		var err error
		if address, _, err = net.SplitHostPort(c.r.RemoteAddr); err != nil {
			address = c.r.RemoteAddr
		}
	}
	agent := c.r.UserAgent()
	if len(agent) > maxAgent {
		agent = agent[:maxAgent]
	}
	return account.Origin{Address: address, UserAgent: visible(agent), Browser: visible(deviceName(agent)), RequestID: c.id, Locale: c.language()}
}

// visible returns a text without what nobody sees and what turns the direction of
// others around: it is shown to people who look for a stranger among their
// sessions.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(text, ""))
}
