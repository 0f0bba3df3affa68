package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// The pages of one's own account that are more than looking.

// ownPages are their paths.
func ownPages() map[string]methods {
	return map[string]methods{
		"/account":                    {"GET": (*call).profilePage, "POST": (*call).profileForm},
		"/account/identifiers":        {"GET": (*call).identifiersPage, "POST": (*call).identifiersForm},
		"/account/identifiers/verify": {"GET": (*call).additionPage, "POST": (*call).additionForm},
		"/account/keys":               {"GET": (*call).keysPage, "POST": (*call).keysForm},
		"/account/passkeys":           {"GET": (*call).passkeysPage, "POST": (*call).passkeysForm},
		"/account/passkeys/offer":     {"GET": (*call).passkeyOfferPage},
		"/account/confirm/passkey":    {"GET": func(c *call) error { return c.seeOther("/account/confirm") }, "POST": (*call).confirmPasskeyForm},
		"/account/confirm":            {"GET": (*call).confirmPage, "POST": (*call).confirmForm},
		"/account/confirm/asked":      {"GET": (*call).askedPage},
		"/account/activity":           {"GET": (*call).activityPage},
		"/account/activity/disown":    {"GET": (*call).disownPage, "POST": (*call).disownForm},
		"/account/data":               {"GET": (*call).dataPage, "POST": (*call).dataForm},
		"/account/export":             {"GET": (*call).export},
	}
}

// detour returns where to go first, and come back from, where err says that
// something is needed that a page asks for; "" elsewhere.
func (c *call) detour(err error) string {
	switch {
	case errors.Is(err, account.ErrMustChange):
		if leadsToApp(c.target) {
			return "/account/security?" + url.Values{"return_to": {c.target}}.Encode()
		}
		return "/account/security"
	case errors.Is(err, account.ErrFactor):
		return carrying("/signin/factor", c.target)
	case errors.Is(err, admit.ErrProof):
		to := url.Values{"return_to": {c.r.URL.Path}}
		if needed, ok := errors.AsType[*admit.ProofError](err); ok && needed.ACR != "" {
			to.Set("by", "totp") // a password is not enough
		}
		return "/account/confirm?" + to.Encode()
	}
	return ""
}

// profile is the page on which people say how they are called.
func (c *call) profile() (*page, account.Asker, error) {
	p, i, err := c.member("account")
	if err != nil {
		return nil, account.Asker{}, err
	}
	p.Form = &form{
		Action: "/account", Submit: c.say("profile.save"),
		Fields: []field{{Name: "name", Label: c.say("label.name"), Type: "text", Complete: "name", Optional: true, Value: p.User.Name}},
	}
	p.Data = struct {
		Since  moment
		Spoken []choice
	}{c.moment(p.User.CreatedAt), c.spoken(p.User)}
	return p, c.askerOf(i), nil
}

// spoken are the languages that mail can be written in.
func (c *call) spoken(u *account.User) []choice {
	var all []choice
	for _, l := range languages {
		all = append(all, choice{Tag: l.Tag, Name: l.Name, Current: l.Tag == cmp.Or(u.Locale, "en")})
	}
	return all
}

func (c *call) profilePage() error {
	p, _, err := c.profile()
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

// profileForm keeps the name, or the language.
func (c *call) profileForm() error {
	p, a, err := c.profile()
	if err != nil {
		return err
	}
	in, err := c.input(p.Form)
	var to account.Profile
	if name := in.Get("name"); in.Has("name") {
		to.Name = &name
	}
	if locale := in.Get("locale"); in.Has("locale") {
		to.Locale = &locale
	}
	if err == nil {
		_, err = c.Accounts.SetProfile(c.r.Context(), a, to, c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	return c.done("profile_saved", "/account")
}

// names is the page of what the user signs in with.
func (c *call) names() (*page, account.Asker, error) {
	p, i, err := c.member("identifiers")
	if err != nil {
		return nil, account.Asker{}, err
	}
	p.Form = &form{
		Action: "/account/identifiers", Submit: c.say("identifiers.submit"), Proof: "identifier",
		Fields: []field{{Name: "identifier", Label: c.who(c.Accounts.CanMail()), Type: "text", Complete: "off"}},
	}
	return p, c.askerOf(i), nil
}

func (c *call) identifiersPage() error {
	p, _, err := c.names()
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

// identifiersForm adds a name, or changes the one that a button names.
func (c *call) identifiersForm() error {
	p, a, err := c.names()
	if err != nil {
		return err
	}
	in, err := c.posted()
	if err != nil {
		return err
	}
	const here = "/account/identifiers"
	if value := in.Get("primary"); value != "" {
		if _, err := c.Accounts.MakePrimary(c.r.Context(), a, value, c.now); err != nil {
			return c.refuse(p, err)
		}
		return c.done("identifier_primary_set", here)
	}
	if value := in.Get("remove"); value != "" {
		if _, err := c.Accounts.RemoveIdentifier(c.r.Context(), a, value, c.now); err != nil {
			return c.refuse(p, err)
		}
		return c.done("identifier_removed", here)
	}
	_, err = c.input(p.Form)
	var user *account.User
	var flow string
	if err == nil {
		user, flow, err = c.Accounts.AddIdentifier(c.r.Context(), a, in.Get("identifier"), c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	if user != nil {
		return c.done("identifier_added", here)
	}
	id, err := account.ParseIdentifier(in.Get("identifier"))
	if err != nil {
		return err
	}
	if err := c.flow.Set(c.w, []byte(flow+" "+id.Value+" ")); err != nil {
		return err
	}
	return c.seeOther("/account/identifiers/verify")
}

// addition is the page that asks for the code of an address on its way.
func (c *call) addition() (*page, account.Asker, begun, error) {
	p, i, err := c.member("addition")
	if err != nil {
		return nil, account.Asker{}, begun{}, err
	}
	b, ok := c.begun()
	if !ok {
		return nil, account.Asker{}, b, account.ErrFlowEnded
	}
	p.Form = c.verifications(b).Form
	p.Form.Action, p.Form.Submit = "/account/identifiers/verify", c.say("addition.submit")
	p.Data = c.sent(b)
	return p, c.askerOf(i), b, nil
}

func (c *call) additionPage() error {
	p, _, _, err := c.addition()
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

func (c *call) additionForm() error {
	p, a, b, err := c.addition()
	if err != nil {
		return err
	}
	in, err := c.input(p.Form)
	if err == nil {
		_, err = c.Accounts.VerifyIdentifier(c.r.Context(), a, b.flow, in.Get("code"), c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	return c.added()
}

func (c *call) added() error {
	c.flow.Delete(c.w)
	c.link.Delete(c.w)
	return c.done("identifier_added", "/account/identifiers")
}

// additionLink is where the link to a new address arrives: a button in the
// browser that asked, elsewhere the code to type there.
func (c *call) additionLink(l account.Link) error {
	b, ok := c.begun()
	p := c.page("arrival")
	if ok && account.FlowID(b.flow) == l.ID {
		p.Form = &form{Action: "/link", Submit: c.say("addition.submit")}
	} else {
		p.Title = c.say("link.code")
	}
	p.Data = struct{ Address, Code string }{l.Target, l.Code}
	return c.show(http.StatusOK, p)
}

func (c *call) additionLinkForm(text string) error {
	if _, err := c.posted(); err != nil {
		return err
	}
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	b, _ := c.begun()
	if _, err := c.Accounts.VerifyIdentifierLink(c.r.Context(), a, b.flow, text, c.now); err != nil {
		return err
	}
	return c.added()
}

// ways is where the way back of an address arrives. To open it does nothing:
// scanners do. A new password and a press of the button spend it.
func (c *call) ways(l account.Link) *page {
	p := c.page("wayback")
	p.Form = &form{
		Action: "/link", Submit: c.say("wayback.submit"), Username: l.Target,
		Fields: []field{c.newPassword("new_password", "label.new")},
	}
	p.Data = struct{ Address string }{l.Target}
	return p
}

func (c *call) wayBackForm(text string, l account.Link) error {
	p := c.ways(l)
	in, err := c.input(p.Form)
	if err == nil {
		err = c.Accounts.WayBack(c.r.Context(), text, admit.NewSecret(in.Get("new_password")), c.origin(), c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	c.link.Delete(c.w)
	return c.done("way_back_taken", "/signin")
}

// confirmation is the page that asks who is signed in for the password again.
func (c *call) confirmation() (*page, session.Info, error) {
	p, i, err := c.member("confirm")
	if err != nil {
		return nil, i, err
	}
	// Also what was posted says by what.
	f, hidden, ways, err := c.proofs(p.User, c.r.FormValue("by"))
	if err != nil {
		return nil, i, err
	}
	p.Form = &form{Action: "/account/confirm", Submit: c.say("confirm.submit"), Username: p.User.Primary(), Fields: []field{f}, Hidden: hidden}
	if to := c.r.FormValue("return_to"); leadsToApp(to) {
		ways = append(ways, link{c.say("choose.other"), switchTo(to)})
	}
	p.Data = ways
	return p, i, nil
}

func (c *call) confirmPage() error {
	p, i, err := c.confirmation()
	if err != nil {
		return err
	}
	if p.Form.ReturnTo, err = c.returnTo(c.r.URL.Query().Get("return_to")); err != nil {
		return err
	}
	if err := c.proofByPasskey(p, i); err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

func (c *call) confirmForm() error {
	if _, err := c.posted(); err != nil {
		return err
	}
	p, i, err := c.confirmation()
	if err != nil {
		return err
	}
	in, err := c.input(p.Form)
	switch {
	case err != nil:
	case p.Form.Hidden != nil:
		_, err = c.proveBy(account.Passing{Kind: account.FactorKind(in.Get("by")), Code: in.Get("code")})
	default:
		_, err = c.prove(admit.NewSecret(in.Get("password")))
	}
	if err != nil {
		return c.refuse(p, err)
	}
	return c.confirmed(p, i)
}

// confirmed leads on who has just proved again who it is.
func (c *call) confirmed(p *page, i session.Info) error {
	if w, ok := c.wish(i.SID); ok && w.Action == p.Form.ReturnTo {
		return c.done("confirmed", "/account/confirm/asked")
	}
	if leadsToApp(p.Form.ReturnTo) {
		return c.onward(p.Form.ReturnTo)
	}
	if p.Form.ReturnTo == "/account/export" {
		// A download leaves the page as it is, so there must be one.
		return c.done("confirmed", "/account/data")
	}
	return c.done("confirmed", cmp.Or(p.Form.ReturnTo, "/account"))
}

// A deed is one record of the audit.
type deed struct {
	ID                    int64
	What, Device, Address string
	Of                    string // the name, or the session that was ended, where it is known
	Operator              bool
	At                    moment
}

func (c *call) activityPage() error {
	p, i, err := c.member("activity")
	if err != nil {
		return err
	}
	after, err := number(c.r.URL.Query().Get("after"), "after", 0, 1, 1<<62)
	if err != nil {
		return err
	}
	records, err := c.Accounts.Activity(c.r.Context(), i.Subject, after, fewRecords+1)
	if err != nil {
		return err
	}
	var next string
	if len(records) > fewRecords {
		records = records[:fewRecords]
		next = "/account/activity?after=" + strconv.FormatInt(records[fewRecords-1].ID, 10)
	}
	begun := map[string]account.Record{} // by the session's id
	for _, r := range records {
		if r.Event == "signed_in" {
			begun[r.SID] = r
		}
	}
	var deeds []deed
	for _, r := range records {
		d := c.deed(r)
		if of, ok := begun[r.SID]; ok && r.Event == "session_ended" {
			d.Of = c.say("sessions.ending", c.deed(of).Device, c.moment(of.At).Full())
		}
		deeds = append(deeds, d)
	}
	p.Data = struct {
		Deeds []deed
		Next  string
		Later bool // there is a newer page
	}{deeds, next, after > 0}
	return c.show(http.StatusOK, p)
}

func (c *call) disownPage() error {
	p, i, err := c.member("disown")
	if err != nil {
		return err
	}
	id, err := number(c.r.URL.Query().Get("entry"), "entry", 0, 1, 1<<62)
	if err != nil {
		return err
	}
	found, err := c.Accounts.Activity(c.r.Context(), i.Subject, id+1, 1)
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].ID != id {
		return account.ErrNoRecord
	}
	p.Data = c.deed(found[0])
	return c.show(http.StatusOK, p)
}

func (c *call) disownForm() error {
	in, err := c.posted()
	if err != nil {
		return err
	}
	if err := c.disown(in.Get("entry")); err != nil {
		return err
	}
	return c.done("disowned", "/signin")
}

// data is the page to take one's data along, or away.
func (c *call) data() (*page, error) {
	p, _, err := c.member("data")
	if err != nil {
		return nil, err
	}
	p.Form = &form{
		Action: "/account/data", Submit: c.say("data.delete"),
		Fields: []field{{Name: "confirm", Label: c.say("data.confirm", p.User.Primary()), Type: "text", Complete: "off"}},
	}
	return p, nil
}

func (c *call) dataPage() error {
	p, err := c.data()
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

func (c *call) dataForm() error {
	p, err := c.data()
	if err != nil {
		return err
	}
	in, err := c.input(p.Form)
	if err == nil {
		err = c.deleteUser(in.Get("confirm"))
	}
	if err != nil {
		return c.refuse(p, err)
	}
	return c.done("user_deleted", "/")
}
