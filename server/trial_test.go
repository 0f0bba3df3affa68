package server

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/smtptest"
)

func TestDoctorTriesMailAndSaysWhatToDo(t *testing.T) {
	refused := smtptest.Start(t, smtptest.Options{Rcpt: func(string) error { return smtptest.Refusal(550, [3]int{5, 1, 1}, "who is that") }})
	relay := smtptest.Start(t, smtptest.Options{Rcpt: func(string) error { return smtptest.Refusal(554, [3]int{5, 7, 1}, "relay access denied") }})
	grey := smtptest.Start(t, smtptest.Options{Rcpt: func(string) error { return smtptest.Refusal(451, [3]int{4, 7, 1}, "greylisted") }})
	locked := smtptest.Start(t, smtptest.Options{User: "admit", Password: "right"})
	stranger := smtptest.Start(t, smtptest.Options{TLS: true})
	good := smtptest.Start(t, smtptest.Options{})
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	for _, tt := range []struct {
		name, server, to, state, says, hint string
	}{
		{"mail that is taken", "smtp://" + good.Address, "ann@example.org", FindingOK, "look whether it arrives", ""},
		{"nobody there", "smtp://" + nobody.Addr().String(), "ann@example.org", FindingFail, "connection refused", "look at the port"},
		{"no such host", "smtp://mail.invalid", "ann@example.org", FindingFail, "reach the mail server", "DNS"},
		{"no such recipient", "smtp://" + refused.Address, "ann@example.org", FindingFail, "who is that", "no such recipient"},
		{"a relay that does not know us", "smtp://" + relay.Address, "ann@example.org", FindingFail, "554 5.7.1", "name a user"},
		{"greylisting", "smtp://" + grey.Address, "ann@example.org", FindingFail, "451", "later"},
		{"a wrong password", "smtp://admit@" + locked.Address, "ann@example.org", FindingFail, "AUTH", "password"},
		{"a certificate that nobody trusts", "smtps://" + stranger.Address, "ann@example.org", FindingFail, "certificate", "SSL_CERT_FILE"},
		{"no TLS", "smtps://" + good.Address, "ann@example.org", FindingFail, "TLS", "smtp://"},
		{"no address", "smtp://" + good.Address, "ann", FindingFail, "no message can go", "give an address"},
		{"nothing that sends", "", "ann@example.org", FindingFail, "nothing to send it by", "mail_server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			if tt.server != "" {
				cfg.MailServer, cfg.MailFrom = tt.server, "Example <no-reply@example.org>"
			}
			if strings.Contains(tt.server, "admit@") {
				cfg.MailPassword = admit.NewSecret("wrong")
			}
			f := Try(t.Context(), cfg, tt.to)
			if f.State != tt.state || f.Check != "mail" || !strings.Contains(f.Text, tt.says) || !strings.Contains(f.Hint, tt.hint) || f.State != FindingOK && f.Hint == "" {
				t.Errorf("%+v", f)
			}
			if strings.Contains(f.Text+f.Hint, "wrong") {
				t.Errorf("it tells the password: %+v", f)
			}
		})
	}
	if m := good.Mails(); len(m) != 1 || m[0].Subject != "A test message from localhost" {
		t.Errorf("%d mails: %+v", len(m), m)
	}
}

func TestDoctorTriesTextMessagesAndSaysWhatToDo(t *testing.T) {
	status, answer := 0, ""
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		w.Write([]byte(answer))
	}))
	defer hook.Close()
	host := strings.TrimPrefix(hook.URL, "http://")
	for _, tt := range []struct {
		name, server    string
		status          int
		answer          string
		state, says, to string
	}{
		{"a webhook that takes it", hook.URL, 204, "", FindingOK, "look whether it arrives", ""},
		{"a webhook that knows another secret", hook.URL, 401, "bad signature", FindingFail, "bad signature", "text_secret_file"},
		{"a webhook that is not there", hook.URL + "/none", 404, "", FindingFail, "404", "path"},
		{"Twilio with another token", "twilio://AC1@" + host, 401, `{"code":20003,"message":"Authenticate","status":401}`, FindingFail, "Authenticate", "token"},
		{"a number that is not ours", "twilio://AC1@" + host, 400, `{"code":21606,"message":"not yours","status":400}`, FindingFail, "not yours", "text_from"},
		{"a trial account", "twilio://AC1@" + host, 400, `{"code":21608,"message":"unverified","status":400}`, FindingFail, "unverified", "trial"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer = tt.status, tt.answer
			cfg := DefaultConfig()
			cfg.TextServer, cfg.TextFrom, cfg.TextSecret = tt.server, "+14155550000", admit.NewSecret("a secret of thirty two characters")
			if f := Try(t.Context(), cfg, "+14155552671"); f.State != tt.state || f.Check != "text" || !strings.Contains(f.Text, tt.says) || !strings.Contains(f.Hint, tt.to) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestSettingsOfSendersThatDoNotFitAreRefused(t *testing.T) {
	secret := admit.NewSecret("a secret of thirty two characters")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(*Config){
		"mail from nobody":          func(c *Config) { c.MailServer = "smtp://mail.example.org" },
		"mail by nothing":           func(c *Config) { c.MailFrom = "a@example.org" },
		"a user without a password": func(c *Config) { c.MailServer, c.MailFrom = "smtp://u@mail.example.org", "a@example.org" },
		"a password without a user": func(c *Config) {
			c.MailServer, c.MailFrom, c.MailPassword = "smtp://mail.example.org", "a@example.org", secret
		},
		"two passwords": func(c *Config) {
			c.MailServer, c.MailFrom, c.MailPassword, c.MailPasswordFile = "smtp://u@mail.example.org", "a@example.org", secret, "file"
		},
		"a password in the URL":          func(c *Config) { c.MailServer, c.MailFrom = "smtp://u:p@mail.example.org", "a@example.org" },
		"texts that nothing signs":       func(c *Config) { c.TextServer = "https://sms.example.org" },
		"texts by nothing":               func(c *Config) { c.TextSecret = secret },
		"Twilio from nobody":             func(c *Config) { c.TextServer, c.TextSecret = "twilio://AC1@api.twilio.com", secret },
		"a webhook that all can read":    func(c *Config) { c.TextServer, c.TextSecret = "http://sms.example.org", secret },
		"a file that is not there":       func(c *Config) { c.TextServer, c.TextSecretFile = "https://sms.example.org", "/nowhere" },
		"a file with nothing in it":      func(c *Config) { c.TextServer, c.TextSecretFile = "https://sms.example.org", empty },
		"a secret that could be guessed": func(c *Config) { c.TextServer, c.TextSecret = "https://sms.example.org", admit.NewSecret("short") },
	} {
		cfg := DefaultConfig()
		set(&cfg)
		err := cfg.Check()
		if err == nil {
			_, err = cfg.senders()
		}
		if !errors.Is(err, admit.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
