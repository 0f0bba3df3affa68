package web

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/admit-auth/admit"
)

// Behind a proxy, three things are known only from headers that anybody can
// send: who asks, for which host, and whether it asked by HTTPS. They are
// believed of a proxy that is named, and only if it sends all of them, because
// a header that a proxy does not set is the client's.

// errHTTPS is that plain HTTP was spoken where HTTPS must be.
var errHTTPS = admit.Forbidden.New("https_required", "This is answered over HTTPS only.").WithHint("Use the https address.")

const proxyLines = "nginx: proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; — Caddy: reverse_proxy, which sets them, without header_up for any of them"

var (
	errProxy = admit.Forbidden.New("proxy_misconfigured", "The proxy in front of this server does not say for whom it asks.").WithHint(proxyLines)
	errPeer  = admit.Forbidden.New("untrusted_peer", "This server answers its proxy only.")
)

// throughProxy checks that a request came in as it was set up, and takes the
// client's address from its proxy. It costs nothing where no proxy is named.
func (c *call) throughProxy() error {
	peer, err := netip.ParseAddrPort(c.r.RemoteAddr)
	from := peer.Addr().Unmap().WithZone("")
	h := c.r.Header
	if err != nil || !c.trusts(from) {
		switch {
		case c.r.TLS != nil:
			return nil // who speaks HTTPS with us needs no proxy
		case err != nil || !from.IsLoopback():
			return errPeer.WithHint("if " + from.String() + " is your proxy: --trusted-proxy " + from.String())
		case c.r.Host == c.public.Host || forwarded(h):
			return errProxy.WithHint("a proxy on this machine asks: --trusted-proxy " + from.String() + ". Programs of this machine ask for localhost")
		}
		return nil
	}
	standard, usual := h["Forwarded"], h["X-Forwarded-For"]
	if len(standard) > 0 && len(usual) > 0 {
		// One of them is the client's, and there is no telling which.
		return errProxy.WithHint("let the proxy drop Forwarded. nginx: proxy_set_header Forwarded \"\"; — Caddy: header_up -Forwarded")
	}
	hops, proto := list(usual), strings.Join(h["X-Forwarded-Proto"], ",")
	if len(standard) > 0 {
		if hops, proto, err = parseForwarded(standard); err != nil {
			return fmt.Errorf("%w: %w", errProxy, err)
		}
	}
	if c.r.TLS == nil {
		switch here, _, _ := loopback(c.r.Host); {
		case here && c.r.Host != c.public.Host && !forwarded(h):
			// So asks nginx by itself, and so asks a program: there is no telling them apart.
			return errProxy.WithHint(proxyLines + "; — A program of this machine asks at " + c.PublicURL)
		case here && c.r.Host != c.public.Host || len(hops) == 0 || proto == "":
			return errProxy
		}
		// A proxy behind a proxy may add its own; all of the way must be HTTPS.
		for p := range strings.SplitSeq(proto, ",") {
			if !strings.EqualFold(strings.TrimSpace(p), "https") {
				return errHTTPS.WithHint("Use " + c.PublicURL + ". If you did, the proxy must say so: X-Forwarded-Proto: https")
			}
		}
	}
	// Each proxy adds whom it sees at the end. What stands before the first that
	// we do not trust is that one's tale.
	for i := len(hops) - 1; i >= 0 && c.trusts(from); i-- {
		addr, ok := parseHop(hops[i])
		if !ok {
			break // "unknown", or hidden: the proxy that says so is all we know
		}
		from = addr
	}
	c.from = from.String()
	return nil
}

func (c *call) trusts(addr netip.Addr) bool {
	for _, p := range c.Proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// forwarded reports whether a proxy has added who asks.
func forwarded(h http.Header) bool {
	return h["X-Forwarded-For"] != nil || h["X-Forwarded-Proto"] != nil || h["Forwarded"] != nil
}

// list returns the elements of a header that is a list.
func list(lines []string) (all []string) {
	for _, line := range lines {
		for e := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(e))
		}
	}
	return all
}

// parseHop reads an address as proxies write it, with a port or without, in
// brackets or quotes or not.
func parseHop(text string) (netip.Addr, bool) {
	text = strings.Trim(text, `"`)
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		var port netip.AddrPort
		if port, err = netip.ParseAddrPort(text); err != nil {
			return netip.Addr{}, false
		}
		addr = port.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

// parseForwarded reads the Forwarded header (RFC 7239): who was seen at each
// hop, and by which protocol it came to the first.
func parseForwarded(lines []string) (hops []string, proto string, err error) {
	text := strings.Join(lines, ",")
	var protos []string
	for text != "" {
		hop, p := "", ""
		for {
			name, rest, ok := strings.Cut(text, "=")
			if !ok {
				return nil, "", fmt.Errorf("the header Forwarded has a pair without a value")
			}
			value := ""
			if quoted, is := strings.CutPrefix(rest, `"`); is {
				// No address and no protocol has anything to escape.
				if value, text, ok = strings.Cut(quoted, `"`); !ok || strings.Contains(value, `\`) {
					return nil, "", fmt.Errorf("the header Forwarded has a quote that does not end")
				}
			} else {
				end := strings.IndexAny(rest, ",;")
				if end < 0 {
					end = len(rest)
				}
				value, text = rest[:end], rest[end:]
			}
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "for":
				hop = strings.TrimSpace(value)
			case "proto":
				p = strings.TrimSpace(value)
			}
			text = strings.TrimLeft(text, " \t")
			next, more := strings.CutPrefix(text, ";")
			if !more {
				break
			}
			text = strings.TrimLeft(next, " \t")
		}
		hops = append(hops, hop)
		if p != "" {
			protos = append(protos, p)
		}
		if text == "" {
			break
		}
		next, more := strings.CutPrefix(text, ",")
		if !more {
			return nil, "", fmt.Errorf("the header Forwarded has %.20q where a comma is due", text)
		}
		if text = strings.TrimLeft(next, " \t"); text == "" {
			return nil, "", fmt.Errorf("the header Forwarded ends with a comma")
		}
	}
	return hops, strings.Join(protos, ","), nil
}
