package account

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/statuslist"
)

// StatusListLen is how many places a status list has.
const StatusListLen = 1 << 20

// tokenGrace is how long after its expiry a token may be taken for good: a
// verifier may grant five minutes of leeway.
const tokenGrace = 5 * time.Minute

// placeRest is how long a place is nobody's before it is another's: a verifier
// may look at a list that is a minute old, and would refuse the new token for
// what ended the old one.
const placeRest = time.Minute

// A Place is who has a place in a status list: the tokens of one grant, session
// and epoch.
type Place struct {
	Grant, SID, Subject string
	SEV                 uint64
}

// Places are where status lists tell of tokens.
type Places interface {
	// Place returns which one these tokens have, counted through all lists. It is
	// theirs until then, or longer if that was said before.
	Place(p Place, until time.Time) (uint64, error)
	// EachPlace calls fn for those of one list that are somebody's after a time.
	EachPlace(list uint64, after time.Time, fn func(index uint64, p Place)) error
	// Told returns what followers of the feed must know, in order.
	Told(now time.Time) ([]feed.Event, error)
}

// place has a token that is about to be made say where its status is.
func (s *Service) place(tx Tx, c *jose.Claims[access.Claims]) error {
	n, err := tx.Place(Place{c.Data.GID, c.Data.SID, c.Subject, c.Data.SEV}, c.Expires.Add(tokenGrace+placeRest))
	if err != nil {
		return err
	}
	c.Data.Status, err = statuslist.Reference{Index: n % StatusListLen, URI: s.statusURI(n / StatusListLen)}.MarshalJSON()
	return err
}

func (s *Service) statusURI(list uint64) string {
	return fmt.Sprint(s.o.PublicURL, "/status-lists/", list)
}

// ErrNoStatusList says that no token which may be alive is in a list.
var ErrNoStatusList = admit.NotFound.New("unknown_status_list", "There is no such status list.")

const (
	// StatusAge is how old a list may be that is served. To make one reads all of
	// its places: strangers must not have that done at each request.
	StatusAge  = 5 * time.Second
	statusLife = time.Minute // what is older says nothing
)

// statusLists are those that were signed last.
type statusLists struct {
	mu   sync.Mutex // guards signed, and is held while one is made
	last map[uint64]signedList
}

type signedList struct {
	token string
	at    time.Time
}

// StatusList returns a status list as a signed token. Whoever has the list learns
// how many tokens have ended, and nothing of whose.
func (s *Service) StatusList(ctx context.Context, list uint64, now time.Time) (string, error) {
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	if l, ok := s.lists.last[list]; ok && now.Sub(l.at) < StatusAge && !now.Before(l.at) {
		return l.token, nil
	}
	delete(s.lists.last, list)
	statuses, err := s.statuses(ctx, list, now)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner[statuslist.Claims](s.o.Signing.Signing(), statuslist.Type, nil)
	if err != nil {
		return "", fmt.Errorf("sign a status list: %w", err)
	}
	token, err := signer.Sign(&jose.Claims[statuslist.Claims]{
		Issuer: s.o.PublicURL, Subject: s.statusURI(list), IssuedAt: now, Expires: now.Add(statusLife),
		Data: statuslist.Claims{List: statuses, TTL: uint64(2 * StatusAge / time.Second)},
	})
	if err != nil {
		return "", fmt.Errorf("sign a status list: %w", err)
	}
	if s.lists.last == nil {
		s.lists.last = map[uint64]signedList{}
	}
	s.lists.last[list] = signedList{token, now}
	return token, nil
}

// statuses makes a list of what has ended as of now: what the feed tells, as of
// one moment, for those who cannot follow it.
func (s *Service) statuses(ctx context.Context, list uint64, now time.Time) (l *statuslist.List, err error) {
	err = s.store.View(ctx, func(tx Tx) error {
		told, err := tx.Told(now)
		if err != nil {
			return err
		}
		over := overBy(told)
		var failed error
		err = tx.EachPlace(list, now.Add(placeRest), func(index uint64, p Place) {
			if l == nil {
				l, failed = statuslist.New(1, StatusListLen)
			}
			if failed == nil && over(p) {
				failed = l.Set(int(index), statuslist.Invalid)
			}
		})
		return errors.Join(err, failed)
	})
	if err == nil && l == nil {
		err = ErrNoStatusList
	}
	return l, err
}

// overBy returns what says whether events have ended the tokens in a place.
func overBy(told []feed.Event) func(Place) bool {
	ended := map[feed.Kind]map[string]bool{feed.Session: {}, feed.Grant: {}}
	raised, everyone := map[string]uint64{}, uint64(0)
	for _, e := range told {
		switch e.Kind {
		case feed.Session, feed.Grant:
			ended[e.Kind][e.Target] = true
		case feed.Subject:
			raised[e.Target] = max(raised[e.Target], e.SEV)
		case feed.Everyone:
			everyone = max(everyone, e.SEV)
		}
	}
	return func(p Place) bool {
		return ended[feed.Session][p.SID] || ended[feed.Grant][p.Grant] || p.SEV < raised[p.Subject] || p.SEV < everyone
	}
}
