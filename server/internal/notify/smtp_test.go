package notify

import (
	"context"
	"errors"
	"io"
	"net"
	"net/mail"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/smtptest"
)

var sample = account.Message{
	ID: 7, Key: "k7", Name: "signup_code", To: "ann@example.org", Channel: "mail", Subject: "您的验证码：123456", Code: "123456",
	Text: "Hello\n\n.a line with a dot first\n" + strings.Repeat("long ", 300) + "\n", HTML: "<p>Hello</p>", At: time.Date(2026, 11, 26, 7, 0, 0, 0, time.UTC),
}

// sender returns one for a server of tests, as the URL's scheme would.
func sender(t *testing.T, s *smtptest.Server, set func(*MailServer)) *SMTP {
	t.Helper()
	server, ok := ParseMailServer("smtp://" + s.Address)
	if !ok || !server.Plain {
		t.Fatalf("%+v, %v", server, ok)
	}
	if set != nil {
		set(&server)
	}
	from, err := ParseSender("Example <no-reply@example.org>")
	if err != nil {
		t.Fatal(err)
	}
	to := NewSMTP(server, admit.NewSecret("password"), from)
	to.roots = s.Roots
	t.Cleanup(to.Close)
	return to
}

func TestMailArrivesAsItWasWrittenAndIsTheSameMailTwice(t *testing.T) {
	s := smtptest.Start(t, smtptest.Options{})
	to := sender(t, s, nil)
	for range 2 {
		if err := to.Send(t.Context(), sample); err != nil {
			t.Fatal(err)
		}
	}
	got := s.Mails()
	if len(got) != 2 {
		t.Fatalf("%d mails", len(got))
	}
	m := got[0]
	if m.From != "no-reply@example.org" || m.To != sample.To || m.Subject != sample.Subject || strings.ReplaceAll(m.Text, "\r\n", "\n") != sample.Text || strings.TrimSpace(m.HTML) != sample.HTML {
		t.Errorf("%+v", m)
	}
	for name, want := range map[string]string{
		"Message-Id": "<k7@example.org>", "From": `"Example" <no-reply@example.org>`, "To": "<ann@example.org>", "Auto-Submitted": "auto-generated",
		"Date": "Thu, 26 Nov 2026 07:00:00 +0000", "Mime-Version": "1.0",
	} {
		if m.Header.Get(name) != want {
			t.Errorf("%s: %s, want %s", name, m.Header.Get(name), want)
		}
	}
	if got[0].Raw != got[1].Raw {
		t.Errorf("the second is another mail:\n%s\n%s", got[0].Raw, got[1].Raw)
	}
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections for two mails in a row", n)
	}
}

func TestTheMailServerShowsWhoItIsAndWeShowWhoWeAre(t *testing.T) {
	for _, tt := range []struct {
		name     string
		o        smtptest.Options
		set      func(*MailServer)
		distrust bool
		refused  string
	}{
		{"STARTTLS", smtptest.Options{STARTTLS: true, User: "admit", Password: "password"}, func(m *MailServer) { m.Plain, m.User = false, "admit" }, false, ""},
		{"TLS from the first byte", smtptest.Options{TLS: true, User: "admit", Password: "password"}, func(m *MailServer) { m.Plain, m.Implicit, m.User = false, true, "admit" }, false, ""},
		{"neither, on this machine", smtptest.Options{User: "admit", Password: "password"}, func(m *MailServer) { m.User = "admit" }, false, ""},
		{"no STARTTLS where it is demanded", smtptest.Options{}, func(m *MailServer) { m.Plain = false }, false, "STARTTLS"},
		{"STARTTLS by a stranger", smtptest.Options{STARTTLS: true}, func(m *MailServer) { m.Plain = false }, true, "certificate"},
		{"TLS by a stranger", smtptest.Options{TLS: true}, func(m *MailServer) { m.Plain, m.Implicit = false, true }, true, "certificate"},
		{"another password", smtptest.Options{STARTTLS: true, User: "admit", Password: "other"}, func(m *MailServer) { m.Plain, m.User = false, "admit" }, false, "AUTH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := smtptest.Start(t, tt.o)
			to := sender(t, s, tt.set)
			if tt.distrust {
				to.roots = nil
			}
			err := to.Send(t.Context(), sample)
			if tt.refused != "" {
				f, ok := errors.AsType[*account.Failure](err)
				if !ok || f.Final || f.Unsure || !strings.Contains(err.Error(), tt.refused) || len(s.Mails()) != 0 {
					t.Errorf("Send: %#v, %v; %d mails", f, err, len(s.Mails()))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m := s.Mails()[0]
			if m.TLS != (tt.o.STARTTLS || tt.o.TLS) || m.User != tt.o.User {
				t.Errorf("TLS is %v, the user %q", m.TLS, m.User)
			}
		})
	}
}

func TestWhatAMailServerRefusesIsToldApart(t *testing.T) {
	for _, tt := range []struct {
		name          string
		rcpt, data    error
		final, unsure bool
		code          string
	}{
		{"no such mailbox", smtptest.Refusal(550, [3]int{5, 1, 1}, "<ann@example.org>: no such user"), nil, true, false, "mail 550 5.1.1"},
		{"greylisting", smtptest.Refusal(451, [3]int{4, 7, 1}, "ann@example.org: try later"), nil, false, false, "mail 451 4.7.1"},
		{"a relay that does not know us", smtptest.Refusal(554, [3]int{5, 7, 1}, "relay access denied"), nil, false, false, "mail 554 5.7.1"},
		{"a message that nobody wants", nil, smtptest.Refusal(552, [3]int{5, 3, 4}, "too big for ann@example.org"), true, false, "mail 552 5.3.4"},
		{"a queue that is full", nil, smtptest.Refusal(452, [3]int{4, 3, 1}, "later"), false, false, "mail 452 4.3.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := smtptest.Start(t, smtptest.Options{Rcpt: func(string) error { return tt.rcpt }, Data: func(*smtptest.Mail) error { return tt.data }})
			err := sender(t, s, nil).Send(t.Context(), sample)
			f, ok := errors.AsType[*account.Failure](err)
			if !ok || f.Final != tt.final || f.Unsure != tt.unsure || f.Code != tt.code {
				t.Errorf("Send: %#v, %v", f, err)
			}
			if err == nil || strings.Contains(err.Error(), "ann@") {
				t.Errorf("%v tells of the recipient", err)
			}
		})
	}
}

func TestAMailServerThatHangsAfterDATAMayHaveTheMail(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	s := smtptest.Start(t, smtptest.Options{Data: func(*smtptest.Mail) error { <-hang; return nil }})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := sender(t, s, nil).Send(ctx, sample)
	if f, ok := errors.AsType[*account.Failure](err); !ok || !f.Unsure || f.Final {
		t.Errorf("Send: %#v, %v", f, err)
	}
}

func TestAMailServerThatSaysNothingHoldsUpAMessageOnlyAsLongAsItIsGiven(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			open <- c
		}
	}()
	server, _ := ParseMailServer("smtp://" + l.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = NewSMTP(server, admit.Secret{}, &mail.Address{Address: "a@example.org"}).Send(ctx, sample)
	if f, ok := errors.AsType[*account.Failure](err); !ok || f.Unsure || f.Final {
		t.Errorf("Send: %#v, %v", f, err)
	}
	// The connection is closed by us, not left to it.
	c := <-open
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the connection is still open: %v", err)
	}
}

func TestAConnectionThatTheServerClosedIsMadeAnew(t *testing.T) {
	var mails atomic.Int32
	o := smtptest.Options{Data: func(*smtptest.Mail) error { mails.Add(1); return nil }}
	s := smtptest.Start(t, o)
	to := sender(t, s, nil)
	if err := to.Send(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	s.Close()
	o.Address = s.Address
	smtptest.Start(t, o)
	if err := to.Send(t.Context(), sample); err != nil || mails.Load() != 2 {
		t.Errorf("Send: %v; %d mails", err, mails.Load())
	}
}

func TestAMailServerIsReadFromAURL(t *testing.T) {
	for text, want := range map[string]MailServer{
		"smtp://mail.example.org":                     {Host: "mail.example.org", Port: 587},
		"smtp://me%40example.org@mail.example.org:25": {Host: "mail.example.org", Port: 25, User: "me@example.org"},
		"smtps://u@mail.example.org":                  {Host: "mail.example.org", Port: 465, Implicit: true, User: "u"},
		"smtp+insecure://mail.internal":               {Host: "mail.internal", Port: 25, Plain: true},
		"smtp://127.0.0.1:25":                         {Host: "127.0.0.1", Port: 25, Plain: true},
		"smtp://[::1]:25/":                            {Host: "::1", Port: 25, Plain: true},
		"smtps://127.0.0.1":                           {Host: "127.0.0.1", Port: 465, Implicit: true},
	} {
		if got, ok := ParseMailServer(text); !ok || got != want {
			t.Errorf("%s is %+v, %v, want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "mail.example.org", "mail.example.org:25", "http://mail.example.org", "smtp://u:secret@mail.example.org", "smtp://mail.example.org/x", "smtp://mail.example.org?tls=no", "smtp://:25", "smtp://mail.example.org:0", "smtp:mail"} {
		if got, ok := ParseMailServer(text); ok {
			t.Errorf("%s is %+v", text, got)
		}
	}
}

func FuzzServersAreURLsWithoutSecrets(f *testing.F) {
	for _, text := range []string{"smtp://a@b.c:25", "smtps://b", "https://a.b/c?d", "twilio://AC1@api.twilio.com", "twilio://SK1@127.0.0.1:80/AC1", "http://[::1]:80/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if m, ok := ParseMailServer(text); ok && (m.Host == "" || m.Port <= 0 || m.Port > 65535 || m.Implicit && m.Plain) {
			t.Errorf("%q is %+v", text, m)
		}
		if s, ok := ParseTextServer(text); ok && (!strings.HasPrefix(s.URL, "http") || s.Twilio && (s.User == "" || strings.Contains(s.Account, "/"))) {
			t.Errorf("%q is %+v", text, s)
		}
	})
}
