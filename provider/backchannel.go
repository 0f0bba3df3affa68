package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/admit-auth/admit/jose"
)

// A Delivery is a client that must be told that a session has ended (OpenID Connect
// Back-Channel Logout 1.0).
type Delivery struct {
	ID      string // the "jti" of its logout tokens
	Client  string
	Subject string
	SID     string    // not derived; "" for every session of the subject's
	At      time.Time // when it ended
	Tries   int
	Due     time.Time
}

const (
	logoutType  = "logout+jwt"
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	// logoutLife is that of a logout token (section 2.4 recommends two minutes at most).
	logoutLife = 2 * time.Minute

	// deliveredFor is for how long a client is tried that does not answer.
	deliveredFor = 24 * time.Hour
	// deliveriesAtOnce are taken in one round, and clientsAtOnce told at a time.
	deliveriesAtOnce = 256
	clientsAtOnce    = 16
	// lease is for how long nobody else takes what one has taken, and more than a round.
	lease        = 2 * time.Minute
	roundTime    = time.Minute
	deliveryTime = 5 * time.Second
	// lookAgain is how often a process looks for what another one has left.
	lookAgain  = time.Second
	maxBackOff = 15 * time.Minute
)

// logoutClaims are those of a logout token. There is never a nonce: with one it could be
// taken for an ID token (section 2.4).
type logoutClaims struct {
	SID    string              `json:"sid,omitempty"`
	Events map[string]struct{} `json:"events"`
}

// logoutToken tells a client what has ended, by the names that it knows.
func (p *Provider) logoutToken(c *Client, d *Delivery, now time.Time) (string, error) {
	data := logoutClaims{Events: map[string]struct{}{logoutEvent: {}}}
	if d.SID != "" {
		data.SID = p.sid(c, d.SID)
	}
	return p.logouts.sign(p.o.Keys, c.signs(), logoutType, &jose.Claims[logoutClaims]{
		Issuer: p.o.Issuer, Subject: p.subject(c, d.Subject), Audience: []string{c.ID}, IssuedAt: now, Expires: now.Add(logoutLife),
		ID: d.ID, Data: data,
	})
}

// backOff is how long after so many tries the next one is.
func backOff(tries int) time.Duration {
	return min(time.Second<<min(max(tries, 0), 20), maxBackOff)
}

// rouse has what is due delivered at once.
func (p *Provider) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// deliverAll delivers what is due, as long as ctx lasts.
func (p *Provider) deliverAll(ctx context.Context) error {
	t := time.NewTicker(lookAgain)
	defer t.Stop()
	for {
		for {
			n, err := p.deliver(ctx, p.now())
			if err != nil && ctx.Err() == nil {
				p.o.Log.ErrorContext(ctx, "tell clients of sign-outs", "error", err)
			}
			if err != nil || n < deliveriesAtOnce {
				break
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.wake:
		case <-t.C:
		}
	}
}

// deliver takes what is due, tells the clients, and reports how much it took. One that
// does not answer is asked once a round, and holds up no other.
func (p *Provider) deliver(ctx context.Context, now time.Time) (int, error) {
	all, err := p.take(ctx, now)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	round, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	slices.SortStableFunc(all, func(a, b *Delivery) int { return cmp.Compare(a.Client, b.Client) })
	var wg sync.WaitGroup
	slots := make(chan struct{}, clientsAtOnce)
	errs := make(chan error, len(all))
	for group := range chunksByClient(all) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs <- p.tellClient(round, group, now)
		})
	}
	wg.Wait()
	close(errs)
	for e := range errs {
		err = cmp.Or(err, e)
	}
	return len(all), err
}

// chunksByClient yields what is one client's.
func chunksByClient(all []*Delivery) func(func([]*Delivery) bool) {
	return func(yield func([]*Delivery) bool) {
		for len(all) > 0 {
			n := slices.IndexFunc(all, func(d *Delivery) bool { return d.Client != all[0].Client })
			if n < 0 {
				n = len(all)
			}
			if !yield(all[:n]) {
				return
			}
			all = all[n:]
		}
	}
}

// take leases what is due, so that two processes do not tell the same.
func (p *Provider) take(ctx context.Context, now time.Time) (all []*Delivery, err error) {
	due := 0
	if err := p.o.Store.View(ctx, func(tx Tx) error {
		some, err := tx.Deliveries(now, 1)
		due = len(some)
		return err
	}); err != nil || due == 0 {
		return nil, err
	}
	err = p.o.Store.Update(ctx, func(tx Tx) (err error) {
		if all, err = tx.Deliveries(now, deliveriesAtOnce); err != nil {
			return err
		}
		for _, d := range all {
			d.Due = now.Add(lease)
			if err := tx.PutDelivery(d); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// tellClient tells one client of what is its, and notes how that went.
func (p *Provider) tellClient(ctx context.Context, all []*Delivery, now time.Time) error {
	c, err := p.clientOf(ctx, all[0].Client)
	if err != nil {
		return err
	}
	var over, later []*Delivery
	var failed error
	notes := map[string]string{}
	for _, d := range all {
		// It wants to hear nothing any more, or is another one that has got its id.
		if c == nil || c.Disabled || c.BackchannelLogoutURI == "" || c.CreatedAt.After(d.At) {
			over = append(over, d)
			continue
		}
		if failed != nil { // one that does not answer the one does not answer the next
			later = append(later, d)
			continue
		}
		final, err := p.tellOne(ctx, c, d)
		if err == nil || final || now.Sub(d.At) >= deliveredFor {
			over = append(over, d)
			if err != nil {
				notes[d.ID] = err.Error()
			}
			continue
		}
		failed = err
		d.Tries++
		later = append(later, d)
	}
	if failed != nil {
		p.o.Log.WarnContext(ctx, "a client does not hear of sign-outs", "client", all[0].Client, "error", failed)
	}
	// A stranger is told once. He could register clients that never answer, and sign in and
	// out: what is tried for a day would be in the way of all that is due to others.
	if c != nil && c.Unverified() {
		over, later = append(over, later...), nil
	}
	// What was delivered is noted though ctx has ended.
	return p.o.Store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		for _, d := range over {
			if err := tx.DropDelivery(d.ID); err != nil {
				return err
			}
			if why := notes[d.ID]; why != "" {
				if err := tx.Note(Note{At: now, Event: "backchannel_logout_failed", Subject: d.Subject, Client: d.Client, Detail: why}); err != nil {
					return err
				}
			}
		}
		for _, d := range later {
			d.Due = now.Add(backOff(later[0].Tries))
			if err := tx.PutDelivery(d); err != nil {
				return err
			}
		}
		return nil
	})
}

// tellOne posts one logout token. Final says that to try again is of no use: the client
// has answered 400, that it does not take it (section 2.8).
func (p *Provider) tellOne(ctx context.Context, c *Client, d *Delivery) (final bool, err error) {
	// Registered by whatever means: a store may hold what was put there by others.
	if wrong := wrongRedirect(c.BackchannelLogoutURI, false, p.o.InsecureLoopback); wrong != "" {
		return true, errors.New("the address " + wrong)
	}
	text, err := p.logoutToken(c, d, p.now())
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, deliveryTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.BackchannelLogoutURI, strings.NewReader(url.Values{"logout_token": {text}}.Encode()))
	if err != nil {
		return true, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// A round trip and no client: no redirect is followed.
	answer, err := p.sends(c).RoundTrip(r)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	io.CopyN(io.Discard, answer.Body, 4<<10) // so that the connection may be used again
	switch code := answer.StatusCode; {
	case code >= 200 && code <= 299:
		return true, nil
	default:
		return code == http.StatusBadRequest, fmt.Errorf("status %d", code)
	}
}
