package provider

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// reasonTakenBack is why a grant ends that somebody wants no more.
const reasonTakenBack = "taken_back"

// An Allowed is what somebody has let a client do.
type Allowed struct {
	Client            *Client
	Scopes, Audiences []string
	Since, LastUsed   time.Time
}

// Allowed returns what a subject has allowed clients: what it was asked for, and what
// lives of first-party clients, about which nobody is asked. Last used comes first.
func (p *Provider) Allowed(ctx context.Context, subject string) (all []Allowed, err error) {
	err = p.o.Store.View(ctx, func(tx Tx) error {
		byClient := map[string]*Allowed{}
		consents, err := tx.Consents(subject)
		if err != nil {
			return fmt.Errorf("load consents: %w", err)
		}
		for _, c := range consents {
			byClient[c.Client] = &Allowed{Scopes: c.Scopes, Audiences: c.Audiences, Since: c.GivenAt, LastUsed: c.LastUsed}
		}
		grants, err := tx.GrantsOf(subject, "")
		if err != nil {
			return fmt.Errorf("load grants: %w", err)
		}
		for _, g := range grants {
			if g.Ended != "" {
				continue
			}
			a := byClient[g.Client]
			if a == nil {
				a = &Allowed{Since: g.BegunAt}
				byClient[g.Client] = a
			}
			a.Scopes, a.Audiences = union(slices.Clip(a.Scopes), g.Scopes...), union(slices.Clip(a.Audiences), g.Asked.Audiences...)
			for _, at := range []time.Time{g.BegunAt, g.RotatedAt} {
				if at.After(a.LastUsed) {
					a.LastUsed = at
				}
			}
		}
		all = all[:0]
		for id, a := range byClient {
			if a.Client, err = tx.Client(id); err != nil {
				return fmt.Errorf("load client: %w", err)
			}
			if a.Client != nil {
				all = append(all, *a)
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Allowed) int {
		return cmp.Or(b.LastUsed.Compare(a.LastUsed), cmp.Compare(a.Client.ID, b.Client.ID))
	})
	return all, err
}

// TakeBack takes back what a subject has allowed a client: every grant ends with all its
// tokens, everywhere, and the subject is asked again the next time. It reports whether
// there was anything.
func (p *Provider) TakeBack(ctx context.Context, subject, client string) (there bool, err error) {
	now := p.now()
	err = p.o.Store.Update(ctx, func(tx Tx) error {
		if there, err = tx.EndConsent(subject, client); err != nil {
			return fmt.Errorf("take a consent back: %w", err)
		}
		grants, err := tx.GrantsOf(subject, client)
		if err != nil {
			return fmt.Errorf("load grants: %w", err)
		}
		grants = slices.DeleteFunc(grants, func(g *Grant) bool { return g.Ended != "" })
		if len(grants) == 0 && !there {
			return nil
		}
		there = true
		c, err := tx.Client(client)
		if err != nil {
			return fmt.Errorf("load client: %w", err)
		}
		if c == nil { // removed a moment ago: its tokens live as long as any
			c = &Client{AccessLife: 24 * time.Hour}
		}
		for _, g := range grants {
			if _, err := endUnnoted(tx, g, c, reasonTakenBack, now); err != nil {
				return fmt.Errorf("end a grant: %w", err)
			}
		}
		return tx.Note(Note{At: now, Event: "client_taken_back", Subject: subject, Client: client})
	})
	return there, err
}
