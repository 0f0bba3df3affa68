package server

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// deadlineTick is how late a deadline may come.
const deadlineTick = time.Second

// deadlines are those of all connections. Net/http sets three a request that are
// hardly ever met, and each would move a timer of the runtime, for 0.4 µs: here one
// that is ahead is only noted, and run ends what is over.
type deadlines struct {
	now atomic.Int64 // Unix nanoseconds, up to a tick ago

	mu    sync.Mutex
	conns map[*timedConn]struct{} // guarded by mu
}

// over returns the connection with deadlines that are noted. It must be closed.
func (d *deadlines) over(c net.Conn, now time.Time) *timedConn {
	t := &timedConn{Conn: c, of: d}
	d.now.Store(now.UnixNano())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		d.conns = map[*timedConn]struct{}{}
	}
	d.conns[t] = struct{}{}
	return t
}

// run ends what is over, until ctx is done.
func (d *deadlines) run(ctx context.Context) {
	tick := time.NewTicker(deadlineTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			d.now.Store(now.UnixNano())
			d.mu.Lock()
			conns := slices.Collect(maps.Keys(d.conns))
			d.mu.Unlock()
			for _, c := range conns {
				c.read.look(now, c.Conn.SetReadDeadline)
				c.write.look(now, c.Conn.SetWriteDeadline)
			}
		}
	}
}

// A timedConn is a connection among deadlines.
type timedConn struct {
	net.Conn
	of          *deadlines
	read, write deadline
}

// SetReadDeadline implements net.Conn.
func (c *timedConn) SetReadDeadline(t time.Time) error {
	return c.read.set(t, c.of.now.Load(), c.Conn.SetReadDeadline)
}

// SetWriteDeadline implements net.Conn.
func (c *timedConn) SetWriteDeadline(t time.Time) error {
	return c.write.set(t, c.of.now.Load(), c.Conn.SetWriteDeadline)
}

// SetDeadline implements net.Conn.
func (c *timedConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// Close implements net.Conn.
func (c *timedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// A deadline is that of one direction.
type deadline struct {
	mu   sync.Mutex
	at   time.Time // guarded by mu; what is noted, if anything
	real bool      // guarded by mu; whether the connection has one
}

// set sets a deadline. What is past, or will be before the next tick, is how
// net/http ends a read under way: it counts at once.
func (d *deadline) set(t time.Time, now int64, really func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !t.IsZero() && t.UnixNano() < now+2*int64(deadlineTick) {
		d.at, d.real = time.Time{}, true
		return really(t)
	}
	d.at = t
	if !d.real {
		return nil
	}
	d.real = false
	return really(time.Time{})
}

// look ends what waits past the deadline.
func (d *deadline) look(now time.Time, really func(time.Time) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.at.IsZero() && !now.Before(d.at) {
		d.at, d.real = time.Time{}, true
		_ = really(now) // of a closed one nobody waits
	}
}
