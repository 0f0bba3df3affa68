package web

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"sync"

	"github.com/admit-auth/admit/problem"
)

// A problemText is what there is to know of a code. The list of all is made
// from the sentinels in the source, by a test of package server, since neither
// init nor an import could bring here what every package refuses.
type problemText struct {
	Code     string `json:"code"`
	Kind     string `json:"kind"`
	Status   int    `json:"status"`
	Text     string `json:"text"`
	Hint     string `json:"hint,omitempty"`
	Terminal bool   `json:"terminal,omitempty"` // said by commands only
}

//go:embed problems.json
var problemsJSON []byte

// problemTexts returns all of them, in the order of their codes. They are read
// once, when somebody asks: no request that is answered well does.
var problemTexts = sync.OnceValue(func() []problemText {
	var all []problemText
	if err := json.Unmarshal(problemsJSON, &all); err != nil { // it is compiled in
		panic(err)
	}
	return all
})

// textOf returns what there is to know of a code.
func textOf(code string) problemText {
	for _, t := range problemTexts() {
		if t.Code == code {
			return t
		}
	}
	return problemText{Code: code}
}

// problemsPath is where the type of a problem leads (RFC 9457 3.1.1).
const problemsPath = "/problems/"

// moreOf says when a refusal is given, where its sentence leaves that open.
var moreOf = map[string]string{
	"malformed":            "The body is no JSON object, is not UTF-8, has a name twice or a value of the wrong type, or is too deep.",
	"unknown_field":        "`errors` names the field.",
	"too_large":            "A body may have 64 KiB.",
	"headers_too_large":    "Headers may have 16 KiB, cookies included.",
	"method_not_allowed":   "The `Allow` header says which are.",
	"cookie_unsupported":   "The pages of `cors_origins` get tokens only.",
	"no_session":           "Or it is a guest's where a user's is needed.",
	"session_ended":        "`reason` says why to who has its token, for as long as the session would have waited for its next use: `signed_out`; `signed_in_again` or `proved_again`, where the session has a newer token; `ended_by_user`; `ended_by_operator`; `ended_at_site`, another that had taken it over; `displaced` by too many others; `password_changed`; `identifier_verified`; `first_proof_took_all`; `disowned`; `way_back_taken`; `refresh_token_replayed`.",
	"session_expired":      "It was not used for too long, or its life is over.",
	"ambiguous_session":    "They are of different people. Both cookies are cleared.",
	"stale_claims":         "The roles of its user have changed, or all other sessions were ended.",
	"invalid_dpop_proof":   "RFC 9449 section 4.3 says what is looked at: one header `DPoP`; `htm` and `htu` of this request, `htu` under the public URL; `ath` of the access token, where one is sent.",
	"jwt_invalid":          "The hint says what is wrong with it.",
	"jwt_for_services":     "The setting `audiences` names others than the public URL, and the JWT is bound to no key.",
	"handover_site":        "No such name in `handover_sites`, or not its secret.",
	"bad_credentials":      "One answer for an unknown user, a wrong password and a disabled user.",
	"identifier_taken":     "Said of user names only: whether an e-mail address has an account is told to its owner alone.",
	"password_too_short":   "The setting `password_min_length` says how many characters are needed.",
	"too_many_tries":       "`Retry-After` says when.",
	"texts_spent":          "`Retry-After` is a guess. It is the same answer whether the number is known or not.",
	"guesses_spent":        "`Retry-After` says when the next password may be tried. It is the same answer whether there is such an account or not.",
	"proof_needed":         "The session is good, and must not be thrown away: `POST /api/v1/reauthenticate` makes a new proof. `WWW-Authenticate` says how old or how weak it may be at most (RFC 9470).",
	"database_unavailable": "The session is not lost.",
	"internal":             "The server's log knows more under the `request_id`.",
}

// problemsPage lists what can go wrong.
func (c *call) problemsPage() error {
	p := c.page("problems")
	p.Data = c.listed(problemTexts())
	return c.show(http.StatusOK, p)
}

// problemPage explains one code.
func (c *call) problemPage() error {
	code := c.named("code")
	if textOf(code).Text == "" {
		return problem.ErrNotFound
	}
	return c.show(http.StatusOK, c.explained(code))
}

// explained is the page about a code.
func (c *call) explained(code string) *page {
	t := c.translated(textOf(code))
	p := &page{Name: "problem", Title: t.Text}
	p.Data = struct {
		problemText
		More string
	}{t.problemText, moreOf[code]}
	return p
}

// A translated text says which language it is in: what only programs and
// terminals say stands in English alone.
type translated struct {
	problemText
	Lang string
}

func (c *call) translated(t problemText) translated {
	if zh, ok := refusals[t.Code]; ok && c.language() == "zh-CN" {
		t.Text, t.Hint = zh.Text, zh.Hint
		return translated{t, "zh-CN"}
	}
	return translated{t, "en"}
}

func (c *call) listed(all []problemText) []translated {
	var out []translated
	for _, t := range all {
		out = append(out, c.translated(t))
	}
	return out
}
