package copies

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
)

// A client speaks to one Redis. Every call ends in time: where one does not get
// through, all later ones fail at once until probe has found the way again.
type client struct {
	url     string
	tried   string // a key that probe writes
	timeout time.Duration
	idle    chan *conn
	slots   chan struct{} // one for each connection in use
	up      atomic.Bool
	errors  atomic.Uint64
}

// A conn knows the run of the server that it leads to.
type conn struct {
	redis.Conn
	run string
}

const maxConns = 64

var (
	errDown  = errors.New("no answer from Redis just now")
	errOther = errors.New("it is another Redis, or it began anew")

	errWithout = errors.New("no generation of copies: a process without Redis has written to the database, or it was put back")
)

func newClient(url, tried string, timeout time.Duration) *client {
	return &client{url: url, tried: tried, timeout: timeout, idle: make(chan *conn, maxConns), slots: make(chan struct{}, maxConns)}
}

// dial connects, and asks which run it is.
func (c *client) dial() (*conn, error) {
	r, err := redis.DialURL(c.url, redis.DialConnectTimeout(c.timeout), redis.DialReadTimeout(c.timeout), redis.DialWriteTimeout(c.timeout), redis.DialClientName("admit"))
	if err != nil {
		return nil, err
	}
	info, err := redis.String(r.Do("INFO", "server"))
	if err != nil {
		r.Close()
		return nil, err
	}
	_, run, _ := strings.Cut(info, "run_id:")
	run, _, _ = strings.Cut(run, "\r")
	if run == "" {
		r.Close()
		return nil, fmt.Errorf("INFO server tells no run_id")
	}
	return &conn{r, run}, nil
}

// probe tries the way, and returns the run of the server.
func (c *client) probe() (run string, err error) {
	k, err := c.dial()
	if err != nil {
		return "", err
	}
	defer c.put(k)
	// A replica takes no writes.
	if _, err := k.Do("SET", c.tried, "1", "PX", 1000); err != nil {
		return "", err
	}
	return k.run, nil
}

func (c *client) put(k *conn) {
	if k.Err() == nil {
		select {
		case c.idle <- k:
			return
		default:
		}
	}
	k.Close()
}

// take returns a connection to a server's run.
func (c *client) take(run string) (k *conn, used bool, err error) {
	for {
		select {
		case k := <-c.idle:
			if k.run == run {
				return k, true, nil
			}
			k.Close()
			continue
		default:
		}
		k, err := c.dial()
		if err != nil {
			return nil, false, err
		}
		if k.run != run {
			k.Close()
			return nil, false, errOther
		}
		return k, false, nil
	}
}

// drain closes the connections that nobody uses.
func (c *client) drain() {
	for {
		select {
		case k := <-c.idle:
			k.Close()
		default:
			return
		}
	}
}

// do asks a server's run.
func (c *client) do(run string, ask func(*conn) (any, error)) (any, error) {
	if !c.up.Load() {
		return nil, errDown
	}
	select {
	case c.slots <- struct{}{}:
	default:
		late := time.NewTimer(c.timeout)
		defer late.Stop()
		select {
		case c.slots <- struct{}{}:
		case <-late.C:
			c.errors.Add(1)
			return nil, errDown // it is slow: others will find out
		}
	}
	defer func() { <-c.slots }()
	for {
		k, used, err := c.take(run)
		if err != nil {
			return nil, c.fail(err)
		}
		reply, err := ask(k)
		c.put(k)
		var refused redis.Error
		var slow net.Error
		switch {
		case err == nil:
			return reply, nil
		case noText(err):
			return nil, err // somebody else's, and all else goes on
		case errors.As(err, &refused):
			// OOM, or a replica now, or loading: for one call or for all, we
			// do not know.
			if !strings.HasPrefix(string(refused), "OOM") {
				return nil, c.fail(err)
			}
			c.errors.Add(1)
			return nil, err
		case used && !(errors.As(err, &slow) && slow.Timeout()):
			// Redis closed it while nobody used it. All that is asked may be asked twice.
			c.drain()
		default:
			return nil, c.fail(err)
		}
	}
}

func (c *client) fail(err error) error {
	c.errors.Add(1)
	c.up.Store(false)
	c.drain()
	return err
}

// maxRead bytes of what stands under a name are read. Copies are shorter: a record
// is of 60 KiB at most. A longer one is somebody else's, and may be of 512 MB.
const maxRead = 256 << 10

// get returns what stands under a name, "" for nothing.
func (c *client) get(run, name string) (string, error) {
	return textOf(c.do(run, func(k *conn) (any, error) { return k.Do("GETRANGE", name, 0, maxRead-1) }))
}

// lease puts a lease under a name where nothing stands, and otherwise returns what
// does.
func (c *client) lease(run, name, lease string) (string, error) {
	return textOf(c.do(run, func(k *conn) (any, error) {
		return k.Do("SET", name, lease, "NX", "GET", "PX", leaseLife.Milliseconds())
	}))
}

// noText reports whether what stands under a name is a list or the like.
func noText(err error) bool {
	refused, is := errors.AsType[redis.Error](err)
	return is && strings.HasPrefix(string(refused), "WRONGTYPE")
}

func textOf(reply any, err error) (string, error) {
	text, err := redis.String(reply, err)
	if errors.Is(err, redis.ErrNil) {
		return "", nil
	}
	return text, err
}

var fillScript = redis.NewScript(1, `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)

// fill replaces the lease.
func (c *client) fill(run, name, lease, copy string) error {
	_, err := c.do(run, func(k *conn) (any, error) {
		return fillScript.Do(k, name, lease, copy, copyLife.Milliseconds())
	})
	return err
}

func (c *client) hold(run, name string) error {
	_, err := c.do(run, func(k *conn) (any, error) {
		return k.Do("SET", name, held, "PX", holdLife.Milliseconds())
	})
	return err
}

func (c *client) remove(run, name string) error {
	_, err := c.do(run, func(k *conn) (any, error) { return k.Do("DEL", name) })
	return err
}

// forget removes what stands under the names, and publishes the messages, in one
// trip.
func (c *client) forget(run, channel string, names, messages []string) error {
	_, err := c.do(run, func(k *conn) (any, error) {
		for i := range messages {
			if err := k.Send("DEL", names[i]); err != nil {
				return nil, err
			}
			if err := k.Send("PUBLISH", channel, messages[i]); err != nil {
				return nil, err
			}
		}
		answers, err := redis.Values(k.Do("")) // flushes, and reads all
		for _, a := range answers {
			if refused, is := a.(redis.Error); is {
				return nil, refused
			}
		}
		return nil, err
	})
	return err
}

// close closes what is idle.
func (c *client) close() {
	c.up.Store(false)
	c.drain()
}
