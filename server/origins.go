package server

import (
	"context"
	"sync"
	"time"

	"github.com/admit-auth/admit/provider"
)

const (
	// fewClients are looked at in one transaction.
	fewClients = 200
	// originsAge is how old what is known of clients' origins may be. To read them all again
	// takes a twentieth of the time at most, however many clients there are and whatever
	// strangers write into Origin.
	originsAge   = 5 * time.Second
	originsShare = 20
)

// origins are those of the pages of registered clients, near at hand.
type origins struct {
	clients func(ctx context.Context, after string, limit int) ([]*provider.Client, error)

	mu    sync.Mutex
	known map[string]bool // guarded by mu
	until time.Time       // guarded by mu
}

// has reports whether an origin is one of them, at a time.
func (o *origins) has(ctx context.Context, origin string, now time.Time) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil || !now.Before(o.until) {
		if err := o.read(ctx, now); err != nil {
			return false, err
		}
	}
	return o.known[origin], nil
}

// read reads them all. Mu is held: who comes meanwhile waits, and reads nothing.
func (o *origins) read(ctx context.Context, now time.Time) error {
	began, known := time.Now(), map[string]bool{}
	for after := ""; ; {
		all, err := o.clients(ctx, after, fewClients)
		if err != nil {
			return err
		}
		for _, c := range all {
			for _, origin := range c.Origins() {
				known[origin] = true
			}
			after = c.ID
		}
		if len(all) < fewClients {
			break
		}
	}
	o.known, o.until = known, now.Add(max(originsAge, originsShare*time.Since(began)))
	return nil
}
