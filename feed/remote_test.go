package feed_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/feed/feedtest"
)

func everybody(*http.Request) ([]string, error) { return []string{"a"}, nil }

// served returns a feed as it is elsewhere.
func served(t testing.TB, h http.Handler) *feed.Remote {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return remote(t, server.URL)
}

func remote(t testing.TB, url string) *feed.Remote {
	t.Helper()
	r, err := feed.NewRemote(url+"/feed", admit.NewSecret("key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAFeedAcrossTheNetworkKeepsItsPromises(t *testing.T) {
	feedtest.Run(t, func(t testing.TB) (feed.Sink, feed.Source) {
		log := feed.NewLog(nil)
		return log, served(t, feed.TellWhole(feed.Handler(log, everybody, nil)))
	})
}

var errEnough = errors.New("enough")

// first returns the first news that a source tells.
func first(t *testing.T, s feed.Source, after feed.ID) (n feed.News) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Follow(ctx, after, func(told feed.News) error { n = told; return errEnough }); err != errEnough {
		t.Fatal(err)
	}
	return n
}

func TestAFollowerElsewhereHearsDigestsOfItsOwnAudiencesOnly(t *testing.T) {
	log := feed.NewLog(nil)
	until := time.Now().Add(time.Hour)
	mine, other, all := feed.SessionEnded("s1", "alice", "signed_out", until), feed.SessionEnded("s2", "bob", "signed_out", until), feed.KeyEnded("k", "leaked", until)
	mine.Audiences, other.Audiences = []string{"a", "b"}, []string{"c"}
	if err := log.Append(t.Context(), time.Now(), mine, other, all); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(feed.SnapshotHandler(log, everybody, nil))
	defer server.Close()
	answer, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"s1", "s2", "alice", "bob", `"a"`, `"b"`, `"c"`} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the snapshot tells %s: %s", secret, text)
		}
	}
	snapshot, err := feed.ParseNews(text)
	if err != nil {
		t.Fatal(err)
	}
	for how, n := range map[string]feed.News{"the snapshot": snapshot, "the feed": first(t, served(t, feed.Handler(log, everybody, nil)), feed.ID{})} {
		want := []feed.Digest{feed.DigestOf(feed.Session, "s1"), feed.DigestOf(feed.Key, "k")}
		var got []feed.Digest
		for _, e := range n.Events {
			if e.Target+e.Subject != "" || e.Audiences != nil {
				t.Errorf("%s tells %+v", how, e)
			}
			got = append(got, e.Digest)
		}
		if !slices.Equal(got, want) || n.Head.Seq != 3 || !n.Reset {
			t.Errorf("%s: %+v", how, n)
		}
	}
}

// What concerns others tells a follower no more than a heartbeat does, and costs
// no more.
func TestNewsOfOthersIsNoMessage(t *testing.T) {
	source := told(func(hear func(feed.News) error) error {
		log := feed.NewLog(nil)
		if err := hear(log.Snapshot(time.Now())); err != nil {
			return err
		}
		for i := range 500 {
			e := feed.SessionEnded(fmt.Sprint(i), "", "", time.Now().Add(time.Hour))
			e.Audiences = []string{"other"}
			if err := log.Append(t.Context(), time.Now(), e); err != nil {
				return err
			}
			n := log.Snapshot(time.Now())
			n.Reset, n.Events = false, n.Events[i:]
			if err := hear(n); err != nil {
				return err
			}
		}
		time.Sleep(feed.Heartbeat) // and the heartbeat after them
		return hear(feed.News{Head: log.Snapshot(time.Now()).Head, At: time.Now()})
	})
	synctest.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		feed.Handler(source, everybody, nil).ServeHTTP(w, httptest.NewRequest("GET", "/feed", nil))
		messages := strings.Split(strings.TrimSpace(w.Body.String()), "\n\n")
		if len(messages) != 2 || !strings.HasSuffix(strings.Split(messages[1], "\n")[0], "-500") {
			t.Errorf("%d messages, the last %q", len(messages), messages[len(messages)-1])
		}
	})
}

// told is a source that tells what it is told to.
type told func(hear func(feed.News) error) error

func (tell told) Follow(_ context.Context, _ feed.ID, hear func(feed.News) error) error {
	return tell(hear)
}

// A gate lets in whom it is told to.
type gate struct {
	mu        sync.Mutex
	audiences []string
	err       error
}

func (g *gate) set(err error, audiences ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err, g.audiences = err, audiences
}

func (g *gate) ask(r *http.Request) ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer key" {
		return nil, admit.Unauthenticated.New("unknown_credential", "No.")
	}
	return g.audiences, g.err
}

func TestAStreamEndsWithItsCredential(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		ends bool
	}{
		"it is unknown now":        {admit.Unauthenticated.New("key_ended", "No."), true},
		"it may not any more":      {admit.Forbidden.New("scope_needed", "No."), true},
		"the database cannot tell": {admit.Unavailable.New("away", "No."), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &gate{audiences: []string{"a"}}
			r := served(t, feed.Handler(feed.NewLog(nil), g.ask, nil))
			heard := 0
			begun := time.Now()
			err := r.Follow(t.Context(), feed.ID{}, func(feed.News) error {
				if g.set(test.err, "a"); heard == 3 {
					return errEnough
				}
				heard++
				return nil
			})
			if test.ends != (err != errEnough) || test.ends && !errors.Is(err, feed.ErrAway) {
				t.Errorf("%v after %d news", err, heard)
			}
			if took := time.Since(begun); test.ends && took > 4*time.Second {
				t.Errorf("it took %v", took)
			}
			again := r.Follow(t.Context(), feed.ID{}, func(feed.News) error { return errEnough })
			if test.ends != errors.Is(again, feed.ErrRefused) || !errors.Is(again, admit.Unavailable) {
				t.Errorf("then: %v", again)
			}
		})
	}
}

func TestAFollowerWhoseAudiencesChangeBeginsAnew(t *testing.T) {
	log := feed.NewLog(nil)
	e := feed.SessionEnded("s", "", "", time.Now().Add(time.Hour))
	e.Audiences = []string{"b"}
	if err := log.Append(t.Context(), time.Now(), e); err != nil {
		t.Fatal(err)
	}
	g := &gate{audiences: []string{"a"}}
	resets := 0
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := served(t, feed.Handler(log, g.ask, nil)).Follow(ctx, feed.ID{}, func(n feed.News) error {
		g.set(nil, "a", "b")
		if n.Reset {
			resets++
		}
		if len(n.Events) > 0 {
			return errEnough
		}
		return nil
	})
	if err != errEnough || resets != 2 {
		t.Errorf("%v after %d resets", err, resets)
	}
}

func TestAFollowerThatIsRefusedIsTold(t *testing.T) {
	log := feed.NewLog(nil)
	for _, test := range []struct {
		err    error
		status int
		body   string
	}{
		{admit.Unauthenticated.New("no_session", "No."), 401, "no_session\n"},
		{fmt.Errorf("load key: %w", admit.Forbidden.New("scope_needed", "No.")), 403, "scope_needed\n"},
		{errors.New("select key: secret detail"), 503, "unavailable\n"},
	} {
		authorize := func(*http.Request) ([]string, error) { return nil, test.err }
		for _, h := range []http.Handler{feed.Handler(log, authorize, nil), feed.SnapshotHandler(log, authorize, nil)} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/feed", nil))
			if w.Code != test.status || w.Body.String() != test.body || (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("%v: %d %s", test.err, w.Code, w.Body)
			}
		}
		o := &feed.HandlerOptions{Refuse: func(w http.ResponseWriter, _ *http.Request, err error) { http.Error(w, err.Error(), http.StatusTeapot) }}
		w := httptest.NewRecorder()
		feed.Handler(log, authorize, o).ServeHTTP(w, httptest.NewRequest("GET", "/feed", nil))
		if w.Code != http.StatusTeapot {
			t.Errorf("%v: its own answer is %d", test.err, w.Code)
		}
	}
	away := feed.Handler(told(func(func(feed.News) error) error { return admit.Unavailable.New("away", "Gone.") }), everybody, nil)
	w := httptest.NewRecorder()
	away.ServeHTTP(w, httptest.NewRequest("GET", "/feed", nil))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("a source that is away: %d", w.Code)
	}
}

// A server's own time-outs are for requests that have an end.
func TestAStreamOutlivesTheTimeoutsOfItsServer(t *testing.T) {
	log := feed.NewLog(nil)
	server := httptest.NewUnstartedServer(feed.Handler(log, everybody, nil))
	server.Config.ReadTimeout, server.Config.WriteTimeout = time.Second, time.Second
	server.Start()
	defer server.Close()
	defer server.CloseClientConnections()
	heard := 0
	err := remote(t, server.URL).Follow(t.Context(), feed.ID{}, func(feed.News) error {
		if heard++; heard == 4 {
			return errEnough
		}
		return nil
	})
	if err != errEnough {
		t.Errorf("%v after %d news", err, heard)
	}
}

// There a write deadline is a timer, which ends a stream that nobody writes to.
func TestAFeedIsServedOverHTTP2(t *testing.T) {
	log := feed.NewLog(nil)
	var proto atomic.Int32
	h := feed.Handler(log, everybody, nil)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto.Store(int32(r.ProtoMajor))
		h.ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	r, err := feed.NewRemote(server.URL, admit.NewSecret("key"), &feed.RemoteOptions{HTTP: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	heard := 0
	err = r.Follow(t.Context(), feed.ID{}, func(n feed.News) error {
		if heard++; heard == 3 {
			return log.Append(t.Context(), time.Now(), feed.SessionEnded("s", "", "signed_out", time.Now().Add(time.Hour)))
		}
		if len(n.Events) > 0 {
			return errEnough
		}
		return nil
	})
	if err != errEnough || proto.Load() != 2 {
		t.Errorf("%v after %d news over HTTP/%d", err, heard, proto.Load())
	}
}

// pipes is a network without machines, so that time can travel. Whoever dials
// is served by serve.
func pipes(serve func(net.Conn)) *feed.RemoteOptions {
	return &feed.RemoteOptions{InsecureAllowHTTP: true, HTTP: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go serve(server)
			return client, nil
		},
	}}}
}

// A network that is cut tells nobody: the silence does.
func TestAFeedThatFallsSilentIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := json.Marshal(feed.NewLog(nil).Snapshot(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"before its answer": "",
			"after one message": "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: " + string(n) + "\n\n",
		} {
			r, err := feed.NewRemote("http://feed.example.org/", admit.NewSecret("key"), pipes(func(c net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					t.Error(err)
				}
				io.WriteString(c, text)
				io.Copy(io.Discard, c)
			}))
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			err = r.Follow(t.Context(), feed.ID{}, func(feed.News) error { return nil })
			if !errors.Is(err, feed.ErrAway) || time.Since(begun) != feed.Silence {
				t.Errorf("%s: %v after %v", name, err, time.Since(begun))
			}
		}
	})
}

// A follower that does not read holds a connection and a goroutine: not for
// long.
func TestAttackAFollowerThatDoesNotReadIsCutOff(t *testing.T) {
	log := feed.NewLog(nil)
	ended := make(chan struct{})
	h := feed.Handler(log, everybody, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		h.ServeHTTP(hurried{w, http.NewResponseController(w)}, r)
	}))
	defer server.Close()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /feed HTTP/1.1\r\nHost: x\r\n\r\n")
	until := time.Now().Add(time.Hour)
	for i := range 200 {
		events := make([]feed.Event, 500)
		for j := range events {
			events[j] = feed.SessionEnded(fmt.Sprint(i, "-", j), "", strings.Repeat("x", 500), until)
		}
		if err := log.Append(t.Context(), time.Now(), events...); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it is still served")
	}
}

// hurried shortens the write deadlines of a stream.
type hurried struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (h hurried) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h hurried) SetWriteDeadline(t time.Time) error {
	return h.control.SetWriteDeadline(t.Add(-9 * time.Second))
}

func TestWhatIsNoFeedIsRefused(t *testing.T) {
	log := feed.NewLog(nil)
	if err := log.Append(t.Context(), time.Now(), feed.SessionEnded("s", "", "", time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	snapshot := log.Snapshot(time.Now())
	good, err := json.Marshal(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	snapshot.Reset = false
	noReset, _ := json.Marshal(snapshot)
	stream := "text/event-stream"
	for name, test := range map[string]struct {
		status     int
		kind, body string
		want       error
		heard      int
	}{
		"a stream":                         {200, stream, "data: " + string(good) + "\n\n", feed.ErrAway, 1},
		"with CRLF, comments and a type":   {200, stream + "; charset=utf-8", ": hi\r\n\r\nevent: message\r\nid: x\r\ndata:" + string(good) + "\r\n\r\n", feed.ErrAway, 1},
		"data in several lines":            {200, stream, "data: " + strings.Replace(string(good), ",", ",\ndata:", 1) + "\n\n", feed.ErrAway, 1},
		"a message cut off":                {200, stream, "data: " + string(good) + "\n", feed.ErrAway, 0},
		"a message of another type":        {200, stream, "event: other\ndata: " + string(good) + "\n\n", feed.ErrAway, 0},
		"no JSON":                          {200, stream, "data: hello\n\n", feed.ErrMalformed, 0},
		"a kind of ending from the future": {200, stream, "data: " + strings.Replace(string(good), `"sid"`, `"planet"`, 1) + "\n\n", feed.ErrMalformed, 0},
		"no reset at the beginning":        {200, stream, "data: " + string(noReset) + "\n\n", feed.ErrMalformed, 0},
		"JSON":                             {200, "application/json", string(good), feed.ErrAway, 0},
		"a page":                           {200, "text/html", "<html>", feed.ErrAway, 0},
		"nothing there":                    {404, "", "", feed.ErrAway, 0},
		"no content":                       {204, stream, "", feed.ErrAway, 0},
		"an error":                         {500, stream, "data: " + string(good) + "\n\n", feed.ErrAway, 0},
		"unknown credential":               {401, "", "", feed.ErrRefused, 0},
		"forbidden":                        {403, "", "", feed.ErrRefused, 0},
	} {
		r := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", test.kind)
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		}))
		heard := 0
		err := r.Follow(t.Context(), feed.ID{}, func(feed.News) error { heard++; return nil })
		if !errors.Is(err, test.want) || !errors.Is(err, admit.Unavailable) || heard != test.heard {
			t.Errorf("%s: %v after %d news, want %v after %d", name, err, heard, test.want, test.heard)
		}
	}
}

func TestARefusalTellsItsCode(t *testing.T) {
	for body, want := range map[string]string{
		`{"code":"insufficient_scope"}`:                         `status 403, code "insufficient_scope"`,
		`{"code":"a\nb"}`:                                       `code "a\nb"`, // one line of a log
		`{"code":"` + strings.Repeat("x", 41) + `"}`:            `code ""`,
		`{"x":"` + strings.Repeat("x", 8<<10) + `","code":"y"}`: `code ""`,
		"no": `code ""`,
	} {
		r := served(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, body)
		}))
		if err := r.Follow(t.Context(), feed.ID{}, func(feed.News) error { return nil }); !errors.Is(err, feed.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %s", body, err, want)
		}
	}
}

// The token would go along, or the news come from elsewhere.
func TestAttackARedirectIsNotFollowed(t *testing.T) {
	var asked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer elsewhere.Close()
	r := served(t, http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	if err := r.Follow(t.Context(), feed.ID{}, func(feed.News) error { return nil }); !errors.Is(err, feed.ErrAway) || asked.Load() {
		t.Errorf("%v, asked elsewhere: %v", err, asked.Load())
	}
}

func TestATokenIsNotSentOverPlainHTTP(t *testing.T) {
	token := admit.NewSecret("key")
	for url, good := range map[string]bool{
		"https://auth.example.org/feed": true, "http://localhost:8080/feed": true, "http://127.0.0.1/feed": true, "http://[::1]:1/feed": true,
		"http://auth.example.org/feed": false, "http://localhost.example.org/": false, "ftp://auth.example.org/": false, "/feed": false, "": false,
		"https://a:b@auth.example.org/": false, "https://": false,
	} {
		if _, err := feed.NewRemote(url, token, nil); (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := feed.NewRemote("https://auth.example.org/feed", admit.Secret{}, nil); err == nil {
		t.Error("no token is taken")
	}
	if _, err := feed.NewRemote("https://auth.example.org/feed", token, &feed.RemoteOptions{HTTP: &http.Client{Timeout: time.Second}}); err == nil {
		t.Error("a client with a time-out is taken")
	}
}

func TestATokenThatExpiresIsAskedForEachTime(t *testing.T) {
	var tokens atomic.Int32
	var heard []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		heard = append(heard, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	r, err := feed.NewRemote(server.URL, admit.Secret{}, &feed.RemoteOptions{Token: func(context.Context) (admit.Secret, error) {
		return admit.NewSecret(fmt.Sprint("t", tokens.Add(1))), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Follow(t.Context(), feed.ID{}, func(feed.News) error { return nil }); !errors.Is(err, feed.ErrAway) {
			t.Error(err)
		}
	}
	if !slices.Equal(heard, []string{"Bearer t1", "Bearer t2"}) {
		t.Errorf("%q", heard)
	}
}

// However a stream is cut into packets, and whatever ends its lines, it says the
// same.
func FuzzMessages(f *testing.F) {
	for _, s := range []string{"data: a\n\n", "id: 1\ndata:a\ndata: b\n\n: beat\n\nevent: x\ndata: c\n\n", "data\n\n", "data: a", "\n\n", "data: a\r\n\r\n", ":\n", "data:  a: b\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		want, err := feed.Messages(strings.NewReader(stream))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%q: %v", stream, err)
		}
		got, _ := feed.Messages(iotest.OneByteReader(strings.NewReader(stream)))
		if !slices.Equal(got, want) {
			t.Errorf("%q byte by byte: %q, want %q", stream, got, want)
		}
		if strings.Contains(stream, "\r") {
			return
		}
		got, _ = feed.Messages(strings.NewReader(strings.ReplaceAll(stream, "\n", "\r\n")))
		if !slices.Equal(got, want) {
			t.Errorf("%q with CRLF: %q, want %q", stream, got, want)
		}
	})
}
