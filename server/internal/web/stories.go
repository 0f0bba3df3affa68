package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/otp"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// A story is a page in one of its states, made of canned data. All of them
// together go through every branch of every template, which a test counts. They
// stand at /dev/stories for who draws pages, are what a theme is tried on, and
// what the tests of looks, of accessibility and of words go through.
type story struct {
	name string
	page func(*call) *page
}

// toldAt is the time of every story.
var toldAt = time.Date(2026, time.March, 14, 9, 26, 53, 0, time.UTC)

// toldStep names the half of a sign-in that every story of a second step is about.
const toldStep = "QUJDREVGR0hJ"

// teller returns a call that tells stories.
func (s *server) teller(v *views, lang string, r *http.Request) *call {
	return &call{server: s, views: v, r: r, now: toldAt, lang: lang, id: "1d3hk2q9x0v7f"}
}

var stories = slices.Concat(passkeyStories, appStories, []story{
	{"api", func(c *call) *page {
		p := c.page("api")
		p.Data = newManual(slices.DeleteFunc(operations(), func(o operation) bool {
			return !slices.Contains([]string{"signUp", "getSession", "endOtherSessions", "listActivity", "adminExportRecords", "healthz"}, o.id)
		}))
		return p
	}},
	{"problems", func(c *call) *page {
		p := c.page("problems")
		p.Data = c.listed([]problemText{textOf("bad_credentials"), textOf("address_in_use"), textOf("no_session"), textOf("cookie_unsupported")})
		return p
	}},
	{"problem", func(c *call) *page { return c.explained("bad_credentials") }},
	{"problem-more", func(c *call) *page { return c.explained("session_ended") }},
	{"problem-terminal", func(c *call) *page { return c.explained("address_in_use") }},
	{"home", func(c *call) *page { return c.tellHome("", nil, false) }},
	{"home-guest", func(c *call) *page { return c.tellHome("", nil, true) }},
	{"home-signed-in", func(c *call) *page { return c.tellHome("", ann(), false) }},
	{"home-signed-out", func(c *call) *page { return c.tellHome(c.say("done.signed_out"), nil, false) }},
	{"signin", func(c *call) *page { return c.signIns() }},
	{"signin-return", func(c *call) *page {
		p := c.signIns()
		p.Form.ReturnTo = "/account/sessions"
		return p
	}},
	{"signin-ended", func(c *call) *page { return c.tellOut(session.ErrEnded) }},
	{"signin-expired", func(c *call) *page { return c.tellOut(session.ErrExpired) }},
	{"signin-ambiguous", func(c *call) *page { return c.tellOut(session.ErrAmbiguous) }},
	{"signin-wrong", func(c *call) *page {
		p := c.signIns()
		p.Form.Checked, p.Form.Fields[0].Value = true, "ann@example.org"
		return c.tellWrong(p, "password", account.ErrBadCredentials)
	}},
	{"signin-slowed", func(c *call) *page { return c.tellRefused(c.signIns(), account.ErrGuesses) }},
	{"signin-busy", func(c *call) *page {
		p := c.tellRefused(c.signIns(), account.ErrTooMany)
		p.Form.Refusal.Hint = ""
		return p
	}},
	{"factor", func(c *call) *page {
		return c.factors([]account.FactorKind{account.TOTP, account.Passkey, account.Recovery}, "", toldStep)
	}},
	{"factor-recovery", func(c *call) *page {
		return c.factors([]account.FactorKind{account.TOTP, account.Recovery}, "recovery", toldStep)
	}},
	{"factor-alone", func(c *call) *page { return c.factors([]account.FactorKind{account.TOTP}, "", toldStep) }},
	{"factor-wrong", func(c *call) *page {
		p := c.factors([]account.FactorKind{account.TOTP, account.Recovery}, "", toldStep)
		p.Form.Trusted = true
		return c.tellWrong(p, "code", account.ErrBadFactor)
	}},
	{"lost", func(c *call) *page { return c.lost(nil, toldStep, "") }},
	{"lost-wait", func(c *call) *page {
		return c.lost(&account.FactorLoss{DueAt: toldAt.Add(72 * time.Hour)}, toldStep, "")
	}},
	{"lost-due", func(c *call) *page { return c.lost(&account.FactorLoss{DueAt: toldAt}, toldStep, "") }},
	{"lost-code", func(c *call) *page { return c.lostCode("adm_o_", toldStep, "") }},
	{"stop", func(c *call) *page {
		p := c.page("stop")
		p.Form = &form{Action: "/link", Submit: c.say("stop.submit")}
		return p
	}},
	{"security-lost", func(c *call) *page {
		p := c.tellOverview("lost", &factorList{Apps: make([]factorRow, 1), Any: true, Left: 10})
		p.Data.(*overview).Lost = c.moment(toldAt.Add(72 * time.Hour))
		return p
	}},
	{"factors", func(c *call) *page { return c.tellFactors(8) }},
	{"factors-none", func(c *call) *page {
		p := c.tellFactors(0)
		p.Data = &factorList{}
		return p
	}},
	{"factors-many", func(c *call) *page { return c.tellRefused(c.tellFactors(8), account.ErrManyFactors) }},
	{"totp", func(c *call) *page { return c.tellTOTP() }},
	{"totp-wrong", func(c *call) *page { return c.tellWrong(c.tellTOTP(), "code", account.ErrWrongFactor) }},
	{"codes", func(c *call) *page {
		var codes []admit.Secret
		for _, text := range strings.Fields("k3mx-7qpa-zt2w-hn5b-r7fc-vm5g fy6r-c4ve-l7da-2smo-n4px-q2wb p5tj-wq3n-6xke-yb4z-y5mo-a6cf u2hd-r7fc-vm5g-3tai-k2xe-d4qj e6zk-n4px-q2wb-7djl-t6vh-3oyr h3sv-y5mo-a6cf-rt2u-2fin-z3ub 7gbn-k2xe-d4qj-5wpz-s4ct-h5ky m4la-t6vh-3oyr-c7ks-7qpa-zt2w x5wd-2fin-z3ub-q6gm-c4ve-l7da j7pe-s4ct-h5ky-v2ra-wq3n-6xke") {
			codes = append(codes, admit.NewSecret(text))
		}
		return c.keepsake(ann(), codes, true)
	}},
	{"devices", func(c *call) *page {
		p := c.tellMember("devices", "/account/devices")
		at := func(d time.Duration) moment { return c.moment(toldAt.Add(d)) }
		p.Data = []trustRow{
			{"d1", c.say("device", "Firefox", "Linux"), true, at(-time.Hour), at(29 * 24 * time.Hour)},
			{"d2", c.say("device", "Safari", "iPhone"), false, at(-5 * 24 * time.Hour), at(25 * 24 * time.Hour)},
		}
		return p
	}},
	{"devices-none", func(c *call) *page { return c.tellMember("devices", "/account/devices") }},
	{"security-verify", func(c *call) *page { return c.tellOverview("verify", &factorList{}) }},
	{"security-codes", func(c *call) *page {
		return c.tellOverview("codes", &factorList{Apps: make([]factorRow, 1), Any: true, Left: 2, Devices: 2})
	}},
	{"security-well", func(c *call) *page {
		return c.tellOverview("", &factorList{Apps: make([]factorRow, 1), Any: true, Left: 10})
	}},
	{"confirm-factor", func(c *call) *page {
		p := c.tellConfirm()
		p.Data = []link{{c.say("factor.by.totp"), "/account/confirm?by=totp"}, {c.say("factor.by.recovery"), "/account/confirm?by=recovery"}}
		return p
	}},
	{"signup", func(c *call) *page { return c.signUps(false) }},
	{"signup-return", func(c *call) *page {
		p := c.signUps(false)
		p.Form.ReturnTo = "/account/sessions"
		return p
	}},
	{"signup-missing", func(c *call) *page {
		p := c.signUps(false)
		return c.tellWrong(c.tellWrong(p, "password", errMissing), "identifier", errMissing)
	}},
	{"signup-taken", func(c *call) *page {
		p := c.signUps(false)
		p.Form.Fields[0].Value, p.Form.Fields[1].Value = "ann", "Ann Example"
		return c.tellWrong(p, "identifier", account.ErrTaken)
	}},
	{"setup", func(c *call) *page { return c.signUps(true) }},
	{"verify", func(c *call) *page { return c.verifications(begun{address: "ann@example.org"}) }},
	{"verify-text", func(c *call) *page { return c.verifications(begun{address: "+8613812345678"}) }},
	{"verify-wrong", func(c *call) *page {
		return c.tellWrong(c.verifications(begun{address: "ann@example.org"}), "code", account.ErrBadCode)
	}},
	{"link-here", func(c *call) *page {
		p := c.page("link")
		p.Form = &form{Action: "/link", Submit: p.Title}
		p.Data = struct{ Address, Code string }{"ann@example.org", ""}
		return p
	}},
	{"link-elsewhere", func(c *call) *page {
		p := c.page("link")
		p.Title = c.say("link.code")
		p.Data = struct{ Address, Code string }{"ann@example.org", "204816"}
		return p
	}},
	{"ask", func(c *call) *page { return c.asks() }},
	{"ask-return", func(c *call) *page {
		p := c.asks()
		p.Form.ReturnTo = "/account/sessions"
		return p
	}},
	{"code", func(c *call) *page { return c.codes(asking{to: "ann@example.org"}) }},
	{"code-texted", func(c *call) *page {
		p := c.codes(asking{to: "+4915112345678"})
		p.Form.Texted = true
		return p
	}},
	{"code-wrong", func(c *call) *page {
		return c.tellWrong(c.codes(asking{to: "ann@example.org"}), "code", account.ErrBadCode)
	}},
	{"code-ended", func(c *call) *page {
		return c.tellWrong(c.codes(asking{to: "ann@example.org"}), "code", account.ErrFlowEnded)
	}},
	{"arrive", func(c *call) *page { return c.arrival("ann@example.org", "") }},
	{"elsewhere", func(c *call) *page { return c.tellElsewhere(false) }},
	{"elsewhere-far", func(c *call) *page { return c.tellElsewhere(true) }},
	{"recover", func(c *call) *page { return c.forgots() }},
	{"recover-return", func(c *call) *page {
		p := c.forgots()
		p.Form.ReturnTo = "/account/apps"
		return p
	}},
	{"recover-none", func(c *call) *page { return c.page("recover") }},
	{"recover-member", func(c *call) *page {
		p := c.forgots()
		p.User = ann()
		return p
	}},
	{"recovering", func(c *call) *page { return c.recoveries(begun{address: "ann@example.org"}) }},
	{"recovering-wrong", func(c *call) *page {
		return c.tellWrong(c.recoveries(begun{address: "ann@example.org"}), "code", account.ErrBadCode)
	}},
	{"recovering-text", func(c *call) *page { return c.recoveries(begun{address: "+8613812345678"}) }},
	{"recovery", func(c *call) *page { return c.recoveryLink(account.Link{Target: "ann@example.org"}, begun{}) }},
	{"signout", func(c *call) *page {
		p := c.tellMember("signout", "/signout")
		p.Form = &form{Action: "/signout", Submit: c.say("signout.button")}
		return p
	}},
	{"account", func(c *call) *page { return c.tellAccount(ann()) }},
	{"account-new", func(c *call) *page {
		p := c.tellAccount(&account.User{
			ID: "u", Identifiers: []account.Identifier{{Value: "bea@example.org", Kind: account.Email, Primary: true}}, CreatedAt: toldAt,
		})
		p.Notice = c.say("done.signed_up")
		return p
	}},
	{"account-long", func(c *call) *page {
		u := ann()
		u.Name = strings.Repeat("Donaudampfschifffahrtsgesellschaft", 3)
		return c.tellAccount(u)
	}},
	{"account-saved", func(c *call) *page {
		p := c.tellAccount(ann())
		p.Notice = c.say("done.profile_saved")
		return p
	}},
	{"security-must", func(c *call) *page {
		p := c.tellSecurity()
		p.User.MustChange = true
		return p
	}},
	{"confirm", func(c *call) *page { return c.tellConfirm() }},
	{"confirm-wrong", func(c *call) *page { return c.tellWrong(c.tellConfirm(), "password", account.ErrBadPassword) }},
	{"asked", func(c *call) *page {
		p := c.tellMember("asked", "/account/confirm/asked")
		p.Data = wish{"/account/identifiers", c.say("asked.remove", "ann"), []wished{{"remove", "ann"}}}
		return p
	}},
	{"identifiers", func(c *call) *page { return c.tellNames() }},
	{"identifiers-taken", func(c *call) *page { return c.tellWrong(c.tellNames(), "identifier", account.ErrTaken) }},
	{"identifiers-unverified", func(c *call) *page {
		p := c.tellNames()
		p.User.Identifiers = []account.Identifier{{Value: "ann@example.org", Kind: account.Email, Primary: true}, {Value: "other@example.org", Kind: account.Email}}
		return p
	}},
	{"identifiers-many", func(c *call) *page {
		p := c.tellNames()
		p.User.Identifiers = append(p.User.Identifiers,
			account.Identifier{Value: "second@example.org", Kind: account.Email, Verified: true},
			account.Identifier{Value: "+8613812345678", Kind: account.Phone, Verified: true},
			account.Identifier{Value: "ann.catherine.elisabeth.example-of-a-long-name@mail.department.example.org", Kind: account.Email})
		return p
	}},
	{"addition", func(c *call) *page {
		p := c.tellMember("addition", "/account/identifiers/verify")
		p.Form = c.verifications(begun{}).Form
		p.Form.Action, p.Form.Submit = "/account/identifiers/verify", c.say("addition.submit")
		p.Data = c.sent(begun{address: "new@example.org"})
		return p
	}},
	{"addition-text", func(c *call) *page {
		p := c.tellMember("addition", "/account/identifiers/verify")
		p.Form = c.verifications(begun{}).Form
		p.Form.Action, p.Form.Submit = "/account/identifiers/verify", c.say("addition.submit")
		p.Data = c.sent(begun{address: "+8613812345678"})
		return p
	}},
	{"arrival-here", func(c *call) *page {
		p := c.page("arrival")
		p.Form = &form{Action: "/link", Submit: c.say("addition.submit")}
		p.Data = struct{ Address, Code string }{"new@example.org", ""}
		return p
	}},
	{"arrival-elsewhere", func(c *call) *page {
		p := c.page("arrival")
		p.Title = c.say("link.code")
		p.Data = struct{ Address, Code string }{"new@example.org", "204816"}
		return p
	}},
	{"wayback", func(c *call) *page { return c.ways(account.Link{Target: "ann@example.org"}) }},
	{"disown", func(c *call) *page {
		p := c.tellMember("disown", "/account/activity/disown")
		p.Data = deed{ID: 5, What: event(c.language(), "signed_in"), Device: c.say("device", "Chrome", "Windows"), Address: "198.51.100.23", At: c.moment(toldAt.Add(-time.Hour))}
		return p
	}},
	{"disown-session", func(c *call) *page {
		p := c.tellMember("disown", "/account/activity/disown")
		p.Data = deed{ID: 5, What: event(c.language(), "session_ended"), Of: c.say("sessions.ending", c.say("device", "Safari", "iPhone"), c.moment(toldAt).Full()), At: c.moment(toldAt.Add(-time.Hour))}
		return p
	}},
	{"data", func(c *call) *page {
		p := c.tellMember("data", "/account/data")
		p.Form = &form{
			Action: "/account/data", Submit: c.say("data.delete"),
			Fields: []field{{Name: "confirm", Label: c.say("data.confirm", p.User.Primary()), Type: "text", Complete: "off"}},
		}
		return p
	}},
	{"security", func(c *call) *page { return c.tellSecurity() }},
	{"security-wrong", func(c *call) *page { return c.tellWrong(c.tellSecurity(), "password", account.ErrBadPassword) }},
	{"security-changed", func(c *call) *page {
		p := c.tellSecurity()
		p.Notice = c.say("done.password_changed")
		return p
	}},
	{"sessions", func(c *call) *page { return c.tellSessions(c.tellRows()) }},
	{"sessions-alone", func(c *call) *page { return c.tellSessions(c.tellRows()[:1]) }},
	{"sessions-ended", func(c *call) *page {
		p := c.tellSessions(c.tellRows()[:2])
		p.Notice = c.say("done.session_ended")
		return p
	}},
	{"apikeys", func(c *call) *page { return c.tellKeys() }},
	{"apikeys-none", func(c *call) *page {
		p := c.tellKeys()
		p.Form, p.Data = nil, &keyPage{}
		return p
	}},
	{"apikeys-wrong", func(c *call) *page {
		p := c.tellKeys()
		return c.tellWrong(c.tellWrong(p, "scopes", account.ErrScopes), "name", account.ErrKeyName)
	}},
	{"apikeys-for-nothing", func(c *call) *page { return c.tellWrong(c.tellKeys(), "scopes", account.ErrScopes) }},
	{"apikey", func(c *call) *page {
		p := c.tellMember("apikey", "/account/keys")
		p.Data = &keyPage{Text: "adm_k_0000000000000000000000000000000000000000000000000000", Of: "nightly report"}
		return p
	}},
	{"activity", func(c *call) *page {
		p := c.tellMember("activity", "/account/activity")
		at := func(d time.Duration) moment { return c.moment(toldAt.Add(-d)) }
		firefox := c.say("device", "Firefox", "Linux")
		p.Data = struct {
			Deeds []deed
			Next  string
			Later bool
		}{[]deed{
			{ID: 5, What: event(c.language(), "signed_in"), Device: firefox, Address: "192.0.2.7", At: at(0)},
			{What: event(c.language(), "sign_in_refused"), Device: c.say("device", "Chrome", "Windows"), Address: "198.51.100.23", At: at(25 * time.Minute)},
			{What: event(c.language(), "session_ended"), Of: c.say("sessions.ending", c.say("device", "Safari", "iPhone"), at(50*time.Hour).Full()), Device: firefox, Address: "192.0.2.7", At: at(3 * time.Hour)},
			{What: event(c.language(), "role_granted"), Of: "editor", Operator: true, At: at(26 * time.Hour)},
			{What: event(c.language(), "signed_up"), Device: firefox, Address: "2001:db8:85a3::8a2e:370:7334", At: at(900 * time.Hour)},
		}, "/account/activity?after=1", true}
		return p
	}},
	{"activity-more", func(c *call) *page {
		p := c.tellMember("activity", "/account/activity")
		p.Data = struct {
			Deeds []deed
			Next  string
			Later bool
		}{[]deed{{ID: 5, What: event(c.language(), "signed_in"), At: c.moment(toldAt)}}, "/account/activity?after=1", false}
		return p
	}},
	{"activity-oldest", func(c *call) *page {
		p := c.tellMember("activity", "/account/activity")
		p.Data = struct {
			Deeds []deed
			Next  string
			Later bool
		}{[]deed{{ID: 5, What: event(c.language(), "signed_up"), At: c.moment(toldAt)}}, "", true}
		return p
	}},
	{"activity-none", func(c *call) *page {
		p := c.tellMember("activity", "/account/activity")
		p.Data = struct {
			Deeds []deed
			Next  string
			Later bool
		}{}
		return p
	}},
	{"fault-not-found", func(c *call) *page { return c.tellFault(problem.ErrNotFound) }},
	{"fault-gone", func(c *call) *page { return c.tellFault(account.ErrFlowEnded) }},
	{"fault-busy", func(c *call) *page { return c.tellFault(session.ErrUnavailable) }},
	{"fault-ours", func(c *call) *page { return c.tellFault(errors.New("told")) }},
	{"inbox", func(c *call) *page {
		p := c.page("inbox")
		p.Dev, p.Inbox = true, true
		p.Data = []mail{
			{"ann@example.org", "Your code: 204816", "Somebody, hopefully you, signs up with this address.\n\nThe code is 204816.", "204816", []string{"/link/adm_o_example"}, c.moment(toldAt.Add(-time.Minute))},
			{"+14155552671", "", "Your code for id.example.org is 204816. Nobody from there will ask you for it.\n\n@id.example.org #204816\n", "204816", nil, c.moment(toldAt.Add(-2 * time.Minute))},
			{"bea@example.org", "Your password was changed", "If that was not you, sign in and change it.", "", nil, c.moment(toldAt.Add(-5 * time.Hour))},
		}
		return p
	}},
	{"inbox-none", func(c *call) *page {
		p := c.page("inbox")
		p.Dev, p.Inbox = true, true
		return p
	}},
	{"inbox-shut", func(c *call) *page {
		p := c.tellFault(errInbox)
		p.Dev = true
		return p
	}},
	{"stories", func(c *call) *page {
		p := c.page("stories")
		p.Data = []string{"home", "signin"}
		return p
	}},
})

func ann() *account.User {
	return &account.User{
		ID: "u", Name: "Ann Example", Roles: []string{"admin"}, CreatedAt: toldAt.AddDate(0, -3, 0),
		Identifiers: []account.Identifier{
			{Value: "ann@example.org", Kind: account.Email, Verified: true, Primary: true},
			{Value: "ann", Kind: account.Username, Verified: true},
		},
	}
}

func (c *call) tellHome(notice string, u *account.User, guest bool) *page {
	p := c.page("home")
	p.Notice, p.User = notice, u
	p.Data = struct {
		Name  string
		Guest bool
	}{called(u), guest}
	return p
}

// tellOut is the sign-in page of who had a session.
func (c *call) tellOut(err error) *page {
	p := c.signIns()
	p.Notice, p.Why = c.sentence(err), c.whyOut(err)
	return p
}

func (c *call) told(err error) refusal {
	seen := problem.Of(err)
	return c.refusalOf(seen.Code, refusal{seen.Detail, seen.Hint})
}

func (c *call) tellFault(err error) *page {
	return c.faultPage(&fault{refusal: c.told(err)}, problem.Of(err), err)
}

// tellWrong refuses a field, to which the focus goes.
func (c *call) tellWrong(p *page, name string, err error) *page {
	for i := range p.Form.Fields {
		f := &p.Form.Fields[i]
		if f.Focus = f.Name == name; f.Focus {
			r := c.told(err)
			f.Refusal = &r
		}
	}
	return p
}

// tellRefused refuses the form, for a while where waiting helps.
func (c *call) tellRefused(p *page, err error) *page {
	r := c.told(err)
	if problem.Of(err).Status == http.StatusTooManyRequests {
		r.Hint = c.wait(240)
	}
	p.Form.Refusal = &r
	return p
}

func (c *call) tellMember(name, path string) *page {
	p := c.page(name)
	p.User, p.Path = ann(), path
	return p
}

func (c *call) tellAccount(u *account.User) *page {
	p := c.tellMember("account", "/account")
	p.User = u
	p.Form = &form{
		Action: "/account", Submit: c.say("profile.save"),
		Fields: []field{{Name: "name", Label: c.say("label.name"), Type: "text", Complete: "name", Optional: true, Value: u.Name}},
	}
	p.Data = struct {
		Since  moment
		Spoken []choice
	}{c.moment(u.CreatedAt), c.spoken(u)}
	return p
}

func (c *call) tellConfirm() *page {
	p := c.tellMember("confirm", "/account/confirm")
	p.Form = &form{
		Action: "/account/confirm", Submit: c.say("confirm.submit"), Username: p.User.Primary(),
		Fields: []field{{Name: "password", Label: c.say("label.current"), Type: "password", Complete: "current-password"}},
	}
	return p
}

func (c *call) tellElsewhere(far bool) *page {
	p := c.page("elsewhere")
	p.Data = place{"204816", c.say("device", "Firefox", "Linux"), "192.0.2.7", c.moment(toldAt.Add(-2 * time.Minute)), far}
	return p
}

func (c *call) tellNames() *page {
	p := c.tellMember("identifiers", "/account/identifiers")
	p.Form = &form{
		Action: "/account/identifiers", Submit: c.say("identifiers.submit"), Proof: "identifier",
		Fields: []field{{Name: "identifier", Label: c.say("label.who"), Type: "text", Complete: "off"}},
	}
	return p
}

func (c *call) tellSecurity() *page {
	p := c.tellMember("security", "/account/security")
	p.Form = &form{
		Action: "/account/security", Submit: c.say("security.submit"), Username: p.User.Primary(),
		Fields: []field{
			{Name: "password", Label: c.say("label.current"), Type: "password", Complete: "current-password"},
			c.newPassword("new_password", "label.new"),
		},
	}
	p.Data = &overview{factorList: &factorList{}, Next: "factor", Sessions: 3, Deeds: []deed{
		{ID: 9, What: event(c.language(), "signed_in"), Device: c.say("device", "Firefox", "Linux"), Address: "192.0.2.7", At: c.moment(toldAt.Add(-3 * time.Hour))},
		{ID: 8, What: event(c.language(), "password_changed"), Device: c.say("device", "Safari", "iPhone"), Address: "2001:db8::1", At: c.moment(toldAt.Add(-50 * time.Hour))},
	}}
	return p
}

func (c *call) tellOverview(next string, d *factorList) *page {
	p := c.tellSecurity()
	o := p.Data.(*overview)
	o.Next, o.factorList = next, d
	return p
}

func (c *call) tellFactors(left int) *page {
	p := c.tellMember("factors", "/account/factors")
	at := func(d time.Duration) moment { return c.moment(toldAt.Add(d)) }
	p.Form = &form{Action: "/account/factors"}
	p.Data = &factorList{Any: true, Left: left, Devices: 2, Apps: []factorRow{
		{ID: "f1", Name: "My phone", Added: at(-40 * 24 * time.Hour), Used: at(-2 * time.Hour)},
		{ID: "f2", Name: c.say("factors.app"), Added: at(-time.Hour), Unused: true},
	}}
	return p
}

func (c *call) tellTOTP() *page {
	k, err := otp.Parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", nil) // of RFC 6238
	if err != nil {
		panic(err)
	}
	p, err := c.totps(ann(), &account.NewTOTP{Flow: "adm_o_", Secret: k.Secret(), URI: k.URI("id.example.org", "ann@example.org")})
	if err != nil {
		panic(err)
	}
	p.Path = "/account/factors/totp"
	return p
}

func (c *call) tellRows() []row {
	at := func(d time.Duration) moment { return c.moment(toldAt.Add(-d)) }
	return []row{
		{SID: "s1", Device: c.say("device", "Firefox", "Linux"), Address: "192.0.2.7", Current: true, First: at(3 * time.Hour), Last: at(0)},
		{SID: "s2", Device: c.say("device", "Safari", "iPhone"), Address: "2001:db8:85a3::8a2e:370:7334", First: at(50 * time.Hour), Last: at(40 * time.Minute)},
		{SID: "s3", Device: "curl", Address: "198.51.100.23", Token: true, First: at(700 * time.Hour), Last: at(5 * time.Hour)},
	}
}

func (c *call) tellKeys() *page {
	p := c.tellMember("apikeys", "/account/keys")
	p.Form = c.keyForm(true)
	day := 24 * time.Hour
	d := &keyPage{Ticks: c.ticks(true), Lives: c.lives("90")}
	for _, k := range []account.APIKey{
		{ID: "k1", Name: "nightly report", Scopes: []string{account.ScopeAdminRead, account.ScopeProfile}, CreatedAt: toldAt.Add(-40 * day), ExpiresAt: toldAt.Add(50 * day), LastUsed: toldAt.Add(-7 * time.Hour)},
		{ID: "k2", Name: "orders service", Scopes: []string{account.ScopeFeed}, Audiences: []string{"https://orders.example.org"}, CreatedAt: toldAt.Add(-200 * day)},
		{ID: "k3", Name: "old laptop", Scopes: []string{account.ScopeProfile}, CreatedAt: toldAt.Add(-100 * day), ExpiresAt: toldAt.Add(-10 * day)},
	} {
		d.Rows = append(d.Rows, c.keyRow(&k))
	}
	p.Data = d
	return p
}

func (c *call) tellSessions(rows []row) *page {
	p := c.tellMember("sessions", "/account/sessions")
	p.Data = struct {
		Rows  []row
		Alone bool
	}{rows, len(rows) < 2}
	return p
}

// Kind is the picture that the session's device gets.
func (r row) Kind() string {
	switch {
	case r.Token:
		return "app"
	case strings.Contains(r.Device, "iPhone"), strings.Contains(r.Device, "Android"):
		return "phone"
	}
	return "computer"
}

func (c *call) storiesPage() error {
	if !c.unlocked() {
		return errInbox
	}
	var names []string
	for _, s := range stories {
		names = append(names, s.name)
	}
	p := c.page("stories")
	p.Data = names
	return c.show(http.StatusOK, p)
}

func (c *call) storyPage() error {
	name := c.named("name")
	i := slices.IndexFunc(stories, func(s story) bool { return s.name == name })
	if i < 0 {
		return problem.ErrNotFound
	}
	if !c.unlocked() {
		return errInbox
	}
	t := c.teller(c.views, c.language(), c.r)
	t.w = c.w
	p := stories[i].page(t)
	if c.r.URL.Query().Get("dir") == "rtl" {
		p.Dir = "rtl"
	}
	err := t.show(http.StatusOK, p)
	c.status = t.status
	return err
}
