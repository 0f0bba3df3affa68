package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// The API of one's own account.

// ownCalls are those about one's own account.
func ownCalls() []operation {
	const p = apiPrefix
	return []operation{{
		call: "GET " + p + "user", id: "getUser", summary: "The user", session: true, scope: account.ScopeProfile,
		do:      bare((*call).apiUser),
		answers: []answers{{200, "Who is signed in", wholeUser{}}},
	}, {
		call: "PATCH " + p + "user", id: "setProfile", summary: "Change the name or the language", session: true,
		do:      taking((*call).apiSetProfile),
		example: `{"name": "Ann Example", "locale": "en"}`,
		answers: []answers{{200, "The user as it is now", wholeUser{}}},
		refuses: []*admit.Error{account.ErrNameTooLong, account.ErrLocale, account.ErrTooMany},
	}, {
		call: "DELETE " + p + "user", id: "deleteUser", summary: "Delete the own account", session: true, proof: account.RecentProof,
		about:   "For good, with all that tells of the person. `confirm` is the primary name.",
		do:      taking((*call).apiDeleteUser),
		example: `{"confirm": "ann"}`,
		answers: []answers{{204, "Deleted", nil}},
		refuses: []*admit.Error{account.ErrConfirmation, account.ErrLastAdmin},
	}, {
		call: "GET " + p + "user/export", id: "exportUser", summary: "All that is known of the user", session: true, proof: account.RecentProof,
		about:   "Sent as a file.",
		do:      bare((*call).export),
		answers: []answers{{200, "The user, with its sessions, API keys, factors and activity", exported{}}},
		refuses: []*admit.Error{account.ErrTooMany},
	}, {
		call: "GET " + p + "identifiers", id: "listIdentifiers", summary: "What the user signs in with", session: true,
		do:      bare((*call).apiIdentifiers),
		answers: []answers{{200, "The names", identifiers{}}},
	}, {
		call: "POST " + p + "identifiers", id: "addIdentifier", summary: "Add a name to sign in with", session: true, proof: account.RecentProof,
		about:   "A user name is added at once (201). To an e-mail address or a phone number a message goes out and the answer is 202, whether it is taken or not.",
		do:      taking((*call).apiAddIdentifier),
		example: `{"identifier": "ann2"}`,
		answers: []answers{{201, "The names", identifiers{}}, {202, "A message is on its way", checkMail{}}},
		refuses: []*admit.Error{account.ErrIdentifier, account.ErrPhone, account.ErrTexts, account.ErrPhoneMalformed, account.ErrTaken, account.ErrYours, account.ErrManyIdentifiers, account.ErrMail, account.ErrTooMany},
	}, {
		call: "POST " + p + "identifiers/verify", id: "verifyIdentifier", summary: "Prove an added e-mail address or phone number", session: true,
		do:      taking((*call).apiVerifyIdentifier),
		example: `{"flow": "adm_o_…", "code": "123456"}`,
		answers: []answers{{200, "The names", identifiers{}}},
		refuses: []*admit.Error{account.ErrBadCode, account.ErrFlowEnded, account.ErrTooMany, account.ErrMustChange, account.ErrManyIdentifiers},
	}, {
		call: "POST " + p + "identifiers/restore", id: "takeWayBack", summary: "Take the account back",
		about:   "By the link that was mailed to an address when it was changed. It ends all sessions and sets a new password.",
		do:      taking((*call).apiWayBack),
		example: `{"token": "adm_…", "new_password": "a third password of mine"}`,
		answers: []answers{{204, "Taken back", nil}},
		refuses: append([]*admit.Error{account.ErrWayBackEnded, account.ErrTaken, account.ErrTooMany}, passwordRefusals...),
	}, {
		call: "POST " + p + "identifiers/{value}/primary", id: "makePrimary", summary: "Make a name the primary one", session: true, proof: account.RecentProof,
		do:      taking((*call).apiMakePrimary),
		example: `{}`,
		answers: []answers{{200, "The names", identifiers{}}},
		refuses: []*admit.Error{account.ErrUnknownIdentifier, account.ErrUnverified, account.ErrTooMany},
	}, {
		call: "DELETE " + p + "identifiers/{value}", id: "removeIdentifier", summary: "Remove a name to sign in with", session: true, proof: account.RecentProof,
		do:      bare((*call).apiRemoveIdentifier),
		answers: []answers{{204, "Removed", nil}},
		refuses: []*admit.Error{account.ErrUnknownIdentifier, account.ErrPrimary, account.ErrLastIdentifier, account.ErrTooMany},
	}, {
		call: "GET " + p + "activity", id: "listActivity", summary: "What happened in the account", session: true,
		about: "Latest first, in the language of who asks.",
		query: []parameter{
			{"after", "What an answer gave as next.", &schema{Type: "integer"}},
			{"limit", "How many, 1 to 200; 50 where nothing is said.", &schema{Type: "integer"}},
		},
		do:      bare((*call).apiActivity),
		answers: []answers{{200, "A page of records", activity{}}},
		refuses: []*admit.Error{errParameter, errUnknown},
	}, {
		call: "POST " + p + "activity/{id}/disown", id: "disown", summary: "Say that it was somebody else", session: true,
		about:   "Ends all sessions; a new password must be chosen next.",
		do:      taking((*call).apiDisown),
		example: `{}`,
		answers: []answers{{204, "All sessions have ended", nil}},
		refuses: []*admit.Error{account.ErrNoRecord, account.ErrTooMany},
	}}
}

// asker returns who is signed in, for the core.
func (c *call) asker() (account.Asker, *account.User, error) {
	i, user, err := c.user()
	return c.askerOf(i), user, err
}

func (c *call) askerOf(i session.Info) account.Asker {
	a := account.Asker{Subject: i.Subject, SID: i.SID, Proved: i.AuthTime, ACR: i.ACR, From: c.origin()}
	if c.shown(i) {
		a.Proved = time.Time{} // it proves nothing
	}
	return a
}

type wholeUser struct {
	User User `json:"user"`
}

func (c *call) apiUser() error {
	_, user, err := c.asker()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, wholeUser{UserOf(user)})
}

type setProfile struct {
	Name   *string `json:"name,omitempty"`
	Locale *string `json:"locale,omitempty" enum:"en|zh-CN"`
}

func (c *call) apiSetProfile(in *setProfile) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	user, err := c.Accounts.SetProfile(c.r.Context(), a, account.Profile{Name: in.Name, Locale: in.Locale}, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, wholeUser{UserOf(user)})
}

type deleteUser struct {
	Confirm string `json:"confirm"`
}

func (c *call) apiDeleteUser(in *deleteUser) error {
	if err := c.deleteUser(in.Confirm); err != nil {
		return err
	}
	return c.noContent()
}

// deleteUser removes the user who asks, and its cookies.
func (c *call) deleteUser(typed string) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	if err := c.Accounts.DeleteOwn(c.r.Context(), a, typed, c.now); err != nil {
		return err
	}
	c.device.Delete(c.w) // it names the user
	return c.Sessions.End(c.w, c.r, "user_deleted")
}

type identifiers struct {
	Identifiers []Identifier `json:"identifiers"`
}

func identifiersOf(u *account.User) identifiers { return identifiers{UserOf(u).Identifiers} }

func (c *call) apiIdentifiers() error {
	_, user, err := c.asker()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, identifiersOf(user))
}

type addIdentifier struct {
	Identifier string `json:"identifier"`
}

func (c *call) apiAddIdentifier(in *addIdentifier) error {
	i, _, err := c.user()
	if err != nil {
		return err
	}
	user, flow, err := c.Accounts.AddIdentifier(c.r.Context(), c.askerOf(i), in.Identifier, c.now)
	if err != nil {
		return err
	}
	if user != nil {
		return c.json(http.StatusCreated, identifiersOf(user))
	}
	if i.Credential() == "cookie" {
		// For the mailed link, which is good in the browser that asked.
		if err := c.flow.Set(c.w, []byte(flow)); err != nil {
			return err
		}
	}
	return c.json(http.StatusAccepted, checkMail{stateOf(in.Identifier), flow})
}

type verifyIdentifier struct {
	Flow string `json:"flow"`
	Code string `json:"code"`
}

func (c *call) apiVerifyIdentifier(in *verifyIdentifier) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	user, err := c.Accounts.VerifyIdentifier(c.r.Context(), a, in.Flow, in.Code, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, identifiersOf(user))
}

type takeWayBack struct {
	Token       string       `json:"token"`
	NewPassword admit.Secret `json:"new_password"`
}

func (c *call) apiWayBack(in *takeWayBack) error {
	if err := c.Accounts.WayBack(c.r.Context(), in.Token, in.NewPassword, c.origin(), c.now); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) apiMakePrimary(*nothing) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	user, err := c.Accounts.MakePrimary(c.r.Context(), a, c.named("value"), c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, identifiersOf(user))
}

func (c *call) apiRemoveIdentifier() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	value := strings.TrimPrefix(c.r.URL.Path, apiPrefix+"identifiers/") // also "verify", whose pattern is another's
	if _, err := c.Accounts.RemoveIdentifier(c.r.Context(), a, value, c.now); err != nil {
		return err
	}
	return c.noContent()
}

// An Entry is one record of a user's activity, as the API shows it.
type Entry struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	Event  string    `json:"event" doc:"Stable, for programs."`
	Text   string    `json:"text" doc:"What it means, in the language of who asks."`
	Detail string    `json:"detail,omitempty"`
	By     string    `json:"by" enum:"user|operator|unknown"`
	SID    string    `json:"sid,omitempty"`
	Device Device    `json:"device"`
}

func (c *call) entryOf(r account.Record) Entry {
	by := "operator"
	switch r.Actor {
	case r.Subject:
		by = "user"
	case "":
		by = "unknown"
	}
	return Entry{
		ID: strconv.FormatInt(r.ID, 10), At: shown(r.At), Event: r.Event, Text: event(c.language(), r.Event), Detail: r.Detail,
		By: by, SID: r.SID, Device: Device{deviceName(r.UserAgent), r.UserAgent, r.Address},
	}
}

const (
	fewRecords  = 50
	manyRecords = 200
)

type activity struct {
	Records []Entry `json:"records"`
	Next    string  `json:"next,omitempty" doc:"Where there are more: the parameter after of the next page."`
}

func (c *call) apiActivity() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	q, err := c.query()
	if err != nil {
		return err
	}
	limit, err := number(q["limit"], "limit", fewRecords, 1, manyRecords)
	if err != nil {
		return err
	}
	after, err := number(q["after"], "after", 0, 1, math.MaxInt64)
	if err != nil {
		return err
	}
	records, err := c.Accounts.Activity(c.r.Context(), a.Subject, after, int(limit)+1)
	if err != nil {
		return err
	}
	out := activity{Records: []Entry{}}
	for n, r := range records {
		if n == int(limit) {
			out.Next = out.Records[n-1].ID
			break
		}
		out.Records = append(out.Records, c.entryOf(r))
	}
	return c.json(http.StatusOK, out)
}

// number reads a number of the query within bounds.
func number(text, name string, otherwise, low, high int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, &admit.FieldError{Field: name, Err: errParameter}
	}
	return n, nil
}

func (c *call) apiDisown(*nothing) error {
	if err := c.disown(c.named("id")); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) disown(id string) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < 1 || n == math.MaxInt64 {
		return account.ErrNoRecord
	}
	return c.Accounts.Disown(c.r.Context(), a, n, c.now)
}

// An exported is all that is known of a user, as the user gets it.
type exported struct {
	ExportedAt time.Time `json:"exported_at"`
	User       User      `json:"user"`
	Sessions   []Session `json:"sessions"`
	APIKeys    []APIKey  `json:"api_keys"`
	heldFactors
	Activity []Entry `json:"activity"`
}

// export answers with all that is known of who asks, as a file.
func (c *call) export() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	user, records, err := c.Accounts.ExportOwn(c.r.Context(), a, c.now)
	if err != nil {
		return err
	}
	all, err := c.Sessions.List(c.r.Context(), a.Subject)
	if err != nil {
		return err
	}
	keys, err := c.Accounts.APIKeys(c.r.Context(), a.Subject)
	if err != nil {
		return err
	}
	factors, err := c.heldFactors(user.ID)
	if err != nil {
		return err
	}
	out := exported{ExportedAt: shown(c.now), User: UserOf(user), Sessions: make([]Session, len(all)), APIKeys: APIKeysOf(keys), heldFactors: factors, Activity: make([]Entry, len(records))}
	for n := range all {
		out.Sessions[n] = SessionOf(&all[n], a.SID, Data{})
	}
	for n, r := range records {
		out.Activity[n] = c.entryOf(r)
	}
	b, err := json.MarshalIndent(out, "", "  ") // for people, too
	if err != nil {
		return fmt.Errorf("encode an export: %w", err)
	}
	c.w.Header().Set("Content-Disposition", `attachment; filename="admit-account.json"`)
	return c.answer(http.StatusOK, append(b, '\n'))
}

// because completes why the request's session ended, in words that are told.
func (c *call) because(err error) error {
	ended, ok := errors.AsType[*session.EndedError](err)
	if !ok {
		return err
	}
	why, lookUp := c.Accounts.WhyEnded(c.r.Context(), ended.Subject, ended.SID, ended.Why)
	if _, told := reasons[why]; !told || lookUp != nil {
		why = "" // it explains only: the session has ended all the same
	}
	told := *ended
	told.Why = why
	return &told
}
