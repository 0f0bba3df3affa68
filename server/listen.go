package server

import (
	"bytes"
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

// private are the networks in which servers of one's own are: those of RFC 1918 and 6598,
// and unique local ones. Not among them are loopback and link-local addresses, where the
// machine itself is, and what tells it the secrets of its cloud (169.254.169.254).
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
}

// parsePrivate reads an address or a network of one's own.
func parsePrivate(text string) (netip.Prefix, error) {
	p, err := parseNetwork(text)
	if err == nil && !slices.ContainsFunc(private, func(all netip.Prefix) bool { return all.Contains(p.Addr()) && all.Bits() <= p.Bits() }) {
		err = errors.New("no private network")
	}
	return p, err
}

func (c *Config) networks() (all []netip.Prefix) {
	for _, text := range c.ClientNetworks {
		p, _ := parsePrivate(text) // which rule has seen
		all = append(all, p)
	}
	return all
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

// serveEdge serves the listeners until the returned function has drained them;
// fail is called with what ends one before.
func (s *Server) serveEdge(work *sync.WaitGroup, fail func(error)) (drain func(context.Context) error) {
	main := bounded(&s.face, s.log)
	main.TLSConfig = s.https.config(s.log)
	open := newConnections(s.cfg.MaxConnections, s.cfg.proxies(), s.log)
	open.relieve = func(strained bool) { main.SetKeepAlivesEnabled(!strained) }
	timing, stop := context.WithCancel(context.Background())
	work.Go(func() { open.run(timing) })
	serve := func(listeners []net.Listener, by func(net.Listener) error) {
		for _, l := range listeners {
			work.Go(func() {
				if err := by(boundedListener{l, open}); !errors.Is(err, http.ErrServerClosed) {
					fail(err)
				}
			})
		}
	}
	if s.https == nil {
		serve(s.listeners, main.Serve)
	} else {
		serve(s.listeners, func(l net.Listener) error { return main.ServeTLS(l, "", "") })
	}
	plain := bounded(s.https.challenges(web.Redirect(s.publicURL())), s.log)
	serve(s.plain, plain.Serve)
	return func(ctx context.Context) error {
		defer stop()
		return errors.Join(main.Shutdown(ctx), plain.Shutdown(ctx))
	}
}
