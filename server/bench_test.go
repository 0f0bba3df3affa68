//go:build unix

package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server"
)

// The CPU that a whole server process spends on one GET /api/v1/session over
// loopback HTTP with keep-alive, beside a process whose bare handler writes the
// same body. Both are asked in turns in one run, by a third process.
func BenchmarkSessionCheckHTTP(b *testing.B) {
	dir := b.TempDir()
	ours := benchServer(b, "admit", dir)
	cookie := signUpAt(b, ours.url)
	body := ours.load(b, 1, cookie)
	if err := os.WriteFile(filepath.Join(dir, "body"), body, 0o600); err != nil {
		b.Fatal(err)
	}
	bare := benchServer(b, "bare", dir)
	if got := bare.load(b, 1, cookie); !bytes.Equal(got, body) {
		b.Fatalf("the bare handler writes %q, want %q", got, body)
	}
	const batch = 4096
	ours.load(b, batch, cookie)
	bare.load(b, batch, cookie)
	startOurs, startBare, n := ours.cpu(b), bare.cpu(b), 0
	for b.Loop() {
		ours.load(b, batch, cookie)
		bare.load(b, batch, cookie)
		n += batch
	}
	mine := float64(ours.cpu(b)-startOurs) / float64(n)
	floor := float64(bare.cpu(b)-startBare) / float64(n)
	b.ReportMetric(0, "ns/op") // of a batch: says nothing
	b.ReportMetric(mine, "admit-cpu-ns/req")
	b.ReportMetric(floor, "bare-cpu-ns/req")
	b.ReportMetric(mine/floor, "ratio")
}

// Sign-ins a second over loopback HTTP, beside what Argon2id alone allows: as
// many goroutines as there are cores that do nothing else, in turns with them.
func BenchmarkSignInHTTP(b *testing.B) {
	s := benchServer(b, "admit", b.TempDir())
	const people = 8
	for i := range people {
		post(b, s.url+"/api/v1/signup", fmt.Sprintf(`{"identifier":"person-%d","password":%q}`, i, goodPassword), http.StatusCreated)
	}
	signIns, raw := 0, 0
	var took, tookRaw time.Duration
	for b.Loop() {
		begun := time.Now()
		each(people, func(i int) {
			for range 4 {
				post(b, s.url+"/api/v1/signin", fmt.Sprintf(`{"identifier":"person-%d","password":%q}`, i, goodPassword), http.StatusOK)
			}
		})
		took += time.Since(begun)
		signIns += 4 * people
		begun = time.Now()
		each(runtime.GOMAXPROCS(0), func(int) {
			for range 16 {
				password.Argon2id([]byte(goodPassword), make([]byte, 16), 2, 19*1024, 1, 32)
			}
		})
		tookRaw += time.Since(begun)
		raw += 16 * runtime.GOMAXPROCS(0)
	}
	mine, floor := float64(signIns)/took.Seconds(), float64(raw)/tookRaw.Seconds()
	b.ReportMetric(0, "ns/op") // of a batch: says nothing
	b.ReportMetric(mine, "signins/s")
	b.ReportMetric(floor, "argon2id/s")
	b.ReportMetric(mine/floor, "ratio")
}

// Refreshes a second over loopback HTTP, each on disk before it is answered, by 64
// clients with a family of their own, in a third process.
func BenchmarkRefreshHTTP(b *testing.B) {
	s := benchServer(b, "admit", b.TempDir())
	post(b, s.url+"/api/v1/signup", `{"identifier":"ann","password":"`+goodPassword+`"}`, http.StatusCreated)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	ask := func(path, body string) (token string) {
		var got struct {
			Refresh string `json:"refresh_token"`
		}
		res, err := client.Post(s.url+"/api/v1/"+path, "application/json", strings.NewReader(body))
		if err != nil {
			b.Error(err)
			return ""
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.Refresh == "" {
			b.Errorf("%s: %s %v", path, res.Status, err)
		}
		return got.Refresh
	}
	tokens := make([]string, 64)
	for i := range tokens {
		tokens[i] = ask("signin", `{"identifier":"ann","password":"`+goodPassword+`","as":"jwt"}`)
	}
	const batch = 20
	n, cpu, begun := 0, s.cpu(b), time.Now()
	for b.Loop() {
		each(len(tokens), func(i int) {
			for range batch {
				tokens[i] = ask("refresh", `{"refresh_token":"`+tokens[i]+`"}`)
			}
		})
		n += batch * len(tokens)
	}
	b.ReportMetric(0, "ns/op") // of a batch: says nothing
	b.ReportMetric(float64(n)/time.Since(begun).Seconds(), "refreshes/s")
	b.ReportMetric(float64(s.cpu(b)-cpu)/float64(n), "admit-cpu-ns/refresh")
}

// each runs fn n times at once and waits.
func each(n int, fn func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { fn(i) })
	}
	all.Wait()
}

func post(tb testing.TB, url, body string, want int) {
	tb.Helper()
	res, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		tb.Error(err)
		return
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	if res.StatusCode != want {
		tb.Errorf("%s: %s", url, res.Status)
	}
}

// A writer that keeps nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

func TestASessionCheckAllocatesLittle(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Log = slog.New(slog.NewTextHandler(io.Discard, nil)) })
	cookie := sessionCookie(t, s.client().post("signup", m{"identifier": "ann", "password": goodPassword}).want(201))
	template, err := http.NewRequest("GET", "http://localhost/api/v1/session", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	template.AddCookie(cookie)
	w := &discard{http.Header{}}
	got := testing.AllocsPerRun(200, func() {
		r := *template
		s.handler.ServeHTTP(w, &r)
	})
	if got > 12 { // 8, and what the race detector adds
		t.Errorf("%v allocations for GET /api/v1/session", got)
	}
}

// signUpAt returns the Cookie header of a new user's session.
func signUpAt(tb testing.TB, base string) string {
	tb.Helper()
	res, err := http.Post(base+"/api/v1/signup", "application/json", strings.NewReader(`{"identifier":"ann","password":"`+goodPassword+`","name":"Ann Example"}`))
	if err != nil {
		tb.Fatal(err)
	}
	res.Body.Close()
	for _, c := range res.Cookies() {
		if strings.HasPrefix(c.Value, "adm_s_") {
			return c.Name + "=" + c.Value
		}
	}
	tb.Fatalf("sign-up: %s", res.Status)
	return ""
}

// A benched is a server in a process of its own, which tells its CPU time for
// each line on its standard input.
type benched struct {
	url string
	in  io.Writer
	out *bufio.Scanner
}

const benchEnv = "ADMIT_TEST_BENCH_SERVER"

func benchServer(tb testing.TB, kind, dir string) *benched {
	tb.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerOfTheBenchmark$")
	cmd.Env = append(os.Environ(), benchEnv+"="+kind+" "+dir)
	log, err := os.Create(filepath.Join(dir, kind+".log"))
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	s := &benched{in: in, out: bufio.NewScanner(out)}
	if s.url = s.line(tb); !strings.HasPrefix(s.url, "http://") {
		tb.Fatalf("the server says %q", s.url)
	}
	return s
}

func (s *benched) line(tb testing.TB) string {
	tb.Helper()
	if !s.out.Scan() {
		tb.Fatal("the server says nothing")
	}
	return s.out.Text()
}

func (s *benched) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	fmt.Fprintln(s.in)
	d, err := time.ParseDuration(s.line(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// load asks n times over 32 connections and returns the last body. It speaks
// HTTP by hand, so that most of the machine is the server's: each of two
// goroutines asks on all of its connections and then reads the answers.
func (s *benched) load(tb testing.TB, n int, cookie string) (body []byte) {
	tb.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		tb.Fatal(err)
	}
	request := []byte("GET /api/v1/session HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: bench\r\nAccept: application/json\r\nCookie: " + cookie + "\r\n\r\n")
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			got, err := ask(u.Host, request, 16, (n+31)/32)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				tb.Error(err)
			}
			body = got
		})
	}
	all.Wait()
	return body
}

// ask sends the request over a number of connections, n times on each.
func ask(host string, request []byte, conns, n int) (body []byte, err error) {
	type conn struct {
		net.Conn
		in *bufio.Reader
	}
	var open []conn
	for range conns {
		c, err := net.Dial("tcp", host)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		open = append(open, conn{c, bufio.NewReader(c)})
	}
	for range n {
		for _, c := range open {
			if _, err := c.Write(request); err != nil {
				return nil, err
			}
		}
		for _, c := range open {
			if body, err = answerOf(c.in, body); err != nil {
				return nil, err
			}
		}
	}
	return body, nil
}

// answerOf reads one answer of 200 and returns its body, in buf if it has room.
func answerOf(in *bufio.Reader, buf []byte) ([]byte, error) {
	size := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return nil, fmt.Errorf("answered %q", line)
		}
		if len(line) == 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return nil, err
			}
		}
	}
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	_, err := io.ReadFull(in, buf[:size])
	return buf[:size], err
}

func TestServerOfTheBenchmark(t *testing.T) {
	kind, dir, ok := strings.Cut(os.Getenv(benchEnv), " ")
	if !ok {
		t.Skip("it is a part of BenchmarkSessionCheckHTTP")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	switch kind {
	case "admit":
		server.TuneMemory() // as the command does
		s, err := server.New(ctx, server.Config{Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", Data: filepath.Join(dir, "data"), Hashers: hashersOfTest()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		u, err := url.Parse(s.Ready().URL)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("http://127.0.0.1:" + u.Port())
		go func() { done <- s.Run(ctx) }()
	default:
		body, err := os.ReadFile(filepath.Join(dir, "body"))
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(body)
		})}
		fmt.Println("http://" + l.Addr().String())
		go func() {
			<-ctx.Done()
			srv.Close()
		}()
		go func() { done <- srv.Serve(l) }()
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		fmt.Println(time.Duration(u.Utime.Nano() + u.Stime.Nano()))
	}
	cancel()
	<-done
}
