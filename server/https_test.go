package server_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/server"
)

// A pair is a certificate of its own authority, in files.
type pair struct {
	t         testing.TB
	cert, key string
	roots     *x509.CertPool
	life      time.Duration // of what is issued; 0 is 30 days
}

func newPair(t testing.TB) *pair {
	dir := t.TempDir()
	return &pair{t: t, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), roots: x509.NewCertPool()}
}

// issue writes a new certificate for the hosts.
func (p *pair) issue(serial int64, hosts ...string) {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, DNSNames: hosts,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(cmp.Or(p.life, 30*24*time.Hour)),
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}}, &key.PublicKey, key)
	if err != nil {
		p.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.roots.AppendCertsFromPEM(cert)
	p.write(p.cert, cert)
	p.write(p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func (p *pair) write(file string, text []byte) {
	p.t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// serial is that of the certificate that the server shows to a new connection.
func (p *pair) serial(address string) int64 {
	p.t.Helper()
	c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: p.roots, ServerName: "localhost"})
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func (p *pair) client() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.roots}, ForceAttemptHTTP2: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newHTTPS is a running server with the pair.
func newHTTPS(t testing.TB, p *pair, change ...func(*server.Config)) (s *site, address string) {
	t.Helper()
	s = newSite(t, append([]func(*server.Config){func(c *server.Config) {
		c.Dev, c.Listen, c.TLSCert, c.TLSKey = false, "localhost:0", p.cert, p.key
	}}, change...)...)
	s.run()
	return s, strings.TrimPrefix(s.server.Ready().URL, "https://")
}

func TestHTTPSIsOfOurOwnCertificateAndSpeaksHTTP2(t *testing.T) {
	p := newPair(t)
	p.issue(1, "localhost")
	s, address := newHTTPS(t, p)
	res, err := p.client().Get(s.server.Ready().URL + "/api/v1/session")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 401 || res.ProtoMajor != 2 || res.TLS.Version != tls.VersionTLS13 {
		t.Errorf("answered %s by %s over %s", res.Status, res.Proto, tls.VersionName(res.TLS.Version))
	}
	if res.Header.Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS")
	}
	_, err = tls.Dial("tcp", address, &tls.Config{RootCAs: p.roots, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	// Plain HTTP at the HTTPS port is told so, and gets nothing.
	if res, err := http.Get("http://" + address + "/"); err == nil {
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 400 {
			t.Errorf("plain HTTP is answered with %s %s", res.Status, body)
		}
	}
}

func TestAChangedCertificateIsTakenAndABadOneKeepsTheOld(t *testing.T) {
	p := newPair(t)
	p.issue(1, "localhost")
	s, address := newHTTPS(t, p)
	p.issue(2, "localhost")
	until(t, "the new certificate is shown", func() bool { return p.serial(address) == 2 })

	good, err := os.ReadFile(p.key)
	if err != nil {
		t.Fatal(err)
	}
	p.write(p.key, []byte("no key"))
	until(t, "a bad pair is told", func() bool { return strings.Contains(s.log.String(), "the old one stays") })
	if got := p.serial(address); got != 2 {
		t.Errorf("certificate %d is shown with a bad key in the file", got)
	}
	p.write(p.key, good)
	// What SIGHUP does, which waits for no look.
	reload := func() {
		t.Helper()
		if _, err := s.server.Reload(t.Context(), server.Config{Data: s.data, Listen: "localhost:0", TLSCert: p.cert, TLSKey: p.key}); err != nil {
			t.Fatal(err)
		}
	}
	p.issue(3, "localhost")
	reload()
	if got := p.serial(address); got != 3 {
		t.Errorf("certificate %d is shown after a reload, want 3", got)
	}
	p.issue(4, "another.example")
	reload()
	if !strings.Contains(s.log.String(), "the certificate is for another host") {
		t.Errorf("nothing is said of a certificate for another host:\n%s", s.log.String())
	}
	if _, err := s.server.Reload(t.Context(), server.Config{Listen: ":80"}); !errors.Is(err, server.ErrConfigExposed) {
		t.Errorf("a reload of what cannot be: %v", err)
	}
}

func TestACertificateThatEndsSoonIsToldOnceWhetherTheServerIsWatchedOrNot(t *testing.T) {
	p := newPair(t)
	p.life = 24 * time.Hour
	p.issue(1, "localhost")
	s, address := newHTTPS(t, p)
	count := func(text string) int { return strings.Count(s.log.String(), text) }
	until(t, "it is told", func() bool { return count("condition=certificate_expiring") == 1 })
	p.issue(2, "localhost")
	until(t, "the new one is shown", func() bool { return p.serial(address) == 2 })
	if n := count("expires soon"); n != 1 {
		t.Errorf("it is told %d times:\n%s", n, s.log.String())
	}
}

func TestAServerDoesNotStartWithABadCertificate(t *testing.T) {
	p := newPair(t)
	p.issue(1, "localhost")
	p.write(p.cert, []byte("none"))
	data := filepath.Join(t.TempDir(), "data")
	_, err := server.New(t.Context(), server.Config{Data: data, Listen: "localhost:0", TLSCert: p.cert, TLSKey: p.key})
	if !errors.Is(err, server.ErrCertificate) {
		t.Errorf("got %v, want %v", err, server.ErrCertificate)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("the data folder was made")
	}
}

func TestPlainHTTPLeadsBrowsersToHTTPSAndRefusesSecrets(t *testing.T) {
	p := newPair(t)
	p.issue(1, "localhost", "id.example.org")
	port := "0"
	s, _ := newHTTPS(t, p, func(c *server.Config) {
		l, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		l.Close()
		c.PublicURL, c.ListenHTTP = "https://id.example.org", "localhost:"+port
	})
	_ = s
	for _, tt := range []struct {
		name, line, headers string
		status, location    string
	}{
		{"a page", "GET /signin?return_to=%2Fa", "", "308", "https://id.example.org/signin?return_to=%2Fa"},
		{"the head of a page", "HEAD /", "", "308", "https://id.example.org/"},
		{"a path that looks like a host", "GET //evil.example/x", "", "308", "https://id.example.org//evil.example/x"},
		{"a whole address", "GET http://evil.example/x", "", "308", "https://id.example.org/x"},
		{"what is no path", "GET http:.evil.example", "", "308", "https://id.example.org/"},
		{"a form", "POST /signin", "Content-Length: 0\r\n", "403", ""},
		{"the API", "GET /api/v1/session", "", "403", ""},
		{"a token", "GET /", "Authorization: Bearer x\r\n", "403", ""},
	} {
		c, err := net.Dial("tcp", "localhost:"+port)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, tt.line+" HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n"+tt.headers+"\r\n")
		answer, _ := io.ReadAll(c)
		c.Close()
		head := string(answer)
		if !strings.HasPrefix(head, "HTTP/1.1 "+tt.status) || tt.location != "" && !strings.Contains(head, "\r\nLocation: "+tt.location+"\r\n") {
			t.Errorf("%s: %s", tt.name, head)
		}
		if tt.status == "403" && !strings.Contains(head, "https_required") {
			t.Errorf("%s is refused as %s", tt.name, head)
		}
		if !strings.Contains(head, "frame-ancestors 'none'") || strings.Contains(head, "Strict-Transport-Security") {
			t.Errorf("%s has the headers %s", tt.name, head)
		}
	}
}

func TestPagesAtAnotherDomainOfTheCertificateLeadToThePublicOne(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.Dev, c.ACME = false, []string{"id.example.org", "www.example.org"} })
	for _, tt := range []struct {
		method, host, path string
		status             int
		location           string
	}{
		{"GET", "id.example.org", "/signin", 200, ""},
		{"GET", "www.example.org", "/signin?return_to=%2Fa", 308, "https://id.example.org/signin?return_to=%2Fa"},
		{"GET", "www.example.org:8443", "/nothing", 308, "https://id.example.org/nothing"},
		{"POST", "www.example.org", "/signin", 421, ""},
		{"GET", "www.example.org", "/api/v1/session", 421, ""},
		{"GET", "evil.example.org", "/signin", 421, ""},
	} {
		r := s.client().send(httptest.NewRequest(tt.method, "http://"+tt.host+tt.path, nil))
		if r.status != tt.status || r.header.Get("Location") != tt.location {
			t.Errorf("%s at %s: %d to %q, want %d to %q", r.what, tt.host, r.status, r.header.Get("Location"), tt.status, tt.location)
		}
	}
}
