package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit/internal/remote"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/revocation"
	"github.com/admit-auth/admit/statuslist"
)

// lists are an issuer's status lists: what a verifier asks while there is no
// news. A list is some seconds old where news is fresh, and says nothing of
// epochs; but it can come by another way, such as a cache of the network's.
type lists struct {
	base   string // what their addresses begin with
	client *http.Client
	tokens *jose.Verifier[statuslist.Claims]
	bound  time.Duration

	mu    sync.Mutex
	known map[string]*list // guarded by mu
}

// A list is one of them, as it was fetched last.
type list struct {
	flight remote.Flight
	last   atomic.Pointer[fetched] // nil where it was not
}

type fetched struct {
	statuses *statuslist.List
	until    time.Time // from when on they say nothing
}

const (
	maxLists = 64      // with a million places, 8 MB
	maxToken = 2 << 20 // in bytes: room for statuslist.MaxBytes, in base64 twice
)

func newLists(base string, keys jose.KeySource, algorithms []jose.Algorithm, o *Options) (*lists, error) {
	// The draft has neither iss nor aud. The keys are the issuer's, and sub is
	// the address; when it was issued says how long it counts.
	tokens, err := jose.NewVerifier(keys, jose.Expected{Algorithms: algorithms, Type: statuslist.Type}, &jose.VerifierOptions[statuslist.Claims]{
		Leeway: o.Leeway, MaxLength: maxToken, InsecureAnyIssuer: true, InsecureAnyAudience: true, InsecureNoExpiry: true,
	})
	bound := o.Bound
	if bound <= 0 {
		bound = time.Minute
	}
	client := remote.Client(&http.Client{Transport: o.Transport, Timeout: 2 * time.Second}) // requests wait for it
	return &lists{base: base + "/", client: client, tokens: tokens, bound: bound, known: map[string]*list{}}, err
}

// check says why a token with this status does not count. What is no
// revocation.ErrEnded says that the list cannot tell.
func (l *lists) check(ctx context.Context, at statuslist.Reference, now time.Time) error {
	// Who has an issuer's key must not have us ask around in our own network.
	if !strings.HasPrefix(at.URI, l.base) {
		return fmt.Errorf("a status list elsewhere: %q", at.URI)
	}
	statuses, err := l.get(ctx, at.URI, now)
	if err != nil {
		return err
	}
	switch s, err := statuses.At(at.Index); {
	case err != nil:
		return err
	case s != statuslist.Valid:
		return fmt.Errorf("status %d: %w", s, revocation.ErrEnded)
	}
	return nil
}

var errNoList = errors.New("no status list that is new enough")

// get returns the list at an address, which is fetched for one of those who want
// it while the others wait.
func (l *lists) get(ctx context.Context, uri string, now time.Time) (*statuslist.List, error) {
	one := l.at(uri)
	err := one.flight.Do(ctx, !one.good(now), func(ctx context.Context) (time.Duration, error) { return l.renew(ctx, one, uri, now) })
	if !one.good(now) {
		return nil, cmp.Or(err, errNoList)
	}
	return one.last.Load().statuses, nil
}

func (l *lists) at(uri string) *list {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.known[uri]
	if one == nil {
		if len(l.known) >= maxLists {
			clear(l.known)
		}
		one = &list{}
		l.known[uri] = one
	}
	return one
}

func (l *list) good(now time.Time) bool {
	have := l.last.Load()
	return have != nil && now.Before(have.until)
}

// renew fetches a list, and returns after how long to do so again: twice within
// the bound, or as often as the issuer says.
func (l *lists) renew(ctx context.Context, one *list, uri string, now time.Time) (pause time.Duration, err error) {
	claims, err := l.fetch(ctx, uri)
	pause = l.bound / 2
	if err != nil {
		return max(min(pause, 2*time.Second), time.Second), err
	}
	// It cannot be newer than now, whatever the issuer's clock says.
	until := claims.IssuedAt.Add(l.bound)
	if claims.IssuedAt.After(now) {
		until = now.Add(l.bound)
	}
	if !claims.Expires.IsZero() && claims.Expires.Before(until) {
		until = claims.Expires
	}
	one.last.Store(&fetched{claims.Data.List, until})
	if ttl := claims.Data.TTL; ttl > 0 && ttl < uint64(pause/time.Second) {
		pause = time.Duration(ttl) * time.Second
	}
	return max(pause, time.Second), nil
}

func (l *lists) fetch(ctx context.Context, uri string) (claims jose.Claims[statuslist.Claims], err error) {
	text, _, err := remote.Get(ctx, l.client, uri, http.Header{"Accept": {"application/" + statuslist.Type}}, maxToken)
	if err != nil {
		return claims, fmt.Errorf("%s: %w", uri, err)
	}
	claims, err = l.tokens.Verify(ctx, string(text))
	switch {
	case err != nil:
	case claims.Subject != uri:
		err = fmt.Errorf("%s: the list of %q", uri, claims.Subject)
	case claims.Data.List == nil || claims.IssuedAt.IsZero():
		err = fmt.Errorf("%s: %w", uri, jose.ErrMissing)
	}
	return claims, err
}
