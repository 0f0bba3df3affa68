// Package revocation knows what has ended, in memory, so that a service refuses
// a token at once whose session, grant, key or user was ended elsewhere.
//
// A [Set] follows a feed and is asked at every verification:
//
//	ended := revocation.New(nil)
//	go ended.Run(ctx, source) // a feed.Log of this process, or a feed.Remote
//
//	v, err := jose.NewVerifier(keys, expected, &jose.VerifierOptions[Access]{
//		Remember: 10_000,
//		Prepare:  func(c *jose.Claims[Access]) { c.Data.ids = revocation.IDs{…}.Digest() },
//		Check: func(ctx context.Context, c *jose.Claims[Access], now time.Time) error {
//			return ended.Check(&c.Data.ids, now)
//		},
//	})
//
// A look costs some tens of nanoseconds and no allocation. What has ended is
// kept until every token that could name it has expired by itself.
//
// # Stale is not unauthenticated
//
// A Set that has had no news for longer than its bound, or none yet, says
// [ErrStale]: nothing is known, and a client that got a 401 would throw good
// tokens away. How old news is, the issuer's clock says: a proxy may have held
// it back.
package revocation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
)

// Why a token that was verified does not count.
var (
	// ErrEnded: its session, grant, client or key has ended, or itself.
	ErrEnded = admit.Unauthenticated.New("session_ended", "This session has been ended.")
	// ErrStaleClaims: its user's password or permissions have changed since. A
	// live session gets a new token by refreshing, without a prompt.
	ErrStaleClaims = admit.Unauthenticated.New("stale_claims", "What this token says is out of date.").
			WithHint("Refresh it; the session may live on.")
	// ErrStale: there has been no news for too long. It is admit.Unavailable.
	ErrStale = admit.Unavailable.New("verifier_stale", "It cannot be told just now whether this token still counts.")
)

// Options are the rare choices of a [Set].
type Options struct {
	// Bound is how old the latest news may be: 60 seconds unless set. It must
	// allow for what the issuer's clock is behind that of this machine; one
	// that is ahead gains nothing.
	Bound time.Duration
	// InsecureWhenStale lets tokens count while there is no news: an attacker
	// who can cut the feed keeps what was taken from him.
	InsecureWhenStale bool
	// Failed is told why the feed broke off, before Run follows it again: for
	// the log, which says nothing otherwise while the news grows old.
	Failed func(error)
}

// IDs are what a token can be ended by, as its claims name it. Those that it
// does not have are "".
type IDs struct {
	Session, Grant, Token, Subject, Client, Key string
	SEV                                         uint64 // the subject's epoch
}

// Digests are IDs as a feed tells them. Make them once for a token.
type Digests struct {
	ended   [5]feed.Digest
	subject feed.Digest
	n       int
	sev     uint64
}

// Digest returns the digests of the ids.
func (ids IDs) Digest() (d Digests) {
	for _, id := range []struct {
		kind feed.Kind
		text string
	}{{feed.Session, ids.Session}, {feed.Grant, ids.Grant}, {feed.Token, ids.Token}, {feed.Client, ids.Client}, {feed.Key, ids.Key}} {
		if id.text != "" {
			d.ended[d.n] = feed.DigestOf(id.kind, id.text)
			d.n++
		}
	}
	if ids.Subject != "" {
		d.subject = feed.DigestOf(feed.Subject, ids.Subject)
	}
	d.sev = ids.SEV
	return d
}

// A Set is what has ended, as far as a feed has told. It may be used by many
// goroutines at once.
type Set struct {
	o Options

	mu sync.RWMutex // guards all below
	// ended says until when what must be refused, and raised the epochs below
	// which a subject's tokens must be.
	ended    map[feed.Digest]int64
	raised   map[feed.Digest]raise
	everyone raise
	// due are the digests by the minute in which they may be forgotten.
	due   map[int64][]feed.Digest
	swept int64 // the last such minute
	head  feed.ID
	at    time.Time // as of when the set is the whole truth
	heard time.Time // when it was told so
}

// A raise is the least epoch whose tokens count, and until when there may be
// others.
type raise struct {
	sev   uint64
	until int64
}

func (r raise) and(e *feed.Event) raise {
	return raise{max(r.sev, e.SEV), max(r.until, until(e))}
}

// grace is how much longer an ending is kept than the issuer says, in seconds.
// By then every token that names it has expired, on the issuer's clock; a
// verifier may allow five minutes of leeway, and its clock may be behind.
const grace = 6 * 60

// until is the Unix second from which an event may be forgotten.
func until(e *feed.Event) int64 { return e.Until.Unix() + 1 + grace }

// New returns a Set that has heard nothing yet.
func New(o *Options) *Set {
	s := &Set{}
	if o != nil {
		s.o = *o
	}
	if s.o.Bound <= 0 {
		s.o.Bound = time.Minute
	}
	s.ended, s.raised, s.due = map[feed.Digest]int64{}, map[feed.Digest]raise{}, map[int64][]feed.Digest{}
	return s
}

// reset forgets all but what a snapshot as of now leaves out because no token
// can name it any more, and we keep nevertheless. Epochs count in their own
// feed alone.
func (s *Set) reset(now int64, same bool) {
	ended, raised, everyone := s.ended, s.raised, s.everyone
	s.ended, s.raised, s.everyone = map[feed.Digest]int64{}, map[feed.Digest]raise{}, raise{}
	s.due = map[int64][]feed.Digest{}
	left := func(until int64) bool { return until-grace <= now && now < until }
	for d, until := range ended {
		if left(until) {
			s.ended[d] = until
			s.plan(d, until)
		}
	}
	if !same {
		return
	}
	for d, r := range raised {
		if left(r.until) {
			s.raised[d] = r
			s.plan(d, r.until)
		}
	}
	if left(everyone.until) {
		s.everyone = everyone
	}
}

// plan has a digest looked at when it may be forgotten.
func (s *Set) plan(d feed.Digest, until int64) {
	minute := until/60 + 1
	s.due[minute] = append(s.due[minute], d)
}

// Check says why a token with these ids does not count, or nil.
func (s *Set) Check(d *Digests, now time.Time) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range d.n {
		if _, ended := s.ended[d.ended[i]]; ended {
			return ErrEnded
		}
	}
	if d.sev < s.everyone.sev {
		return ErrStaleClaims
	}
	if d.sev < s.raised[d.subject].sev {
		return ErrStaleClaims
	}
	if (now.Sub(s.at) > s.o.Bound || now.Sub(s.heard) > s.o.Bound) && !s.o.InsecureWhenStale {
		return &admit.RetryError{After: time.Second, Err: ErrStale}
	}
	return nil
}

// Hear takes news in. Most programs never call it: Run does.
func (s *Set) Hear(n feed.News) error {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	// News cannot be newer than now: an issuer whose clock is ahead, or jumps
	// ahead, must not have us trust it for longer, or forget too soon.
	s.at, s.heard = n.At, now
	if s.at.After(now) {
		s.at = now
	}
	if n.Reset {
		s.reset(s.at.Unix(), n.Head.Epoch == s.head.Epoch)
	}
	for i := range n.Events {
		s.add(&n.Events[i])
	}
	s.head = n.Head
	s.sweep(s.at.Unix())
	return nil
}

func (s *Set) add(e *feed.Event) {
	switch e.Kind {
	case feed.Everyone:
		s.everyone = s.everyone.and(e)
		return
	case feed.Subject:
		s.raised[e.Digest] = s.raised[e.Digest].and(e)
	default:
		s.ended[e.Digest] = max(s.ended[e.Digest], until(e))
	}
	s.plan(e.Digest, until(e))
}

// sweep forgets what no token can name any more, once in a minute.
func (s *Set) sweep(now int64) {
	if now/60 <= s.swept {
		return
	}
	s.swept = now / 60
	for minute, digests := range s.due {
		if minute > s.swept {
			continue
		}
		for _, d := range digests {
			if s.ended[d] <= now {
				delete(s.ended, d)
			}
			if s.raised[d].until <= now {
				delete(s.raised, d)
			}
		}
		delete(s.due, minute)
	}
	if s.everyone.until <= now {
		s.everyone = raise{}
	}
}

// Position returns where in the feed the set stands, and as of when it is the
// whole truth: the zero time where it has heard nothing.
func (s *Set) Position() (feed.ID, time.Time) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.head, s.at
}

// Len returns how many endings are kept.
func (s *Set) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.ended) + len(s.raised)
}

// Run follows the feed until ctx ends, and again where it breaks off: soon at
// first, then every few seconds.
func (s *Set) Run(ctx context.Context, source feed.Source) error {
	const most = 5 * time.Second
	wait := 50 * time.Millisecond
	for {
		after, _ := s.Position()
		err := source.Follow(ctx, after, func(n feed.News) error {
			wait = 50 * time.Millisecond
			return s.Hear(n)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, admit.Unavailable) {
			return fmt.Errorf("follow the feed: %w", err)
		}
		if s.o.Failed != nil {
			s.o.Failed(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait + rand.N(wait)):
		}
		wait = min(2*wait, most)
	}
}
