// Command mobile-client signs in as an app on a phone does: it keeps a refresh
// token where only it can read, and gets a new access token whenever the one it
// has is over.
//
//	go run ./examples/mobile-client signin ann < password.txt
//	go run ./examples/mobile-client get http://localhost:8082/orders
//
// ISSUER is where admit is, and TOKEN_FILE, ./refresh-token unless it is set, what
// the key store is on a phone.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// ErrSignIn: only a sign-in helps.
var ErrSignIn = errors.New("sign in again")

// A Session is one sign-in. It may be used by many goroutines at once.
type Session struct {
	Issuer string
	HTTP   *http.Client
	// Load and Save keep the refresh token, in the phone's key store.
	Load func() (string, error)
	Save func(refresh string) error

	mu     sync.Mutex // guards access, and is held while it is renewed
	access string
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	State   string `json:"state"`
	Code    string `json:"code"` // of a refusal
}

// SignIn begins a session.
func (s *Session) SignIn(ctx context.Context, name, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(ctx, "/api/v1/signin", map[string]any{"identifier": name, "password": password, "as": "jwt", "remember": true})
}

// take asks the issuer for tokens, and stores the refresh token before the one
// before it is of no use any more.
func (s *Session) take(ctx context.Context, path string, body map[string]any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	var t tokens
	// Without an answer nobody knows whether it was done. Whoever asks again at
	// once, with the same token, gets the same successor.
	for try := 1; ; try++ {
		var status int
		if status, err = s.post(ctx, path, text, &t); err == nil && status != http.StatusServiceUnavailable {
			break
		}
		if try == 3 {
			return fmt.Errorf("ask the issuer: %w", cmp.Or(err, errors.New("it is busy")))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * time.Second / 2):
		}
	}
	if t.Access == "" || t.Refresh == "" {
		return fmt.Errorf("%s: %w", cmp.Or(t.Code, t.State), ErrSignIn)
	}
	s.access = t.Access
	return s.Save(t.Refresh)
}

func (s *Session) post(ctx context.Context, path string, body []byte, into any) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Issuer+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := s.HTTP.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	return answer.StatusCode, json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(into)
}

// renew returns an access token that is not the one that was of no use. Of many
// who ask at once, one refreshes.
func (s *Session) renew(ctx context.Context, useless string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.access != useless {
		return s.access, nil
	}
	refresh, err := s.Load()
	if err == nil {
		err = s.take(ctx, "/api/v1/refresh", map[string]any{"refresh_token": refresh})
	}
	return s.access, err
}

// Get asks a service. A token that is over, or says what is true no more, is
// renewed once, and nobody is bothered.
func (s *Session) Get(ctx context.Context, url string) (*http.Response, error) {
	s.mu.Lock()
	token := s.access
	s.mu.Unlock()
	for tried := token == ""; ; tried = true {
		if tried {
			var err error
			if token, err = s.renew(ctx, token); err != nil {
				return nil, err
			}
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := s.HTTP.Do(r)
		if err != nil || tried || answer.StatusCode != http.StatusUnauthorized {
			return answer, err // 503 is no reason to throw a token away
		}
		answer.Body.Close()
	}
}

func main() {
	log.SetFlags(0)
	file := cmp.Or(os.Getenv("TOKEN_FILE"), "refresh-token")
	s := &Session{
		Issuer: cmp.Or(os.Getenv("ISSUER"), "http://localhost:8080"),
		HTTP:   &http.Client{Timeout: 10 * time.Second},
		Load:   func() (string, error) { text, err := os.ReadFile(file); return string(text), err },
		Save:   func(refresh string) error { return os.WriteFile(file, []byte(refresh), 0o600) },
	}
	if err := run(context.Background(), s, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, s *Session, args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 2 && args[0] == "signin":
		password, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		return s.SignIn(ctx, args[1], strings.TrimSuffix(string(password), "\n"))
	case len(args) == 2 && args[0] == "get":
		answer, err := s.Get(ctx, args[1])
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, err = io.Copy(out, answer.Body)
		return err
	}
	return errors.New("usage: signin NAME < password.txt, or get URL")
}
