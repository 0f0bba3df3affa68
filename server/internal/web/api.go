package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// What the API itself refuses.
var (
	errAs       = admit.Invalid.New("as_unsupported", `A session is given out as "cookie" or as "token".`)
	errForeign  = admit.Invalid.New("cookie_unsupported", "Pages of another origin are given no cookie.").WithHint(`Ask with "as": "token".`)
	errSignedIn = admit.Conflict.New("signed_in", "You are signed in already.").WithHint("Sign out first.")
)

// api registers the JSON API and what programs probe.
func (s *server) api() {
	for path, m := range map[string]methods{
		"signup":          {"POST": (*call).apiSignUp},
		"signup/verify":   {"POST": (*call).apiVerify},
		"signin":          {"POST": (*call).apiSignIn},
		"guest":           {"POST": (*call).apiGuest},
		"signout":         {"POST": (*call).apiSignOut},
		"session":         {"GET": (*call).apiSession},
		"sessions":        {"GET": (*call).apiSessions, "DELETE": (*call).apiEndOthers},
		"sessions/{sid}":  {"DELETE": (*call).apiEndOne},
		"password/change": {"POST": (*call).apiChangePassword},
	} {
		s.handle(apiPrefix+path, (*call).failAPI, m)
	}
	for path, m := range ownCalls() {
		s.handle(apiPrefix+path, (*call).failAPI, m)
	}
	s.handle("/openapi.json", (*call).failAPI, methods{"GET": func(c *call) error {
		return c.answer(http.StatusOK, openAPI)
	}})
	s.admin()
	s.health()
}

// A presentation says in which form a client wants its session.
type presentation struct {
	As       string `json:"as"`
	Remember bool   `json:"remember"`
}

// ask reads the body, in which p is how the client wants its session.
func (c *call) ask(body any, p *presentation) (bearer bool, err error) {
	if err := c.read(body); err != nil {
		return false, err
	}
	return p.bearer(c)
}

// bearer reports whether the session is a token for the Authorization header
// and not a cookie.
func (p presentation) bearer(c *call) (bool, error) {
	switch {
	case p.As == "token":
		return true, nil
	case p.As != "" && p.As != "cookie":
		return false, &admit.FieldError{Field: "as", Err: errAs}
	case c.foreign:
		return false, &admit.FieldError{Field: "as", Err: errForeign}
	}
	return false, nil
}

func (c *call) apiSignUp() error {
	var in struct {
		Identifier string       `json:"identifier"`
		Password   admit.Secret `json:"password"`
		Name       string       `json:"name"`
		presentation
	}
	bearer, err := c.ask(&in, &in.presentation)
	if err != nil {
		return err
	}
	user, flow, err := c.Accounts.SignUp(c.r.Context(), account.SignUp{Identifier: in.Identifier, Password: in.Password, Name: in.Name}, c.origin(), c.now)
	if err != nil {
		return err
	}
	if user != nil {
		s, err := c.start(user, bearer, in.Remember, "pwd")
		if err != nil {
			return err
		}
		return c.signedIn(http.StatusCreated, user, s)
	}
	if !bearer {
		// For the mailed link, which is good in the browser that asked.
		if err := c.flow.Set(c.w, []byte(flow)); err != nil {
			return err
		}
	}
	return c.json(http.StatusAccepted, struct {
		State string `json:"state"`
		Flow  string `json:"flow"`
	}{"check_mail", flow})
}

func (c *call) apiVerify() error {
	var in struct {
		Flow string `json:"flow"`
		Code string `json:"code"`
		presentation
	}
	bearer, err := c.ask(&in, &in.presentation)
	if err != nil {
		return err
	}
	user, err := c.Accounts.VerifySignUp(c.r.Context(), in.Flow, in.Code, c.origin(), c.now)
	if err != nil {
		return err
	}
	s, err := c.start(user, bearer, in.Remember, "pwd")
	if err != nil {
		return err
	}
	return c.signedIn(http.StatusOK, user, s)
}

func (c *call) apiSignIn() error {
	var in struct {
		Identifier string       `json:"identifier"`
		Password   admit.Secret `json:"password"`
		presentation
	}
	bearer, err := c.ask(&in, &in.presentation)
	if err != nil {
		return err
	}
	user, s, err := c.signIn(in.Identifier, in.Password, bearer, in.Remember)
	if err != nil {
		return err
	}
	return c.signedIn(http.StatusOK, user, s)
}

// A signedIn is the answer to whoever has a session from now on.
type signedIn struct {
	State   string  `json:"state"`
	Session Session `json:"session"`
	User    *User   `json:"user,omitempty"`
	Token   string  `json:"token,omitempty"`
}

func (c *call) signedIn(status int, user *account.User, s *session.Session[Data]) error {
	shown := UserOf(user)
	return c.json(status, signedIn{"signed_in", SessionOf(&s.Info, s.SID, s.Data), &shown, s.Token.Reveal()})
}

func (c *call) apiGuest() error {
	var in struct {
		As string `json:"as"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	bearer, err := presentation{As: in.As}.bearer(c)
	if err != nil {
		return err
	}
	i, _, err := c.check()
	switch {
	case err == nil && !i.Guest():
		return errSignedIn // a guest's session would end the user's
	case err != nil && !errors.Is(err, admit.Unauthenticated):
		return err
	}
	s, err := c.guest(bearer)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, signedIn{State: "guest", Session: SessionOf(&s.Info, s.SID, s.Data), Token: s.Token.Reveal()})
}

func (c *call) apiSignOut() error {
	if err := c.read(&struct{}{}); err != nil {
		return err
	}
	if err := c.signOut(); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) apiSession() error {
	s, err := c.Sessions.Use(c.w, c.r)
	if err != nil {
		return c.because(err)
	}
	user, err := c.userOf(&s.Info)
	if err != nil {
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := appendSession(append((*buf)[:0], `{"session":`...), &s.Info, s.SID, s.Data)
	b = append(b, `,"user":`...)
	if user == nil {
		b = append(b, "null"...)
	} else {
		b = appendUser(b, user)
	}
	*buf = append(b, '}')
	return c.answer(http.StatusOK, *buf)
}

func (c *call) apiSessions() error {
	i, _, err := c.user()
	if err != nil {
		return err
	}
	all, err := c.Sessions.List(c.r.Context(), i.Subject)
	if err != nil {
		return err
	}
	out := struct {
		Sessions []Session `json:"sessions"`
	}{make([]Session, len(all))}
	for n := range all {
		out.Sessions[n] = SessionOf(&all[n], i.SID, Data{})
	}
	return c.json(http.StatusOK, out)
}

func (c *call) apiEndOne() error {
	i, _, err := c.user()
	if err != nil {
		return err
	}
	sid := strings.TrimPrefix(c.r.URL.Path, apiPrefix+"sessions/")
	if sid == i.SID {
		err = c.signOut() // the cookie goes, too
	} else {
		err = c.endOne(i.Subject, sid)
	}
	if err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) apiEndOthers() error {
	i, _, err := c.user()
	if err != nil {
		return err
	}
	if err := c.endOthers(i); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) apiChangePassword() error {
	var in struct {
		Password    admit.Secret `json:"password"`
		NewPassword admit.Secret `json:"new_password"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	i, _, err := c.user()
	if err != nil {
		return err
	}
	if err := c.changePassword(i, in.Password, in.NewPassword); err != nil {
		return err
	}
	return c.noContent()
}
