package server

import (
	"cmp"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	defaultConnections = 16_384
	perAddress         = 16 // the part of all connections that one address may have
	spareFiles         = 256
	complainEvery      = time.Minute
)

// connections bounds those that are open. From three quarters on it sheds
// those that do nothing, so that whoever collects them keeps nobody out; the
// rest are closed by the time-outs. A network that one customer has counts as
// one address. Proxies and programs of this machine count in the whole alone.
type connections struct {
	most    int
	exempt  []netip.Prefix
	log     *slog.Logger
	relieve func(bool) // sheds idle connections, and keeps none until called with false
	deadlines

	mu       sync.Mutex
	open     int                  // guarded by mu
	of       map[netip.Prefix]int // guarded by mu
	strained bool                 // guarded by mu
	told     time.Time            // guarded by mu
}

// newConnections allows as many as wanted, or as the process may have files.
func newConnections(most int, exempt []netip.Prefix, log *slog.Logger) *connections {
	most = cmp.Or(most, defaultConnections)
	if files := openFiles(); files > 0 && most > files-spareFiles {
		most = max(files-spareFiles, files/2)
		log.Warn("fewer connections than configured: this process may not open as many files", "max_connections", most)
	}
	return &connections{most: most, exempt: exempt, log: log, relieve: func(bool) {}, of: map[netip.Prefix]int{}}
}

// A boundedListener gives out the connections that are let in.
type boundedListener struct {
	net.Listener
	*connections
}

// Accept implements net.Listener.
func (l boundedListener) Accept() (net.Conn, error) {
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
func (cs *connections) enter(c net.Conn, now time.Time) (net.Conn, bool) {
	from, counted := cs.network(c.RemoteAddr())
	cs.mu.Lock()
	if cs.open >= cs.most || counted && cs.of[from] >= max(cs.most/perAddress, 1) {
		loud := now.Sub(cs.told) >= complainEvery
		if loud {
			cs.told = now
		}
		open := cs.open
		cs.mu.Unlock()
		if loud {
			cs.log.Warn("connections are refused: there are too many, or too many from one address", "open", open, "max_connections", cs.most)
		}
		return nil, false
	}
	cs.open++
	if counted {
		cs.of[from]++
	}
	strain := !cs.strained && cs.open > cs.most*3/4
	cs.strained = cs.strained || strain
	cs.mu.Unlock()
	if strain {
		cs.relieve(true)
	}
	return &countedConn{timedConn: cs.over(c, now), leave: func() { cs.leave(from, counted) }}, true
}

func (cs *connections) leave(from netip.Prefix, counted bool) {
	cs.mu.Lock()
	cs.open--
	if counted {
		if cs.of[from]--; cs.of[from] == 0 {
			delete(cs.of, from)
		}
	}
	relaxed := cs.strained && cs.open < cs.most/2
	cs.strained = cs.strained && !relaxed
	cs.mu.Unlock()
	if relaxed {
		cs.relieve(false)
	}
}

// network is what a peer is counted under, and whether it is at all.
func (cs *connections) network(a net.Addr) (netip.Prefix, bool) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.IsLoopback() || slices.ContainsFunc(cs.exempt, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.Prefix{}, false
	}
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	return p, err == nil
}

// A countedConn tells when it is closed.
type countedConn struct {
	*timedConn
	once  sync.Once
	leave func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.once.Do(c.leave)
	return c.timedConn.Close()
}

// CloseWrite lets net/http end an answer to a body that it does not read, so
// that the client sees the answer and not a reset.
func (c *countedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
