package revocation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
)

// issuer serves a log as an issuer does.
func issuer(t testing.TB) (*feed.Log, *httptest.Server) {
	log := feed.NewLog(nil)
	server := httptest.NewServer(feed.Handler(log, func(*http.Request) ([]string, error) { return []string{"a"}, nil }, nil))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return log, server
}

// verifier runs a Set on the feed at a URL and waits for its first news.
func verifier(t testing.TB, url string, o *Options) *Set {
	t.Helper()
	source, err := feed.NewRemote(url, admit.NewSecret("key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx, source) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	await(t, "the first news", func() bool { _, at := s.Position(); return !at.IsZero() })
	return s
}

func await(t testing.TB, what string, true func() bool) {
	t.Helper()
	for begun := time.Now(); !true(); time.Sleep(50 * time.Microsecond) {
		if time.Since(begun) > 5*time.Second {
			t.Fatalf("%s did not come", what)
		}
	}
}

func TestAnEndingIsRefusedElsewhereInUnderASecond(t *testing.T) {
	log, server := issuer(t)
	sets := []*Set{verifier(t, server.URL, nil), verifier(t, server.URL, nil)}
	var took []time.Duration
	for i := range 500 {
		sid := fmt.Sprint("s", i)
		d := IDs{Session: sid}.Digest()
		if err := log.Append(t.Context(), time.Now(), feed.SessionEnded(sid, "", "signed_out", time.Now().Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		answered := time.Now()
		for _, s := range sets {
			for !errors.Is(s.Check(&d, time.Now()), ErrEnded) {
				if time.Since(answered) > time.Second {
					t.Fatalf("ending %d is not heard after a second", i)
				}
				time.Sleep(20 * time.Microsecond)
			}
		}
		took = append(took, time.Since(answered))
	}
	slices.Sort(took)
	t.Logf("from the ending to the refusal at both of two verifiers: p50 %v, p99 %v, max %v", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}

// What ended while nobody listened is told when the feed is back.
func TestAVerifierCatchesUpWhenTheFeedIsBack(t *testing.T) {
	log, server := issuer(t)
	var failed atomic.Int32
	s := verifier(t, server.URL, &Options{Failed: func(err error) {
		if !errors.Is(err, feed.ErrAway) {
			t.Errorf("Failed: %v", err)
		}
		failed.Add(1)
	}})
	for i := range 20 {
		server.CloseClientConnections()
		sid := fmt.Sprint("s", i)
		if err := log.Append(t.Context(), time.Now(), feed.SessionEnded(sid, "", "signed_out", time.Now().Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		d := IDs{Session: sid}.Digest()
		await(t, "the ending", func() bool { return errors.Is(s.Check(&d, time.Now()), ErrEnded) })
	}
	if s.Len() != 20 || failed.Load() == 0 {
		t.Errorf("%d endings are kept, and the feed broke off %d times", s.Len(), failed.Load())
	}
}
