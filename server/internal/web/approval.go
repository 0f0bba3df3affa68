package web

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// approvalCalls let a user approve one thing, exactly, and an application find
// out that it was.
func approvalCalls() []operation {
	const p = apiPrefix + "approvals"
	return []operation{{
		call: "POST " + p, id: "approve", summary: "Approve one action", session: true, proof: account.FreshProof,
		about: "For an application that shows its user what is to be done, such as a transfer, and lets it be done once: by this session, within 5 minutes, with exactly these parameters. " +
			"`params` is an object of texts, booleans, nulls, whole numbers up to 2^53, lists and objects, of at most 4 KiB; an amount is a text or whole cents. How it is spelled does not matter (RFC 8785).",
		do:      taking((*call).apiApprove),
		example: `{"action": "transfer", "params": {"to": "DE02 1203 0000 0000 2020 51", "amount": "100.00", "currency": "EUR"}}`,
		answers: []answers{{200, "Approved", approval{}}},
		refuses: []*admit.Error{account.ErrAction, account.ErrParams, account.ErrTooMany},
	}, {
		call: "POST " + p + "/redeem", id: "redeem", summary: "Spend an approval", session: true,
		about: "The application asks before it does what was approved, with the session's own cookie or token and with the parameters that it is about to use. " +
			"Of any number of these calls one is answered with 204. Five calls for something else use the approval up, too.",
		do:      taking((*call).apiRedeem),
		example: `{"approval": "adm_o_…", "action": "transfer", "params": {"to": "DE02 1203 0000 0000 2020 51", "amount": "100.00", "currency": "EUR"}}`,
		answers: []answers{{204, "It was approved, and is spent now", nil}},
		refuses: []*admit.Error{account.ErrAction, account.ErrParams, account.ErrApprovalEnded, account.ErrApprovalSpent, account.ErrApprovalOther, account.ErrApprovalSession},
	}}
}

// params are an object whose numbers are kept as they are written.
type params map[string]json.RawMessage

// text returns them as JSON, nil where they are left out.
func (p params) text() ([]byte, error) {
	if p == nil {
		return nil, nil
	}
	return json.Marshal(p)
}

type approve struct {
	Action string `json:"action"`
	Params params `json:"params,omitempty" doc:"An object, empty where it is left out."`
}

// An approval is good once.
type approval struct {
	Approval  string `json:"approval"`
	ExpiresIn int    `json:"expires_in" doc:"In seconds."`
}

func (c *call) apiApprove(in *approve) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	what, err := in.Params.text()
	if err != nil {
		return err
	}
	token, err := c.Accounts.Approve(c.r.Context(), a, in.Action, what, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, approval{token, int(account.ApprovalLife / time.Second)})
}

type redeem struct {
	Approval string `json:"approval"`
	Action   string `json:"action"`
	Params   params `json:"params,omitempty" doc:"An object, empty where it is left out."`
}

func (c *call) apiRedeem(in *redeem) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	what, err := in.Params.text()
	if err != nil {
		return err
	}
	if err := c.Accounts.Redeem(c.r.Context(), a, in.Approval, in.Action, what, c.now); err != nil {
		return err
	}
	return c.noContent()
}
