package provider

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/admit-auth/admit/feed"
)

const reasonSessionEnded = "session_ended"

// SessionEnded ends what stood on a session that has ended, but for offline access, and has
// the clients told that were let in with it: also those whose access has ended before, for
// who was let in is signed in there still. It may be called again: what has ended stays so,
// and nobody is told twice.
func (p *Provider) SessionEnded(ctx context.Context, sid string) error {
	return p.ended(ctx, ending{find: func(tx Tx) ([]*Grant, error) { return tx.GrantsBehind(sid) }}, p.now())
}

// SubjectEnded ends whatever somebody has allowed, offline access too, and has every client
// told. It is for who signs out everywhere, sets a new password because of a thief, is
// disabled or removed: nobody can tell what a thief has allowed from what its owner has, so
// all of it goes, and applications ask again. The session with the sid except goes on, and
// what was allowed in it; "" is for none.
func (p *Provider) SubjectEnded(ctx context.Context, subject, except string) error {
	return p.ended(ctx, ending{everywhere: true, subject: subject, except: except, find: func(tx Tx) ([]*Grant, error) {
		all, err := tx.GrantsOf(subject, "")
		return slices.DeleteFunc(all, func(g *Grant) bool { return except != "" && g.SID == except }), err
	}}, p.now())
}

// settle ends what somebody has allowed in sessions that are no more, as SessionEnded does,
// and everything of who is no more. It is for news that says of a subject only that
// something has changed: that may be its roles, for which no application is to lose what
// it was allowed.
func (p *Provider) settle(ctx context.Context, subject string) error {
	now := p.now()
	var u *User
	if err := p.o.Store.View(ctx, func(tx Tx) (err error) {
		u, err = tx.User(subject)
		return err
	}); err != nil {
		return err
	}
	if u == nil {
		return p.SubjectEnded(ctx, subject, "")
	}
	return p.ended(ctx, ending{find: func(tx Tx) (gone []*Grant, err error) {
		all, err := tx.GrantsOf(subject, "")
		if err != nil {
			return nil, err
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
	}}, now)
}

// An ending is what ends grants.
type ending struct {
	find       func(Tx) ([]*Grant, error)
	everywhere bool // every session of a subject, but one where it is not ""
	subject    string
	except     string
}

// ended ends grants, and notes for each client's session that it must be told. A look comes
// first: most sessions have nothing behind them.
func (p *Provider) ended(ctx context.Context, e ending, now time.Time) error {
	any := false
	if err := p.o.Store.View(ctx, func(tx Tx) error {
		all, err := e.find(tx)
		if any = len(all) > 0; err == nil && e.everywhere && !any {
			var asked []*Consent
			asked, err = tx.Consents(e.subject)
			any = len(asked) > 0
		}
		return err
	}); err != nil || !any {
		return err
	}
	err := p.o.Store.Update(ctx, func(tx Tx) error {
		all, err := e.find(tx)
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
			if g.Ended == "" && (e.everywhere || !g.Offline) {
				if err := endGrant(tx, g, c, reasonSessionEnded, now); err != nil {
					return err
				}
			}
			if err := tx.Outlive(g.ID); err != nil {
				return err
			}
			at := place{g.Client, g.SID}
			switch {
			case e.everywhere && e.except == "":
				at.sid = "" // every session of the person's
			case g.SID == "":
				continue // it was told then
			}
			if c.BackchannelLogoutURI == "" || c.Disabled || g.Subject == "" || told[at] {
				continue
			}
			told[at] = true
			if err := tx.PutDelivery(&Delivery{ID: rand.Text(), Client: g.Client, Subject: g.Subject, SID: at.sid, At: now, Due: now}); err != nil {
				return err
			}
		}
		if e.everywhere {
			return forgetConsents(tx, e.subject, e.except)
		}
		return nil
	})
	if err == nil {
		p.rouse()
	}
	return err
}

// forgetConsents has clients ask again but for those that a session has let in: who would
// be led to a thief's application is not asked where the thief has answered.
func forgetConsents(tx Tx, subject, except string) error {
	all, err := tx.Consents(subject)
	if err != nil || len(all) == 0 {
		return err
	}
	stay := map[string]bool{}
	if except != "" {
		behind, err := tx.GrantsBehind(except)
		if err != nil {
			return err
		}
		for _, g := range behind {
			stay[g.Client] = stay[g.Client] || g.Ended == ""
		}
	}
	for _, c := range all {
		if stay[c.Client] {
			continue
		}
		if _, err := tx.EndConsent(subject, c.Client); err != nil {
			return err
		}
	}
	return nil
}

// hear takes in news of what has ended. A store may have noted already, with the end, whom
// to tell.
func (p *Provider) hear(ctx context.Context, n feed.News) error {
	if len(n.Events) > 0 {
		defer p.rouse()
	}
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
