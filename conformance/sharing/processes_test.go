package sharing

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/redisstore"
	"github.com/coder/websocket"
	"github.com/gomodule/redigo/redis"
)

// watchEvery is how often the app asks whether the session of a socket lives.
const watchEvery = time.Second

// newApp is an app with pages, a stream of events and a WebSocket.
func newApp(sessions *session.Manager[visit]) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/signin", signIn(sessions))
	mux.HandleFunc("/signout", signOut(sessions))
	mux.HandleFunc("/visit", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Update(w, r, func(v *visit) error { v.Count++; return nil })
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		json.NewEncoder(w).Encode(answer{s.Subject, s.Data.Count, os.Getpid(), ""})
	})
	mux.HandleFunc("/links", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Update(w, r, func(v *visit) error { v.Count++; return nil })
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		links, err := sessions.Links(w, r, &s.Info)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		json.NewEncoder(w).Encode(answer{s.Subject, s.Data.Count, os.Getpid(), links.To("/links")})
	})
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Load(r)
		w.Header().Set("X-Process", fmt.Sprint(os.Getpid()))
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		json.NewEncoder(w).Encode(answer{s.Subject, s.Data.Count, os.Getpid(), ""})
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Load(r)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		ctx, stop := sessions.Watch(r.Context(), s.SID, &session.WatchOptions{Every: watchEvery})
		defer stop()
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Process", fmt.Sprint(os.Getpid()))
		w.Header().Set("X-Accel-Buffering", "no")
		out := http.NewResponseController(w)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			fmt.Fprintf(w, "data: %d\n\n", n)
			out.Flush()
			select {
			case <-tick.C:
			case <-ctx.Done():
				fmt.Fprintf(w, "event: over\ndata: %v\n\n", context.Cause(ctx))
				out.Flush()
				return
			}
		}
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Load(r)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		c, err := websocket.Accept(w, r, nil) // refuses other origins
		if err != nil {
			return
		}
		defer c.CloseNow()
		ctx, stop := sessions.Watch(r.Context(), s.SID, &session.WatchOptions{Every: watchEvery})
		defer stop()
		context.AfterFunc(ctx, func() { c.Close(websocket.StatusPolicyViolation, context.Cause(ctx).Error()) })
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	})
	return sessions.Handler(mux)
}

type answer struct {
	Subject string
	Count   int
	Process int
	Link    string // of a page
}

// app serves newApp at an address, with sessions in Redis, until it is killed.
func app(addr, at string) error {
	pool := &redis.Pool{MaxIdle: 8, DialContext: func(ctx context.Context) (redis.Conn, error) { return redis.DialContext(ctx, "tcp", at) }}
	store, err := redisstore.New(func(ctx context.Context, args ...string) (any, error) {
		conn, err := pool.GetContext(ctx)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return redis.DoContext(conn, ctx, args[0], redisstore.Any(args[1:])...)
	}, nil)
	if err != nil {
		return err
	}
	sessions, err := session.New[visit](store, &session.Options{InsecureAllowHTTP: true, InsecureURLSessions: true})
	if err != nil {
		return err
	}
	return http.ListenAndServe(addr, newApp(sessions))
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// run starts a program, stops it at the end of the test, and waits until
// something listens at the address.
func run(t *testing.T, addr string, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		} else if time.Now().After(end) {
			t.Fatalf("%s does not start: %v", cmd.Path, err)
		}
	}
}

const processes = 3

// newCluster starts processes of the app behind nginx, which takes them in turn,
// and returns its URL.
func newCluster(t *testing.T) string {
	t.Helper()
	server, nginx := program(t, "redis-server"), program(t, "nginx")
	at := freeAddr(t)
	_, port, _ := net.SplitHostPort(at)
	run(t, at, exec.Command(server, "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir(), "--loglevel", "warning"))
	var upstream strings.Builder
	for range processes {
		addr := freeAddr(t)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SHARING_APP="+addr, "SHARING_REDIS="+at)
		run(t, addr, cmd)
		fmt.Fprintf(&upstream, "server %s;", addr)
	}
	front, dir := freeAddr(t), t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events {}
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	upstream app { %s }
	map $http_upgrade $connection_upgrade { default upgrade; '' close; }
	server {
		listen %s;
		location / {
			proxy_pass http://app;
			proxy_http_version 1.1;
			proxy_set_header Host $http_host;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
		}
	}
}`, &upstream, front), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, front, exec.Command(nginx, "-p", dir, "-c", file))
	return "http://" + front
}

// ask returns the status and what the app answers.
func ask(t *testing.T, c *http.Client, at string) (int, answer) {
	t.Helper()
	res, err := c.Get(at)
	if err != nil {
		t.Error(err)
		return 0, answer{}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
		return 0, answer{}
	}
	var a answer
	json.Unmarshal(text, &a) // a page is no JSON
	fmt.Sscan(res.Header.Get("X-Process"), &a.Process)
	return res.StatusCode, a
}

func TestASessionIsTheSameOnEveryProcessBehindAProxy(t *testing.T) {
	site := newCluster(t)
	jar, _ := cookiejar.New(nil) // nil options do not fail
	ann := &http.Client{Jar: jar, Timeout: 10 * time.Second}
	if status, _ := ask(t, ann, site+"/visit"); status != 200 {
		t.Fatalf("a guest's visit: %d", status)
	}
	if status, _ := ask(t, ann, site+"/signin?as=ann"); status != 200 {
		t.Fatalf("sign-in: %d", status)
	}
	seen := map[int]bool{}
	for n := 2; n < 2+3*processes; n++ {
		status, a := ask(t, ann, site+"/visit")
		if status != 200 || a.Subject != "ann" || a.Count != n {
			t.Fatalf("visit %d: %d %+v", n, status, a)
		}
		seen[a.Process] = true
	}
	if len(seen) != processes {
		t.Fatalf("%d processes have answered, want %d", len(seen), processes)
	}
	if status, _ := ask(t, ann, site+"/who"); status != 200 {
		t.Fatalf("before the sign-out: %d", status)
	}
	u, _ := url.Parse(site)
	kept := jar.Cookies(u)
	if status, _ := ask(t, ann, site+"/signout"); status != 200 {
		t.Fatalf("sign-out: %d", status)
	}
	jar.SetCookies(u, kept) // as a thief has them
	clear(seen)
	for range 3 * processes {
		status, a := ask(t, ann, site+"/who")
		if status != 401 {
			t.Errorf("process %d after the sign-out: %d", a.Process, status)
		}
		seen[a.Process] = true
	}
	if len(seen) != processes {
		t.Errorf("%d processes were asked, want %d", len(seen), processes)
	}
}

func TestLinksOfAClientWithoutCookiesLeadToEveryProcess(t *testing.T) {
	site := newCluster(t)
	ann, seen, link := &http.Client{Timeout: 10 * time.Second}, map[int]bool{}, "/links"
	for n := 1; n <= 3*processes; n++ {
		status, a := ask(t, ann, site+link)
		if status != 200 || a.Count != n {
			t.Fatalf("visit %d: %d %+v", n, status, a)
		}
		seen[a.Process], link = true, a.Link
	}
	if len(seen) != processes {
		t.Errorf("%d processes have answered, want %d", len(seen), processes)
	}
	counts := make(chan int)
	for range 6 { // of one value
		go func() {
			_, a := ask(t, ann, site+link)
			counts <- a.Count
		}()
	}
	got := map[int]bool{}
	for range 6 {
		got[<-counts] = true
	}
	if len(got) != 6 {
		t.Errorf("6 visits at once are %v", got)
	}
}

func TestSocketsOfEveryProcessCloseWithTheirSession(t *testing.T) {
	site := newCluster(t)
	jar, _ := cookiejar.New(nil)
	ann := &http.Client{Jar: jar, Timeout: time.Minute}
	if status, _ := ask(t, ann, site+"/signin?as=ann"); status != 200 {
		t.Fatalf("sign-in: %d", status)
	}
	over := make(chan string)
	wait := func(what string, f func() string) {
		go func() { over <- what + f() }()
	}
	seen := map[string]bool{}
	for range processes {
		res, err := ann.Get(site + "/events")
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("events: %v, %v", res, err)
		}
		defer res.Body.Close()
		seen[res.Header.Get("X-Process")] = true
		lines := bufio.NewScanner(res.Body)
		if !lines.Scan() || lines.Text() != "data: 0" {
			t.Fatalf("the stream begins with %q, %v", lines.Text(), lines.Err())
		}
		wait("stream: ", func() string {
			last := ""
			for lines.Scan() {
				if lines.Text() != "" {
					last = lines.Text()
				}
			}
			return last
		})
	}
	if len(seen) != processes {
		t.Errorf("%d processes stream, want %d", len(seen), processes)
	}
	for range processes {
		c, _, err := websocket.Dial(t.Context(), site+"/socket", &websocket.DialOptions{HTTPClient: ann})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, echo, err := c.Read(t.Context()); err != nil || string(echo) != "hello" {
			t.Fatalf("echo: %q, %v", echo, err)
		}
		wait("socket: ", func() string {
			_, _, err := c.Read(t.Context())
			return fmt.Sprint(websocket.CloseStatus(err), err)
		})
	}
	select {
	case what := <-over:
		t.Fatalf("before the sign-out: %s", what)
	case <-time.After(2 * watchEvery):
	}
	began := time.Now()
	if status, _ := ask(t, ann, site+"/signout"); status != 200 {
		t.Fatalf("sign-out: %d", status)
	}
	for range 2 * processes {
		select {
		case what := <-over:
			if !strings.Contains(what, "This session has been ended.") || strings.HasPrefix(what, "socket") && !strings.Contains(what, "StatusPolicyViolation") {
				t.Errorf("it closes with %q", what)
			}
			t.Logf("%v after the sign-out: %s", time.Since(began).Round(time.Millisecond), what)
		case <-time.After(watchEvery + 9*time.Second): // the machine may be busy
			t.Fatal("a socket is open after its session")
		}
	}
}
