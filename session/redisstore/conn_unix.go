//go:build unix

package redisstore

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"syscall"
)

// broken reports whether the other side has closed a connection on which nothing is
// under way. What came unasked for counts as well: nobody knows whose answer it is.
func broken(c net.Conn) bool {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	quiet := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	})
	return err != nil || !quiet
}

// together returns a connection whose Write only notes what is to be sent: the Read
// after it sends that, waits and reads. It is for who is answered once for each Write.
// Package net would read in vain before it waits, a fourteenth of a trip. A connection
// with TLS is as it was.
func together(c net.Conn) io.ReadWriter {
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			e := &exchange{conn: c, raw: raw}
			e.each = e.step
			return e
		}
	}
	return c
}

// An exchange is a connection that sends and waits in one step of its poll. One goroutine
// uses it at a time.
type exchange struct {
	conn net.Conn
	raw  syscall.RawConn
	each func(fd uintptr) bool // step

	out, in []byte // to send; to read into
	n       int    // read
	err     error
}

func (e *exchange) Write(p []byte) (int, error) {
	e.out = p
	return len(p), nil
}

func (e *exchange) Read(p []byte) (int, error) {
	e.in = p
	defer func() { e.in, e.out = nil, nil }()
	if err := e.raw.Read(e.each); err != nil {
		return 0, err
	}
	if len(e.out) > 0 { // no room for all of it at once, or what Write will say
		if _, err := e.conn.Write(e.out); err != nil {
			return 0, err
		}
		return e.conn.Read(p)
	}
	switch {
	case e.err != nil:
		return 0, os.NewSyscallError("read", e.err)
	case e.n == 0:
		return 0, io.EOF
	}
	return e.n, nil
}

// step is called at once, and then whenever the connection may have something to read,
// until it reports true. Package net forgets what came before the first call: so the
// answer, which can only come after, is not missed although nobody looks before the wait.
// What it does miss is a half-close from before: that call ends at its deadline.
func (e *exchange) step(fd uintptr) (done bool) {
	if len(e.out) > 0 {
		n, _ := syscall.Write(int(fd), e.out)
		e.out = e.out[max(n, 0):]
		return len(e.out) > 0
	}
	for {
		e.n, e.err = syscall.Read(int(fd), e.in)
		if e.err != syscall.EINTR {
			return e.err != syscall.EAGAIN
		}
	}
}
