package access_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
)

const (
	audience = "https://api.example.org"
	feedKey  = "adm_k_test"
)

// An issuer publishes keys and serves a feed, as admit does.
type issuer struct {
	url     string
	feed    *feed.Log
	fetched atomic.Int32 // how often the keys were
	away    atomic.Bool  // answers 500 to all

	mu      sync.Mutex
	keys    []*jose.Key // the last one signs
	streams map[context.Context]context.CancelFunc
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{feed: feed.NewLog(nil), streams: map[context.Context]context.CancelFunc{}}
	i.rotate(t, "k1")
	mux := http.NewServeMux()
	var cached []byte // by what stands in between, until someone wants it newer
	mux.HandleFunc("GET /oauth/jwks", func(w http.ResponseWriter, r *http.Request) {
		i.fetched.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		if cached == nil || r.Header.Get("Cache-Control") == "no-cache" {
			var err error
			if cached, err = json.Marshal(jose.NewKeySet(i.keys...)); err != nil {
				t.Error(err)
			}
		}
		w.Write(cached)
	})
	mux.Handle("GET /feed", feed.Handler(i.feed, func(r *http.Request) ([]string, error) {
		if r.Header.Get("Authorization") != "Bearer "+feedKey {
			return nil, admit.Unauthenticated.New("unknown_credential", "Not with this key.")
		}
		return []string{audience}, nil
	}, nil))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.away.Load() {
			http.Error(w, "away", http.StatusInternalServerError)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		i.mu.Lock()
		i.streams[ctx] = cancel
		i.mu.Unlock()
		defer func() {
			i.mu.Lock()
			delete(i.streams, ctx)
			i.mu.Unlock()
			cancel()
		}()
		mux.ServeHTTP(w, r.WithContext(ctx))
	}))
	t.Cleanup(func() {
		i.cut()
		server.Close()
	})
	i.url = server.URL
	return i
}

// cut breaks off all streams, and answers nothing more.
func (i *issuer) cut() {
	i.away.Store(true)
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, cancel := range i.streams {
		cancel()
	}
}

// rotate has another key sign; the older ones stay published.
func (i *issuer) rotate(t testing.TB, kid string) {
	t.Helper()
	k, err := jose.GenerateKey(jose.ES256, kid)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, k)
}

// drop takes back all keys but the last.
func (i *issuer) drop() (dropped *jose.Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	dropped = i.keys[0]
	i.keys = i.keys[len(i.keys)-1:]
	return dropped
}

func (i *issuer) end(t testing.TB, events ...feed.Event) {
	t.Helper()
	if err := i.feed.Append(context.Background(), time.Now(), events...); err != nil {
		t.Fatal(err)
	}
}

// claims are those of a token that counts.
func (i *issuer) claims() *jose.Claims[access.Claims] {
	return &jose.Claims[access.Claims]{
		Issuer: i.url, Subject: "alice", Audience: []string{audience}, Expires: time.Now().Add(5 * time.Minute), ID: "j1",
		Data: access.Claims{
			ClientID: "admit", Scope: "orders:read orders:write", Roles: []string{"editor"}, SID: "s1", GID: "g1", SEV: 3,
			AuthTime: 1_700_000_000, ACR: "1", AMR: []string{"pwd", "otp"},
		},
	}
}

func (i *issuer) sign(t testing.TB, c *jose.Claims[access.Claims]) string {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	return signWith(t, i.keys[len(i.keys)-1], "at+jwt", c)
}

func signWith(t testing.TB, key *jose.Key, typ string, c *jose.Claims[access.Claims]) string {
	t.Helper()
	s, err := jose.NewSigner[access.Claims](key, typ, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// run makes a verifier of the issuer's tokens and runs it until the test ends.
func (i *issuer) run(t testing.TB, o access.Options) *access.Verifier {
	t.Helper()
	if o.Feed == nil && !o.InsecureNoFeed {
		o.FeedToken = admit.NewSecret(feedKey)
	}
	v, err := access.NewVerifier(i.url, audience, &o)
	if err != nil {
		t.Fatal(err)
	}
	start(t, v)
	return v
}

func start(t testing.TB, v *access.Verifier) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	if err := v.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request to a service behind the verifier.
func ask(t testing.TB, v *access.Verifier, header string) (status int, code string, answer http.Header) {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	w := httptest.NewRecorder()
	authn.New(v).Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := admit.FromContext(r.Context())
		io.WriteString(w, p.Subject)
	})).ServeHTTP(w, r)
	if w.Code == 200 {
		return w.Code, w.Body.String(), w.Header()
	}
	var p struct{ Code string }
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return w.Code, p.Code, w.Header()
}

func await(t testing.TB, what string, true func() bool) {
	t.Helper()
	for begun := time.Now(); !true(); time.Sleep(50 * time.Microsecond) {
		if time.Since(begun) > 8*time.Second {
			t.Fatalf("%s did not come", what)
		}
	}
}
