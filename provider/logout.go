package provider

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/admit-auth/admit"
)

// A Logout is a request to sign out (OpenID Connect RP-Initiated Logout 1.0).
type Logout struct {
	Client  *Client  // that asks; nil where nobody knows which
	Session *Session // nil where nobody is signed in
	Asked   bool     // the person must be asked first
	Locales []string // ui_locales

	endpoint, flow string
}

// Resume is where the browser goes on after the session has ended: a path of the
// issuer's host, from which it is led to the client. It is "" where it goes nowhere: then
// a page says that nobody is signed in any more.
func (l *Logout) Resume() string {
	if l.flow == "" {
		return ""
	}
	return l.endpoint + "?flow=" + url.QueryEscape(l.flow)
}

// leaving is what was found out about a request, sealed while it goes through pages:
// facts alone.
type leaving struct {
	Client  string   `json:"c,omitempty"`
	URI     string   `json:"u,omitempty"` // of the client; nobody is sent to another one
	State   string   `json:"t,omitempty"`
	Subject string   `json:"b,omitempty"` // of the hint, as the client knows it
	SID     string   `json:"i,omitempty"`
	Locales []string `json:"l,omitempty"`
	Shown   string   `json:"s,omitempty"` // the session that People was asked to end
}

const logoutName = "oauth logout"

// logout signs out whom a client sends (OpenID Connect RP-Initiated Logout 1.0).
//
// A session ends without a question only for an ID token of that very session: for
// everything else any page could sign people out. And a browser is led only to an
// address that the client has registered, letter by letter.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) {
	now := p.now()
	guard(w.Header())
	q, err := p.leave(w, r, now)
	if err != nil {
		p.o.People.Fault(w, r, err)
		return
	}
	// A page of another site posts without the session's cookie (SameSite), and so the
	// request goes on as a GET.
	if r.Method == http.MethodPost {
		flow, err := p.sealLeaving(q, now)
		if err != nil {
			p.o.People.Fault(w, r, err)
			return
		}
		seeOther(w, p.base+"/logout?flow="+url.QueryEscape(flow))
		return
	}
	var c *Client
	if q.Client != "" {
		if c, err = p.clientOf(r.Context(), q.Client); err != nil {
			p.o.People.Fault(w, r, err)
			return
		}
	}
	if c != nil && c.Disabled {
		c = nil
	}
	s, err := p.o.People.Session(r)
	if err != nil {
		p.o.People.Fault(w, r, err)
		return
	}
	to := p.leadsTo(c, q)
	// Somebody else's session, which has begun meanwhile, is not what it was about.
	if gone := s == nil || q.Shown != "" && s.SID != q.Shown; gone && to != "" {
		seeOther(w, to)
		return
	}
	l := &Logout{Client: c, Session: s, Locales: q.Locales, endpoint: p.base + "/logout"}
	l.Asked = s == nil || c == nil || q.Shown != "" || q.SID == "" || q.SID != p.sid(c, s.SID) || q.Subject != p.subject(c, s.Subject)
	if to != "" && s != nil {
		q.Shown = s.SID
		if l.flow, err = p.sealLeaving(q, now); err != nil {
			p.o.People.Fault(w, r, err)
			return
		}
	}
	p.o.People.SignOut(w, r, l)
}

// leave reads what comes in: a request, or one that comes back from a page.
func (p *Provider) leave(w http.ResponseWriter, r *http.Request, now time.Time) (*leaving, error) {
	f, err := sent(w, r)
	if err != nil {
		return nil, err
	}
	if sealed := f.get("flow"); sealed != "" {
		return p.openLeaving(sealed, now)
	}
	q := &leaving{Client: f.get("client_id"), URI: f.get("post_logout_redirect_uri"), State: f.get("state"), Locales: f.words("ui_locales")}
	if text := f.get("id_token_hint"); text != "" {
		sub, sid, aud, _, err := p.hint(r.Context(), text, now) // an expired one will do (section 2)
		switch {
		case admit.KindOf(err) == admit.Unavailable:
			return nil, err
		case err != nil:
			// Whose request this is nobody knows then, whatever it says.
			q.Client, q.URI = "", ""
		case q.Client != "" && q.Client != aud:
			return nil, because(ErrInvalidRequest, "The id_token_hint is another client's than client_id.")
		default:
			q.Client, q.Subject, q.SID = aud, sub, sid
		}
	}
	return q, nil
}

// leadsTo is where the browser is led in the end, "" for nowhere.
func (p *Provider) leadsTo(c *Client, q *leaving) string {
	if c == nil || q.URI == "" || !slices.Contains(c.PostLogoutURIs, q.URI) || wrongRedirect(q.URI, c.Native, p.o.InsecureLoopback) != "" {
		return ""
	}
	// A link to here would lead anybody to a stranger: who has registered a client has an ID
	// token of his own for it, and a page that has signed him out.
	if c.Unverified() {
		return ""
	}
	if q.State == "" {
		return q.URI
	}
	return withQuery(q.URI, url.Values{"state": {q.State}})
}

func (p *Provider) sealLeaving(q *leaving, now time.Time) (string, error) {
	text, err := json.Marshal(q)
	switch {
	case err != nil:
		return "", err
	case len(text) > maxRequest/2: // it comes back in an address
		return "", because(ErrInvalidRequest, "The request is longer than 4 KiB.")
	}
	return string(p.o.Secrets.Seal(nil, logoutName, text, now)), nil
}

func (p *Provider) openLeaving(sealed string, now time.Time) (*leaving, error) {
	q := &leaving{}
	if p.unseal(logoutName, sealed, flowLife, now, q) != nil {
		return nil, because(ErrInvalidRequest, "This page is too old, or was never made here.")
	}
	return q, nil
}
