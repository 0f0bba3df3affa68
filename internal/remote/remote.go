// Package remote gets what an issuer publishes from where nobody can put
// something else in its place.
package remote

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// Safe reports whether nobody on the way to a URL can read or change what is
// said: over HTTPS, on this machine, or anywhere where HTTP is allowed.
func Safe(at string, allowHTTP bool) bool {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	ip, _ := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (allowHTTP || u.Hostname() == "localhost" || ip.IsLoopback())
}

// Client returns a copy of a client that follows no redirects: whoever can have
// us redirected would choose the answer, be sent our credential, or have us ask
// around in our own network.
func Client(c *http.Client) *http.Client {
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// Get returns a document of up to most bytes, with the header that it came with.
func Get(ctx context.Context, c *http.Client, at string, asked http.Header, most int64) ([]byte, http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header = asked
	answer, err := c.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("status %d", answer.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return text, answer.Header, err
}

// A Flight is what many want to have fetched, of which one does. The zero Flight
// is ready for use.
type Flight struct {
	mu     sync.Mutex    // guards all below
	landed chan struct{} // closed when the fetch that is under way ends; nil where none is
	next   time.Time     // before which nothing is fetched
	failed error         // of the last fetch
}

// Do runs fetch, unless it is under way or has paused for too short a while: for
// how long it does, fetch says. It returns how the last one ended. Wait says
// whether to wait for somebody else's; who has it run waits as long as ctx lasts.
func (f *Flight) Do(ctx context.Context, wait bool, fetch func(context.Context) (pause time.Duration, err error)) error {
	f.mu.Lock()
	landed := f.landed
	if landed == nil {
		if time.Now().Before(f.next) {
			defer f.mu.Unlock()
			return f.failed
		}
		landed, wait = make(chan struct{}), true
		f.landed = landed
		// Not in the caller's goroutine: it would hold a request for longer than
		// that has, or end for all who wait when one of them hangs up.
		go f.fly(context.WithoutCancel(ctx), landed, fetch)
	}
	f.mu.Unlock()
	if !wait {
		return nil
	}
	return f.land(ctx, landed)
}

func (f *Flight) fly(ctx context.Context, landed chan struct{}, fetch func(context.Context) (time.Duration, error)) {
	pause, err := fetch(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.landed, f.failed, f.next = nil, err, time.Now().Add(pause)
	close(landed)
}

// land waits for a fetch and says how it, or a later one, ended.
func (f *Flight) land(ctx context.Context, landed chan struct{}) error {
	select {
	case <-landed:
	case <-ctx.Done():
		return ctx.Err()
	}
	return f.Failed()
}

// Failed returns the error of the last fetch.
func (f *Flight) Failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// Hurry ends the pause, after what is under way: that may have been answered
// before there was a reason to hurry.
func (f *Flight) Hurry(ctx context.Context) error {
	f.mu.Lock()
	landed := f.landed
	f.mu.Unlock()
	if landed != nil {
		if err := f.land(ctx, landed); err != nil && ctx.Err() != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = time.Time{}
	return nil
}
