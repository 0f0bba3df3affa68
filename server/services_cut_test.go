//go:build unix

package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A wire is the way that services have to an issuer, under whose address all know
// it. It can be cut, for the feed or for all.
type wire struct {
	url string

	mu   sync.Mutex
	cuts func(path string) bool
	open map[*http.Request]context.CancelFunc
}

// newWire returns a wire to a port of loopback.
func newWire(t *testing.T, port int) *wire {
	t.Helper()
	w := &wire{open: map[*http.Request]context.CancelFunc{}, cuts: func(string) bool { return false }}
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: fmt.Sprint("localhost:", port)})
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		w.mu.Lock()
		cut := w.cuts(r.URL.Path)
		w.open[r] = cancel
		w.mu.Unlock()
		defer func() {
			w.mu.Lock()
			delete(w.open, r)
			w.mu.Unlock()
		}()
		if cut {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(rw, r.WithContext(ctx))
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { w.cut(func(string) bool { return true }) }) // streams first
	w.url = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	return w
}

func (w *wire) cut(which func(path string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cuts = which
	for r, cancel := range w.open {
		if which(r.URL.Path) {
			cancel()
		}
	}
}

// behind starts a server that is known by its wire. The test asks it past the
// wire.
func (w *wire) behind(t *testing.T, data string, port int) *process {
	t.Helper()
	p := start(t, port, "/usr/bin/env", fmt.Sprintf("%s=localhost:%d", issuing, port), knownAs+"="+w.url, "ADMIT_DATA="+data, os.Args[0])
	p.ready()
	p.url = w.url
	p.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, fmt.Sprint("localhost:", port))
	}}}
	return p
}

// jwtOf signs in for JWTs.
func (p *process) jwtOf(name string) (access, refresh string) {
	p.t.Helper()
	a := p.ask("POST", "/api/v1/signin", "", m{"identifier": name, "password": goodPassword, "as": "jwt"})
	var got struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(a.Body), &got); err != nil || a.status != 200 || got.Access == "" {
		p.t.Fatalf("sign-in: %d %s", a.status, a.Body)
	}
	return got.Access, got.Refresh
}

func (p *process) signUp(name string) {
	p.t.Helper()
	if a := p.ask("POST", "/api/v1/signup", "", m{"identifier": name, "password": goodPassword}); a.status != 201 {
		p.t.Fatalf("sign-up: %d %s", a.status, a.Body)
	}
}

// says is what a service answers, 0 where it does not.
func (s *service) says(token string) int {
	status, err := s.ask(token)
	if err != nil {
		return 0
	}
	return status
}

// goAndNode are one service of each, or only that of Go where there is no Node.
func goAndNode(t *testing.T, issuer, feedKey string, bound time.Duration) []*service {
	t.Helper()
	all := []*service{goService(t, "Go", issuer, feedKey, bound)}
	if node, err := exec.LookPath("node"); err == nil {
		all = append(all, nodeService(t, node, issuer, feedKey, bound))
	} else {
		t.Log("SKIPPED: there is no Node here; make test SETUP=1 installs it")
	}
	return all
}

// Who cuts a service off the feed keeps what was taken from him for as long as
// news may be old, and no longer; and signs nobody out.
func TestAFeedThatIsCutSignsNobodyOutAndHidesNoEndingForLong(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const bound = 11 * time.Second // a status list is up to 5 s old, and is asked for twice within it
	data, port := t.TempDir(), freePort(t)
	w := newWire(t, port)
	p := w.behind(t, data, port)
	p.signUp("ann")
	services := goAndNode(t, w.url, keyOfFeed(t, data, "ann", w.url), bound)
	lives, _ := p.jwtOf("ann")
	before, _ := p.jwtOf("ann")
	meanwhile, _ := p.jwtOf("ann")
	signOut := func(token string) {
		t.Helper()
		if a := p.ask("POST", "/api/v1/signout", token, nil); a.status != 204 {
			t.Fatalf("sign-out: %d %s", a.status, a.Body)
		}
	}
	for _, s := range services {
		until(t, s.name+" has news", func() bool { return s.says(lives) == 200 })
	}
	signOut(before)
	for _, s := range services {
		until(t, s.name+" refuses what has ended", func() bool { return s.says(before) == 401 })
	}

	w.cut(func(path string) bool { return path == "/feed" })
	cut := time.Now()
	signOut(meanwhile)
	each(len(services), func(i int) {
		s := services[i]
		heard := false
		for last := 0; time.Since(cut) < bound+3*time.Second; time.Sleep(20 * time.Millisecond) {
			if status := s.says(lives); status != 200 {
				t.Errorf("%s: without the feed a session that lives gets %d after %v", s.name, status, time.Since(cut))
				return
			}
			if status := s.says(before); status != 401 {
				t.Errorf("%s: an ending that was heard is forgotten after %v: %d", s.name, time.Since(cut), status)
				return
			}
			status := s.says(meanwhile)
			if status != last {
				t.Logf("%s: %v after the cut, what ended then gets %d", s.name, time.Since(cut).Round(10*time.Millisecond), status)
			}
			if last = status; status == 401 {
				heard = true
			} else if status != 200 || heard {
				t.Errorf("%s: what ended meanwhile gets %d", s.name, status)
				return
			}
		}
		if !heard {
			t.Errorf("%s: the status list did not tell of what ended while the feed was cut", s.name)
		}
	})

	w.cut(func(string) bool { return true })
	alone := time.Now()
	each(len(services), func(i int) {
		s := services[i]
		for doubt := time.Duration(0); ; time.Sleep(20 * time.Millisecond) {
			status := s.says(lives)
			since := time.Since(alone)
			if status == 503 && doubt == 0 {
				doubt = since
				t.Logf("%s: %v after all was cut it says that it cannot tell", s.name, since.Round(10*time.Millisecond))
			}
			if doubt > 0 && since > doubt+time.Second {
				return
			}
			if status != 503 && (status != 200 || doubt > 0) || since > bound+2*time.Second {
				t.Errorf("%s: %d, %v after all was cut", s.name, status, since)
				return
			}
		}
	})

	w.cut(func(string) bool { return false })
	for _, s := range services {
		until(t, s.name+" heals", func() bool {
			status := s.says(lives)
			if status != 200 && status != 503 {
				t.Fatalf("%s: %d while it heals", s.name, status)
			}
			return status == 200
		})
		if a, b := s.says(before), s.says(meanwhile); a != 401 || b != 401 {
			t.Errorf("%s: after the cut, what has ended gets %d and %d", s.name, a, b)
		}
	}
}

// A key that leaked is taken back with one command: over the feed and the
// network, no service takes a token of it a second later, and all take those of
// the key after it.
func TestTokensOfAKeyThatIsTakenBackAreRefusedEverywhereInASecondAndNewOnesAreTaken(t *testing.T) {
	data, port := t.TempDir(), freePort(t)
	p := serve(t, data, port, "--log-level", "error")
	p.signUp("ann")
	services := goAndNode(t, p.url, keyOfFeed(t, data, "ann", p.url), time.Minute)
	for round := range 2 {
		old, refresh := p.jwtOf("ann")
		for _, s := range services {
			until(t, s.name+" takes the token", func() bool { return s.says(old) == 200 })
		}
		kid := headerOf(t, old)["kid"].(string)
		if _, talk, err := admitRun(t, "key", "retire", kid, "--force", "--data", data); err != nil {
			t.Fatalf("retire: %v\n%s", err, talk)
		}
		begun := time.Now()
		each(len(services), func(i int) {
			s := services[i]
			for s.says(old) != 401 {
				if time.Since(begun) > time.Second {
					t.Errorf("%s takes a token of the key a second later", s.name)
					return
				}
				time.Sleep(time.Millisecond)
			}
			t.Logf("round %d: %s refuses it after %v", round, s.name, time.Since(begun).Round(100*time.Microsecond))
		})
		if a := p.ask("GET", "/api/v1/session", old, nil); a.status != 401 {
			t.Errorf("the issuer answers a token of the key with %d", a.status)
		}
		// The session lives: without a prompt there is a token of the key after it.
		var next struct {
			Access string `json:"access_token"`
		}
		a := p.ask("POST", "/api/v1/refresh", "", m{"refresh_token": refresh})
		if err := json.Unmarshal([]byte(a.Body), &next); err != nil || a.status != 200 || headerOf(t, next.Access)["kid"] == kid {
			t.Fatalf("refresh: %d %s", a.status, a.Body)
		}
		for _, s := range services {
			if status := s.says(next.Access); status != 200 {
				t.Errorf("%s answers a token of the new key with %d", s.name, status)
			}
		}
	}
}

// headerOf reads the header of a JWT, and verifies nothing.
func headerOf(t *testing.T, jwt string) m {
	t.Helper()
	header, _, _ := strings.Cut(jwt, ".")
	return claims(t, "x."+header+".x")
}

// A backup does not know what has ended since it was taken. What is put back from
// it revives nothing: not at the issuer, nor at services that run on, or start
// anew. Kept sessions go on, as is said of that; their JWTs do not.
func TestARestoredDatabaseRevivesNoJWT(t *testing.T) {
	for name, keep := range map[string]bool{"sessions are ended": false, "sessions are kept": true} {
		t.Run(name, func(t *testing.T) {
			data, port := t.TempDir(), freePort(t)
			p := serve(t, data, port, "--log-level", "error")
			p.signUp("ann")
			feedKey := keyOfFeed(t, data, "ann", p.url)
			const bound = 3 * time.Second
			services := goAndNode(t, p.url, feedKey, bound)
			lives, _ := p.jwtOf("ann")
			ended, refresh := p.jwtOf("ann")
			for _, s := range services {
				until(t, s.name+" has news", func() bool { return s.says(lives) == 200 && s.says(ended) == 200 })
			}
			file := filepath.Join(t.TempDir(), "backup.tar")
			if _, talk, err := admitRun(t, "backup", "--data", data, "--to", file); err != nil {
				t.Fatalf("backup: %v\n%s", err, talk)
			}
			if a := p.ask("POST", "/api/v1/signout", ended, nil); a.status != 204 {
				t.Fatalf("sign-out: %d %s", a.status, a.Body)
			}
			for _, s := range services {
				until(t, s.name+" refuses what has ended", func() bool { return s.says(ended) == 401 })
			}
			p.kill()
			args := []string{"restore", file, "--data", data, "--force"}
			if keep {
				args = append(args, "--keep-sessions")
			}
			if _, talk, err := admitRun(t, args...); err != nil {
				t.Fatalf("restore: %v\n%s", err, talk)
			}
			p = serve(t, data, port, "--log-level", "error")

			// Until the restored feed is heard, or the services doubt, what has ended is
			// refused, and nobody else is signed out by 401 at the services but for the
			// keys that are gone.
			for begun := time.Now(); time.Since(begun) < bound+2*time.Second; time.Sleep(20 * time.Millisecond) {
				for _, s := range services {
					if status := s.says(ended); status == 200 {
						t.Fatalf("%s: %v after the restore, what had ended counts", s.name, time.Since(begun))
					}
				}
			}
			for _, token := range []string{ended, lives} {
				if a := p.ask("GET", "/api/v1/session", token, nil); a.status != 401 {
					t.Errorf("the issuer answers a JWT from before with %d %s", a.status, a.Body)
				}
			}
			for _, s := range services {
				if status := s.says(lives); status == 200 {
					t.Errorf("%s takes a JWT of a key that was erased", s.name)
				}
			}
			a := p.ask("POST", "/api/v1/refresh", "", m{"refresh_token": refresh})
			if keep != (a.status == 200) {
				t.Errorf("a family from before is answered with %d %s", a.status, a.Body)
			}
			if !keep {
				feedKey = keyOfFeed(t, data, "ann", p.url) // keys are gone, too
			}
			again, _ := p.jwtOf("ann")
			for _, s := range goAndNode(t, p.url, feedKey, bound) {
				until(t, s.name+" has news", func() bool { return s.says(again) == 200 })
				if a, b := s.says(ended), s.says(lives); a != 401 || b != 401 {
					t.Errorf("%s, started anew, answers JWTs from before with %d and %d", s.name, a, b)
				}
			}
		})
	}
}
