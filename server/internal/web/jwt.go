package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// JWTs, for clients that present them to other services too: in a header, or in a
// cookie of pages that call such services under our own host.

// JWTCookie is the cookie that an access token may come in.
const JWTCookie = "admit-jwt"

// shown reports whether a session is presented by a JWT that others see, too: with
// it and its recent proof, a service would make itself an API key.
func (c *call) shown(i session.Info) bool {
	if !i.JWT {
		return false
	}
	var buf [1]string
	text := ""
	if len(c.r.Header["Authorization"]) > 0 {
		_, text = authorization(c.r)
	} else if all := cookie.Values(c.r.Header, c.jwt.Name(), buf[:0]); len(all) > 0 {
		text = all[0]
	}
	return c.Accounts.Shown(c.r.Context(), text)
}

// NamedBy returns what finds the session that a request presents by a JWT, in the
// Authorization header or, where there is none, in the cookie.
func NamedBy(cookieName string, proofs *dpop.Verifier, verifyJWT VerifyJWT) func(*http.Request) (*session.Named, error) {
	verify := bearers(proofs, verifyJWT)
	return func(r *http.Request) (*session.Named, error) {
		if len(r.Header["Authorization"]) > 0 {
			switch scheme, text := authorization(r); {
			case !strings.Contains(text, "."): // tokens of ours that are no JWT have none
				return nil, nil
			case scheme == proofScheme:
				return proven(r, text, proofs, verifyJWT)
			default:
				return verify(r.Context(), text)
			}
		}
		var buf [1]string
		if all := cookie.Values(r.Header, cookieName, buf[:0]); len(all) > 0 {
			return verify(r.Context(), all[0])
		}
		return nil, nil
	}
}

var errJWTCookie = admit.Invalid.New("jwt_cookie_unsupported", "Only a JWT can be asked for in a cookie of its own.").WithHint(`Leave "cookie" out, or ask with "as": "jwt".`)

// A jwtCookie says whether the access token comes in a cookie.
type jwtCookie struct {
	Cookie bool `json:"cookie,omitempty" doc:"The access token comes in the cookie __Host-admit-jwt, which scripts cannot read, and not in the answer."`
}

func (in jwtCookie) check(c *call) error {
	if in.Cookie && c.foreign {
		return &admit.FieldError{Field: "cookie", Err: errForeign}
	}
	return nil
}

// tokens are what a client with JWTs gets.
type tokens struct {
	AccessToken  string `json:"access_token,omitempty" doc:"A JWT (RFC 9068), for the Authorization header of this server and of those it is for."`
	RefreshToken string `json:"refresh_token,omitempty" doc:"For POST /api/v1/refresh. Keep the latest alone."`
	ExpiresIn    int    `json:"expires_in,omitempty" doc:"Seconds that the access token is good for."`
	TokenType    string `json:"token_type,omitempty" doc:"DPoP where both tokens are bound to the key of the proof that was sent along (RFC 9449)."`
}

// hand gives the access token out in its cookie or with the rest.
func (c *call) hand(t *account.Tokens, to jwtCookie) (tokens, error) {
	out := tokens{t.Access.Reveal(), t.Refresh.Reveal(), int(t.Life / time.Second), c.tokenType()}
	if !to.Cookie {
		return out, nil
	}
	out.AccessToken = ""
	return out, c.jwt.SetRaw(c.w, t.Access.Reveal(), t.Life)
}

// dropJWT clears the cookie where the browser has one: what it says would go
// before that of a session.
func (c *call) dropJWT() {
	var buf [1]string
	if len(cookie.Values(c.r.Header, c.jwt.Name(), buf[:0])) > 0 {
		c.jwt.Delete(c.w)
	}
}

func refreshCalls() []operation {
	return []operation{{
		call: "POST " + apiPrefix + "refresh", id: "refresh", summary: "Get a new JWT",
		about: "Nobody need sign in again. The refresh token is replaced by the one in the answer. For ten seconds the one before is answered with the same successor, so that a lost answer, or two tabs that ask at once, harm nothing; " +
			"presented later, or after the successor was used, it ends the session: somebody else has a copy. Tokens that are bound to a key need a proof of it in the header `DPoP`. What the token says of the user, such as the roles, is what is true now.",
		do:      taking((*call).apiRefresh),
		example: `{"refresh_token": "adm_r_…"}`,
		answers: []answers{{200, "The next tokens", tokens{}}},
		refuses: []*admit.Error{account.ErrRefreshToken, account.ErrRefreshReplayed, session.ErrEnded, session.ErrExpired, errForeign, errJWTCookie, dpop.ErrProof, dpop.ErrReplayed, dpop.ErrNonce},
	}}
}

type refresh struct {
	RefreshToken admit.Secret `json:"refresh_token"`
	jwtCookie
}

func (c *call) apiRefresh(in *refresh) error {
	if err := c.overheard(); err != nil {
		return err
	}
	if err := in.check(c); err != nil {
		return err
	}
	if err := c.bind(in.jwtCookie); err != nil {
		return err
	}
	t, err := c.Accounts.Refresh(c.r.Context(), in.RefreshToken, c.jkt, c.origin(), c.now)
	if err != nil {
		return c.because(err)
	}
	if t.Repeated {
		c.code = "refresh_repeated" // for the log
	}
	out, err := c.hand(t, in.jwtCookie)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, out)
}
