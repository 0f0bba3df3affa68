package provider

import (
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
var errTooLarge = because(ErrInvalidRequest, "The request is longer than is taken: 16 KiB, or 4 of a client that anybody can be.")

// A pushedAnswer is what a client gets for a request (RFC 9126 section 2.2).
type pushedAnswer struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int64  `json:"expires_in"`
}

// par is where clients send authorization requests ahead (RFC 9126).
func (p *Provider) par(w http.ResponseWriter, r *http.Request) {
	now := p.now()
	p.tellNonce(w, r, now)
	var a *pushedAnswer
	err := errTooLarge
	if r.ContentLength <= maxForm {
		a, err = p.push(w, r, now)
	}
	switch {
	case errors.Is(err, errTooLarge):
		said, _ := answerOf(err)
		write(w, http.StatusRequestEntityTooLarge, said)
	case err != nil:
		p.refuse(w, r, err)
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
	key, err := p.pushedWith(r, q.form, c, now)
	if err != nil {
		return nil, err
	}
	query := url.Values(q.form).Encode()
	if len(query) > maxPushed {
		return nil, errTooLarge
	}
	if err := p.fits(r.Context(), q, c, now); err != nil {
		return nil, err
	}
	if c.Auth == NoAuth || c.Unverified() {
		// Anybody can say that he is that client, or register one, and would fill the store
		// with what nobody ever asks for: its request travels in its name.
		if len(query) > maxRequest/2 { // for the name is half as long again
			return nil, errTooLarge
		}
		sealed, err := p.seal(pushedName, flow{Query: query, At: now.UnixMilli(), Once: token.New(token.OneTime).Selector()}, now)
		return &pushedAnswer{pushedPrefix + sealed, int64(pushedLife / time.Second)}, err
	}
	t := token.New(token.OneTime)
	if err := p.o.Store.Update(context.WithoutCancel(r.Context()), func(tx Tx) error {
		if err := q.once.spend(tx); err != nil {
			return err
		}
		if err := spend(tx, key); err != nil {
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
	name, ours := strings.CutPrefix(uri, pushedPrefix)
	switch {
	case q.Pushed != "": // and it is back from a page
		return p.unpackKept(ctx, q, func(tx Tx) (*Pushed, error) { return tx.Pushed(q.Pushed) })
	case q.Once != "":
		q.once = onceOf(q.flow)
		return nil
	case uri != "" && object != "":
		return because(ErrInvalidRequest, "There are a request and a request_uri: which of them counts?")
	case !ours && object == "":
		return nil
	case q.err != nil:
		return q.err
	case ours:
		q.keepOnly("request_uri")
		if t, err := token.Parse(token.OneTime, name); err == nil {
			client := q.get("client_id")
			return p.unpackKept(ctx, q, func(tx Tx) (*Pushed, error) { return pushedAs(tx, t, client, now) })
		}
		return p.unpackSealed(q, name, now)
	}
	c, err := p.clientOf(ctx, q.get("client_id"))
	if err != nil {
		return fmt.Errorf("load client: %w", err)
	}
	if c == nil || c.Disabled || !c.signsRequests() {
		return nil // what is wrong with that is told elsewhere
	}
	q.keepOnly("request")
	return p.unwrap(ctx, q, c)
}

// unpackKept puts a request that is kept here in the place of its name.
func (p *Provider) unpackKept(ctx context.Context, q *request, find func(Tx) (*Pushed, error)) error {
	var row *Pushed
	err := p.o.Store.View(ctx, func(tx Tx) (err error) {
		row, err = find(tx)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("load a request: %w", err)
	case row == nil:
		return errPushed
	}
	q.Query, q.Pushed = "", row.Selector
	q.form, err = parseForm(row.Query)
	return err
}

// pushedAs returns the request that a browser brings by its name, nil for none that is
// good.
func pushedAs(tx Tx, t token.Token, client string, now time.Time) (*Pushed, error) {
	row, err := tx.Pushed(t.Selector())
	if err != nil || row == nil || !t.Matches(row.Digest) || row.Client != client || !now.Before(row.At.Add(pushedLife)) {
		return nil, err
	}
	return row, nil
}

// unpackSealed puts a request that travels in its own name there.
func (p *Provider) unpackSealed(q *request, name string, now time.Time) error {
	var f flow
	if p.unseal(pushedName, name, 0, now, &f) != nil || !now.Before(f.at().Add(pushedLife)) {
		return errPushed
	}
	pushed, err := parseForm(f.Query)
	if err != nil || pushed.get("client_id") != q.get("client_id") {
		return errPushed
	}
	q.form, q.Query, q.Once = pushed, f.Query, f.Once
	q.once = onceOf(q.flow)
	return nil
}

// keepOnly notes what of a request goes on when it is sent once more.
func (q *request) keepOnly(name string) {
	if q.sealed == "" {
		q.sent = form{"client_id": q.form["client_id"], name: q.form[name]}
		q.Query = url.Values(q.sent).Encode()
	}
}

// answered has a request be good no more that is good once: it became a code, or the
// client was told why not. Until then a person may load its page again, and sign in.
func (q *request) answered(tx Tx) error {
	if q.Pushed == "" {
		return q.once.spend(tx)
	}
	first, err := tx.DropPushed(q.Pushed)
	if err == nil && !first {
		err = errPushed
	}
	return err
}

// close has a request be good no more whose client is told why it came to nothing.
func (p *Provider) close(ctx context.Context, q *request) error {
	// Else who is not even signed in could have a record kept for each request of a public
	// client that he has come to nothing. It gives nothing for its 90 seconds, either.
	if q.Pushed+q.once.id == "" || q.Once != "" && q.nobody {
		return nil
	}
	err := p.o.Store.Update(context.WithoutCancel(ctx), q.answered)
	if k := admit.KindOf(err); k == admit.Internal || k == admit.Unavailable {
		p.o.Log.ErrorContext(ctx, "close a request", "error", err)
	}
	return err
}

// onceOf is that of a request which was pushed and not kept: as long as somebody else may
// be at its pages.
func onceOf(f flow) once {
	return once{"pushed_request", f.Once, f.at().Add(pushedLife + flowLife), errPushed}
}
