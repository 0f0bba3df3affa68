package provider

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"
)

const (
	flowLife   = time.Hour // from the request to the code
	maxRequest = 8 << 10   // bytes of an authorization request: it comes back in addresses, sealed
)

// A request is an authorization request on its way through the pages.
type request struct {
	form
	flow
	signed   bool     // by its client (RFC 9101)
	once     once     // what is spent when it is answered
	sent     form     // what goes on where the request is sent once more, nil for all of it
	sealed   string   // the flow as it came, "" where this is the first visit
	decision Decision // of the person
	err      error    // of a parameter
	pushing  bool     // it is pushed just now
	unknown  error    // why nobody can tell who is signed in
	nobody   bool     // is signed in

	hinted  string // the subject of id_token_hint, as its client knows it
	hintFor string // that client
	hintErr error
}

// A flow is what a request leaves in the browser while somebody signs in or is asked:
// facts alone, sealed, so that every tab has its own. It counts nothing and spends
// nothing.
type flow struct {
	Query  string `json:"q,omitempty"`
	Pushed string `json:"p,omitempty"`  // the selector of what was pushed, in place of Query
	Once   string `json:"o,omitempty"`  // by which Query is good once, that was pushed and not kept
	At     int64  `json:"at"`           // when it was first here, Unix milliseconds
	Back   bool   `json:"re,omitempty"` // it has been at a sign-in
	Raised bool   `json:"st,omitempty"` // a stronger proof was asked for
	Shown  string `json:"to,omitempty"` // the session that its consent page was made for
}

const (
	flowName   = "oauth flow"
	pushedName = "oauth pushed request"
)

// seal returns what goes to a browser and comes back, and what nobody else can make.
func (p *Provider) seal(name string, v any, now time.Time) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // an & would be six bytes
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return string(p.o.Secrets.Seal(nil, name, b.Bytes(), now)), nil
}

// unseal reads what was sealed under a name; a life of 0 is any.
func (p *Provider) unseal(name, sealed string, life time.Duration, now time.Time, to any) error {
	b, _, err := p.o.Secrets.Open(nil, name, sealed, life, now)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

// open reads a flow, and the request in it.
func (p *Provider) open(sealed string, now time.Time) (*request, error) {
	q := &request{sealed: sealed}
	err := p.unseal(flowName, sealed, 0, now, &q.flow)
	if err == nil {
		q.form, err = parseForm(q.Query)
	}
	// It was perhaps sealed anew on its way, but its age counts from the request: what is
	// fresh for it must not grow old with it.
	if err != nil || now.Sub(q.at()) > flowLife {
		return nil, because(ErrInvalidRequest, "This page is too old, or was never made here. Begin again where you came from.")
	}
	return q, nil
}

// at is when the request was first here.
func (f flow) at() time.Time { return time.UnixMilli(f.At) }

// onward is the flow as it goes on to a page.
func (f flow) onward(back bool, shown string) flow {
	f.Back, f.Shown = back, shown
	return f
}

// wasPushed reports whether the request was pushed, and found good then.
func (f flow) wasPushed() bool { return f.Pushed+f.Once != "" }

// silent reports whether no page may be shown.
func (q *request) silent() bool { return q.prompts("none") }

func (q *request) prompts(what string) bool { return slices.Contains(q.words("prompt"), what) }

// again is the query that makes this request once more.
func (q *request) again() string {
	if q.sealed != "" {
		return "flow=" + url.QueryEscape(q.sealed)
	}
	if q.sent != nil {
		return url.Values(q.sent).Encode()
	}
	return url.Values(q.form).Encode()
}

// check finds out whether a client may ask for what it asks, and what that is. The
// order is that of who reads the error: what a whole library gets wrong comes first.
func (p *Provider) check(q *request, c *Client) (a Asked, scopes []string, err error) {
	switch mode := q.get("response_mode"); {
	case q.err != nil:
		return a, nil, q.err
	// To pass over what could not be unpacked would be to do something else than what was
	// asked for (OpenID Connect Core section 6.1).
	case q.get("request") != "":
		return a, nil, ErrRequestNotSupported
	case q.get("request_uri") != "":
		return a, nil, ErrRequestURINotSupported
	case q.get("registration") != "":
		return a, nil, ErrRegistrationNotSupported
	case c.mustPush() && !q.wasPushed() && !q.pushing:
		return a, nil, because(ErrInvalidRequest, "This client pushes its requests (RFC 9126).")
	case c.RequireSigned && !q.wasPushed() && !q.signed: // what was pushed was looked at then
		return a, nil, because(ErrInvalidRequest, "This client signs its requests (RFC 9101).")
	case c.FAPI && q.get("redirect_uri") == "":
		return a, nil, because(ErrInvalidRequest, "There is no redirect_uri.")
	case q.get("response_type") == "":
		return a, nil, because(ErrInvalidRequest, "There is no response_type.")
	case q.get("response_type") != "code":
		return a, nil, ErrUnsupportedResponse
	case mode != "" && mode != "query" && mode != "form_post":
		return a, nil, because(ErrInvalidRequest, "There is no such response_mode here: it is query or form_post.")
	case !c.may(AuthorizationCode):
		return a, nil, because(ErrUnauthorizedClient, "This client is not registered for authorization codes.")
	case q.get("code_challenge") == "":
		return a, nil, because(ErrInvalidRequest, "There is no code_challenge: PKCE is demanded (RFC 7636).")
	case q.get("code_challenge_method") != "S256":
		return a, nil, because(ErrInvalidRequest, "The code_challenge_method must be S256.")
	case !isSHA256(q.get("code_challenge")):
		return a, nil, because(ErrInvalidRequest, "The code_challenge is not a SHA-256 in base64url.")
	case q.get("dpop_jkt") != "" && !isSHA256(q.get("dpop_jkt")):
		return a, nil, because(ErrInvalidRequest, "The dpop_jkt is not the SHA-256 thumbprint of a key in base64url.")
	}
	if err := q.checkPrompt(); err != nil {
		return a, nil, err
	}
	a = Asked{
		Client: c.ID, RedirectURI: q.get("redirect_uri"), Challenge: q.get("code_challenge"),
		Nonce: q.get("nonce"), JKT: q.get("dpop_jkt"), At: q.at(),
	}
	if err := a.ask(q.form, c); err != nil {
		return a, nil, err
	}
	a.Claims, scopes, err = p.wishes(q.get("claims"), a.Scopes, c)
	return a, scopes, err
}

// ask notes the scopes and resources that a client asks for, and may.
func (a *Asked) ask(f form, c *Client) error {
	for _, s := range f.words("scope") {
		switch {
		case !slices.Contains(c.Scopes, s):
			return because(ErrInvalidScope, "This client may not ask for the scope "+printable(s)+".")
		case s == scopeOffline && !c.may(RefreshToken):
			// It would come to nothing (OpenID Connect Core section 11).
		default:
			a.Scopes = union(a.Scopes, s)
		}
	}
	for _, r := range f["resource"] {
		if !slices.Contains(c.Audiences, r) {
			return because(ErrInvalidTarget, "This client may not ask for tokens for the resource "+printable(r)+".")
		}
		a.Audiences = union(a.Audiences, r)
	}
	if len(a.Audiences) == 0 && len(c.Audiences) == 1 {
		// It is what the tokens are for, and so the person is told (see audienceOf).
		a.Audiences = slices.Clone(c.Audiences)
	}
	return nil
}

// checkPrompt refuses what contradicts itself (OpenID Connect Core section 3.1.2.1).
func (q *request) checkPrompt() error {
	words := q.words("prompt")
	for _, w := range words {
		switch w {
		case "login", "consent", "select_account":
		case "none":
			if len(words) > 1 {
				return because(ErrInvalidRequest, "With prompt=none nothing else can be asked for.")
			}
		default:
			return because(ErrInvalidRequest, "There is no such prompt here: "+printable(w)+".")
		}
	}
	if text := q.get("max_age"); text != "" {
		if _, err := strconv.ParseUint(text, 10, 63); err != nil {
			return because(ErrInvalidRequest, "The max_age is not a number of seconds.")
		}
	}
	return nil
}

// maxAge is how old a proof may be; ok is false where nothing is demanded.
func (q *request) maxAge() (age time.Duration, ok bool) {
	seconds, err := strconv.ParseInt(q.get("max_age"), 10, 64)
	return time.Duration(min(seconds, 1<<31)) * time.Second, err == nil
}

// wishes reads the parameter "claims". A claim that is asked for by its name is one that
// the person is asked for, by the scope that gives it: else a client would get, unseen,
// what it may not ask for. What a client may not have, or nobody knows, is left out
// (OpenID Connect Core section 5.5). It returns the scopes with those that came of it.
func (p *Provider) wishes(text string, scopes []string, c *Client) (*ClaimsRequest, []string, error) {
	if text == "" || !slices.Contains(scopes, scopeOpenID) {
		return nil, scopes, nil
	}
	asked, err := parseClaims(text)
	if err != nil {
		return nil, nil, err
	}
	scopes = slices.Clone(scopes)
	for _, wishes := range []map[string]*ClaimWish{asked.UserInfo, asked.IDToken} {
		for _, name := range slices.Sorted(maps.Keys(wishes)) {
			switch name {
			case "sub", "acr", "amr", "auth_time": // of the sign-in itself
				continue
			}
			if p.giving(name, scopes) != "" {
				continue
			}
			if s := p.giving(name, c.Scopes); s != "" {
				scopes = append(scopes, s)
			} else {
				delete(wishes, name)
			}
		}
	}
	return asked, scopes, nil
}

func parseClaims(text string) (*ClaimsRequest, error) {
	var c *ClaimsRequest
	if err := json.Unmarshal([]byte(text), &c); err != nil || c == nil {
		return nil, because(ErrInvalidRequest, "The parameter claims cannot be read.")
	}
	return c, nil
}

// demands returns what is demanded of one claim of the ID token, by its value or
// values, and whether it is essential.
func (c *ClaimsRequest) demands(name string) (values []string, essential bool) {
	if c == nil || c.IDToken[name] == nil {
		return nil, false
	}
	w := c.IDToken[name]
	for _, raw := range append([]json.RawMessage{w.Value}, w.Values...) {
		var s string
		if json.Unmarshal(raw, &s) == nil && s != "" {
			values = append(values, s)
		}
	}
	return values, w.Essential
}

// isSHA256 reports whether a text is the S256 of something, in its one spelling.
func isSHA256(text string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(b) == 32 && len(text) == 43 // which \r and \n in it exceed
}

// union appends what is not there yet.
func union(to []string, all ...string) []string {
	for _, s := range all {
		if !slices.Contains(to, s) {
			to = append(to, s)
		}
	}
	return to
}

// within returns what of all is among may.
func within(all, may []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !slices.Contains(may, s) })
}

// without returns what of all is not among had.
func without(all, had []string) (rest []string) {
	for _, s := range all {
		if !slices.Contains(had, s) {
			rest = append(rest, s)
		}
	}
	return rest
}
