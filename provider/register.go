package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/internal/remote"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

// A Registration lets clients register themselves (RFC 7591, RFC 7592, OpenID Connect
// Dynamic Client Registration).
//
// Who registers brings an invite as its initial access token. Where the door is open
// strangers need none: nobody knows who they are, which the consent page has to say
// ([Client.Unverified]), and they get what standard scopes give, of people who were asked.
type Registration struct {
	Open bool
	// Spend is asked for each stranger that registers or changes what he has registered,
	// before it is read: an error of kind admit.RateLimited or admit.Unavailable keeps him
	// off. Without it a flood of them fills the store, and has addresses fetched.
	Spend func(*http.Request) error
	// Ensure has there be a key that signs with an algorithm, before a client counts on
	// it; nil where those that there are will do.
	Ensure func(context.Context, jose.Algorithm, time.Time) error
}

// An Invite is an initial access token (RFC 7591 section 1.2): who has it may register
// clients, so often, and with no more than it says.
type Invite struct {
	ID      string // the token's selector; no secret
	Digest  token.Digest
	Uses    int // that are left
	Expires time.Time
	Limits
}

// Limits are what a client that registers itself may have at most.
type Limits struct {
	Grants    []GrantType
	Scopes    []string
	Audiences []string // which it gets, for there is no metadata that asks for them
}

// Registered is of a client that has registered itself.
type Registered struct {
	Selector string // of its registration access token; "" where it may change itself no more
	Digest   token.Digest
	Invite   string // that it came with; "" of a stranger
	Limits
}

// NewInvite makes an initial access token. It is shown once.
func NewInvite(uses int, expires time.Time, l Limits) (admit.Secret, Invite) {
	t := token.New(token.Invite)
	return admit.NewSecret(t.Reveal()), Invite{ID: t.Selector(), Digest: t.Digest(), Uses: uses, Expires: expires, Limits: l}
}

// Unverified reports whether a client is a stranger's: what it says of itself, its name
// and its address, nobody has looked at. Pages must say so.
func (c *Client) Unverified() bool { return c.Registered != nil && c.Registered.Invite == "" }

// strangers is what a stranger may have: people who are asked, and their standard claims.
func strangers() Limits {
	all := []GrantType{AuthorizationCode, RefreshToken}
	return Limits{Grants: all, Scopes: DefaultScopes(all)}
}

// metadata is what a client says of itself (RFC 7591 section 2). Of the rest nothing is
// kept: no logo, for instance, which would be a stranger's picture on our page, and a
// beacon for whoever is shown it.
type metadata struct {
	RedirectURIs   []string        `json:"redirect_uris,omitempty"`
	Auth           *AuthMethod     `json:"token_endpoint_auth_method,omitempty"`
	Grants         []GrantType     `json:"grant_types,omitempty"`
	Responses      []string        `json:"response_types,omitempty"`
	Name           string          `json:"client_name,omitempty"`
	URI            string          `json:"client_uri,omitempty"`
	Scope          *string         `json:"scope,omitempty"`
	KeysURI        string          `json:"jwks_uri,omitempty"`
	Keys           json.RawMessage `json:"jwks,omitempty"`
	Application    string          `json:"application_type,omitempty"`
	Subjects       string          `json:"subject_type,omitempty"`
	Signs          jose.Algorithm  `json:"id_token_signed_response_alg,omitempty"`
	PostLogoutURIs []string        `json:"post_logout_redirect_uris,omitempty"`
	Backchannel    string          `json:"backchannel_logout_uri,omitempty"`
	Frontchannel   string          `json:"frontchannel_logout_uri,omitempty"`
	DPoP           bool            `json:"dpop_bound_access_tokens,omitempty"`
	RequirePushed  bool            `json:"require_pushed_authorization_requests,omitempty"`
	RequireSigned  bool            `json:"require_signed_request_object,omitempty"`
}

// claimed is metadata as it comes in, with what is looked at and not kept.
type claimed struct {
	metadata
	SectorURI string          `json:"sector_identifier_uri"`
	Statement json.RawMessage `json:"software_statement"`

	// What a client would count on that is not here.
	IDTokenCipher  string `json:"id_token_encrypted_response_alg"`
	UserInfoSigns  string `json:"userinfo_signed_response_alg"`
	UserInfoCipher string `json:"userinfo_encrypted_response_alg"`

	// Of a change (RFC 7592 section 2.2).
	ID            string          `json:"client_id"`
	Secret        string          `json:"client_secret"`
	Token         json.RawMessage `json:"registration_access_token"`
	At            json.RawMessage `json:"registration_client_uri"`
	Issued        json.RawMessage `json:"client_id_issued_at"`
	SecretExpires json.RawMessage `json:"client_secret_expires_at"`
}

// A registeredAnswer is what a client is told of itself (RFC 7591 section 3.2.1, RFC 7592
// section 3).
type registeredAnswer struct {
	ID            string `json:"client_id"`
	Secret        string `json:"client_secret,omitempty"` // where one was made
	SecretExpires *int64 `json:"client_secret_expires_at,omitempty"`
	Issued        int64  `json:"client_id_issued_at"`
	Token         string `json:"registration_access_token"`
	At            string `json:"registration_client_uri"`
	metadata
}

// register is where clients register themselves, and where each then looks after itself
// at an address of its own.
func (p *Provider) register(w http.ResponseWriter, r *http.Request) {
	var err error
	var a *registeredAnswer
	now, status := p.now(), http.StatusOK
	switch r.Method {
	case http.MethodPost:
		status = http.StatusCreated
		a, err = p.enrol(w, r, now)
	case http.MethodPut:
		a, err = p.reenrol(w, r, now)
	case http.MethodDelete:
		status, err = http.StatusNoContent, p.resign(r, now)
	default:
		a, err = p.enrolled(r)
	}
	switch {
	case err != nil:
		p.refuseRegistration(w, r, err)
	case a == nil:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
	default:
		write(w, status, a)
	}
}

// fieldNames are those of metadata where Check has others.
var fieldNames = map[string]string{
	"name": "client_name", "uri": "client_uri", "scopes": "scope", "auth_method": "token_endpoint_auth_method",
	"signing_alg": "id_token_signed_response_alg", "sector": "subject_type",
}

// refuseRegistration tells what is wrong as RFC 7591 section 3.2.2 has it.
func (p *Provider) refuseRegistration(w http.ResponseWriter, r *http.Request, err error) {
	p.tellRefusal(r, err)
	if f, ok := errors.AsType[*admit.FieldError](err); ok {
		if e, ok := errors.AsType[*admit.Error](f.Err); ok {
			name := f.Field
			if n := fieldNames[name]; n != "" {
				name = n
			}
			err = because(e, name+": "+e.Hint())
		}
	}
	if admit.KindOf(err) == admit.RateLimited || admit.KindOf(err) == admit.Unavailable {
		after := time.Second
		if e, ok := errors.AsType[*admit.RetryError](err); ok {
			after = e.After
		}
		status := http.StatusServiceUnavailable
		if admit.KindOf(err) == admit.RateLimited {
			status = http.StatusTooManyRequests
		}
		w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
		write(w, status, answer{"temporarily_unavailable", "There are too many registrations just now."})
		return
	}
	a, status := answerOf(err)
	if errors.Is(err, ErrInvalidToken) {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	write(w, status, a)
}

// enrol registers a client.
func (p *Provider) enrol(w http.ResponseWriter, r *http.Request, now time.Time) (*registeredAnswer, error) {
	if r.URL.RawQuery != "" {
		return nil, because(ErrInvalidRequest, "What is to be registered belongs into the body.")
	}
	shown, given, err := carried(r)
	if err != nil {
		return nil, err
	}
	l, invite := strangers(), ""
	switch {
	case given:
		i, err := p.invited(r.Context(), shown, now)
		if err != nil {
			return nil, err
		}
		l, invite = i.Limits, i.ID
	case !p.o.Registration.Open:
		return nil, because(ErrInvalidToken, "An initial access token is needed.")
	case p.o.Registration.Spend != nil:
		if err := p.o.Registration.Spend(r); err != nil {
			return nil, err
		}
	}
	in, err := readMetadata(w, r)
	if err != nil {
		return nil, err
	}
	c := &Client{ID: newID(), CreatedAt: now}
	t := token.New(token.Registration)
	c.Registered = &Registered{Selector: t.Selector(), Digest: t.Digest(), Invite: invite, Limits: l}
	secret, err := p.fill(r.Context(), c, in, now)
	if err != nil {
		return nil, err
	}
	err = p.o.Store.Update(context.WithoutCancel(r.Context()), func(tx Tx) error {
		if invite != "" { // the last use of one is one client's, whoever else tries
			if used, err := tx.UseInvite(invite, now); err != nil || !used {
				return cmp.Or(err, errInvite)
			}
		}
		if err := tx.PutClient(c); err != nil {
			return err
		}
		return tx.Note(Note{At: now, Event: "client_registered", Client: c.ID, Detail: c.ID})
	})
	if err != nil {
		return nil, err
	}
	return p.tellOf(c, t, secret), nil
}

// errInvite is one answer for every initial access token that is not good.
var errInvite = because(ErrInvalidToken, "The initial access token is not good, or no longer.")

// carried returns the token that a request carries, and whether it has one.
func carried(r *http.Request) (text string, given bool, err error) {
	headers := r.Header["Authorization"]
	if len(headers) == 0 {
		return "", false, nil
	}
	scheme, text, _ := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return "", false, because(ErrInvalidToken, "The header Authorization is not one of the scheme Bearer.")
	}
	return text, true, nil
}

// invited returns the invite that is shown. Whether a use is left, the transaction says
// that uses it.
func (p *Provider) invited(ctx context.Context, text string, now time.Time) (i *Invite, err error) {
	t, err := token.Parse(token.Invite, text)
	if err != nil {
		return nil, errInvite
	}
	if err := p.o.Store.View(ctx, func(tx Tx) (err error) {
		i, err = tx.Invite(t.Selector())
		return err
	}); err != nil {
		return nil, err
	}
	if i == nil || !t.Matches(i.Digest) || i.Uses < 1 || !now.Before(i.Expires) {
		return nil, errInvite
	}
	return i, nil
}

// readMetadata reads what a client says of itself.
func readMetadata(w http.ResponseWriter, r *http.Request) (*claimed, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, because(ErrInvalidMetadata, "The body is not application/json.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return nil, because(ErrInvalidMetadata, "The body cannot be read, or is longer than 64 KiB.")
	}
	in := &claimed{}
	if err := json.Unmarshal(body, in); err != nil {
		why := "The body is no JSON object."
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			why = printable(e.Field) + " is of another type."
		}
		return nil, because(ErrInvalidMetadata, why)
	}
	return in, nil
}

// fill makes a client be what it says of itself, within its limits, and returns its
// secret where one was made. What is wrong is refused, but for scopes: the client is told
// which it has got (RFC 7591 section 3.2.1).
func (p *Provider) fill(ctx context.Context, c *Client, in *claimed, now time.Time) (secret admit.Secret, err error) {
	wrong := func(field, why string) (admit.Secret, error) {
		return secret, because(ErrInvalidMetadata, field+": "+why)
	}
	switch {
	case len(in.Statement) > 0:
		return secret, ErrUnapproved
	case in.IDTokenCipher != "" || in.UserInfoCipher != "":
		return wrong("id_token_encrypted_response_alg", "Nothing is encrypted here.")
	case in.UserInfoSigns != "":
		return wrong("userinfo_signed_response_alg", "What userinfo answers is not signed.")
	case in.Application != "" && in.Application != "web" && in.Application != "native":
		return wrong("application_type", "It is web or native.")
	case in.Subjects != "" && in.Subjects != "public" && in.Subjects != "pairwise":
		return wrong("subject_type", "It is public or pairwise.")
	}
	for _, t := range in.Responses {
		if t != "code" {
			return wrong("response_types", "There is code.")
		}
	}
	c.Name, c.URI, c.RedirectURIs, c.PostLogoutURIs, c.BackchannelLogoutURI = strings.TrimSpace(in.Name), in.URI, in.RedirectURIs, in.PostLogoutURIs, in.Backchannel
	if c.Name == "" && len(c.RedirectURIs) > 0 { // people must read something, and where it leads to is true
		if u, err := url.Parse(c.RedirectURIs[0]); err == nil {
			c.Name = u.Host + u.Opaque
		}
	}
	c.FrontchannelLogoutURI, c.DPoP, c.RequirePushed, c.RequireSigned = in.Frontchannel, in.DPoP, in.RequirePushed, in.RequireSigned
	c.Audiences = c.Registered.Audiences
	if c.Grants = in.Grants; c.Grants == nil {
		c.Grants = []GrantType{AuthorizationCode}
	}
	for _, g := range c.Grants {
		if !slices.Contains(c.Registered.Grants, g) {
			return wrong("grant_types", printable(string(g))+" is none that is had by registering.")
		}
	}
	c.Scopes = p.scopesOf(c, in.Scope)
	if in.Scope != nil && len(strings.Fields(*in.Scope)) > 0 && len(c.Scopes) == 0 {
		return wrong("scope", "None of them is had by registering.")
	}
	if secret, err = c.prove(in); err != nil {
		return secret, err
	}
	native := slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return !strings.HasPrefix(uri, "https:") })
	c.Native = in.Application == "native" || in.Application == "" && c.Auth == NoAuth && native
	if c.Sector, err = p.sectorOf(ctx, c, in); err != nil {
		return secret, err
	}
	// OpenID Connect Dynamic Client Registration section 2.
	if c.Signs = in.Signs; c.Signs == "" {
		c.Signs = jose.RS256
	}
	if err := c.Check(p.o.InsecureLoopback); err != nil {
		return secret, err
	}
	if p.o.Registration.Ensure != nil {
		if err := p.o.Registration.Ensure(ctx, c.Signs, now); err != nil {
			return secret, err
		}
	} else if p.o.Keys.Signing(c.Signs) == nil {
		return wrong("id_token_signed_response_alg", "There is no key here that signs with "+string(c.Signs)+".")
	}
	return secret, nil
}

// scopesOf are those that a client asks for and may have; all that it may have where it
// does not say.
func (p *Provider) scopesOf(c *Client, asked *string) (all []string) {
	usual := DefaultScopes(c.Grants)
	for _, s := range c.Registered.Scopes {
		if (asked == nil || slices.Contains(strings.Fields(*asked), s)) && (!isOfPeople(s) || slices.Contains(usual, s)) && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// prove has a client prove itself as it says. A secret that it has stays.
func (c *Client) prove(in *claimed) (secret admit.Secret, err error) {
	c.Auth = AnySecret // client_secret_basic by default, and who says nothing may do either
	if in.Auth != nil {
		c.Auth = *in.Auth
	}
	c.Keys, c.KeysURI = nil, in.KeysURI
	if len(in.Keys) > 0 && string(in.Keys) != "null" {
		if c.Keys, _, err = jose.ParseKeySet(in.Keys); err != nil {
			return secret, because(ErrInvalidMetadata, "jwks: It is no JWK set.")
		}
	}
	switch c.Auth {
	case AnySecret, SecretBasic, SecretPost:
		// Keys of who proves itself by a secret are for what is not here.
		c.Keys, c.KeysURI = nil, ""
		if len(c.Secrets) == 0 {
			made, kept := NewSecret()
			secret, c.Secrets = made, []ClientSecret{kept}
		}
	case NoAuth:
		c.Keys, c.KeysURI, c.Secrets = nil, "", nil
	default:
		c.Secrets = nil
	}
	return secret, nil
}

// sectorOf is the sector of a client that asks for pairwise subjects: the host of its
// redirect URIs, or that of a list of them which it has put somewhere (OpenID Connect
// Dynamic Client Registration section 5).
func (p *Provider) sectorOf(ctx context.Context, c *Client, in *claimed) (string, error) {
	wrong := func(why string) (string, error) {
		return "", because(ErrInvalidMetadata, "sector_identifier_uri: "+why)
	}
	if in.Subjects != "pairwise" {
		if in.SectorURI != "" {
			return wrong("It is for pairwise subjects.")
		}
		return "", nil
	}
	if in.SectorURI == "" {
		sector := ""
		for i, uri := range in.RedirectURIs {
			u, err := url.Parse(uri)
			if err != nil || i > 0 && u.Hostname() != sector {
				return wrong("It is needed where redirect URIs are of more than one host.")
			}
			sector = u.Hostname()
		}
		return sector, nil
	}
	if why := checkURI(in.SectorURI, false, p.o.InsecureLoopback); why != "" {
		return wrong(why)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	text, _, err := remote.Get(ctx, remote.Client(p.reach(c)), in.SectorURI, http.Header{"Accept": {"application/json"}}, maxForm)
	var all []string
	if err != nil || json.Unmarshal(text, &all) != nil {
		// Nothing of what is there: whoever asks could have us read it to him.
		return wrong("There is no list of redirect URIs there.")
	}
	for _, uri := range in.RedirectURIs {
		if !slices.Contains(all, uri) {
			return wrong("The list there has not every redirect URI.")
		}
	}
	u, err := url.Parse(in.SectorURI)
	if err != nil {
		return "", err
	}
	return u.Hostname(), nil
}

// errRegistration is one answer for a token that is not good and a client that is not
// there: nobody learns which ids there are.
var errRegistration = because(ErrInvalidToken, "The registration access token is not that of this client, or no longer good.")

// itself returns the client that a request is about, which has shown that it is by its
// registration access token.
func itself(tx Tx, r *http.Request) (*Client, token.Token, error) {
	shown, _, err := carried(r)
	if err != nil {
		return nil, token.Token{}, err
	}
	t, err := token.Parse(token.Registration, shown)
	if err != nil {
		return nil, t, errRegistration
	}
	c, err := tx.Client(r.URL.Query().Get("client_id"))
	switch {
	case err != nil:
		return nil, t, err
	// One who runs the provider and has disabled it wants it as it is.
	case c == nil || c.Registered == nil || c.Disabled || c.Registered.Selector != t.Selector() || !t.Matches(c.Registered.Digest):
		return nil, t, errRegistration
	}
	return c, t, nil
}

// enrolled tells a client of itself (RFC 7592 section 2.1).
func (p *Provider) enrolled(r *http.Request) (a *registeredAnswer, err error) {
	err = p.o.Store.View(r.Context(), func(tx Tx) error {
		c, t, err := itself(tx, r)
		if err == nil {
			a = p.tellOf(c, t, admit.Secret{})
		}
		return err
	})
	return a, err
}

// reenrol changes a client: what it does not say is what it is not (RFC 7592 section 2.2).
// It gets another registration access token, and the one before is good no more.
func (p *Provider) reenrol(w http.ResponseWriter, r *http.Request, now time.Time) (*registeredAnswer, error) {
	var c *Client
	if err := p.o.Store.View(r.Context(), func(tx Tx) (err error) {
		c, _, err = itself(tx, r)
		return err
	}); err != nil {
		return nil, err
	}
	if spend := p.o.Registration.Spend; spend != nil && c.Unverified() {
		if err := spend(r); err != nil {
			return nil, err
		}
	}
	in, err := readMetadata(w, r)
	if err != nil {
		return nil, err
	}
	switch {
	case in.ID != c.ID:
		return nil, because(ErrInvalidMetadata, "client_id: It is another one than that of this address.")
	case in.Secret != "" && !c.has(admit.NewSecret(in.Secret), now):
		return nil, because(ErrInvalidMetadata, "client_secret: It is another one than that of this client, and is not chosen by it.")
	case len(in.Token)+len(in.At)+len(in.Issued)+len(in.SecretExpires) > 0:
		return nil, because(ErrInvalidRequest, "What is told of a registration is not for the client to say (RFC 7592 section 2.2).")
	}
	to := *c
	t, of := token.New(token.Registration), *c.Registered
	of.Selector, of.Digest = t.Selector(), t.Digest()
	to.Registered = &of
	secret, err := p.fill(r.Context(), &to, in, now)
	switch {
	case err != nil:
		return nil, err
	// Else it would be told the names of people who were let in under another promise: what
	// everybody has them by, or another sector, which nothing here proves to be its own
	// (OpenID Connect Core section 8.1).
	case to.Sector != c.Sector:
		return nil, because(ErrInvalidMetadata, "subject_type: By what it knows people stays. For another sector another client is registered.")
	}
	err = p.o.Store.Update(context.WithoutCancel(r.Context()), func(tx Tx) error {
		is, _, err := itself(tx, r) // of two changes at a time one is the first, and has the token
		if err != nil {
			return err
		}
		if secret.IsZero() && len(to.Secrets) > 0 { // they may have been replaced meanwhile
			to.Secrets = is.Secrets
		}
		if err := tx.PutClient(&to); err != nil {
			return err
		}
		return tx.Note(Note{At: now, Event: "client_registration_changed", Client: c.ID, Detail: c.ID})
	})
	if err != nil {
		return nil, err
	}
	return p.tellOf(&to, t, secret), nil
}

// resign removes a client with all that it was allowed (RFC 7592 section 2.3).
func (p *Provider) resign(r *http.Request, now time.Time) error {
	return p.o.Store.Update(context.WithoutCancel(r.Context()), func(tx Tx) error {
		c, _, err := itself(tx, r)
		if err != nil {
			return err
		}
		if c.JWT { // others verify those by themselves
			if err := tx.Tell(feed.ClientEnded(c.ID, "client_unregistered", now.Add(c.accessLife()+verifiersLeeway))); err != nil {
				return err
			}
		}
		if err := tx.DeleteClient(c.ID); err != nil {
			return err
		}
		return tx.Note(Note{At: now, Event: "client_unregistered", Client: c.ID, Detail: c.ID})
	})
}

// tellOf is what a client is told of itself: with the token that it has shown, or that
// was made for it.
func (p *Provider) tellOf(c *Client, t token.Token, secret admit.Secret) *registeredAnswer {
	auth, scope := c.Auth, strings.Join(c.Scopes, " ")
	if auth == AnySecret {
		auth = SecretBasic
	}
	a := &registeredAnswer{
		ID: c.ID, Secret: secret.Reveal(), Issued: c.CreatedAt.Unix(), Token: t.Reveal(),
		At: p.o.Issuer + p.o.Path + "/register?client_id=" + url.QueryEscape(c.ID),
		metadata: metadata{
			RedirectURIs: c.RedirectURIs, Auth: &auth, Grants: c.Grants, Name: c.Name, URI: c.URI, Scope: &scope, KeysURI: c.KeysURI,
			Application: "web", Subjects: "public", Signs: c.signs(), PostLogoutURIs: c.PostLogoutURIs, Backchannel: c.BackchannelLogoutURI,
			Frontchannel: c.FrontchannelLogoutURI, DPoP: c.DPoP, RequirePushed: c.RequirePushed, RequireSigned: c.RequireSigned,
		},
	}
	if len(c.Secrets) > 0 {
		a.SecretExpires = new(int64) // 0 is never
	}
	if c.may(AuthorizationCode) {
		a.Responses = []string{"code"}
	}
	if c.Native {
		a.Application = "native"
	}
	if c.Sector != "" {
		a.Subjects = "pairwise"
	}
	if c.Keys != nil {
		a.Keys, _ = json.Marshal(c.Keys) // Check took public keys alone, which are always marshalled
	}
	return a
}
