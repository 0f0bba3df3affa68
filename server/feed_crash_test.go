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
	"slices"
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

// knownAs has that server's public address, where it is not where it listens.
const knownAs = "ADMIT_TEST_KNOWN_AS"

// verifierKey lets a verifier follow.
const verifierKey = "key-of-a-verifier"

func issue() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := server.Config{Data: os.Getenv("ADMIT_DATA"), Listen: os.Getenv(issuing), Dev: true, FeedFollower: byKey}
	if known := os.Getenv(knownAs); known != "" {
		cfg.Listen, cfg.PublicURL = "", known
	}
	s, err := server.New(ctx, cfg)
	if err == nil && cfg.Listen == "" {
		go http.ListenAndServe(os.Getenv(issuing), s) // until the process ends
	}
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

// From the answer of the call that ends a session to the first refusal at each of
// three verifiers, while others end sessions, too. Every ending is heard; how soon
// is told by two rounds of three, for in one the machine may have stood still for a
// second of its own.
func TestAnEndingIsHeardWithinASecond(t *testing.T) {
	p := issuer(t, t.TempDir(), freePort(t))
	var sets []*revocation.Set
	for range 3 {
		set := verifier(t, p.url)
		until(t, "a verifier hears of a feed", func() bool { _, at := set.Position(); return !at.IsZero() })
		sets = append(sets, set)
	}
	var slowest []time.Duration // of each round
	for round := range 3 {
		all := hearings(t, p, sets)
		slowest = append(slowest, all[len(all)-1])
		t.Logf("round %d, %d times, from the answer to the refusal: p50 %v, p99 %v, at most %v", round, len(all), all[len(all)/2], all[len(all)*99/100], all[len(all)-1])
	}
	if slices.Sort(slowest); slowest[1] > time.Second {
		t.Errorf("in more than one round a verifier took longer than a second to hear of an ending: %v", slowest)
	}
}

// hearings has sessions begin and end, and returns in their order the times that
// it took until each set had heard of each ending.
func hearings(t *testing.T, p *process, sets []*revocation.Set) (all []time.Duration) {
	t.Helper()
	const enders, each = 8, 12 // three rounds begin as many guests as an address may
	var mu sync.Mutex
	var work sync.WaitGroup
	for range enders {
		work.Go(func() {
			for range each {
				a, err := p.api(t.Context(), "POST", "/api/v1/guest", "", m{"as": "token"})
				if err != nil || a.status != 201 {
					t.Errorf("guest: %v, %d %s", err, a.status, a.Body)
					return
				}
				sid := a.Session.SID
				if a, err := p.api(t.Context(), "POST", "/api/v1/signout", a.Token, nil); err != nil || a.status != 204 {
					t.Errorf("sign-out: %v, %d %s", err, a.status, a.Body)
					return
				}
				from := time.Now()
				for i, set := range sets {
					for !hasEnded(set, sid) {
						if time.Since(from) > 30*time.Second {
							t.Errorf("verifier %d has never heard of an ending", i)
							return
						}
						time.Sleep(100 * time.Microsecond)
					}
					mu.Lock()
					all = append(all, time.Since(from))
					mu.Unlock()
				}
			}
		})
	}
	work.Wait()
	if slices.Sort(all); len(all) < len(sets)*enders*each {
		t.Fatalf("%d endings were heard, want %d", len(all), len(sets)*enders*each)
	}
	return all
}
