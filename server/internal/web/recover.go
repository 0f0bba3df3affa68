package web

import (
	"cmp"
	"net/http"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// Forgotten passwords.

// recoverCalls are those of who has forgotten a password.
func recoverCalls() []operation {
	const p = apiPrefix + "password/"
	return []operation{{
		call: "POST " + p + "forgot", id: "forgotPassword", summary: "Ask to replace a forgotten password",
		about:   "A code goes to the identifier, and to an e-mail address a link with it; for a user name, to an address or a number of the account that is verified. The answer is the same whether there is an account or not, which only the owner of the address is told.",
		do:      taking((*call).apiForgot),
		example: `{"identifier": "ann@example.org"}`,
		answers: []answers{{202, "If there is an account, a message is on its way", forgotten{}}},
		refuses: []*admit.Error{account.ErrIdentifier, account.ErrPhoneMalformed, account.ErrRecovery, account.ErrTexts, account.ErrTooMany},
	}, {
		call: "POST " + p + "reset", id: "resetPassword", summary: "Choose a new password in place of a forgotten one",
		about:   "With the flow and the code, or with the token of the mailed link, `…/link/TOKEN`. All sessions, API keys and trusted devices of the user end; a refused password spends nothing. Nobody is signed in by it: a second factor is asked for at the next sign-in as at any other.",
		do:      taking((*call).apiReset),
		example: `{"flow": "adm_o_…", "code": "12345678", "new_password": "staple another horse"}`,
		answers: []answers{{204, "The password is set", nil}},
		refuses: append([]*admit.Error{account.ErrBadCode, account.ErrFlowEnded, account.ErrTooMany}, passwordRefusals...),
	}}
}

type forgot struct {
	Identifier string `json:"identifier" doc:"A user name, an e-mail address or a phone number."`
}

// A forgotten is the answer to who has forgotten a password.
type forgotten struct {
	Flow string `json:"flow" doc:"What only who asked has; the code alone proves nothing."`
}

func (c *call) apiForgot(in *forgot) error {
	flow, err := c.Accounts.Forgot(c.r.Context(), in.Identifier, c.knownOrigin(), c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, forgotten{flow})
}

type reset struct {
	Flow        string       `json:"flow,omitempty" doc:"Of the answer to …/forgot, together with the code."`
	Code        string       `json:"code,omitempty" doc:"The eight digits that were sent."`
	Token       string       `json:"token,omitempty" doc:"Of the mailed link, in place of both."`
	NewPassword admit.Secret `json:"new_password"`
}

func (c *call) apiReset(in *reset) error {
	err := c.Accounts.Recover(c.r.Context(), account.NewPassword{Flow: in.Flow, Code: in.Code, Link: in.Token, Password: in.NewPassword}, c.origin(), c.now)
	if err != nil {
		return err
	}
	return c.noContent()
}

// recoverPages are the paths of their pages.
func recoverPages() map[string]methods {
	return map[string]methods{
		"/recover":      {"GET": (*call).forgotPage, "POST": (*call).forgotForm},
		"/recover/code": {"GET": (*call).recoverPage, "POST": (*call).recoverForm},
	}
}

// forgots is the page that asks who has forgotten a password.
func (c *call) forgots() *page {
	p := c.page("recover")
	p.Form = &form{
		Action: "/recover", Submit: c.say("recover.submit"),
		Fields: []field{{Name: "identifier", Label: c.who(true), Type: "text", Complete: "username"}},
	}
	return p
}

// forgotPage is for people who are signed in, too: who is may have forgotten the
// password, and would else have to sign out to say so.
func (c *call) forgotPage() (err error) {
	p := c.forgots()
	if p.Form.ReturnTo, err = c.returnTo(c.r.URL.Query().Get("return_to")); err != nil {
		return err
	}
	if p.User, _, _, err = c.visitor(); err != nil {
		return err
	}
	if !c.Accounts.CanMail() && !c.Accounts.CanText() {
		p.Form = nil
	}
	return c.show(http.StatusOK, p)
}

func (c *call) forgotForm() error {
	p := c.forgots()
	in, err := c.input(p.Form)
	var flow string
	if err == nil {
		flow, err = c.Accounts.Forgot(c.r.Context(), in.Get("identifier"), c.knownOrigin(), c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	id, err := account.ParseIdentifier(in.Get("identifier"))
	if err != nil {
		return err
	}
	if err := c.recovery.Set(c.w, []byte(flow+" "+id.Value+" "+keepable(p.Form.ReturnTo))); err != nil {
		return err
	}
	return c.seeOther(carrying("/recover/code", p.Form.ReturnTo))
}

// recoveries is the page that asks for the code and the new password.
func (c *call) recoveries(b begun) *page {
	p := c.page("recovering")
	p.Form = &form{
		Action: "/recover/code", Submit: c.say("recover.set"), Username: b.address, Proof: "code",
		Fields: []field{
			{Name: "code", Label: c.say("label.code"), Type: "text", Complete: "one-time-code", Hint: c.say("recover.digits"), Digits: true, Focus: true},
			c.newPassword("new_password", "label.new"),
		},
	}
	p.Data, p.target = c.sent(b), b.target
	return p
}

// recovering returns the recovery that this browser has begun.
func (c *call) recovering() (begun, bool) {
	value, err := c.recovery.Get(nil, c.r)
	if err != nil {
		return begun{}, false
	}
	return begunIn(value), true
}

func (c *call) recoverPage() error {
	b, ok := c.recovering()
	if !ok {
		return c.seeOther("/recover")
	}
	p := c.recoveries(b)
	var err error
	if p.Form.ReturnTo, err = c.carried(""); err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

func (c *call) recoverForm() error {
	b, ok := c.recovering()
	if !ok {
		return account.ErrFlowEnded
	}
	p := c.recoveries(b)
	in, err := c.input(p.Form)
	if err == nil {
		err = c.Accounts.Recover(c.r.Context(), account.NewPassword{
			Flow: b.flow, Code: in.Get("code"), Password: admit.NewSecret(in.Get("new_password")),
		}, c.origin(), c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	return c.recovered(cmp.Or(p.Form.ReturnTo, b.target))
}

// recovered leads to the sign-in, which asks for all that it always does.
func (c *call) recovered(target string) error {
	c.recovery.Delete(c.w)
	c.link.Delete(c.w)
	return c.done("password_reset", signInTo(target))
}

// recoveryLink is where the mailed link arrives, in any browser. To open it does
// nothing: scanners do. A new password and a press of the button spend it. It leads on to
// the target of the recovery that this browser has begun, if it has.
func (c *call) recoveryLink(l account.Link, b begun) *page {
	p := c.page("recovery")
	p.Form = &form{
		Action: "/link", Submit: c.say("recover.set"), Username: l.Target,
		Fields: []field{c.newPassword("new_password", "label.new")},
	}
	p.Data, p.target = struct{ Address string }{l.Target}, b.target
	return p
}

func (c *call) recoveryLinkForm(text string, l account.Link) error {
	b, _ := c.recovering()
	p := c.recoveryLink(l, b)
	in, err := c.input(p.Form)
	if err == nil {
		err = c.Accounts.Recover(c.r.Context(), account.NewPassword{Link: text, Password: admit.NewSecret(in.Get("new_password"))}, c.origin(), c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	return c.recovered(b.target)
}
