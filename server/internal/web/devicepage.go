package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
)

// The page where people type the code that a device shows (RFC 8628 section 3.3). What
// such a code brings is asked for again and again by whoever began it, wherever that is: a
// stranger who gets somebody to type one is let in. So nothing is decided by a link, and
// the page says from where it was asked for.

const devicePath = "/device"

// userCodes is the page that asks for the code; typed is what a link has brought.
func (c *call) userCodes(user *account.User, typed string) *page {
	p := c.page("usercode")
	p.User, p.UserCode = user, typed
	p.Form = &form{
		Action: devicePath, Submit: c.say("usercode.submit"), Proof: "user_code",
		Fields: []field{{Name: "user_code", Label: c.say("label.usercode"), Type: "text", Complete: "off", Hint: c.say("hint.usercode"), Value: typed, Focus: typed == ""}},
	}
	return p
}

// filledIn is what a link or a page before has filled in, "" for what is no code.
func filledIn(code string) string {
	if code = visible(code); len(code) > 20 {
		return ""
	}
	return code
}

func (c *call) devicePage() error {
	typed := filledIn(c.r.URL.Query().Get("user_code"))
	user, err := c.atDevice(typed)
	if user == nil {
		return err
	}
	// Nothing is looked up yet: a page of somebody else's that leads here could spend the
	// guesses of whoever is signed in.
	return c.show(http.StatusOK, c.userCodes(user, typed))
}

// atDevice returns who is signed in. Nobody is led to the sign-in, and comes back with the
// code.
func (c *call) atDevice(typed string) (*account.User, error) {
	c.w.Header().Set("X-Frame-Options", "DENY") // as the consent page has it, for old browsers
	_, user, err := c.holder()
	switch {
	case unsigned(err):
		to := devicePath
		if typed != "" {
			to += "?" + url.Values{"user_code": {typed}}.Encode()
		}
		return nil, c.seeOther(signInTo(to))
	case err == nil && user.MustChange:
		err = account.ErrMustChange
	}
	if err != nil {
		return nil, err
	}
	return user, nil
}

// deviceForm takes the code, and after that the decision.
func (c *call) deviceForm() error {
	in, err := c.posted()
	if err != nil {
		return err
	}
	typed := filledIn(in.Get("user_code"))
	user, err := c.atDevice(typed)
	if user == nil {
		return err
	}
	p := c.userCodes(user, typed)
	switch decision := in.Get("decision"); {
	case decision == "" && in.Get("flow") == "":
		var d *provider.DeviceRequest
		if in, err = c.input(p.Form); err == nil {
			d, err = c.letsIn.Device(c.byPeople(), in.Get("user_code"))
		}
		if err == nil {
			return c.show(http.StatusOK, c.deviceAsks(d, user))
		}
	case decision != string(provider.Allow) && decision != string(provider.Deny):
		err = provider.ErrDevicePage
	default:
		var d *provider.DeviceRequest
		if d, err = c.letsIn.DecideDevice(c.byPeople(), in.Get("flow"), decision == string(provider.Allow)); err == nil {
			return c.show(http.StatusOK, c.deviceDone(d, user, decision == string(provider.Allow)))
		}
	}
	switch {
	case errors.Is(err, provider.ErrLoginRequired): // a token in a header, or it has ended a moment ago
		return c.seeOther(signInTo(devicePath))
	case errors.Is(err, provider.ErrUserCode), errors.Is(err, provider.ErrDevicePage):
		err = &admit.FieldError{Field: "user_code", Err: err}
	}
	return c.refuse(p, err)
}

// A deviceAsk is what a device asks for.
type deviceAsk struct {
	App, About string // its name, and where people read about it
	Code       string
	Address    string // where it has asked from, "" where that is not known
	Near       bool   // the person is there, too
	At         moment
	New, Had   []permission // what it may not yet, and what it may already
	Resources  []string     // services that it uses with that
	Flow       string
	Another    string // where somebody else signs in
}

func (c *call) deviceAsks(d *provider.DeviceRequest, user *account.User) *page {
	p := c.page("deviceask")
	p.User, p.UserCode = user, d.UserCode
	may, had := c.asksFor(d.Client, d.Scopes, d.New)
	p.Title = c.say("deviceask.asks", nameOf(d.Client))
	p.Data = &deviceAsk{
		App: nameOf(d.Client), About: d.Client.URI, Code: d.UserCode, Address: c.addressText(d.Address), Near: d.Near, At: c.moment(d.Asked.At),
		New: may, Had: had, Resources: d.NewAudiences, Flow: d.Flow(),
		Another: switchTo(devicePath + "?" + url.Values{"user_code": {d.UserCode}}.Encode()),
	}
	return p
}

// deviceDone is the page that says what was decided.
func (c *call) deviceDone(d *provider.DeviceRequest, user *account.User, allowed bool) *page {
	p := c.page("devicedone")
	p.User = user
	if !allowed {
		p.Title = c.say("devicedone.denied")
	}
	p.Data = struct {
		App     string
		Allowed bool
	}{nameOf(d.Client), allowed}
	return p
}
