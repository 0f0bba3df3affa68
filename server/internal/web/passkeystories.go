package web

import (
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// passkeyStories are the pages that ask for passkeys.
var passkeyStories = []story{
	{"signin-passkey", func(c *call) *page { return c.tellSignInPasskey("/account/sessions") }},
	{"signin-passkey-unknown", func(c *call) *page {
		p := c.tellSignInPasskey("")
		p.Form.Proof = ""
		p.Passkey.Signals = c.unknownPasskey(`{"id":"AQID"}`)
		return c.tellRefused(p, account.ErrPasskeyUnknown)
	}},
	{"confirm-passkey", func(c *call) *page {
		p := c.tellConfirm()
		p.Passkey = c.proveWith(tellRequest())
		return p
	}},
	{"factor-passkey", func(c *call) *page {
		p := c.factors([]account.FactorKind{account.TOTP, account.Passkey, account.Recovery}, "passkey", toldStep)
		p.Passkey = c.stepWith(tellRequest(), toldStep)
		return p
	}},
	{"passkeys", func(c *call) *page { return c.tellPasskeys() }},
	{"passkeys-none", func(c *call) *page {
		p := c.tellPasskeys()
		p.Data, p.Passkey.Signals = &passkeyPage{Recent: true}, nil
		return p
	}},
	{"passkeys-confirm", func(c *call) *page {
		p := c.tellPasskeys()
		p.Data.(*passkeyPage).Recent, p.Passkey.Kind = false, ""
		return p
	}},
	{"passkeys-last", func(c *call) *page { return c.tellRefused(c.tellPasskeys(), account.ErrLastWayIn) }},
	{"passkeys-off", func(c *call) *page {
		p := c.tellPasskeys()
		p.Form, p.Data, p.Passkey = nil, &passkeyPage{Off: true}, &passkeyForm{}
		return p
	}},
	{"passkey-offer", func(c *call) *page {
		p := c.tellMember("passkeyoffer", "/account/passkeys/offer")
		p.Passkey, p.Data = &passkeyForm{}, "/account"
		c.createWith(p.Passkey, c.tellCreation(), true)
		p.Passkey.ReturnTo = "/account"
		return p
	}},
}

func tellRequest() requestFlow {
	return requestOf(&account.PasskeyQuestion{Flow: "flow", Site: "localhost", Challenge: []byte("challenge")}, "required")
}

func (c *call) tellCreation() creationFlow {
	return c.creationOf(&account.PasskeyQuestion{Flow: "flow", Site: "localhost", Challenge: []byte("challenge"), Handle: []byte("handle"), User: ann()})
}

func (c *call) tellSignInPasskey(target string) *page {
	p := c.signIns()
	p.Form.ReturnTo, p.Form.Able = target, true
	p.Passkey = c.signInWith(tellRequest(), target)
	return p
}

func (c *call) tellPasskeys() *page {
	p := c.tellMember("passkeys", "/account/passkeys")
	at := func(d time.Duration) moment { return c.moment(toldAt.Add(-d)) }
	const day = 24 * time.Hour
	p.Form = &form{Action: "/account/passkeys"}
	p.Data = &passkeyPage{Recent: true, Rows: []passkeyRow{
		{ID: "AQID", Name: "Apple Passwords", Synced: true, BackedUp: true, Good: true, Made: at(200 * day), Used: at(3 * time.Hour)},
		{ID: "AQIE", Name: "Blue security key", Good: true, Second: true, Made: at(90 * day), Unused: true},
		{ID: "AQIF", Name: "Old laptop", Cloned: true, Made: at(400 * day), Used: at(2 * day)},
		{ID: "AQIG", Name: "Windows Hello", Site: "old.example.org", Made: at(500 * day), Used: at(300 * day)},
	}}
	p.Passkey = &passkeyForm{Signals: []signal{newSignal("AllAcceptedCredentials", acceptedKeys{"localhost", "aGFuZGxl", []string{"AQID", "AQIE"}})}}
	c.createWith(p.Passkey, c.tellCreation(), false)
	return p
}
