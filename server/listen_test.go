package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
)

// A pipes listener gives out connections inside the process, which a synctest
// can wait for.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// timed is the connection as the server's listeners give it out.
func timed(t *testing.T, c net.Conn) net.Conn {
	var all deadlines
	go all.run(t.Context())
	return all.over(c, time.Now())
}

// slow runs talk as a client of a bounded server, whose handler reads the body,
// and returns how long the connection stayed open.
func slow(t *testing.T, talk func(net.Conn)) (open time.Duration, answer string) {
	synctest.Test(t, func(t *testing.T) {
		srv := bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10)); err != nil {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			}
		}), slog.New(slog.DiscardHandler))
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		go srv.Serve(l)
		defer srv.Close()
		client, served := net.Pipe()
		l.conns <- timed(t, served)
		begun := time.Now()
		var talking sync.WaitGroup
		talking.Go(func() { talk(client) })
		b, _ := io.ReadAll(client) // to the end that the server makes
		open, answer = time.Since(begun), string(b)
		client.Close()
		talking.Wait()
	})
	return open, answer
}

func TestAttackSlowAndGreedyClientsAreCutOff(t *testing.T) {
	drip := func(c net.Conn, every time.Duration, text string) {
		for {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
			time.Sleep(every)
		}
	}
	for _, tt := range []struct {
		name   string
		talk   func(net.Conn)
		most   time.Duration
		answer string
	}{
		{"one that says nothing", func(net.Conn) {}, readTimeout + deadlineTick, ""},
		{"a slow loris: a header each second", func(c net.Conn) {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
			drip(c, time.Second, "X-A: b\r\n")
		}, readTimeout + deadlineTick, ""},
		{"a body that drips", func(c net.Conn) {
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
			drip(c, time.Second, "x")
		}, readTimeout + time.Second + deadlineTick, "413"},
		{"a keep-alive that is never used again", func(c net.Conn) {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		}, idleTimeout + deadlineTick, "200"},
		{"a flood of headers", func(c net.Conn) {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
			drip(c, 0, strings.Repeat("X-A: "+strings.Repeat("b", 1000)+"\r\n", 10))
		}, time.Second, "431"},
		{"a flood of body", func(c net.Conn) {
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
			drip(c, 0, "1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n")
		}, time.Second, "413"},
	} {
		open, answer := slow(t, tt.talk)
		if open > tt.most || tt.answer != "" && !strings.HasPrefix(answer, "HTTP/1.1 "+tt.answer) {
			t.Errorf("%s is cut off after %v with %.60q, want %q after %v at most", tt.name, open, answer, tt.answer, tt.most)
		}
	}
}

// A peer is a connection from an address.
type peer struct {
	net.Conn
	from string
}

func (p peer) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(p.from)) }
func (p peer) Close() error         { return nil }

func TestConnectionsAreBoundedInAllAndForOneAddress(t *testing.T) {
	var log strings.Builder
	g := newConnections(160, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, slog.New(slog.NewTextHandler(&log, nil)))
	now := time.Now()
	enter := func(from string) net.Conn {
		c, ok := g.enter(peer{from: from}, now)
		if !ok {
			return nil
		}
		return c
	}
	fill := func(from string) (n int) {
		for n < 1000 && enter(from) != nil {
			n++
		}
		return n
	}
	if n := fill("192.0.2.1:1"); n != 10 {
		t.Errorf("one address has %d connections, want 10", n)
	}
	// A customer has a whole network of IPv6 addresses.
	if a, b := fill("[2001:db8::1]:1"), fill("[2001:db8::ffff:2]:1"); a != 10 || b != 0 {
		t.Errorf("one network has %d and %d connections, want 10", a, b)
	}
	c := enter("192.0.2.2:1")
	c.Close()
	c.Close() // counts once
	if n := fill("192.0.2.2:1"); n != 10 {
		t.Errorf("after one has closed, an address has %d connections, want 10", n)
	}
	var relief []bool
	g.relieve = func(strained bool) { relief = append(relief, strained) }
	var held []net.Conn
	for len(held) < 1000 {
		c := enter("10.1.1.1:1") // a proxy has more than one address
		if c == nil {
			break
		}
		held = append(held, c)
	}
	if len(held) != 130 || len(relief) != 1 || !relief[0] {
		t.Errorf("a proxy has %d connections, and idle ones were shed: %v; want 130, once", len(held), relief)
	}
	if enter("127.0.0.1:1") != nil {
		t.Error("there is no bound in all")
	}
	for _, c := range held[:100] {
		c.Close()
	}
	if len(relief) != 2 || relief[1] {
		t.Errorf("idle connections are shed still: %v", relief)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines of log, want one a minute:\n%s", n, &log)
	}
}

func TestNetworksAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1": "127.0.0.1/32", "10.1.2.3/8": "10.0.0.0/8", "::1": "::1/128", "::ffff:10.0.0.1": "10.0.0.1/32", "2001:db8::/32": "2001:db8::/32",
		"0.0.0.0/0": "", "::/0": "", "::ffff:0.0.0.0/96": "", "localhost": "", "": "", "10.0.0.0/33": "", "10.0.0": "",
	} {
		p, err := parseNetwork(text)
		if want == "" && err == nil || want != "" && (err != nil || p.String() != want) {
			t.Errorf("%q is read as %v, %v, want %q", text, p, err, want)
		}
	}
}

func TestWhoCannotListenIsToldWhatToDo(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  syscall.Errno
		hint string
	}{
		{"the port is taken", syscall.EADDRINUSE, "stop what listens there"},
		{"the port is root's", syscall.EACCES, "CAP_NET_BIND_SERVICE"},
		{"the address is of another machine", syscall.EADDRNOTAVAIL, "no such address"},
	} {
		err := cannotListen(fmt.Errorf("listen: %w", tt.err))
		e, ok := errors.AsType[*admit.Error](err)
		if !ok || !errors.Is(err, ErrPort) || !strings.Contains(e.Hint(), tt.hint) {
			t.Errorf("%s: %v, hint %q", tt.name, err, e.Hint())
		}
	}
}

func TestWhatFailsToListenLeavesNothingOpen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := openListeners(taken.Addr().String()); !errors.Is(err, ErrPort) {
		t.Errorf("got %v, want %v", err, ErrPort)
	}
}
