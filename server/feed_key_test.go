package server_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A following is a feed that is being followed over a network.
type following struct {
	res   *http.Response
	lines chan string // closed where the stream ends
}

// follow follows the feed with a token.
func follow(t *testing.T, url, token string) *following {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/feed", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	s := &following{res, make(chan string, 1000)}
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	return s
}

// hears waits until the feed tells of something, or ends where that is "".
func (f *following) hears(t *testing.T, text string) {
	t.Helper()
	for late := time.After(2 * time.Second); ; {
		select {
		case line, open := <-f.lines:
			if !open && text == "" || open && text != "" && strings.Contains(line, text) {
				return
			}
			if !open {
				t.Fatalf("the feed ended and told nothing of %q", text)
			}
		case <-late:
			t.Fatalf("within 2 s the feed tells nothing of %q", text)
		}
	}
}

func TestAnAPIKeyFollowsTheFeedUntilItIsEnded(t *testing.T) {
	s := newSite(t)
	root := s.administrator()
	listening := httptest.NewServer(s.handler)
	t.Cleanup(listening.Close)
	made := s.issue("root", "feed")
	kept := s.issue("root", "feed")

	first, second := follow(t, listening.URL, made.Token), follow(t, listening.URL, kept.Token)
	for _, f := range []*following{first, second} {
		if f.res.StatusCode != 200 {
			t.Fatalf("the feed answers %d", f.res.StatusCode)
		}
		f.hears(t, "data:")
	}
	s.signedUp("ann").post("signout", nil).want(204)
	first.hears(t, `"signed_out"`)
	second.hears(t, `"signed_out"`)

	root.delete("api-keys/" + made.APIKey.ID).want(204)
	second.hears(t, `"kind":"gid"`)
	first.hears(t, "")
	if again := follow(t, listening.URL, made.Token); again.res.StatusCode != 401 {
		t.Errorf("an ended key gets %d", again.res.StatusCode)
	}
	if err := s.operator().SetDisabled(t.Context(), "root", true); err == nil {
		t.Fatal("the last administrator was disabled")
	}
	s.signedUp("second")
	if err := s.operator().GrantRole(t.Context(), "second", "admin"); err != nil {
		t.Fatal(err)
	}
	if err := s.operator().SetDisabled(t.Context(), "root", true); err != nil {
		t.Fatal(err)
	}
	second.hears(t, "")
}

func TestOnlyAnAPIKeyWithTheScopeFeedFollowsIt(t *testing.T) {
	s := newSite(t)
	ann := s.signedUp("ann")
	c := s.client()
	for _, path := range []string{"/feed", "/feed/snapshot"} {
		r := c.feed("GET", path, func(*http.Request) {}).want(401, "follower_unknown")
		if r.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: the challenge is %q", r.what, r.header.Get("WWW-Authenticate"))
		}
		ann.feed("GET", path, func(*http.Request) {}).want(401, "follower_unknown") // its session is no credential here
		r = c.feed("GET", path, withBearer(ann.key("profile").at("token"))).want(403, "insufficient_scope")
		if got := r.header.Get("WWW-Authenticate"); got != `Bearer error="insufficient_scope", scope="feed"` {
			t.Errorf("%s: the challenge is %q", r.what, got)
		}
		c.feed("GET", path, withBearer("adm_k_nothing")).want(401, "api_key_refused")
		c.feed("HEAD", path, withBearer("adm_k_nothing")).want(401)
	}
}

func TestAFeedEndsWhenItsAPIKeyExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		root := s.signedUp("root")
		root.grant(t, "root", "admin")
		key := root.post("api-keys", m{"name": "short", "scopes": []string{"feed"}, "audiences": []string{"a"}, "expires_in": 60}).want(201).at("token")
		begun := time.Now()
		s.client().feed("GET", "/feed", withBearer(key)).want(200) // returns when the stream has ended
		if took := time.Since(begun); took < 60*time.Second || took > 63*time.Second {
			t.Errorf("the feed ended after %v", took)
		}
	})
}
