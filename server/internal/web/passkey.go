package web

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// Passkeys: what is asked of authenticators, in the words of WebAuthn, and the
// calls and pages about them.

// browserLife is for how long a browser keeps what the flows of its passkeys are
// bound to. It is set anew with each question, so it is longer than they live.
const browserLife = 24 * time.Hour

// passkeyRefusals are what is wrong with an answer of an authenticator.
var passkeyRefusals = []*admit.Error{
	account.ErrPasskeysOff, account.ErrPasskeyMalformed, account.ErrPasskeyRefused, account.ErrPasskeyUnknown, account.ErrPasskeyElsewhere,
	account.ErrPasskeyUnverified, account.ErrPasskeyCloned, account.ErrPasskeyAlgorithm, account.ErrPasskeyEnded, account.ErrTooMany,
}

// usedPasskey is what is wrong with one that is used: what passkeyRefusals has, but
// for its algorithm.
var usedPasskey = slices.DeleteFunc(slices.Clone(passkeyRefusals), func(e *admit.Error) bool { return e == account.ErrPasskeyAlgorithm })

// steppedPasskey is what is wrong with one after a password, where a touch is enough.
var steppedPasskey = slices.DeleteFunc(slices.Clone(usedPasskey), func(e *admit.Error) bool { return e == account.ErrPasskeyUnverified })

// passkeyCalls are those about passkeys.
func passkeyCalls() []operation {
	const p = apiPrefix
	const answer = `"credential": {"id": "AQID", "rawId": "AQID", "type": "public-key", "response": {"clientDataJSON": "e30"}}`
	return []operation{{
		call: "POST " + p + "signin/passkey/begin", id: "askPasskey", summary: "Ask for a passkey to sign in with",
		about:   "Of whomever: no name is needed. `publicKey` is for `PublicKeyCredential.parseRequestOptionsFromJSON` and `navigator.credentials.get`, also with `mediation: \"conditional\"`. It may be answered for an hour, once, by the browser that asked: it gets a cookie.",
		do:      taking((*call).apiAskPasskey),
		example: `{}`,
		answers: []answers{{200, "What to ask", requestFlow{}}},
		refuses: []*admit.Error{account.ErrPasskeysOff},
	}, {
		call: "POST " + p + "signin/passkey/finish", id: "signInPasskey", summary: "Sign in with a passkey",
		about:   "The authenticator must have verified its user: that is two factors, and no other one is asked for. Its counter must grow, where it has one; one that does not tells of a copy: the passkey is good no more, its owner is told, and all sessions end.",
		do:      taking((*call).apiSignInPasskey),
		example: `{"flow": "…", ` + answer + `}`,
		answers: []answers{{200, "Signed in", signedIn{}}},
		refuses: append([]*admit.Error{errAs, errForeign, errJWTCookie, dpop.ErrProof, dpop.ErrReplayed, dpop.ErrNonce}, usedPasskey...),
	}, {
		call: "POST " + p + "signin/factor/begin", id: "askFactor", summary: "Ask for a passkey as the second step of a sign-in",
		about:   "Where `factors` has `passkey`. The flow of the answer is the one to send to `/api/v1/signin/factor`.",
		do:      taking((*call).apiAskStep),
		example: `{"flow": "adm_o_…", "factor": "passkey"}`,
		answers: []answers{{200, "What to ask", requestFlow{}}},
		refuses: []*admit.Error{account.ErrPasskeysOff, account.ErrFactorEnded, account.ErrFactorKind},
	}, {
		call: "POST " + p + "reauthenticate/begin", id: "askProof", summary: "Ask for a passkey to prove again who asks", session: true,
		about:   "The answer goes to `/api/v1/reauthenticate`.",
		do:      taking((*call).apiAskProof),
		example: `{}`,
		answers: []answers{{200, "What to ask", requestFlow{}}},
		refuses: []*admit.Error{account.ErrPasskeysOff, account.ErrNoPasskey},
	}, {
		call: "GET " + p + "passkeys", id: "listPasskeys", summary: "The passkeys of the user", session: true,
		about:   "Oldest first. `signal` is for `PublicKeyCredential.signalAllAcceptedCredentials`, so that browsers forget those that were removed; it is null where the user never had one.",
		do:      bare((*call).apiPasskeys),
		answers: []answers{{200, "The passkeys", passkeys{}}},
	}, {
		call: "POST " + p + "passkeys/begin", id: "askNewPasskey", summary: "Ask for a new passkey", session: true, proof: account.RecentProof,
		about:   "`publicKey` is for `PublicKeyCredential.parseCreationOptionsFromJSON` and `navigator.credentials.create`. With `silent` it may be answered with `mediation: \"conditional\"`: the browser makes the passkey without asking, right after a password was filled in.",
		do:      taking((*call).apiNewPasskey),
		example: `{}`,
		answers: []answers{{200, "What to ask", creationFlow{}}},
		refuses: []*admit.Error{account.ErrPasskeysOff, account.ErrManyPasskeys},
	}, {
		call: "POST " + p + "passkeys/finish", id: "addPasskey", summary: "Add the new passkey", session: true, proof: account.RecentProof,
		about:   "It signs in by itself from now on, and it will do as a second factor. With `second_factor` it is one: after a password it is asked for.",
		do:      taking((*call).apiAddPasskey),
		example: `{"flow": "…", "name": "My phone", ` + answer + `}`,
		answers: []answers{{201, "Added", addedPasskey{}}},
		refuses: []*admit.Error{
			account.ErrPasskeysOff, account.ErrPasskeyMalformed, account.ErrPasskeyRefused, account.ErrPasskeyElsewhere, account.ErrPasskeyUnverified,
			account.ErrPasskeyAlgorithm, account.ErrPasskeyEnded, account.ErrPasskeyTaken, account.ErrPasskeyName, account.ErrManyPasskeys, account.ErrTooMany,
		},
	}, {
		call: "PATCH " + p + "passkeys/{passkey}", id: "changePasskey", summary: "Rename a passkey, or make it a second factor", session: true,
		about:   "Whether it is asked for after a password may be changed after a recent proof.",
		do:      taking((*call).apiChangePasskey),
		example: `{"name": "Blue key"}`,
		answers: []answers{{200, "The passkey as it is now", addedPasskey{}}},
		refuses: []*admit.Error{account.ErrNoPasskey, account.ErrPasskeyName, account.ErrPasskeyEnded, account.ErrTooMany, admit.ErrProof, account.ErrMustChange},
	}, {
		call: "DELETE " + p + "passkeys/{passkey}", id: "removePasskey", summary: "Remove a passkey", session: true, proof: account.RecentProof,
		about:   "Unless it is the last way in.",
		do:      bare((*call).apiRemovePasskey),
		answers: []answers{{204, "Removed", nil}},
		refuses: []*admit.Error{account.ErrNoPasskey, account.ErrLastWayIn, account.ErrTooMany},
	}}
}

// What is asked, as WebAuthn writes it in JSON (section 5.1.8 and 5.1.9).
type (
	creationOptions struct {
		RelyingParty relyingParty   `json:"rp"`
		User         passkeyUser    `json:"user"`
		Challenge    string         `json:"challenge"`
		Parameters   []keyParameter `json:"pubKeyCredParams"`
		Timeout      int            `json:"timeout" doc:"Milliseconds."`
		Exclude      []descriptor   `json:"excludeCredentials"`
		Selection    selection      `json:"authenticatorSelection"`
		Attestation  string         `json:"attestation" enum:"none"`
	}
	relyingParty struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	passkeyUser struct {
		ID          string `json:"id" doc:"Random, and not the id of the user."`
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
	}
	keyParameter struct {
		Type      string `json:"type" enum:"public-key"`
		Algorithm int    `json:"alg"`
	}
	descriptor struct {
		Type       string   `json:"type" enum:"public-key"`
		ID         string   `json:"id"`
		Transports []string `json:"transports,omitempty"`
	}
	selection struct {
		ResidentKey  string `json:"residentKey" enum:"required"`
		Required     bool   `json:"requireResidentKey" doc:"For browsers that do not know the one above."`
		Verification string `json:"userVerification" enum:"required"`
	}
	requestOptions struct {
		RelyingParty string       `json:"rpId"`
		Challenge    string       `json:"challenge"`
		Timeout      int          `json:"timeout" doc:"Milliseconds."`
		Allow        []descriptor `json:"allowCredentials"`
		Verification string       `json:"userVerification" enum:"required|preferred"`
	}
)

// A requestFlow and a creationFlow are what to ask, and what to send back with the
// answer.
type (
	requestFlow struct {
		Flow      string         `json:"flow"`
		PublicKey requestOptions `json:"publicKey"`
	}
	creationFlow struct {
		Flow      string          `json:"flow"`
		PublicKey creationOptions `json:"publicKey"`
	}
)

// askFor is for how long browsers show their dialog.
const askFor = 5 * 60 * 1000 // milliseconds

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func descriptors(all []*account.PasskeyFactor) []descriptor {
	out := make([]descriptor, len(all))
	for i, p := range all {
		out[i] = descriptor{"public-key", p.ID, p.Transports}
	}
	return out
}

func requestOf(q *account.PasskeyQuestion, verification string) requestFlow {
	return requestFlow{q.Flow, requestOptions{q.Site, base64url(q.Challenge), askFor, descriptors(q.Known), verification}}
}

func (c *call) creationOf(q *account.PasskeyQuestion) creationFlow {
	o := creationOptions{
		RelyingParty: relyingParty{q.Site, c.views.brand}, User: passkeyUser{base64url(q.Handle), q.User.Primary(), called(q.User)},
		Challenge: base64url(q.Challenge), Timeout: askFor, Exclude: descriptors(q.Known),
		Selection: selection{"required", true, "required"}, Attestation: "none",
	}
	for _, alg := range []int{account.ES256, account.EdDSA, account.RS256} {
		o.Parameters = append(o.Parameters, keyParameter{"public-key", alg})
	}
	return creationFlow{q.Flow, o}
}

// An inBrowser is a PublicKeyCredential, as its toJSON returns it. Browsers add
// members to it.
type inBrowser map[string]json.RawMessage

func (b inBrowser) text() []byte {
	text, _ := json.Marshal(b) // it is of JSON already
	return text
}

// browserID returns what the flows of this browser are bound to; "" where it keeps
// nothing.
func (c *call) browserID() string {
	value, err := c.browser.Get(nil, c.r)
	if err != nil {
		return ""
	}
	return string(value)
}

// askPasskey asks this browser for a passkey of whomever.
func (c *call) askPasskey() (*account.PasskeyQuestion, error) {
	id := cmp.Or(c.browserID(), strings.ToLower(rand.Text()))
	q, err := c.Accounts.AskPasskey(id, c.now)
	if err == nil {
		err = c.browser.Set(c.w, []byte(id))
	}
	return q, err
}

func (c *call) apiAskPasskey(*nothing) error {
	q, err := c.askPasskey()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, requestOf(q, "required"))
}

type signInPasskey struct {
	Flow       string    `json:"flow"`
	Credential inBrowser `json:"credential" doc:"What PublicKeyCredential.toJSON returns."`
	presentation
}

func (c *call) apiSignInPasskey(in *signInPasskey) error {
	guise, err := in.guise(c)
	if err != nil {
		return err
	}
	user, amr, err := c.Accounts.SignInPasskey(c.r.Context(), in.Flow, in.Credential.text(), c.browserID(), c.knownOrigin(), c.now)
	if err != nil {
		return err
	}
	s, err := c.arrive(user, guise, in.Remember, amr...)
	if err != nil {
		return err
	}
	return c.signedIn(http.StatusOK, user, s, in.jwtCookie)
}

type askStep struct {
	Flow   string `json:"flow" doc:"Of the answer to the first step."`
	Factor string `json:"factor" enum:"passkey"`
}

func (c *call) apiAskStep(in *askStep) error {
	if in.Factor != string(account.Passkey) {
		return &admit.FieldError{Field: "factor", Err: account.ErrFactorKind}
	}
	q, err := c.Accounts.AskForStep(c.r.Context(), in.Flow, c.browserOf(in.Flow), c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, requestOf(q, "preferred"))
}

func (c *call) apiAskProof(*nothing) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	q, err := c.Accounts.AskForProof(c.r.Context(), a, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, requestOf(q, "required"))
}

// provePasskey is prove with the answer of an authenticator.
func (c *call) provePasskey(flow string, answer json.RawMessage) (*session.Session[Data], error) {
	i, _, err := c.user()
	if err != nil {
		return nil, err
	}
	amr, err := c.Accounts.ProvePasskey(c.r.Context(), c.askerOf(i), flow, answer, c.now)
	if err != nil {
		return nil, err
	}
	return c.proven(i, amr...)
}

// passing is the second step with a code, or with the answer to the flow that
// asked for a passkey.
func (c *call) passing(flow, factor, code string, answer json.RawMessage) (p account.Passing, err error) {
	if account.FactorKind(factor) != account.Passkey {
		return account.Passing{Flow: flow, Browser: c.browserOf(flow), Kind: account.FactorKind(factor), Code: code}, nil
	}
	p, err = c.Accounts.PasskeyStep(c.r.Context(), flow, answer, c.knownOrigin(), c.now)
	p.Browser = c.browserOf(p.Flow)
	return p, err
}

// stepByPasskey puts the question for a passkey on the page of the second step,
// where it is that page's.
func (c *call) stepByPasskey(p *page, h half) error {
	if p.Data.(*factorChoice).By != string(account.Passkey) {
		return nil
	}
	q, err := c.Accounts.AskForStep(c.r.Context(), h.flow, h.browser, c.now)
	if err == nil {
		p.Passkey = c.stepWith(requestOf(q, "preferred"), h.name())
		p.Passkey.ReturnTo = p.Form.ReturnTo
	}
	return err
}

func (c *call) stepWith(o requestFlow, name string) *passkeyForm {
	return &passkeyForm{Kind: "get", Action: "/signin/factor", Step: name, Factor: string(account.Passkey), Flow: o.Flow, Options: optionsText(o.PublicKey), Submit: c.say("passkey.step")}
}

// An OwnPasskey is one as the API shows it.
type OwnPasskey struct {
	ID         string     `json:"id" doc:"The credential's, in base64url."`
	Name       string     `json:"name"`
	Site       string     `json:"rp_id" doc:"The host name that it was made for, and is good at."`
	Good       bool       `json:"good" doc:"It can sign in: it was made for this host name, and nobody seems to have a copy."`
	Cloned     bool       `json:"cloned" doc:"Its counter told of a copy. Remove it."`
	Synced     bool       `json:"synced" doc:"It may be on several devices; otherwise it is bound to one."`
	BackedUp   bool       `json:"backed_up" doc:"It was, when it was used last."`
	Second     bool       `json:"second_factor" doc:"It is asked for after a password."`
	Transports []string   `json:"transports"`
	AAGUID     string     `json:"aaguid" doc:"The kind of authenticator, as it says."`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"Absent of one that was not used yet."`
}

func (c *call) ownPasskey(p *account.PasskeyFactor) OwnPasskey {
	out := OwnPasskey{
		ID: p.ID, Name: p.Name, Site: p.Site, Good: c.Accounts.Good(p), Cloned: !p.ClonedAt.IsZero(), Synced: p.Eligible, BackedUp: p.BackedUp,
		Second: p.Second, Transports: append([]string{}, p.Transports...), CreatedAt: shown(p.CreatedAt),
	}
	if len(p.AAGUID) == 16 {
		out.AAGUID = fmt.Sprintf("%x-%x-%x-%x-%x", p.AAGUID[:4], p.AAGUID[4:6], p.AAGUID[6:8], p.AAGUID[8:10], p.AAGUID[10:])
	}
	if !p.LastUsed.IsZero() {
		at := shown(p.LastUsed)
		out.LastUsedAt = &at
	}
	return out
}

type passkeys struct {
	Passkeys []OwnPasskey  `json:"passkeys"`
	Signal   *acceptedKeys `json:"signal"`
}

// An acceptedKeys is what a browser is told that still works.
type acceptedKeys struct {
	RelyingParty string   `json:"rpId"`
	User         string   `json:"userId"`
	Accepted     []string `json:"allAcceptedCredentialIds"`
}

func (c *call) apiPasskeys() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	all, handle, err := c.Accounts.Passkeys(c.r.Context(), a.Subject)
	if err != nil {
		return err
	}
	out := passkeys{Passkeys: make([]OwnPasskey, len(all)), Signal: c.accepted(all, handle)}
	for i, p := range all {
		out.Passkeys[i] = c.ownPasskey(p)
	}
	return c.json(http.StatusOK, out)
}

func (c *call) accepted(all []*account.PasskeyFactor, handle []byte) *acceptedKeys {
	if handle == nil || !c.Accounts.CanPasskey() {
		return nil
	}
	out := &acceptedKeys{c.public.Hostname(), base64url(handle), []string{}}
	for _, p := range all {
		if c.Accounts.Good(p) {
			out.Accepted = append(out.Accepted, p.ID)
		}
	}
	return out
}

type newPasskey struct {
	Silent bool `json:"silent,omitempty" doc:"The browser may make it without asking."`
}

func (c *call) apiNewPasskey(in *newPasskey) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	q, err := c.Accounts.NewPasskey(c.r.Context(), a, in.Silent, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, c.creationOf(q))
}

type addPasskey struct {
	Flow       string    `json:"flow"`
	Name       string    `json:"name" doc:"What to call it; empty for a name by its authenticator."`
	Credential inBrowser `json:"credential" doc:"What PublicKeyCredential.toJSON returns."`
	Second     bool      `json:"second_factor,omitempty" doc:"It is asked for after a password."`
}

// An addedPasskey is a passkey that has changed.
type addedPasskey struct {
	Passkey OwnPasskey `json:"passkey"`
	Codes   []string   `json:"recovery_codes,omitempty" doc:"Where a second factor is asked for from now on: each stands in for it once. They are shown this once."`
}

func (c *call) apiAddPasskey(in *addPasskey) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	p, codes, err := c.Accounts.AddPasskey(c.r.Context(), a, account.NewPasskeyAnswer{
		Flow: in.Flow, Name: in.Name, Else: deviceName(c.r.UserAgent()), Answer: in.Credential.text(), Second: in.Second,
	}, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, addedPasskey{c.ownPasskey(p), revealed(codes)})
}

type changePasskey struct {
	Name   *string `json:"name,omitempty"`
	Second *bool   `json:"second_factor,omitempty" doc:"It is asked for after a password."`
}

func (c *call) apiChangePasskey(in *changePasskey) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	p, codes, err := c.Accounts.ChangePasskey(c.r.Context(), a, c.named("passkey"), account.PasskeyChange{Name: in.Name, Second: in.Second}, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, addedPasskey{c.ownPasskey(p), revealed(codes)})
}

func (c *call) apiRemovePasskey() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	if err := c.Accounts.RemovePasskey(c.r.Context(), a, c.named("passkey"), c.now); err != nil {
		return err
	}
	return c.noContent()
}

// A passkeyForm is one whose only content an authenticator gives. A script shows
// it, asks, and sends it; without one it stays out of sight.
type passkeyForm struct {
	Kind     string // "get" or "create"; "" where there are signals alone
	Action   string
	Flow     string
	Step     string // the half of a sign-in that it is about, by its name
	Factor   string // that a second step is taken with
	Options  string // in JSON
	ReturnTo string
	Submit   string
	Auto     bool   // the browser may offer it by itself
	Again    string // where to ask anew, after an hour; "" for nowhere
	Choice   bool   // whether it is asked for after a password
	Signals  []signal
}

// A signal tells a browser what became of its passkeys.
type signal struct{ Name, With string }

func newSignal(name string, with any) signal {
	b, _ := json.Marshal(with) // texts alone
	return signal{name, string(b)}
}

func optionsText(o any) string {
	b, _ := json.Marshal(o) // texts and numbers alone
	return string(b)
}

// withPasskey puts the question for a passkey on the page to sign in.
func (c *call) withPasskey(p *page) error {
	if !c.Accounts.CanPasskey() {
		return nil
	}
	q, err := c.askPasskey()
	if err != nil {
		return err
	}
	o := requestOf(q, "required")
	p.Passkey = c.signInWith(o, p.Form.ReturnTo)
	return nil
}

func (c *call) signInWith(o requestFlow, target string) *passkeyForm {
	f := &passkeyForm{
		Kind: "get", Action: "/signin/passkey", Flow: o.Flow, Options: optionsText(o.PublicKey), Submit: c.say("passkey.signin"),
		Auto: true, Again: "/signin", ReturnTo: target,
	}
	if target != "" {
		f.Again += "?" + url.Values{"return_to": {target}}.Encode()
	}
	return f
}

// passkeySignInForm signs in who has answered with a passkey.
func (c *call) passkeySignInForm() error {
	p := c.signIns()
	in, err := c.posted()
	if err != nil {
		return err
	}
	if p.Form.ReturnTo, err = c.returnTo(in.Get("return_to")); err != nil {
		return err
	}
	p.Form.Checked, p.Form.Proof, p.Path = in.Get("remember") != "", "", "/signin"
	user, amr, err := c.Accounts.SignInPasskey(c.r.Context(), in.Get("flow"), []byte(in.Get("credential")), c.browserID(), c.knownOrigin(), c.now)
	if err == nil {
		_, err = c.arrive(user, asCookie, p.Form.Checked, amr...)
	}
	if err == nil && user.MustChange {
		err = account.ErrMustChange
	}
	if err == nil {
		return c.goOn(p.Form.ReturnTo)
	}
	if e := c.withPasskey(p); e != nil {
		return e
	}
	if p.Passkey != nil {
		p.Passkey.Auto = false // what answers by itself would be refused again and again
	}
	if errors.Is(err, account.ErrPasskeyUnknown) {
		p.Passkey.Signals = c.unknownPasskey(in.Get("credential"))
	}
	return c.refuse(p, err)
}

// unknownPasskey tells the browser that it offers in vain what it has answered
// with.
func (c *call) unknownPasskey(answer string) []signal {
	var a struct{ ID string }
	if json.Unmarshal([]byte(answer), &a) != nil {
		return nil
	}
	return []signal{newSignal("UnknownCredential", map[string]string{"rpId": c.public.Hostname(), "credentialId": a.ID})}
}

// A passkeyRow is one of the user's passkeys on the page.
type passkeyRow struct {
	ID, Name             string
	Synced, BackedUp     bool
	Second, Cloned, Good bool
	Site                 string
	Made, Used           moment
	Unused               bool
}

// A passkeyPage is what the page of passkeys shows.
type passkeyPage struct {
	Rows   []passkeyRow
	Recent bool // the proof is: one may be added
	Off    bool // there can be none here
}

func (c *call) passkeyRow(p *account.PasskeyFactor, good bool) passkeyRow {
	return passkeyRow{
		ID: p.ID, Name: p.Name, Synced: p.Eligible, BackedUp: p.BackedUp, Second: p.Second, Cloned: !p.ClonedAt.IsZero(), Good: good, Site: p.Site,
		Made: c.moment(p.CreatedAt), Used: c.moment(p.LastUsed), Unused: p.LastUsed.IsZero(),
	}
}

// ownPasskeys fills a page with the user's own. It tells the browser which still
// work, so that it forgets the others.
func (c *call) ownPasskeys(p *page, a account.Asker, silent bool) error {
	all, handle, err := c.Accounts.Passkeys(c.r.Context(), a.Subject)
	if err != nil {
		return err
	}
	p.Form = &form{Action: "/account/passkeys", Fields: []field{{Name: "name", Label: c.say("passkeys.name"), Optional: true}}}
	d := &passkeyPage{Off: !c.Accounts.CanPasskey(), Recent: c.Accounts.Recent(c.r.Context(), a, c.now) == nil}
	for _, k := range all {
		d.Rows = append(d.Rows, c.passkeyRow(k, c.Accounts.Good(k)))
	}
	p.Data = d
	p.Passkey = &passkeyForm{}
	if accepted := c.accepted(all, handle); accepted != nil {
		p.Passkey.Signals = []signal{
			newSignal("AllAcceptedCredentials", accepted),
			newSignal("CurrentUserDetails", map[string]string{"rpId": accepted.RelyingParty, "userId": accepted.User, "name": p.User.Primary(), "displayName": p.Called()}),
		}
	}
	if d.Off || !d.Recent {
		return nil
	}
	q, err := c.Accounts.NewPasskey(c.r.Context(), a, silent, c.now)
	if errors.Is(err, account.ErrManyPasskeys) {
		return nil
	}
	if err == nil {
		c.createWith(p.Passkey, c.creationOf(q), silent)
	}
	return err
}

func (c *call) createWith(f *passkeyForm, o creationFlow, silent bool) {
	f.Kind, f.Action, f.Flow, f.Options, f.Submit = "create", "/account/passkeys", o.Flow, optionsText(o.PublicKey), c.say("passkeys.add")
	f.Auto, f.Choice = silent, !silent
}

// passkeyList is the page of the user's passkeys.
func (c *call) passkeyList() (*page, account.Asker, error) {
	p, i, err := c.member("passkeys")
	if err != nil {
		return nil, account.Asker{}, err
	}
	return p, c.askerOf(i), c.ownPasskeys(p, c.askerOf(i), false)
}

func (c *call) passkeysPage() error {
	p, _, err := c.passkeyList()
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, p)
}

// passkeysForm adds a passkey, or changes or removes the one that a button names.
func (c *call) passkeysForm() error {
	p, a, err := c.passkeyList()
	if err != nil {
		return err
	}
	in, err := c.posted()
	if err != nil {
		return err
	}
	const here = "/account/passkeys"
	ctx := c.r.Context()
	switch {
	case in.Has("forget"):
		// One that is gone already is what was wanted.
		if err := c.Accounts.RemovePasskey(ctx, a, in.Get("forget"), c.now); err != nil && admit.KindOf(err) != admit.NotFound {
			return c.refuse(p, err)
		}
		return c.done("passkey_removed", here)
	case in.Has("rename"):
		name := in.Get("name")
		if _, _, err := c.Accounts.ChangePasskey(ctx, a, in.Get("rename"), account.PasskeyChange{Name: &name}, c.now); err != nil {
			return c.refuse(p, err)
		}
		return c.done("passkey_renamed", here)
	case in.Has("demand"):
		second := in.Get("second") == "yes"
		_, codes, err := c.Accounts.ChangePasskey(ctx, a, in.Get("demand"), account.PasskeyChange{Second: &second}, c.now)
		switch {
		case err != nil:
			return c.refuse(p, err)
		case len(codes) > 0:
			return c.show(http.StatusOK, c.keepsake(p.User, codes, true))
		case second:
			return c.done("passkey_demanded", here)
		}
		return c.done("passkey_spared", here)
	}
	to, err := c.returnTo(in.Get("return_to"))
	if err != nil {
		return err
	}
	_, codes, err := c.Accounts.AddPasskey(ctx, a, account.NewPasskeyAnswer{
		Flow: in.Get("flow"), Else: c.deviceText(session.Device{UserAgent: c.r.UserAgent()}), Answer: []byte(in.Get("credential")), Second: in.Has("second"),
	}, c.now)
	switch {
	case err != nil:
		return c.refuse(p, err)
	case len(codes) > 0:
		return c.show(http.StatusOK, c.keepsake(p.User, codes, true))
	}
	if leadsToApp(to) {
		return c.onward(to)
	}
	return c.done("passkey_added", cmp.Or(to, here))
}

// offers reports whether who has just signed in with a password may be offered a
// passkey: once in a browser, where it can keep one and the user has none.
func (c *call) offers(user *account.User, able bool) bool {
	if !able || !c.Accounts.CanPasskey() {
		return false
	}
	if _, err := c.offered.Get(c.r); err == nil {
		return false
	}
	all, _, err := c.Accounts.Passkeys(c.r.Context(), user.ID)
	return err == nil && len(all) == 0 // what is only offered must not keep anybody out
}

// passkeyOfferPage offers a passkey, this once.
func (c *call) passkeyOfferPage() error {
	target, err := c.returnTo(c.r.URL.Query().Get("return_to"))
	if err != nil {
		return err
	}
	p, i, err := c.member("passkeyoffer")
	if err == nil {
		err = c.ownPasskeys(p, c.askerOf(i), true)
	}
	if err != nil {
		return err
	}
	target = cmp.Or(target, "/account")
	if p.Passkey.Kind == "" {
		return c.seeOther(target)
	}
	if err := c.offered.Set(c.w, []byte("yes"), 365*24*time.Hour); err != nil {
		return err
	}
	p.Passkey.ReturnTo, p.Form.ReturnTo = target, target
	p.Data = target
	return c.show(http.StatusOK, p)
}

// confirmPasskeyForm is confirmForm with a passkey.
func (c *call) confirmPasskeyForm() error {
	p, i, err := c.confirmation()
	if err != nil {
		return err
	}
	in, err := c.posted()
	if err != nil {
		return err
	}
	if p.Form.ReturnTo, err = c.returnTo(in.Get("return_to")); err != nil {
		return err
	}
	p.Path, p.Form.Proof = "/account/confirm", ""
	if _, err = c.provePasskey(in.Get("flow"), json.RawMessage(in.Get("credential"))); err != nil {
		if e := c.proofByPasskey(p, i); e != nil {
			return e
		}
		return c.refuse(p, err)
	}
	return c.confirmed(p, i)
}

// proofByPasskey puts the question for a passkey on the page that asks for a
// proof, where the user has one.
func (c *call) proofByPasskey(p *page, i session.Info) error {
	if !c.Accounts.CanPasskey() {
		return nil
	}
	q, err := c.Accounts.AskForProof(c.r.Context(), c.askerOf(i), c.now)
	if errors.Is(err, account.ErrNoPasskey) {
		return nil
	}
	if err == nil {
		p.Passkey = c.proveWith(requestOf(q, "required"))
		p.Passkey.ReturnTo = p.Form.ReturnTo
	}
	return err
}

func (c *call) proveWith(o requestFlow) *passkeyForm {
	return &passkeyForm{Kind: "get", Action: "/account/confirm/passkey", Flow: o.Flow, Options: optionsText(o.PublicKey), Submit: c.say("passkey.proof")}
}
