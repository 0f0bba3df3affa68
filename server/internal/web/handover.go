package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/handover"
)

// Hand-overs: other domains of the same house, which share no cookie with this
// one, take over who is signed in here. The server is the origin of package
// handover; where browsers arrive is a page of the target.

const (
	beginPath  = "/handover/begin"
	callPrefix = apiPrefix + "handover/"
)

// handOvers registers the page, and makes the origin where there are sites.
func (s *server) handOvers() (err error) {
	s.page(beginPath, methods{"GET": (*call).beginHandOver})
	if len(s.Sites) > 0 {
		s.handing, err = handover.NewOrigin(s.Sessions, s.Codes, &handover.OriginOptions{Sites: s.Sites})
	}
	return err
}

// arrivals are the origins of the sites' callbacks, with a space before each: who
// has signed in by a form is led there, and browsers hold a form's redirects to
// the policy, too.
func arrivals(sites []handover.Site) (all string) {
	for _, site := range sites {
		if u, err := url.Parse(site.Callback); err == nil { // NewOrigin says why not
			all += " " + u.Scheme + "://" + u.Host
		}
	}
	return all
}

// beginHandOver sends a browser back to the site that sent it, with a code; a
// stranger signs in first, and comes back here.
func (c *call) beginHandOver() error {
	if c.handing == nil {
		return handover.ErrSite
	}
	err := c.handing.Begin(c.w, c.r, func(*http.Request) (session.Info, error) {
		i, user, err := c.holder()
		switch {
		case err != nil:
		case c.shown(i): // a service that sees the JWT would take itself a session along
			err = account.ErrJWTShown
		default:
			err = c.Accounts.MayHandOver(user, c.now)
		}
		return i, err
	})
	if unsigned(err) {
		return c.seeOther(signInTo(c.r.URL.RequestURI()))
	}
	if err == nil {
		c.status = http.StatusSeeOther
	}
	return err
}

// siteCalls are those of the servers of sites.
func siteCalls() []operation {
	const about = " For the server of a site that is registered in `handover_sites`, which proves itself with its name and its secret (Basic authentication): package `session/handover` makes these calls."
	return []operation{{
		call: "POST " + callPrefix + "redeem", id: "redeemHandOver", summary: "Take a session over to another domain", site: true,
		about:   "With the code that the browser brought and the verifier that was left in it. A code is good once, for 30 seconds, for the site that it was made for." + about,
		do:      byServer((*call).redeemHandOver),
		example: `{"code": "adm_o_…", "verifier": "adm_o_…"}`,
		answers: []answers{{200, "Who is signed in, and the session that the site's will end with", handed{}}},
		refuses: []*admit.Error{handover.ErrSite, handover.ErrCode, session.ErrEnded, session.ErrExpired, account.ErrTooMany},
	}, {
		call: "POST " + callPrefix + "alive", id: "handedOverAlive", summary: "Does a session live that was taken over", site: true,
		about:   "Asking notes that the session is in use. A site may remember the answer for some seconds: for as long as a sign-out here may take to be seen there." + about,
		do:      byServer((*call).handedOverAlive),
		example: `{"sid": "0aB1cD2eF3gH4iJ5kL6mN7"}`,
		answers: []answers{{200, "Whether it does", living{}}},
		refuses: []*admit.Error{handover.ErrSite, account.ErrTooMany},
	}, {
		call: "POST " + callPrefix + "end", id: "endHandedOver", summary: "End a session that was taken over", site: true,
		about:   "Who signs out at one site is signed out everywhere. One that has ended already is no error." + about,
		do:      byServer((*call).endHandedOver),
		example: `{"sid": "0aB1cD2eF3gH4iJ5kL6mN7", "reason": "signed_out"}`,
		answers: []answers{{200, "It has ended", living{}}},
		refuses: []*admit.Error{handover.ErrSite, account.ErrTooMany},
	}}
}

// byServer is the action of a call by the server of a site, which is looked at
// before the body is.
func byServer[Body any](h func(c *call, site string, in *Body) error) action {
	a := taking(func(c *call, in *Body) error { return h(c, c.site, in) })
	run := a.run
	a.run = func(c *call) (err error) {
		if err := c.overheard(); err != nil {
			return err
		}
		if c.handing == nil {
			return handover.ErrSite
		}
		if c.site, err = c.handing.Site(c.r); err != nil {
			return cmp.Or(c.Accounts.HandOverRefused(c.r.Context(), "", c.origin(), c.now), err)
		}
		return run(c)
	}
	return a
}

type redeemHandOver struct {
	Code     admit.Secret `json:"code"`
	Verifier admit.Secret `json:"verifier"`
}

// handed is handover.Handed, with what there is to say of it.
type handed struct {
	SID        string    `json:"sid" doc:"Of the session here: no secret, but with it the site asks whether it lives, and ends it."`
	Subject    string    `json:"subject" doc:"The user's id."`
	AuthTime   time.Time `json:"auth_time"`
	AMR        string    `json:"amr,omitempty" doc:"With spaces between."`
	ACR        string    `json:"acr,omitempty"`
	Persistent bool      `json:"persistent,omitempty" doc:"The cookie outlives the browser."`
	ExpiresAt  time.Time `json:"expires_at" doc:"At the latest."`
}

func (c *call) redeemHandOver(site string, in *redeemHandOver) error {
	h, err := c.handing.Redeem(c.r.Context(), site, in.Code.Reveal(), in.Verifier.Reveal())
	if errors.Is(err, handover.ErrCode) {
		return cmp.Or(c.Accounts.HandOverRefused(c.r.Context(), site, c.origin(), c.now), err)
	}
	if errors.Is(err, session.ErrNone) {
		err = session.ErrEnded // so long ago that it is forgotten
	}
	if err != nil {
		return err
	}
	// Before the answer, which is what gives the session away.
	if err := c.Accounts.HandedOver(c.r.Context(), site, h.Subject, h.SID, c.origin(), c.now); err != nil {
		return err
	}
	c.sid = h.SID[:8]
	h.AuthTime, h.ExpiresAt = shown(h.AuthTime), shown(h.ExpiresAt)
	return c.json(http.StatusOK, handed(h))
}

type aboutHanded struct {
	SID string `json:"sid" doc:"Of the session here, as redeem gave it."`
}

type living struct {
	Alive bool `json:"alive"`
}

func (c *call) handedOverAlive(_ string, in *aboutHanded) error {
	err := c.Sessions.Alive(c.r.Context(), in.SID)
	if err != nil && !errors.Is(err, admit.Unauthenticated) {
		return err
	}
	if err == nil {
		c.sid = in.SID[:8]
	}
	return c.json(http.StatusOK, living{err == nil})
}

type endHanded struct {
	SID    string `json:"sid" doc:"As of alive."`
	Reason string `json:"reason,omitempty" doc:"Why, in the site's words: the audit keeps up to 100 characters of it."`
}

func (c *call) endHandedOver(site string, in *endHanded) error {
	found, err := c.Sessions.Find(c.r.Context(), in.SID)
	if err == nil {
		c.sid = found.SID[:8]
		why := []rune(visible(in.Reason))
		r := c.auditing(account.SessionEnded, account.Record{
			Event: "session_ended_at_site", Subject: found.Subject, Detail: site, Reason: string(why[:min(len(why), 100)]),
		})
		err = c.Sessions.EndAny(r.Context(), in.SID, "ended_at_site")
	}
	if err != nil && !errors.Is(err, session.ErrUnknown) {
		return err
	}
	return c.json(http.StatusOK, living{})
}
