package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/admit-auth/admit/server/internal/web"
)

// How strangers reach the server, and what they are allowed to hold.

const (
	readTimeout  = 20 * time.Second // of the header too: each time-out more costs a request 0.4 µs
	writeTimeout = 60 * time.Second // a sign-in may wait for its turn to hash
	idleTimeout  = 2 * time.Minute
	streams      = 100 // of one HTTP/2 connection at once; RFC 9113 5.1.2 wants no fewer
)

// followACME sets what follows from acme where nothing else is said.
func (c *Config) followACME() {
	if len(c.ACME) == 0 {
		return
	}
	follow := func(name string, to *string, value string) {
		if c.origins[name] == "" {
			*to, c.origins[name] = value, "follows from acme"
		}
	}
	follow("listen", &c.Listen, ":443")
	follow("listen_http", &c.ListenHTTP, ":80")
	follow("public_url", &c.PublicURL, c.acmeURL())
}

// acmeURL is where the first domain is found.
func (c *Config) acmeURL() string {
	if _, port, _ := net.SplitHostPort(c.Listen); port != "" && port != "443" && port != "0" {
		return "https://" + c.ACME[0] + ":" + port
	}
	return "https://" + c.ACME[0]
}

func (c *Config) ownHTTPS() bool { return c.TLSCert != "" || c.TLSKey != "" || len(c.ACME) > 0 }

// checkEdge reports contradictions in how the server is reached.
func (c *Config) checkEdge() error {
	host, _, _ := net.SplitHostPort(c.Listen)
	exposed := c.Listen != "" && !isLoopback(host)
	public, _ := url.Parse(c.PublicURL) // which rule has seen
	proxied := len(c.TrustedProxy) > 0
	mounted := c.Dev && c.Listen == "" && public.Scheme == "http" // by a program on this machine, which says where
	switch {
	case c.Dev && (exposed || c.PublicURL != "" && !mounted || c.ownHTTPS() || proxied):
		return ErrConfigDev
	case public.Scheme == "http" && !mounted:
		return fmt.Errorf("%w: %q", ErrConfigValue.WithHint("public_url is an https origin; for this machine alone leave it out"), c.PublicURL)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return ErrConfigTLS.WithHint("give both --tls-cert and --tls-key")
	case c.TLSCert != "" && len(c.ACME) > 0:
		return ErrConfigTLS.WithHint("leave out --acme, or --tls-cert and --tls-key")
	case len(c.ACME) > 0 && c.PublicURL != "" && !slices.Contains(c.ACME, public.Hostname()):
		return ErrConfigTLS.WithHint("name the host of --public-url with --acme, too")
	case c.ListenHTTP != "" && !c.ownHTTPS():
		return ErrConfigTLS.WithHint("--listen-http only leads to HTTPS of our own; leave it out")
	case proxied && c.PublicURL == "" && len(c.ACME) == 0:
		return ErrConfigProxy.WithHint("give --public-url, the https origin that people see in front of the proxy")
	case exposed && !c.ownHTTPS() && !proxied:
		return fmt.Errorf("%s: %w", c.Listen, ErrConfigExposed)
	case exposed && c.TLSCert != "" && c.PublicURL == "":
		return ErrConfigTLS.WithHint("give --public-url, such as https://id.example.org, which the certificate is for")
	case c.Listen != "" && c.PublicURL != "" && !c.ownHTTPS() && !proxied:
		// Somebody else must speak the HTTPS. Unless that one is named, everybody
		// who comes through it would have one address, and one budget of guesses.
		return ErrConfigProxy.WithHint("name the proxy that speaks HTTPS: --trusted-proxy 127.0.0.1 for one on this machine; or give --tls-cert and --tls-key, or --acme")
	}
	return nil
}

// isDomain reports whether text is a name that an authority may certify.
func isDomain(text string) bool {
	_, err := netip.ParseAddr(text)
	return err != nil && strings.Contains(text, ".") && isOrigin("https://"+text, "https") && !strings.ContainsAny(text, ":[]")
}

// parseNetwork reads an address or a network; that of everybody is refused,
// for who trusts everybody is told any address.
func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, err
	case p.Bits() == 0 || p.Addr().Is4In6():
		return p, errors.New("too wide")
	}
	return p.Masked(), nil
}

func (c *Config) proxies() (all []netip.Prefix) {
	for _, text := range c.TrustedProxy {
		p, _ := parseNetwork(text) // which rule has seen
		all = append(all, p)
	}
	return all
}

// openListeners listens on an address; "localhost" is both loopback addresses, since
// browsers try either.
func openListeners(address string) (all []net.Listener, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	hosts := []string{host}
	if host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	for i, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if i > 0 && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)) {
			continue // a machine without IPv6
		}
		if err != nil {
			closeAll(all)
			return nil, cannotListen(err)
		}
		all = append(all, l)
		port = portOf(all) // for 0 any port, and the same one for both
	}
	return all, nil
}

// cannotListen says what to do about it.
func cannotListen(err error) error {
	refused := ErrPort
	switch {
	case errors.Is(err, fs.ErrPermission):
		refused = refused.WithHint("ports below 1024 need the capability CAP_NET_BIND_SERVICE, which the systemd unit in deploy gives; or choose another port with --listen")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		refused = refused.WithHint("this machine has no such address: choose another with --listen")
	}
	return fmt.Errorf("%w: %w", refused, err)
}

func closeAll(all []net.Listener) {
	for _, l := range all {
		l.Close()
	}
}

// portOf is the port of listeners, "" where there are none.
func portOf(all []net.Listener) string {
	if len(all) == 0 {
		return ""
	}
	return strconv.Itoa(all[0].Addr().(*net.TCPAddr).Port)
}

// bounded returns a http.Server that no client can hold for longer, or more of,
// than it needs.
func bounded(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:        h,
		ReadTimeout:    readTimeout,
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: 4 * web.MaxHeader, // so that we answer what is a little too much
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          streams,
			MaxReceiveBufferPerConnection: 256 << 10, // what a connection may make us hold; a body is 64 KiB at most
			MaxReceiveBufferPerStream:     64 << 10,
			SendPingTimeout:               idleTimeout,
			WriteByteTimeout:              readTimeout,
		},
		ErrorLog: stdlog.New(httpLog{log}, "", 0),
	}
}

// httpLog takes what net/http has to say. Strangers who speak no TLS are none of
// the operator's worries.
type httpLog struct{ to *slog.Logger }

func (l httpLog) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		level = slog.LevelDebug
	}
	l.to.Log(context.Background(), level, strings.TrimSpace(string(line)))
	return len(line), nil
}

const (
	defaultConnections = 16_384
	perAddress         = 16 // the part of all connections that one address may have
	spareFiles         = 256
	complainEvery      = time.Minute
)

// A gate bounds the connections that are open. From three quarters on it sheds
// those that do nothing, so that whoever collects them keeps nobody out; the
// rest are closed by the time-outs. A network that one customer has counts as
// one address. Proxies and programs of this machine count in the whole alone.
type gate struct {
	most    int
	exempt  []netip.Prefix
	log     *slog.Logger
	relieve func(bool) // sheds idle connections, and keeps none until called with false

	mu       sync.Mutex
	open     int                  // guarded by mu
	of       map[netip.Prefix]int // guarded by mu
	strained bool                 // guarded by mu
	told     time.Time            // guarded by mu
}

// newGate returns a gate for as many connections as wanted, or as the process
// may have files.
func newGate(most int, exempt []netip.Prefix, log *slog.Logger) *gate {
	most = cmp.Or(most, defaultConnections)
	if files := openFiles(); files > 0 && most > files-spareFiles {
		most = max(files-spareFiles, files/2)
		log.Warn("fewer connections than configured: this process may not open as many files", "max_connections", most)
	}
	return &gate{most: most, exempt: exempt, log: log, relieve: func(bool) {}, of: map[netip.Prefix]int{}}
}

// A gated listener gives out what passes its gate.
type gatedListener struct {
	net.Listener
	*gate
}

// Accept implements net.Listener.
func (l gatedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if conn, ok := l.enter(c, time.Now()); ok {
			return conn, nil
		}
		c.Close()
	}
}

// enter counts a connection, or refuses it.
func (g *gate) enter(c net.Conn, now time.Time) (net.Conn, bool) {
	from, counted := g.network(c.RemoteAddr())
	g.mu.Lock()
	if g.open >= g.most || counted && g.of[from] >= max(g.most/perAddress, 1) {
		loud := now.Sub(g.told) >= complainEvery
		if loud {
			g.told = now
		}
		open := g.open
		g.mu.Unlock()
		if loud {
			g.log.Warn("connections are refused: there are too many, or too many from one address", "open", open, "max_connections", g.most)
		}
		return nil, false
	}
	g.open++
	if counted {
		g.of[from]++
	}
	strain := !g.strained && g.open > g.most*3/4
	g.strained = g.strained || strain
	g.mu.Unlock()
	if strain {
		g.relieve(true)
	}
	return &gatedConn{Conn: c, leave: func() { g.leave(from, counted) }}, true
}

func (g *gate) leave(from netip.Prefix, counted bool) {
	g.mu.Lock()
	g.open--
	if counted {
		if g.of[from]--; g.of[from] == 0 {
			delete(g.of, from)
		}
	}
	relaxed := g.strained && g.open < g.most/2
	g.strained = g.strained && !relaxed
	g.mu.Unlock()
	if relaxed {
		g.relieve(false)
	}
}

// network is what a peer is counted under, and whether it is at all.
func (g *gate) network(a net.Addr) (netip.Prefix, bool) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.IsLoopback() || slices.ContainsFunc(g.exempt, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.Prefix{}, false
	}
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	return p, err == nil
}

// A gatedConn tells its gate when it is closed.
type gatedConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close implements net.Conn.
func (c *gatedConn) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer to a body that it does not read, so
// that the client sees the answer and not a reset.
func (c *gatedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// serveEdge serves the listeners until the returned function has drained them;
// fail is called with what ends one before.
func (s *Server) serveEdge(work *sync.WaitGroup, fail func(error)) (drain func(context.Context) error) {
	main := bounded(s.handler, s.log)
	main.TLSConfig = s.https.config(s.log)
	serve := main.Serve
	if s.https != nil {
		serve = func(l net.Listener) error { return main.ServeTLS(l, "", "") }
	}
	gate := newGate(s.cfg.MaxConnections, s.cfg.proxies(), s.log)
	gate.relieve = func(strained bool) { main.SetKeepAlivesEnabled(!strained) }
	for _, l := range s.listeners {
		work.Go(func() {
			if err := serve(gatedListener{l, gate}); !errors.Is(err, http.ErrServerClosed) {
				fail(err)
			}
		})
	}
	plain := bounded(s.https.challenges(web.Redirect(s.publicURL())), s.log)
	for _, l := range s.plain {
		work.Go(func() {
			if err := plain.Serve(gatedListener{l, gate}); !errors.Is(err, http.ErrServerClosed) {
				fail(err)
			}
		})
	}
	return func(ctx context.Context) error {
		return errors.Join(main.Shutdown(ctx), plain.Shutdown(ctx))
	}
}
