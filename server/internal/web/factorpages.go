package web

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
	"rsc.io/qr"
)

// The pages of one's own factors, and the overview of what keeps an account safe.

// factorPages are their paths.
func factorPages() map[string]methods {
	return map[string]methods{
		"/account/factors":      {"GET": (*call).factorsPage, "POST": (*call).factorsForm},
		"/account/factors/totp": {"GET": func(c *call) error { return c.seeOther("/account/factors") }, "POST": (*call).totpForm},
		"/account/devices":      {"GET": (*call).devicesPage, "POST": (*call).devicesForm},
	}
}

// A factorRow is one of the user's factors.
type factorRow struct {
	ID, Name string
	Added    moment
	Used     moment
	Unused   bool
}

// A factorList is what the page of factors shows.
type factorList struct {
	Apps    []factorRow
	Any     bool // there is a second factor
	Left    int  // recovery codes
	Devices int
}

func (c *call) factorRow(f *account.Factor) factorRow {
	name := f.Name
	if name == "" {
		name = c.say("factors.app")
	}
	return factorRow{f.ID, name, c.moment(f.CreatedAt), c.moment(f.LastUsed), f.LastUsed.IsZero()}
}

// factorList sums up a user's factors.
func (c *call) factorList(factors []*account.Factor) *factorList {
	d := &factorList{}
	for _, f := range factors {
		switch f.Kind {
		case account.TOTP:
			d.Apps, d.Any = append(d.Apps, c.factorRow(f)), true
		case account.Passkey:
			d.Any = true
		case account.Recovery:
			d.Left = f.CodesLeft()
		case account.Trusted:
			if c.now.Before(f.ExpiresAt) {
				d.Devices++
			}
		}
	}
	return d
}

func (c *call) ownFactors() (*page, account.Asker, error) {
	p, i, err := c.member("factors")
	if err != nil {
		return nil, account.Asker{}, err
	}
	factors, err := c.Accounts.FactorsOf(c.r.Context(), i.Subject)
	if err != nil {
		return nil, account.Asker{}, err
	}
	p.Data = c.factorList(factors)
	p.Form = &form{Action: "/account/factors"} // where what is refused is said
	return p, c.askerOf(i), nil
}

func (c *call) factorsPage() error {
	p, _, err := c.ownFactors()
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

// factorsForm begins to add an app, removes the factor that a button names, or
// makes recovery codes.
func (c *call) factorsForm() error {
	p, a, err := c.ownFactors()
	if err != nil {
		return err
	}
	in, err := c.posted()
	if err != nil {
		return err
	}
	switch {
	case in.Get("begin") == "totp":
		n, err := c.Accounts.BeginTOTP(c.r.Context(), a, c.now)
		if err != nil {
			return c.refuse(p, err)
		}
		made, err := c.totps(p.User, n)
		if err != nil {
			return err
		}
		return c.show(http.StatusOK, made)
	case in.Get("stop") != "":
		if err := c.Accounts.StopOwnLoss(c.r.Context(), a, c.now); err != nil {
			return err
		}
		return c.done("factor_loss_stopped", "/account/security")
	case in.Get("codes") != "":
		codes, err := c.Accounts.RenewRecovery(c.r.Context(), a, c.now)
		if err != nil {
			return c.refuse(p, err)
		}
		return c.show(http.StatusOK, c.keepsake(p.User, codes, false))
	default:
		if err := c.Accounts.RemoveFactor(c.r.Context(), a, account.TOTP, in.Get("drop"), c.now); err != nil {
			return c.refuse(p, err)
		}
		return c.done("factor_removed", "/account/factors")
	}
}

// A picture is a QR code: the sides of its square, with the quiet zone, and the
// path of what is dark.
type picture struct {
	Side int
	Path string
}

// quietZone is the width of what must stay white around (ISO/IEC 18004).
const quietZone = 4

// pictureOf draws a text as a QR code.
func pictureOf(text string) (picture, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return picture{}, err
	}
	var b []byte
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			if !code.Black(x, y) {
				continue
			}
			from := x
			for x+1 < code.Size && code.Black(x+1, y) {
				x++
			}
			b = appendRun(b, from+quietZone, y+quietZone, x-from+1)
		}
	}
	return picture{code.Size + 2*quietZone, string(b)}, nil
}

// appendRun appends a dark run of a row to a path.
func appendRun(b []byte, x, y, n int) []byte { return fmt.Appendf(b, "M%d %dh%dv1h-%dz", x, y, n, n) }

// A totpPage is what is shown once to who adds an app.
type totpPage struct {
	QR     picture
	Secret []string     // in groups of four, as it is typed
	Link   template.URL // opens an app on this device; its scheme is none that html/template knows
}

// totps is the page that shows a new key and asks for its first code.
func (c *call) totps(user *account.User, n *account.NewTOTP) (*page, error) {
	drawn, err := pictureOf(n.URI.Reveal())
	if err != nil {
		return nil, err
	}
	p := c.page("totp")
	p.User = user
	p.Data = &totpPage{QR: drawn, Secret: groups(n.Secret.Reveal()), Link: template.URL(n.URI.Reveal())}
	p.Form = &form{
		Action: "/account/factors/totp", Submit: c.say("totp.submit"), Proof: "code", Hidden: []wished{{"flow", n.Flow}},
		Fields: []field{
			{Name: "code", Label: c.say("factor.totp"), Type: "text", Complete: "one-time-code", Hint: c.say("totp.hint"), Digits: true},
			{Name: "name", Label: c.say("totp.name"), Type: "text", Complete: "off", Optional: true, Hint: c.say("totp.named")},
		},
	}
	return p, nil
}

func groups(text string) (all []string) {
	for four := range slices.Chunk([]byte(text), 4) {
		all = append(all, string(four))
	}
	return all
}

func (c *call) totpForm() error {
	own, a, err := c.ownFactors()
	if err != nil {
		return err
	}
	posted, err := c.posted()
	if err != nil {
		return err
	}
	n, err := c.Accounts.PeekTOTP(c.r.Context(), a, posted.Get("flow"), c.now)
	if err != nil {
		return err
	}
	p, err := c.totps(own.User, n)
	if err != nil {
		return err
	}
	in, err := c.input(p.Form)
	var codes []admit.Secret
	if err == nil {
		_, codes, err = c.Accounts.ConfirmTOTP(c.r.Context(), a, n.Flow, in.Get("code"), in.Get("name"), c.now)
	}
	if err != nil {
		return c.refuse(p, err)
	}
	if len(codes) == 0 {
		return c.done("factor_added", "/account/factors")
	}
	return c.show(http.StatusOK, c.keepsake(own.User, codes, true))
}

// A codesPage is what is shown once to who has new recovery codes.
type codesPage struct {
	Codes []string
	First bool // the account has just got its first second factor
}

func (c *call) keepsake(user *account.User, codes []admit.Secret, first bool) *page {
	p := c.page("codes")
	p.User, p.Data = user, &codesPage{revealed(codes), first}
	if first {
		p.Notice = c.say("done.factor_added")
	}
	return p
}

// A trustRow is a device that the user trusts.
type trustRow struct {
	ID, Device string
	Current    bool
	Since      moment
	Until      moment
}

// Kind is the picture that the device gets.
func (r trustRow) Kind() string { return row{Device: r.Device}.Kind() }

func (c *call) devicesPage() error {
	p, i, err := c.member("devices")
	if err != nil {
		return err
	}
	all, err := c.Accounts.Trusts(c.r.Context(), i.Subject, c.now)
	if err != nil {
		return err
	}
	var rows []trustRow
	for _, f := range all {
		rows = append(rows, trustRow{f.ID, c.deviceText(session.Device{UserAgent: f.Name}), f.IsTrustedBy(c.trustTokens()), c.moment(f.CreatedAt), c.moment(f.ExpiresAt)})
	}
	p.Data = rows
	return c.show(http.StatusOK, p)
}

func (c *call) devicesForm() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	in, err := c.posted()
	if err != nil {
		return err
	}
	id := in.Get("device")
	if id == "" && in.Get("all") == "" {
		return account.ErrUnknownDevice
	}
	// One that is trusted no more is what was wanted.
	if err := c.Accounts.Distrust(c.r.Context(), a, id, c.now); err != nil && admit.KindOf(err) != admit.NotFound {
		return err
	}
	return c.done("device_distrusted", "/account/devices")
}

// An overview is what keeps an account safe, at a glance.
type overview struct {
	*factorList
	Next     string // the next sensible step: "lost", "verify", "factor", "codes", "" for none
	Sessions int
	Lost     moment // when its factors can be removed, with "lost"
	Deeds    []deed // the latest
}

// fewDeeds are shown on the overview.
const fewDeeds = 3

// overview looks at everything once.
func (c *call) overview(user *account.User) (*overview, error) {
	ctx := c.r.Context()
	factors, err := c.Accounts.FactorsOf(ctx, user.ID)
	if err != nil {
		return nil, err
	}
	all, err := c.Sessions.List(ctx, user.ID)
	if err != nil {
		return nil, err
	}
	records, err := c.Accounts.Activity(ctx, user.ID, 0, fewDeeds)
	if err != nil {
		return nil, err
	}
	d := &overview{factorList: c.factorList(factors), Sessions: len(all)}
	d.Next = next(user, d.factorList)
	loss, err := c.Accounts.LossOf(ctx, user.ID)
	if err != nil {
		return nil, err
	}
	if loss != nil {
		d.Next, d.Lost = "lost", c.moment(loss.DueAt) // who is signed in here may know nothing of it
	}
	for _, r := range records {
		d.Deeds = append(d.Deeds, c.deed(r))
	}
	return d, nil
}

// next is the next sensible step: one at a time, the most pressing first.
func next(user *account.User, d *factorList) string {
	unproved := func(id account.Identifier) bool { return !id.Verified }
	switch {
	case slices.ContainsFunc(user.Identifiers, unproved):
		return "verify" // somebody else may take the account by it
	case !d.Any:
		return "factor"
	case d.Left < 3:
		return "codes"
	}
	return ""
}

// proofs are what the page that asks again who somebody is offers.
func (c *call) proofs(user *account.User, by string) (field, []wished, []link, error) {
	pw := field{Name: "password", Label: c.say("label.current"), Type: "password", Complete: "current-password"}
	factors, err := c.Accounts.FactorsOf(c.r.Context(), user.ID)
	if err != nil {
		return pw, nil, nil, err
	}
	d := c.factorList(factors)
	to := func(by string) string {
		return "/account/confirm?" + url.Values{"by": {by}, "return_to": {c.r.URL.Query().Get("return_to")}}.Encode()
	}
	var ways []link
	offer := func(name, text string, there bool) {
		if there && by != name {
			ways = append(ways, link{text, to(name)})
		}
	}
	offer("password", c.say("confirm.password"), by != "")
	offer("totp", c.say("factor.by.totp"), len(d.Apps) > 0)
	offer("recovery", c.say("factor.by.recovery"), d.Left > 0)
	switch {
	case by == "totp" && len(d.Apps) > 0:
		return field{Name: "code", Label: c.say("factor.totp"), Type: "text", Complete: "one-time-code", Hint: c.say("factor.totp.hint"), Digits: true, Focus: true}, []wished{{"by", by}}, ways, nil
	case by == "recovery" && d.Left > 0:
		return field{Name: "code", Label: c.say("factor.recovery"), Type: "text", Complete: "off", Hint: c.say("factor.recovery.hint"), Focus: true}, []wished{{"by", by}}, ways, nil
	}
	return pw, nil, slices.DeleteFunc(ways, func(l link) bool { return strings.Contains(l.URL, "by=password") }), nil
}
