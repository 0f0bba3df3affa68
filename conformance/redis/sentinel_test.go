package redis

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session/redisstore"
)

// startWatched starts a server, a replica of it, and a Sentinel that has the
// replica take over soon after the server has gone.
func startWatched(t *testing.T) (first, second *server, sentinel string) {
	t.Helper()
	program := programs(t)[0]
	port := func() (string, []string) {
		p := freePort(t)
		return p, []string{"--port", p, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"}
	}
	firstPort, flags := port()
	first = start(t, program, append(flags, forgets...)...)
	secondPort, flags := port()
	second = start(t, program, append(append(flags, forgets...), "--replicaof", "127.0.0.1 "+firstPort)...)
	first.addr, second.addr = "127.0.0.1:"+firstPort, "127.0.0.1:"+secondPort
	until(t, "the replica follows", func() bool {
		role, err := second.ask("ROLE")
		l, ok := role.([]any)
		return err == nil && ok && len(l) > 3 && fmt.Sprintf("%s", l[3]) == "connected"
	})

	// It writes what it learns into its file.
	dir := t.TempDir()
	file := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor sessions 127.0.0.1 %s 1\nsentinel down-after-milliseconds sessions 300\nsentinel failover-timeout sessions 3000\n", firstPort)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := freePort(t)
	watch := &server{t: t, addr: "127.0.0.1:" + p, args: []string{program, file, "--sentinel", "--port", p, "--bind", "127.0.0.1", "--dir", dir}}
	t.Cleanup(watch.kill)
	watch.run()
	until(t, "the Sentinel knows the replica", func() bool {
		l, err := watch.ask("SENTINEL", "REPLICAS", "sessions")
		all, ok := l.([]any)
		return err == nil && ok && len(all) == 1
	})
	return first, second, watch.addr
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within half a minute: %s", what)
		}
	}
}

var watchedClients = []struct {
	name string
	dial func(t *testing.T, sentinel string) redisstore.Client
}{
	{"rueidis", func(t *testing.T, sentinel string) redisstore.Client {
		c, err := rueidis.NewClient(rueidis.ClientOption{
			InitAddress: []string{sentinel}, Sentinel: rueidis.SentinelOption{MasterSet: "sessions"}, DisableCache: true, AlwaysPipelining: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return viaRueidis(c)
	}},
	{"go-redis", func(t *testing.T, sentinel string) redisstore.Client {
		c := goredis.NewFailoverClient(&goredis.FailoverOptions{MasterName: "sessions", SentinelAddrs: []string{sentinel}, ContextTimeoutEnabled: true, MaxRetries: -1})
		t.Cleanup(func() { c.Close() })
		return viaGoRedis(c)
	}},
}

// The replica may lack the last endings, so nothing that it has is believed: what
// was signed out stays so, and what was signed in signs in again.
func TestWhereASentinelsReplicaTakesOverSessionsEndAndNoneComesBack(t *testing.T) {
	for _, c := range watchedClients {
		t.Run(c.name, func(t *testing.T) {
			first, second, sentinel := startWatched(t)
			m := manager(t, open(t, c.dial(t, sentinel), nil))
			ended, sid := signIn(t, m, "alice")
			stays, _ := signIn(t, m, "alice")
			if _, err := m.Load(stays); err != nil {
				t.Fatal(err)
			}
			until(t, "the replica has the sessions", func() bool { n, err := second.ask("DBSIZE"); return err == nil && n.(int64) > 2 })
			// The replica hears no more while the first server acknowledges an ending.
			second.must("REPLICAOF", "127.0.0.1", "1")
			if err := m.EndAny(t.Context(), sid, "signed_out"); err != nil {
				t.Fatal(err)
			}
			first.kill()

			answers := map[string]int{}
			load := func(r *http.Request) error {
				began := time.Now()
				_, err := m.Load(r)
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("a call hung for %v", took)
				}
				return err
			}
			until(t, "the replica serves", func() bool {
				err := load(stays)
				answers[fmt.Sprint(admit.KindOf(err))]++
				return !errors.Is(err, admit.Unavailable)
			})
			for name, r := range map[string]*http.Request{"the one that was signed out": ended, "the other": stays} {
				if err := load(r); !errors.Is(err, admit.Unauthenticated) {
					t.Errorf("%s, after the failover: %v, want that there is no such session", name, err)
				}
			}
			again, _ := signIn(t, m, "alice")
			if err := load(again); err != nil {
				t.Errorf("a sign-in after the failover: %v", err)
			}
			t.Logf("while the replica took over: %v", answers)
		})
	}
}
