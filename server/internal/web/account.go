package web

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// The pages of who is signed in.

// member begins a page for who is signed in.
func (c *call) member(name string) (*page, session.Info, error) {
	i, user, err := c.user()
	if err != nil {
		return nil, i, err
	}
	if user.MustChange && name != "security" {
		return nil, i, account.ErrMustChange
	}
	p := c.page(name)
	p.User = user
	return p, i, nil
}

func (c *call) security() (*page, session.Info, error) {
	p, i, err := c.member("security")
	if err != nil {
		return nil, i, err
	}
	p.Form = &form{
		Action: "/account/security", Submit: c.say("security.submit"), Username: p.User.Primary(),
		Fields: []field{
			{Name: "password", Label: c.say("label.current"), Type: "password", Complete: "current-password"},
			c.newPassword("new_password", "label.new"),
		},
	}
	if !p.User.MustChange {
		p.Data, err = c.overview(p.User)
	}
	return p, i, err
}

func (c *call) securityPage() error {
	p, _, err := c.security()
	if err != nil {
		return err
	}
	if p.Form.ReturnTo, err = c.carried(""); err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

func (c *call) securityForm() error {
	p, i, err := c.security()
	if err != nil {
		return err
	}
	in, err := c.input(p.Form)
	if err == nil {
		err = c.changePassword(i, admit.NewSecret(in.Get("password")), admit.NewSecret(in.Get("new_password")))
	}
	if err != nil {
		return c.refuse(p, err)
	}
	if leadsToApp(p.Form.ReturnTo) { // it had to be changed before an application could be let in
		return c.onward(p.Form.ReturnTo)
	}
	return c.done("password_changed", "/account/security")
}

// A row is one of the user's sessions.
type row struct {
	SID, Device, Address string
	Current, Token       bool
	First, Last          moment
}

func (c *call) sessionsPage() error {
	p, i, err := c.member("sessions")
	if err != nil {
		return err
	}
	all, err := c.Sessions.List(c.r.Context(), i.Subject)
	if err != nil {
		return err
	}
	var rows []row
	for _, each := range all {
		r := row{
			SID: each.SID, Device: c.deviceText(each.Device), Address: c.addressText(each.Device.Address),
			Current: each.SID == i.SID, Token: each.Bearer || each.JWT,
			First: c.moment(each.CreatedAt), Last: c.moment(each.LastSeenAt),
		}
		if r.Current {
			rows = append([]row{r}, rows...)
		} else {
			rows = append(rows, r)
		}
	}
	p.Data = struct {
		Rows  []row
		Alone bool
	}{rows, len(rows) < 2}
	return c.show(http.StatusOK, p)
}

// sessionsForm ends the session that it names, or all others.
func (c *call) sessionsForm() error {
	i, _, err := c.user()
	if err != nil {
		return err
	}
	in, err := c.posted()
	if err != nil {
		return err
	}
	const here = "/account/sessions"
	switch sid := in.Get("sid"); {
	case in.Get("all") == "others":
		if err := c.endOthers(i); err != nil {
			return err
		}
		return c.done("other_sessions_ended", here)
	case sid == i.SID:
		if err := c.signOut(); err != nil {
			return err
		}
		return c.done("signed_out", "/")
	default:
		// One that is over already is what was wanted.
		if err := c.endOne(i.Subject, sid); err != nil && !errors.Is(err, admit.NotFound) {
			return err
		}
		return c.done("session_ended", here)
	}
}

// deviceText names a device as its user knows it.
func (c *call) deviceText(d session.Device) string {
	if d.Name != "" {
		return d.Name
	}
	switch browser, system := browserOf(d.UserAgent); {
	case browser != "" && system != "":
		return c.say("device", browser, system)
	case browser != "" || system != "":
		return browser + system
	}
	return c.say("sessions.unknown")
}

// addressText names an address as its user knows it. Behind a proxy of this
// machine everybody comes from a loopback address, so it says no more there.
func (c *call) addressText(address string) string {
	if ip, err := netip.ParseAddr(address); err == nil && ip.Unmap().IsLoopback() && c.local() {
		return c.say("sessions.here")
	}
	return address
}

func (c *call) deed(r account.Record) deed {
	d := deed{ID: r.ID, What: event(c.language(), r.Event), Address: c.addressText(r.Address), Operator: r.Actor == "operator", At: c.moment(r.At)}
	// Which key, role or action: else nobody can say that it was not theirs.
	for _, about := range []string{"identifier_", "way_back_taken", "api_key_", "role_", "approv", "client_"} {
		if strings.HasPrefix(r.Event, about) {
			d.Of = r.Detail
		}
	}
	if r.UserAgent != "" {
		d.Device = c.deviceText(session.Device{UserAgent: r.UserAgent})
	}
	return d
}
