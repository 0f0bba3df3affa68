package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server"
)

const followerKey = "key-of-a-follower"

var errEnough = errors.New("enough")

// followed lets a program with followerKey follow.
func followed(c *server.Config) {
	c.FeedFollower = func(r *http.Request) ([]string, error) {
		switch r.Header.Get("Authorization") {
		case "Bearer " + followerKey:
			return []string{"https://api.example.org"}, nil
		case "Bearer of nothing":
			return nil, admit.Forbidden.New("role_required", "You may not do this.")
		}
		return nil, admit.Unauthenticated.New("no_session", "You are not signed in.")
	}
}

func asFollower(r *http.Request) { r.Header.Set("Authorization", "Bearer "+followerKey) }

// feed asks for what is no call of the API.
func (c *client) feed(method, path string, change func(*http.Request)) *reply {
	r := c.send(httptest.NewRequest(method, "http://localhost"+path, nil), change)
	_ = json.Unmarshal(r.body, &r.m) // a refusal, or none of its business
	return r
}

func TestWhoMayNotFollowTheFeedIsTold(t *testing.T) {
	s := newSite(t, followed)
	for _, path := range []string{"/feed", "/feed/snapshot"} {
		for _, tt := range []struct {
			name   string
			change func(*http.Request)
			status int
			code   string
		}{
			{"who says nothing", func(*http.Request) {}, 401, "no_session"},
			{"who may not", func(r *http.Request) { r.Header.Set("Authorization", "Bearer of nothing") }, 403, "role_required"},
			{"on the network, over plain HTTP", func(r *http.Request) { asFollower(r); r.RemoteAddr = "192.0.2.7:99" }, 403, "https_required"},
			{"at another host", func(r *http.Request) { asFollower(r); r.Host = "evil.example" }, 421, "unknown_host"},
		} {
			r := s.client().feed("GET", path, tt.change).want(tt.status, tt.code)
			if got := r.header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("%s at %s: the refusal is %q", tt.name, path, got)
			}
			if got := r.header.Get("WWW-Authenticate"); (got == "Bearer") != (tt.status == 401) {
				t.Errorf("%s at %s: WWW-Authenticate %q", tt.name, path, got)
			}
		}
		s.client().feed("POST", path, asFollower).want(405)
		if r := s.client().feed("HEAD", path, asFollower).want(200); len(r.body) > 0 {
			t.Errorf("HEAD %s is answered with %q", path, r.body)
		}
	}
	newSite(t).client().feed("GET", "/feed", asFollower).want(404)
}

func TestTheSnapshotTellsWhatHasEnded(t *testing.T) {
	s := newSite(t, followed)
	ann := s.signedUp("ann")
	sid := ann.get("session").want(200).at("session.sid")
	ann.post("signout", nil).want(204)
	within := feed.News{}
	if err := s.server.Feed().Follow(t.Context(), feed.ID{}, func(n feed.News) error { within = n; return errEnough }); err != errEnough {
		t.Fatal(err)
	}
	if len(within.Events) != 1 || within.Events[0].Target != sid || within.Events[0].Subject == "" {
		t.Errorf("a program around the server hears %+v", within)
	}
	r := s.client().feed("GET", "/feed/snapshot", asFollower).want(200)
	n, err := feed.ParseNews(r.body)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Events) != 1 || !n.Reset || n.Events[0].Digest != feed.DigestOf(feed.Session, sid) || n.Events[0].Target != "" {
		t.Errorf("the snapshot is %s", r.body)
	}
}

// stream asks for the feed of a served site and returns its lines.
func stream(t *testing.T, ctx context.Context, url, after string) *bufio.Scanner {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", url+"/feed", nil)
	if err != nil {
		t.Fatal(err)
	}
	asFollower(r)
	r.Header.Set("Last-Event-ID", after)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the feed answers %d, %q", res.StatusCode, res.Header.Get("Content-Type"))
	}
	return bufio.NewScanner(res.Body)
}

// next returns the next message's id and data.
func next(t *testing.T, lines *bufio.Scanner) (id string, n feed.News) {
	t.Helper()
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "data":
			n, err := feed.ParseNews([]byte(value))
			if err != nil {
				t.Fatal(err)
			}
			return id, n
		}
	}
	t.Fatalf("the stream ended: %v", lines.Err())
	return "", n
}

func TestAStreamTellsEndingsAndResumesWhereItWas(t *testing.T) {
	s := newSite(t, followed)
	served := httptest.NewServer(s.handler)
	defer served.Close()
	defer s.server.Close()
	lines := stream(t, t.Context(), served.URL, "")
	if _, n := next(t, lines); !n.Reset || len(n.Events) > 0 {
		t.Fatalf("the feed begins with %+v", n)
	}
	var last string
	for i := range 3 {
		c := s.signedUp(fmt.Sprint("ann", i))
		sid := c.get("session").at("session.sid")
		c.post("signout", nil).want(204)
		for {
			id, n := next(t, lines)
			if last = id; len(n.Events) == 0 {
				continue // a heartbeat
			}
			if n.Reset || n.Events[0].Digest != feed.DigestOf(feed.Session, sid) || n.Events[0].ID.String() != id {
				t.Fatalf("%s: %+v, want the ending of %s", id, n, sid)
			}
			break
		}
	}
	if _, n := next(t, stream(t, t.Context(), served.URL, last)); n.Reset || len(n.Events) > 0 || n.Head.String() != last {
		t.Errorf("after %s: %+v", last, n)
	}
	first := last[:strings.IndexByte(last, '-')] + "-1"
	if _, n := next(t, stream(t, t.Context(), served.URL, first)); n.Reset || len(n.Events) != 2 || n.Head.String() != last {
		t.Errorf("after %s: %+v", first, n)
	}
}

// Shutdown waits for what is under way, and a stream has no end.
func TestAServerThatIsFollowedStopsAtOnce(t *testing.T) {
	port := freePort(t)
	s := newSite(t, followed, func(c *server.Config) { c.Listen = fmt.Sprintf("localhost:%d", port) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx) }()
	url := fmt.Sprintf("http://localhost:%d", port)
	var all []*bufio.Scanner
	for range 3 {
		lines := stream(t, t.Context(), url, "")
		next(t, lines)
		all = append(all, lines)
	}
	began := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it stopped after %v", took)
	}
	for _, lines := range all {
		for lines.Scan() { // what was sent before
		}
		if err := lines.Err(); err != nil {
			t.Errorf("a stream was torn: %v", err)
		}
	}
	// Where the connection still stands.
	s.client().feed("GET", "/feed", asFollower).want(503, "not_ready")
}

// An alert on slow answers must not ring because a verifier was started anew.
func TestAStreamIsNotTakenForASlowAnswer(t *testing.T) {
	port := freePort(t)
	s := newSite(t, followed, func(c *server.Config) { c.OpsListen = fmt.Sprintf("localhost:%d", port) })
	s.run()
	served := httptest.NewServer(s.handler)
	defer served.Close()
	ctx, cancel := context.WithCancel(t.Context())
	lines := stream(t, ctx, served.URL, "")
	next(t, lines)
	ops := opsPort(port)
	ops.becomes(t, "admit_feed_followers", 1)
	next(t, lines) // a second later
	cancel()
	const quick = `admit_http_request_duration_seconds_bucket{method="GET",route="/feed",status="2xx",le="0.5"}`
	ops.becomes(t, quick, 1)
}

func TestAReloadTearsNoStream(t *testing.T) {
	s := newSite(t, followed)
	served := httptest.NewServer(s.handler)
	defer served.Close()
	defer s.server.Close()
	lines := stream(t, t.Context(), served.URL, "")
	next(t, lines)
	if _, err := s.reread(func(cfg *server.Config) { cfg.CORSOrigins = []string{"https://app.example.org"} }); err != nil {
		t.Fatal(err)
	}
	ann := s.signedUp("ann")
	ann.post("signout", nil).want(204)
	for {
		if _, n := next(t, lines); len(n.Events) > 0 {
			break
		}
	}
}
