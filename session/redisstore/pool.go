package redisstore

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Pool is a client for those who have none: connections to one server, each of which
// a call has to itself while it lasts. [Pool.Do] is a [Client]. It sends a command and
// reads its answer, and no more: no Sentinel, no cluster, no subscriptions. With many
// calls at once a library that shares connections, such as rueidis, is cheaper.
//
// A call ends at its context's deadline; that the context was cancelled before is
// noticed only then, or with the answer. Nothing is ever sent twice.
type Pool struct {
	network, address string
	hello            [][]string // what a connection begins with
	tls              *tls.Config
	room             chan struct{} // has one value for each connection in use

	mu     sync.Mutex
	idle   []*conn // guarded by mu; the last was used last
	closed bool    // guarded by mu
}

// PoolOptions are the choices of a Pool.
type PoolOptions struct {
	// TLS is for rediss URLs; nil for the system's roots and the URL's host.
	TLS *tls.Config

	// MaxConns bounds the connections; 64 for 0. Who finds them all in use waits.
	MaxConns int
}

// A conn is used by one goroutine at a time.
type conn struct {
	net.Conn
	w    io.Writer // what together returned, which r reads from
	r    *bufio.Reader
	out  []byte
	used time.Time // when the last call began
	end  time.Time // the deadline that is set

	run   string // of the server, as a record names it; "" where it does not tell
	asked bool   // for the run
}

var (
	errClosed = errors.New("redis: the pool is closed")
	errSpeech = errors.New("redis: what came is not RESP")
)

// A refusal is an error that the server answers with. The connection stays good.
type refusal string

func (r refusal) Error() string { return "redis: " + string(r) }

func isRefusal(err error) bool {
	_, is := err.(refusal)
	return is
}

// OpenPool returns the connections to the server of a URL: redis://host:6379,
// rediss:// for TLS, unix:///path; with user:password@ and, as the path or as ?db=, the
// number of a database where needed. Nil options are the defaults. It connects to
// nobody yet. Close it.
func OpenPool(server string, o *PoolOptions) (*Pool, error) {
	if o == nil {
		o = &PoolOptions{}
	}
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("the URL of a Redis does not parse: %w", errOptions) // it may have a password in it
	}
	p := &Pool{network: "tcp", tls: o.TLS.Clone()}
	db := strings.Trim(u.Path, "/")
	switch u.Scheme {
	case "rediss":
		if p.tls == nil {
			p.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if p.tls.ServerName == "" {
			p.tls.ServerName = u.Hostname()
		}
	case "redis":
		p.tls = nil
	case "unix":
		p.network, p.address, p.tls, db = "unix", u.Path, nil, u.Query().Get("db")
	}
	if p.network == "tcp" {
		port := u.Port()
		if port == "" {
			port = "6379"
		}
		p.address = net.JoinHostPort(u.Hostname(), port)
	}
	if password, ok := u.User.Password(); ok {
		auth := []string{"AUTH", password}
		if name := u.User.Username(); name != "" {
			auth = []string{"AUTH", name, password}
		}
		p.hello = append(p.hello, auth)
	}
	if db != "" {
		p.hello = append(p.hello, []string{"SELECT", db})
	}
	_, err = strconv.ParseUint(db, 10, 16)
	known := u.Scheme == "redis" || u.Scheme == "rediss" || u.Scheme == "unix" && u.Path != ""
	if !known || db != "" && err != nil || o.MaxConns < 0 || p.network == "tcp" && u.Hostname() == "" {
		return nil, fmt.Errorf("scheme %q, host %q, database %q, %d connections: %w", u.Scheme, u.Host, db, o.MaxConns, errOptions)
	}
	most := o.MaxConns
	if most == 0 {
		most = 64
	}
	p.room = make(chan struct{}, most)
	return p, nil
}

// Close closes the connections that nobody uses, and the others when their call ends.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.hangUp()
	return nil
}

// Do is a [Client].
func (p *Pool) Do(ctx context.Context, args ...string) (reply any, err error) {
	err = p.use(ctx, func(c *conn) (err error) {
		reply, err = c.do(ctx, args)
		return err
	})
	return reply, err
}

// mget reads what is under up to three keys, "" where there is no text.
func (p *Pool) mget(ctx context.Context, keys []string) (texts [3]string, err error) {
	err = p.use(ctx, func(c *conn) (err error) {
		texts, err = c.mget(ctx, keys)
		return err
	})
	return texts, err
}

// mgetOfRun also returns the run of the server; where that is "" it reads nothing.
func (p *Pool) mgetOfRun(ctx context.Context, keys []string) (texts [3]string, run string, err error) {
	err = p.use(ctx, func(c *conn) (err error) {
		if run, err = c.theRun(ctx); err == nil && run != "" {
			texts, err = c.mget(ctx, keys)
		}
		return err
	})
	return texts, run, err
}

// use lends a connection for one call.
func (p *Pool) use(ctx context.Context, call func(*conn) error) error {
	select {
	case p.room <- struct{}{}:
	default:
		select {
		case p.room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-p.room }()
	c, err := p.take(ctx, begun(ctx))
	if err != nil {
		return err
	}
	err = call(c)
	if err == nil || isRefusal(err) {
		p.give(c)
		return err
	}
	c.Close()
	if !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		p.hangUp() // the others lead to where this one led
	}
	return err
}

// begun is when a call began. A store has just asked.
func begun(ctx context.Context) time.Time {
	if b, ok := ctx.(*bounded); ok {
		return b.begun
	}
	return time.Now()
}

// idleTrust is for how long a connection is thought to be good that nobody uses. After
// that it is looked at, because a server that has closed it would be asked in vain, and
// a write may not be sent again.
const idleTrust = time.Second

func (p *Pool) take(ctx context.Context, now time.Time) (*conn, error) {
	p.mu.Lock()
	closed := p.closed
	var c *conn
	if last := len(p.idle) - 1; last >= 0 {
		c, p.idle[last], p.idle = p.idle[last], nil, p.idle[:last]
	}
	p.mu.Unlock()
	switch {
	case closed:
		if c != nil {
			c.Close()
		}
		return nil, errClosed
	case c != nil && (now.Sub(c.used) < idleTrust || !broken(c.Conn)):
		c.used = now
		return c, nil
	case c != nil:
		c.Close()
		p.hangUp()
	}
	return p.dial(ctx, now)
}

func (p *Pool) give(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return
	}
	p.idle = append(p.idle, c)
}

// hangUp closes the connections that nobody uses.
func (p *Pool) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}

func (p *Pool) dial(ctx context.Context, now time.Time) (*conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, p.network, p.address)
	if err != nil {
		return nil, err
	}
	if p.tls != nil {
		secure := tls.Client(raw, p.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		raw = secure
	}
	rw := together(raw)
	c := &conn{Conn: raw, w: rw, r: bufio.NewReader(rw), used: now}
	for _, command := range p.hello {
		if _, err := c.do(ctx, command); err != nil {
			c.Close()
			return nil, fmt.Errorf("%s: %w", command[0], err) // of the connection, and of no call
		}
	}
	return c, nil
}

func isTimeout(err error) bool {
	var slow net.Error
	return errors.As(err, &slow) && slow.Timeout()
}

// do sends a command and reads the answer.
func (c *conn) do(ctx context.Context, args []string) (any, error) {
	if err := c.send(ctx, args); err != nil {
		return nil, err
	}
	reply, err := answer(c.r, 2)
	return reply, c.settled(err)
}

// mget reads what is under up to three keys.
func (c *conn) mget(ctx context.Context, keys []string) (texts [3]string, err error) {
	args := [4]string{"MGET"}
	if err := c.send(ctx, args[:1+copy(args[1:], keys)]); err != nil {
		return texts, err
	}
	texts, err = list(c.r, len(keys))
	return texts, c.settled(err)
}

// list reads a list of so many texts, at most three; an absent one is "". They share
// memory.
func list(r *bufio.Reader, want int) (texts [3]string, err error) {
	kind, n, _, err := head(r)
	if err != nil {
		return texts, err
	}
	if kind != '*' || n != int64(want) {
		return texts, errSpeech
	}
	var buf [1024]byte // for most lists no memory but the texts' is taken
	var ends [3]int
	all := buf[:0]
	for i := range want {
		kind, n, _, err := head(r)
		if err == nil && (kind != '$' || n > maxText) || isRefusal(err) { // with the rest still to come
			return texts, errSpeech
		}
		if err == nil && n >= 0 {
			var one []byte
			one, err = body(r, int(n))
			all = append(all, one...)
		}
		if err != nil {
			return texts, err
		}
		ends[i] = len(all)
	}
	text, begin := string(all), 0
	for i, end := range ends[:want] {
		texts[i], begin = text[begin:end], end
	}
	return texts, nil
}

// theRun asks the server once what it is called since it began.
func (c *conn) theRun(ctx context.Context) (string, error) {
	if c.asked {
		return c.run, nil
	}
	reply, err := c.do(ctx, []string{"INFO", "server"})
	if isRefusal(err) {
		// It may be busy, or for ever unwilling.
		c.asked = strings.HasPrefix(err.Error(), "redis: NOPERM") || strings.HasPrefix(err.Error(), "redis: ERR")
		return "", nil
	} else if err != nil {
		return "", err
	}
	info, _ := text(reply)
	_, id, _ := strings.Cut(info, "\nrun_id:")
	if size := atSize - 1 - atRun; len(id) > size {
		c.run = id[:size]
	}
	c.asked = true
	return c.run, nil
}

// send sends a command.
func (c *conn) send(ctx context.Context, args []string) error {
	// To set a deadline is a tenth of a trip. One that is a little early will do.
	if at, _ := ctx.Deadline(); at.IsZero() || at.Before(c.end) || at.Sub(c.end) > at.Sub(c.used)/16 {
		if err := c.SetDeadline(at); err != nil {
			return err
		}
		c.end = at
	}
	out := strconv.AppendInt(append(c.out[:0], '*'), int64(len(args)), 10)
	for _, a := range args {
		out = append(strconv.AppendInt(append(out, "\r\n$"...), int64(len(a)), 10), "\r\n"...)
		out = append(out, a...)
	}
	c.out = append(out, "\r\n"...)
	_, err := c.w.Write(c.out)
	return err
}

// settled returns the error of an answer that was read. What nobody asked for would be the
// next call's.
func (c *conn) settled(err error) error {
	if (err == nil || isRefusal(err)) && c.r.Buffered() > 0 {
		return errSpeech
	}
	return err
}

const (
	maxText = 1 << 20 // bytes of an answer's text; a record has 60 KiB
	maxList = 1 << 16
)

// answer reads one, in which lists are within lists so often at most.
func answer(r *bufio.Reader, lists int) (any, error) {
	kind, n, text, err := head(r)
	switch {
	case err != nil:
		return nil, err
	case kind == '+':
		return text, nil
	case kind == ':':
		return n, nil
	case n == -1:
		return nil, nil
	case kind == '$' && n <= maxText:
		text, err := body(r, int(n))
		return string(text), err
	case kind == '*' && n <= maxList && lists > 0:
		var all []any
		for range n {
			one, err := answer(r, lists-1)
			if isRefusal(err) {
				return nil, errSpeech // the rest is still to come
			} else if err != nil {
				return nil, err
			}
			all = append(all, one)
		}
		return all, nil
	}
	return nil, errSpeech
}

// head reads what an answer begins with: '+' and a text, ':' and a number, or '$' or '*'
// and how much is to come, -1 for nothing. A refusal is an error.
func head(r *bufio.Reader) (kind byte, n int64, text string, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, 0, "", err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return 0, 0, "", errSpeech
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+':
		return kind, 0, string(rest), nil
	case '-':
		return kind, 0, "", refusal(rest)
	case ':', '$', '*':
		n, err = strconv.ParseInt(string(rest), 10, 64)
		if err == nil && (kind == ':' || n >= -1) {
			return kind, n, "", nil
		}
	}
	return 0, 0, "", errSpeech
}

// body reads so many bytes of text, and the end of the line. They are there until the
// next reading.
func body(r *bufio.Reader, n int) (b []byte, err error) {
	if n+2 <= r.Size() {
		if b, err = r.Peek(n + 2); err == nil {
			r.Discard(n + 2)
		}
	} else {
		b = make([]byte, n+2)
		_, err = io.ReadFull(r, b)
	}
	switch {
	case err != nil:
		return nil, err
	case b[n] != '\r' || b[n+1] != '\n':
		return nil, errSpeech
	}
	return b[:n], nil
}
