package redis

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/admit-auth/admit/session/redisstore"
)

// A client is a library that people have, with the lines of the documentation around
// it, or none.
type client struct {
	name  string
	dial  func(*server) redisstore.Client
	store func(*server, *redisstore.Options) (*redisstore.Store, error) // nil where New makes it
}

var clients = []client{
	{name: "rueidis", dial: func(s *server) redisstore.Client { return viaRueidis(s.rueidis()) }},
	{name: "go-redis", dial: func(s *server) redisstore.Client { return viaGoRedis(s.goRedis()) }},
	{name: "redigo", dial: func(s *server) redisstore.Client { return viaRedigo(s.redigo()) }},
	{name: "pool-do", dial: func(s *server) redisstore.Client { return s.pool().Do }},
	pooled,
}

var pooled = client{
	name:  "pool",
	dial:  func(s *server) redisstore.Client { return s.pool().Do },
	store: func(s *server, o *redisstore.Options) (*redisstore.Store, error) { return s.pool().Store(o) },
}

// open returns a store as the client's documentation has it.
func (c client) open(t testing.TB, s *server, o *redisstore.Options) *redisstore.Store {
	t.Helper()
	if c.store == nil {
		return open(t, c.dial(s), o)
	}
	store, err := c.store(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func viaRueidis(c rueidis.Client) redisstore.Client {
	return func(ctx context.Context, args ...string) (any, error) {
		return c.Do(ctx, c.B().Arbitrary(args[:3]...).Keys(args[3]).Args(args[4:]...).Build()).ToAny()
	}
}

func viaGoRedis(c goredis.UniversalClient) redisstore.Client {
	return func(ctx context.Context, args ...string) (any, error) {
		return c.Do(ctx, redisstore.Any(args)...).Result()
	}
}

func viaRedigo(pool *redis.Pool) redisstore.Client {
	return func(ctx context.Context, args ...string) (any, error) {
		conn, err := pool.GetContext(ctx)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return redis.DoContext(conn, ctx, args[0], redisstore.Any(args[1:])...)
	}
}

func (s *server) rueidis() rueidis.Client {
	s.t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"127.0.0.1:0"}, ForceSingleClient: true, DisableCache: true, AlwaysPipelining: true, PipelineMultiplex: -1,
		DialCtxFn: func(ctx context.Context, _ string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return s.dial(ctx)
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *server) goRedis() *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Network: s.network(), Addr: s.addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	s.t.Cleanup(func() { c.Close() })
	return c
}

func (s *server) redigo() *redis.Pool {
	pool := &redis.Pool{
		MaxIdle: 32, IdleTimeout: time.Minute,
		DialContext: func(ctx context.Context) (redis.Conn, error) { return redis.DialContext(ctx, s.network(), s.addr) },
	}
	s.t.Cleanup(func() { pool.Close() })
	return pool
}

func (s *server) url() string {
	if s.network() == "unix" {
		return "unix://" + s.addr
	}
	return "redis://" + s.addr
}

func (s *server) pool() *redisstore.Pool {
	s.t.Helper()
	p, err := redisstore.OpenPool(s.url(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { p.Close() })
	return p
}

func open(t testing.TB, c redisstore.Client, o *redisstore.Options) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
