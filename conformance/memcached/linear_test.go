package memcached

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/admit-auth/admit/conformance/linear"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/memcachestore"
	"github.com/admit-auth/admit/session/mongostore"
	"github.com/admit-auth/admit/session/mongostore/mongotest"
)

// Processes of a history open memcached at its addresses, or MongoDB at its URI.
func TestMain(m *testing.M) {
	linear.Serve(map[string]linear.Open{
		"memcached": func(_ context.Context, addrs string) (session.Store, error) {
			return memcachestore.New(strings.Split(addrs, " "), nil)
		},
		"mongo": func(ctx context.Context, uri string) (session.Store, error) {
			c, err := mongo.Connect(options.Client().ApplyURI(uri))
			if err != nil {
				return nil, err
			}
			return mongostore.New(ctx, c.Database("admit").Collection("sessions"), nil)
		},
	})
	m.Run()
}

func TestHistoriesOverMemcachedAreLinearizable(t *testing.T) {
	for name, of := range map[string]struct {
		servers int
		far     bool
		evicts  bool
	}{
		"one server":                   {1, false, false},
		"one that is far away":         {1, true, false}, // much can happen between a read and its write
		"three servers":                {3, false, false},
		"one that evicts all the time": {1, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			var all []*server
			var addrs []string
			for range of.servers {
				s := start(t)
				all, addrs = append(all, s), append(addrs, s.addr)
				if of.far {
					addrs[len(addrs)-1] = s.far()
				}
			}
			if of.evicts {
				defer all[0].evict()()
			}
			linear.Check(t, linear.Store{Name: "memcached", Place: strings.Join(addrs, " "), Durability: session.MayForget, Evicts: of.evicts, Crash: all[0].restart})
		})
	}
}

func TestHistoriesOverTheStandInForMongoDBAreLinearizable(t *testing.T) {
	s := mongotest.Start(t)
	linear.Check(t, linear.Store{Name: "mongo", Place: s.URI(), Durability: session.SurvivesMachine, Crash: func() {
		s.Stop()
		s.Resume()
	}})
}

// A server is a memcached on a socket.
type server struct {
	t    testing.TB
	args []string
	addr string
	cmd  *exec.Cmd
}

func start(t testing.TB) *server {
	t.Helper()
	program, err := exec.LookPath("memcached")
	if err != nil {
		const how = "memcached is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip("SKIPPED: " + how)
	}
	dir, err := os.MkdirTemp("", "memcached") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, addr: filepath.Join(dir, "socket")}
	s.args = []string{program, "-s", s.addr}
	if os.Getuid() == 0 {
		s.args = append(s.args, "-u", "root") // it asks to be told
	}
	s.run()
	t.Cleanup(s.kill)
	return s
}

func (s *server) run() {
	s.t.Helper()
	os.Remove(s.addr)
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		c, err := net.Dial("unix", s.addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("memcached does not start: %v", err)
		}
	}
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// restart is a crash.
func (s *server) restart() {
	s.t.Helper()
	s.kill()
	s.run()
}

// far returns an address from which each trip takes a while.
func (s *server) far() string {
	s.t.Helper()
	addr := s.addr + "-far"
	l, err := net.Listen("unix", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	carry := func(to, from net.Conn, delay time.Duration) {
		defer to.Close()
		defer from.Close()
		buf := make([]byte, 1<<16)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			time.Sleep(rand.N(delay))
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", s.addr)
			if err != nil {
				near.Close()
				continue
			}
			go carry(far, near, 2*time.Millisecond)
			go carry(near, far, 2*time.Millisecond)
		}
	}()
	return addr
}

// evict drops records at random until stop is called: sessions, tombstones and
// epochs. To clients that is an eviction, which memcached itself would make only of
// what was used long ago.
func (s *server) evict() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan int)
	go func() {
		dropped := 0
		defer func() { done <- dropped }()
		for ctx.Err() == nil {
			keys := s.keys()
			if len(keys) > 0 && s.say("delete "+keys[rand.IntN(len(keys))]) == "DELETED" {
				dropped++
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return func() {
		cancel()
		if dropped := <-done; dropped < 10 {
			s.t.Errorf("%d records were dropped: nothing was shown", dropped)
		} else {
			s.t.Logf("%d records dropped", dropped)
		}
	}
}

// keys are those of all records.
func (s *server) keys() (keys []string) {
	c, err := net.Dial("unix", s.addr)
	if err != nil {
		return nil
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(c, "lru_crawler metadump all\r\n")
	for lines := bufio.NewScanner(c); lines.Scan() && strings.TrimSpace(lines.Text()) != "END"; {
		field, _, _ := strings.Cut(lines.Text(), " ")
		if key, err := url.QueryUnescape(strings.TrimPrefix(field, "key=")); err == nil && strings.HasPrefix(key, "admit:") {
			keys = append(keys, key)
		}
	}
	return keys
}

// say sends a command and returns the first line of the answer.
func (s *server) say(command string) string {
	c, err := net.Dial("unix", s.addr)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(c, command+"\r\n")
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line)
}
