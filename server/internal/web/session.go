package web

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// What the API and the pages do alike with sessions.

const (
	rememberFor  = 30 * 24 * time.Hour
	rememberIdle = 14 * 24 * time.Hour
	maxKnown     = 8   // users that one browser is known for
	maxSessions  = 100 // of one user
)

// note reads the request's session and notes that it is in use, before
// anything is written. What asks for the session again costs no second read.
func (c *call) note() {
	if c.noted {
		return
	}
	c.noted = true
	c.Sessions.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { c.r = r })).ServeHTTP(c.w, c.r)
}

// check returns the request's session and its user; the user is nil for a
// guest. For a request with an API key it is no session: only whose key it is.
func (c *call) check() (session.Info, *account.User, error) {
	if c.key != nil {
		return session.Info{Subject: c.keyUser.ID}, c.keyUser, nil
	}
	c.note()
	i, err := c.Sessions.Check(c.r)
	if err != nil {
		return i, nil, c.because(err)
	}
	user, err := c.userOf(&i)
	return i, user, err
}

// userOf returns a session's user, nil for a guest.
func (c *call) userOf(i *session.Info) (*account.User, error) {
	c.sid = i.SID[:8] // enough to find it in the log, and public
	if i.Guest() {
		return nil, nil
	}
	user, err := c.Accounts.User(c.r.Context(), i.Subject)
	if errors.Is(err, account.ErrUnknownUser) || err == nil && user.Disabled {
		return nil, &session.EndedError{SID: i.SID, Subject: i.Subject, Why: "ended_by_operator"} // a moment ago
	}
	return user, err
}

// user returns the request's session and its user, or session.ErrNone for a
// guest. Where the operation asks for a proof it refuses one that is too old.
func (c *call) user() (session.Info, *account.User, error) {
	i, user, err := c.holder()
	if err == nil && c.proof > 0 {
		err = c.within(i, c.proof)
	}
	return i, user, err
}

// within refuses a session whose proof is older, or that others may present.
func (c *call) within(i session.Info, maxAge time.Duration) error {
	if c.shown(i) {
		return account.ErrJWTShown
	}
	return c.Accounts.Within(c.r.Context(), c.askerOf(i), maxAge, c.now)
}

// holder is user however old its proof is.
func (c *call) holder() (session.Info, *account.User, error) {
	i, user, err := c.check()
	if err == nil && user == nil {
		err = session.ErrNone
	}
	return i, user, err
}

// start signs a user in who has just proved itself, and remembers the browser. It
// refuses with a *account.FactorNeeded, which is answered by failAPI and failPage,
// who must show a second factor first.
func (c *call) start(user *account.User, in guise, remember bool, amr ...string) (*session.Session[Data], error) {
	if err := c.gate(user, in, remember, amr); err != nil {
		return nil, err
	}
	return c.admit(user, in, remember, amr)
}

// admit is start behind the gate.
func (c *call) admit(user *account.User, in guise, remember bool, amr []string) (*session.Session[Data], error) {
	o := &session.StartOptions{
		AMR: amr, ACR: account.Assurance(amr...), AuthTime: c.now, Device: c.deviceInfo(), Bearer: in == asToken, JWT: in == asJWT,
	}
	if remember {
		o.Persistent, o.Lifetime, o.Idle = in == asCookie, rememberFor, rememberIdle // only a cookie can outlive a browser
	}
	if err := c.makeRoom(user.ID); err != nil {
		return nil, err
	}
	r := c.auditing(account.SessionBegun, account.Record{Event: "signed_in", Subject: user.ID, Detail: strings.Join(amr, " ")})
	s, err := c.Sessions.Start(c.w, r, user.ID, o)
	if err != nil {
		return nil, err
	}
	c.sid = s.SID[:8]
	c.observer().SessionBegun(false)
	seen := slices.ContainsFunc(c.knownOrigin().Known, func(s account.Seen) bool { return s.User == user.ID })
	if !seen {
		if err := c.Accounts.TellDevice(c.r.Context(), user, s.SID, c.origin(), c.now); err != nil {
			return nil, err
		}
	}
	if in != asCookie {
		return s, nil
	}
	c.dropJWT()
	return s, c.remember(user)
}

// signIn signs in whoever knows the password.
func (c *call) signIn(identifier string, password admit.Secret, in guise, remember bool) (*account.User, *session.Session[Data], error) {
	user, err := c.Accounts.SignIn(c.r.Context(), identifier, password, c.knownOrigin(), c.now)
	if err != nil {
		return nil, nil, err
	}
	s, err := c.start(user, in, remember, "pwd")
	if err != nil {
		return nil, nil, err
	}
	if err := c.Accounts.Confirm(c.r.Context(), user, password); err != nil {
		return nil, nil, c.overtaken(user, s, err)
	}
	return user, s, nil
}

// overtaken ends a session that began too late, and returns why.
func (c *call) overtaken(user *account.User, s *session.Session[Data], err error) error {
	c.w.Header().Del("Set-Cookie")
	r := c.auditing(account.SessionEnded, account.Record{Event: "session_ended", Detail: "overtaken", Subject: user.ID, SID: s.SID})
	// Also where the client has hung up, which may be why it cannot be told.
	return errors.Join(err, c.Sessions.EndAny(context.WithoutCancel(r.Context()), s.SID, "overtaken"))
}

// makeRoom ends the user's sessions that were unused for longest where there
// are too many: whoever has an account could otherwise fill the store, and
// make a list that no page can show.
func (c *call) makeRoom(subject string) error {
	all, err := c.Sessions.List(c.r.Context(), subject)
	if err != nil || len(all) < maxSessions {
		return err
	}
	for _, i := range all[maxSessions-1:] {
		r := c.auditing(account.SessionEnded, account.Record{Event: "session_displaced", Subject: subject, SID: i.SID})
		if err := c.Sessions.EndSID(r.Context(), subject, i.SID, "displaced"); err != nil && !errors.Is(err, admit.NotFound) {
			return err
		}
	}
	return nil
}

// guest begins a guest's session.
func (c *call) guest(bearer bool) (*session.Session[Data], error) {
	if err := c.Accounts.BeginGuest(c.origin(), c.now); err != nil {
		return nil, err
	}
	o := &session.StartOptions{Device: c.deviceInfo(), Bearer: bearer}
	s, err := c.Sessions.StartWith(c.w, c.r, "", o, func(d *Data) {
		if d.Guest == "" {
			d.Guest = strings.ToLower(rand.Text())
		}
	})
	if err == nil {
		c.observer().SessionBegun(true)
	}
	return s, err
}

func (c *call) deviceInfo() session.Device {
	from := c.origin()
	return session.Device{UserAgent: from.UserAgent, Address: from.Address}
}

// knownOrigin is origin for somebody who proves who he is: with the users that
// this browser has signed in before.
func (c *call) knownOrigin() account.Origin {
	from := c.origin()
	if value, err := c.device.Get(nil, c.r); err == nil {
		from.Device, from.Known = parseDevice(string(value))
	}
	return from
}

// parseDevice reads what the cookie of a browser says: its id, and users with the
// mark of the password that each had when it signed in.
func parseDevice(value string) (id string, known []account.Seen) {
	id, rest, _ := strings.Cut(value, " ")
	for _, text := range strings.Fields(rest) {
		user, mark, _ := strings.Cut(text, ":")
		// Without a mark it is of an older program, and says nothing of the password.
		if n, err := strconv.ParseInt(mark, 36, 64); err == nil {
			known = append(known, account.Seen{User: user, Mark: n})
		}
	}
	return id, known
}

func formatDevice(id string, known []account.Seen) string {
	for _, seen := range known {
		id += " " + seen.User + ":" + strconv.FormatInt(seen.Mark, 36)
	}
	return id
}

// remember notes that the user has signed in from this browser, so that
// whoever guesses at the user's password elsewhere does not slow it here.
func (c *call) remember(user *account.User) error {
	mark, err := c.Accounts.DeviceMark(c.r.Context(), user)
	if err != nil {
		return err
	}
	from := c.knownOrigin()
	if from.Device == "" {
		from.Device = strings.ToLower(rand.Text())
	}
	known := slices.DeleteFunc(from.Known, func(s account.Seen) bool { return s.User == user.ID })
	known = append([]account.Seen{{User: user.ID, Mark: mark}}, known...)
	return c.device.Set(c.w, []byte(formatDevice(from.Device, known[:min(len(known), maxKnown)])))
}

// signOut ends the request's session. A JWT that does not count is refused: who
// hears that all is over throws away a refresh token that is good yet.
func (c *call) signOut() error {
	i, err := c.Sessions.Check(c.r)
	if err != nil && !errors.Is(err, admit.Unauthenticated) {
		return err
	}
	r := c.auditing(account.SessionEnded, account.Record{Event: "signed_out", Subject: i.Subject})
	if err := c.Sessions.End(c.w, r, "signed_out"); err != nil {
		return err
	}
	c.dropJWT()
	return nil
}

// signOutBehind ends the session of a refresh token. One that has ended already is
// as good.
func (c *call) signOutBehind(refresh admit.Secret) error {
	if err := c.overheard(); err != nil {
		return err
	}
	f, err := c.Accounts.Behind(c.r.Context(), refresh)
	if err != nil {
		return err
	}
	r := c.auditing(account.SessionEnded, account.Record{Event: "signed_out", Subject: f.User})
	if err := c.Sessions.EndSID(r.Context(), f.User, f.SID, "signed_out"); err != nil && !errors.Is(err, session.ErrUnknown) {
		return err
	}
	c.dropJWT()
	return nil
}

// endOne ends one of the user's sessions.
func (c *call) endOne(subject, sid string) error {
	r := c.auditing(account.SessionEnded, account.Record{Event: "session_ended", Subject: subject})
	return c.Sessions.EndSID(r.Context(), subject, sid, "ended_by_user")
}

// endOthers ends all of the user's sessions but the request's.
func (c *call) endOthers(i session.Info) error {
	// Where there is none, nothing is written: a user could fill the audit.
	all, err := c.Sessions.List(c.r.Context(), i.Subject)
	if err != nil || len(all) == 1 && all[0].SID == i.SID {
		return err
	}
	r := c.auditing(account.EpochRaised, account.Record{Event: "other_sessions_ended", Subject: i.Subject, SID: i.SID})
	return c.Sessions.EndAll(r.Context(), i.Subject, i.SID, "ended_by_user")
}

// changePassword sets a new password, which ends all of the user's sessions but
// the request's.
func (c *call) changePassword(i session.Info, old, password admit.Secret) error {
	if err := c.Accounts.ChangePassword(c.r.Context(), c.askerOf(i), old, password, c.now); err != nil {
		return err
	}
	// That made every browser a stranger to the account. This one knows the new password.
	if c.knownOrigin().Device == "" {
		return nil
	}
	user, err := c.Accounts.User(c.r.Context(), i.Subject)
	if err != nil {
		return err
	}
	return c.remember(user)
}

// auditing returns the request for a change of sessions, which r is kept with
// in one transaction.
func (c *call) auditing(of account.Change, r account.Record) *http.Request {
	r.At, r.Actor = c.now, r.Subject
	return c.r.WithContext(c.Accounts.Auditing(c.r.Context(), of, r, c.origin()))
}
