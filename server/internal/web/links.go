package web

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// Signing in by what is sent to an identifier. The session always goes to the
// browser that asked: the cookie that it gets with its flow is what a mailed link
// is good with, and elsewhere the link only shows what to type there.

// linkCalls are those of the API.
func linkCalls() []operation {
	asks := []*admit.Error{account.ErrIdentifier, account.ErrPhone, account.ErrTexts, account.ErrPhoneMalformed, account.ErrMail, account.ErrTooMany}
	return []operation{{
		call: "POST " + apiPrefix + "signin/link", id: "askSignInLink", summary: "Mail a link that signs in, with a code",
		about:   "The answer is the same whether there is an account or not. The cookie that comes with it binds the flow to this browser: there the link signs in, and anywhere else it shows six digits to type there. To a phone number goes a code alone.",
		do:      taking(func(c *call, in *askSignIn) error { return c.apiAskSignIn(in, true) }),
		example: `{"identifier": "ann@example.org"}`,
		answers: []answers{{202, "A message is on its way, if there is an account", signInFlow{}}},
		refuses: asks,
	}, {
		call: "POST " + apiPrefix + "signin/code", id: "askSignInCode", summary: "Send a code that signs in",
		about:   "By mail or by text message, as the identifier is. It is as `signin/link` without the link. A new code ends the one before it that was asked for from the same network.",
		do:      taking(func(c *call, in *askSignIn) error { return c.apiAskSignIn(in, false) }),
		example: `{"identifier": "ann@example.org"}`,
		answers: []answers{{202, "A message is on its way, if there is an account", signInFlow{}}},
		refuses: asks,
	}, {
		call: "GET " + apiPrefix + "signin/flows/{flow}", id: "getSignInFlow", summary: "Does a sign-in wait yet",
		about:   "For who asked. A flow that was proved, or has expired, is refused. Whether the link was opened is not told.",
		do:      bare((*call).apiSignInFlow),
		answers: []answers{{200, "It waits", signInWaits{}}},
		refuses: []*admit.Error{account.ErrFlowEnded},
	}, {
		call: "POST " + apiPrefix + "signin/code/verify", id: "verifySignIn", summary: "Sign in with the code that was sent",
		about:   "Or with the digits that the opened link shows. A flow is good for five tries and 10 minutes; wrong codes for one identifier are counted across its flows, too. A session as a cookie is given to the browser that asked. The first proof takes all: what was set for an identifier before by somebody who never proved it is gone.",
		do:      taking((*call).apiVerifySignIn),
		example: `{"flow": "adm_o_…", "code": "123456"}`,
		answers: signIns,
		refuses: []*admit.Error{errAs, errForeign, errJWTCookie, dpop.ErrProof, dpop.ErrReplayed, dpop.ErrNonce, account.ErrBadCode, account.ErrFlowEnded, account.ErrTooMany},
	}}
}

type askSignIn struct {
	Identifier string `json:"identifier" doc:"An e-mail address, a phone number, or a user name, whose user is written to."`
}

// A signInFlow is the answer to whoever asks for a link or a code.
type signInFlow struct {
	Flow string `json:"flow" doc:"What only who asked has; the code alone proves nothing."`
}

type signInWaits struct {
	State     string    `json:"state" enum:"waiting"`
	ExpiresAt time.Time `json:"expires_at"`
}

type verifySignIn struct {
	Flow string `json:"flow" doc:"Of the answer to who asked."`
	Code string `json:"code" doc:"The six digits that were sent, or that the opened link shows."`
	presentation
}

func (c *call) apiAskSignIn(in *askSignIn, link bool) error {
	flow, err := c.askSignIn(in.Identifier, link)
	if err != nil {
		return err
	}
	if err := c.keepAsking(asking{flow: flow}); err != nil {
		return err
	}
	return c.json(http.StatusAccepted, signInFlow{flow})
}

func (c *call) askSignIn(identifier string, link bool) (flow string, err error) {
	from := c.knownOrigin()
	browser, system := browserOf(from.UserAgent)
	device := strings.Trim(browser+", "+system, ", ") // which is the same in every language
	return c.Accounts.AskSignIn(c.r.Context(), identifier, link, device, from, c.now)
}

func (c *call) apiSignInFlow() error {
	until, err := c.Accounts.SignInFlow(c.r.Context(), c.named("flow"), c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, signInWaits{"waiting", shown(until)})
}

func (c *call) apiVerifySignIn(in *verifySignIn) error {
	guise, err := in.guise(c)
	if err != nil {
		return err
	}
	if a, _ := c.askedHere(); guise == asCookie && a.flow != in.Flow {
		return account.ErrFlowEnded
	}
	user, amr, err := c.Accounts.VerifySignIn(c.r.Context(), in.Flow, in.Code, c.knownOrigin(), c.now)
	if err != nil {
		return err
	}
	s, err := c.arrive(user, guise, in.Remember, amr)
	if err != nil {
		return err
	}
	return c.signedIn(http.StatusOK, user, s, in.jwtCookie)
}

// arrive begins the session of a user who has just proved itself by what was sent, or
// by a passkey.
func (c *call) arrive(user *account.User, in guise, remember bool, amr ...string) (*session.Session[Data], error) {
	s, err := c.start(user, in, remember, amr...)
	if err != nil {
		return nil, err
	}
	if err := c.Accounts.ConfirmSignIn(c.r.Context(), user); err != nil {
		return nil, c.overtaken(user, s, err)
	}
	c.asking.Delete(c.w)
	c.link.Delete(c.w)
	return s, nil
}

// linkPages are what people see.
func linkPages() map[string]methods {
	return map[string]methods{
		"/signin/link": {"GET": (*call).askPage, "POST": (*call).askForm},
		"/signin/code": {"GET": (*call).codePage, "POST": (*call).codeForm},
	}
}

// send is what the button that asks says, "" where nothing can be sent.
func (c *call) send() string {
	switch mail, text := c.Accounts.CanMail(), c.Accounts.CanText(); {
	case mail && text:
		return c.say("ask.any")
	case mail:
		return c.say("ask.link")
	case text:
		return c.say("ask.code")
	}
	return ""
}

// linkInstead is the button beside the password.
func (c *call) linkInstead() *link {
	if text := c.send(); text != "" {
		return &link{text, "/signin/link"}
	}
	return nil
}

// An asking is a sign-in that this browser has asked for.
type asking struct {
	flow, to, target string
	remember         bool
}

func (c *call) keepAsking(a asking) error {
	v := url.Values{"flow": {a.flow}, "to": {a.to}, "target": {keepable(a.target)}}
	if a.remember {
		v.Set("remember", "yes")
	}
	return c.asking.Set(c.w, []byte(v.Encode()))
}

func (c *call) askedHere() (a asking, ok bool) {
	value, err := c.asking.Get(nil, c.r)
	if err != nil {
		return a, false
	}
	v, err := url.ParseQuery(string(value))
	return asking{v.Get("flow"), v.Get("to"), v.Get("target"), v.Has("remember")}, err == nil
}

// asks is the page that asks for a link, without a password.
func (c *call) asks() *page {
	p := c.page("ask")
	p.Form = &form{
		Action: "/signin/link", Submit: c.send(), Remember: true,
		Fields: []field{{Name: "identifier", Label: c.who(c.Accounts.CanMail()), Type: "text", Complete: "username"}},
	}
	return p
}

func (c *call) askPage() error { return c.entrance(c.asks()) }

func (c *call) askForm() error {
	p := c.asks()
	in, err := c.input(p.Form)
	var flow string
	if err == nil {
		flow, err = c.askSignIn(in.Get("identifier"), true)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	id, err := account.ParseIdentifier(in.Get("identifier"))
	if err != nil {
		return err
	}
	if err := c.keepAsking(asking{flow, id.Value, p.Form.ReturnTo, p.Form.Checked}); err != nil {
		return err
	}
	return c.seeOther(carrying("/signin/code", p.Form.ReturnTo))
}

// codes is the page that waits for the code.
func (c *call) codes(a asking) *page {
	p := c.page("code")
	p.Form = &form{
		Action: "/signin/code", Submit: c.say("signin.title"), Proof: "code",
		Fields: []field{{
			Name: "code", Label: c.say("label.code"), Type: "text", Complete: "one-time-code", Hint: c.say("hint.code"), Digits: true, Focus: true,
		}},
	}
	to := c.sent(begun{address: a.to})
	p.Data, p.Form.Texted, p.target = to, to.Text, a.target
	if to.Text {
		p.Title = c.say("code.texted")
	}
	return p
}

// codePage waits. Who was signed in meanwhile, by the link, goes on.
func (c *call) codePage() error {
	user, _, _, err := c.visitor()
	if err != nil {
		return err
	}
	a, ok := c.askedHere()
	if a.target, err = c.carried(a.target); err != nil {
		return err
	}
	switch {
	case user != nil:
		return c.goOn(a.target)
	case !ok:
		return c.seeOther("/signin/link")
	}
	p := c.codes(a)
	p.Form.ReturnTo = a.target
	if _, err := c.Accounts.SignInFlow(c.r.Context(), a.flow, c.now); err != nil {
		return c.refuse(p, err)
	}
	return c.show(http.StatusOK, p)
}

func (c *call) codeForm() error {
	a, ok := c.askedHere()
	if !ok {
		return account.ErrFlowEnded
	}
	p := c.codes(a)
	in, err := c.input(p.Form)
	var user *account.User
	var amr string
	if err == nil {
		user, amr, err = c.Accounts.VerifySignIn(c.r.Context(), a.flow, in.Get("code"), c.knownOrigin(), c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	a.target = cmp.Or(p.Form.ReturnTo, a.target)
	return c.enter(user, a, amr)
}

// enter signs in and goes on to where the person wanted to go.
func (c *call) enter(user *account.User, a asking, amr string) error {
	c.target = a.target
	if _, err := c.arrive(user, asCookie, a.remember, amr); err != nil {
		return err
	}
	if user.MustChange {
		return account.ErrMustChange
	}
	return c.goOn(a.target)
}

// A place is who asked for a sign-in, for who opens its link elsewhere.
type place struct {
	Code, Device, Address string
	At                    moment
	Far                   bool
}

// signInLink is where a link that signs in arrives. In the browser that asked a
// button completes it, with a script at once. Any other is shown what to type there,
// and who asked: whoever is lured into opening the link of a stranger's sign-in signs
// nobody in, whatever is pressed (RFC 10027, cross-device phishing).
func (c *call) signInLink(l account.Link) *page {
	if a, ok := c.askedHere(); ok && account.FlowID(a.flow) == l.ID {
		return c.arrival(l.Target, a.target)
	}
	if c.Accounts.Opened(l, c.now) {
		// Scanners do; people, too.
		c.Log.LogAttrs(c.r.Context(), slog.LevelInfo, "a link was opened elsewhere", slog.String("request_id", c.id), slog.String("link", l.ID[:8]), slog.String("method", c.r.Method))
	}
	p := c.page("elsewhere")
	asked := l.From(c.origin())
	p.Data = place{l.Code, c.deviceText(session.Device{UserAgent: asked.UserAgent}), c.addressText(asked.Address), c.moment(asked.At), asked.Far}
	return p
}

func (c *call) arrival(to, target string) *page {
	p := c.page("arrive")
	p.target = target
	p.Form = &form{Action: "/link", Submit: c.say("signin.title"), AtOnce: true}
	p.Data = struct{ To string }{to}
	return p
}

func (c *call) signInLinkForm(text string, l account.Link) error {
	in, err := c.posted()
	if err != nil {
		return err
	}
	a, ok := c.askedHere()
	if in.Has("not_me") {
		if err := c.Accounts.ReportSignIn(c.r.Context(), text, c.origin(), c.now); err != nil {
			return err
		}
		return c.done("sign_in_disowned", "/")
	}
	if !ok || account.FlowID(a.flow) != l.ID {
		return c.show(http.StatusOK, c.signInLink(l))
	}
	user, amr, err := c.Accounts.VerifySignInLink(c.r.Context(), a.flow, text, c.origin(), c.now)
	if err != nil {
		return err
	}
	return c.enter(user, a, amr)
}
