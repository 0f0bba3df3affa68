package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

func TestMailThatIsStuckAndACertificateThatExpiresAreToldOnce(t *testing.T) {
	var log bytes.Buffer
	s, err := New(t.Context(), Config{Dev: true, Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", Data: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := time.Now()
	expires := now.Add(30 * 24 * time.Hour)
	s.certificate = func() time.Time { return expires }
	in := account.SignUp{Identifier: "ann@example.org", Password: admit.NewSecret("a long password of ann")}
	if _, _, err := s.accounts.SignUp(t.Context(), in, account.Origin{}, now); err != nil {
		t.Fatal(err)
	}
	ready := func(want ...string) {
		t.Helper()
		w := httptest.NewRecorder()
		s.readiness(w, httptest.NewRequest("GET", "/readyz", nil))
		body := w.Body.String()
		if w.Code != 200 || strings.Count(body, `"code"`) != len(want) {
			t.Errorf("ready: %d %s, want %v", w.Code, body, want)
		}
		for _, code := range want {
			if !strings.Contains(body, code) {
				t.Errorf("ready: %s, want %s", body, code)
			}
		}
	}
	s.look(t.Context(), now)
	ready()
	for after := 6 * time.Minute; after < 8*time.Minute; after += time.Minute {
		s.look(t.Context(), now.Add(after))
	}
	ready("mail_stuck")
	expires = now.Add(13 * 24 * time.Hour)
	s.look(t.Context(), now.Add(9*time.Minute))
	ready("mail_stuck", "certificate_expiring")
	if _, err := s.accounts.Deliver(t.Context(), now.Add(9*time.Minute), func(context.Context, account.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
	expires = now.Add(90 * 24 * time.Hour)
	s.look(t.Context(), now.Add(10*time.Minute))
	ready()
	for line, want := range map[string]int{
		`msg="mail waits in the outbox for too long"`:                                              1,
		`msg="over: mail waits in the outbox for too long"`:                                        1,
		`msg="the certificate expires soon, or has expired, and was not renewed"`:                  1,
		`msg="over: the certificate expires soon, or has expired, and was not renewed"`:            1,
		`condition=mail_stuck waiting=1 oldest=6m0s`:                                               1,
		`condition=mail_stuck waiting=0 oldest=0s stood=4m0s`:                                      1,
		`condition=clock_jumped`:                                                                   0,
		`condition=`:                                                                               4,
		`level=ERROR msg="mail waits in the outbox for too long"`:                                  1,
		`level=INFO msg="over: the certificate expires soon, or has expired, and was not renewed"`: 1,
		`level=ERROR msg="the certificate expires soon, or has expired, and was not renewed" cond`: 1,
	} {
		if got := strings.Count(log.String(), line); got != want {
			t.Errorf("%q stands in the log %d times, want %d:\n%s", line, got, want, &log)
		}
	}
	if strings.Contains(log.String(), "ann") {
		t.Errorf("the log names people:\n%s", &log)
	}
}

func TestTheOperationsListenerIsNotForThePublic(t *testing.T) {
	for addr, ok := range map[string]bool{
		"":                 true,
		"localhost:9090":   true,
		"127.0.0.1:9090":   true,
		"[::1]:9090":       true,
		"10.1.2.3:9090":    true,
		"192.168.0.7:9090": true,
		"[fd00::1]:9090":   true,
		"0.0.0.0:9090":     true, // in a container there is no other
		":9090":            true,
		"203.0.113.7:9090": false,
		"[2001:db8::1]:90": false,
		"example.org:9090": false,
		"localhost":        false,
	} {
		cfg := DefaultConfig()
		cfg.OpsListen = addr
		if err := cfg.Check(); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
	cfg := DefaultConfig()
	cfg.OpsListen = "203.0.113.7:9090"
	if err := cfg.Check(); !errors.Is(err, ErrConfigOps) {
		t.Errorf("%v", err)
	}
}
