package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// said returns what was found of one check, each with its state before it.
func said(findings []Finding, check string) string {
	var all []string
	for _, f := range findings {
		if f.Check == check {
			all = append(all, f.State+": "+f.Text)
		}
		if f.State != FindingOK && f.Hint == "" {
			all = append(all, "no hint: "+f.Text)
		}
	}
	return strings.Join(all, "\n")
}

// patient is a data folder with a database, of which nothing is wrong.
func patient(t *testing.T, change ...func(*Config)) Config {
	cfg := Config{Data: filepath.Join(t.TempDir(), "data"), Listen: "localhost:0", Log: slog.New(slog.DiscardHandler)}
	for _, fn := range change {
		fn(&cfg)
	}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.accounts.Note(t.Context(), account.By{Actor: "operator"}.Record(time.Now(), "", "made", "")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestDoctorFindsWhatIsBroken(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no modes of files to break")
	}
	for _, c := range []struct {
		name, check, want string
		harm              func(t *testing.T, cfg *Config)
	}{
		{"nothing", "folder", "ok: the data folder", func(*testing.T, *Config) {}},
		{"nothing in the database", "database", "ok: the database is whole, and its schema is that of this version", func(*testing.T, *Config) {}},
		{"nothing in the clock", "clock", ": the clock says", func(*testing.T, *Config) {}},
		{"a folder that is not there", "folder", "fail: nowhere: there is no data folder here", func(_ *testing.T, cfg *Config) { cfg.Data = "nowhere" }},
		{"a file instead of a folder", "folder", "is a file and no folder", func(_ *testing.T, cfg *Config) { cfg.Data += "/admit.db" }},
		{"a folder that others may read", "folder", "may be used by others than its owner (mode 755)", func(t *testing.T, cfg *Config) { must(t, os.Chmod(cfg.Data, 0o755)) }},
		{"a database that others may read", "folder", "admit.db may be used by others than its owner (mode 644)", func(t *testing.T, cfg *Config) { must(t, os.Chmod(cfg.Data+"/admit.db", 0o644)) }},
		{"keys that nothing seals", "keys", "warn: the server's own keys stand unsealed in the database", func(*testing.T, *Config) {}},
		{"keys that are damaged", "keys", "fail: ", func(t *testing.T, cfg *Config) { change(t, cfg, "UPDATE keys SET sealed = 'x'") }},
		{"a master key that is gone", "keys", "fail: /nowhere: the file of the master key cannot be read", func(_ *testing.T, cfg *Config) { cfg.MasterKeyFile = "/nowhere" }},
		{"keys that are none", "keys", "the file of keys cannot be read: cookie: key on line 1", func(t *testing.T, cfg *Config) { must(t, os.WriteFile(cfg.Data+"/keys", []byte("x"), 0o600)) }},
		{"a database that is none", "database", "fail: the database file is damaged or is no database", func(t *testing.T, cfg *Config) {
			must(t, os.WriteFile(cfg.Data+"/admit.db", []byte(strings.Repeat("no database ", 1000)), 0o600))
		}},
		{"a page of the database that is overwritten", "database", "btreeInitPage() returns error code 11: the database file is damaged", func(t *testing.T, cfg *Config) {
			f, err := os.OpenFile(cfg.Data+"/admit.db", os.O_RDWR, 0)
			must(t, err)
			defer f.Close()
			_, err = f.WriteAt([]byte(strings.Repeat("\xff", 4096)), 3*4096)
			must(t, err)
		}},
		{"a database of a newer version", "database", "fail: its schema is 9999 and wants a program of 9999 or later", func(t *testing.T, cfg *Config) {
			change(t, cfg, "INSERT INTO migrations (name, checksum, at) VALUES ('9999_later', 'x', 0)")
		}},
		{"a database of a newer version on which this one works", "database", "ok: the database is whole, and its schema", func(t *testing.T, cfg *Config) {
			change(t, cfg, "INSERT INTO migrations (name, checksum, at, oldest) VALUES ('9999_later', 'x', 0, 1)")
		}},
		{"a schema that is behind", "database", "brings its schema forward by 1 steps", func(t *testing.T, cfg *Config) {
			change(t, cfg, "DELETE FROM migrations WHERE name LIKE '%0004%'")
		}},
		{"a clock that is behind", "clock", "fail: the clock of this machine is behind: the database knows of something 2h", func(t *testing.T, cfg *Config) {
			change(t, cfg, "UPDATE audit SET at = at + 7200000")
		}},
		{"a lock that somebody holds", "server", "fail: another process holds this folder and does not answer", func(t *testing.T, cfg *Config) {
			f, err := os.OpenFile(cfg.Data+"/lock", os.O_RDWR, 0)
			must(t, err)
			must(t, lockFile(f))
			t.Cleanup(func() { f.Close() })
		}},
		{"an address that is taken", "address", "fail: localhost:", func(t *testing.T, cfg *Config) {
			l := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(l.Close)
			cfg.Listen = "localhost:" + l.URL[strings.LastIndexByte(l.URL, ':')+1:]
		}},
		{"settings that contradict each other", "settings", "fail: development is for this machine alone", func(_ *testing.T, cfg *Config) { cfg.Dev, cfg.PublicURL = true, "https://id.example.org" }},
		{"a theme that is none", "theme", "fail: theme nowhere: the theme cannot be used", func(_ *testing.T, cfg *Config) { cfg.Theme = "nowhere" }},
		{"a public URL while nothing runs", "proxy", "warn: what a proxy makes of requests to https://id.example.org can be seen while the server runs only", func(_ *testing.T, cfg *Config) { cfg.PublicURL = "https://id.example.org" }},
		{"no mail", "mail", "warn: there is no mail transport", func(*testing.T, *Config) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := patient(t)
			c.harm(t, &cfg)
			before := content(t, cfg.Data)
			if got := said(Diagnose(t.Context(), cfg, nil), c.check); !strings.Contains(got, c.want) {
				t.Errorf("doctor says %q, want %q", got, c.want)
			}
			if after := content(t, cfg.Data); after != before {
				t.Error("doctor changed the database or the keys")
			}
		})
	}
	t.Run("a variable that is no setting", func(t *testing.T) {
		_, err := LoadConfig("", []string{"ADMIT_LISTN=localhost:1"}, nil)
		if got := said(Diagnose(t.Context(), Config{}, err), "settings"); got != "fail: ADMIT_LISTN: there is no such setting" {
			t.Errorf("doctor says %q", got)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content is what doctor must not change.
func content(t *testing.T, data string) string {
	database, _ := os.ReadFile(filepath.Join(data, databaseName)) // there may be none
	keys, _ := os.ReadFile(filepath.Join(data, keysName))
	return string(database) + string(keys)
}

func TestDoctorReadsCertificates(t *testing.T) {
	for _, c := range []struct {
		name, want string
		from, to   time.Duration
		other      bool
	}{
		{"a good one", "ok: the certificate and its key belong together; it is good for 89 days", -time.Hour, 90*24*time.Hour - time.Minute, false},
		{"one that ends soon", "warn: the certificate expires in 2 days", -time.Hour, 3*24*time.Hour - time.Minute, false},
		{"one that has expired", "fail: the certificate has expired", -2 * time.Hour, -time.Hour, false},
		{"one that is not good yet", "fail: the certificate is good from", time.Hour, 100 * time.Hour, false},
		{"one of another key", "fail: the certificate and its key cannot be used", -time.Hour, 100 * time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &doctor{now: time.Now(), cfg: Config{PublicURL: "https://id.example.org"}}
			d.cfg.TLSCert, d.cfg.TLSKey = certificate(t, d.now.Add(c.from), d.now.Add(c.to))
			if c.other {
				_, d.cfg.TLSKey = certificate(t, d.now, d.now)
			}
			d.certificate()
			if got := said(d.findings, "tls"); !strings.Contains(got, c.want) {
				t.Errorf("doctor says %q, want %q", got, c.want)
			}
		})
	}
	d := &doctor{now: time.Now(), cfg: Config{PublicURL: "https://other.example.org"}}
	d.cfg.TLSCert, d.cfg.TLSKey = certificate(t, d.now.Add(-time.Hour), d.now.Add(time.Hour))
	d.certificate()
	if got := said(d.findings, "tls"); got != "fail: the certificate is not for other.example.org" {
		t.Errorf("doctor says %q", got)
	}
}

// certificate writes one for id.example.org, and its key.
func certificate(t *testing.T, from, to time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "id"}, DNSNames: []string{"id.example.org"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &private.PublicKey, private)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return cert, key
}

func TestDoctorSeesWhatAProxyMakesOfARequest(t *testing.T) {
	for _, c := range []struct {
		name, want string
		rewrite    func(*httputil.ProxyRequest)
		elsewhere  bool
	}{
		{"a host that is not passed on", "fail: the proxy asks for the host \"127.0.0.1:", func(*httputil.ProxyRequest) {}, false},
		{"nothing about the client", "warn: the proxy does not tell whose requests it passes on", func(p *httputil.ProxyRequest) { p.Out.Host = p.In.Host }, false},
		{"no scheme", "warn: the proxy does not tell that people use https", func(p *httputil.ProxyRequest) {
			p.SetXForwarded()
			p.Out.Host = p.In.Host
			p.Out.Header.Del("X-Forwarded-Proto")
		}, false},
		{"all of it, from a proxy that is not trusted", "warn: the proxy at 127.0.0.1 is not trusted", func(p *httputil.ProxyRequest) {
			p.SetXForwarded()
			p.Out.Host = p.In.Host
		}, false},
		{"another site", "fail: something else answers at https://", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var to *url.URL
			proxy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.elsewhere {
					return
				}
				(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
					p.SetURL(to)
					p.Out.Host = to.Host
					c.rewrite(p)
				}}).ServeHTTP(w, r)
			}))
			defer proxy.Close()
			trusted := "127.0.0.1"
			if strings.HasSuffix(c.name, "not trusted") {
				trusted = "192.0.2.1"
			}
			cfg := Config{Data: t.TempDir(), Listen: "127.0.0.1:0", PublicURL: proxy.URL, TrustedProxy: []string{trusted}, Log: slog.New(slog.DiscardHandler)}
			s, err := New(t.Context(), cfg)
			must(t, err)
			defer s.Close()
			to = &url.URL{Scheme: "http", Host: "127.0.0.1:" + s.port()}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- s.Run(ctx) }()
			defer func() { cancel(); <-done }()
			for range 1000 { // until commands are heard
				if _, err := os.Stat(filepath.Join(cfg.Data, socketName)); err == nil {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			d := &doctor{cfg: cfg, now: time.Now(), client: proxy.Client()}
			d.diagnose(t.Context(), nil)
			if got := said(d.findings, "proxy"); !strings.Contains(got, c.want) {
				t.Errorf("doctor says %q, want %q", got, c.want)
			}
			for _, check := range []string{"server", "address", "database"} {
				if got := said(d.findings, check); !strings.HasPrefix(got, "ok: ") {
					t.Errorf("doctor says %q of a server that runs", got)
				}
			}
			if n := len(s.face.probes.named); n != 0 {
				t.Errorf("%d probes are left", n)
			}
		})
	}
}

func TestAttackAStrangersProbesLeaveNothing(t *testing.T) {
	var p probes
	for range 100 {
		r := httptest.NewRequest("GET", probePath, nil)
		r.Header.Set(probeHeader, rand.Text())
		p.see(r)
	}
	if len(p.named) != 0 {
		t.Errorf("%d are kept", len(p.named))
	}
}

// change changes a stopped server's database as no version of admit does.
func change(t *testing.T, cfg *Config, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(cfg.Data, databaseName))
	must(t, err)
	defer db.Close()
	_, err = db.Exec(query)
	must(t, err)
}
