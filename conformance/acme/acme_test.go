package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

const domain = "id.example.org"

// An authority issues certificates to whoever answers its challenges at the
// loopback address, where every name leads.
type authority struct {
	directory string
	trust     string // file of the certificate that it is reached by
	roots     *x509.CertPool
	asked     atomic.Int64 // requests, but those that tidy up behind an order
}

func newAuthority(t *testing.T, httpPort, tlsPort int) *authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	quiet := log.New(io.Discard, "", 0)
	resolver := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	dns, err := challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{resolver}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	dns.SetDefaultDNSIPv4("127.0.0.1")
	dns.SetDefaultDNSIPv6("")
	go dns.Run()
	t.Cleanup(dns.Shutdown)

	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "default"}})
	validator := va.New(quiet, httpPort, tlsPort, true, resolver, store)
	front := wfe.New(quiet, store, validator, issuer, []string{"ca.example"}, true, false, 1, 1)
	handler := front.Handler()
	a := &authority{roots: x509.NewCertPool(), trust: filepath.Join(t.TempDir(), "authority.pem")}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Behind an order autocert gives up what it did not need, in its own time.
		if !strings.HasPrefix(r.URL.Path, "/authZ/") && r.URL.Path != "/nonce-plz" {
			a.asked.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	a.directory = srv.URL + wfe.DirectoryPath
	if err := os.WriteFile(a.trust, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	a.roots.AppendCertsFromPEM(issuer.GetRootCert(0).PEM())
	return a
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

// serve runs the program until the test, or the returned function, stops it.
func serve(t *testing.T, a *authority, program, data string, httpPort, tlsPort int) (stop func() string) {
	t.Helper()
	cmd := exec.Command(program, "serve", "--data", data, "--acme", domain, "--acme-directory", a.directory,
		"--listen", fmt.Sprintf("127.0.0.1:%d", tlsPort), "--listen-http", fmt.Sprintf("127.0.0.1:%d", httpPort), "--public-url", "https://"+domain)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+a.trust)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() string {
		if !stopped {
			stopped = true
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("the server: %v\n%s", err, &out)
			}
		}
		return out.String()
	}
	t.Cleanup(func() { stop() })
	for range 2000 {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", tlsPort)); err == nil {
			c.Close()
			return stop
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("the server does not listen\n%s", stop())
	return nil
}

// get asks for the session and returns the certificate that was shown.
func (a *authority) get(port int, host string) (*x509.Certificate, error) {
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: a.roots, ServerName: host},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		},
		DisableKeepAlives: true,
	}}
	res, err := client.Get("https://" + host + "/api/v1/session")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != 401 || !bytes.Contains(body, []byte("no_session")) {
		return nil, fmt.Errorf("answered %s %s", res.Status, body)
	}
	return res.TLS.PeerCertificates[0], nil
}

func TestACertificateIsGotByEitherChallengeAndKept(t *testing.T) {
	program := filepath.Join(t.TempDir(), "admit")
	build := exec.Command("go", "build", "-o", program, "./cmd/admit")
	build.Dir = "../../server"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, challenge := range []string{"tls-alpn-01", "http-01"} {
		t.Run(challenge, func(t *testing.T) {
			httpPort, tlsPort := freePort(t), freePort(t)
			look := [2]int{httpPort, tlsPort}
			if challenge == "http-01" {
				look[1] = freePort(t) // where nothing answers, so that the other is tried
			} else {
				look[0] = freePort(t)
			}
			a := newAuthority(t, look[0], look[1])
			data := filepath.Join(t.TempDir(), "data")
			stop := serve(t, a, program, data, httpPort, tlsPort)
			first, err := a.get(tlsPort, domain)
			if err != nil {
				t.Fatalf("%v\n%s", err, stop())
			}
			asked := a.asked.Load()
			if _, err := a.get(tlsPort, "evil.example.org"); err == nil {
				t.Error("a certificate is had for a foreign name")
			}
			if asked == 0 || a.asked.Load() != asked {
				t.Errorf("%d requests, and %d after a stranger's name: it makes us ask the authority", asked, a.asked.Load())
			}
			res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get(fmt.Sprintf("http://127.0.0.1:%d/signin", httpPort))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if got := res.Header.Get("Location"); res.StatusCode != 308 || got != "https://"+domain+"/signin" {
				t.Errorf("plain HTTP is answered with %s to %q", res.Status, got)
			}
			stop()

			// The next start has the certificate, though the authority is away.
			gone := &authority{directory: "https://127.0.0.1:1/dir", trust: a.trust, roots: a.roots}
			stop = serve(t, gone, program, data, httpPort, tlsPort)
			again, err := gone.get(tlsPort, domain)
			if err != nil {
				t.Fatalf("%v\n%s", err, stop())
			}
			if !again.Equal(first) {
				t.Error("the next start shows another certificate")
			}
			err = filepath.Walk(filepath.Join(data, "acme"), func(path string, info os.FileInfo, err error) error {
				if err == nil && info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s has the mode %v", path, info.Mode())
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
