package redis

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/admit-auth/admit/conformance/linear"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/redisstore"
)

// Processes of a history open a Redis at its address, or a cluster at those of its
// nodes.
func TestMain(m *testing.M) {
	redis := func(o *redisstore.Options) linear.Open {
		return func(_ context.Context, addr string) (session.Store, error) {
			c := goredis.NewClient(&goredis.Options{Network: (&server{addr: addr}).network(), Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1})
			return redisstore.New(viaGoRedis(c), o)
		}
	}
	linear.Serve(map[string]linear.Open{
		"redis": redis(nil),
		"pool": func(_ context.Context, addr string) (session.Store, error) {
			p, err := redisstore.OpenPool((&server{addr: addr}).url(), nil)
			if err != nil {
				return nil, err
			}
			return p.Store(nil)
		},
		"durable-redis": redis(&redisstore.Options{Durability: session.SurvivesMachine}),
		"cluster": func(_ context.Context, addrs string) (session.Store, error) {
			c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: strings.Split(addrs, " "), ContextTimeoutEnabled: true})
			return redisstore.NewCluster(viaGoRedis(c), nil)
		},
	})
	m.Run()
}

// One that keeps nothing, one that comes back as it was some seconds ago, and one
// that keeps everything: the first two may forget, and none revives anything.
func TestHistoriesAreLinearizable(t *testing.T) {
	for _, program := range programs(t) {
		for name, of := range map[string]struct {
			flags      []string
			store      string
			durability session.Durability
		}{
			"without persistence": {forgets, "redis", session.MayForget},
			"without a library":   {snapshots, "pool", session.MayForget},
			"with snapshots":      {snapshots, "redis", session.MayForget},
			"on disk":             {onDisk, "durable-redis", session.SurvivesMachine},
		} {
			t.Run(program+" "+name, func(t *testing.T) {
				s := start(t, program, of.flags...)
				linear.Check(t, linear.Store{Name: of.store, Place: s.addr, Durability: of.durability, Crash: s.restart, Pause: s.pause})
			})
		}
	}
}

func TestHistoriesOverAClusterAreLinearizable(t *testing.T) {
	nodes := startCluster(t)
	var addrs []string
	for _, s := range nodes {
		addrs = append(addrs, s.addr)
	}
	linear.Check(t, linear.Store{Name: "cluster", Place: strings.Join(addrs, " "), Durability: session.MayForget, Crash: nodes[0].restart, Pause: nodes[1].pause})
}

func (s *server) pause(d time.Duration) {
	s.cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(d)
	s.cmd.Process.Signal(syscall.SIGCONT)
}
