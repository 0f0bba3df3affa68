package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
)

const audience = "https://api.example.org"

func TestOnlyATokenOfTheIssuerForThisServiceIsAnswered(t *testing.T) {
	key, err := jose.GenerateKey(jose.ES256, "")
	if err != nil {
		t.Fatal(err)
	}
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(jose.NewKeySet(key))
	}))
	defer issuer.Close()
	h, err := handler(issuer.URL, audience)
	if err != nil {
		t.Fatal(err)
	}
	token := func(k *jose.Key, typ, to string, lives time.Duration) string {
		s, err := jose.NewSigner[Access](k, typ, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := s.Sign(&jose.Claims[Access]{Issuer: issuer.URL, Audience: []string{to}, Subject: "alice", Expires: time.Now().Add(lives)})
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + text
	}
	stranger, err := jose.GenerateKey(jose.ES256, key.ID())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		header string
		status int
		says   string
	}{
		"a good token":      {token(key, "at+jwt", audience, time.Minute), 200, "hello alice"},
		"none":              {"", 401, "not_signed_in"},
		"a password":        {"Basic YTpi", 401, "unknown_credential"},
		"an expired one":    {token(key, "at+jwt", audience, -time.Second), 401, "jwt_expired"},
		"another service's": {token(key, "at+jwt", "https://other.example.org", time.Minute), 401, "jwt_audience"},
		"an ID token":       {token(key, "JWT", audience, time.Minute), 401, "jwt_type"},
		"a forged one":      {token(stranger, "at+jwt", audience, time.Minute), 401, "jwt_signature"},
		"nonsense":          {"Bearer x", 401, "jwt_malformed"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if test.header != "" {
			r.Header.Set("Authorization", test.header)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if body, _ := io.ReadAll(w.Body); w.Code != test.status || !strings.Contains(string(body), test.says) {
			t.Errorf("%s: %d %s", name, w.Code, body)
		}
	}
}
