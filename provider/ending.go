package provider

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/admit-auth/admit/feed"
)

const reasonSessionEnded = "session_ended"

// SessionEnded ends what stood on a session that has ended, but for offline access, and has
// the clients told that were let in with it. It may be called again: what has ended stays so, and nobody is told
// twice.
func (p *Provider) SessionEnded(ctx context.Context, sid string) error {
	now := p.now()
	return p.ended(ctx, func(tx Tx) ([]*Grant, error) { return tx.GrantsBehind(sid) }, false, now)
}

// SubjectEnded ends whatever somebody has allowed, offline access too, and has every client
// told: who was removed, or disabled.
func (p *Provider) SubjectEnded(ctx context.Context, subject string) error {
	now := p.now()
	return p.ended(ctx, func(tx Tx) ([]*Grant, error) { return tx.GrantsOf(subject, "") }, true, now)
}

// settle ends what somebody has allowed in sessions that are no more, and everything of
// who is no more: for news that says of a subject only that something has changed.
func (p *Provider) settle(ctx context.Context, subject string) error {
	now := p.now()
	return p.ended(ctx, func(tx Tx) (gone []*Grant, err error) {
		all, err := tx.GrantsOf(subject, "")
		if err != nil || len(all) == 0 {
			return nil, err
		}
		u, err := tx.User(subject)
		if err != nil || u == nil {
			return all, err
		}
		for _, g := range all {
			if g.SID == "" {
				continue
			}
			s, err := tx.Session(g.SID, now)
			if err != nil {
				return nil, err
			}
			if s == nil {
				gone = append(gone, g)
			}
		}
		return gone, nil
	}, false, now)
}

// ended ends grants, and notes for each client's session that it must be told. A look comes
// first: most sessions have nothing behind them.
func (p *Provider) ended(ctx context.Context, find func(Tx) ([]*Grant, error), everywhere bool, now time.Time) error {
	any := false
	if err := p.o.Store.View(ctx, func(tx Tx) error {
		all, err := find(tx)
		any = len(all) > 0
		return err
	}); err != nil || !any {
		return err
	}
	err := p.o.Store.Update(ctx, func(tx Tx) error {
		all, err := find(tx)
		if err != nil {
			return err
		}
		type place struct{ client, sid string }
		told := map[place]bool{}
		for _, g := range all {
			c, err := tx.Client(g.Client)
			if err != nil {
				return err
			}
			if c == nil {
				c = &Client{ID: g.Client} // removed, and with it all that it had
			}
			if g.Offline && !everywhere {
				err = tx.Outlive(g.ID)
			} else {
				err = endGrant(tx, g, c, reasonSessionEnded, now)
			}
			if err != nil {
				return err
			}
			at := place{g.Client, g.SID}
			if everywhere {
				at.sid = "" // every session of the person's
			}
			if c.BackchannelLogoutURI == "" || c.Disabled || g.Subject == "" || told[at] {
				continue
			}
			told[at] = true
			if err := tx.PutDelivery(&Delivery{ID: rand.Text(), Client: g.Client, Subject: g.Subject, SID: at.sid, At: now, Due: now}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		p.rouse()
	}
	return err
}

// hear takes in news of what has ended.
func (p *Provider) hear(ctx context.Context, n feed.News) error {
	for _, e := range n.Events {
		var err error
		switch e.Kind {
		case feed.Session:
			err = p.SessionEnded(ctx, e.Target)
		case feed.Subject:
			err = p.settle(ctx, e.Target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Run has the clients told of what has ended, until ctx ends, and returns its error. Where
// endings is not nil it also follows that feed for sessions that have ended, so that
// nobody need call [Provider.SessionEnded]; it begins with everything that still matters.
//
// Several processes may run it on one store. What could not be delivered is tried again
// for a day, by whichever runs then.
func (p *Provider) Run(ctx context.Context, endings feed.Source) error {
	if endings == nil {
		return p.deliverAll(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.follow(ctx, endings)
	}()
	defer func() { cancel(); <-done }()
	return p.deliverAll(ctx)
}

// follow follows a feed as long as ctx lasts.
func (p *Provider) follow(ctx context.Context, endings feed.Source) {
	var at feed.ID
	for ctx.Err() == nil {
		err := endings.Follow(ctx, at, func(n feed.News) error {
			if err := p.hear(ctx, n); err != nil {
				return err
			}
			at = n.Head
			return nil
		})
		if ctx.Err() == nil {
			p.o.Log.ErrorContext(ctx, "follow what has ended", "error", err)
			pause(ctx, time.Second)
		}
	}
}

// pause waits, but not for longer than ctx lasts.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
