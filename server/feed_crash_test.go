//go:build unix

package server_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/revocation"
	"github.com/admit-auth/admit/server"
)

// issuing is the variable under which this program is a server whose feed one
// verifier may follow, in place of tests.
const issuing = "ADMIT_TEST_ISSUER"

// verifierKey lets a verifier follow.
const verifierKey = "key-of-a-verifier"

func issue() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := server.New(ctx, server.Config{
		Data: os.Getenv("ADMIT_DATA"), Listen: os.Getenv(issuing), Dev: true, FeedFollower: byKey,
	})
	if err == nil {
		err = errors.Join(s.Run(ctx), s.Close())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func byKey(r *http.Request) ([]string, error) {
	if r.Header.Get("Authorization") != "Bearer "+verifierKey {
		return nil, errNoFollower
	}
	return []string{"https://api.example.org"}, nil
}

var errNoFollower = admit.Unauthenticated.New("no_session", "You are not signed in.")

// issuer starts a server whose feed may be followed.
func issuer(t *testing.T, data string, port int) *process {
	t.Helper()
	p := start(t, port, "/usr/bin/env", fmt.Sprintf("%s=localhost:%d", issuing, port), "ADMIT_DATA="+data, os.Args[0])
	p.ready()
	return p
}

// verifier is a set that follows a server's feed until the test ends.
func verifier(t *testing.T, url string) *revocation.Set {
	t.Helper()
	source, err := feed.NewRemote(url+"/feed", admit.NewSecret(verifierKey), nil)
	if err != nil {
		t.Fatal(err)
	}
	set := revocation.New(nil)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { set.Run(ctx, source); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return set
}

func hasEnded(set *revocation.Set, sid string) bool {
	d := revocation.IDs{Session: sid}.Digest()
	return errors.Is(set.Check(&d, time.Now()), revocation.ErrEnded)
}

// A session ends and is told to have ended, or neither, wherever the issuer is
// cut off; and what a verifier once refused it refuses for good.
func TestAfterKillNineTheFeedTellsJustWhatHasEnded(t *testing.T) {
	data, port := t.TempDir(), freePort(t)
	p := issuer(t, data, port)
	old := verifier(t, p.url)
	a := p.ask("POST", "/api/v1/signup", "", m{"identifier": "ann", "password": goodPassword, "as": "token"})
	if a.status != 201 {
		t.Fatalf("sign-up: %d %s", a.status, a.Body)
	}
	type one struct{ sid, token string }
	var all []one
	for range 60 {
		a := p.ask("POST", "/api/v1/guest", "", m{"as": "token"})
		if a.status != 201 {
			t.Fatalf("guest: %d %s", a.status, a.Body)
		}
		who := p.ask("GET", "/api/v1/session", a.Token, nil)
		all = append(all, one{who.Session.SID, a.Token})
	}
	var acknowledged sync.Map
	rest := all
	for round := range 3 {
		ending := rest[:20]
		rest = rest[20:]
		var work sync.WaitGroup
		var ended atomic.Int32
		kill := make(chan struct{})
		for _, s := range ending {
			work.Go(func() {
				time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
				if a, err := p.api(t.Context(), "POST", "/api/v1/signout", s.token, nil); err == nil && a.status == 204 {
					acknowledged.Store(s.sid, time.Now())
					if ended.Add(1) == 8 {
						close(kill)
					}
				}
			})
		}
		<-kill
		p.kill()
		work.Wait()
		p = issuer(t, data, port)
		fresh := verifier(t, p.url)
		until(t, "a verifier hears of a feed", func() bool { _, at := fresh.Position(); return !at.IsZero() })
		until(t, "a verifier hears of the restarted feed", func() bool {
			mine, _ := old.Position()
			its, _ := fresh.Position()
			return mine.Epoch == its.Epoch
		})
		for _, s := range all {
			status := p.ask("GET", "/api/v1/session", s.token, nil).status
			_, known := acknowledged.Load(s.sid)
			if known && status != 401 {
				t.Errorf("round %d: an ended session is back", round)
			}
			for name, set := range map[string]*revocation.Set{"a new verifier": fresh, "the old verifier": old} {
				if hasEnded(set, s.sid) != (status == 401) {
					t.Errorf("round %d: a session's status is %d, and %s takes it for ended: %t", round, status, name, hasEnded(set, s.sid))
				}
			}
		}
		t.Logf("round %d: %d endings were acknowledged of %d", round, ended.Load(), len(ending))
	}
	if code := p.stop(); code != 0 {
		t.Errorf("a server that is followed stops with %d\n%s", code, tail(p.out.String(), 20))
	}
}

func TestAnEndingIsHeardWithinASecond(t *testing.T) {
	p := issuer(t, t.TempDir(), freePort(t))
	set := verifier(t, p.url)
	until(t, "a verifier hears of a feed", func() bool { _, at := set.Position(); return !at.IsZero() })
	var worst time.Duration
	for range 40 {
		a := p.ask("POST", "/api/v1/guest", "", m{"as": "token"})
		sid := p.ask("GET", "/api/v1/session", a.Token, nil).Session.SID
		if a := p.ask("POST", "/api/v1/signout", a.Token, nil); a.status != 204 {
			t.Fatalf("sign-out: %d %s", a.status, a.Body)
		}
		from := time.Now()
		for !hasEnded(set, sid) {
			if time.Since(from) > time.Second {
				t.Fatal("an ending was not heard within a second")
			}
			time.Sleep(100 * time.Microsecond)
		}
		worst = max(worst, time.Since(from))
	}
	t.Logf("from the answer to the refusal: %v at worst", worst)
}
