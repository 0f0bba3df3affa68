package server_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
)

// reread lets the server take a configuration that differs from its own.
func (s *site) reread(change func(*server.Config)) (server.Reloaded, error) {
	cfg := server.Config{Data: s.data, Dev: true, DevKey: admit.NewSecret(devKey)}
	change(&cfg)
	return s.server.Reload(context.Background(), cfg)
}

func TestWhatIsLiveChangesWithoutARestart(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	found, err := s.reread(func(cfg *server.Config) {
		cfg.PasswordMinLength, cfg.CORSOrigins, cfg.ReturnHosts, cfg.LogFormat = 30, []string{"https://app.example.org"}, []string{"app.example.org"}, "json"
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"cors_origins", "return_hosts", "password_min_length"}; !slices.Equal(found.Changed, want) {
		t.Errorf("changed are %q, want %q", found.Changed, want)
	}
	if want := []string{"log_format"}; !slices.Equal(found.Waiting, want) {
		t.Errorf("waiting are %q, want %q", found.Waiting, want)
	}
	c.get("session").want(200) // sessions go on
	s.client().post("signup", m{"identifier": "bob", "password": goodPassword}).want(400, "password_too_short")
	r := s.client().get("session", func(r *http.Request) { r.Header.Set("Origin", "https://app.example.org") })
	if got := r.header.Get("Access-Control-Allow-Origin"); got != "https://app.example.org" {
		t.Errorf("the new origin is told %q", got)
	}
	if r := s.client().page("GET", "/signin?return_to=https://app.example.org/", nil); r.status != 200 {
		t.Errorf("the new host is refused with %d", r.status)
	}
	if found, err := s.reread(func(cfg *server.Config) {}); err != nil || len(found.Changed) != 3 {
		t.Errorf("back again: %+v, %v", found, err)
	}
	s.client().post("signup", m{"identifier": "bob", "password": goodPassword}).want(201)
}

func TestAConfigurationWithAMistakeChangesNothing(t *testing.T) {
	s := newSite(t)
	for name, change := range map[string]func(*server.Config){
		"a value that cannot be": func(cfg *server.Config) {
			cfg.PasswordMinLength, cfg.CORSOrigins = 99, []string{"https://app.example.org"}
		},
		"a contradiction": func(cfg *server.Config) {
			cfg.PasswordMinLength, cfg.PublicURL = 30, "https://id.example.org"
		},
	} {
		found, err := s.reread(change)
		if !errors.Is(err, admit.Invalid) || len(found.Changed) > 0 {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	s.client().post("signup", m{"identifier": "ann", "password": goodPassword}).want(201)
}

func TestEverySettingIsTakenLiveOrNamed(t *testing.T) {
	s := newSite(t)
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("shop="+strings.Repeat("s", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	var changed, waiting []string
	for _, cfg := range []server.Config{ // what cannot be had together comes in turns
		{
			Listen: "localhost:9", PublicURL: "", CORSOrigins: []string{"https://a.example"}, ReturnHosts: []string{"a.example"},
			PasswordMinLength: 20, LogLevel: 4, LogFormat: "json", Data: "elsewhere", Dev: false, Theme: themeOf(t, nil),
			MasterKeyFile: "f", KeyRotation: "7", AuditKeep: "7d", FactorLossDelay: "5d", TLSCert: "c", TLSKey: "k", MaxConnections: 100, OpsListen: "localhost:8", OTLPEndpoint: "http://localhost:4318",
			BreachedFile: "b", BreachedURL: "https://range.example.org/range",
		},
		{
			TextBudgetHour: "3", TextBudgetDay: "4", TextPrices: []string{"49=0.08"}, TextBudgetDry: true,
			MailServer: "smtp://user@mail.example.org", MailFrom: "no-reply@example.org", MailPasswordFile: secrets,
			TextServer: "https://sms.example.org/send", TextFrom: "admit", TextSecretFile: secrets,
		},
		{MasterKeyCommand: "c", ClientNetworks: []string{"10.20.0.0/16"}, Registration: "open", Audiences: []string{"https://api.example.org"}, TrustedProxy: []string{"127.0.0.1"}, PublicURL: "https://id.example.org"},
		{HandoverSites: []string{"shop=https://shop.example.net/arrive"}, HandoverSecretsFile: secrets},
		{Redis: "redis://cache.example.org", Database: "postgres://u@db.example.org/d"},
		{ACME: []string{"a.example"}, ACMEDirectory: "https://a.example/dir", ListenHTTP: ":80", Listen: ":443", PublicURL: "https://a.example"},
	} {
		found, err := s.server.Reload(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		changed, waiting = append(changed, found.Changed...), append(waiting, found.Waiting...)
	}
	for _, each := range server.DefaultConfig().Settings() {
		if each.Flag == "" {
			continue
		}
		if slices.Contains(changed, each.Name) != each.Live || slices.Contains(waiting, each.Name) == each.Live {
			t.Errorf("%s, live: %v, is not where it belongs: changed %v, waiting %v", each.Name, each.Live, changed, waiting)
		}
	}
}

func TestNoRequestFailsDuringAReload(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	var work sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		work.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					c.get("session").want(200)
				}
			}
		})
	}
	for i := range 10 {
		if _, err := s.reread(func(cfg *server.Config) { cfg.PasswordMinLength = 8 + i }); err != nil {
			t.Error(err)
		}
	}
	close(done)
	work.Wait()
}
