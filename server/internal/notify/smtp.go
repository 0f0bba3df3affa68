package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// A MailServer is where mail is handed over.
type MailServer struct {
	Host     string
	Port     int
	Implicit bool // TLS from the first byte (RFC 8314), not by STARTTLS
	Plain    bool // no TLS
	User     string
}

// ParseMailServer reads smtp://user@host:port, where STARTTLS is demanded unless
// the host is this machine; smtps:// with TLS from the first byte; and
// smtp+insecure:// without any. There is no password in it.
func ParseMailServer(text string) (m MailServer, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return m, false
	}
	if _, secret := u.User.Password(); secret {
		return m, false
	}
	m = MailServer{Host: u.Hostname(), User: u.User.Username()}
	switch u.Scheme {
	case "smtp":
		m.Port, m.Plain = 587, isLoopback(m.Host)
	case "smtps":
		m.Port, m.Implicit = 465, true
	case "smtp+insecure":
		m.Port, m.Plain = 25, true
	default:
		return m, false
	}
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || n == 0 {
			return m, false
		}
		m.Port = int(n)
	}
	return m, true
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// ParseSender reads whom mail is from, such as Example <no-reply@example.org>.
func ParseSender(text string) (*mail.Address, error) {
	a, err := mail.ParseAddress(text)
	if err == nil && !strings.Contains(a.Address[strings.LastIndexByte(a.Address, '@')+1:], ".") && !strings.HasSuffix(a.Address, "@localhost") {
		err = errors.New("its domain has no dot")
	}
	return a, err
}

const (
	// reachTime is for getting to where mail can be handed over: TCP, TLS and
	// authentication.
	reachTime = 20 * time.Second
	// idleTime is for how long a connection is kept for the next message. Servers
	// close theirs after some minutes (RFC 5321, 4.5.3.2.7).
	idleTime = 15 * time.Second
)

// SMTP hands mail to a server. It is made by NewSMTP.
type SMTP struct {
	server   MailServer
	password admit.Secret
	from     *mail.Address
	domain   string     // of from
	idle     chan *line // connections that wait for another message

	roots *x509.CertPool // nil: the system's
}

// NewSMTP returns a sender of mail from somebody. It connects when there is mail.
func NewSMTP(server MailServer, password admit.Secret, from *mail.Address) *SMTP {
	return &SMTP{server: server, password: password, from: from, domain: from.Address[strings.LastIndexByte(from.Address, '@')+1:], idle: make(chan *line, atOnce)}
}

// A line is a connection, with what can be done through it.
type line struct {
	client *gomail.Client
	smtp   *smtp.Client
	conn   net.Conn
	since  time.Time // when it was last used
}

func (l *line) close() {
	l.conn.SetDeadline(time.Now().Add(time.Second)) // for a QUIT that nobody hears
	l.client.CloseWithSMTPClient(l.smtp)
	l.conn.Close()
}

// Close ends connections that wait. What is being sent goes on.
func (s *SMTP) Close() {
	for {
		select {
		case l := <-s.idle:
			l.close()
		default:
			return
		}
	}
}

// Send implements Sender. The Message-ID is the same whenever a message is sent,
// so that a double can be known for one.
func (s *SMTP) Send(ctx context.Context, m account.Message) error {
	msg, err := s.write(m)
	if err != nil {
		return &account.Failure{Code: "mail malformed", Final: true, Err: errors.New("the address cannot stand in mail")}
	}
	for {
		l, used, err := s.line(ctx)
		if err != nil {
			return &account.Failure{Err: fmt.Errorf("reach the mail server: %w", cutShort(err))}
		}
		stop := context.AfterFunc(ctx, func() { l.conn.Close() })
		err = l.client.SendWithSMTPClient(l.smtp, msg)
		if open := stop(); err == nil && open {
			s.keep(l)
			return nil
		}
		l.close()
		if msg.IsDelivered() {
			return nil // the connection broke only then
		}
		f := failure(err)
		if f.Code == "" && !f.Unsure && used && ctx.Err() == nil {
			continue // the server had closed a connection that waited
		}
		return f
	}
}

// line returns a connection that waits, or a new one.
func (s *SMTP) line(ctx context.Context) (l *line, used bool, err error) {
	for {
		select {
		case l := <-s.idle:
			if time.Since(l.since) < idleTime {
				return l, true, nil
			}
			l.close()
			continue
		default:
		}
		l, err = s.dial(ctx)
		return l, false, err
	}
}

func (s *SMTP) keep(l *line) {
	l.since = time.Now()
	select {
	case s.idle <- l:
	default:
		l.close()
	}
}

func (s *SMTP) dial(ctx context.Context) (*line, error) {
	reach, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	l, stop := &line{}, func() bool { return true }
	secure := &tls.Config{ServerName: s.server.Host, MinVersion: tls.VersionTLS12, RootCAs: s.roots}
	options := []gomail.Option{
		gomail.WithPort(s.server.Port), gomail.WithHELO(s.name()), gomail.WithTimeout(sendTime), gomail.WithTLSConfig(secure),
		// The library leaves a connection open on which it got no further.
		gomail.WithDialContextFunc(func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			if s.server.Implicit {
				conn, err = (&tls.Dialer{Config: secure}).DialContext(ctx, network, address)
			} else {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			}
			if err == nil {
				l.conn = conn
				stop = context.AfterFunc(reach, func() { conn.Close() })
			}
			return conn, err
		}),
	}
	switch {
	case s.server.Plain:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	case s.server.Implicit: // the library sees by itself that it is there
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.server.User != "" {
		ways := []gomail.SMTPAuthType{gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthCramMD5}
		if s.server.Plain {
			ways = []gomail.SMTPAuthType{gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthCramMD5, gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc}
		}
		options = append(options, gomail.WithUsername(s.server.User), gomail.WithPassword(s.password.Reveal()), // for the server alone
			gomail.WithOpportunisticSMTPAuth(ways...))
	}
	var err error
	if l.client, err = gomail.NewClient(s.server.Host, options...); err != nil {
		return nil, err
	}
	l.smtp, err = l.client.DialToSMTPClientWithContext(reach)
	if !stop() {
		err = reach.Err()
	}
	if err != nil && l.conn != nil {
		l.conn.Close()
	}
	return l, err
}

// name is what we call ourselves: servers like a name with a domain (RFC 5321,
// 4.1.4).
func (s *SMTP) name() string {
	if host, err := os.Hostname(); err == nil && strings.Contains(host, ".") {
		return host
	}
	return s.domain
}

// write makes the mail of a message. The same message is the same mail, to the
// byte.
func (s *SMTP) write(m account.Message) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithBoundary("_"+m.Key))
	msg.FromMailAddress(s.from)
	if err := msg.To(m.To); err != nil {
		return nil, err
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(m.At)
	msg.SetMessageIDWithValue(m.Key + "@" + s.domain)
	// Nobody is to answer by machine (RFC 3834).
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return msg, nil
}

// failure says what an error of SMTP means. What the server says is left out but
// for its codes: it names the recipient.
func failure(err error) *account.Failure {
	e, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return &account.Failure{Err: errors.New("the connection to the mail server broke")}
	}
	stage := map[gomail.SendErrReason]string{
		gomail.ErrSMTPMailFrom: "the sender", gomail.ErrSMTPRcptTo: "the recipient", gomail.ErrSMTPData: "the message", gomail.ErrSMTPDataClose: "the message",
	}[e.Reason]
	code := e.ErrorCode()
	if code == 0 || stage == "" {
		f := &account.Failure{Err: errors.New("the connection to the mail server broke")}
		if e.Reason == gomail.ErrSMTPDataClose {
			f.Unsure, f.Err = true, errors.New("the mail server did not say whether it has the message")
		}
		return f
	}
	said := strings.TrimSpace(strconv.Itoa(code) + " " + e.EnhancedStatusCode())
	f := &account.Failure{Code: "mail " + said, Err: fmt.Errorf("the mail server refused %s: %s", stage, said), Said: e.Error()}
	// A sender that is refused, and a relay that wants to know us (530, 5.7), are
	// for the operator to mend: no message is lost for it.
	f.Final = code >= 500 && code != 530 && e.Reason != gomail.ErrSMTPMailFrom && !strings.HasPrefix(e.EnhancedStatusCode(), "5.7.")
	return f
}
