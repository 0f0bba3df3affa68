package server

import (
	"net/http"
	"sync"
)

// A probe is how a request of admit doctor's arrived that went out to the public
// URL: as a proxy in between has made it.
type probe struct {
	Peer      string `json:"peer"` // address and port that it came from
	Host      string `json:"host"`
	TLS       bool   `json:"tls"`
	For       string `json:"for"` // X-Forwarded-For
	Proto     string `json:"proto"`
	Forwarded string `json:"forwarded"`
}

// probes are requests that are waited for. Who waits announces a random name
// through the socket first, so that a stranger's requests leave nothing here.
type probes struct {
	mu    sync.Mutex
	named map[string]*probe // nil until it arrived; guarded by mu
}

const (
	probePath   = "/healthz"
	probeHeader = "Admit-Probe"
	maxProbes   = 16
)

// expect waits for the request of that name for a while.
func (p *probes) expect(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.named == nil || len(p.named) >= maxProbes {
		p.named = map[string]*probe{}
	}
	p.named[name] = nil
}

// take returns the request of that name, nil where it has not arrived.
func (p *probes) take(name string) *probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.named[name]
	delete(p.named, name)
	return got
}

// see notes a probe.
func (p *probes) see(r *http.Request) {
	if r.URL.Path == probePath {
		if name := r.Header.Get(probeHeader); name != "" {
			p.note(name, r)
		}
	}
}

func (p *probes) note(name string, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, waited := p.named[name]; waited {
		p.named[name] = &probe{
			Peer: r.RemoteAddr, Host: r.Host, TLS: r.TLS != nil,
			For: r.Header.Get("X-Forwarded-For"), Proto: r.Header.Get("X-Forwarded-Proto"), Forwarded: r.Header.Get("Forwarded"),
		}
	}
}
