//go:build unix

package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A storm is many clients that refresh against a server that is killed again and
// again, over a network that loses answers and puts requests out of order.
type storm struct {
	t      *testing.T
	url    string
	client *http.Client

	refreshes, lost, unanswered atomic.Int64
}

// refresh returns the next tokens for one, whatever it takes. A refusal is a
// sign-out, and fails the test.
func (s *storm) refresh(token string) (next string, ok bool) {
	body, _ := json.Marshal(m{"refresh_token": token}) // text
	for deadline := time.Now().Add(9 * time.Second); time.Now().Before(deadline); {
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond) // who asked first does not come first
		ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
		if rand.IntN(10) == 0 { // it hangs up while the server is at work
			ctx, cancel = context.WithTimeout(s.t.Context(), time.Duration(rand.IntN(5000))*time.Microsecond)
		}
		status, answer, err := s.post(ctx, body)
		cancel()
		switch {
		case err != nil || status == http.StatusServiceUnavailable:
			s.unanswered.Add(1)
			continue
		case status != http.StatusOK:
			s.t.Errorf("signed out: %d %s", status, answer)
			return "", false
		case rand.IntN(4) == 0: // the answer is lost on the way
			s.lost.Add(1)
			continue
		}
		var got struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		if err := json.Unmarshal(answer, &got); err != nil || got.Access == "" || got.Refresh == "" {
			s.t.Errorf("refreshed: %s", answer)
			return "", false
		}
		s.refreshes.Add(1)
		return got.Refresh, true
	}
	s.t.Error("no answer came in nine seconds")
	return "", false
}

func (s *storm) post(ctx context.Context, body []byte) (status int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, "POST", s.url+"/api/v1/refresh", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// together has every tab refresh the one token that they share, and begins the
// next round, as when an access token runs out, with what all of them got.
func (s *storm) together(rounds int, tokens []string) {
	for round := range rounds {
		var work sync.WaitGroup
		for i := range tokens {
			work.Go(func() { tokens[i], _ = s.refresh(tokens[i]) })
		}
		work.Wait()
		for _, next := range tokens {
			if next != tokens[0] {
				s.t.Errorf("round %d: one tab has got %q, another %q", round, tokens[0], next)
			}
		}
		if s.t.Failed() {
			return
		}
	}
}

// apart has each refresh its own as often as it can.
func (s *storm) apart(rounds int, tokens []string) {
	var work sync.WaitGroup
	for i := range tokens {
		work.Go(func() {
			for range rounds {
				next, ok := s.refresh(tokens[i])
				if !ok {
					return
				}
				tokens[i] = next
			}
		})
	}
	work.Wait()
}

func over(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// What signs people out elsewhere must not: 50 tabs that refresh a thousand times
// each, all with the same token and each with its own, while every fourth answer
// is lost and the server is killed. STORM=full is that many; otherwise it
// is a small one.
func TestAStormOfRefreshesSignsNobodyOut(t *testing.T) {
	tabs, rounds, kills := 10, 30, 2
	switch {
	case os.Getenv("STORM") == "full":
		tabs, rounds, kills = 50, 1000, 20
	case testing.Short():
		tabs, rounds, kills = 4, 10, 1
	}
	data, port := t.TempDir(), freePort(t)
	p := serve(t, data, port)
	s := &storm{t: t, url: p.url, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * tabs}}}
	if a := p.ask("POST", "/api/v1/signup", "", m{"identifier": "ann", "password": goodPassword}); a.status != 201 {
		t.Fatalf("sign-up: %d %s", a.status, a.Body)
	}
	signIn := func() string {
		var got struct {
			Refresh string `json:"refresh_token"`
		}
		a := p.ask("POST", "/api/v1/signin", "", m{"identifier": "ann", "password": goodPassword, "as": "jwt"})
		if err := json.Unmarshal([]byte(a.Body), &got); err != nil || a.status != 200 {
			t.Fatalf("sign-in: %d %s", a.status, a.Body)
		}
		return got.Refresh
	}
	for _, kind := range []struct {
		name string
		own  bool // each has a family of its own
		run  func(tokens []string)
	}{
		{"tabs that share a token", false, func(tokens []string) { s.together(rounds, tokens) }},
		{"apps with one each", true, func(tokens []string) { s.apart(rounds, tokens) }},
	} {
		s.refreshes.Store(0)
		s.lost.Store(0)
		s.unanswered.Store(0)
		tokens := make([]string, tabs)
		first := signIn()
		for i := range tokens {
			if tokens[i] = first; kind.own && i > 0 {
				tokens[i] = signIn()
			}
		}
		begun := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			kind.run(tokens)
		}()
		// Each kill comes when its share of the work is done, wherever that is.
		for n := range kills {
			share := int64(tabs * rounds * (n + 1) / (kills + 1))
			for s.refreshes.Load() < share && !over(done) {
				time.Sleep(time.Millisecond)
			}
			p.kill()
			p = serve(t, data, port)
		}
		<-done
		took := time.Since(begun)
		if n := s.refreshes.Load(); n != int64(tabs*rounds) && !t.Failed() {
			t.Errorf("%d refreshes, want %d", n, tabs*rounds)
		}
		t.Logf("%s: %d refreshes by %d tabs in %v, %d answers lost, %d requests unanswered, %d kills",
			kind.name, s.refreshes.Load(), tabs, took.Round(time.Millisecond), s.lost.Load(), s.unanswered.Load(), kills)
		for _, token := range tokens {
			if _, ok := s.refresh(token); !ok {
				fmt.Fprintln(os.Stderr, tail(p.out.String(), 10))
			}
			if !kind.own {
				break
			}
		}
	}
}
