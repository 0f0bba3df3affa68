package web

import (
	"errors"
	"net/http"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// The pages of who has lost every factor. They hang under the second step of a
// sign-in, where the first has been taken.

// A lostPage says how far the removal of factors is.
type lostPage struct {
	Step  string // the half that it is about, by its name
	State string // "begin", "wait", "due", or "code": what the page offers
	Until moment
}

// lost is the page, for how far it is. The sign-in leads on to the target.
func (c *call) lost(l *account.FactorLoss, name, target string) *page {
	p := c.page("lost")
	p.target = target
	d := &lostPage{Step: name, State: "begin"}
	p.Form = &form{Action: "/signin/factor/lost", Submit: c.say("lost.begin"), Hidden: []wished{{"step", name}}}
	if l != nil {
		d.State, d.Until = "wait", c.moment(l.DueAt)
		p.Form = nil
	}
	if l.Due(c.now) {
		d.State = "due"
		p.Form = &form{Action: "/signin/factor/lost", Submit: c.say("lost.send"), Hidden: []wished{{"step", name}}}
	}
	p.Data = d
	return p
}

// lostCode is the page that asks for the mailed code.
func (c *call) lostCode(proof, name, target string) *page {
	p := c.page("lost")
	p.target = target
	p.Data = &lostPage{Step: name, State: "code"}
	p.Form = &form{
		Action: "/signin/factor/lost", Submit: c.say("lost.finish"), Proof: "code", Hidden: []wished{{"proof", proof}, {"step", name}},
		Fields: []field{{Name: "code", Label: c.say("label.code"), Type: "text", Complete: "one-time-code", Hint: c.say("recover.digits"), Digits: true, Focus: true}},
	}
	return p
}

// losing returns the half that a page names, and how far that is.
func (c *call) losing(name string) (h half, l *account.FactorLoss, err error) {
	h, ok := c.half(name)
	if !ok {
		return h, nil, account.ErrFactorEnded
	}
	user, _, _, err := c.Accounts.PeekFactor(c.r.Context(), h.flow, h.browser, c.now)
	if err != nil {
		return h, nil, err
	}
	l, err = c.Accounts.LossOf(c.r.Context(), user.ID)
	return h, l, err
}

func (c *call) lostPage() error {
	h, l, err := c.losing(c.r.URL.Query().Get("step"))
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, c.lost(l, h.name(), h.target))
}

// lostForm begins it, mails a code once it is due, and takes that.
func (c *call) lostForm() error {
	posted, err := c.posted()
	if err != nil {
		return err
	}
	h, l, err := c.losing(posted.Get("step"))
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	if proof := posted.Get("proof"); proof != "" {
		p := c.lostCode(proof, h.name(), h.target)
		in, err := c.input(p.Form)
		if err == nil {
			err = c.Accounts.FinishLoss(ctx, h.flow, h.browser, proof, in.Get("code"), c.origin(), c.now)
		}
		if err != nil {
			return c.refuse(p, err)
		}
		if err := c.dropHalf(h.flow); err != nil {
			return err
		}
		return c.done("factors_reset", signInTo(h.target))
	}
	if l.Due(c.now) {
		proof, err := c.Accounts.AskLossProof(ctx, h.flow, h.browser, c.origin(), c.now)
		if err != nil {
			return err
		}
		return c.show(http.StatusOK, c.lostCode(proof, h.name(), h.target))
	}
	if l, err = c.Accounts.BeginLoss(ctx, h.flow, h.browser, c.origin(), c.now); err != nil {
		if p := c.lost(l, h.name(), h.target); p.Form != nil && !errors.Is(err, account.ErrFactorEnded) {
			return c.refuse(p, err)
		}
		return err
	}
	return c.show(http.StatusOK, c.lost(l, h.name(), h.target))
}

// stopLink is where the mailed link arrives that stops it.
func (c *call) stopLink() error {
	p := c.page("stop")
	p.Form = &form{Action: "/link", Submit: c.say("stop.submit")}
	return c.show(http.StatusOK, p)
}

func (c *call) stopLinkForm(text string) error {
	if _, err := c.posted(); err != nil {
		return err
	}
	if err := c.Accounts.StopLoss(c.r.Context(), text, c.origin(), c.now); err != nil {
		return err
	}
	c.link.Delete(c.w)
	return c.done("factor_loss_stopped", "/signin?return_to=/account/security")
}

// apiLost begins it, or once it is due mails the code.
func (c *call) apiLost(in *loseFactors) error {
	browser := c.browserOf(in.Flow)
	user, _, _, err := c.Accounts.PeekFactor(c.r.Context(), in.Flow, browser, c.now)
	if err != nil {
		return err
	}
	l, err := c.Accounts.LossOf(c.r.Context(), user.ID)
	if err != nil {
		return err
	}
	if l.Due(c.now) {
		proof, err := c.Accounts.AskLossProof(c.r.Context(), in.Flow, browser, c.origin(), c.now)
		if err != nil {
			return err
		}
		return c.json(http.StatusAccepted, lossState{State: "check_mail", Proof: proof, DueAt: shown(l.DueAt)})
	}
	if l, err = c.Accounts.BeginLoss(c.r.Context(), in.Flow, browser, c.origin(), c.now); err != nil {
		return err
	}
	return c.json(http.StatusAccepted, lossState{State: "wait", DueAt: shown(l.DueAt)})
}

// apiLostVerify removes the factors.
func (c *call) apiLostVerify(in *verifyLoss) error {
	if err := c.Accounts.FinishLoss(c.r.Context(), in.Flow, c.browserOf(in.Flow), in.Proof, in.Code, c.origin(), c.now); err != nil {
		return err
	}
	return c.noContent()
}

// lostCalls are those about lost factors.
func lostCalls() []operation {
	const p = apiPrefix + "signin/factor/lost"
	return []operation{{
		call: "POST " + p, id: "loseFactors", summary: "Say that every second factor is lost",
		about:   "After the first step of a sign-in. The first call begins a delay, of three days where nothing else is configured, in which the owner is told three times and can stop it; any sign-in with a factor stops it, too. Once it is over, the call mails a code to the verified address.",
		do:      taking((*call).apiLost),
		example: `{"flow": "adm_o_…"}`,
		answers: []answers{{202, "Wait, or look at the mail", lossState{}}},
		refuses: []*admit.Error{account.ErrFactorEnded, account.ErrNoAddress, account.ErrTooMany, account.ErrTexts},
	}, {
		call: "POST " + p + "/verify", id: "removeLostFactors", summary: "Remove lost factors",
		about:   "By the mailed code. All sessions end; sign in again, with one step.",
		do:      taking((*call).apiLostVerify),
		example: `{"flow": "adm_o_…", "proof": "adm_o_…", "code": "12345678"}`,
		answers: []answers{{204, "Removed", nil}},
		refuses: []*admit.Error{account.ErrFactorEnded, account.ErrBadCode, account.ErrFlowEnded, account.ErrLossEarly, account.ErrTooMany},
	}}
}

type loseFactors struct {
	Flow string `json:"flow" doc:"Of the answer to the first step."`
}

type lossState struct {
	State string    `json:"state" enum:"wait|check_mail"`
	Proof string    `json:"proof,omitempty" doc:"What the mailed code is sent with."`
	DueAt time.Time `json:"due_at" doc:"From when on factors can be removed."`
}

type verifyLoss struct {
	Flow  string `json:"flow"`
	Proof string `json:"proof"`
	Code  string `json:"code" doc:"The six digits that were mailed."`
}
