package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

// A step is what comes next for a request that is good.
type step int

const (
	issueCode step = iota
	askSignIn
	askConsent
)

// A ruling is what was found out about a request.
type ruling struct {
	Authorization
	step    step
	to      destination // zero where nobody knows whom to answer
	consent *Consent    // as it was, nil for none
}

// authorize is the authorization endpoint (RFC 6749 section 3.1).
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	now := p.now()
	guard(w.Header())
	q, err := p.arrive(w, r, now)
	if err != nil {
		p.o.People.Fault(w, r, err)
		return
	}
	s, err := p.o.People.Session(r)
	if err != nil || s != nil && s.Subject == "" {
		s, q.unknown = nil, err // or a guest
	}
	q.nobody = s == nil
	// What was posted has no effect, but for a decision that comes from our own page and
	// from whom that was shown to. Another site's page posts without the session's
	// cookie (SameSite), and so a client's own request goes on as a GET, too.
	if r.Method == http.MethodPost && q.err == nil &&
		(q.decision == Undecided || p.cross.Check(r) != nil || s == nil || q.Shown != s.SID) {
		seeOther(w, p.base+"/authorize?"+q.again())
		return
	}
	v, code, err := p.rule(r, q, s, now)
	switch {
	case err != nil:
		p.turnDown(w, r, q, v.to, err)
	case v.step == issueCode:
		v.to.send(w, map[string]string{"code": code.Reveal()})
	case q.decision != Undecided:
		// Meanwhile something has changed: the pages that say so are not answers to posts.
		seeOther(w, p.base+"/authorize?"+q.again())
	case v.step == askSignIn:
		p.o.People.SignIn(w, r, &v.Authorization)
	default:
		p.o.People.Consent(w, r, &v.Authorization)
	}
}

// guard keeps what the endpoint answers out of caches, out of frames, where people could
// be made to click what they do not see, and its address out of other sites' logs.
func guard(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
}

// arrive reads what comes in: a request, or one that comes back from a page.
func (p *Provider) arrive(w http.ResponseWriter, r *http.Request, now time.Time) (*request, error) {
	f, err := sent(w, r)
	if f == nil {
		return nil, err
	}
	q := &request{form: f, err: err, flow: flow{Query: r.URL.RawQuery, At: now.UnixMilli()}}
	switch sealed := f.get("flow"); {
	case sealed != "" && err != nil:
		return nil, err
	case sealed != "":
		if q, err = p.open(sealed, now); err != nil {
			return nil, err
		}
		if r.Method == http.MethodPost {
			q.decision = Decision(f.get("decision"))
		}
	case len(r.URL.RawQuery) > maxRequest:
		return nil, because(ErrInvalidRequest, "The request is longer than 8 KiB.")
	}
	if err := p.unpack(r.Context(), q, now); err != nil {
		return nil, err
	}
	p.readHint(r.Context(), q, now)
	return q, nil
}

// readHint notes whom id_token_hint is about.
func (p *Provider) readHint(ctx context.Context, q *request, now time.Time) {
	if h := q.get("id_token_hint"); h != "" {
		q.hinted, _, q.hintFor, _, q.hintErr = p.hint(ctx, h, now)
	}
}

// rule decides a request, and where that ends with a code makes it. A look comes first,
// for most that is asked is no write; what is then written stands on what the same
// transaction has read.
func (p *Provider) rule(r *http.Request, q *request, s *Session, now time.Time) (v ruling, code admit.Secret, err error) {
	err = p.o.Store.View(r.Context(), func(tx Tx) (err error) {
		v, err = p.weigh(tx, q, s, now)
		return err
	})
	if err != nil || v.step != issueCode {
		return v, code, err
	}
	err = p.o.Store.Update(r.Context(), func(tx Tx) error {
		live, err := tx.Session(s.SID, now)
		if err != nil {
			return fmt.Errorf("load session: %w", err)
		}
		if v, err = p.weigh(tx, q, live, now); err != nil || v.step != issueCode {
			return err
		}
		code, err = p.issue(tx, q, &v, now)
		return err
	})
	return v, code, err
}

// weigh finds out whether a request counts, and what it lacks.
func (p *Provider) weigh(tx Tx, q *request, s *Session, now time.Time) (v ruling, err error) {
	var c *Client
	if id := q.get("client_id"); id != "" {
		if c, err = tx.Client(id); err != nil {
			return v, fmt.Errorf("load client: %w", err)
		}
	}
	if c == nil || c.Disabled {
		return v, because(ErrInvalidRequest, "No application is registered by this client_id.")
	}
	if err := q.once.check(tx); err != nil {
		return v, err
	}
	if v.to, err = p.destinationOf(c, q); err != nil {
		return v, err
	}
	v.Authorization = Authorization{
		Client: c, Session: s, endpoint: p.base + "/authorize",
		LoginHint: q.get("login_hint"), ACRValues: q.words("acr_values"), Locales: q.words("ui_locales"),
	}
	v.to.withheld = c.Unverified() && q.decision != Deny
	if v.Asked, v.Scopes, err = p.check(q, c); err != nil {
		return v, err
	}
	switch q.decision {
	case Undecided, Allow:
	case Deny:
		return v, ErrAccessDenied
	default:
		return v, because(ErrInvalidRequest, "The decision is neither allow nor deny.")
	}
	lacks, err := p.lacks(q, &v.Authorization, now)
	switch {
	case err != nil:
		return v, err
	case lacks && q.silent():
		return v, ErrLoginRequired
	case lacks:
		v.step = askSignIn
		f := q.onward(true, "")
		f.Raised = q.Raised || v.Why == Stronger
		v.flow, err = p.seal(flowName, f, now)
		return v, err
	case c.FirstParty:
		return v, nil
	}
	if v.consent, err = tx.Consent(s.Subject, c.ID); err != nil {
		return v, fmt.Errorf("load consent: %w", err)
	}
	v.New, v.NewAudiences = v.consent.lacks(v.Scopes, v.Asked.Audiences)
	// Of a stranger's client the host that it leads to is all that is true, and he may have
	// another one besides, or later: nobody is led there who was not asked (RFC 8252 section
	// 8.6).
	remembered := v.consent != nil && len(v.New)+len(v.NewAudiences) == 0 && !q.prompts("consent") && !c.Unverified()
	if remembered || q.decision == Allow {
		return v, nil
	}
	if q.silent() {
		return v, ErrConsentRequired
	}
	v.step = askConsent
	v.flow, err = p.seal(flowName, q.onward(q.Back, s.SID), now)
	return v, err
}

// lacks reports whether the person has to sign in, and notes why. A proof is fresh where
// it was made after the request had come, and only then: that the browser went by the
// sign-in page shows nothing.
func (p *Provider) lacks(q *request, a *Authorization, now time.Time) (bool, error) {
	want, err := p.wanted(q, a)
	s := a.Session
	switch {
	case err != nil:
		return false, err
	case q.unknown != nil:
		return false, fmt.Errorf("who is signed in: %w", q.unknown)
	case s == nil:
		return true, nil
	}
	fresh := q.Back && s.AuthTime.UnixMilli() >= q.At
	age, limited := q.maxAge()
	switch {
	case q.prompts("select_account") && !q.Back:
		a.Why = Another
	case want != "" && want != p.subject(a.Client, s.Subject):
		if q.Back { // somebody else has signed in, and would again
			return false, because(ErrLoginRequired, "Somebody else is signed in.")
		}
		a.Why = Another
	default:
		old := !fresh && (q.prompts("login") || limited && now.Sub(s.AuthTime) > age)
		weak, err := p.tooWeak(q, a, old, now)
		if old && !weak {
			a.Why = Again
		}
		return old || weak, err
	}
	return true, nil
}

// wanted returns the subject, as the client knows it, whom alone the answer may be about
// (OpenID Connect Core sections 3.1.2.1 and 5.5.1); "" for anybody.
func (p *Provider) wanted(q *request, a *Authorization) (string, error) {
	want := ""
	if q.get("id_token_hint") != "" {
		switch {
		case admit.KindOf(q.hintErr) == admit.Unavailable:
			return "", q.hintErr
		case q.hintErr != nil || q.hintFor != a.Client.ID:
			return "", because(ErrInvalidRequest, "The id_token_hint is no ID token that this client got here.")
		}
		want = q.hinted
	}
	if subs, _ := a.Asked.Claims.demands("sub"); len(subs) > 0 {
		if len(subs) > 1 || want != "" && want != subs[0] {
			return "", because(ErrInvalidRequest, "More than one subject is asked for.")
		}
		want = subs[0]
	}
	return want, nil
}

// tooWeak reports whether a stronger proof is asked for. By acr_values it is a wish: it
// is put to the person once, whoever has signed in meanwhile and how. As an essential
// claim it is a demand (OpenID Connect Core section 5.5.1.1).
//
// Where the proof is too old as well, what is asked for is both (RFC 9470): who gave a
// password anew would have to give the stronger proof after it.
func (p *Provider) tooWeak(q *request, a *Authorization, old bool, now time.Time) (bool, error) {
	values, essential := a.Asked.Claims.demands("acr")
	if len(values) == 0 {
		values, essential = a.ACRValues, false
	}
	a.ACRValues = values
	has := a.Session.ACR
	if old {
		has = admit.OneFactor // that which is given anew
	}
	enough := func(acr string) bool { return admit.Principal{ACR: has}.CheckProof(acr, 0, now) == nil }
	if len(values) == 0 || slices.ContainsFunc(values, enough) {
		return false, nil
	}
	possible := slices.ContainsFunc(values, func(acr string) bool { return slices.Contains(p.o.ACRs, acr) })
	switch {
	case essential && (q.Raised || !possible):
		return false, ErrUnmetAuthentication
	case !essential && (q.Raised || !possible || q.silent()):
		return false, nil
	}
	a.Why = Stronger
	return true, nil
}

// issue makes the code, and remembers what was allowed.
func (p *Provider) issue(tx Tx, q *request, v *ruling, now time.Time) (admit.Secret, error) {
	if err := q.answered(tx); err != nil {
		v.to = destination{} // its client was answered, or is, by whoever was first
		return admit.Secret{}, err
	}
	c, s := v.Client, v.Session
	var err error
	switch {
	case c.FirstParty:
	case q.decision == Allow:
		err = remember(tx, v.consent, s.Subject, c.ID, v.Scopes, v.Asked.Audiences, now)
	default:
		err = v.consent.used(tx, now)
	}
	if err != nil {
		return admit.Secret{}, fmt.Errorf("keep a consent: %w", err)
	}
	t := token.New(token.OneTime)
	if err := tx.AddCode(&Code{
		Selector: t.Selector(), Digest: t.Digest(), Asked: v.Asked, Session: *s,
		Expires: now.Add(c.codeLife()),
	}); err != nil {
		return admit.Secret{}, fmt.Errorf("keep a code: %w", err)
	}
	return admit.NewSecret(t.Reveal()), nil
}

// remember keeps what was allowed beside what was before, k or nil for nothing.
func remember(tx Tx, k *Consent, subject, client string, scopes, audiences []string, now time.Time) error {
	if k == nil {
		k = &Consent{Subject: subject, Client: client}
	}
	// Clipped, for what the store returned is not ours to write to.
	k.Scopes, k.Audiences = union(slices.Clip(k.Scopes), scopes...), union(slices.Clip(k.Audiences), audiences...)
	k.GivenAt, k.LastUsed = now, now
	if err := tx.Note(Note{At: now, Event: "client_authorized", Subject: subject, Client: client}); err != nil {
		return err
	}
	return tx.PutConsent(k)
}

// turnDown tells of an error: the client, where it is known and is the one to know. Of
// what is wrong here it helps the person to know, who may try again; unless no page may
// be shown.
//
// The client is told before anybody has signed in, for who runs the provider has
// registered it and its redirect URIs. A stranger is told nothing before the person has
// decided: else a link to here would lead whom he likes to a page of his (RFC 9700
// section 4.11.2).
func (p *Provider) turnDown(w http.ResponseWriter, r *http.Request, q *request, to destination, err error) {
	ours := true
	switch admit.KindOf(err) {
	case admit.Invalid, admit.Unauthenticated, admit.Forbidden:
		ours = q.unknown != nil && errors.Is(err, q.unknown) // for the person, whatever it is
	}
	if to.uri == "" || to.withheld || ours && !q.silent() {
		if q.err != nil && !ours {
			err = q.err // of two client_ids neither is there
		}
		p.o.People.Fault(w, r, err)
		return
	}
	p.tellRefusal(r, err)
	if ours && admit.KindOf(err) != admit.Unavailable {
		err = admit.Internal
	}
	if !ours {
		if err := p.close(r.Context(), q); err != nil {
			p.o.People.Fault(w, r, err)
			return
		}
	}
	a, _ := answerOf(err)
	to.send(w, map[string]string{"error": a.Error, "error_description": a.Description})
}
