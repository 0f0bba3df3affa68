package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

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

	mu    sync.Mutex // guards all below
	known map[string]*list
}

// A list is one of them, as it was fetched last.
type list struct {
	flight   chan struct{} // the fetch that is under way, nil where none is
	next     time.Time     // before which it is not fetched again
	statuses *statuslist.List
	until    time.Time // from when on the statuses say nothing
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
	client := &http.Client{
		Transport:     o.Transport,
		Timeout:       2 * time.Second, // requests wait for it
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
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

// get returns the list at an address, which is fetched by one of those who want
// it while the others wait.
func (l *lists) get(ctx context.Context, uri string, now time.Time) (*statuslist.List, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		one := l.known[uri]
		if one == nil {
			if len(l.known) >= maxLists {
				clear(l.known)
			}
			one = &list{}
			l.known[uri] = one
		}
		good := one.statuses != nil && now.Before(one.until)
		switch {
		case good && (one.flight != nil || now.Before(one.next)):
			return one.statuses, nil
		case one.flight != nil:
			flight := one.flight
			l.mu.Unlock()
			select {
			case <-flight:
			case <-ctx.Done():
			}
			l.mu.Lock()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		case now.Before(one.next):
			return nil, errNoList
		default:
			l.renew(ctx, one, uri, now)
		}
	}
}

// renew fetches a list. It is called with the lock, and lets it go meanwhile.
func (l *lists) renew(ctx context.Context, one *list, uri string, now time.Time) {
	flight := make(chan struct{})
	one.flight = flight
	l.mu.Unlock()
	// Not in the caller's context: all who wait would fail when he hangs up.
	claims, err := l.fetch(context.WithoutCancel(ctx), uri)
	l.mu.Lock()
	one.flight = nil
	close(flight)
	// Twice within the bound, or as often as the issuer says.
	pause := l.bound / 2
	if err == nil {
		one.statuses = claims.Data.List
		// It cannot be newer than now, whatever the issuer's clock says.
		if one.until = claims.IssuedAt.Add(l.bound); claims.IssuedAt.After(now) {
			one.until = now.Add(l.bound)
		}
		if !claims.Expires.IsZero() && claims.Expires.Before(one.until) {
			one.until = claims.Expires
		}
		if ttl := claims.Data.TTL; ttl > 0 && ttl < uint64(pause/time.Second) {
			pause = time.Duration(ttl) * time.Second
		}
	} else {
		pause = min(pause, 2*time.Second)
	}
	one.next = now.Add(max(pause, time.Second))
}

func (l *lists) fetch(ctx context.Context, uri string) (claims jose.Claims[statuslist.Claims], err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return claims, err
	}
	r.Header.Set("Accept", "application/"+statuslist.Type)
	answer, err := l.client.Do(r)
	if err != nil {
		return claims, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return claims, fmt.Errorf("%s: status %d", uri, answer.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxToken+1))
	if err != nil {
		return claims, err
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
