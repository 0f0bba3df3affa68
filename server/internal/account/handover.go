package account

import (
	"context"
	"time"
)

// Hand-overs to other sites of the same house, in so far as they are counted and
// told.

// MayHandOver refuses a user who has been sent to other sites too often, each time
// a row: a page that somebody looks at can send him.
func (s *Service) MayHandOver(user *User, now time.Time) error {
	if user.MustChange {
		return ErrMustChange
	}
	return s.take([]try{{"handover:" + user.ID, handOverBudget}}, now)
}

// HandedOver tells that a site has taken a session over.
func (s *Service) HandedOver(ctx context.Context, site, subject, sid string, from Origin, now time.Time) error {
	return s.record(ctx, Record{At: now, Subject: subject, Actor: subject, Event: "handed_over", Detail: site, SID: sid}, from)
}

// HandOverRefused tells that a server was refused: a site, or "" where it did not
// prove to be one. It is ErrTooMany for who is refused too often, of which no more
// is told. Nobody with a good secret and a good code waits for it.
func (s *Service) HandOverRefused(ctx context.Context, site string, from Origin, now time.Time) error {
	if err := s.take([]try{{"handover refused:" + from.network(), addressBudget}}, now); err != nil {
		return err
	}
	return s.record(ctx, Record{At: now, Event: "hand_over_refused", Detail: site}, from)
}
