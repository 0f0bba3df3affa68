package jose

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/internal/remote"
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

	set    atomic.Pointer[remoteSet]
	flight remote.Flight
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

// fetchTime is how long a fetch may take.
const fetchTime = 5 * time.Second

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
	if !remote.Safe(from, s.o.InsecureAllowHTTP) {
		return nil, fmt.Errorf("jose: %q is no https URL of a key set", from)
	}
	if s.o.Client == nil {
		s.o.Client = &http.Client{Timeout: fetchTime}
	}
	s.o.Client = remote.Client(s.o.Client)
	return s, nil
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
		_ = s.fetch(ctx, !now.Before(have.old.Add(s.o.MaxAge)) && s.flight.Failed() == nil)
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
	if err := s.flight.Hurry(ctx); err != nil {
		return s.away(err)
	}
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

// fetch renews the set. One fetch is under way at a time; wait says whether to
// wait for somebody else's.
func (s *RemoteKeySet) fetch(ctx context.Context, wait bool) error {
	return s.away(s.flight.Do(ctx, wait, func(ctx context.Context) (time.Duration, error) {
		err := s.get(ctx)
		if have := s.set.Load(); err != nil && (have == nil || !time.Now().Before(have.stale)) {
			return min(s.o.CoolDown, time.Second), err
		}
		return s.o.CoolDown, err
	}))
}

// away says of an error that there are no keys.
func (s *RemoteKeySet) away(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %w", s.url, err, ErrKeysAway)
}

func (s *RemoteKeySet) get(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	text, header, err := remote.Get(ctx, s.o.Client, s.url, http.Header{
		"Accept": {"application/jwk-set+json, application/json"},
		// A cache in between may still have a set with a key that was taken back.
		"Cache-Control": {"no-cache"},
	}, maxSet)
	if err != nil {
		return err
	}
	now := time.Now()
	next := &remoteSet{text: string(text), old: now.Add(s.age(header)), stale: now.Add(s.o.MaxStale)}
	// The same text is the same set: what was remembered under it stays.
	if have := s.set.Load(); have != nil && have.text == next.text {
		next.keys = have.keys
	} else {
		var ignored []error
		if next.keys, ignored, err = parseKeySet(text, ParsePublicKey); err != nil {
			return err
		}
		if len(next.keys.keys) == 0 {
			return errors.Join(append(ignored, errors.New("no usable key in the set"))...)
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
