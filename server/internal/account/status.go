package account

import (
	"context"
	"errors"
	"time"

	"github.com/admit-auth/admit/feed"
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
	Place(p Place, until, now time.Time) (uint64, error)
	// EachPlace calls fn for those of one list that are somebody's after a time.
	EachPlace(list uint64, after time.Time, fn func(index uint64, p Place)) error
	// Told returns what followers of the feed must know, in order.
	Told(now time.Time) ([]feed.Event, error)
}

// status returns the claim "status" of a token that expires then.
func (s *Service) status(tx Tx, p Place, expires, now time.Time) (statuslist.Reference, error) {
	n, err := tx.Place(p, expires.Add(tokenGrace+placeRest), now)
	if err != nil {
		return statuslist.Reference{}, err
	}
	return statuslist.Reference{Index: n % StatusListLen, URI: ""}, nil
}

// statuses makes a list of what has ended as of now: what the feed tells, as of
// one moment, for those who cannot follow it.
func (s *Service) statuses(ctx context.Context, list uint64, now time.Time) (*statuslist.List, error) {
	l, err := statuslist.New(1, StatusListLen)
	if err != nil {
		return nil, err
	}
	return l, s.store.View(ctx, func(tx Tx) error {
		events, err := tx.Told(now)
		if err != nil {
			return err
		}
		ended := map[feed.Kind]map[string]bool{feed.Session: {}, feed.Grant: {}}
		raised, everyone := map[string]uint64{}, uint64(0)
		for _, e := range events {
			switch e.Kind {
			case feed.Session, feed.Grant:
				ended[e.Kind][e.Target] = true
			case feed.Subject:
				raised[e.Target] = max(raised[e.Target], e.SEV)
			case feed.Everyone:
				everyone = max(everyone, e.SEV)
			}
		}
		var failed error
		err = tx.EachPlace(list, now.Add(placeRest), func(index uint64, p Place) {
			if ended[feed.Session][p.SID] || ended[feed.Grant][p.Grant] || p.SEV < raised[p.Subject] || p.SEV < everyone {
				failed = errors.Join(failed, l.Set(int(index), statuslist.Invalid))
			}
		})
		return errors.Join(err, failed)
	})
}
