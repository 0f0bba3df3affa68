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
	begun time.Time    // with the first connection; times are nanoseconds since
	now   atomic.Int64 // up to a tick ago

	mu    sync.Mutex
	conns map[*timedConn]struct{} // guarded by mu
}

// over returns the connection with deadlines that are noted. It must be closed.
func (d *deadlines) over(c net.Conn, now time.Time) *timedConn {
	t := &timedConn{Conn: c, of: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		d.conns, d.begun = map[*timedConn]struct{}{}, now
	}
	d.now.Store(d.since(now))
	d.conns[t] = struct{}{}
	return t
}

func (d *deadlines) since(t time.Time) int64 { return int64(t.Sub(d.begun)) }

// run ends what is over, until ctx is done.
func (d *deadlines) run(ctx context.Context) {
	tick := time.NewTicker(deadlineTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, c := range d.tick(now) {
				c.read.look(d.since(now), c.Conn.SetReadDeadline)
				c.write.look(d.since(now), c.Conn.SetWriteDeadline)
			}
		}
	}
}

// tick notes the time, and returns the connections of now.
func (d *deadlines) tick(now time.Time) []*timedConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		return nil // nor is there a time to count from
	}
	d.now.Store(d.since(now))
	return slices.Collect(maps.Keys(d.conns))
}

// A timedConn is a connection among deadlines.
type timedConn struct {
	net.Conn
	of          *deadlines
	read, write deadline
}

// SetReadDeadline implements net.Conn.
func (c *timedConn) SetReadDeadline(t time.Time) error {
	return c.read.set(t, c.of, c.Conn.SetReadDeadline)
}

// SetWriteDeadline implements net.Conn.
func (c *timedConn) SetWriteDeadline(t time.Time) error {
	return c.write.set(t, c.of, c.Conn.SetWriteDeadline)
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
	at atomic.Int64 // what is noted; unset, or inForce
	mu sync.Mutex   // held by who brings it into force, or out of it
}

const (
	unset   = 0
	inForce = -1 // the connection has one, and nothing is noted
)

// set sets a deadline. What is past, or will be before the next tick, is how
// net/http ends a read under way: it counts at once.
func (d *deadline) set(t time.Time, of *deadlines, really func(time.Time) error) error {
	at := int64(unset)
	if !t.IsZero() {
		if at = of.since(t); at < of.now.Load()+2*int64(deadlineTick) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.at.Store(inForce)
			return really(t)
		}
	}
	for was := d.at.Load(); was != inForce; was = d.at.Load() {
		if d.at.CompareAndSwap(was, at) {
			return nil
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err := really(time.Time{})
	d.at.Store(at) // and not before: whoever sees it relies on there being none in force
	return err
}

// look ends what waits past the deadline.
func (d *deadline) look(now int64, really func(time.Time) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := d.at.Load(); at > unset && at <= now && d.at.CompareAndSwap(at, inForce) {
		_ = really(time.Now()) // of a closed one nobody waits
	}
}
