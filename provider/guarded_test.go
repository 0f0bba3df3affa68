package provider

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A stranger has registered an address for his keys that is not his own, but something
// behind the wall around the server. Networks in which clients are at home open it by
// that much, and no more.
func TestAttackAClientIsAtHomeInsideOfTheNetwork(t *testing.T) {
	home := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("fd12:3456::/32")}
	var called atomic.Int32
	serve := func(at string) string {
		l, err := net.Listen("tcp", at+":0")
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { called.Add(1) }))
		s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
		return l.Addr().String()
	}
	inside, opened := serve("127.0.0.1"), serve("127.0.0.2")
	_, port, _ := net.SplitHostPort(inside)
	for _, tt := range []struct {
		name, url string
		networks  []netip.Prefix
		reached   bool
	}{
		{"a network that is named", "http://" + opened, home, true},
		{"the same, where none is named", "http://" + opened, nil, false},
		{"the address beside it", "http://" + inside, home, false},
		{"a name that leads there", "http://localhost:" + port, home, false},
		{"an IPv4 address in an IPv6 one", "http://[::ffff:127.0.0.1]:" + port, home, false},
		{"the same, of a network that is named", strings.Replace("http://"+opened, "127.0.0.2", "[::ffff:127.0.0.2]", 1), home, true},
		{"an address without a network", "http://0.0.0.0:" + port, home, false},
		{"in other digits", "http://2130706433:" + port, home, false},
		{"what tells a cloud's machines their secrets", "http://169.254.169.254/latest/meta-data/", home, false},
		{"another private network", "http://10.21.0.1", home, false},
		{"through a translator", "http://[64:ff9b::7f00:1]:" + port, home, false},
		{"a unique local address of others", "http://[fd12:3457::1]", home, false},
	} {
		called.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		r, err := http.NewRequestWithContext(ctx, "GET", tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := guarded(false, tt.networks...).RoundTrip(r)
		cancel()
		if err == nil {
			res.Body.Close()
		} else if tt.reached || !strings.Contains(err.Error(), "no public address") && !strings.Contains(err.Error(), "no such host") && !strings.Contains(err.Error(), "lookup") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if (called.Load() > 0) != tt.reached {
			t.Errorf("%s: reached %d times", tt.name, called.Load())
		}
	}
}

// The name was his own when it was registered, and led to him. When it is called, his name
// server answers otherwise.
func TestAttackANameServerLeadsInside(t *testing.T) {
	var asked atomic.Int32
	dns, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	defer func() { dns.Close(); <-done }()
	go func() {
		defer close(done)
		for buf := make([]byte, 512); ; {
			n, from, err := dns.ReadFrom(buf)
			if err != nil {
				return
			}
			asked.Add(1)
			dns.WriteTo(leadingTo([4]byte{127, 0, 0, 1}, buf[:n]), from)
		}
	}()
	before := net.DefaultResolver
	defer func() { net.DefaultResolver = before }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", dns.LocalAddr().String())
	}}
	var reached atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://keys.example.net:"+port, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guarded(false, netip.MustParsePrefix("10.0.0.0/8")).RoundTrip(r); err == nil || !strings.Contains(err.Error(), "127.0.0.1 is no public address") || reached.Load() {
		t.Errorf("reached: %v; %v", reached.Load(), err)
	}
	if asked.Load() == 0 {
		t.Error("nobody asked the name server")
	}
}

// leadingTo answers a question for an A record with an address, and any other with none
// (RFC 1035 section 4.1).
func leadingTo(ip [4]byte, question []byte) []byte {
	end := 12
	for question[end] != 0 {
		end += int(question[end]) + 1
	}
	end += 5
	answer := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question[12:end]...)
	if question[end-3] == 1 {
		answer[7] = 1
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4)
		answer = append(answer, ip[:]...)
	}
	return answer
}
