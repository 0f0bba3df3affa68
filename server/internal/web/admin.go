package web

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
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

// An asker is the administrator who asks, with its session.
type asker struct {
	session.Info
	user *account.User
}

// An act is a call that only administrators may make.
type act func(*call, asker) error

// admin registers the calls. Those that read need the role; all others need a
// recent proof, too.
func (s *server) admin() {
	for path, acts := range map[string]map[string]act{
		"users":                     {"GET": (*call).adminUsers, "POST": (*call).adminAddUser},
		"users/{user}":              {"GET": (*call).adminUser, "PATCH": (*call).adminChangeUser, "DELETE": (*call).adminDeleteUser},
		"users/{user}/password":     {"PUT": (*call).adminSetPassword, "DELETE": (*call).adminRemovePassword},
		"users/{user}/roles/{role}": {"PUT": (*call).adminGrant, "DELETE": (*call).adminRevoke},
		"users/{user}/sessions":     {"GET": (*call).adminSessions, "DELETE": (*call).adminEndAll},
		"roles":                     {"GET": (*call).adminRoles},
		"sessions":                  {"GET": (*call).adminSessions, "DELETE": (*call).adminEndEveryone},
		"sessions/{sid}":            {"GET": (*call).adminSession, "DELETE": (*call).adminEndSession},
		"audit":                     {"GET": (*call).adminAudit},
		"audit/export":              {"GET": (*call).adminExport},
	} {
		m := methods{}
		for method, a := range acts {
			m[method] = byAdmin(a, method != "GET")
		}
		s.handle(apiPrefix+"admin/"+path, (*call).failAPI, m)
	}
}

// byAdmin lets only administrators through, whatever they send.
func byAdmin(a act, changes bool) handler {
	return func(c *call) error {
		i, user, err := c.user()
		switch {
		case err != nil:
			return err
		case !user.HasRole(account.RoleAdmin):
			return errRole
		case user.MustChange:
			return account.ErrMustChange // who did what the owner did not may be the one who asks
		case changes:
			// A session that was left open is not enough to change other people's
			// accounts.
			err = c.Accounts.Recent(c.r.Context(), c.askerOf(i), c.now)
		}
		if err != nil {
			return err
		}
		return a(c, asker{i, user})
	}
}

// by says who does it, and why.
func (c *call) by(a asker, reason string) (account.By, error) {
	return account.By{Actor: a.user.ID, Reason: reason, From: c.origin()}, account.CheckReason(reason)
}

// byQuery is by where the reason stands in the address, for what has no body.
func (c *call) byQuery(a asker) (account.By, error) {
	q, err := c.query("reason")
	if err != nil {
		return account.By{}, err
	}
	return c.by(a, q["reason"])
}

// named returns the text of the path where its pattern has {name}. The path is
// split as it was sent: an address may have a slash in it, and what stands
// before that may be somebody else's name.
func (c *call) named(name string) string {
	pattern, path := strings.Split(c.r.Pattern, "/"), strings.Split(c.r.URL.EscapedPath(), "/")
	if i := slices.Index(pattern, "{"+name+"}"); i >= 0 && i < len(path) {
		text, _ := url.PathUnescape(path[i]) // the mux has read it
		return text
	}
	return ""
}

// on returns the user that the path names, by id or identifier.
func (c *call) on() (*account.User, error) {
	return c.Accounts.FindUser(c.r.Context(), c.named("user"))
}

// query returns the parameters of the address, each once, of those that are
// known here: a filter that is misspelled must not be a list of everything.
func (c *call) query(known ...string) (map[string]string, error) {
	q := map[string]string{}
	for name, values := range c.r.URL.Query() {
		if !slices.Contains(known, name) {
			return nil, &admit.FieldError{Field: name, Err: errUnknown.WithHint("There are " + strings.Join(known, ", ") + ".")}
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
	q, err := c.query("search", "role", "state", "verified", "after", "limit")
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
	Name        string       `json:"name"`
	Password    admit.Secret `json:"password"` // none: there is no signing in with one
	Roles       []string     `json:"roles"`
	Verified    bool         `json:"verified"` // the identifiers are known to be the user's
	Reason      string       `json:"reason"`
}

func (c *call) adminAddUser(a asker) error {
	var in NewUser
	if err := c.read(&in); err != nil {
		return err
	}
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
	Name     *string `json:"name"`
	Disabled *bool   `json:"disabled"`
	Reason   string  `json:"reason"`
}

func (c *call) adminChangeUser(a asker) error {
	var in UserChange
	if err := c.read(&in); err != nil {
		return err
	}
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

// does runs what has no body and no answer on the user of the path.
func (c *call) does(a asker, fn func(ctx context.Context, id string, by account.By) error) error {
	if err := c.read(&struct{}{}); err != nil {
		return err
	}
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
	Reason   string       `json:"reason"`
}

func (c *call) adminSetPassword(a asker) error {
	var in NewPassword
	if err := c.read(&in); err != nil {
		return err
	}
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

func (c *call) adminGrant(a asker) error {
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
	q, err := c.query("after", "limit")
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

// A Record is one of the audit, as the API shows it.
type Record struct {
	ID        int64     `json:"id"`
	At        time.Time `json:"at"`
	Subject   string    `json:"subject"`
	Actor     string    `json:"actor"`
	Event     string    `json:"event"`
	Detail    string    `json:"detail"`
	Reason    string    `json:"reason"`
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
func (c *call) records(more ...string) (*account.RecordQuery, map[string]string, error) {
	q, err := c.query(append(more, "subject", "actor", "event", "request_id", "text", "since", "until")...)
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
	ask, q, err := c.records("after", "limit")
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
	ask, q, err := c.records("format")
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
