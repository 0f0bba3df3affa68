package jose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
)

// A RemoteKeySet is an issuer's JWK set behind a URL. It is fetched when it is
// first asked for, and then kept:
//
//   - When it has grown old, one caller fetches it anew while all others go on
//     with what is at hand; with [RemoteKeySet.Run] in the background no caller
//     waits. Where nobody has asked for so long that it is twice as old, all
//     wait: keys may have been taken back.
//   - A kid that it lacks has it fetched at once, but at most once in a
//     cool-down: strangers with made-up kids cannot flood the issuer. So a new
//     key may be unknown for that long: publish it before it is used.
//   - While the issuer is away it serves on, up to a bound.
//   - Only public keys count: a secret that is published is none. Redirects are
//     not followed.
//
// No caller waits for longer than its context allows. A fetch that it began
// goes on without it, for up to 5 seconds: others wait for it.
type RemoteKeySet struct {
	url string
	o   RemoteOptions

	set atomic.Pointer[remoteSet]
	mu  sync.Mutex // guards all below
	// flight is the fetch that is under way, nil where none is.
	flight chan struct{}
	next   time.Time // before which nothing is fetched
	failed error     // of the last fetch
}

// A remoteSet is what one fetch brought.
type remoteSet struct {
	keys  *KeySet
	text  string
	old   time.Time // when to look again
	stale time.Time // until when it may be served
}

// RemoteOptions are the rare choices of a [RemoteKeySet].
type RemoteOptions struct {
	// Client fetches: one with a time-out of 5 seconds unless set.
	Client *http.Client
	// MaxAge is after how long the set is looked for again, unless the answer's
	// Cache-Control says sooner: 10 minutes unless set, never under a minute.
	MaxAge time.Duration
	// MaxStale is for how long a set that cannot be renewed is still used: 24
	// hours unless set.
	MaxStale time.Duration
	// CoolDown is the least time between two fetches: 10 seconds unless set,
	// and at most one as long as there is nothing to serve.
	CoolDown time.Duration
	// InsecureAllowHTTP takes keys over plain HTTP: who is in between signs as
	// he likes. Loopback needs no permission.
	InsecureAllowHTTP bool
}

// NewRemoteKeySet returns the set behind an https URL. It fetches nothing yet.
func NewRemoteKeySet(from string, o *RemoteOptions) (*RemoteKeySet, error) {
	s := &RemoteKeySet{url: from}
	if o != nil {
		s.o = *o
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&s.o.MaxAge, 10 * time.Minute}, {&s.o.MaxStale, 24 * time.Hour}, {&s.o.CoolDown, 10 * time.Second}} {
		if *d.value < 0 {
			return nil, errors.New("jose: a negative duration")
		}
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	u, err := url.Parse(from)
	if err != nil || u.Host == "" || u.User != nil || !s.safe(u) {
		return nil, fmt.Errorf("jose: %q is no https URL of a key set", from)
	}
	if s.o.Client == nil {
		s.o.Client = &http.Client{Timeout: 5 * time.Second}
	}
	client := *s.o.Client
	// An issuer's keys are where it says. Whoever can have us redirected would
	// choose them, or have us ask around in our own network.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.o.Client = &client
	return s, nil
}

// safe reports whether keys may be taken from a URL.
func (s *RemoteKeySet) safe(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && (s.o.InsecureAllowHTTP || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// KeySet implements [KeySource].
func (s *RemoteKeySet) KeySet(ctx context.Context, kid string) (*KeySet, error) {
	now := time.Now()
	have := s.set.Load()
	switch {
	case have == nil || !now.Before(have.stale):
		if err := s.fetch(ctx, true); err != nil {
			return nil, &admit.RetryError{After: time.Second, Err: err}
		}
	case kid != "" && !have.keys.has(kid):
		// As long as it cannot be told whether there is such a key, a refusal
		// would have a client throw a good token away.
		if err := s.fetch(ctx, true); err != nil {
			return nil, &admit.RetryError{After: s.o.CoolDown, Err: err}
		}
	case !now.Before(have.old):
		_ = s.fetch(ctx, !now.Before(have.old.Add(s.o.MaxAge)) && !s.failing())
	}
	if have = s.set.Load(); have == nil || !time.Now().Before(have.stale) {
		return nil, &admit.RetryError{After: time.Second, Err: ErrKeysAway}
	}
	return have.keys, nil
}

func (s *KeySet) has(kid string) bool {
	for _, k := range s.keys {
		if k.id == kid {
			return true
		}
	}
	return false
}

// Refresh fetches the set now, whatever its age and the cool-down: for when the
// issuer says that a key has been taken back.
func (s *RemoteKeySet) Refresh(ctx context.Context) error {
	s.mu.Lock()
	flight := s.flight
	s.mu.Unlock()
	if flight != nil { // it may have been answered before
		if err := s.land(ctx, flight); err != nil && ctx.Err() != nil {
			return err
		}
	}
	s.mu.Lock()
	s.next = time.Time{}
	s.mu.Unlock()
	return s.fetch(ctx, true)
}

// Run keeps the set fresh until ctx ends, so that no verification waits for it.
func (s *RemoteKeySet) Run(ctx context.Context) error {
	for {
		wait := s.o.CoolDown
		if err := s.fetch(ctx, true); err == nil {
			if have := s.set.Load(); have != nil {
				wait = max(wait, time.Until(have.old)*9/10)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// failing reports whether the last fetch failed.
func (s *RemoteKeySet) failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed != nil
}

// fetch renews the set. One fetch is under way at a time; wait says whether to
// wait for somebody else's.
func (s *RemoteKeySet) fetch(ctx context.Context, wait bool) error {
	s.mu.Lock()
	flight := s.flight
	if flight == nil {
		if time.Now().Before(s.next) {
			defer s.mu.Unlock()
			return s.failed
		}
		flight, wait = make(chan struct{}), true
		s.flight = flight
		// Not in the caller's goroutine: it would hold a request for longer than
		// that has, or end for all who wait when one of them hangs up.
		go s.fly(context.WithoutCancel(ctx), flight)
	}
	s.mu.Unlock()
	if !wait {
		return nil
	}
	return s.land(ctx, flight)
}

func (s *RemoteKeySet) fly(ctx context.Context, flight chan struct{}) {
	err := s.get(ctx)
	pause := s.o.CoolDown
	if have := s.set.Load(); err != nil && (have == nil || !time.Now().Before(have.stale)) {
		pause = min(pause, time.Second)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight, s.failed, s.next = nil, err, time.Now().Add(pause)
	close(flight)
}

// land waits for a fetch and says how it, or a later one, ended.
func (s *RemoteKeySet) land(ctx context.Context, flight chan struct{}) error {
	select {
	case <-flight:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", s.url, ctx.Err(), ErrKeysAway)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *RemoteKeySet) get(ctx context.Context) error {
	away := func(err error) error { return fmt.Errorf("%s: %w: %w", s.url, err, ErrKeysAway) }
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return away(err)
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	// A cache in between may still have a set with a key that was taken back.
	r.Header.Set("Cache-Control", "no-cache")
	answer, err := s.o.Client.Do(r)
	if err != nil {
		return away(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return away(fmt.Errorf("status %d", answer.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxSet+1))
	if err != nil {
		return away(err)
	}
	now := time.Now()
	next := &remoteSet{text: string(text), old: now.Add(s.age(answer.Header)), stale: now.Add(s.o.MaxStale)}
	// The same text is the same set: what was remembered under it stays.
	if have := s.set.Load(); have != nil && have.text == next.text {
		next.keys = have.keys
	} else {
		var ignored []error
		if next.keys, ignored, err = parseKeySet(text, ParsePublicKey); err != nil {
			return away(err)
		}
		if len(next.keys.keys) == 0 {
			return away(errors.Join(append(ignored, errors.New("no usable key in the set"))...))
		}
	}
	s.set.Store(next)
	return nil
}

// age is how long an answer is fresh (RFC 9111 section 5.2.2.1).
func (s *RemoteKeySet) age(h http.Header) time.Duration {
	age := s.o.MaxAge
	for part := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		if text, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(part)), "max-age="); ok {
			if n, err := strconv.Atoi(text); err == nil && n >= 0 && n < int(age/time.Second) {
				age = time.Duration(n) * time.Second
			}
		}
	}
	return max(age, time.Minute)
}
