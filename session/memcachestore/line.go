package memcachestore

import (
	"context"
	"errors"
	"hash/crc32"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/admit-auth/admit"
)

// A line is a client that one call at a time has to itself, so that it has one
// connection to each server and a call may count on it. The client knows no
// contexts: its connections do.
type line struct {
	client *memcache.Client
	ctx    context.Context // of the call that has the line; never without a deadline
	used   bool            // its connections may have broken since
	heard  bool            // the server has answered this call
}

// A conn is a connection of a line, whose deadline is that of the call.
type conn struct {
	net.Conn
	line *line
}

// SetDeadline is how the client begins a command.
func (c *conn) SetDeadline(time.Time) error {
	at, _ := c.line.ctx.Deadline()
	return c.Conn.SetDeadline(at)
}

func (c *conn) Read(p []byte) (int, error) {
	// A caller who gives up is not kept until the deadline. What this does to the
	// connection later harms nobody: give closes those of a context that ended.
	stop := context.AfterFunc(c.line.ctx, func() { c.Conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	n, err := c.Conn.Read(p)
	c.line.heard = c.line.heard || n > 0
	return n, err
}

// lines are those of a store.
type lines struct {
	servers servers
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	room    chan struct{} // has one value for each line in use
	mu      sync.Mutex
	idle    []*line // guarded by mu; the last was used last
}

func (ls *lines) init(names []string, most int, dial func(context.Context, string, string) (net.Conn, error)) {
	if most == 0 {
		most = 64
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	ls.dial, ls.room = dial, make(chan struct{}, most)
	for _, name := range names {
		network := "tcp"
		if strings.Contains(name, "/") {
			network = "unix"
		}
		ls.servers = append(ls.servers, server{network, name})
	}
}

// take returns a line for a call. It may be waited for.
func (ls *lines) take(ctx context.Context) (*line, error) {
	select {
	case ls.room <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if last := len(ls.idle) - 1; last >= 0 {
		l := ls.idle[last]
		ls.idle[last], ls.idle = nil, ls.idle[:last]
		l.ctx, l.used, l.heard = ctx, true, false
		return l, nil
	}
	l := &line{client: memcache.NewFromSelector(ls.servers), ctx: ctx}
	l.client.MaxIdleConns = 1
	l.client.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		c, err := ls.dial(l.ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &conn{c, l}, nil
	}
	return l, nil
}

// give takes a line back after a call that ended so, and reports whether it is
// worth another try: nobody had told the line that its connection was gone.
func (ls *lines) give(l *line, err error) (again bool) {
	if l == nil {
		return false
	}
	defer func() { <-ls.room }()
	if l.ctx.Err() == nil && (err == nil || healthy(err)) {
		ls.mu.Lock()
		defer ls.mu.Unlock()
		l.ctx = nil
		ls.idle = append(ls.idle, l)
		return false
	}
	l.client.Close()
	again = l.used && !l.heard && l.ctx.Err() == nil
	if again {
		ls.hangUp() // the others stood as long
	}
	return again
}

// healthy reports whether an error is an answer, after which the connection
// still is in step.
func healthy(err error) bool {
	switch admit.KindOf(err) {
	case admit.NotFound, admit.Conflict:
		return true
	}
	return errors.Is(err, errNoCAS)
}

// hangUp closes the lines that nobody uses.
func (ls *lines) hangUp() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.idle {
		l.client.Close()
	}
	ls.idle = nil
}

// A server is where one is. Its name is looked up whenever a connection is made,
// for it may move.
type server struct{ network, address string }

func (s server) Network() string { return s.network }
func (s server) String() string  { return s.address }

// servers choose the one that has a key. They are a memcache.ServerSelector.
type servers []net.Addr

func (s servers) PickServer(key string) (net.Addr, error) {
	if len(s) == 1 {
		return s[0], nil
	}
	return s[crc32.ChecksumIEEE([]byte(key))%uint32(len(s))], nil
}

func (s servers) Each(fn func(net.Addr) error) error {
	for _, a := range s {
		if err := fn(a); err != nil {
			return err
		}
	}
	return nil
}
