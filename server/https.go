package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ErrCertificate is that the certificate cannot be used.
var ErrCertificate = admit.Unavailable.New("certificate_unusable", "The certificate cannot be used.").WithHint("--tls-cert is a PEM file with the certificate first and its chain behind, --tls-key the private key of the same pair; this user must be able to read both")

const (
	acmeName  = "acme" // folder inside the data folder: account key and certificates
	readEvery = 2 * time.Second
)

// https is how the server speaks HTTPS itself: with a certificate from files,
// which it reads again when they change, or with those that it gets by ACME.
// A nil one speaks none.
type https struct {
	cert, key string            // files
	host      string            // that the certificate is for
	auto      *autocert.Manager // nil with files

	now atomic.Pointer[tls.Certificate]

	mu   sync.Mutex
	seen [2][]byte // what the files held at the last look; guarded by mu
	told time.Time // that ACME fails; guarded by mu
}

// openHTTPS returns nil where there is nothing to speak HTTPS with.
func openHTTPS(cfg Config) (*https, error) {
	switch {
	case len(cfg.ACME) > 0:
		ours := autocert.HostWhitelist(cfg.ACME...)
		m := &autocert.Manager{
			Prompt: autocert.AcceptTOS,
			Cache:  autocert.DirCache(filepath.Join(cfg.Data, acmeName)),
			// Without a policy strangers would spend the authority's patience. The
			// host of an HTTP-01 challenge has a port where it is not 80.
			HostPolicy: func(ctx context.Context, host string) error {
				if name, _, err := net.SplitHostPort(host); err == nil {
					host = name
				}
				return ours(ctx, host)
			},
		}
		if cfg.ACMEDirectory != "" {
			m.Client = &acme.Client{DirectoryURL: cfg.ACMEDirectory}
		}
		return &https{auto: m}, nil
	case cfg.TLSCert == "":
		return nil, nil
	}
	h := &https{cert: cfg.TLSCert, key: cfg.TLSKey, host: "localhost"}
	if public, err := url.Parse(cfg.PublicURL); err == nil && public.Host != "" {
		h.host = public.Hostname()
	}
	_, err := h.look()
	return h, err
}

// look takes the pair in the files if it has changed and is good; otherwise the
// old one stays. It tells of a bad pair once, until the files change again.
func (h *https) look() (changed bool, err error) {
	if h == nil || h.auto != nil {
		return false, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	cert, err := os.ReadFile(h.cert)
	key, err2 := os.ReadFile(h.key)
	// Contents and not times are compared: a file may be replaced by an older one.
	if err := errors.Join(err, err2); err != nil {
		cert, key = []byte(err.Error()), nil
		if h.same(cert, key) {
			return false, nil
		}
		return true, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if h.same(cert, key) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return true, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	h.now.Store(&pair)
	return true, nil
}

// same reports whether this was seen at the last look. The caller holds mu.
func (h *https) same(cert, key []byte) bool {
	same := h.seen[0] != nil && bytes.Equal(h.seen[0], cert) && bytes.Equal(h.seen[1], key)
	h.seen = [2][]byte{cert, key}
	return same
}

// reload takes a changed pair, and says what came of it.
func (h *https) reload(log *slog.Logger) {
	changed, err := h.look()
	switch {
	case err != nil:
		log.Error("the new certificate is not used; the old one stays", "error", err.Error(), "cert", h.cert, "key", h.key)
	case changed:
		log.Info("the certificate was read again", "until", h.expires().UTC().Format(time.DateOnly))
		h.worry(log, time.Now())
	}
}

// expires is when the certificate of the files does; the watch tells of it.
func (h *https) expires() time.Time { return h.now.Load().Leaf.NotAfter }

// worry warns of a certificate that browsers refuse from the first day.
func (h *https) worry(log *slog.Logger, now time.Time) {
	leaf := h.now.Load().Leaf
	if now.Before(leaf.NotBefore) {
		log.Error("the certificate is not good yet: is the clock right?", "from", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if err := leaf.VerifyHostname(h.host); err != nil {
		log.Error("the certificate is for another host", "host", h.host, "error", err.Error())
	}
}

// run looks at the files until ctx ends.
func (h *https) run(ctx context.Context, log *slog.Logger) {
	if h == nil || h.auto != nil {
		return
	}
	h.worry(log, time.Now())
	again(ctx, readEvery, func(time.Time) time.Duration {
		h.reload(log)
		return readEvery
	})
}

// config is for the listeners: TLS 1.2 or 1.3 with Go's choice of ciphers, and
// HTTP/2.
func (h *https) config(log *slog.Logger) *tls.Config {
	switch {
	case h == nil:
		return nil
	case h.auto != nil:
		c := h.auto.TLSConfig() // which answers the authority's TLS-ALPN-01 challenges, too
		c.MinVersion = tls.VersionTLS12
		c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := h.auto.GetCertificate(hello)
			if err != nil && h.auto.HostPolicy(hello.Context(), hello.ServerName) == nil && h.mayTell(time.Now()) {
				log.Error("there is no certificate by ACME", "domain", hello.ServerName, "error", err.Error())
			}
			return cert, err
		}
		return c
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return h.now.Load(), nil
		},
	}
}

// mayTell keeps who asks again and again from filling the log.
func (h *https) mayTell(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	ok := now.Sub(h.told) >= complainEvery
	if ok {
		h.told = now
	}
	return ok
}

// challenges answers the authority's HTTP-01 challenges before next.
func (h *https) challenges(next http.Handler) http.Handler {
	if h == nil || h.auto == nil {
		return next
	}
	return h.auto.HTTPHandler(next)
}
