package redisstore

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
)

// serve answers each connection by a function, and returns the URL. What needs a real
// server is tested in the module conformance.
func serve(t *testing.T, each func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				each(c, bufio.NewReader(c))
			}()
		}
	}()
	return "redis://" + l.Addr().String()
}

func pool(t *testing.T, url string, o *PoolOptions) *Pool {
	t.Helper()
	p, err := OpenPool(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestURLsThatLeadToNoRedisAreRefused(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:6379", "http://127.0.0.1", "redis://", "redis:///1", "redis://h/x", "redis://h/70000", "unix://", "redis://h:port", "redis://%"} {
		if _, err := OpenPool(url, nil); admit.KindOf(err) != admit.Invalid {
			t.Errorf("OpenPool(%q): %v, want an error of kind Invalid", url, err)
		}
	}
	if _, err := OpenPool("redis://u:secret@h:x", nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the password: %v", err)
	}
	if _, err := OpenPool("redis://u:secret@h/x", nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the password: %v", err)
	}
}

func TestAConnectionBeginsWithWhatTheURLSays(t *testing.T) {
	for url, want := range map[string][][]string{
		"redis://h":                   nil,
		"redis://h/0":                 {{"SELECT", "0"}},
		"redis://:pw@h/3":             {{"AUTH", "pw"}, {"SELECT", "3"}},
		"rediss://me:p%40w@h":         {{"AUTH", "me", "p@w"}},
		"unix:///run/redis.sock?db=1": {{"SELECT", "1"}},
	} {
		if p := pool(t, url, nil); !reflect.DeepEqual(p.hello, want) {
			t.Errorf("%s begins with %q, want %q", url, p.hello, want)
		}
	}
	if p := pool(t, "rediss://h:1", nil); p.tls == nil || p.tls.ServerName != "h" || p.address != "h:1" {
		t.Errorf("rediss://h:1 leads to %s with %+v", p.address, p.tls)
	}
	if p := pool(t, "redis://[::1]", nil); p.tls != nil || p.address != "[::1]:6379" {
		t.Errorf("redis://[::1] leads to %s with %+v", p.address, p.tls)
	}
	asked := make(chan string, 9)
	url := serve(t, func(c net.Conn, r *bufio.Reader) {
		for {
			command, err := answer(r, 1)
			if err != nil {
				return
			}
			asked <- command.([]any)[0].(string)
			c.Write([]byte("+OK\r\n"))
		}
	})
	p := pool(t, strings.Replace(url, "//", "//:pw@", 1)+"/1", nil)
	for range 2 {
		if _, err := p.Do(t.Context(), "PING"); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"AUTH", "SELECT", "PING", "PING"} {
		if got := <-asked; got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
	}
}

func TestAnswersOfAServer(t *testing.T) {
	long := strings.Repeat("x", 60<<10)
	for text, want := range map[string]any{
		"+OK\r\n":          "OK",
		":7\r\n":           int64(7),
		":-1\r\n":          int64(-1),
		"$0\r\n\r\n":       "",
		"$-1\r\n":          nil,
		"$4\r\na\r\nb\r\n": "a\r\nb",
		"$" + strconv.Itoa(len(long)) + "\r\n" + long + "\r\n": long,
		"*-1\r\n":                 nil,
		"*2\r\n$1\r\na\r\n:1\r\n": []any{"a", int64(1)},
		"*1\r\n*1\r\n$1\r\na\r\n": []any{[]any{"a"}},
		"-ERR no\r\n":             refusal("ERR no"),
	} {
		got, err := answer(bufio.NewReader(strings.NewReader(text)), 2)
		if _, refused := want.(refusal); refused {
			got = err
		} else if err != nil {
			t.Errorf("%.40q: %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%.40q is %#v, want %#v", text, got, want)
		}
	}
	for _, text := range []string{"", "\r\n", "+\n", "x1\r\n", ":x\r\n", "$2\r\nabc\r\n", "$-2\r\n", "$9999999999\r\n", "*9999999\r\n", "*1\r\n*1\r\n*1\r\n:1\r\n", "*1\r\n-ERR\r\n", "$1\r\na", strings.Repeat("+", 5000)} {
		if got, err := answer(bufio.NewReader(strings.NewReader(text)), 2); err == nil {
			t.Errorf("%.40q is %#v, want an error", text, got)
		}
	}
}

// A write that is sent again may be done after another's, and be told as a conflict.
func TestNothingIsSentTwice(t *testing.T) {
	asked := make(chan string, 9)
	url := serve(t, func(c net.Conn, r *bufio.Reader) {
		command, err := answer(r, 1)
		if err == nil {
			asked <- command.([]any)[0].(string)
		}
	})
	p := pool(t, url, nil)
	if _, err := p.Do(t.Context(), "SET", "k", "v"); err == nil {
		t.Error("Do without an answer: no error")
	}
	if _, err := p.Do(t.Context(), "GET", "k"); err == nil {
		t.Error("Do without an answer: no error")
	}
	if first, second := <-asked, <-asked; first != "SET" || second != "GET" || len(asked) > 0 {
		t.Errorf("asked %s, %s and %d more, want SET and GET", first, second, len(asked))
	}
}

// The answer is waited for without a look, and a command need not fit into the
// connection at once.
func TestAnAnswerMayComeAtAnyTimeInPiecesToACommandOfAnySize(t *testing.T) {
	url := serve(t, func(c net.Conn, r *bufio.Reader) {
		for {
			time.Sleep(time.Millisecond)
			command, err := answer(r, 1)
			if err != nil {
				return
			}
			size := 0
			for _, text := range command.([]any) {
				size += len(text.(string))
			}
			for _, b := range []byte("$" + strconv.Itoa(len(strconv.Itoa(size))) + "\r\n" + strconv.Itoa(size) + "\r\n") {
				c.Write([]byte{b})
				time.Sleep(time.Duration(b%3) * 100 * time.Microsecond)
			}
		}
	})
	p := pool(t, url, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	long := strings.Repeat("x", maxText)
	for _, args := range []int{1, 16, 1, 2} { // 16 MiB are more than a connection takes
		if got, err := p.Do(ctx, slices.Repeat([]string{long}, args)...); err != nil || got != strconv.Itoa(maxText*args) {
			t.Errorf("%d arguments: %v, %v", args, got, err)
		}
	}
}

func TestAnAnswerTooManyIsNobodys(t *testing.T) {
	for _, first := range []string{"+OK\r\n", "-ERR no\r\n"} {
		conns := make(chan struct{}, 9)
		url := serve(t, func(c net.Conn, r *bufio.Reader) {
			text := first + "+stale\r\n"
			if conns <- struct{}{}; len(conns) > 1 {
				text = "+fresh\r\n"
			}
			for {
				if _, err := answer(r, 1); err != nil {
					return
				}
				c.Write([]byte(text))
			}
		})
		p := pool(t, url, nil)
		if got, err := p.Do(t.Context(), "GET"); err != errSpeech {
			t.Errorf("a call with two answers: %v, %v", got, err)
		}
		if got, err := p.Do(t.Context(), "GET"); err != nil || got != "fresh" {
			t.Errorf("the next call: %v, %v", got, err)
		}
	}
}

func TestAPoolSpeaksTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	s.Close() // it has a certificate, and that is all we want of it
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	url := serve(t, func(c net.Conn, _ *bufio.Reader) {
		c = tls.Server(c, &tls.Config{Certificates: s.TLS.Certificates})
		for r := bufio.NewReader(c); ; c.Write([]byte("+OK\r\n")) {
			if _, err := answer(r, 1); err != nil {
				return
			}
		}
	})
	p := pool(t, strings.Replace(url, "redis:", "rediss:", 1), &PoolOptions{TLS: &tls.Config{RootCAs: roots}})
	for range 2 {
		if got, err := p.Do(t.Context(), "PING"); err != nil || got != "OK" {
			t.Errorf("PING: %v, %v", got, err)
		}
	}
	p = pool(t, strings.Replace(url, "redis:", "rediss:", 1), nil)
	if _, err := p.Do(t.Context(), "PING"); err == nil {
		t.Error("a server whose certificate nobody knows was asked")
	}
}

// An answer that comes late is nobody's: the connection is not used again.
func TestALateAnswerIsNobodyElses(t *testing.T) {
	hurry := make(chan struct{})
	url := serve(t, func(c net.Conn, r *bufio.Reader) {
		for {
			command, err := answer(r, 1)
			if err != nil {
				return
			}
			name := command.([]any)[0].(string)
			if name == "SLOW" {
				<-hurry
			}
			c.Write([]byte("+" + name + "\r\n"))
		}
	})
	p := pool(t, url, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if got, err := p.Do(ctx, "SLOW"); err == nil {
		t.Errorf("a call beyond its deadline: %v", got)
	}
	close(hurry)
	for range 3 {
		if got, err := p.Do(t.Context(), "QUICK"); err != nil || got != "QUICK" {
			t.Errorf("the next call: %v, %v", got, err)
		}
	}
}

// What cannot be read plainly is asked of the script, and a server that is busy is asked
// for its run again.
func TestAServerThatDoesNotTellItsRunIsAskedByTheScript(t *testing.T) {
	for info, want := range map[string]string{
		"-BUSY a script runs\r\n":                         "INFO EVALSHA INFO EVALSHA",
		"-NOPERM not for you\r\n":                         "INFO EVALSHA EVALSHA",
		"$8\r\n# Server\r\n":                              "INFO EVALSHA EVALSHA",
		"$24\r\n# Server\r\nrun_id:0123456\r\n":           "INFO EVALSHA EVALSHA",
		"$34\r\n# Server\r\nrun_id:0123456789abcdef0\r\n": "INFO MGET EVALSHA MGET EVALSHA",
	} {
		asked := make(chan string, 9)
		url := serve(t, func(c net.Conn, r *bufio.Reader) {
			for {
				command, err := answer(r, 1)
				if err != nil {
					return
				}
				name := command.([]any)[0].(string)
				asked <- name
				switch name {
				case "INFO":
					c.Write([]byte(info))
				case "MGET": // of another run
					c.Write([]byte("*2\r\n$-1\r\n$16\r\nfedcba9876543210\r\n"))
				default:
					c.Write([]byte("$0\r\n\r\n"))
				}
			}
		})
		s, err := pool(t, url, nil).Store(&Options{Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := s.Get(t.Context(), "k"); admit.KindOf(err) != admit.NotFound {
				t.Errorf("%q: Get: %v", info, err)
			}
		}
		var got []string
		for len(asked) > 0 {
			got = append(got, <-asked)
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%q: asked %s, want %s", info, got, want)
		}
	}
}

func TestARefusalKeepsTheConnection(t *testing.T) {
	conns := make(chan struct{}, 9)
	url := serve(t, func(c net.Conn, r *bufio.Reader) {
		conns <- struct{}{}
		for {
			if _, err := answer(r, 1); err != nil {
				return
			}
			c.Write([]byte("-OOM command not allowed\r\n"))
		}
	})
	p := pool(t, url, nil)
	for range 3 {
		if _, err := p.Do(t.Context(), "SET"); err == nil || !strings.Contains(err.Error(), "OOM ") {
			t.Errorf("Do: %v, want what the server said", err)
		}
	}
	if len(conns) != 1 {
		t.Errorf("%d connections, want 1", len(conns))
	}
}

// A server that restarted has closed what stands idle: nobody is told that it is away.
func TestAConnectionThatWasClosedMeanwhileIsNotUsed(t *testing.T) {
	shut := make(chan chan struct{}, 9)
	url := serve(t, func(c net.Conn, r *bufio.Reader) {
		now := make(chan struct{})
		shut <- now
		if _, err := answer(r, 1); err != nil {
			return
		}
		c.Write([]byte("+OK\r\n"))
		<-now
	})
	p := pool(t, url, nil)
	if _, err := p.Do(t.Context(), "PING"); err != nil {
		t.Fatal(err)
	}
	close(<-shut)
	c := p.idle[0]
	c.used = c.used.Add(-idleTrust)
	for begun := time.Now(); !broken(c.Conn); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Skip("this system does not tell")
		}
	}
	if _, err := p.Do(t.Context(), "PING"); err != nil {
		t.Errorf("Do after the server closed the connection: %v", err)
	}
	close(<-shut)
}

func TestNoMoreConnectionsThanMaxConns(t *testing.T) {
	hold := make(chan struct{})
	url := serve(t, func(c net.Conn, r *bufio.Reader) {
		for {
			if _, err := answer(r, 1); err != nil {
				return
			}
			<-hold
			c.Write([]byte("+OK\r\n"))
		}
	})
	p := pool(t, url, &PoolOptions{MaxConns: 1})
	first := make(chan error)
	go func() {
		_, err := p.Do(t.Context(), "PING")
		first <- err
	}()
	for len(p.room) == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.Do(ctx, "PING"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Do while the only connection is in use: %v, want its deadline", err)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := p.Do(t.Context(), "PING"); err != nil {
		t.Errorf("Do after that: %v", err)
	}
	p.Close()
	if _, err := p.Do(t.Context(), "PING"); err == nil {
		t.Error("Do of a closed pool: no error")
	}
}

func TestAContextIsTimedForThoseWhoWaitForIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := within(ctx, time.Now(), time.Hour)
	if at, ok := b.Deadline(); !ok || time.Until(at) > time.Hour || b.Err() != nil {
		t.Errorf("deadline %v, %v, %v", at, ok, b.Err())
	}
	cancel()
	<-b.Done()
	if b.Err() != context.Canceled {
		t.Errorf("after the caller left: %v", b.Err())
	}
	b = within(t.Context(), time.Now(), time.Nanosecond)
	<-b.Done()
	if b.Err() != context.DeadlineExceeded {
		t.Errorf("after the deadline: %v", b.Err())
	}
	b = within(t.Context(), time.Now(), time.Hour)
	b.end()
	<-b.Done()
	early, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	want, _ := early.Deadline()
	b = within(early, time.Now(), time.Hour)
	if at, _ := b.Deadline(); !at.Equal(want) {
		t.Errorf("deadline %v, want the caller's %v", at, want)
	}
}

func FuzzRESP(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "-ERR\r\n", ":1\r\n", "$1\r\na\r\n", "$-1\r\n", "*2\r\n$1\r\na\r\n*0\r\n", "*1\r\n:x\r\n",
		"*2\r\n$1\r\na\r\n$-1\r\n", "*2\r\n-ERR\r\n$1\r\na\r\n", "*-1\r\n", "*2\r\n$-2\r\n", "*2\r\n:1\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := answer(bufio.NewReader(strings.NewReader(text)), 2)
		if s, ok := got.(string); ok && err == nil && !strings.Contains(text, s) {
			t.Errorf("answer(%q) = %q", text, s)
		}
		// A list of two texts is read the same by both.
		texts, listErr := list(bufio.NewReader(strings.NewReader(text)), 2)
		all, _ := got.([]any)
		if isRefusal(listErr) != isRefusal(err) {
			t.Errorf("list(%q): %v, answer: %v", text, listErr, err)
		}
		if listErr != nil {
			return
		}
		for i := range 2 {
			var want string
			if len(all) == 2 && all[i] != nil {
				want, _ = all[i].(string)
			}
			if err != nil || len(all) != 2 || texts[i] != want {
				t.Errorf("list(%q) = %q, answer %q, %v", text, texts, got, err)
			}
		}
	})
}
