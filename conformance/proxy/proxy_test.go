package proxy

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/server"
)

const (
	name     = "id.example.org"
	visitor  = "127.0.0.9" // whence people come; proxies come from 127.0.0.1
	password = "correct horse battery"
)

// A front is a proxy that speaks HTTPS before one admit.
type front struct {
	t     *testing.T
	port  int
	roots *x509.CertPool
}

// admit starts a server that trusts the proxy, and returns its port.
func admit(t *testing.T, trusted string) int {
	t.Helper()
	port := freePort(t)
	s, err := server.New(t.Context(), server.Config{
		Data: t.TempDir(), Listen: fmt.Sprintf("127.0.0.1:%d", port), PublicURL: "https://" + name, TrustedProxy: []string{trusted},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		s.Close()
	})
	return port
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// find returns a program's path. Where it is missing, it is a failure on the
// machine that is to test everything, and a loud skip elsewhere.
func find(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + program); err == nil {
			return path
		}
		const how = "%s is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			t.Fatalf(how, program)
		}
		t.Skipf("SKIPPED: "+how, program)
	}
	return path
}

// newFront starts a proxy. Configure writes its configuration into a folder,
// where cert.pem and key.pem are, and returns its command.
func newFront(t *testing.T, configure func(dir string, port int) *exec.Cmd) *front {
	t.Helper()
	f := &front{t: t, port: freePort(t), roots: x509.NewCertPool()}
	dir := t.TempDir()
	certify(t, dir, f.roots)
	cmd := configure(dir, f.port)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) // nginx takes its workers along
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", f.port))
		if err == nil {
			c.Close()
			return f
		}
		if time.Now().After(deadline) {
			t.Fatalf("the proxy does not start: %s", &out)
		}
	}
}

func certify(t *testing.T, dir string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cert, _ := x509.ParseCertificate(der) // just made
	roots.AddCert(cert)
}

// browser is a client whose requests come from the visitor's address.
func (f *front) browser() *http.Client {
	jar, _ := cookiejar.New(nil) // nil options do not fail
	return &http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: f.roots, ServerName: name},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(visitor)}}
			return d.DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", f.port))
		},
	}}
}

type reply struct {
	Status  int
	Code    string
	Hint    string
	Session struct{ Device struct{ Address string } }
	Body    string
}

// ask sends a request with headers that are lines.
func (f *front) ask(c *http.Client, method, path, body, headers string) reply {
	f.t.Helper()
	r, err := http.NewRequest(method, "https://"+name+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	} else if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://"+name)
	}
	for line := range strings.Lines(headers) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if field == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(field, value)
	}
	res, err := c.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	out := reply{Status: res.StatusCode, Body: string(text)}
	if strings.Contains(res.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(text, &out); err != nil {
			f.t.Fatalf("%s: %v", text, err)
		}
	}
	return out
}

// nginx is configured with lines of its location.
func nginx(t *testing.T, lines string) *front {
	program := find(t, "nginx")
	return newFront(t, func(dir string, port int) *exec.Cmd {
		text := fmt.Sprintf(`
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	server {
		listen 127.0.0.1:%d ssl;
		ssl_certificate cert.pem;
		ssl_certificate_key key.pem;
		location / {
%s
		}
	}
}`, port, lines)
		file := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command(program, "-p", dir, "-c", file)
	})
}

// caddy is configured with lines of its site.
func caddy(t *testing.T, lines string) *front {
	program := find(t, "caddy")
	return newFront(t, func(dir string, port int) *exec.Cmd {
		text := fmt.Sprintf(`{
	admin off
	auto_https disable_redirects
	skip_install_trust
}
https://%s:%d {
	bind 127.0.0.1
	tls %s %s
%s
}
`, name, port, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), lines)
		file := filepath.Join(dir, "Caddyfile")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command(program, "run", "--adapter", "caddyfile", "--config", file)
	})
}

// The lines that docs/how-to/deploy-behind-a-proxy.md gives.
const (
	nginxLines = `
	proxy_pass http://127.0.0.1:%d;
	proxy_set_header Host $host;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
	proxy_set_header X-Forwarded-Proto $scheme;
	proxy_set_header Forwarded "";`
	caddyLines = `	reverse_proxy 127.0.0.1:%d`
)

// spoofed is what a client sends that wants to be somebody else.
const spoofed = "X-Forwarded-For: 203.0.113.66, 127.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: evil.example\nX-Forwarded-Port: 1\nX-Real-Ip: 203.0.113.66\nTrue-Client-Ip: 203.0.113.66"

func TestARightProxySignsPeopleInUnderTheirOwnAddress(t *testing.T) {
	for product, start := range map[string]func(*testing.T, string) *front{
		"nginx " + nginxLines: nginx, "caddy " + caddyLines: caddy,
	} {
		product, lines, _ := strings.Cut(product, " ")
		t.Run(product, func(t *testing.T) {
			f := start(t, fmt.Sprintf(lines, admit(t, "127.0.0.1")))
			person := f.browser()
			// By the form, as people do, and the cookie keeps.
			up := f.ask(person, "POST", "/signup", url.Values{"identifier": {"ann"}, "password": {password}}.Encode(), "")
			if up.Status != 200 || !strings.Contains(up.Body, "ann") {
				t.Fatalf("sign-up: %d %s", up.Status, up.Body)
			}
			for what, headers := range map[string]string{"an honest visitor": "", "one that spoofs": spoofed} {
				in := f.ask(person, "POST", "/api/v1/signin", `{"identifier":"ann","password":"`+password+`"}`, headers)
				if in.Status != 200 || in.Session.Device.Address != visitor {
					t.Errorf("%s signs in with %d from %q, want %s: %s", what, in.Status, in.Session.Device.Address, visitor, in.Body)
				}
			}
			page := f.ask(person, "GET", "/account/activity", "", spoofed)
			if page.Status != 200 || !strings.Contains(page.Body, visitor) || strings.Contains(page.Body, "203.0.113.66") || strings.Contains(page.Body, "evil.example") {
				t.Errorf("the activity: %d %s", page.Status, page.Body)
			}
			for _, host := range []string{"evil.example", "localhost"} {
				r := f.ask(f.browser(), "GET", "/api/v1/session", "", "Host: "+host+"\nX-Forwarded-Host: "+name)
				if r.Body != "" && r.Code != "unknown_host" && r.Code != "proxy_misconfigured" { // Caddy itself answers with nothing
					t.Errorf("Host %s is answered with %d %s", host, r.Status, r.Body)
				}
			}
			if r := f.ask(f.browser(), "GET", "/api/v1/session", "", ""); r.Code != "no_session" {
				t.Errorf("a stranger: %d %s", r.Status, r.Body)
			}
		})
	}
}

func TestAWrongSetUpIsRefusedWithTheLinesToAdd(t *testing.T) {
	for _, tt := range []struct {
		name    string
		start   func(*testing.T, string) *front
		lines   string
		trusted string
		headers string
		hint    string
	}{
		{"nginx with proxy_pass alone", nginx, "proxy_pass http://127.0.0.1:%d;", "127.0.0.1", "", "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for"},
		{"the same, and a client that sends what it lacks", nginx, "proxy_pass http://127.0.0.1:%d;", "127.0.0.1", "X-Forwarded-For: 203.0.113.66\nX-Forwarded-Proto: https", "proxy_set_header Host $host"},
		{"nginx with Host alone", nginx, "proxy_pass http://127.0.0.1:%d; proxy_set_header Host $host;", "127.0.0.1", "", "proxy_set_header X-Forwarded-Proto $scheme"},
		{"nginx that is not named", nginx, nginxLines, "10.0.0.0/8", "", "--trusted-proxy 127.0.0.1"},
		{"nginx with proxy_pass alone, not named", nginx, "proxy_pass http://127.0.0.1:%d; proxy_set_header Host $host;", "10.0.0.0/8", "", "--trusted-proxy 127.0.0.1"},
		{"Caddy that is not named", caddy, caddyLines, "10.0.0.0/8", "", "--trusted-proxy 127.0.0.1"},
		{"Caddy that drops the protocol", caddy, "reverse_proxy 127.0.0.1:%d {\nheader_up -X-Forwarded-Proto\n}", "127.0.0.1", "", "Caddy: reverse_proxy"},
		{"Caddy that lets the client's Forwarded pass", caddy, caddyLines, "127.0.0.1", "Forwarded: for=203.0.113.66;proto=https", "header_up -Forwarded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.start(t, fmt.Sprintf(tt.lines, admit(t, tt.trusted)))
			r := f.ask(f.browser(), "POST", "/api/v1/guest", "{}", tt.headers)
			if r.Status != 403 || r.Code != "proxy_misconfigured" || !strings.Contains(r.Hint, tt.hint) {
				t.Errorf("answered %d %s, want 403 with the hint %q", r.Status, r.Body, tt.hint)
			}
			page := f.ask(f.browser(), "GET", "/signin", "", tt.headers)
			if page.Status != 403 || !strings.Contains(page.Body, "proxy") {
				t.Errorf("the page: %d %s", page.Status, page.Body)
			}
		})
	}
}
