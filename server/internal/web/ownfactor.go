package web

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// The API of one's own factors, and of proving again by any of them.

// ownFactorCalls are those about authenticator apps, recovery codes and trusted
// devices.
func ownFactorCalls() []operation {
	const p = apiPrefix
	return []operation{{
		call: "GET " + p + "totp", id: "listTOTP", summary: "The authenticator apps of the user", session: true,
		do:      bare((*call).apiTOTPs),
		answers: []answers{{200, "The apps, oldest first", totps{}}},
	}, {
		call: "POST " + p + "totp", id: "beginTOTP", summary: "Begin to add an authenticator app", session: true, proof: account.RecentProof,
		about:   "The secret counts for nothing until a first code of it was shown, within 10 minutes.",
		do:      taking((*call).apiBeginTOTP),
		example: `{}`,
		answers: []answers{{201, "What to put into the app", newTOTP{}}},
		refuses: []*admit.Error{account.ErrManyFactors, account.ErrTooMany},
	}, {
		call: "POST " + p + "totp/verify", id: "verifyTOTP", summary: "Add an authenticator app by a first code", session: true, proof: account.RecentProof,
		about:   "From now on a sign-in needs two steps, but by a passkey. Who has no recovery codes yet gets them. No device is trusted any more, and the owner is told by mail.",
		do:      taking((*call).apiVerifyTOTP),
		example: `{"flow": "adm_o_…", "code": "123456", "name": "My phone"}`,
		answers: []answers{{201, "The app, and recovery codes where there were none", addedTOTP{}}},
		refuses: []*admit.Error{account.ErrWrongFactor, account.ErrFactorEnded, account.ErrManyFactors, account.ErrFactorNameTL, account.ErrTooMany},
	}, {
		call: "PATCH " + p + "totp/{factor}", id: "renameTOTP", summary: "Give an authenticator app a name", session: true, proof: account.RecentProof,
		do:      taking((*call).apiRenameTOTP),
		example: `{"name": "My old phone"}`,
		answers: []answers{{200, "The app", oneTOTP{}}},
		refuses: []*admit.Error{account.ErrUnknownFactor, account.ErrFactorNameTL, account.ErrTooMany},
	}, {
		call: "DELETE " + p + "totp/{factor}", id: "removeTOTP", summary: "Remove an authenticator app", session: true, proof: account.RecentProof,
		about:   "With the last factor the recovery codes go, and a sign-in has one step again.",
		do:      bare((*call).apiRemoveTOTP),
		answers: []answers{{204, "Removed", nil}},
		refuses: []*admit.Error{account.ErrUnknownFactor, account.ErrTooMany},
	}, {
		call: "GET " + p + "recovery-codes", id: "getRecoveryCodes", summary: "How many recovery codes are left", session: true,
		do:      bare((*call).apiRecoveryCodes),
		answers: []answers{{200, "How many, and since when", recoveryLeft{}}},
	}, {
		call: "POST " + p + "recovery-codes", id: "makeRecoveryCodes", summary: "Make new recovery codes", session: true, proof: account.RecentProof,
		about:   "Ten, shown this once. Those from before are void.",
		do:      taking((*call).apiMakeRecoveryCodes),
		example: `{}`,
		answers: []answers{{201, "The codes", recoveryMade{}}},
		refuses: []*admit.Error{account.ErrNoFactor, account.ErrTooMany},
	}, {
		call: "GET " + p + "devices", id: "listDevices", summary: "The devices that the user trusts", session: true,
		about:   "They are not asked for a second factor.",
		do:      bare((*call).apiDevices),
		answers: []answers{{200, "The devices, latest first", trustedDevices{}}},
	}, {
		call: "DELETE " + p + "devices", id: "distrustDevices", summary: "Trust no device any more", session: true,
		do:      bare((*call).apiDistrustAll),
		answers: []answers{{204, "Done", nil}},
	}, {
		call: "DELETE " + p + "devices/{device}", id: "distrustDevice", summary: "Trust a device no more", session: true,
		do:      bare((*call).apiDistrust),
		answers: []answers{{204, "Done", nil}},
		refuses: []*admit.Error{account.ErrUnknownDevice},
	}, {
		call: "POST " + p + "reauthenticate", id: "reauthenticate", summary: "Prove again who asks", session: true,
		about:   "What changes the account asks for a recent proof: one that is at most 10 minutes old, by the session's `auth_time`. This makes it now, with the password or any factor of the user, and the session has another cookie, or another token, from then on. The refusal of code `proof_needed` carries the challenge of RFC 9470.",
		do:      taking((*call).apiReauthenticate),
		example: `{"password": "correct horse battery"}`,
		answers: []answers{{200, "The session", proved{}}},
		refuses: append([]*admit.Error{account.ErrBadPassword, account.ErrWrongFactor, account.ErrFactorKind, password.ErrBusy}, usedPasskey...),
	}}
}

// A TOTP is an authenticator app as the API shows it.
type TOTP struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
}

// TOTPOf returns f as the API shows it.
func TOTPOf(f *account.Factor) TOTP {
	return TOTP{f.ID, f.Name, shown(f.CreatedAt), whenShown(f.LastUsed)}
}

func whenShown(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = shown(t)
	return &t
}

type totps struct {
	TOTP []TOTP `json:"totp"`
}

func (c *call) apiTOTPs() error {
	_, user, err := c.asker()
	if err != nil {
		return err
	}
	factors, err := c.Accounts.FactorsOf(c.r.Context(), user.ID)
	if err != nil {
		return err
	}
	out := totps{[]TOTP{}}
	for _, f := range factors {
		if f.Kind == account.TOTP {
			out.TOTP = append(out.TOTP, TOTPOf(f))
		}
	}
	return c.json(http.StatusOK, out)
}

type newTOTP struct {
	Flow   string `json:"flow" doc:"What the first code is sent with."`
	Secret string `json:"secret" doc:"In base32, for people who type it."`
	URI    string `json:"uri" doc:"otpauth://…, for a QR code."`
}

func (c *call) apiBeginTOTP(*nothing) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	n, err := c.Accounts.BeginTOTP(c.r.Context(), a, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, newTOTP{n.Flow, n.Secret.Reveal(), n.URI.Reveal()})
}

type verifyTOTP struct {
	Flow string `json:"flow"`
	Code string `json:"code" doc:"The six digits that the app shows."`
	Name string `json:"name,omitempty" doc:"What the user calls it."`
}

type addedTOTP struct {
	TOTP          TOTP     `json:"totp"`
	RecoveryCodes []string `json:"recovery_codes,omitempty" doc:"Shown this once."`
}

func (c *call) apiVerifyTOTP(in *verifyTOTP) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	f, codes, err := c.Accounts.ConfirmTOTP(c.r.Context(), a, in.Flow, in.Code, in.Name, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, addedTOTP{TOTPOf(f), revealed(codes)})
}

func revealed(secrets []admit.Secret) []string {
	var all []string
	for _, s := range secrets {
		all = append(all, s.Reveal())
	}
	return all
}

type renameFactor struct {
	Name string `json:"name" doc:"Up to 200 characters."`
}

type oneTOTP struct {
	TOTP TOTP `json:"totp"`
}

func (c *call) apiRenameTOTP(in *renameFactor) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	f, err := c.Accounts.RenameFactor(c.r.Context(), a, account.TOTP, c.named("factor"), in.Name, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, oneTOTP{TOTPOf(f)})
}

func (c *call) apiRemoveTOTP() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	if err := c.Accounts.RemoveFactor(c.r.Context(), a, account.TOTP, c.named("factor"), c.now); err != nil {
		return err
	}
	return c.noContent()
}

type recoveryLeft struct {
	Left      int        `json:"left"`
	CreatedAt *time.Time `json:"created_at,omitempty" doc:"Absent where there are none."`
}

func (c *call) apiRecoveryCodes() error {
	_, user, err := c.asker()
	if err != nil {
		return err
	}
	factors, err := c.Accounts.FactorsOf(c.r.Context(), user.ID)
	if err != nil {
		return err
	}
	var out recoveryLeft
	for _, f := range factors {
		if f.Kind == account.Recovery {
			out = recoveryLeft{f.CodesLeft(), whenShown(f.CreatedAt)}
		}
	}
	return c.json(http.StatusOK, out)
}

type recoveryMade struct {
	RecoveryCodes []string `json:"recovery_codes" doc:"Shown this once."`
}

func (c *call) apiMakeRecoveryCodes(*nothing) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	codes, err := c.Accounts.RenewRecovery(c.r.Context(), a, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, recoveryMade{revealed(codes)})
}

// A TrustedDevice is one as the API shows it.
type TrustedDevice struct {
	ID        string    `json:"id" doc:"The public id."`
	Name      string    `json:"name" doc:"Such as “Firefox on Linux”, as the device says of itself."`
	UserAgent string    `json:"user_agent"`
	Current   bool      `json:"current" doc:"This is the browser that asks."`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

type trustedDevices struct {
	Devices []TrustedDevice `json:"devices"`
}

func (c *call) apiDevices() error {
	_, user, err := c.asker()
	if err != nil {
		return err
	}
	all, err := c.Accounts.Trusts(c.r.Context(), user.ID, c.now)
	if err != nil {
		return err
	}
	out := trustedDevices{make([]TrustedDevice, len(all))}
	for i, f := range all {
		out.Devices[i] = c.trustedDevice(f)
	}
	return c.json(http.StatusOK, out)
}

func (c *call) apiDistrustAll() error { return c.distrust("") }

func (c *call) apiDistrust() error { return c.distrust(c.named("device")) }

func (c *call) distrust(id string) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	if err := c.Accounts.Distrust(c.r.Context(), a, id, c.now); err != nil {
		return err
	}
	return c.noContent()
}

// A heldFactors is what an export tells of a user's factors: what they are called and
// since when, and nothing that proves anything.
type heldFactors struct {
	TOTP     []TOTP          `json:"totp"`
	Passkeys []OwnPasskey    `json:"passkeys"`
	Recovery recoveryLeft    `json:"recovery_codes"`
	Devices  []TrustedDevice `json:"devices"`
}

func (c *call) heldFactors(user string) (h heldFactors, err error) {
	factors, err := c.Accounts.FactorsOf(c.r.Context(), user)
	if err != nil {
		return h, err
	}
	h = heldFactors{TOTP: []TOTP{}, Passkeys: []OwnPasskey{}, Devices: []TrustedDevice{}}
	for _, f := range factors {
		switch f.Kind {
		case account.TOTP:
			h.TOTP = append(h.TOTP, TOTPOf(f))
		case account.Recovery:
			h.Recovery = recoveryLeft{f.CodesLeft(), whenShown(f.CreatedAt)}
		}
	}
	keys, _, err := c.Accounts.Passkeys(c.r.Context(), user)
	if err != nil {
		return h, err
	}
	for _, p := range keys {
		h.Passkeys = append(h.Passkeys, c.ownPasskey(p))
	}
	trusts, err := c.Accounts.Trusts(c.r.Context(), user, c.now)
	for _, f := range trusts {
		h.Devices = append(h.Devices, c.trustedDevice(f))
	}
	return h, err
}

func (c *call) trustedDevice(f *account.Factor) TrustedDevice {
	return TrustedDevice{f.ID, deviceName(f.Name), f.Name, f.IsTrustedBy(c.trustTokens()), shown(f.CreatedAt), shown(f.ExpiresAt)}
}

type reauthenticate struct {
	Password admit.Secret `json:"password,omitempty" doc:"Alone."`
	Factor   string       `json:"factor,omitempty" enum:"totp|recovery" doc:"Or a factor, with its code."`
	Code     string       `json:"code,omitempty"`

	Flow       string    `json:"flow,omitempty" doc:"Or a passkey, with the flow that asked for it."`
	Credential inBrowser `json:"credential,omitempty" doc:"What PublicKeyCredential.toJSON returns."`
}

// A proved is the answer to who has just proved again who it is.
type proved struct {
	Session Session `json:"session"`
	Token   string  `json:"token,omitempty"`
}

func (c *call) apiReauthenticate(in *reauthenticate) error {
	var s *session.Session[Data]
	var err error
	switch {
	case in.Credential != nil:
		s, err = c.provePasskey(in.Flow, in.Credential.text())
	case in.Factor == "":
		s, err = c.prove(in.Password)
	default:
		s, err = c.proveBy(account.Passing{Kind: account.FactorKind(in.Factor), Code: in.Code})
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, proved{SessionOf(&s.Info, s.SID, s.Data), s.Token.Reveal()})
}

// prove checks the password once more and notes it in the session, whose token
// is another from then on.
func (c *call) prove(pw admit.Secret) (*session.Session[Data], error) {
	i, _, err := c.user()
	if err != nil {
		return nil, err
	}
	if err := c.Accounts.Reauthenticate(c.r.Context(), c.askerOf(i), pw, c.now); err != nil {
		return nil, err
	}
	return c.proven(i, "pwd")
}

// proveBy is prove with a factor.
func (c *call) proveBy(p account.Passing) (*session.Session[Data], error) {
	i, _, err := c.user()
	if err != nil {
		return nil, err
	}
	amr, err := c.Accounts.ReauthenticateBy(c.r.Context(), c.askerOf(i), p, c.now)
	if err != nil {
		return nil, err
	}
	return c.proven(i, amr...)
}

// proven notes in the session how its user has just proved itself. A second factor
// counts with what was shown before; a password counts alone, for it must not make
// two factors look fresh of which one is old.
func (c *call) proven(i session.Info, amr ...string) (*session.Session[Data], error) {
	all := amr
	if !slices.Equal(amr, []string{"pwd"}) {
		all = account.Together(i.AMR(), amr)
	}
	r := c.auditing(account.SessionProved, account.Record{Event: "proved_again", Subject: i.Subject, Detail: strings.Join(amr, " ")})
	return c.Sessions.ProveAs(c.w, r, account.Assurance(all...), all...)
}
