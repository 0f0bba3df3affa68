package account

import (
	"context"
	"time"
)

// toldBudget spares people mail about a program that keeps no cookies and signs in
// again and again: once a week for each program and network.
var toldBudget = Budget{1, 7 * 24 * time.Hour}

// TellDevice tells the owner that a session was begun in a browser or an app that
// had not been seen with this account before, unless it is the first session ever,
// as after a sign-up: there is nobody else yet whom to tell.
func (s *Service) TellDevice(ctx context.Context, user *User, sid string, from Origin, now time.Time) error {
	if len(s.reached(user)) == 0 {
		return nil
	}
	if s.o.Limiter.Take("told:"+user.ID+" "+from.network()+" "+from.Browser, toldBudget, now) > 0 {
		return nil
	}
	first := false
	err := s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		before, err := tx.SignedInBefore(user.ID, sid)
		if first = !before; first || err != nil {
			return err
		}
		if err := s.tell(tx, Asker{Subject: user.ID, SID: sid, From: from}, user, "new_device", now); err != nil {
			return err
		}
		return tx.Record(from.mark(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "new_device", SID: sid}))
	})
	if err == nil && !first {
		s.wake()
	}
	return err
}
