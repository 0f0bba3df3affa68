package server_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/problem"
)

// approved has the client approve something.
func (c *client) approved(action, params any) string {
	c.t.Helper()
	body := m{"action": action}
	if params != nil {
		body["params"] = params
	}
	return c.post("approvals", body).want(200).at("approval")
}

func transfer(amount any) m { return m{"to": "bob", "amount": amount, "currency": "EUR"} }

// A user approves a small amount. Whoever carries the approval to the
// application, a script in the page or a thief in between, asks for another.
func TestAttackAnAmountThatWasApprovedIsNotAnother(t *testing.T) {
	s := newSite(t)
	c := s.signedUp("ann")
	approval := c.approved("transfer", transfer("10.00"))
	redeem := func(c *client, action string, params any) *reply {
		return c.post("approvals/redeem", m{"approval": approval, "action": action, "params": params})
	}
	for name, params := range map[string]any{
		"more":              transfer("1000.00"),
		"as a number":       transfer(10),
		"otherwise written": transfer("10.0"),
		"something besides": m{"to": "bob", "amount": "10.00", "currency": "EUR", "fee": "5.00"},
	} {
		if r := redeem(c, "transfer", params); r.status != 403 || r.m["code"] != "approval_mismatch" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	// What is no other amount: the members stand in another order, an escape.
	raw := `{"action":"transfer","approval":"` + approval + `","params":{"amount":"10.\u0030\u0030", "currency":"EUR","to":"bob"}}`
	c.post("approvals/redeem", raw).want(204)
	c.post("approvals/redeem", raw).want(409, "approval_spent")

	approval = c.approved("transfer", transfer("10.00"))
	redeem(c, "transfer.all", transfer("10.00")).want(403, "approval_mismatch")
	// Nobody else's session, nor the same user's other one, nor without one.
	redeem(s.another("ann", goodPassword), "transfer", transfer("10.00")).want(403, "approval_session")
	redeem(s.signedUp("bob"), "transfer", transfer("10.00")).want(403, "approval_session")
	redeem(s.client(), "transfer", transfer("10.00")).want(401, "no_session")
	for range 4 {
		redeem(c, "transfer", transfer("11.00")).want(403, "approval_mismatch")
	}
	redeem(c, "transfer", transfer("10.00")).want(409, "approval_spent") // who tries amounts has used it up

	// A session that has ended spends nothing.
	approval = c.approved("transfer", transfer("10.00"))
	stolen := *c
	stolen.jar = copied(c.jar)
	c.post("signout", nil).want(204)
	redeem(&stolen, "transfer", transfer("10.00")).want(401, "session_ended")
	// It is no token of another kind.
	c.post("signup/verify", m{"flow": approval, "code": "123456"}).want(401, "flow_ended")
	c.page("GET", "/link/"+approval, nil).leads("/link")
	c.page("GET", "/link", nil).want(401)
}

func TestAnApprovalNeedsAFreshProofAndLastsFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.signedUp("ann")
		time.Sleep(5*time.Minute + time.Second)
		r := c.post("approvals", m{"action": "transfer"}).want(401, "proof_needed")
		if got := r.header.Get("WWW-Authenticate"); got != `Bearer error="insufficient_user_authentication", error_description="A more recent or a stronger proof of the user is needed", max_age="300"` {
			t.Errorf("WWW-Authenticate: %s", got)
		}
		c.post("reauthenticate", m{"password": goodPassword}).want(200)
		r = c.post("approvals", m{"action": "transfer"}).want(200)
		if r.at("expires_in") != "300" {
			t.Errorf("%s", r.body)
		}
		last := m{"approval": c.approved("transfer", nil), "action": "transfer", "params": m{}}
		time.Sleep(5*time.Minute - time.Second)
		c.post("approvals/redeem", m{"approval": r.at("approval"), "action": "transfer"}).want(204)
		time.Sleep(time.Second)
		c.post("approvals/redeem", last).want(403, "approval_ended")
	})
}

func TestOfFiftySpendingsAtOnceOneWinsAndARestartSpendsNoneAgain(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	c := s.client()
	c.token = c.post("signin", m{"identifier": "ann", "password": goodPassword, "as": "token"}).want(200).at("token")
	in := m{"approval": c.approved("transfer", transfer("10.00")), "action": "transfer", "params": transfer("10.00")}
	waiting := m{"approval": c.approved("transfer", nil), "action": "transfer"}
	var all sync.WaitGroup
	var won, spent atomic.Int32
	for range 50 {
		all.Go(func() {
			switch r := c.post("approvals/redeem", in); {
			case r.status == http.StatusNoContent:
				won.Add(1)
			case r.status == http.StatusConflict && r.m["code"] == "approval_spent":
				spent.Add(1)
			default:
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || spent.Load() != 49 {
		t.Errorf("%d of 50 won, %d came too late", won.Load(), spent.Load())
	}
	s.server.Close()
	s.open()
	c.post("approvals/redeem", in).want(409, "approval_spent")
	c.post("approvals/redeem", waiting).want(204)
	s.server.Close()
	s.open()
	c.post("approvals/redeem", waiting).want(409, "approval_spent")

	var events []string
	for _, r := range c.get("activity").want(200).m["records"].([]any) {
		events = append(events, r.(m)["event"].(string))
	}
	n := 0
	for _, e := range events {
		if e == "approval_spent" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("two spendings are %d records: %q", n, events)
	}
}

func TestAProgramAroundTheServerSpendsAnApproval(t *testing.T) {
	s := newSite(t)
	type order struct {
		Amount string `json:"amount"`
		To     string `json:"to"`
	}
	var done []order
	pay := func(approval string, o order) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := s.server.Redeem(r, approval, "transfer", o); err != nil {
				problem.Write(w, err, "")
				return
			}
			done = append(done, o)
		})
	}
	c := s.signedUp("ann")
	approval := c.approved("transfer", m{"to": "bob", "amount": "10.00"})
	for _, tt := range []struct {
		name   string
		c      *client
		o      order
		status int
	}{
		{"another amount", c, order{"1000.00", "bob"}, 403},
		{"nobody", s.client(), order{"10.00", "bob"}, 401},
		{"another session", s.another("ann", goodPassword), order{"10.00", "bob"}, 403},
		{"what was approved", c, order{"10.00", "bob"}, 200},
		{"the same again", c, order{"10.00", "bob"}, 409},
	} {
		if r := tt.c.visit(pay(approval, tt.o)); r.status != tt.status {
			t.Errorf("%s: %d %s", tt.name, r.status, r.body)
		}
	}
	if len(done) != 1 {
		t.Errorf("%v was done", done)
	}
}
