package web

import (
	"time"

	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
)

var appStories = []story{
	{"consent", func(c *call) *page { return c.tellConsent(nil) }},
	{"consent-more", func(c *call) *page {
		return c.tellConsent(func(a *provider.Authorization) {
			a.Client.Sector, a.Client.URI = "shop.example.net", ""
			a.Scopes, a.New = []string{"openid", "phone", "address", "orders:write"}, []string{"address", "orders:write"}
			a.NewAudiences = []string{"https://orders.example.net", "https://a-service-with-a-name-of-some-length.example.net/v2"}
		})
	}},
	{"consent-device", func(c *call) *page {
		return c.tellConsent(func(a *provider.Authorization) {
			a.Client.Name, a.Asked.RedirectURI = "Donaudampfschifffahrtsgesellschaftskapitänsmützenverwaltung", "http://127.0.0.1:49152/callback"
			a.Scopes, a.New = nil, nil
		})
	}},
	{"usercode", func(c *call) *page { return c.tellUserCode("") }},
	{"usercode-linked", func(c *call) *page { return c.tellUserCode("WDJB-MJHT") }},
	{"deviceask", func(c *call) *page { return c.tellDevice(true, nil) }},
	{"deviceask-far", func(c *call) *page {
		return c.tellDevice(false, func(d *provider.DeviceRequest) {
			d.Client = &provider.Client{ID: "tv", Name: "Donaudampfschifffahrtsgesellschaftskapitänsmützenverwaltung"}
			d.New, d.NewAudiences, d.Address = []string{"offline_access"}, []string{"https://orders.example.net"}, "2001:db8:85a3:8d3:1319:8a2e:370:7348"
		})
	}},
	{"deviceask-nothing", func(c *call) *page {
		return c.tellDevice(false, func(d *provider.DeviceRequest) { d.Scopes, d.New, d.Address = nil, nil, "" })
	}},
	{"device-allowed", func(c *call) *page { return c.tellDecided(true) }},
	{"device-denied", func(c *call) *page { return c.tellDecided(false) }},
	{"consent-stranger", func(c *call) *page {
		return c.tellConsent(func(a *provider.Authorization) { a.Client.Registered = &provider.Registered{} })
	}},
	{"consent-stranger-device", func(c *call) *page {
		return c.tellConsent(func(a *provider.Authorization) {
			a.Client.Registered, a.Asked.RedirectURI = &provider.Registered{}, "http://127.0.0.1:49152/callback"
		})
	}},
	{"choose", func(c *call) *page { return c.choosing(c.tellAuthorization(), ann()) }},
	{"signin-app", func(c *call) *page { return c.tellFor(c.signIns(), nil) }},
	{"signin-app-long", func(c *call) *page {
		return c.tellFor(c.signIns(), func(a *provider.Authorization) {
			a.Client.Name = "Donaudampfschifffahrtsgesellschaftskapitänsmützenverwaltung"
		})
	}},
	{"signin-stranger", func(c *call) *page {
		return c.tellFor(c.signIns(), func(a *provider.Authorization) { a.Client.Registered = &provider.Registered{} })
	}},
	{"signin-stranger-device", func(c *call) *page {
		return c.tellFor(c.signIns(), func(a *provider.Authorization) {
			a.Client.Registered, a.Asked.RedirectURI = &provider.Registered{}, "http://127.0.0.1:49152/callback"
		})
	}},
	{"signup-app", func(c *call) *page { return c.tellFor(c.signUps(false), nil) }},
	{"verify-app", func(c *call) *page { return c.tellFor(c.verifications(begun{address: "ann@example.org"}), nil) }},
	{"ask-app", func(c *call) *page { return c.tellFor(c.asks(), nil) }},
	{"code-app", func(c *call) *page { return c.tellFor(c.codes(asking{to: "ann@example.org"}), nil) }},
	{"factor-app", func(c *call) *page {
		return c.tellFor(c.factors([]account.FactorKind{account.TOTP, account.Recovery}, "", toldStep), nil)
	}},
	{"confirm-app", func(c *call) *page {
		p := c.tellFor(c.tellConfirm(), nil)
		p.Data = []link{{c.say("choose.other"), switchTo(p.Form.ReturnTo)}}
		return p
	}},
	{"onward", func(c *call) *page {
		p := c.page("onward")
		p.Data = authorizePath + "?flow=a"
		return p
	}},
	{"goodbye", func(c *call) *page {
		return c.parting([]string{"/nothing?iss=http%3A%2F%2Flocalhost&sid=a"}, "/") // nobody else is asked
	}},
	{"leaving", func(c *call) *page {
		return c.leaving(&provider.Logout{Client: c.tellAuthorization().Client, Asked: true}, ann())
	}},
	{"leaving-some", func(c *call) *page { return c.leaving(&provider.Logout{Asked: true}, ann()) }},
	{"appfault", func(c *call) *page {
		return c.appFault("invalid_request", "The redirect_uri is none that is registered for this client. It is compared letter by letter.")
	}},
	{"apps", func(c *call) *page {
		p := c.tellMember("apps", "/account/apps")
		p.Data = c.appRows([]provider.Allowed{
			{Client: c.tellAuthorization().Client, Scopes: []string{"openid", "profile", "email", "offline_access"}, Since: toldAt.AddDate(0, -2, 0), LastUsed: toldAt.Add(-20 * time.Minute)},
			{Client: &provider.Client{ID: "orders", Name: "Orders", FirstParty: true}, Scopes: []string{"openid", "orders:write"}, Audiences: []string{"https://orders.example.net"}, Since: toldAt.AddDate(0, 0, -3), LastUsed: toldAt.AddDate(0, 0, -2)},
			{Client: &provider.Client{ID: "k7Qw", Registered: &provider.Registered{}}, Since: toldAt.AddDate(-1, 0, 0), LastUsed: toldAt.AddDate(-1, 0, 0)},
		})
		return p
	}},
	{"apps-none", func(c *call) *page {
		p := c.tellMember("apps", "/account/apps")
		p.Notice = c.say("done.app_taken_back")
		return p
	}},
}

// tellAuthorization is what a shop asks for.
func (c *call) tellAuthorization() *provider.Authorization {
	scopes := []string{"openid", "profile", "email", "offline_access"}
	return &provider.Authorization{
		Client: &provider.Client{ID: "shop", Name: "The Shop", URI: "https://shop.example.net/about"},
		Asked:  provider.Asked{RedirectURI: "https://shop.example.net/callback"}, Scopes: scopes, New: scopes,
	}
}

// tellFor is a page of the sign-in that an application has asked for.
func (c *call) tellFor(p *page, change func(*provider.Authorization)) *page {
	a := c.tellAuthorization()
	if change != nil {
		change(a)
	}
	p.Form.ReturnTo, p.app = authorizePath+"?flow=a", waitingFor(a.Client, a.Asked.RedirectURI)
	return p
}

func (c *call) tellConsent(change func(*provider.Authorization)) *page {
	a := c.tellAuthorization()
	if change != nil {
		change(a)
	}
	p := c.consents(a, ann())
	p.Path = authorizePath
	return p
}

func (c *call) tellUserCode(typed string) *page {
	p := c.userCodes(ann(), typed)
	p.Path = devicePath
	return p
}

// tellDeviceRequest is what a command line asks for.
func (c *call) tellDeviceRequest() *provider.DeviceRequest {
	scopes := []string{"openid", "email", "offline_access"}
	return &provider.DeviceRequest{
		Client: &provider.Client{ID: "cli", Name: "Example CLI", URI: "https://cli.example.net/about"}, UserCode: "WDJB-MJHT",
		Asked: provider.Asked{At: toldAt.Add(-2 * time.Minute)}, Address: "192.0.2.7", Scopes: scopes, New: scopes,
	}
}

func (c *call) tellDevice(near bool, change func(*provider.DeviceRequest)) *page {
	d := c.tellDeviceRequest()
	if d.Near = near; change != nil {
		change(d)
	}
	p := c.deviceAsks(d, ann())
	p.Path = devicePath
	return p
}

func (c *call) tellDecided(allowed bool) *page {
	p := c.deviceDone(c.tellDeviceRequest(), ann(), allowed)
	p.Path = devicePath
	return p
}
