package provider

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// fetchTime is how long what a client has at its address may take.
const fetchTime = 10 * time.Second

// guarded is a transport to addresses that strangers have chosen. What counts is the
// address that is connected to, after every name server was asked: a name may lead
// somewhere else each time (DNS rebinding). There is no proxy, which would connect in our
// place. Networks are let through beside public addresses.
func guarded(loopback bool, networks ...netip.Prefix) http.RoundTripper {
	d := &net.Dialer{
		Timeout: 3 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if ip := at.Addr().Unmap(); !isPublic(ip) && !(loopback && ip.IsLoopback()) && !slices.ContainsFunc(networks, holds(ip)) {
				return fmt.Errorf("%s is no public address", ip)
			}
			return nil
		},
	}
	return &http.Transport{
		DialContext: d.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 3 * time.Second,
		MaxIdleConns: 64, MaxIdleConnsPerHost: 2, MaxConnsPerHost: 8, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 16 << 10,
	}
}

// reach is how the addresses of a client are reached: those of a stranger outside alone.
func (p *Provider) reach(c *Client) *http.Client {
	if c.Unverified() {
		return p.beyond
	}
	return p.o.HTTP
}

// sends is reach without redirects.
func (p *Provider) sends(c *Client) http.RoundTripper {
	return cmp.Or(p.reach(c).Transport, http.DefaultTransport)
}

// holds tells of a network whether an address is in it.
func holds(ip netip.Addr) func(netip.Prefix) bool {
	return func(net netip.Prefix) bool { return net.Contains(ip) }
}

// special are networks that IsPrivate and its siblings do not know: carriers' own,
// benchmarks, documentation and reserved ones, and those in which an IPv4 address hides.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// isPublic reports whether an address is one of the Internet's.
func isPublic(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Zone() != "" {
		return false
	}
	for _, net := range special {
		if net.Contains(ip) {
			return false
		}
	}
	return true
}
