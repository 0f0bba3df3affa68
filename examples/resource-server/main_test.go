package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
)

const (
	audience = "https://api.example.org"
	feedKey  = "adm_k_test"
)

// issuer stands in for admit: it publishes its key and serves a feed.
func issuer(t *testing.T) (url string, key *jose.Key, endings *feed.Log) {
	key, err := jose.GenerateKey(jose.ES256, "")
	if err != nil {
		t.Fatal(err)
	}
	endings = feed.NewLog(nil)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/jwks", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(jose.NewKeySet(key)) })
	mux.Handle("GET /feed", feed.Handler(endings, func(r *http.Request) ([]string, error) {
		if r.Header.Get("Authorization") != "Bearer "+feedKey {
			return nil, admit.Unauthenticated.New("unknown_credential", "Not with this key.")
		}
		return []string{audience}, nil
	}, nil))
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL, key, endings
}

func TestOnlyATokenOfTheIssuerForThisServiceIsAnsweredUntilItEnds(t *testing.T) {
	url, key, endings := issuer(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	h, err := handler(ctx, url, audience, &access.Options{FeedToken: admit.NewSecret(feedKey)})
	if err != nil {
		t.Fatal(err)
	}
	claims := func(to string, lives time.Duration, sid string, roles ...string) *jose.Claims[access.Claims] {
		return &jose.Claims[access.Claims]{
			Issuer: url, Audience: []string{to}, Subject: "alice", Expires: time.Now().Add(lives), Data: access.Claims{SID: sid, SEV: 1, Roles: roles},
		}
	}
	token := func(k *jose.Key, typ string, c *jose.Claims[access.Claims]) string {
		s, err := jose.NewSigner[access.Claims](k, typ, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := s.Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + text
	}
	ask := func(method, header string) (int, string) {
		r := httptest.NewRequest(method, "/orders", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body, _ := io.ReadAll(w.Body)
		return w.Code, string(body)
	}
	await := func(method, header string, want int) string {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(time.Millisecond) {
			status, body := ask(method, header)
			if status == want {
				return body
			}
			if time.Since(begun) > 5*time.Second {
				t.Fatalf("%d %s, want %d", status, body, want)
			}
		}
	}
	alice := token(key, "at+jwt", claims(audience, time.Minute, "s1"))
	admin := token(key, "at+jwt", claims(audience, time.Minute, "s2", "admin"))
	await("GET", alice, 200) // before the first news, it is 503
	stranger, err := jose.GenerateKey(jose.ES256, key.ID())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		method, header string
		status         int
		says           string
	}{
		"a good token":         {"GET", alice, 200, "orders of alice"},
		"one without the role": {"DELETE", alice, 403, "role_needed"},
		"one with it":          {"DELETE", admin, 204, ""},
		"none":                 {"GET", "", 401, "not_signed_in"},
		"a password":           {"GET", "Basic YTpi", 401, "unknown_credential"},
		"an expired one":       {"GET", token(key, "at+jwt", claims(audience, -time.Second, "s1")), 401, "jwt_expired"},
		"another service's":    {"GET", token(key, "at+jwt", claims("https://other.example.org", time.Minute, "s1")), 401, "jwt_audience"},
		"an ID token":          {"GET", token(key, "JWT", claims(audience, time.Minute, "s1")), 401, "jwt_type"},
		"a forged one":         {"GET", token(stranger, "at+jwt", claims(audience, time.Minute, "s1")), 401, "jwt_signature"},
		"nonsense":             {"GET", "Bearer x.y", 401, "jwt_malformed"},
	} {
		if status, body := ask(test.method, test.header); status != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}

	until := time.Now().Add(time.Minute)
	if err := endings.Append(ctx, time.Now(), feed.SessionEnded("s1", "alice", "signed_out", until)); err != nil {
		t.Fatal(err)
	}
	if body := await("GET", alice, 401); !strings.Contains(body, "session_ended") {
		t.Errorf("after signing out: %s", body)
	}
	if err := endings.Append(ctx, time.Now(), feed.SubjectRaised("alice", 2, "roles_changed", until)); err != nil {
		t.Fatal(err)
	}
	if body := await("DELETE", admin, 401); !strings.Contains(body, "stale_claims") {
		t.Errorf("after the role was taken back: %s", body)
	}
}
