package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// The part of the API that administrators use.

// What it refuses.
var (
	errRole      = admit.Forbidden.New("admin_needed", "Only an administrator may do this.")
	errParameter = admit.Invalid.New("bad_parameter", "A parameter of the address cannot have this value.")
	errUnknown   = admit.Invalid.New("unknown_parameter", "There is no such parameter of the address.")
)

const (
	pageLimit  = 50 // of a list, unless it is asked for
	maxPage    = 500
	exportStep = 1000 // records read at a time, in about 10 ms
)

// What is in the queries of more than one call.
var (
	ofPage = []parameter{
		{"after", "What an answer gave as next.", nil},
		{"limit", "How many, 1 to 500; 50 where nothing is said.", &schema{Type: "integer"}},
	}
	ofReason  = []parameter{{"reason", "Why, for the audit, in up to 500 characters.", nil}}
	ofRecords = []parameter{
		{"subject", "Whose account it is about, by id.", nil},
		{"actor", "Who did it: the id of a user, or `operator` for the command line.", nil},
		{"event", "What happened.", nil},
		{"request_id", "Of the request that did it.", nil},
		{"text", "What stands in the record somewhere.", nil},
		{"since", "The first moment.", &schema{Type: "string", Format: "date-time"}},
		{"until", "The moment after the last.", &schema{Type: "string", Format: "date-time"}},
	}
)

// adminCalls are those of administrators.
func adminCalls() []operation {
	const p = apiPrefix + "admin/"
	reads := func(more ...*admit.Error) []*admit.Error {
		return append([]*admit.Error{errRole, account.ErrMustChange}, more...)
	}
	changes := func(more ...*admit.Error) []*admit.Error {
		return append([]*admit.Error{errRole, account.ErrReason}, more...)
	}
	all := []operation{{
		call: "GET " + p + "users", id: "adminListUsers", summary: "Users", scope: account.ScopeAdminRead,
		query: append([]parameter{
			{"search", "How the name or an identifier begins, or a whole id.", nil},
			{"role", "Only who has this role.", nil},
			{"state", "Only who is so.", &schema{Type: "string", Enum: []string{"disabled", "active"}}},
			{"verified", "Only who has, or has no, verified identifier.", &schema{Type: "string", Enum: []string{"true", "false"}}},
		}, ofPage...),
		do:      byAdmin((*call).adminUsers),
		answers: []answers{{200, "A page of users", UserList{}}},
		refuses: reads(errParameter, errUnknown),
	}, {
		call: "POST " + p + "users", id: "adminAddUser", summary: "Add a user", scope: account.ScopeAdmin,
		do:      byAdminTaking((*call).adminAddUser),
		example: `{"identifiers": ["bob"], "name": "Bob", "password": "correct horse battery", "reason": "new here"}`,
		answers: []answers{{201, "The user", ManagedUser{}}},
		refuses: changes(append([]*admit.Error{account.ErrIdentifier, account.ErrPhoneMalformed, account.ErrTaken, account.ErrNameTooLong, account.ErrRole}, passwordRefusals...)...),
	}, {
		call: "GET " + p + "users/{user}", id: "adminGetUser", summary: "A user", scope: account.ScopeAdminRead,
		do:      byAdmin((*call).adminUser),
		answers: []answers{{200, "The user", ManagedUser{}}},
		refuses: reads(account.ErrUnknownUser),
	}, {
		call: "PATCH " + p + "users/{user}", id: "adminChangeUser", summary: "Rename, disable or enable a user", scope: account.ScopeAdmin,
		about:   "Who is disabled is out at once.",
		do:      byAdminTaking((*call).adminChangeUser),
		example: `{"name": "Bob Example", "disabled": true, "reason": "lost his laptop"}`,
		answers: []answers{{200, "The user as it is now", ManagedUser{}}},
		refuses: changes(account.ErrUnknownUser, account.ErrNameTooLong, account.ErrLastAdmin),
	}, {
		call: "DELETE " + p + "users/{user}", id: "adminDeleteUser", summary: "Delete a user", scope: account.ScopeAdmin,
		query:   ofReason,
		do:      byAdmin((*call).adminDeleteUser),
		answers: []answers{{204, "Deleted", nil}},
		refuses: changes(account.ErrUnknownUser, account.ErrLastAdmin, errParameter, errUnknown),
	}, {
		call: "PUT " + p + "users/{user}/password", id: "adminSetPassword", summary: "Set the password of a user",
		about:   "All its sessions end.",
		do:      byAdminTaking((*call).adminSetPassword),
		example: `{"password": "staple another horse", "reason": "forgot it"}`,
		answers: []answers{{204, "Set", nil}},
		refuses: changes(append([]*admit.Error{account.ErrUnknownUser, errNoPassword}, passwordRefusals...)...),
	}, {
		call: "DELETE " + p + "users/{user}/password", id: "adminRemovePassword", summary: "Take the password of a user away",
		query:   ofReason,
		do:      byAdmin((*call).adminRemovePassword),
		answers: []answers{{204, "Taken away", nil}},
		refuses: changes(account.ErrUnknownUser, errParameter, errUnknown),
	}, {
		call: "PUT " + p + "users/{user}/roles/{role}", id: "adminGrantRole", summary: "Give a role to a user", scope: account.ScopeAdmin,
		query:   ofReason,
		do:      byAdminTaking((*call).adminGrant),
		example: `{}`,
		answers: []answers{{204, "Given", nil}},
		refuses: changes(account.ErrUnknownUser, account.ErrRole, errParameter, errUnknown),
	}, {
		call: "DELETE " + p + "users/{user}/roles/{role}", id: "adminRevokeRole", summary: "Take a role from a user", scope: account.ScopeAdmin,
		query:   ofReason,
		do:      byAdmin((*call).adminRevoke),
		answers: []answers{{204, "Taken", nil}},
		refuses: changes(account.ErrUnknownUser, account.ErrLastAdmin, errParameter, errUnknown),
	}, {
		call: "GET " + p + "users/{user}/sessions", id: "adminListSessionsOfUser", summary: "The sessions of a user",
		query:   ofPage,
		do:      byAdmin((*call).adminSessions),
		answers: []answers{{200, "A page of sessions", SessionList{}}},
		refuses: reads(account.ErrUnknownUser, errParameter, errUnknown),
	}, {
		call: "DELETE " + p + "users/{user}/sessions", id: "adminEndSessionsOfUser", summary: "End all sessions of a user",
		query:   ofReason,
		do:      byAdmin((*call).adminEndAll),
		answers: []answers{{204, "Ended", nil}},
		refuses: changes(account.ErrUnknownUser, errParameter, errUnknown),
	}, {
		call: "GET " + p + "roles", id: "adminListRoles", summary: "The roles that users have", scope: account.ScopeAdminRead,
		do:      byAdmin((*call).adminRoles),
		answers: []answers{{200, "The roles", RoleList{}}},
		refuses: reads(errUnknown),
	}, {
		call: "GET " + p + "sessions", id: "adminListSessions", summary: "The sessions of everybody",
		query:   ofPage,
		do:      byAdmin((*call).adminSessions),
		answers: []answers{{200, "A page of sessions", SessionList{}}},
		refuses: reads(errParameter, errUnknown),
	}, {
		call: "DELETE " + p + "sessions", id: "adminEndEveryone", summary: "End the sessions of everybody",
		about:   "Also of guests, and of who asks.",
		query:   ofReason,
		do:      byAdmin((*call).adminEndEveryone),
		answers: []answers{{200, "How many there were", Ended{}}},
		refuses: changes(errParameter, errUnknown),
	}, {
		call: "GET " + p + "sessions/{sid}", id: "adminGetSession", summary: "A session of anybody",
		do:      byAdmin((*call).adminSession),
		answers: []answers{{200, "The session", ManagedSession{}}},
		refuses: reads(session.ErrUnknown),
	}, {
		call: "DELETE " + p + "sessions/{sid}", id: "adminEndSession", summary: "End a session of anybody",
		query:   ofReason,
		do:      byAdmin((*call).adminEndSession),
		answers: []answers{{204, "Ended", nil}},
		refuses: changes(session.ErrUnknown, errParameter, errUnknown),
	}, {
		call: "GET " + p + "keys", id: "adminListKeys", summary: "The server's own keys",
		about:   "Without their secrets, retired ones last. They are changed with `admit key`.",
		do:      byAdmin((*call).adminKeys),
		answers: []answers{{200, "The keys", KeyList{}}},
		refuses: reads(errUnknown),
	}, {
		call: "GET " + p + "audit", id: "adminListRecords", summary: "The audit", scope: account.ScopeAdminRead,
		about:   "Latest first. With `text` a page may be shorter than was asked for, or empty, and yet have a next one: one call looks at 50,000 records at most.",
		query:   slices.Concat(ofRecords, ofPage),
		do:      byAdmin((*call).adminAudit),
		answers: []answers{{200, "A page of records", RecordList{}}},
		refuses: reads(errParameter, errUnknown),
	}, {
		call: "GET " + p + "audit/export", id: "adminExportRecords", summary: "The audit as a file", scope: account.ScopeAdminRead,
		about:   "Oldest first, all that is asked for, as a stream that breaks off where it cannot be whole.",
		query:   append([]parameter{{"format", "Lines of JSON where nothing is said.", &schema{Type: "string", Enum: []string{"csv", "jsonl"}}}}, ofRecords...),
		do:      byAdmin((*call).adminExport),
		answers: []answers{{200, "The records", media{"application/jsonl", "text/csv"}}},
		refuses: reads(errParameter, errUnknown),
	}}
	for i := range all {
		all[i].session = true
		if all[i].method() != "GET" {
			all[i].proof = account.RecentProof
		}
	}
	return all
}

// An asker is the administrator who asks, with its session.
type asker struct {
	session.Info
	user *account.User
}

// byAdmin lets only administrators through, whatever they send.
func byAdmin(h func(*call, asker) error) action {
	return bare(func(c *call) error {
		a, err := c.administrator()
		if err != nil {
			return err
		}
		return h(c, a)
	})
}

// byAdminTaking is byAdmin for a call with a body, which is read only where an
// administrator sent it.
func byAdminTaking[Body any](h func(*call, asker, *Body) error) action {
	return action{reflect.TypeFor[Body](), func(c *call) error {
		a, err := c.administrator()
		if err != nil {
			return err
		}
		var in Body
		if err := c.read(&in); err != nil {
			return err
		}
		return h(c, a, &in)
	}}
}

// administrator returns who asks. What reads needs the role, and no report that
// waits for a new password; all else needs a recent proof, too.
func (c *call) administrator() (asker, error) {
	i, user, err := c.holder()
	switch {
	case err != nil:
		return asker{}, err
	case !user.HasRole(account.RoleAdmin):
		return asker{}, errRole
	case user.MustChange: // who knows the password may be the thief
		return asker{}, account.ErrMustChange
	case c.key != nil: // who made it has proved who it is, and chose its scopes
	case c.r.Method != "GET" && c.r.Method != "HEAD":
		// A session that was left open is not enough to change other people's
		// accounts, nor a proof from when the clock was ahead.
		err = c.within(i, cmp.Or(c.proof, account.RecentProof))
	}
	return asker{i, user}, err
}

// by says who does it, and why.
func (c *call) by(a asker, reason string) (account.By, error) {
	return account.By{Actor: a.user.ID, Reason: reason, From: c.origin()}, account.CheckReason(reason)
}

// byQuery is by where the reason stands in the address, for what has no body.
func (c *call) byQuery(a asker) (account.By, error) {
	q, err := c.query()
	if err != nil {
		return account.By{}, err
	}
	return c.by(a, q["reason"])
}

// on returns the user that the path names, by id or identifier.
func (c *call) on() (*account.User, error) {
	return c.Accounts.FindUser(c.r.Context(), c.named("user"))
}

// query returns the parameters of the address, each once, of those that are
// declared: a filter that is misspelled must not be a list of everything.
func (c *call) query() (map[string]string, error) {
	var known []string
	for _, p := range c.parameters {
		known = append(known, p.name)
	}
	q := map[string]string{}
	for name, values := range c.r.URL.Query() {
		if !slices.Contains(known, name) {
			return nil, &admit.FieldError{Field: name, Err: errUnknown.WithHint("There are " + cmp.Or(strings.Join(known, ", "), "none here") + ".")}
		}
		if len(values) != 1 || len(values[0]) > 2000 {
			return nil, &admit.FieldError{Field: name, Err: errParameter}
		}
		q[name] = values[0]
	}
	return q, nil
}

// pageSize reads how many are asked for.
func pageSize(q map[string]string) (int, error) {
	text, ok := q["limit"]
	if !ok {
		return pageLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage {
		return 0, &admit.FieldError{Field: "limit", Err: errParameter.WithHint("It is 1 to 500.")}
	}
	return n, nil
}

// one returns which of two words a parameter is, nil where it is not given.
func one(q map[string]string, name, yes, no string) (*bool, error) {
	switch text, ok := q[name]; {
	case !ok:
		return nil, nil
	case text == yes || text == no:
		is := text == yes
		return &is, nil
	}
	return nil, &admit.FieldError{Field: name, Err: errParameter.WithHint("It is " + yes + " or " + no + ".")}
}

// A ManagedUser is a user as administrators see it.
type ManagedUser struct {
	User
	Disabled bool `json:"disabled"`
}

func managed(u *account.User) ManagedUser { return ManagedUser{UserOf(u), u.Disabled} }

// A UserList is a page of users. Next, where it is there, is the parameter
// after of the next page.
type UserList struct {
	Users []ManagedUser `json:"users"`
	Next  string        `json:"next,omitempty"`
}

func (c *call) adminUsers(asker) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	ask := account.UserQuery{Search: q["search"], Role: q["role"], After: q["after"]}
	if ask.Limit, err = pageSize(q); err != nil {
		return err
	}
	if ask.Disabled, err = one(q, "state", "disabled", "active"); err != nil {
		return err
	}
	if ask.Verified, err = one(q, "verified", "true", "false"); err != nil {
		return err
	}
	users, err := c.Accounts.FindUsers(c.r.Context(), &ask)
	if err != nil {
		return err
	}
	out := UserList{Users: make([]ManagedUser, len(users))}
	for i, u := range users {
		out.Users[i] = managed(u)
	}
	if len(users) == ask.Limit {
		out.Next = users[len(users)-1].ID
	}
	return c.json(http.StatusOK, out)
}

// A NewUser is what an administrator says of somebody new.
type NewUser struct {
	Identifiers []string     `json:"identifiers"`
	Name        string       `json:"name,omitempty"`
	Password    admit.Secret `json:"password,omitempty"` // none: there is no signing in with one
	Roles       []string     `json:"roles,omitempty"`
	Verified    bool         `json:"verified,omitempty"` // the identifiers are known to be the user's
	Reason      string       `json:"reason,omitempty"`
}

func (c *call) adminAddUser(a asker, in *NewUser) error {
	by, err := c.by(a, in.Reason)
	if err != nil {
		return err
	}
	user, err := c.Accounts.AddUser(c.r.Context(), account.NewUser{
		Identifiers: in.Identifiers, Name: in.Name, Password: in.Password, Roles: in.Roles, Verified: in.Verified,
	}, by, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, managed(user))
}

func (c *call) adminUser(asker) error {
	user, err := c.on()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, managed(user))
}

// A UserChange is what an administrator changes of a user; what is not there
// stays.
type UserChange struct {
	Name     *string `json:"name,omitempty"`
	Disabled *bool   `json:"disabled,omitempty"`
	Reason   string  `json:"reason,omitempty"`
}

func (c *call) adminChangeUser(a asker, in *UserChange) error {
	by, err := c.by(a, in.Reason)
	if err != nil {
		return err
	}
	user, err := c.on()
	if err != nil {
		return err
	}
	user, err = c.Accounts.Change(c.r.Context(), user.ID, account.UserChange{Name: in.Name, Disabled: in.Disabled}, by, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, managed(user))
}

// does runs what has no answer on the user of the path.
func (c *call) does(a asker, fn func(ctx context.Context, id string, by account.By) error) error {
	by, err := c.byQuery(a)
	if err != nil {
		return err
	}
	user, err := c.on()
	if err != nil {
		return err
	}
	if err := fn(c.r.Context(), user.ID, by); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) adminDeleteUser(a asker) error {
	return c.does(a, func(ctx context.Context, id string, by account.By) error {
		return c.Accounts.DeleteUser(ctx, id, by, c.now)
	})
}

// A NewPassword is what an administrator gives a user.
type NewPassword struct {
	Password admit.Secret `json:"password"`
	Reason   string       `json:"reason,omitempty"`
}

func (c *call) adminSetPassword(a asker, in *NewPassword) error {
	by, err := c.by(a, in.Reason)
	if err != nil {
		return err
	}
	user, err := c.on()
	if err != nil {
		return err
	}
	if in.Password.IsZero() {
		return &admit.FieldError{Field: "password", Err: errNoPassword}
	}
	if err := c.Accounts.SetPassword(c.r.Context(), user.ID, in.Password, by, c.now); err != nil {
		return err
	}
	return c.noContent()
}

var errNoPassword = admit.Invalid.New("password_missing", "There is no password here.").WithHint("DELETE takes one away.")

func (c *call) adminRemovePassword(a asker) error {
	return c.does(a, func(ctx context.Context, id string, by account.By) error {
		return c.Accounts.SetPassword(ctx, id, admit.Secret{}, by, c.now)
	})
}

func (c *call) adminGrant(a asker, _ *nothing) error {
	return c.does(a, func(ctx context.Context, id string, by account.By) error {
		return c.Accounts.Grant(ctx, id, c.named("role"), by, c.now)
	})
}

func (c *call) adminRevoke(a asker) error {
	return c.does(a, func(ctx context.Context, id string, by account.By) error {
		return c.Accounts.Revoke(ctx, id, c.named("role"), by, c.now)
	})
}

// A RoleList is the roles that users have.
type RoleList struct {
	Roles []Role `json:"roles"`
}

// A Role is one that users have, and how many do.
type Role struct {
	Name  string `json:"role"`
	Users int    `json:"users"`
}

func (c *call) adminRoles(asker) error {
	if _, err := c.query(); err != nil {
		return err
	}
	roles, err := c.Accounts.Roles(c.r.Context())
	if err != nil {
		return err
	}
	out := RoleList{make([]Role, len(roles))}
	for i, r := range roles {
		out.Roles[i] = Role(r)
	}
	return c.json(http.StatusOK, out)
}

// A ManagedSession is a session as administrators see it: with whose it is.
type ManagedSession struct {
	Session
	Subject string `json:"subject,omitempty"`
}

// A SessionList is a page of sessions in the order of their ids.
type SessionList struct {
	Sessions []ManagedSession `json:"sessions"`
	Next     string           `json:"next,omitempty"`
}

// adminSessions lists the sessions of the user in the path or, where there is
// none, of everybody.
func (c *call) adminSessions(a asker) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	n, err := pageSize(q)
	if err != nil {
		return err
	}
	subject := ""
	if c.named("user") != "" {
		user, err := c.on()
		if err != nil {
			return err
		}
		subject = user.ID
	}
	page, next, err := c.Sessions.ListPage(c.r.Context(), subject, q["after"], n)
	if err != nil {
		return err
	}
	out := SessionList{make([]ManagedSession, len(page)), next}
	for i := range page {
		out.Sessions[i] = ManagedSession{SessionOf(&page[i], a.SID, Data{}), page[i].Subject}
	}
	return c.json(http.StatusOK, out)
}

func (c *call) adminSession(a asker) error {
	found, err := c.Sessions.Find(c.r.Context(), c.named("sid"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, ManagedSession{SessionOf(&found.Info, a.SID, Data{}), found.Subject})
}

// byOperator is what whose session was ended so may be told.
const byOperator = "ended_by_operator"

func (c *call) adminEndSession(a asker) error {
	by, err := c.byQuery(a)
	if err != nil {
		return err
	}
	found, err := c.Sessions.Find(c.r.Context(), c.named("sid"))
	if err != nil {
		return err
	}
	r := by.Record(c.now, found.Subject, "session_ended", "")
	ctx := c.Accounts.Auditing(c.r.Context(), account.SessionEnded, *r, by.From)
	if err := c.Sessions.EndAny(ctx, found.SID, byOperator); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) adminEndAll(a asker) error {
	return c.does(a, func(ctx context.Context, id string, by account.By) error {
		r := by.Record(c.now, id, "sessions_ended", "")
		return c.Sessions.EndAll(c.Accounts.Auditing(ctx, account.EpochRaised, *r, by.From), id, "", byOperator)
	})
}

// Ended says how many sessions there were.
type Ended struct {
	Ended int `json:"ended"`
}

func (c *call) adminEndEveryone(a asker) error {
	by, err := c.byQuery(a)
	if err != nil {
		return err
	}
	c.hurry()
	// Half of it done is the worst: also where who asks hangs up.
	ctx := context.WithoutCancel(c.r.Context())
	r := by.Record(c.now, "", "session_ended", "everyone")
	n, err := c.Sessions.EndEveryone(c.Accounts.Auditing(ctx, account.SessionEnded, *r, by.From), byOperator)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, Ended{n})
}

// hurry gives an answer that takes long a minute more from now.
func (c *call) hurry() {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(time.Minute)) // where there is none, there is no need
}

// A KeyList is the server's own keys.
type KeyList struct {
	Keys []Key `json:"keys"`
}

// A Key is one of the server's own, without its secret.
type Key struct {
	ID        string           `json:"id"`
	Purpose   string           `json:"purpose" enum:"cookies|names|signing|signing-rs256|signing-eddsa"`
	State     account.KeyState `json:"state" enum:"next|active|retiring|retired" doc:"A next key is published and makes nothing yet, an active one makes new values, a retiring one opens or verifies what it made, and a retired one is erased."`
	CreatedAt time.Time        `json:"created_at"`
	NotBefore *time.Time       `json:"not_before,omitempty" doc:"When a next key begins to sign, once that is decided."`
	NotAfter  *time.Time       `json:"not_after,omitempty" doc:"When a retiring key retires."`
	MasterKey string           `json:"master_key,omitempty" doc:"The id of the master key that seals it."`
}

func (c *call) adminKeys(asker) error {
	if _, err := c.query(); err != nil {
		return err
	}
	keys, err := c.Ring(c.r.Context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, KeyList{keys})
}

// A Record is one of the audit, as the API shows it.
type Record struct {
	ID        int64     `json:"id"`
	At        time.Time `json:"at"`
	Subject   string    `json:"subject"`
	Actor     string    `json:"actor"`
	Event     string    `json:"event"`
	Detail    string    `json:"detail"`
	Reason    string    `json:"reason" doc:"What who did it gave."`
	SID       string    `json:"sid"`
	Address   string    `json:"address"`
	UserAgent string    `json:"user_agent"`
	RequestID string    `json:"request_id"`
}

// RecordOf returns r as the API shows it.
func RecordOf(r *account.Record) Record {
	return Record{r.ID, shown(r.At), r.Subject, r.Actor, r.Event, r.Detail, r.Reason, r.SID, r.Address, r.UserAgent, r.RequestID}
}

// RecordHead names the columns of a table of records.
func RecordHead() []string {
	return []string{"id", "at", "subject", "actor", "event", "detail", "reason", "sid", "address", "user_agent", "request_id"}
}

// divided is where a spreadsheet would begin a cell in the midst of one: where
// people write a comma in numbers, it divides a line at semicolons.
var divided = regexp.MustCompile(`(; *)([=+\-@＝＋－＠])`)

// Row returns the record as a row of a table that a spreadsheet may open. What
// one would take for a formula has an apostrophe before it, for strangers choose
// their user agent (CWE-1236).
func (r Record) Row() []string {
	row := []string{strconv.FormatInt(r.ID, 10), r.At.Format(time.RFC3339Nano), r.Subject, r.Actor, r.Event, r.Detail, r.Reason, r.SID, r.Address, r.UserAgent, r.RequestID}
	for i, cell := range row {
		cell = divided.ReplaceAllString(cell, "$1'$2")
		if begin, _ := utf8.DecodeRuneInString(cell); strings.ContainsRune("=+-@\t\r\n＝＋－＠", begin) {
			cell = "'" + cell
		}
		row[i] = cell
	}
	return row
}

// A RecordList is a page of the audit. It may be shorter than was asked for, or
// empty, and yet have a next one: a search for text looks at a bounded number of
// records at a time.
type RecordList struct {
	Records []Record `json:"records"`
	Next    string   `json:"next,omitempty"`
}

// records reads what is asked of the audit.
func (c *call) records() (*account.RecordQuery, map[string]string, error) {
	q, err := c.query()
	if err != nil {
		return nil, nil, err
	}
	ask := &account.RecordQuery{Subject: q["subject"], Actor: q["actor"], Event: q["event"], RequestID: q["request_id"], Text: q["text"]}
	for name, to := range map[string]*time.Time{"since": &ask.Since, "until": &ask.Until} {
		text, ok := q[name]
		if !ok {
			continue
		}
		if *to, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, nil, &admit.FieldError{Field: name, Err: errParameter.WithHint("A time is such as 2026-01-31T12:00:00Z.")}
		}
	}
	return ask, q, nil
}

func (c *call) adminAudit(asker) error {
	ask, q, err := c.records()
	if err != nil {
		return err
	}
	if ask.Limit, err = pageSize(q); err != nil {
		return err
	}
	if after, ok := q["after"]; ok {
		if ask.From, ok = parseMark(after); !ok {
			return &admit.FieldError{Field: "after", Err: errParameter.WithHint("It is what an answer gave as next.")}
		}
	}
	records, next, err := c.Accounts.Records(c.r.Context(), ask)
	if err != nil {
		return err
	}
	out := RecordList{Records: make([]Record, len(records)), Next: formatMark(next)}
	for i := range records {
		out.Records[i] = RecordOf(&records[i])
	}
	return c.json(http.StatusOK, out)
}

func formatMark(m account.Mark) string {
	if m == (account.Mark{}) {
		return ""
	}
	return fmt.Sprintf("%d-%d", m.At, m.ID)
}

func parseMark(text string) (m account.Mark, ok bool) {
	at, id, _ := strings.Cut(text, "-")
	var err1, err2 error
	m.At, err1 = strconv.ParseInt(at, 10, 64)
	m.ID, err2 = strconv.ParseInt(id, 10, 64)
	return m, err1 == nil && err2 == nil && formatMark(m) == text
}

// adminExport writes all that is asked for, oldest first, as it is read: in
// steps that are transactions of their own, since one that lasted as long as a
// slow client likes would keep the write-ahead log from being cleared.
func (c *call) adminExport(a asker) error {
	ask, q, err := c.records()
	if err != nil {
		return err
	}
	table, err := one(q, "format", "csv", "jsonl")
	if err != nil {
		return err
	}
	asCSV := table != nil && *table
	ask.OldestFirst, ask.Limit = true, exportStep
	records, next, err := c.Accounts.Records(c.r.Context(), ask)
	if err != nil {
		return err
	}
	if err := c.Accounts.Note(c.r.Context(), account.By{Actor: a.user.ID, From: c.origin()}.Record(c.now, "", "audit_exported", "")); err != nil {
		return err
	}
	kind, name := "application/jsonl", "audit.jsonl"
	if asCSV {
		kind, name = "text/csv; charset=utf-8; header=present", "audit.csv"
	}
	c.w.Header().Set("Content-Type", kind)
	c.w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	c.begin(http.StatusOK)
	if c.r.Method == "HEAD" {
		return nil
	}
	var buf bytes.Buffer
	rows, lines := csv.NewWriter(&buf), json.NewEncoder(&buf)
	if asCSV {
		rows.Write(RecordHead())
	}
	for {
		for i := range records {
			if r := RecordOf(&records[i]); asCSV {
				rows.Write(r.Row())
			} else if err := lines.Encode(r); err != nil {
				return err
			}
		}
		rows.Flush()
		c.hurry()
		if _, err := c.w.Write(buf.Bytes()); err != nil {
			return nil // who is gone needs no answer
		}
		buf.Reset()
		if next == (account.Mark{}) {
			return nil
		}
		ask.From = next
		if records, next, err = c.Accounts.Records(c.r.Context(), ask); err != nil {
			// The answer has begun: only by breaking it off can its reader know
			// that it is not whole.
			c.Log.ErrorContext(c.r.Context(), "audit export", "request_id", c.id, "error", err)
			panic(http.ErrAbortHandler)
		}
	}
}
