package provider

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	good := newStage(t).o
	for _, c := range []struct {
		promise string
		change  func(*Options)
		ok      bool
	}{
		{"the stage is fine", func(*Options) {}, true},
		{"an issuer may have a path", func(o *Options) { o.Issuer = "https://id.example.org/a/b" }, true},
		{"an issuer may have a port", func(o *Options) { o.Issuer = "https://id.example.org:8443" }, true},
		{"on a loopback address http is fine", func(o *Options) { o.Issuer = "http://localhost:8080" }, true},
		{"and on this one", func(o *Options) { o.Issuer = "http://[::1]:8080" }, true},
		{"endpoints may be elsewhere", func(o *Options) { o.Path = "/a/b" }, true},
		{"an issuer is needed", func(o *Options) { o.Issuer = "" }, false},
		{"elsewhere http is not", func(o *Options) { o.Issuer = "http://id.example.org" }, false},
		{"an issuer ends without a slash", func(o *Options) { o.Issuer = "https://id.example.org/" }, false},
		{"and its path, too", func(o *Options) { o.Issuer = "https://id.example.org/a/" }, false},
		{"an issuer has no query", func(o *Options) { o.Issuer = "https://id.example.org?" }, false},
		{"nor a fragment", func(o *Options) { o.Issuer = "https://id.example.org#" }, false},
		{"nor a user", func(o *Options) { o.Issuer = "https://a@id.example.org" }, false},
		{"an issuer is in lower case", func(o *Options) { o.Issuer = "https://ID.example.org" }, false},
		{"an issuer's path has no dots", func(o *Options) { o.Issuer = "https://id.example.org/a/../b" }, false},
		{"an issuer's path is not encoded", func(o *Options) { o.Issuer = "https://id.example.org/a%2fb" }, false},
		{"an issuer is a URL", func(o *Options) { o.Issuer = "id.example.org" }, false},
		{"a path begins with a slash", func(o *Options) { o.Path = "oauth" }, false},
		{"a path is not the root", func(o *Options) { o.Path = "/" }, false},
		{"a path ends without a slash", func(o *Options) { o.Path = "/oauth/" }, false},
		{"a store is needed", func(o *Options) { o.Store = nil }, false},
		{"keys are needed", func(o *Options) { o.Keys = nil }, false},
		{"secrets are needed", func(o *Options) { o.Secrets = nil }, false},
		{"people are needed", func(o *Options) { o.People = nil }, false},
		{"a standard scope cannot be another one", func(o *Options) { o.Scopes = map[string][]string{"email": {"name"}} }, false},
		{"a scope has no spaces", func(o *Options) { o.Scopes = map[string][]string{"a b": nil} }, false},
	} {
		o := good
		c.change(&o)
		if _, err := New(o); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.promise, err)
		}
	}
}

func TestEachEndpointHasItsPathAndItsMethods(t *testing.T) {
	o := newStage(t).o
	for _, issuer := range []string{"https://id.example.org", "https://id.example.org/a"} {
		o.Issuer = issuer
		p, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		prefix := strings.TrimPrefix(issuer, "https://id.example.org")
		for path, allow := range map[string]string{
			prefix + "/oauth/authorize":                        "GET, POST",
			prefix + "/oauth/token":                            "POST",
			prefix + "/oauth/introspect":                       "POST",
			prefix + "/oauth/revoke":                           "POST",
			prefix + "/oauth/userinfo":                         "GET, POST",
			prefix + "/oauth/jwks":                             "GET, HEAD",
			prefix + "/oauth/logout":                           "GET, POST",
			prefix + "/.well-known/openid-configuration":       "GET, HEAD",
			"/.well-known/openid-configuration" + prefix:       "GET, HEAD",
			"/.well-known/oauth-authorization-server" + prefix: "GET, HEAD",
			"/.well-known/oauth-protected-resource" + prefix:   "GET, HEAD",
		} {
			w := httptest.NewRecorder()
			p.ServeHTTP(w, httptest.NewRequest("PUT", path, nil))
			if w.Code != 405 || w.Header().Get("Allow") != allow {
				t.Errorf("PUT %s of %s: %d, Allow %q", path, issuer, w.Code, w.Header().Get("Allow"))
			}
		}
		for _, path := range []string{"/", prefix + "/oauth", prefix + "/oauth/", prefix + "/oauth/authorize/", prefix + "/oauth/Token", "/x" + prefix + "/oauth/token"} {
			w := httptest.NewRecorder()
			p.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code != 404 {
				t.Errorf("GET %s of %s: %d", path, issuer, w.Code)
			}
		}
	}
}

// What only looks at a link does not spend what it leads to.
func TestAHEADMakesNoCode(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	r := httptest.NewRequest("HEAD", "/oauth/authorize?"+ask(), nil)
	r.AddCookie(&http.Cookie{Name: "sid", Value: "s1"})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != 405 || len(s.shelf.codes) > 0 {
		t.Errorf("%d with %d codes", w.Code, len(s.shelf.codes))
	}
}

// Mallory's request reaches the provider by a host of hers, and goes on at the
// issuer's, or nowhere.
func TestAttackAHostHeaderIsPoisoned(t *testing.T) {
	s := newStage(t)
	r := httptest.NewRequest("GET", "https://evil.example/oauth/authorize?"+ask(), nil)
	r.Header.Set("X-Forwarded-Host", "evil.example")
	r.Header.Set("Forwarded", "host=evil.example")
	s.send(r, "")
	s.shows("sign-in")
	if to := s.a.Resume(); !strings.HasPrefix(to, "/oauth/authorize?flow=") {
		t.Errorf("it goes on at %s", to)
	}
	s.signIn("s1", "ann")
	s.resume("s1")
	// Pages of that host are not ours, whatever it calls itself.
	w := s.decide("allow", "s1", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	s.follow(w, "s1")
	if len(s.shelf.codes) > 0 {
		t.Error("a code was made")
	}
}

func TestScriptsOfClientsMayReadWhatClientsMay(t *testing.T) {
	o := newStage(t).o
	o.Origin = func(_ context.Context, origin string) (bool, error) { return origin == "https://app.example.net", nil }
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"/oauth/token": true, "/oauth/revoke": true, "/oauth/userinfo": true, "/oauth/jwks": true, "/.well-known/openid-configuration": true,
		"/oauth/authorize": false, "/oauth/introspect": false, "/oauth/logout": false,
	} {
		for _, origin := range []string{"https://app.example.net", "https://evil.example", "null", ""} {
			r := httptest.NewRequest("OPTIONS", path, nil)
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			r.Header.Set("Access-Control-Request-Method", "POST")
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			allowed, is := w.Header().Get("Access-Control-Allow-Origin"), want && origin == "https://app.example.net"
			if (allowed == origin && origin != "") != is || is != (w.Code == 204) || w.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %q: %d, %v", path, origin, w.Code, w.Header())
			}
			if want && w.Header().Get("Vary") != "Origin" {
				t.Errorf("%s: caches mix origins", path)
			}
		}
	}
}

// A store that fails is told of to who runs the provider, and a client learns nothing.
func TestAnErrorOfOursIsToldOnlyToWhoRunsTheProvider(t *testing.T) {
	h := newHall(t)
	h.app("app", nil)
	var told []error
	h.Provider.o.Refused = func(_ *http.Request, err error) { told = append(told, err) }
	h.Provider.o.Store = brokenStore{}
	w := h.ask("token", "app", "grant_type", "client_credentials")
	if w.Code != 500 || strings.Contains(w.Body.String(), errBroken.Error()) || len(told) != 1 || !errors.Is(told[0], errBroken) {
		t.Errorf("%d %s, told %v", w.Code, w.Body, told)
	}
	var log strings.Builder
	h.Provider.o.Refused, h.Provider.o.Log = nil, slog.New(slog.NewTextHandler(&log, nil))
	h.ask("token", "app", "grant_type", "client_credentials")
	h.ask("token", "app", "grant_type", "password")
	if got := log.String(); strings.Count(got, "level=ERROR") != 2 || !strings.Contains(got, errBroken.Error()) {
		t.Errorf("the log says %s", got)
	}
}

var errBroken = errors.New("the disk is on fire")

type brokenStore struct{}

func (brokenStore) View(context.Context, func(Tx) error) error   { return errBroken }
func (brokenStore) Update(context.Context, func(Tx) error) error { return errBroken }
