package account

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/statuslist"
)

// StatusListLen is how many places a status list has.
const StatusListLen = 1 << 17

// tokenGrace is how long after its expiry a token may be taken for good: a
// verifier may grant five minutes of leeway.
const tokenGrace = 5 * time.Minute

// PlaceRest is how long a place is nobody's before it is another's: a verifier
// may look at a list that is a minute old, and would refuse the new token for
// what ended the old one.
const PlaceRest = time.Minute

// A Place is who has a place in a status list: the tokens of one grant, session,
// epoch and client.
type Place struct {
	Grant, SID, Subject string
	SEV                 uint64
	Client              string // "" of the server's own
}

// Endings are what the feed tells, by id.
type Endings struct {
	Sessions, Grants, Clients map[string]bool
	Raised                    map[string]uint64 // subjects' epochs
	Everyone                  uint64
}

func endingsIn(told []feed.Event) *Endings {
	e := &Endings{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]uint64{}, 0}
	for _, one := range told {
		switch one.Kind {
		case feed.Session:
			e.Sessions[one.Target] = true
		case feed.Grant:
			e.Grants[one.Target] = true
		case feed.Client:
			e.Clients[one.Target] = true
		case feed.Subject:
			e.Raised[one.Target] = max(e.Raised[one.Target], one.SEV)
		case feed.Everyone:
			e.Everyone = max(e.Everyone, one.SEV)
		}
	}
	return e
}

// over reports whether the tokens in a place have ended.
func (e *Endings) over(p Place) bool {
	return e.Sessions[p.SID] || e.Grants[p.Grant] || e.Clients[p.Client] || p.SEV < e.Raised[p.Subject] || p.SEV < e.Everyone
}

// Places are where status lists tell of tokens.
type Places interface {
	// Place returns which one these tokens have, counted through all lists. It is
	// theirs until then, or longer if that was said before.
	Place(p Place, until time.Time) (uint64, error)
	// EndedPlaces calls fn for those of one list that are somebody's after a time,
	// and that may have ended: at least those that endings name.
	EndedPlaces(list uint64, after time.Time, e *Endings, fn func(index uint64, p Place)) error
	// ListUsed reports whether any place of a list is somebody's after a time.
	ListUsed(list uint64, after time.Time) (bool, error)
	// Told returns what followers of the feed must know, in order.
	Told(now time.Time) ([]feed.Event, error)
}

// place has a token that is about to be made say where its status is.
func (s *Service) place(tx Tx, c *jose.Claims[access.Claims]) error {
	n, err := tx.Place(Place{Grant: c.Data.GID, SID: c.Data.SID, Subject: c.Subject, SEV: c.Data.SEV}, c.Expires.Add(tokenGrace+PlaceRest))
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
	making sync.Mutex // is held while one is made

	mu   sync.Mutex
	last map[uint64]signedList // guarded by mu
}

type signedList struct {
	token string
	at    time.Time
}

// StatusList returns a status list as a signed token. Whoever has the list learns
// how many tokens have ended, and nothing of whose.
func (s *Service) StatusList(ctx context.Context, list uint64, now time.Time) (string, error) {
	if token, ok := s.lists.fresh(list, now); ok {
		return token, nil
	}
	// Numbers that are made up are one small reading each, and hold up nobody.
	if err := s.store.View(ctx, func(tx Tx) error {
		used, err := tx.ListUsed(list, now.Add(PlaceRest))
		if err == nil && !used {
			err = ErrNoStatusList
		}
		return err
	}); err != nil {
		return "", err
	}
	s.lists.making.Lock()
	defer s.lists.making.Unlock()
	if token, ok := s.lists.fresh(list, now); ok {
		return token, nil
	}
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
	s.lists.keep(list, signedList{token, now})
	return token, nil
}

func (l *statusLists) fresh(list uint64, now time.Time) (token string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.last[list]
	age := now.Sub(one.at)
	return one.token, ok && age < StatusAge && age > -StatusAge
}

func (l *statusLists) keep(list uint64, one signedList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.last, func(_ uint64, old signedList) bool { return one.at.Sub(old.at) >= StatusAge })
	if l.last == nil {
		l.last = map[uint64]signedList{}
	}
	l.last[list] = one
}

// statuses makes a list of what has ended as of now: what the feed tells, as of
// one moment, for those who cannot follow it.
func (s *Service) statuses(ctx context.Context, list uint64, now time.Time) (*statuslist.List, error) {
	l, err := statuslist.New(1, StatusListLen)
	if err != nil {
		return nil, err
	}
	return l, s.store.View(ctx, func(tx Tx) error {
		told, err := tx.Told(now)
		if err != nil {
			return err
		}
		e := endingsIn(told)
		var failed error
		err = tx.EndedPlaces(list, now.Add(PlaceRest), e, func(index uint64, p Place) {
			if e.over(p) {
				failed = errors.Join(failed, l.Set(int(index), statuslist.Invalid))
			}
		})
		return errors.Join(err, failed)
	})
}
