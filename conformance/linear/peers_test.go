package linear

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/boj/redistore"
	"github.com/gorilla/sessions"
	goredis "github.com/redis/go-redis/v9"
)

// peerEnv tells this program that it is a worker of a peer.
const peerEnv = "ADMIT_LINEAR_PEER"

// peers serve the same site as handler, as their documentation says.
var peers = map[string]func(redis string) http.Handler{
	"scs, Redis": func(redis string) http.Handler {
		m := scs.New()
		m.Store = goredisstore.New(goredis.NewClient(&goredis.Options{Addr: redis}))
		return scsSite(m)
	},
	"scs, in memory": func(string) http.Handler {
		m := scs.New()
		m.Store = memstore.New()
		return scsSite(m)
	},
	"gorilla, Redis": func(redis string) http.Handler {
		s, err := redistore.NewRediStore(10, "tcp", redis, "", "", key("auth"))
		if err != nil {
			panic(err)
		}
		return gorillaSite(s)
	},
	"gorilla, in the cookie": func(string) http.Handler { return gorillaSite(sessions.NewCookieStore(key("auth"), key("aes"))) },
}

func key(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// servePeer makes this process a worker of a peer where it was started as one.
func servePeer() {
	if name, redis, ok := strings.Cut(os.Getenv(peerEnv), "|"); ok {
		serve(peers[name](redis))
	}
}

func answerWith(w http.ResponseWriter, name string, n int) {
	json.NewEncoder(w).Encode(data{name, n})
}

func scsSite(m *scs.SessionManager) http.Handler {
	mux := http.NewServeMux()
	known := func(path string, fn http.HandlerFunc) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if !m.Exists(r.Context(), "name") {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fn(w, r)
		})
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		answerWith(w, m.GetString(r.Context(), "name"), m.GetInt(r.Context(), "n"))
	}
	mux.HandleFunc("POST /begin", func(w http.ResponseWriter, r *http.Request) {
		m.Put(r.Context(), "name", r.FormValue("name"))
		m.Put(r.Context(), "n", 0)
		answer(w, r)
	})
	known("/read", answer)
	known("/update", func(w http.ResponseWriter, r *http.Request) {
		n := m.GetInt(r.Context(), "n")
		wait(r)
		m.Put(r.Context(), "n", n+1)
		answer(w, r)
	})
	known("/end", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Destroy(r.Context()); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		answerWith(w, "", 0)
	})
	return m.LoadAndSave(mux)
}

func gorillaSite(store sessions.Store) http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, known bool, fn func(s *sessions.Session, r *http.Request)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			s, err := store.Get(r, "session")
			if known && (err != nil || s.IsNew) {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fn(s, r)
			if path != "/read" {
				if err := s.Save(r, w); err != nil {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
			}
			answerWith(w, s.Values["name"].(string), s.Values["n"].(int))
		})
	}
	handle("/begin", false, func(s *sessions.Session, r *http.Request) { s.Values["name"], s.Values["n"] = r.FormValue("name"), 0 })
	handle("/read", true, func(*sessions.Session, *http.Request) {})
	handle("/update", true, func(s *sessions.Session, r *http.Request) {
		wait(r)
		s.Values["n"] = s.Values["n"].(int) + 1
	})
	handle("/end", true, func(s *sessions.Session, r *http.Request) { s.Options.MaxAge = -1 })
	return mux
}

func wait(r *http.Request) {
	d, _ := time.ParseDuration(r.FormValue("wait"))
	time.Sleep(d)
}

// A contender is a library over a store.
type contender struct {
	name    string
	command func() *exec.Cmd
	workers int
}

func contenders(b *testing.B) []contender {
	redis := startRedis(b)
	peer := func(name string) func() *exec.Cmd {
		return func() *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), peerEnv+"="+name+"|"+redis)
			return cmd
		}
	}
	return []contender{
		{"admit, Redis", Store{Name: "redis", Place: redis}.command, 3},
		{"admit, SQLite", Store{Name: "sqlite", Place: filepath.Join(b.TempDir(), "s")}.command, 3},
		{"admit, in memory", Store{Name: "memory"}.command, 1},
		{"scs, Redis", peer("scs, Redis"), 3},
		{"scs, in memory", peer("scs, in memory"), 1},
		{"gorilla, Redis", peer("gorilla, Redis"), 3},
		{"gorilla, in the cookie", peer("gorilla, in the cookie"), 3},
		{"express-session, Redis", func() *exec.Cmd { return exec.Command("node", "express.mjs", redis) }, 3},
	}
}

// BenchmarkPeers prints what other libraries lose in the same histories. It takes
// two minutes.
func BenchmarkPeers(b *testing.B) {
	seed := seed(b)
	fmt.Printf("\nseed %d\n", seed)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "sessions\tprocesses\tacknowledged updates lost\tended sessions revived\thistories that cannot be\tkills")
	for _, of := range contenders(b) {
		const rounds = 25
		c := start(b, of.workers, of.command)
		c.jar = true
		var t toll
		histories, wrong, crashes := 0, 0, 0
		for round := range rounds {
			random := rand.New(rand.NewPCG(seed, uint64(round)))
			c.begun = time.Now()
			for _, h := range c.round(random, users, func(stop <-chan struct{}) {
				if of.workers > 1 { // of which one may die and the sessions live
					crashes += c.chaos(random, stop, nil, nil)
				}
			}) {
				histories++
				if yes, _ := linearizable(h.ops); !yes || h.mixed > 0 {
					wrong++
				}
				t.add(count(h.ops))
			}
		}
		c.stop()
		fmt.Fprintf(table, "%s\t%d\t%d of %d\t%d of %d\t%d of %d\t%d\n", of.name, of.workers, t.Lost, t.Updates, t.Revived, t.Endings, wrong, histories, crashes)
	}
	table.Flush()
	b.ReportMetric(0, "ns/op")
}

// BenchmarkHotSession prints how many requests a second change one session, each by
// one, from 32 clients, and how many of the changes are lost. Rounds are taken in
// turns.
func BenchmarkHotSession(b *testing.B) {
	all := contenders(b)
	rates := make([][]Heat, len(all))
	for range 3 {
		for i, of := range all {
			c := start(b, 1, of.command)
			rates[i] = append(rates[i], c.heat())
			c.stop()
		}
	}
	fmt.Println()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "sessions, one process\trequests a second\tp99\tacknowledged updates lost")
	for i, of := range all {
		fmt.Fprintf(table, "%s\t%s\n", of.name, median(rates[i]))
	}
	table.Flush()
	b.ReportMetric(0, "ns/op")
}

// startRedis starts one that keeps nothing, and returns its address.
func startRedis(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
