package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/server"
)

// A hurry is a network on which nobody has to wait: the answer's interval is a second.
type hurry struct{}

func (hurry) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, "/device") {
		text, _ := io.ReadAll(answer.Body)
		answer.Body = io.NopCloser(bytes.NewReader(bytes.Replace(text, []byte(`"interval":5`), []byte(`"interval":1`), 1)))
	}
	return answer, err
}

// A person is somebody with a browser.
type person struct {
	*testing.T
	http *http.Client
}

func (p *person) send(to, kind, body string) string {
	p.Helper()
	res, err := p.http.Post(to, kind, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 {
		p.Fatalf("%s: %s %s", to, res.Status, text)
	}
	return string(text)
}

var flow = regexp.MustCompile(`name="flow" value="([^"]+)"`)

func TestACommandLineIsSignedInByABrowser(t *testing.T) {
	data := t.TempDir()
	s, err := server.New(t.Context(), server.Config{Listen: "localhost:0", Data: data, Dev: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	issuer := s.Ready().URL
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(data, "admit.sock")); err == nil {
			break // commands are heard
		}
	}
	o, err := server.Connect(t.Context(), server.Config{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := o.AddClient(t.Context(), server.NewClient{ID: "cli", Name: "Example CLI", Public: true, GrantTypes: []string{"device_code", "refresh_token"}}); err != nil {
		t.Fatal(err)
	}
	jar, _ := cookiejar.New(nil) // nil options do not fail
	ann := &person{t, &http.Client{Jar: jar}}
	ann.send(issuer+"/api/v1/signup", "application/json", `{"identifier":"ann","password":"a long password of ann","name":"Ann Example"}`)

	decision, stored := "allow", ""
	d := &Device{
		Issuer: issuer, ClientID: "cli", HTTP: &http.Client{Transport: hurry{}},
		Show: func(page, code, _ string) {
			shown := ann.send(page, "application/x-www-form-urlencoded", url.Values{"user_code": {code}}.Encode())
			m := flow.FindStringSubmatch(shown)
			if m == nil {
				t.Fatalf("the page asks for no decision:\n%s", shown)
			}
			ann.send(page, "application/x-www-form-urlencoded", url.Values{"flow": {m[1]}, "decision": {decision}}.Encode())
		},
		Load: func() (string, error) { return stored, nil },
		Save: func(refresh string) error { stored = refresh; return nil },
	}
	if err := run(t.Context(), d, []string{"signin"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	for range 2 { // with the next refresh token, too
		var out strings.Builder
		if err := run(t.Context(), d, []string{"whoami"}, &out); err != nil || out.String() != "Ann Example\n" {
			t.Errorf("it is %q, %v", out.String(), err)
		}
	}
	decision = "deny"
	if err := d.SignIn(t.Context()); !errors.Is(err, Refusal("access_denied")) {
		t.Errorf("where nobody lets it in: %v", err)
	}
}

// A script is an issuer that gives one answer after the other.
type script struct {
	answers []string
	polls   []time.Duration
	begun   time.Time
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	switch r.URL.Path {
	case "/token":
		s.polls = append(s.polls, time.Since(s.begun))
		answer := "authorization_pending"
		if len(s.answers) > 0 {
			answer, s.answers = s.answers[0], s.answers[1:]
		}
		switch answer {
		case "":
			return nil, errors.New("connection lost")
		case "tokens":
			io.WriteString(w, `{"access_token":"a","refresh_token":"r"}`)
		default:
			w.WriteHeader(400)
			io.WriteString(w, `{"error":"`+answer+`"}`)
		}
	case "/device":
		io.WriteString(w, `{"device_code":"d","user_code":"WDJB-MJHT","expires_in":58}`)
	default:
		io.WriteString(w, `{"device_authorization_endpoint":"http://x/device","token_endpoint":"http://x/token"}`)
	}
	return w.Result(), nil
}

func TestItWaitsAsItIsToldAndLongerWhereNobodyAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answers []string
		polls   []int // in seconds
		want    error
	}{
		"pending":   {[]string{"authorization_pending", "authorization_pending", "tokens"}, []int{5, 10, 15}, nil},
		"slow down": {[]string{"slow_down", "authorization_pending", "tokens"}, []int{5, 15, 25}, nil},
		"no answer": {[]string{"", "tokens"}, []int{5, 15}, nil},
		"denied":    {[]string{"access_denied"}, []int{5}, Refusal("access_denied")},
		"too late":  {nil, []int{5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55}, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers, begun: time.Now()}
				d := &Device{
					Issuer: "http://x", HTTP: &http.Client{Transport: s}, Show: func(string, string, string) {}, Save: func(string) error { return nil },
				}
				if err := d.SignIn(t.Context()); !errors.Is(err, c.want) {
					t.Errorf("SignIn = %v, want %v", err, c.want)
				}
				for i, at := range s.polls {
					if i >= len(c.polls) || at != time.Duration(c.polls[i])*time.Second {
						t.Fatalf("it asks at %v, want %v", s.polls, c.polls)
					}
				}
				if len(s.polls) != len(c.polls) {
					t.Errorf("it asks at %v, want %v", s.polls, c.polls)
				}
			})
		})
	}
}
