package web

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// The second step of a sign-in.

// stepLife is for how long a browser keeps its half of a second step.
const stepLife = 10 * time.Minute

// signIns are the good ends of a sign-in.
var signIns = []answers{{200, "Signed in", signedIn{}}, {200, "A second factor is needed", factorNeeded{}}}

// factorCalls are those about the second step.
func factorCalls() []operation {
	return []operation{{
		call: "POST " + apiPrefix + "signin/factor", id: "passFactor", summary: "Take the second step of a sign-in",
		about:   "Where a sign-in answers with the state `factor_needed`. The session is given out in the form that the first step asked for. The flow is good for ten minutes and five tries, once, and where a cookie was asked for only in the browser that asked. A wrong code burns a try of the user as well, whatever flow it came from.",
		do:      taking((*call).apiFactor),
		example: `{"flow": "adm_o_…", "factor": "totp", "code": "123456"}`,
		answers: []answers{{200, "Signed in", signedIn{}}},
		refuses: append([]*admit.Error{account.ErrBadFactor, account.ErrFactorEnded, account.ErrFactorKind}, steppedPasskey...),
	}}
}

// A factorNeeded is the answer to who must show a second factor.
type factorNeeded struct {
	State   string   `json:"state" enum:"factor_needed"`
	Flow    string   `json:"flow" doc:"What the second step is taken with."`
	Factors []string `json:"factors" doc:"What would do: totp, passkey, recovery."`
}

// kept is what the first step wants the second to know.
type kept struct {
	As       guise
	Remember bool
	Cookie   bool   // the access token comes in one
	JKT      string // of the key that tokens are bound to
}

// gate stops who must show a second factor: what the browser needs for that is
// set, and the refusal says the rest.
func (c *call) gate(user *account.User, in guise, remember bool, amr []string) error {
	keep, err := json.Marshal(kept{in, remember, c.inside, c.jkt})
	if err != nil {
		return fmt.Errorf("encode what is kept: %w", err)
	}
	err = c.Accounts.Gate(c.r.Context(), user, account.First{AMR: amr, Trusts: c.trustTokens(), Keep: string(keep), Browser: in == asCookie}, c.knownOrigin(), c.now)
	if needed, ok := errors.AsType[*account.FactorNeeded](err); ok && needed.Browser != "" {
		if err := c.keepHalves(append([]half{{needed.Flow, needed.Browser, keepable(c.target)}}, c.halves()...)); err != nil {
			return err
		}
	}
	return err
}

// trustTokens are the tokens of users who trust this browser.
func (c *call) trustTokens() []string {
	value, err := c.trusted.Get(nil, c.r)
	if err != nil {
		return nil
	}
	return strings.Fields(string(value))
}

// A half is what this browser keeps of a sign-in's first step. Each tab has its own: who
// signs in for three applications at once is led to all three.
type half struct{ flow, browser, target string }

// maxHalves bounds them, in bytes of the cookie before it is sealed: the oldest go.
const maxHalves = 2400

// name tells the page of one half from that of another. It is no secret.
func (h half) name() string {
	sum := sha256.Sum256([]byte(h.flow))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// halves returns those of this browser, the newest first.
func (c *call) halves() (all []half) {
	value, err := c.step.Get(nil, c.r)
	if err != nil {
		return nil
	}
	for line := range strings.SplitSeq(string(value), "\n") {
		if parts := strings.SplitN(line, " ", 3); len(parts) == 3 {
			all = append(all, half{parts[0], parts[1], parts[2]})
		}
	}
	return all
}

func (c *call) keepHalves(all []half) error {
	var b strings.Builder
	for _, h := range all {
		line := h.flow + " " + h.browser + " " + h.target // a target has no end of line
		if b.Len() > 0 && b.Len()+len(line) >= maxHalves {
			break
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
	}
	if b.Len() == 0 {
		c.step.Delete(c.w)
		return nil
	}
	return c.step.Set(c.w, []byte(b.String()))
}

// dropHalf forgets one that has been of use.
func (c *call) dropHalf(flow string) error {
	return c.keepHalves(slices.DeleteFunc(c.halves(), func(h half) bool { return h.flow == flow }))
}

// half returns the one that a page names, the newest where it names none.
func (c *call) half(name string) (h half, ok bool) {
	for _, h := range c.halves() {
		if name == "" || h.name() == name {
			return h, true
		}
	}
	return h, false
}

// browserOf is this browser's secret of a flow, "" where it has none.
func (c *call) browserOf(flow string) string {
	for _, h := range c.halves() {
		if h.flow == flow {
			return h.browser
		}
	}
	return ""
}

// pass takes the second step, and gives the session out as the first step asked.
// With trust the browser is not asked again for a while.
func (c *call) pass(p account.Passing, trust bool) (*account.User, *session.Session[Data], kept, error) {
	var keep kept
	passed, err := c.Accounts.PassFactor(c.r.Context(), p, c.knownOrigin(), c.now)
	if err != nil {
		return nil, nil, keep, err
	}
	if err := json.Unmarshal([]byte(passed.Keep), &keep); err != nil {
		return nil, nil, keep, fmt.Errorf("decode what was kept: %w", err)
	}
	if keep.As != asCookie {
		if err := c.overheard(); err != nil {
			return nil, nil, keep, err
		}
	}
	c.jkt = keep.JKT
	s, err := c.admit(passed.User, keep.As, keep.Remember, passed.AMR)
	if err != nil {
		return nil, nil, keep, err
	}
	if err := c.Accounts.ConfirmFactor(c.r.Context(), passed); err != nil {
		return nil, nil, keep, c.overtaken(passed.User, s, err)
	}
	if keep.As != asCookie {
		return passed.User, s, keep, nil
	}
	if err = c.dropHalf(p.Flow); err == nil && trust {
		err = c.trust(passed)
	}
	return passed.User, s, keep, err
}

// trust lets this browser be, for a while, where the user needs no second factor.
func (c *call) trust(p *account.Passed) error {
	text, err := c.Accounts.Trust(c.r.Context(), p, c.origin(), c.now)
	if err != nil {
		return err
	}
	all := append([]string{text}, c.trustTokens()...)
	return c.trusted.Set(c.w, []byte(strings.Join(all[:min(len(all), maxKnown)], " ")))
}

// needFactor answers the API where a second factor is needed: it is no failure.
func (c *call) needFactor(needed *account.FactorNeeded) error {
	c.code = account.ErrFactor.Code()
	out := factorNeeded{State: "factor_needed", Flow: needed.Flow, Factors: make([]string, len(needed.Factors))}
	for i, kind := range needed.Factors {
		out.Factors[i] = string(kind)
	}
	return c.json(http.StatusOK, out)
}

type passFactor struct {
	Flow       string    `json:"flow" doc:"Of the answer to the first step."`
	Factor     string    `json:"factor" enum:"totp|passkey|recovery"`
	Code       string    `json:"code,omitempty" doc:"The six digits of the app, or a recovery code."`
	Credential inBrowser `json:"credential,omitempty" doc:"What PublicKeyCredential.toJSON returns: a passkey, with the flow that asked for it."`
	Trust      bool      `json:"trust,omitempty" doc:"With a cookie: do not ask for a second factor in this browser for 30 days."`
}

func (c *call) apiFactor(in *passFactor) error {
	step, err := c.passing(in.Flow, in.Factor, in.Code, in.Credential.text())
	if err != nil {
		return err
	}
	user, s, keep, err := c.pass(step, in.Trust)
	if err != nil {
		return err
	}
	return c.signedIn(http.StatusOK, user, s, jwtCookie{Cookie: keep.Cookie})
}

// A factorChoice is what the page of the second step offers beside its form.
type factorChoice struct {
	Step   string   // the half that it is about, by its name
	By     string   // the factor that is asked for
	Others []string // what would do as well
}

// factors is the page of the second step of the half of this name.
func (c *call) factors(kinds []account.FactorKind, by, name string) *page {
	p := c.page("factor")
	if by == "" || !slices.Contains(kinds, account.FactorKind(by)) {
		by = string(kinds[0])
	}
	d := &factorChoice{Step: name, By: by}
	for _, kind := range kinds {
		if string(kind) != by {
			d.Others = append(d.Others, string(kind))
		}
	}
	p.Data = d
	code := field{Name: "code", Label: c.say("factor.totp"), Type: "text", Complete: "one-time-code", Hint: c.say("factor.totp.hint"), Digits: true, Focus: true}
	if by == string(account.Passkey) {
		p.Form = &form{Action: "/signin/factor", Hidden: []wished{{"factor", by}, {"step", name}}}
		return p
	}
	if by == string(account.Recovery) {
		code = field{Name: "code", Label: c.say("factor.recovery"), Type: "text", Complete: "off", Hint: c.say("factor.recovery.hint"), Focus: true}
	}
	p.Form = &form{Action: "/signin/factor", Submit: c.say("factor.submit"), Proof: "code", Trust: true, Fields: []field{code}, Hidden: []wished{{"factor", by}, {"step", name}}}
	return p
}

// stepped returns the half of a sign-in that a page names, who that is, and what would do.
func (c *call) stepped(name string) (h half, user *account.User, kinds []account.FactorKind, err error) {
	h, ok := c.half(name)
	if !ok {
		return h, nil, nil, account.ErrFactorEnded
	}
	user, _, kinds, err = c.Accounts.PeekFactor(c.r.Context(), h.flow, h.browser, c.now)
	if err == nil && len(kinds) == 0 {
		err = account.ErrFactorEnded
	}
	return h, user, kinds, err
}

func (c *call) factorPage() error {
	q := c.r.URL.Query()
	h, _, kinds, err := c.stepped(q.Get("step"))
	if err != nil {
		return err
	}
	p := c.factors(kinds, q.Get("by"), h.name())
	p.target = h.target
	if p.Form.ReturnTo, err = c.carried(""); err != nil {
		return err
	}
	if err := c.stepByPasskey(p, h); err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

// stepsWith reports whether a user has taken both steps in another tab of this browser,
// while this one was waiting: that is asked for once.
func (c *call) stepsWith(user *account.User) bool {
	i, u, err := c.holder()
	return err == nil && u.ID == user.ID && c.now.Sub(i.AuthTime) < stepLife && i.Principal().CheckProof(admit.TwoFactors, 0, c.now) == nil
}

func (c *call) factorForm() error {
	posted, err := c.posted()
	if err != nil {
		return err
	}
	h, waiting, kinds, err := c.stepped(posted.Get("step"))
	if err != nil {
		return err
	}
	if c.stepsWith(waiting) {
		if err := c.dropHalf(h.flow); err != nil {
			return err
		}
		target, err := c.returnTo(h.target)
		if err != nil {
			return err
		}
		return c.goOn(target)
	}
	p := c.factors(kinds, posted.Get("factor"), h.name())
	p.target = h.target
	in, err := c.input(p.Form)
	var user *account.User
	if err == nil {
		by, step := p.Data.(*factorChoice).By, account.Passing{}
		if step, err = c.passing(cmp.Or(in.Get("flow"), h.flow), by, in.Get("code"), json.RawMessage(in.Get("credential"))); err == nil {
			user, _, _, err = c.pass(step, in.Has("trust"))
		}
		if err == nil && user.MustChange {
			c.target = cmp.Or(c.target, h.target)
			err = account.ErrMustChange
		}
	}
	if err != nil {
		if e := c.stepByPasskey(p, h); e != nil && !errors.Is(e, account.ErrFactorEnded) {
			return e
		}
		return c.refuse(p, err)
	}
	target, err := c.returnTo(cmp.Or(p.Form.ReturnTo, h.target))
	if err != nil {
		return err
	}
	return c.goOn(target)
}
