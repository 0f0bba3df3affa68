package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/boj/redistore"
	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/redisstore"
)

// redisRows compares sessions in a Redis of our own, which keeps nothing on
// disk. What it costs that server is not counted: the figures are of the web
// process. There are none where no redis-server is installed.
func redisRows() (rows []row, stop func()) {
	addr, stop, err := startRedis()
	if err != nil {
		log.Printf("no rows of Redis: %v", err)
		return nil, func() {}
	}
	direct, err := redisstore.OpenPool("redis://"+addr, nil)
	must(err)
	store, err := direct.Store(nil)
	must(err)
	client := goredis.NewClient(&goredis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	viaGoRedis, err := redisstore.New(func(ctx context.Context, args ...string) (any, error) {
		return client.Do(ctx, redisstore.Any(args)...).Result()
	}, nil)
	must(err)
	pool := &redis.Pool{MaxIdle: 32, Dial: func() (redis.Conn, error) { return redis.Dial("tcp", addr) }}

	sites := map[string]func() site{
		"scs goredisstore": func() site {
			return siteOfSCS(goredisstore.New(goredis.NewClient(&goredis.Options{Addr: addr})))
		},
		"gorilla redistore": func() site {
			s, err := redistore.NewRediStoreWithPool(pool, []byte(rand.Text()))
			must(err)
			return siteOfGorilla(s)
		},
	}
	for _, peer := range []string{"scs goredisstore", "gorilla redistore"} {
		compare := func(what string, g goal, store session.Store, handler func(site) http.Handler) {
			of := func(newSite func() site) contender {
				return func() work {
					s := newSite()
					return serve(handler(s), signIns(s.signIn), 1)
				}
			}
			rows = append(rows, row{What: "redis: " + what, Goal: g, turns: true, FloorName: "one trip by hand", PeerName: peer, bare: of(bareSite),
				ours: of(func() site { return siteOf(store) }), floor: of(func() site { return handRedis(addr) }), peer: of(sites[peer])})
		}
		near := session.NewNear(store, 0)
		check := func(s site) http.Handler { return s.check }
		update := func(s site) http.Handler { return s.update }
		compare("who is it (Check)", goal{Ratio: 1.3}, store, check)
		compare("who is it (Check), by go-redis", goal{}, viaGoRedis, check)
		compare("who is it (Check), copies near", goal{CPU: 2000}, near, check)
		compare("with its data (Load, JSON)", goal{Ratio: 1.3}, store, func(s site) http.Handler { return s.load })
		compare("with its data (Handler, Load, JSON)", goal{Ratio: 1.3}, store, func(s site) http.Handler { return s.touch })
		compare("read, modify, write (Update)", goal{Ratio: 2}, store, update)
		compare("read, modify, write (Update), by go-redis", goal{}, viaGoRedis, update)
		compare("read, modify, write (Update), copies near", goal{Ratio: 2}, near, update)
	}
	return rows, stop
}

// startRedis starts a server on a free port.
func startRedis() (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--loglevel", "warning")
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	for begun := time.Now(); time.Since(begun) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr, stop, nil
		}
	}
	stop()
	return "", nil, fmt.Errorf("redis-server does not answer at %s", addr)
}

// handRedis is what the work costs when nothing is wasted: one exchange written
// and read by hand on a connection that is kept; to change a record, one that
// reads and counts up at once. There is no digest of the token, no expiry of
// idle sessions and no ending everywhere.
func handRedis(addr string) site {
	h := &hand{addr: addr}
	do := func(write bool) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, ok := findCookie(r.Header, "session")
			answer(w, ok && h.read(id, write) == uid)
		})
	}
	return site{
		signIn: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id := rand.Text()
			c := h.get()
			c.send("HSET", "hand:"+id, "uid", uid, "count", "1")
			c.reply()
			h.put(c)
			http.SetCookie(w, &http.Cookie{Name: "session", Value: id})
			answer(w, true)
		}),
		check: do(false), load: do(false), noted: do(false), touch: do(false), update: do(true),
	}
}

// A hand keeps connections.
type hand struct {
	addr string
	mu   sync.Mutex
	free []*conn
}

type conn struct {
	net.Conn
	r   *bufio.Reader
	out []byte
}

func (h *hand) get() *conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.free); n > 0 {
		c := h.free[n-1]
		h.free = h.free[:n-1]
		return c
	}
	c, err := net.Dial("tcp", h.addr)
	must(err)
	return &conn{Conn: c, r: bufio.NewReader(c)}
}

func (h *hand) put(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free = append(h.free, c)
}

// read returns the user of a session, and counts its visit where it is told to.
func (h *hand) read(id string, write bool) string {
	c := h.get()
	defer h.put(c)
	c.out = c.add(c.out, "HGET", "hand:"+id, "uid")
	if write {
		c.out = c.add(c.out, "HINCRBY", "hand:"+id, "count", "1")
	}
	c.send()
	user := c.reply()
	if write {
		c.reply()
	}
	return user
}

func (c *conn) add(out []byte, args ...string) []byte {
	out = append(strconv.AppendInt(append(out, '*'), int64(len(args)), 10), "\r\n"...)
	for _, a := range args {
		out = append(strconv.AppendInt(append(out, '$'), int64(len(a)), 10), "\r\n"...)
		out = append(append(out, a...), "\r\n"...)
	}
	return out
}

// send sends what was added, and one command more if there is one.
func (c *conn) send(args ...string) {
	if len(args) > 0 {
		c.out = c.add(c.out, args...)
	}
	_, err := c.Write(c.out)
	must(err)
	c.out = c.out[:0]
}

// reply reads one reply that is a number or a string.
func (c *conn) reply() string {
	line, err := c.r.ReadSlice('\n')
	must(err)
	head := string(line[1 : len(line)-2])
	if line[0] != '$' || strings.HasPrefix(head, "-") {
		return head
	}
	n, err := strconv.Atoi(head)
	must(err)
	text, err := c.r.Peek(n + 2)
	must(err)
	s := string(text[:n])
	c.r.Discard(n + 2)
	return s
}
