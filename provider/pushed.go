package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

const (
	// pushedLife is how long after the push a browser may bring the request_uri.
	pushedLife = 90 * time.Second
	// maxPushed is more than may stand in an address: what was pushed never does.
	maxPushed    = 16 << 10
	pushedPrefix = "urn:ietf:params:oauth:request_uri:"
)

// A Pushed is an authorization request that its client has sent ahead (RFC 9126).
type Pushed struct {
	Selector string
	Digest   token.Digest
	Client   string
	Query    string    // the parameters, form-encoded
	At       time.Time // when it was pushed
	Expires  time.Time // when nobody can be at its pages any more
}

// errPushed is the one answer to what was never pushed, was answered, is too old, or is
// another client's.
var errPushed = because(ErrInvalidRequestURI, "The request_uri is not one that this client has pushed, or no longer good. Begin again where you came from.")

// errTooLarge is for a request that is not kept (RFC 9126 section 2.3).
var errTooLarge = because(ErrInvalidRequest, "The request is longer than 16 KiB.")

// A pushedAnswer is what a client gets for a request (RFC 9126 section 2.2).
type pushedAnswer struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int64  `json:"expires_in"`
}

// par is where clients send authorization requests ahead (RFC 9126).
func (p *Provider) par(w http.ResponseWriter, r *http.Request) {
	var a *pushedAnswer
	err := errTooLarge
	if r.ContentLength <= maxForm {
		a, err = p.push(w, r, p.now())
	}
	switch {
	case errors.Is(err, errTooLarge):
		said, _ := answerOf(err)
		write(w, http.StatusRequestEntityTooLarge, said)
	case err != nil:
		refuse(w, err)
	default:
		write(w, http.StatusCreated, a)
	}
}

// push looks at a request as the authorization endpoint would, and keeps it where it is
// good. What is wrong the client hears here, and no person sees.
func (p *Provider) push(w http.ResponseWriter, r *http.Request, now time.Time) (*pushedAnswer, error) {
	f, err := posted(w, r)
	if err != nil {
		return nil, err
	}
	c, err := p.asker(r, f, now, func(Tx, *Client) error { return nil })
	if err != nil {
		return nil, err
	}
	for _, proof := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		delete(f, proof)
	}
	f["client_id"] = []string{c.ID} // which may stand in the proof alone
	q := &request{form: f, flow: flow{At: now.UnixMilli()}, pushing: true}
	switch {
	case f.get("request_uri") != "": // section 2.1: it would be one that leads to another
		return nil, because(ErrInvalidRequest, "A request_uri cannot be pushed.")
	case f.get("request") != "" && c.signsRequests():
		if err := p.unwrap(r.Context(), q, c); err != nil {
			return nil, err
		}
	}
	query := url.Values(q.form).Encode()
	if len(query) > maxPushed {
		return nil, errTooLarge
	}
	if err := p.fits(r.Context(), q, c, now); err != nil {
		return nil, err
	}
	t := token.New(token.OneTime)
	if err := p.o.Store.Update(context.WithoutCancel(r.Context()), func(tx Tx) error {
		if err := q.spendObject(tx); err != nil {
			return err
		}
		return tx.AddPushed(&Pushed{
			Selector: t.Selector(), Digest: t.Digest(), Client: c.ID, Query: query, At: now, Expires: now.Add(pushedLife + flowLife),
		})
	}); err != nil {
		return nil, err
	}
	return &pushedAnswer{pushedPrefix + t.Reveal(), int64(pushedLife / time.Second)}, nil
}

// fits finds out about a request all that can be known before anybody is there.
func (p *Provider) fits(ctx context.Context, q *request, c *Client, now time.Time) error {
	if _, err := p.destinationOf(c, q); err != nil {
		return err
	}
	asked, _, err := p.check(q, c)
	if err != nil {
		return err
	}
	p.readHint(ctx, q, now)
	_, err = p.wanted(q, &Authorization{Client: c, Asked: asked})
	return err
}

// unpack puts in the place of a request what it stands for: a request that was pushed, or
// a request object. Of what comes beside it nothing is read, so that nobody on the way can
// mix anything in (RFC 9101 section 6.3, RFC 9126 section 4).
//
// An address elsewhere is never fetched: who may choose it would have this server call
// whatever it can reach.
func (p *Provider) unpack(ctx context.Context, q *request, now time.Time) error {
	uri, object := q.get("request_uri"), q.get("request")
	ours := strings.HasPrefix(uri, pushedPrefix)
	switch {
	case q.Pushed == "" && uri != "" && object != "":
		return because(ErrInvalidRequest, "There are a request and a request_uri: which of them counts?")
	case q.Pushed == "" && !ours && object == "":
		return nil
	case q.Pushed == "" && q.err != nil:
		return q.err
	}
	var c *Client
	var row *Pushed
	err := p.o.Store.View(ctx, func(tx Tx) (err error) {
		if q.Pushed != "" {
			row, err = tx.Pushed(q.Pushed)
			return err
		}
		if ours {
			row, err = pushedAs(tx, uri, q.get("client_id"), now)
			return err
		}
		c, err = tx.Client(q.get("client_id"))
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("load a request: %w", err)
	case ours || q.Pushed != "":
		if row == nil {
			return errPushed
		}
		q.keepOnly("request_uri")
		q.Query, q.Pushed = "", row.Selector
		q.form, err = parseForm(row.Query)
		return err
	case c == nil || c.Disabled || !c.signsRequests():
		return nil // what is wrong with that is told elsewhere
	}
	q.keepOnly("request")
	q.Query = url.Values(q.sent).Encode()
	return p.unwrap(ctx, q, c)
}

// pushedAs returns the request that a browser brings by its request_uri, nil for none
// that is good.
func pushedAs(tx Tx, uri, client string, now time.Time) (*Pushed, error) {
	t, err := token.Parse(token.OneTime, strings.TrimPrefix(uri, pushedPrefix))
	if err != nil {
		return nil, nil
	}
	row, err := tx.Pushed(t.Selector())
	if err != nil || row == nil || !t.Matches(row.Digest) || row.Client != client || !now.Before(row.At.Add(pushedLife)) {
		return nil, err
	}
	return row, nil
}

// keepOnly notes what of a request goes on when it is sent once more.
func (q *request) keepOnly(name string) {
	if q.sealed == "" {
		q.sent = form{"client_id": q.form["client_id"], name: q.form[name]}
	}
}

// answered has a request be good no more that is good once: it became a code, or the
// client was told why not. Until then a person may load its page again, and sign in.
func (q *request) answered(tx Tx) error {
	if q.Pushed == "" {
		return q.spendObject(tx)
	}
	first, err := tx.DropPushed(q.Pushed)
	if err == nil && !first {
		err = errPushed
	}
	return err
}

// isOnce reports whether a request is good once.
func (q *request) isOnce() bool { return cmp.Or(q.Pushed, q.object.id) != "" }

// close has a request be good no more whose client is told why it came to nothing.
func (p *Provider) close(ctx context.Context, q *request) error {
	if !q.isOnce() {
		return nil
	}
	err := p.o.Store.Update(context.WithoutCancel(ctx), q.answered)
	if k := admit.KindOf(err); k == admit.Internal || k == admit.Unavailable {
		p.o.Log.ErrorContext(ctx, "close a request", "error", err)
	}
	return err
}
