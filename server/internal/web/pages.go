package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// pages registers what people see. No page needs a script.
func (s *server) pages() {
	for path, m := range map[string]methods{
		"/{$}":                         {"GET": (*call).home},
		"/signin":                      {"GET": (*call).signInPage, "POST": (*call).signInForm},
		"/signin/factor":               {"GET": (*call).factorPage, "POST": (*call).factorForm},
		"/signin/passkey":              {"GET": func(c *call) error { return c.seeOther("/signin") }, "POST": (*call).passkeySignInForm},
		"/signin/factor/lost":          {"GET": (*call).lostPage, "POST": (*call).lostForm},
		"/signup":                      {"GET": (*call).signUpPage, "POST": (*call).signUpForm},
		"/signup/verify":               {"GET": (*call).verifyPage, "POST": (*call).verifyForm},
		"/signout":                     {"GET": (*call).signOutPage, "POST": (*call).signOutForm},
		"/link":                        {"GET": (*call).linkPage, "POST": (*call).linkForm},
		"/link/{token}":                {"GET": (*call).takeLink},
		"/account/security":            {"GET": (*call).securityPage, "POST": (*call).securityForm},
		"/account/sessions":            {"GET": (*call).sessionsPage, "POST": (*call).sessionsForm},
		"/api":                         {"GET": (*call).apiPage},
		"/problems":                    {"GET": (*call).problemsPage},
		"/problems/{code}":             {"GET": (*call).problemPage},
		"/.well-known/change-password": {"GET": func(c *call) error { return c.seeOther("/account/security") }},
	} {
		s.page(path, m)
	}
	for path, m := range ownPages() {
		s.page(path, m)
	}
	for path, m := range factorPages() {
		s.page(path, m)
	}
	for path, m := range linkPages() {
		s.page(path, m)
	}
	for path, m := range appPages() {
		s.page(path, m)
	}
	for path, m := range recoverPages() {
		s.page(path, m)
	}
	if s.Dev != nil {
		s.handle("/dev/inbox", near((*call).failPage), methods{"GET": local(paged((*call).inboxPage))})
		s.handle("/dev/stories", near((*call).failPage), methods{"GET": local(paged((*call).storiesPage))})
		s.handle("/dev/stories/{name}", near((*call).failPage), methods{"GET": local(paged((*call).storyPage))})
		s.handle("/dev/inbox.json", near((*call).failAPI), methods{"GET": local((*call).inboxJSON)})
	}
	s.handle("/static/{file}", (*call).failPage, methods{"GET": (*call).serve})
}

// page registers a page.
func (s *server) page(path string, m methods) {
	for method, h := range m {
		m[method] = paged(h)
	}
	s.handle(path, (*call).failPage, m)
}

// paged shows a page in the language that ?lang= chooses, and at a name: an IP
// address is nothing that a passkey can be bound to.
func paged(h handler) handler {
	return func(c *call) error {
		if _, ip, port := loopback(c.r.Host); ip && c.r.Host != c.public.Host {
			to := url.URL{Scheme: "http", Host: "localhost" + port, Path: c.r.URL.Path, RawPath: c.r.URL.RawPath, RawQuery: c.r.URL.RawQuery}
			if c.r.TLS != nil {
				to.Scheme = "https"
			}
			return c.seeOther(to.String())
		}
		if c.r.URL.RawQuery != "" && c.r.Method == "GET" {
			if did, err := c.choose(); did || err != nil {
				return err
			}
		}
		return h(c)
	}
}

// goOn leads to the target, or to the account.
func (c *call) goOn(target string) error {
	if target == "" {
		target = "/account"
	}
	return c.onward(target)
}

// visitor returns who is signed in, nil if nobody is, and why a session that
// was sent does not count.
func (c *call) visitor() (user *account.User, i session.Info, why string, err error) {
	i, user, err = c.check()
	if unsigned(err) {
		if !errors.Is(err, session.ErrNone) {
			why = c.sentence(err)
			c.why = c.whyOut(err)
		}
		return nil, session.Info{}, why, nil
	}
	return user, i, "", err
}

// whyOut explains why a session that was there is there no more.
func (c *call) whyOut(err error) string {
	switch {
	case errors.Is(err, session.ErrEnded):
		if ended, ok := errors.AsType[*session.EndedError](err); ok && ended.Why != "" {
			return c.say("why.news") // the first sentence says what happened
		}
		return c.say("why.ended")
	case errors.Is(err, session.ErrExpired):
		return c.say("why.expired")
	}
	return c.say("why.ambiguous")
}

// sentence returns a refusal's text.
func (c *call) sentence(err error) string {
	if ended, ok := errors.AsType[*session.EndedError](err); ok && ended.Why != "" {
		return reasons[ended.Why].in(c.language())
	}
	e, ok := errors.AsType[*admit.Error](err)
	if !ok {
		return ""
	}
	return c.refusalOf(e.Code(), refusal{e.Error(), e.Hint()}).Text
}

func (c *call) home() error {
	user, i, why, err := c.visitor()
	if err != nil {
		return err
	}
	p := c.page("home")
	p.User, p.Notice = user, why
	p.Data = struct {
		Name  string
		Guest bool
	}{called(user), i.SID != "" && i.Guest()}
	return c.show(http.StatusOK, p)
}

// called is the name that a user is greeted by.
func called(u *account.User) string {
	switch {
	case u == nil:
		return ""
	case u.Name != "":
		return u.Name
	}
	return u.Primary()
}

func (c *call) signIns() *page {
	p := c.page("signin")
	p.Form = &form{
		Action: "/signin", Submit: p.Title, Remember: true, Proof: "password", Other: c.linkInstead(), Able: c.Accounts.CanPasskey(),
		Fields: []field{
			{Name: "identifier", Label: c.who(true), Type: "text", Complete: "username webauthn"},
			{Name: "password", Label: c.say("label.password"), Type: "password", Complete: "current-password"},
		},
	}
	return p
}

func (c *call) signInPage() error {
	p := c.signIns()
	if hint := c.r.URL.Query().Get("login_hint"); len(hint) <= maxHint {
		p.Form.Fields[0].Value = visible(hint)
	}
	return c.entrance(p, c.withPasskey)
}

// entrance shows a page for people who are not signed in, with what is added to
// it; who is goes on, but for who wants to be somebody else.
func (c *call) entrance(p *page, add ...func(*page) error) (err error) {
	if p.Form.ReturnTo, err = c.returnTo(c.r.URL.Query().Get("return_to")); err != nil {
		return err
	}
	user, _, why, err := c.visitor()
	if err != nil {
		return err
	}
	if user != nil && !c.switches() {
		return c.goOn(p.Form.ReturnTo)
	}
	p.Notice = why
	for _, each := range add {
		if err := each(p); err != nil {
			return err
		}
	}
	return c.show(http.StatusOK, p)
}

func (c *call) signInForm() error {
	p := c.signIns()
	in, err := c.input(p.Form)
	var user *account.User
	if err == nil {
		user, _, err = c.signIn(in.Get("identifier"), admit.NewSecret(in.Get("password")), asCookie, p.Form.Checked)
		if err == nil && user.MustChange {
			err = account.ErrMustChange
		}
	}
	if err != nil {
		if e := c.withPasskey(p); e != nil {
			return e
		}
		return c.refuse(p, err)
	}
	if c.offers(user, in.Get("able") == "yes") {
		return c.seeOther("/account/passkeys/offer?" + url.Values{"return_to": {p.Form.ReturnTo}}.Encode())
	}
	return c.goOn(p.Form.ReturnTo)
}

// signUps is the page to sign up, for the first administrator where there is a
// set-up link.
func (c *call) signUps(setup bool) *page {
	p := c.page("signup")
	lead := c.say("signup.mailless")
	switch mail, text := c.Accounts.CanMail(), c.Accounts.CanText(); {
	case mail && text:
		lead = c.say("signup.any")
	case text:
		lead = c.say("signup.texts")
	case mail:
		lead = c.say("signup.lead")
	}
	p.Form = &form{
		Action: "/signup", Submit: p.Title,
		Fields: []field{
			{Name: "identifier", Label: c.who(c.Accounts.CanMail()), Type: "text", Complete: "username"},
			{Name: "name", Label: c.say("label.name"), Type: "text", Complete: "name", Optional: true},
			c.newPassword("password", "label.password"),
		},
	}
	if setup {
		p.Title, lead = c.say("setup.title"), c.say("setup.lead")
		p.Form.Action, p.Form.Submit = "/link", c.say("setup.submit")
	}
	p.Data = struct {
		Lead  string
		Setup bool
	}{lead, setup}
	return p
}

// who is the label of what people sign in with.
func (c *call) who(mail bool) string {
	switch text := c.Accounts.CanText(); {
	case mail && text:
		return c.say("label.any")
	case text:
		return c.say("label.phone")
	case mail:
		return c.say("label.who")
	}
	return c.say("label.user")
}

func (c *call) newPassword(name, label string) field {
	return field{
		Name: name, Label: c.say(label), Type: "password", Complete: "new-password",
		Hint: c.say("hint.password", c.Accounts.MinPassword()),
	}
}

func (c *call) signUpPage() error { return c.entrance(c.signUps(false)) }

func (c *call) signUpForm() error { return c.signUp(c.signUps(false), "") }

// signUp begins an account with what was typed. Setup is the token of the
// set-up link, "" for everybody else.
func (c *call) signUp(p *page, setup string) error {
	in, err := c.input(p.Form)
	var user *account.User
	var flow string
	if err == nil {
		user, flow, err = c.Accounts.SignUp(c.r.Context(), account.SignUp{
			Identifier: in.Get("identifier"), Password: admit.NewSecret(in.Get("password")), Name: in.Get("name"), Setup: setup,
		}, c.origin(), c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	if user != nil {
		return c.welcome(user, p.Form.ReturnTo)
	}
	id, err := account.ParseIdentifier(in.Get("identifier"))
	if err != nil {
		return err
	}
	if err := c.flow.Set(c.w, []byte(flow+" "+id.Value+" "+keepable(p.Form.ReturnTo))); err != nil {
		return err
	}
	return c.seeOther(carrying("/signup/verify", p.Form.ReturnTo))
}

// welcome signs in who has just signed up.
func (c *call) welcome(user *account.User, target string) error {
	c.target = target
	if _, err := c.start(user, asCookie, false, "pwd"); err != nil {
		return err
	}
	c.flow.Delete(c.w)
	c.link.Delete(c.w)
	if target != "" {
		return c.onward(target)
	}
	return c.done("signed_up", "/account")
}

// A begun sign-up waits for the proof of an address.
type begun struct{ flow, address, target string }

// A sentTo says where a code went.
type sentTo struct {
	Address string
	Text    bool // a text message, which knows no spam folder
}

func (c *call) sent(b begun) sentTo {
	return sentTo{cmp.Or(b.address, c.say("verify.somewhere")), strings.HasPrefix(b.address, "+")}
}

// begun returns the sign-up that this browser has begun, here or by the API,
// which notes the flow alone.
func (c *call) begun() (b begun, ok bool) {
	value, err := c.flow.Get(nil, c.r)
	if err != nil {
		return b, false
	}
	return begunIn(value), true
}

// begunIn reads what a sealed cookie says was begun.
func begunIn(value []byte) (b begun) {
	b.flow, b.address, _ = strings.Cut(string(value), " ")
	b.address, b.target, _ = strings.Cut(b.address, " ")
	return b
}

func (c *call) verifications(b begun) *page {
	p := c.page("verify")
	p.Form = &form{
		Action: "/signup/verify", Submit: c.say("verify.submit"), Proof: "code",
		Fields: []field{{
			Name: "code", Label: c.say("label.code"), Type: "text", Complete: "one-time-code", Hint: c.say("hint.code"), Digits: true, Focus: true,
		}},
	}
	p.Data, p.target = c.sent(b), b.target
	return p
}

func (c *call) verifyPage() error {
	b, ok := c.begun()
	if !ok {
		return account.ErrFlowEnded
	}
	p := c.verifications(b)
	var err error
	if p.Form.ReturnTo, err = c.carried(""); err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

func (c *call) verifyForm() error {
	b, ok := c.begun()
	if !ok {
		return account.ErrFlowEnded
	}
	p := c.verifications(b)
	in, err := c.input(p.Form)
	var user *account.User
	if err == nil {
		user, err = c.Accounts.VerifySignUp(c.r.Context(), b.flow, in.Get("code"), c.origin(), c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	return c.welcome(user, cmp.Or(p.Form.ReturnTo, b.target))
}

// takeLink takes the secret of a mailed link out of the address, where the
// history and the next page's Referer would keep it. It spends nothing:
// scanners open links.
func (c *call) takeLink() error {
	c.w.Header().Set("Referrer-Policy", "no-referrer")
	text := c.named("token")
	if len(text) > 200 {
		return account.ErrFlowEnded
	}
	if err := c.link.Set(c.w, []byte(text)); err != nil {
		return err
	}
	return c.seeOther("/link")
}

// opened returns the link that this browser has opened.
func (c *call) opened() (text string, l account.Link, err error) {
	value, err := c.link.Get(nil, c.r)
	if err != nil {
		return "", l, account.ErrFlowEnded
	}
	l, err = c.Accounts.PeekLink(c.r.Context(), string(value), c.now)
	return string(value), l, err
}

// linkPage is where links arrive. Only the browser that asked may complete the
// sign-up; any other is shown the code to type there, so that who opens the
// mail of a stranger's sign-up signs nobody in.
func (c *call) linkPage() error {
	_, l, err := c.opened()
	if err != nil {
		return err
	}
	switch {
	case l.Setup:
		return c.show(http.StatusOK, c.signUps(true))
	case l.Lost:
		return c.stopLink()
	case l.Adds:
		return c.additionLink(l)
	case l.Back:
		return c.show(http.StatusOK, c.ways(l))
	case l.SignsIn:
		return c.show(http.StatusOK, c.signInLink(l))
	case l.Recovers:
		b, _ := c.recovering()
		return c.show(http.StatusOK, c.recoveryLink(l, b))
	}
	p := c.page("link")
	b, ok := c.begun()
	asked := ok && account.FlowID(b.flow) == l.ID
	if asked {
		p.Form, p.target = &form{Action: "/link", Submit: p.Title}, b.target
	} else {
		p.Title = c.say("link.code")
	}
	p.Data = struct{ Address, Code string }{l.Target, l.Code}
	return c.show(http.StatusOK, p)
}

func (c *call) linkForm() error {
	text, l, err := c.opened()
	if err != nil {
		return err
	}
	if l.Setup {
		return c.signUp(c.signUps(true), text)
	}
	if l.Lost {
		return c.stopLinkForm(text)
	}
	if l.Adds {
		return c.additionLinkForm(text)
	}
	if l.Back {
		return c.wayBackForm(text, l)
	}
	if l.SignsIn {
		return c.signInLinkForm(text, l)
	}
	if l.Recovers {
		return c.recoveryLinkForm(text, l)
	}
	if _, err := c.posted(); err != nil {
		return err
	}
	b, _ := c.begun()
	user, err := c.Accounts.VerifyLink(c.r.Context(), b.flow, text, c.origin(), c.now)
	if err != nil {
		return err
	}
	return c.welcome(user, b.target)
}

func (c *call) signOutPage() error {
	user, _, _, err := c.visitor()
	if err != nil {
		return err
	}
	if user == nil {
		return c.seeOther("/")
	}
	p := c.page("signout")
	p.User = user
	p.Form = &form{Action: "/signout", Submit: c.say("signout.button")}
	return c.show(http.StatusOK, p)
}

func (c *call) signOutForm() error {
	in, err := c.posted()
	if err != nil {
		return err
	}
	target, err := c.returnTo(in.Get("return_to"))
	if err != nil {
		return err
	}
	frames, err := c.signOutEverywhere()
	switch {
	case err != nil:
		return err
	case len(frames) > 0:
		return c.goodbye(frames, target)
	case target != "":
		return c.onward(target)
	}
	return c.done("signed_out", "/")
}
