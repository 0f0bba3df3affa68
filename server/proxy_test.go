package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/admit-auth/admit/server"
)

// newProxied is a server behind a proxy on this machine, and proxies of its
// network.
func newProxied(t testing.TB) *site {
	return newSite(t, func(c *server.Config) {
		c.Dev, c.PublicURL, c.TrustedProxy = false, "https://id.example.org", []string{"127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"}
	})
}

func TestAClientsAddressIsTakenFromTrustedProxiesOnly(t *testing.T) {
	s := newProxied(t)
	const right = "X-Forwarded-Proto: https"
	for i, tt := range []struct {
		name    string
		peer    string
		host    string // the public one, if ""
		headers string // lines
		address string // that the session is of
		code    string // or why it is refused
	}{
		{name: "one proxy", peer: "127.0.0.1:9", headers: right + "\nX-Forwarded-For: 192.0.2.7", address: "192.0.2.7"},
		{name: "a tale before it", peer: "127.0.0.1:9", headers: right + "\nX-Forwarded-For: 6.6.6.6, 192.0.2.7", address: "192.0.2.7"},
		{name: "a tale in a line of its own", peer: "127.0.0.1:9", headers: right + "\nX-Forwarded-For: 6.6.6.6\nX-Forwarded-For: 192.0.2.7", address: "192.0.2.7"},
		{name: "a chain of trusted proxies", peer: "127.0.0.1:9", headers: right + "\nX-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.1.1.1", address: "192.0.2.7"},
		{name: "a tale of trusted proxies", peer: "127.0.0.1:9", headers: right + "\nX-Forwarded-For: 10.6.6.6, 192.0.2.7", address: "192.0.2.7"},
		{name: "a client inside", peer: "127.0.0.1:9", headers: right + "\nX-Forwarded-For: 10.1.1.1", address: "10.1.1.1"},
		{name: "a client of whom nothing is known", peer: "127.0.0.1:9", headers: right + "\nX-Forwarded-For: 6.6.6.6, unknown", address: "127.0.0.1"},
		{name: "an address with a port", peer: "10.9.9.9:9", headers: right + "\nX-Forwarded-For: 192.0.2.7:55", address: "192.0.2.7"},
		{name: "IPv6", peer: "[2001:db8:1::1]:9", headers: right + "\nX-Forwarded-For: 2001:db8:ffff::1", address: "2001:db8:ffff::1"},
		{name: "IPv6 with a port", peer: "[::ffff:127.0.0.1]:9", headers: right + "\nX-Forwarded-For: [2001:db8:ffff::1]:55", address: "2001:db8:ffff::1"},
		{name: "Forwarded", peer: "127.0.0.1:9", headers: `Forwarded: for=6.6.6.6;proto=https, for="[2001:db8:ffff::1]:55";proto=https;by=x`, address: "2001:db8:ffff::1"},
		{name: "Forwarded in capitals", peer: "127.0.0.1:9", headers: "Forwarded: For=192.0.2.7; Proto=HTTPS", address: "192.0.2.7"},
		{name: "other headers that name an address", peer: "127.0.0.1:9", headers: right + "\nX-Forwarded-For: 192.0.2.7\nX-Real-Ip: 6.6.6.6\nX-Forwarded-Host: evil.example\nTrue-Client-Ip: 6.6.6.6", address: "192.0.2.7"},
		{name: "a program of this machine", peer: "[::1]:9", host: "localhost:8080", address: "::1"},

		{name: "no headers", peer: "127.0.0.1:9", code: "proxy_misconfigured"},
		{name: "a program at the proxy's address", peer: "127.0.0.1:9", host: "localhost:8080", code: "proxy_misconfigured"},
		{name: "no protocol", peer: "127.0.0.1:9", headers: "X-Forwarded-For: 192.0.2.7", code: "proxy_misconfigured"},
		{name: "no address", peer: "127.0.0.1:9", headers: right, code: "proxy_misconfigured"},
		{name: "the Host that nginx sends by itself, and a client that sends the rest", peer: "127.0.0.1:9", host: "localhost:8080", headers: right + "\nX-Forwarded-For: 6.6.6.6", code: "proxy_misconfigured"},
		{name: "a proxy of this machine that is not named", peer: "[::1]:9", headers: right + "\nX-Forwarded-For: 192.0.2.7", code: "proxy_misconfigured"},
		{name: "the same, that sends its own Host", peer: "[::1]:9", host: "localhost:8080", headers: right + "\nX-Forwarded-For: 192.0.2.7", code: "proxy_misconfigured"},
		{name: "the same, without headers", peer: "[::1]:9", code: "proxy_misconfigured"},
		{name: "both kinds of header", peer: "127.0.0.1:9", headers: right + "\nX-Forwarded-For: 192.0.2.7\nForwarded: for=6.6.6.6;proto=https", code: "proxy_misconfigured"},
		{name: "Forwarded that cannot be read", peer: "127.0.0.1:9", headers: `Forwarded: for="192.0.2.7`, code: "proxy_misconfigured"},
		{name: "plain HTTP at the proxy", peer: "127.0.0.1:9", headers: "X-Forwarded-Proto: http\nX-Forwarded-For: 192.0.2.7", code: "https_required"},
		{name: "plain HTTP at the first of two", peer: "127.0.0.1:9", headers: "X-Forwarded-Proto: http,https\nX-Forwarded-For: 192.0.2.7", code: "https_required"},
		{name: "another host", peer: "127.0.0.1:9", host: "evil.example", headers: right + "\nX-Forwarded-For: 192.0.2.7", code: "unknown_host"},
		{name: "another host, and the public one in a header", peer: "127.0.0.1:9", host: "evil.example", headers: right + "\nX-Forwarded-For: 192.0.2.7\nX-Forwarded-Host: id.example.org", code: "unknown_host"},
		{name: "a stranger past the proxy", peer: "192.0.2.66:9", headers: right + "\nX-Forwarded-For: 192.0.2.7", code: "untrusted_peer"},
		{name: "a stranger who claims this machine", peer: "192.0.2.66:9", host: "localhost", headers: right + "\nX-Forwarded-For: 127.0.0.1", code: "untrusted_peer"},
	} {
		c := s.client()
		r := c.post("signup", m{"identifier": "user" + string(rune('a'+i)), "password": goodPassword, "as": "token"}, func(r *http.Request) {
			r.RemoteAddr, r.Host = tt.peer, "id.example.org"
			if tt.host != "" {
				r.Host = tt.host
			}
			for line := range strings.Lines(tt.headers) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				r.Header.Add(name, value)
			}
		})
		if r.at("code") != tt.code || r.at("session.device.address") != tt.address {
			t.Errorf("%s: %d %s, want address %q or code %q", tt.name, r.status, r.body, tt.address, tt.code)
		}
		switch hint := r.at("hint"); {
		case tt.code == "untrusted_peer" && !strings.Contains(hint, "--trusted-proxy 192.0.2.66"),
			tt.code == "proxy_misconfigured" && !strings.Contains(hint, "nginx: ") && !strings.Contains(hint, "--trusted-proxy ::1"),
			tt.code == "proxy_misconfigured" && tt.headers == "" && strings.HasPrefix(tt.host, "localhost") && !strings.Contains(hint, "A program of this machine asks at https://id.example.org"),
			tt.code == "https_required" && !strings.Contains(hint, "https://id.example.org"):
			t.Errorf("%s: the hint is %q", tt.name, hint)
		}
	}
}

func TestAttackEachGuessComesFromAnotherForwardedAddress(t *testing.T) {
	s := newProxied(t)
	thief := s.client()
	for i := range 200 {
		r := thief.post("signin", m{"identifier": "user" + strings.Repeat("x", i), "password": "a guess of mine"}, func(r *http.Request) {
			r.RemoteAddr, r.Host = "127.0.0.1:9", "id.example.org"
			r.Header.Set("X-Forwarded-Proto", "https")
			r.Header.Set("X-Forwarded-For", "203.0.113."+string(rune('0'+i%10))+", 192.0.2.7") // as a proxy adds to what it gets
		})
		if r.status == 429 {
			return
		}
	}
	t.Error("200 guesses from one address")
}

func TestHealthIsAnsweredToTheProxysOwnChecks(t *testing.T) {
	s := newProxied(t)
	r := s.client().do("GET", "/healthz", nil, func(r *http.Request) { r.RemoteAddr, r.Host = "10.1.1.1:9", "10.2.2.2:8080" })
	r.want(200)
}
