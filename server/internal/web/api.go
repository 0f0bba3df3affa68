package web

import (
	"errors"
	"net/http"
	"slices"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/statuslist"
)

// What the API itself refuses.
var (
	errAs       = admit.Invalid.New("as_unsupported", "A session is not given out in this form.").WithHint(`"cookie", "token" or "jwt"; a guest's "cookie" or "token".`)
	errForeign  = admit.Invalid.New("cookie_unsupported", "Pages of another origin are given no cookie.").WithHint(`Ask with "as": "token" or "jwt".`)
	errSignedIn = admit.Conflict.New("signed_in", "You are signed in already.").WithHint("Sign out first.")
)

// operations are the calls of the API. A new one is declared in the list of its
// part, beside its handler.
func operations() []operation {
	all := slices.Concat(sessionCalls(), factorCalls(), lostCalls(), linkCalls(), refreshCalls(), recoverCalls(), ownCalls(), ownFactorCalls(), keyCalls(), passkeyCalls(), approvalCalls(), siteCalls(), adminCalls(), probes())
	for i := range all {
		all[i].demand()
	}
	return all
}

// sessionCalls are those about accounts and sessions of who asks.
func sessionCalls() []operation {
	return []operation{{
		call: "POST " + apiPrefix + "signup", id: "signUp", summary: "Make an account",
		about:   "With a user name the account is made and signed in at once (201). With an e-mail address or a phone number a message goes out and the answer is 202, whether the address is taken or not; the flow is then proved with the code that was sent.",
		do:      taking((*call).apiSignUp),
		example: `{"identifier": "ann", "password": "correct horse battery", "name": "Ann"}`,
		answers: []answers{{201, "Signed in", signedIn{}}, {202, "A message is on its way", checkMail{}}},
		refuses: append([]*admit.Error{
			errAs, errForeign, errJWTCookie, dpop.ErrProof, dpop.ErrReplayed, dpop.ErrNonce, account.ErrIdentifier, account.ErrPhone, account.ErrTexts, account.ErrPhoneMalformed, account.ErrNameTooLong, account.ErrTaken, account.ErrMail, account.ErrTooMany,
		}, passwordRefusals...),
	}, {
		call: "POST " + apiPrefix + "signup/verify", id: "verifySignUp", summary: "Prove the address of a sign-up",
		about:   "Makes the account and signs in. The first proof takes all: whatever was set for this address before by somebody who never proved it is gone.",
		do:      taking((*call).apiVerify),
		example: `{"flow": "adm_o_…", "code": "123456"}`,
		answers: signIns,
		refuses: []*admit.Error{errAs, errForeign, errJWTCookie, dpop.ErrProof, dpop.ErrReplayed, dpop.ErrNonce, account.ErrBadCode, account.ErrFlowEnded, account.ErrTooMany},
	}, {
		call: "POST " + apiPrefix + "signin", id: "signIn", summary: "Sign in with a password",
		about:   "The session has a new id; what it held as a guest's is kept. A user has at most 100 sessions: the next sign-in ends the one that was not used for longest. JWTs are bound to a key where a proof of it comes in the header `DPoP` (RFC 9449).",
		do:      taking((*call).apiSignIn),
		example: `{"identifier": "ann", "password": "correct horse battery", "as": "token"}`,
		answers: signIns,
		refuses: []*admit.Error{errAs, errForeign, errJWTCookie, dpop.ErrProof, dpop.ErrReplayed, dpop.ErrNonce, account.ErrBadCredentials, account.ErrChanged, account.ErrGuesses, password.ErrBusy},
	}, {
		call: "POST " + apiPrefix + "guest", id: "beginGuest", summary: "Begin a guest's session",
		about:   "Its `guest_id` stays when the guest signs up or in, so that an application can give the user what the guest did. A guest who asks again keeps it and gets a new session.",
		do:      taking((*call).apiGuest),
		example: `{"as": "token"}`,
		answers: []answers{{201, "A guest", guest{}}},
		refuses: []*admit.Error{errAs, errForeign, errSignedIn, account.ErrTooMany},
	}, {
		call: "POST " + apiPrefix + "signout", id: "signOut", summary: "End this session",
		about:   "Also clears its cookie. It is no error where there is no session. A JWT that does not count ends nothing, and is refused: refresh it, and sign out with the next one, or sign out with the refresh token, which needs neither JWT nor cookie.",
		do:      taking((*call).apiSignOut),
		example: `{}`,
		answers: []answers{{204, "Ended", nil}},
		refuses: []*admit.Error{account.ErrRefreshToken, jose.ErrExpired, account.ErrJWT, access.ErrBound, access.ErrUnbound, dpop.ErrProof, dpop.ErrReplayed, dpop.ErrNonce, dpop.ErrOtherKey},
	}, {
		call: "GET " + apiPrefix + "session", id: "getSession", summary: "Who is asking", session: true,
		about:   "Whether a guest asks or a user. Applications ask it for each request of their own.",
		do:      bare((*call).apiSession),
		answers: []answers{{200, "This session and its user, null of a guest", currentSession{}}},
	}, {
		call: "GET " + apiPrefix + "sessions", id: "listSessions", summary: "All sessions of the user", session: true,
		about:   "Last seen first.",
		do:      bare((*call).apiSessions),
		answers: []answers{{200, "The sessions", sessions{}}},
	}, {
		call: "DELETE " + apiPrefix + "sessions", id: "endOtherSessions", summary: "End all other sessions of the user", session: true,
		do:      bare((*call).apiEndOthers),
		answers: []answers{{204, "Ended", nil}},
	}, {
		call: "DELETE " + apiPrefix + "sessions/{sid}", id: "endSession", summary: "End one session of the user", session: true,
		about:   "The own one is a sign-out.",
		do:      bare((*call).apiEndOne),
		answers: []answers{{204, "Ended", nil}},
		refuses: []*admit.Error{session.ErrUnknown},
	}, {
		call: "POST " + apiPrefix + "password/change", id: "changePassword", summary: "Set a new password", session: true,
		about:   "All other sessions of the user end.",
		do:      taking((*call).apiChangePassword),
		example: `{"password": "correct horse battery", "new_password": "staple another horse"}`,
		answers: []answers{{204, "Changed", nil}},
		refuses: append([]*admit.Error{account.ErrBadPassword, account.ErrChanged, account.ErrSamePassword, account.ErrTooMany}, passwordRefusals...),
	}}
}

// passwordRefusals are what is wrong with a new password.
var passwordRefusals = []*admit.Error{
	password.ErrTooShort, password.ErrTooLong, password.ErrBreached, password.ErrYourName, password.ErrBusy,
}

// probes are what programs ask of the server itself.
func probes() []operation {
	return []operation{{
		call: "GET /openapi.json", id: "describe", summary: "This description",
		do:      bare((*call).openAPI),
		answers: []answers{{200, "OpenAPI 3.1", map[string]any{}}},
	}, {
		call: "GET " + keySetPath, id: "keySet", summary: "The keys that JWTs are verified with",
		about:   "A JWK set (RFC 7517) of public keys: those that sign, will, or did for tokens that may be alive. A key is in it for longer than the answer may be kept before it signs. Scripts of any origin may read it; with `If-None-Match` an answer that is known is not sent again.",
		do:      bare((*call).publishedKeys),
		answers: []answers{{200, "The set", media{"application/jwk-set+json"}}, {304, "It is the one that was named", nil}},
	}, {
		call: "GET /status-lists/{list}", id: "statusList", summary: "Which access tokens have ended",
		about:   "A Token Status List (draft-ietf-oauth-status-list-21), for services that follow no feed, or cannot just now: a token's claim `status` names its place. It is some seconds old.",
		do:      bare((*call).statusList),
		answers: []answers{{200, "The list, signed", media{"application/" + statuslist.Type}}},
		refuses: []*admit.Error{account.ErrNoStatusList},
	}, {
		call: "GET /healthz", id: "healthz", summary: "Is the server alive",
		about:   "Answers for any Host.",
		do:      bare((*call).healthy),
		answers: []answers{{200, "It is", health{}}},
	}, {
		call: "GET /readyz", id: "readyz", summary: "May the server take traffic",
		about:   "Answers for any Host; 503 while the database is away.",
		do:      bare((*call).isReady),
		answers: []answers{{200, "It may", health{}}},
		refuses: []*admit.Error{errNotReady},
	}}
}

// A presentation says in which form a client wants its session.
type presentation struct {
	As string `json:"as,omitempty" enum:"cookie|token|jwt" doc:"In which form the session is given out; a cookie where nothing is said."`
	jwtCookie
	Remember bool `json:"remember,omitempty" doc:"30 days, 14 unused, and the cookie outlives the browser; otherwise 12 hours, 1 unused."`
}

type as struct {
	As string `json:"as,omitempty" enum:"cookie|token" doc:"In which form the session is given out; a cookie where nothing is said."`
}

// A guise is the form in which a session is given out.
type guise uint8

const (
	asCookie guise = iota
	asToken
	asJWT
)

// bearer reports whether the session is a token for the Authorization header
// and not a cookie.
func (p as) bearer(c *call) (bool, error) {
	switch {
	case p.As == "token":
		return true, c.overheard() // it would be refused if it came back
	case p.As != "" && p.As != "cookie":
		return false, &admit.FieldError{Field: "as", Err: errAs}
	case c.foreign:
		return false, &admit.FieldError{Field: "as", Err: errForeign}
	}
	return false, nil
}

// guise returns the form that is asked for.
func (p presentation) guise(c *call) (guise, error) {
	if p.As == "jwt" {
		if err := c.overheard(); err != nil {
			return 0, err
		}
		if err := p.jwtCookie.check(c); err != nil {
			return 0, err
		}
		c.inside = p.Cookie
		return asJWT, c.bind(p.jwtCookie)
	}
	if p.Cookie {
		return 0, &admit.FieldError{Field: "cookie", Err: errJWTCookie}
	}
	bearer, err := as{p.As}.bearer(c)
	if bearer {
		return asToken, err
	}
	return asCookie, err
}

type signUp struct {
	Identifier string       `json:"identifier" doc:"A user name, an e-mail address or a phone number."`
	Password   admit.Secret `json:"password"`
	Name       string       `json:"name,omitempty" doc:"What to call the person, in up to 200 characters."`
	presentation
}

// A checkMail is the answer to whoever must prove an address.
type checkMail struct {
	State string `json:"state" enum:"check_mail|check_text"`
	Flow  string `json:"flow" doc:"What only who began the sign-up has; the code alone proves nothing."`
}

func (c *call) apiSignUp(in *signUp) error {
	guise, err := in.guise(c)
	if err != nil {
		return err
	}
	user, flow, err := c.Accounts.SignUp(c.r.Context(), account.SignUp{Identifier: in.Identifier, Password: in.Password, Name: in.Name}, c.origin(), c.now)
	if err != nil {
		return err
	}
	if user != nil {
		s, err := c.start(user, guise, in.Remember, "pwd")
		if err != nil {
			return err
		}
		return c.signedIn(http.StatusCreated, user, s, in.jwtCookie)
	}
	if guise == asCookie {
		// For the mailed link, which is good in the browser that asked.
		if err := c.flow.Set(c.w, []byte(flow)); err != nil {
			return err
		}
	}
	return c.json(http.StatusAccepted, checkMail{stateOf(in.Identifier), flow})
}

// stateOf tells where to look for the message to an identifier.
func stateOf(identifier string) string {
	if id, err := account.ParseIdentifier(identifier); err == nil && id.Kind == account.Phone {
		return "check_text"
	}
	return "check_mail"
}

type verifySignUp struct {
	Flow string `json:"flow" doc:"Of the answer to the sign-up."`
	Code string `json:"code" doc:"The six digits that were sent."`
	presentation
}

func (c *call) apiVerify(in *verifySignUp) error {
	guise, err := in.guise(c)
	if err != nil {
		return err
	}
	user, err := c.Accounts.VerifySignUp(c.r.Context(), in.Flow, in.Code, c.origin(), c.now)
	if err != nil {
		return err
	}
	s, err := c.start(user, guise, in.Remember, "pwd")
	if err != nil {
		return err
	}
	return c.signedIn(http.StatusOK, user, s, in.jwtCookie)
}

type signIn struct {
	Identifier string       `json:"identifier"`
	Password   admit.Secret `json:"password"`
	presentation
}

func (c *call) apiSignIn(in *signIn) error {
	guise, err := in.guise(c)
	if err != nil {
		return err
	}
	user, s, err := c.signIn(in.Identifier, in.Password, guise, in.Remember)
	if err != nil {
		return err
	}
	return c.signedIn(http.StatusOK, user, s, in.jwtCookie)
}

// A signedIn is the answer to whoever has a session from now on.
type signedIn struct {
	State   string  `json:"state" enum:"signed_in"`
	Session Session `json:"session"`
	User    User    `json:"user"`
	Token   string  `json:"token,omitempty" doc:"For the Authorization header, where a token was asked for. It is shown this once."`
	tokens
}

// A guest is the answer to whoever has a guest's session from now on.
type guest struct {
	State   string  `json:"state" enum:"guest"`
	Session Session `json:"session"`
	Token   string  `json:"token,omitempty" doc:"As of sign-in."`
}

// signedIn answers whoever has just signed in, with JWTs where the session is for
// them.
func (c *call) signedIn(status int, user *account.User, s *session.Session[Data], to jwtCookie) error {
	out := signedIn{State: "signed_in", Session: SessionOf(&s.Info, s.SID, s.Data), User: UserOf(user), Token: s.Token.Reveal()}
	if s.JWT {
		t, err := c.Accounts.BeginFamily(c.r.Context(), s.SID, account.Grant{Client: account.OwnClient, JKT: c.jkt}, c.now)
		if err != nil {
			return err
		}
		if out.tokens, err = c.hand(t, to); err != nil {
			return err
		}
	}
	return c.json(status, out)
}

type beginGuest struct{ as }

func (c *call) apiGuest(in *beginGuest) error {
	bearer, err := in.bearer(c)
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
	return c.json(http.StatusCreated, guest{"guest", SessionOf(&s.Info, s.SID, s.Data), s.Token.Reveal()})
}

type signOut struct {
	RefreshToken admit.Secret `json:"refresh_token,omitempty" doc:"Ends the session that it is of, in place of the one that the request is made with."`
}

func (c *call) apiSignOut(in *signOut) error {
	end := c.signOut
	if !in.RefreshToken.IsZero() {
		end = func() error { return c.signOutBehind(in.RefreshToken) }
	}
	if err := end(); err != nil {
		return err
	}
	return c.noContent()
}

// A currentSession is what [call.apiSession] writes by hand.
type currentSession struct {
	Session Session `json:"session"`
	User    *User   `json:"user"`
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

type sessions struct {
	Sessions []Session `json:"sessions"`
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
	out := sessions{make([]Session, len(all))}
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
	sid := c.named("sid")
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

type changePassword struct {
	Password    admit.Secret `json:"password" doc:"The current one."`
	NewPassword admit.Secret `json:"new_password"`
}

func (c *call) apiChangePassword(in *changePassword) error {
	i, _, err := c.user()
	if err != nil {
		return err
	}
	if err := c.changePassword(i, in.Password, in.NewPassword); err != nil {
		return err
	}
	return c.noContent()
}
