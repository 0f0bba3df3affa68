// Package smtptest runs a real mail server for tests.
package smtptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Options of a Server.
type Options struct {
	Address  string // to listen on; "" for a free port
	STARTTLS bool
	TLS      bool // from the first byte
	User     string
	Password string

	// Rcpt and Data answer for the server where they are set; Data has the mail,
	// which is kept if it returns nil, before the sender is told so.
	Rcpt func(to string) error
	Data func(m *Mail) error
}

// A Mail is one that the server has taken.
type Mail struct {
	From, To string // of the envelope
	Header   mail.Header
	Subject  string
	Text     string
	HTML     string
	Raw      string
	TLS      bool
	User     string // who had shown who it is
}

// A Server is a mail server on a port of its own.
type Server struct {
	Address string
	Roots   *x509.CertPool // that trust it
	CAFile  string         // the same, as PEM

	o      Options
	server *smtp.Server
	mu     sync.Mutex
	mails  []*Mail // guarded by mu
	lines  int     // guarded by mu; connections that were opened
}

// Refusal is what a server answers, such as 550 5.1.1.
func Refusal(code int, enhanced [3]int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: text}
}

// Start starts a server, which ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{o: o}
	s.server = smtp.NewServer(smtp.BackendFunc(s.session))
	s.server.Domain, s.server.AllowInsecureAuth = "mx.example.org", true
	s.server.ReadTimeout, s.server.WriteTimeout = time.Minute, time.Minute
	s.server.ErrorLog = quiet{}
	if o.STARTTLS || o.TLS {
		s.certify(t)
	}
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", o.Address)
	if err != nil {
		t.Fatal(err)
	}
	s.Address = l.Addr().String()
	if o.TLS {
		l = tls.NewListener(l, s.server.TLSConfig)
		s.server.TLSConfig = nil
	}
	done := make(chan struct{})
	go func() { defer close(done); s.server.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return s
}

// Close stops the server and breaks its connections.
func (s *Server) Close() { s.server.Close() }

// Mails returns what was taken, in order.
func (s *Server) Mails() []*Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Mail{}, s.mails...)
}

// Connections returns how many were opened.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines
}

// Wait returns the mails once there are n of them.
func (s *Server) Wait(t testing.TB, n int) []*Mail {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if all := s.Mails(); len(all) >= n {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d mails came, want %d", len(s.Mails()), n)
		}
	}
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func (s *Server) certify(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.CAFile, s.Roots = filepath.Join(t.TempDir(), "ca.pem"), x509.NewCertPool()
	s.Roots.AppendCertsFromPEM(text)
	if err := os.WriteFile(s.CAFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func (s *Server) session(c *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	s.lines++
	s.mu.Unlock()
	return &session{s: s, conn: c}, nil
}

type session struct {
	s    *Server
	conn *smtp.Conn
	user string
	m    *Mail
}

func (c *session) AuthMechanisms() []string {
	if c.s.o.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (c *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != c.s.o.User || password != c.s.o.Password {
			return smtp.ErrAuthFailed
		}
		c.user = user
		return nil
	}), nil
}

func (c *session) Mail(from string, _ *smtp.MailOptions) error {
	if c.s.o.User != "" && c.user == "" {
		return smtp.ErrAuthRequired
	}
	_, secure := c.conn.TLSConnectionState()
	c.m = &Mail{From: from, TLS: secure || c.s.o.TLS, User: c.user}
	return nil
}

func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if c.s.o.Rcpt != nil {
		if err := c.s.o.Rcpt(to); err != nil {
			return err
		}
	}
	c.m.To = to
	return nil
}

func (c *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.m.Raw = string(raw)
	if err := c.m.parse(); err != nil {
		return err
	}
	if c.s.o.Data != nil {
		if err := c.s.o.Data(c.m); err != nil {
			return err
		}
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.mails = append(c.s.mails, c.m)
	return nil
}

func (c *session) Reset()        {}
func (c *session) Logout() error { return nil }

// parse reads what was sent as a stranger's mail program does.
func (m *Mail) parse() error {
	msg, err := mail.ReadMessage(strings.NewReader(m.Raw))
	if err != nil {
		return err
	}
	m.Header = msg.Header
	if m.Subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil {
		return err
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		return errors.Join(errors.New("no multipart/alternative"), err)
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var body io.Reader = p
		if strings.EqualFold(p.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
			body = quotedprintable.NewReader(p)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		if strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") {
			m.HTML = string(text)
		} else {
			m.Text = string(text)
		}
	}
}
