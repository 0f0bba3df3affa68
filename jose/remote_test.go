package jose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
)

// An issuerServer answers for an issuer, without a network: time can travel.
type issuerServer struct {
	mu      sync.Mutex
	body    string
	status  int
	headers http.Header
	away    bool
	slow    time.Duration
	fetched atomic.Int32
}

func (i *issuerServer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.fetched.Add(1)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.slow > 0 {
		select {
		case <-time.After(i.slow):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if i.away {
		return nil, errors.New("connection refused")
	}
	status := i.status
	if status == 0 {
		status = http.StatusOK
	}
	return &http.Response{StatusCode: status, Header: i.headers.Clone(), Body: io.NopCloser(strings.NewReader(i.body)), Request: r}, nil
}

func (i *issuerServer) publish(t *testing.T, keys ...*Key) {
	t.Helper()
	text, err := json.Marshal(NewKeySet(keys...))
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.body = string(text)
}

func (i *issuerServer) set(t *testing.T) *RemoteKeySet {
	t.Helper()
	s, err := NewRemoteKeySet("https://auth.example.org/oauth/jwks", &RemoteOptions{Client: &http.Client{Transport: i}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newES256(t *testing.T, id string) *Key {
	t.Helper()
	k, err := GenerateKey(ES256, id)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAKeySetIsFetchedOnceHoweverManyAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{slow: time.Second}
		i.publish(t, newES256(t, "a"))
		s := i.set(t)
		for range 50 {
			go func() {
				if set, err := s.KeySet(t.Context(), ""); err != nil || len(set.Keys()) != 1 {
					t.Errorf("%v, %v", set, err)
				}
			}()
		}
		time.Sleep(2 * time.Second)
		if n := i.fetched.Load(); n != 1 {
			t.Errorf("fetched %d times", n)
		}
	})
}

func TestAttackMadeUpKidsDoNotFloodTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{}
		i.publish(t, newES256(t, "a"))
		s := i.set(t)
		for n := range 10_000 {
			if _, err := s.KeySet(t.Context(), fmt.Sprint("made up ", n)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // 100 s in all
		}
		if n := i.fetched.Load(); n > 11 {
			t.Errorf("fetched %d times in 100 s", n)
		}
	})
}

// The issuer publishes a key, uses it later, and takes the old one away.
func TestKeysRotateWithoutARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{}
		a, b := newES256(t, "a"), newES256(t, "b")
		i.publish(t, a)
		v, err := NewVerifier(i.set(t), Expected{[]Algorithm{ES256}, issuer, []string{audience}, "at+jwt"}, &VerifierOptions[access]{Remember: 100})
		if err != nil {
			t.Fatal(err)
		}
		try := func(k *Key, want error) {
			t.Helper()
			if _, err := v.Verify(t.Context(), sign(t, newSigner(t, k), goodClaims())); !errors.Is(err, want) {
				t.Errorf("at %v: key %s: %v, want %v", time.Now(), k.ID(), err, want)
			}
		}
		try(a, nil)
		time.Sleep(time.Minute)
		i.publish(t, a, b)
		try(b, nil) // an unknown kid looks again
		i.publish(t, b)
		try(a, nil) // what is kept is good for ten minutes
		time.Sleep(10 * time.Minute)
		try(b, nil)
		try(a, ErrKey)
	})
}

func TestAVerifierServesOnWhileTheIssuerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{away: true}
		k := newES256(t, "a")
		i.publish(t, k)
		s := i.set(t)
		if _, err := s.KeySet(t.Context(), ""); !errors.Is(err, ErrKeysAway) || !errors.Is(err, admit.Unavailable) {
			t.Errorf("before the first fetch: %v", err)
		}
		i.away = false
		if _, err := s.KeySet(t.Context(), ""); !errors.Is(err, ErrKeysAway) {
			t.Errorf("within the cool-down: %v", err)
		}
		time.Sleep(10 * time.Second)
		first, err := s.KeySet(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, trouble := range []func(){
			func() { i.away = true },
			func() { i.away, i.status = false, 500 },
			func() { i.status, i.body = 200, "<html>" },
			func() { i.body = `{"keys":[]}` },
			func() { i.body = `{"keys":[{"kty":"EC"}]}` },
			func() { i.body = `{"keys":[` + strings.Repeat(`{"kty":"EC"},`, 100_000) + `{}]}` },
		} {
			trouble()
			time.Sleep(time.Hour)
			if got, err := s.KeySet(t.Context(), "b"); err != nil || got != first {
				t.Errorf("after %d fetches: %v, %v", i.fetched.Load(), got, err)
			}
		}
		time.Sleep(24 * time.Hour)
		if _, err := s.KeySet(t.Context(), ""); !errors.Is(err, ErrKeysAway) {
			t.Errorf("after a day: %v", err)
		}
	})
}

// An answer that says nothing new is the same set: what was remembered stays.
func TestTheSameKeysAreTheSameSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{headers: http.Header{"Cache-Control": {"public, max-age=90"}}}
		i.publish(t, newES256(t, "a"))
		s := i.set(t)
		first, err := s.KeySet(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if again, err := s.KeySet(t.Context(), ""); err != nil || again != first || i.fetched.Load() != 2 {
			t.Errorf("fetched %d times, same set: %t, %v", i.fetched.Load(), again == first, err)
		}
	})
}

func TestWithRunNoVerificationWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{}
		i.publish(t, newES256(t, "a"))
		s := i.set(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		i.mu.Lock()
		i.slow = time.Second
		i.mu.Unlock()
		for range 1000 {
			time.Sleep(7 * time.Second)
			begun := time.Now()
			if _, err := s.KeySet(ctx, ""); err != nil || time.Since(begun) > 0 {
				t.Fatalf("waited %v: %v", time.Since(begun), err)
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestKeysAreNotTakenOverPlainHTTP(t *testing.T) {
	for url, good := range map[string]bool{
		"https://auth.example.org/jwks": true, "http://localhost:8080/jwks": true, "http://127.0.0.1/jwks": true, "http://[::1]:1/jwks": true,
		"http://auth.example.org/jwks": false, "http://localhost.example.org/": false, "http://127.0.0.1.example.org/": false,
		"ftp://auth.example.org/": false, "file:///etc/passwd": false, "/jwks": false, "": false, "https://a:b@auth.example.org/": false, "https://": false,
	} {
		if _, err := NewRemoteKeySet(url, nil); (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
	i := &issuerServer{status: http.StatusFound, headers: http.Header{"Location": {"http://auth.example.org/"}}}
	if _, err := i.set(t).KeySet(t.Context(), ""); !errors.Is(err, ErrKeysAway) {
		t.Errorf("redirected to plain HTTP: %v", err)
	}
	if n := i.fetched.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
