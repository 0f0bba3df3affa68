package copies

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/admit-auth/admit/session"
)

// A server is a Redis of its own.
type server struct {
	t    testing.TB
	args []string
	port string
	cmd  *exec.Cmd
}

func startRedis(t testing.TB, flags ...string) *server {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		const how = "redis-server is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip("SKIPPED: " + how)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	s := &server{t: t, port: port}
	s.args = append([]string{program, "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "", "--enable-debug-command", "yes"}, flags...)
	t.Cleanup(s.kill)
	s.run()
	return s
}

func (s *server) url() string { return "redis://127.0.0.1:" + s.port }

func (s *server) run() {
	s.t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if answer, err := s.ask("PING"); err == nil && answer == "PONG" {
			return
		} else if time.Now().After(end) {
			s.t.Fatalf("redis-server does not answer: %v, %v", answer, err)
		}
	}
}

func (s *server) kill() {
	s.cmd.Process.Signal(syscall.SIGCONT)
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *server) pause()  { s.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *server) resume() { s.cmd.Process.Signal(syscall.SIGCONT) }

func (s *server) ask(args ...any) (any, error) {
	c, err := redis.Dial("tcp", "127.0.0.1:"+s.port, redis.DialReadTimeout(5*time.Second))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(args[0].(string), args[1:]...)
}

func (s *server) must(args ...any) any {
	s.t.Helper()
	answer, err := s.ask(args...)
	if err != nil {
		s.t.Fatalf("%q: %v", args, err)
	}
	return answer
}

// keys returns what stands in Redis under names that contain a text.
func (s *server) keys(part string) (names []string) {
	s.t.Helper()
	all, err := redis.Strings(s.ask("KEYS", "*"+part+"*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// A wire leads to a Redis, and can be cut, or made slow.
type wire struct {
	l     net.Listener
	to    string
	cut   atomic.Bool
	delay atomic.Int64
	mu    sync.Mutex
	open  map[net.Conn]bool
}

func newWire(t testing.TB, s *server) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, to: "127.0.0.1:" + s.port, open: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); w.set(true) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(c)
		}
	}()
	return w
}

func (w *wire) url() string { return "redis://" + w.l.Addr().String() }

func (w *wire) set(cut bool) {
	w.cut.Store(cut)
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		c.Close()
	}
	clear(w.open)
}

func (w *wire) carry(c net.Conn) {
	defer c.Close()
	if w.cut.Load() {
		return
	}
	r, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer r.Close()
	w.mu.Lock()
	w.open[c], w.open[r] = true, true
	w.mu.Unlock()
	go func() {
		io.Copy(r, c)
		r.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			time.Sleep(time.Duration(w.delay.Load()))
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// logged is a log that tests read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) count(code string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), code)
}

// A replica is a process that shares a database and a Redis with others.
type replica struct {
	*Copies
	near *session.Near
	log  *logged
}

func testKeys() [][]byte { return [][]byte{bytes.Repeat([]byte("k"), 32)} }

// newReplica returns one that runs, and uses Redis.
func newReplica(t testing.TB, url string, database session.Store, change ...func(*Options)) *replica {
	t.Helper()
	r := beginReplica(t, url, database, change...)
	r.waitUp(t)
	return r
}

func beginReplica(t testing.TB, url string, database session.Store, change ...func(*Options)) *replica {
	t.Helper()
	log := &logged{}
	o := Options{URL: url, Database: database, Keys: testKeys, Log: slog.New(slog.NewTextHandler(log, nil))}
	for _, fn := range change {
		fn(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{Copies: c, near: session.NewSharedNear(c.Store(), 0), log: log}
	r.Drive(r.near, nil, nil)
	r.Past("one")
	ctx := t.Context()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	t.Cleanup(func() { <-done }) // after the test's context has ended
	return r
}

func (r *replica) waitUp(t testing.TB) {
	t.Helper()
	eventually(t, "Redis is used", func() bool { return !r.Stats().Bypassed && r.heard[0].Load() > 0 })
}

// holdIsOver has so many unsure writes be as old as any can still take effect.
func (r *replica) holdIsOver(t testing.TB, want int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.later); n != want {
		t.Errorf("%d unsure writes are remembered, want %d", n, want)
	}
	for key := range r.later {
		r.later[key] = time.Now()
	}
}

// notices waits until the replica knows that Redis is away, which it learns by asking.
func (r *replica) notices(t testing.TB) {
	t.Helper()
	eventually(t, "it is away", func() bool {
		r.Store().Get(t.Context(), "nothing")
		return r.Stats().Down()
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 10 s not: %s", what)
		}
	}
}

func in(d time.Duration) time.Time { return time.UnixMilli(time.Now().Add(d).UnixMilli()) }

func alive(value string) session.Item { return session.Item{Value: value, Expires: in(time.Hour)} }

func mustAdd(t testing.TB, s session.Store, key, value string) uint64 {
	t.Helper()
	v, err := s.Add(t.Context(), key, alive(value))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustSwap(t testing.TB, s session.Store, key string, old uint64, value string) uint64 {
	t.Helper()
	v, err := s.Swap(t.Context(), key, old, alive(value))
	if err != nil {
		t.Fatalf("Swap(%s, %s): %v", key, value, err)
	}
	return v
}

func wants(t testing.TB, s session.Store, key, value string) {
	t.Helper()
	if it, err := s.Get(t.Context(), key); err != nil || it.Value != value {
		t.Errorf("Get(%s) = %q, %v, want %q", key, it.Value, err, value)
	}
}

// counted counts the reads of a database.
type counted struct {
	session.Store
	reads atomic.Int64
}

func (c *counted) Get(ctx context.Context, key string) (session.Item, error) {
	if key != generationKey {
		c.reads.Add(1)
	}
	return c.Store.Get(ctx, key)
}

func newDatabase() *counted { return &counted{Store: session.NewMemory(nil)} }
