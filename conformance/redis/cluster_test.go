package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/redisstore"
	"github.com/admit-auth/admit/session/sessiontest"
)

// startCluster starts three masters that share the slots.
func startCluster(t testing.TB) []*server {
	t.Helper()
	var nodes []*server
	for i := range 3 {
		port := freePort(t)
		s := start(t, programs(t)[0], append(forgets, "--port", port, "--bind", "127.0.0.1", "--cluster-enabled", "yes",
			"--cluster-port", freePort(t), "--cluster-require-full-coverage", "no")...)
		s.addr = "127.0.0.1:" + port
		const slots = 16384
		s.must("CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(i*slots/3), fmt.Sprint((i+1)*slots/3-1))
		s.must("CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
		if i > 0 {
			bus := string(nodes[0].must("CONFIG", "GET", "cluster-port").([]any)[1].([]byte))
			s.must("CLUSTER", "MEET", "127.0.0.1", strings.TrimPrefix(nodes[0].addr, "127.0.0.1:"), bus)
		}
		nodes = append(nodes, s)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		know := 0
		for _, s := range nodes {
			info := string(s.must("CLUSTER", "INFO").([]byte))
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_assigned:16384") {
				know++
			}
		}
		if know == len(nodes) {
			return nodes
		}
		if time.Now().After(end) {
			t.Fatal("the cluster does not form")
		}
	}
}

var clusterClients = []struct {
	name string
	dial func(testing.TB, []*server) redisstore.Client
}{
	{"rueidis", func(t testing.TB, nodes []*server) redisstore.Client {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{nodes[0].addr}, DisableCache: true, AlwaysPipelining: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return viaRueidis(c)
	}},
	{"go-redis", func(t testing.TB, nodes []*server) redisstore.Client {
		c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{nodes[0].addr}, ContextTimeoutEnabled: true})
		t.Cleanup(func() { c.Close() })
		return viaGoRedis(c)
	}},
}

func TestAClusterKeepsThePromises(t *testing.T) {
	nodes := startCluster(t)
	for _, c := range clusterClients {
		t.Run(c.name, func(t *testing.T) {
			client := c.dial(t, nodes)
			n := 0
			sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
				open := func() session.Store {
					s, err := redisstore.NewCluster(client, &redisstore.Options{Prefix: fmt.Sprint(c.name, n, ":")})
					if err != nil {
						t.Fatal(err)
					}
					return s
				}
				n++
				return sessiontest.Backend{Store: open(), Restart: func() session.Store {
					for _, s := range nodes { // all that a cluster without a disk comes back with
						s.must("FLUSHALL")
						s.must("SCRIPT", "FLUSH")
					}
					return open()
				}}
			})
		})
	}
}

func TestAStoreStandsOnOneServerOfAClusterWhereThePrefixHasBraces(t *testing.T) {
	client := clusterClients[0].dial(t, startCluster(t))
	store := open(t, client, &redisstore.Options{Prefix: "{admit}:"})
	m := manager(t, store)
	r, _ := signIn(t, m, "alice")
	if _, err := m.Load(r); err != nil {
		t.Fatal(err)
	}
	if l, err := m.List(t.Context(), "alice"); len(l) != 1 || err != nil {
		t.Errorf("List: %v, %v", l, err)
	}
	if err := m.EndAll(t.Context(), "alice", "", "sign_out_everywhere"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Load(r); !errors.Is(err, session.ErrEnded) {
		t.Errorf("Load after EndAll: %v, want ErrEnded", err)
	}
}
