// Package access decides at a service whether an access token counts, from
// memory.
//
// A [Verifier] is all that a service needs beside package authn:
//
//	tokens, err := access.NewVerifier("https://auth.example.org", "https://api.example.org", &access.Options{
//		FeedToken: admit.NewSecret(os.Getenv("FEED_KEY")), // an API key with the scope "feed"
//	})
//	go tokens.Run(ctx)
//
//	who := authn.New(tokens)
//	mux.Handle("/orders", who.Require(orders))
//	mux.Handle("/admin", who.Require(authn.RequireRole("admin", admin)))
//
// It knows the issuer's keys, and follows its feed: a token whose session, grant
// or user was ended is refused some milliseconds later, and nobody is asked at a
// request. What is demanded of a token is said by the issuer and the audience
// alone; package jose tells the rest.
//
// While there is no news for longer than a bound, the issuer's status list is
// asked, where a token names one (package statuslist); and past that the answer
// is 503, never 401: see package revocation.
package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/revocation"
)

// Why a token that is good in itself is refused for how it is presented. What
// else a token is refused for, packages jose and revocation say.
var (
	// ErrBound: whoever stole it has no key (RFC 9449 section 7.1).
	ErrBound = admit.Unauthenticated.New("token_bound", "This token counts only with a proof of the key that it is bound to.").
			WithHint("Present it with DPoP.")
	// ErrUnbound: the proof that came with it proves nothing.
	ErrUnbound = admit.Unauthenticated.New("token_unbound", "This token is bound to no key, so that no proof belongs to it.").
			WithHint("Present it as a bearer token.")
)

// Options are the choices of a [Verifier]. Unless weakness is spelled, it needs
// a FeedToken, or a Feed.
type Options struct {
	// FeedToken opens the issuer's feed: an API key with the scope "feed", made
	// for the audience.
	FeedToken admit.Secret

	// Algorithms are those accepted: ES256, EdDSA and RS256 unless set.
	Algorithms []jose.Algorithm
	// Leeway is for clocks that differ: 0 unless set, at most 5 minutes.
	Leeway time.Duration
	// Remember is how many tokens that were verified before need no work again,
	// but a look at what has ended: 10,000 unless set, none if negative. Each
	// takes some 2 KB.
	Remember int
	// Bound is how old the latest news may be, or a status list in its place,
	// until nothing can be told: 60 seconds unless set.
	Bound time.Duration
	// Transport makes the requests: http.DefaultTransport unless set.
	Transport http.RoundTripper
	// Failed is told why the feed broke off, or why keys could not be had after
	// one has ended, before it is tried again: for the log.
	Failed func(error)

	// Proof judges what comes with a token that is bound to a key, in a request
	// with the scheme DPoP (RFC 9449): whether who sends it has the key with the
	// thumbprint jkt. Where it is nil no such token counts.
	Proof func(r *http.Request, token, jkt string) error

	// Keys and Feed are in place of the issuer's addresses /oauth/jwks and
	// /feed: for the issuer's own process.
	Keys jose.KeySource
	Feed feed.Source

	// InsecureNoFeed takes tokens of which nobody tells when they end: what has
	// ended counts until it expires.
	InsecureNoFeed bool
	// InsecureWhenStale lets tokens count while there is no news: an attacker
	// who can cut the feed keeps what was taken from him.
	InsecureWhenStale bool
	// InsecureAllowHTTP takes keys and news over plain HTTP: who is in between
	// signs as he likes. Loopback needs no permission.
	InsecureAllowHTTP bool
}

// A Verifier takes the access tokens of one issuer that are for one audience.
// It is a source for package authn, and may be used by many goroutines at once.
type Verifier struct {
	o      Options
	tokens *jose.Verifier[Claims]
	keys   jose.KeySource
	feed   feed.Source     // nil where nobody tells
	ended  *revocation.Set // nil where nobody tells
	lists  *lists          // asked while there is no news

	running  atomic.Bool
	ready    chan struct{} // closed by the first news
	first    sync.Once
	keyEnded chan struct{}
}

// NewVerifier returns a Verifier. Issuer is the claim iss, and where keys and
// feed are; audience is one of those in the claim aud. It asks for nothing yet:
// that is for [Verifier.Run].
func NewVerifier(issuer, audience string, o *Options) (*Verifier, error) {
	v := &Verifier{ready: make(chan struct{}), keyEnded: make(chan struct{}, 1)}
	if o != nil {
		v.o = *o
	}
	if err := v.listen(strings.TrimSuffix(issuer, "/")); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	algorithms := v.o.Algorithms
	if algorithms == nil {
		algorithms = []jose.Algorithm{jose.ES256, jose.EdDSA, jose.RS256}
	}
	remember := v.o.Remember
	if remember == 0 {
		remember = 10_000
	}
	var err error
	if v.lists, err = newLists(strings.TrimSuffix(issuer, "/"), v.keys, algorithms, &v.o); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	v.tokens, err = jose.NewVerifier(v.keys, jose.Expected{
		Algorithms: algorithms, Issuer: issuer, Audience: []string{audience}, Type: Type,
	}, &jose.VerifierOptions[Claims]{Leeway: v.o.Leeway, Remember: max(0, remember), Prepare: prepare, Check: v.check})
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	return v, nil
}

// listen says where keys and news come from.
func (v *Verifier) listen(base string) (err error) {
	if v.keys = v.o.Keys; v.keys == nil {
		v.keys, err = jose.NewRemoteKeySet(base+"/oauth/jwks", &jose.RemoteOptions{
			Client:            &http.Client{Transport: v.o.Transport, Timeout: 5 * time.Second},
			InsecureAllowHTTP: v.o.InsecureAllowHTTP,
		})
		if err != nil {
			return err
		}
	}
	told := v.o.Feed != nil || !v.o.FeedToken.IsZero()
	switch {
	case v.o.Feed != nil && !v.o.FeedToken.IsZero():
		return errors.New("a feed of your own needs no token")
	case told && v.o.InsecureNoFeed:
		return errors.New("a feed, and leave to do without one")
	case v.o.InsecureNoFeed:
		return nil
	case !told:
		return errors.New("a feed is required: without one, ended sessions live on until their tokens expire; FeedToken is an API key with the scope feed")
	}
	if v.feed = v.o.Feed; v.feed == nil {
		v.feed, err = feed.NewRemote(base+"/feed", v.o.FeedToken, &feed.RemoteOptions{
			HTTP: &http.Client{Transport: v.o.Transport}, InsecureAllowHTTP: v.o.InsecureAllowHTTP,
		})
	}
	v.ended = revocation.New(&revocation.Options{Bound: v.o.Bound, InsecureWhenStale: v.o.InsecureWhenStale, Failed: v.o.Failed})
	return err
}

// Verify returns the claims of a bearer token that counts now, or says why there
// are none. Most programs give the Verifier to package authn in place of it.
func (v *Verifier) Verify(ctx context.Context, token string) (jose.Claims[Claims], error) {
	c, err := v.tokens.Verify(ctx, token)
	if err == nil && c.Data.Confirmation != nil {
		err = v.bound()
	}
	if err != nil {
		return jose.Claims[Claims]{}, err
	}
	return c, nil
}

// Authenticate implements authn.Source: it finds a JWT in the Authorization
// header, as a bearer token or, where there are proofs, with the scheme DPoP.
func (v *Verifier) Authenticate(r *http.Request) (p admit.Principal, found bool, err error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimLeft(token, " ")
	proves := v.o.Proof != nil && strings.EqualFold(scheme, "DPoP")
	if !proves && !strings.EqualFold(scheme, "Bearer") || !strings.Contains(token, ".") {
		return p, false, nil // no JWT: it may be another source's
	}
	c, err := v.tokens.Verify(r.Context(), token)
	if err != nil {
		return p, true, err
	}
	switch bound := c.Data.Confirmation; {
	case bound == nil && !proves:
	case bound == nil:
		return p, true, ErrUnbound
	case !proves || bound.JKT == "":
		return p, true, v.bound()
	default:
		if err := v.o.Proof(r, token, bound.JKT); err != nil {
			return p, true, err
		}
	}
	return c.Data.known.principal, true, nil
}

// bound refuses a token for want of a proof, and says whether one is taken here.
func (v *Verifier) bound() error {
	if v.o.Proof != nil {
		return admit.WithChallenge(ErrBound, `DPoP error="invalid_token"`)
	}
	return ErrBound
}

// check is asked at every verification.
func (v *Verifier) check(ctx context.Context, c *jose.Claims[Claims], now time.Time) error {
	if c.Subject == "" { // RFC 9068 section 2.2; without one nobody asks
		return fmt.Errorf("sub: %w", jose.ErrMissing)
	}
	if v.ended == nil {
		return nil
	}
	err := v.ended.Check(&c.Data.known.ids, now)
	for i := 0; err == nil && i < len(c.Data.known.through); i++ {
		err = v.ended.Check(&c.Data.known.through[i], now)
	}
	if err == nil || !errors.Is(err, revocation.ErrStale) {
		return err
	}
	if !v.running.Load() {
		return fmt.Errorf("access: Run has not been called: %w", err)
	}
	if c.Data.known.status.URI == "" {
		return err
	}
	switch why := v.lists.check(ctx, c.Data.known.status, now); {
	case why == nil || errors.Is(why, revocation.ErrEnded):
		return why
	default:
		return fmt.Errorf("%w (%v)", err, why)
	}
}

// Ready waits for the first news, as long as ctx lasts: call it before the
// service takes requests. It says why there are no keys then.
func (v *Verifier) Ready(ctx context.Context) error {
	if v.feed != nil {
		select {
		case <-v.ready:
		case <-ctx.Done():
			return fmt.Errorf("access: no news from the feed: %w", ctx.Err())
		}
	}
	_, err := v.keys.KeySet(ctx, "")
	return err
}

// Run follows the feed and keeps the keys fresh until ctx ends, and returns
// ctx's error. Call it once: without it no token counts.
func (v *Verifier) Run(ctx context.Context) error {
	v.running.Store(true)
	defer v.running.Store(false)
	var work sync.WaitGroup
	defer work.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if keys, ok := v.keys.(*jose.RemoteKeySet); ok {
		work.Go(func() { _ = keys.Run(ctx) }) // ctx's error alone
		work.Go(func() { v.renew(ctx, keys) })
	}
	if v.feed == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return v.ended.Run(ctx, listener{v})
}

// renew fetches the keys when one has ended: who has it could sign a token that
// outlives the news.
func (v *Verifier) renew(ctx context.Context, keys *jose.RemoteKeySet) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.keyEnded:
		}
		for {
			err := keys.Refresh(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			if v.o.Failed != nil {
				v.o.Failed(err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

// A listener is the feed, with an ear for what the set does not keep.
type listener struct{ *Verifier }

// Follow implements feed.Source.
func (l listener) Follow(ctx context.Context, after feed.ID, hear func(feed.News) error) error {
	return l.feed.Follow(ctx, after, func(n feed.News) error {
		err := hear(n)
		l.first.Do(func() { close(l.ready) })
		if slices.ContainsFunc(n.Events, func(e feed.Event) bool { return e.Kind == feed.Key }) {
			select {
			case l.keyEnded <- struct{}{}:
			default: // it is known already
			}
		}
		return err
	})
}
