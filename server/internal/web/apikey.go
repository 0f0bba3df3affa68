package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// API keys: calls that are made with one, and the calls and the page about them.

// apiKey returns the API key of the request's header. It is looked for nowhere
// else: a query ends up in logs, and a cookie is sent by any page.
func (c *call) apiKey() (text string, ok bool) {
	scheme, text := authorization(c.r)
	return text, scheme == bearerScheme && strings.HasPrefix(text, "adm_k_")
}

// byKey judges a call of the API that is made with an API key, which may do only
// what names one of its scopes. All other calls it lets pass.
func (c *call) byKey(o *operation) error {
	text, ok := c.apiKey()
	if !ok || !strings.HasPrefix(o.path(), apiPrefix) {
		return nil
	}
	key, err := c.present(text, c.now)
	if err != nil {
		return err
	}
	if o.scope == "" || !key.Has(o.scope) {
		return lacks(o.scope)
	}
	return nil
}

// errNoKey refuses who shows nothing that the feed could be followed with.
var errNoKey = admit.Unauthenticated.New("follower_unknown", "The feed is for services that show who they are.").WithHint("Send an API key with the scope feed in the Authorization header.")

// followerByKey returns with what audiences the user of an API key may follow the
// feed. It is asked again as long as the feed is followed, so each time for the
// time that it is.
func (c *call) followerByKey(text string) ([]string, error) {
	key, err := c.present(text, time.Now())
	if err != nil {
		return nil, err
	}
	if !key.Has(account.ScopeFeed) {
		return nil, lacks(account.ScopeFeed)
	}
	return key.Audiences, nil
}

// present looks at an API key that was presented.
func (c *call) present(text string, now time.Time) (*account.APIKey, error) {
	key, user, err := c.Accounts.APIKey(c.r.Context(), text, now)
	switch {
	case err == nil:
		c.key, c.keyUser = key, user
	case admit.KindOf(err) == admit.Unauthenticated:
		err = admit.WithChallenge(err, `Bearer error="invalid_token"`)
	}
	return key, err
}

// lacks refuses a key without the scope that is needed; "" where none would do.
func lacks(scope string) error {
	const challenge = `Bearer error="insufficient_scope"` // RFC 6750 section 3.1
	if scope == "" {
		return admit.WithChallenge(account.ErrScope.WithHint("No API key may make this call: sign in."), challenge)
	}
	return admit.WithChallenge(account.ErrScope.WithHint("It needs the scope "+scope+"."), challenge+`, scope="`+scope+`"`)
}

// told is what there is to say of an operation.
func (o *operation) told() string {
	if o.scope == "" {
		return o.about
	}
	return strings.TrimSpace(o.about + " With an API key: the scope `" + o.scope + "`.")
}

// keyRefusals are what may be wrong with what is asked of a new key.
var keyRefusals = []*admit.Error{
	account.ErrKeyName, account.ErrScopes, account.ErrScopeRole, account.ErrAudience, account.ErrNoAudience, account.ErrKeyLife, account.ErrManyAPIKeys,
}

// keyCalls are those about API keys.
func keyCalls() []operation {
	const p = apiPrefix
	return []operation{{
		call: "GET " + p + "api-keys", id: "listAPIKeys", summary: "The API keys of the user", session: true,
		about:   "Newest first, without those that have ended. Expired ones stay for 30 days at least.",
		do:      bare((*call).apiKeys),
		answers: []answers{{200, "The keys", apiKeys{}}},
	}, {
		call: "POST " + p + "api-keys", id: "makeAPIKey", summary: "Make an API key", session: true, proof: account.RecentProof,
		about:   "A program presents it as `Authorization: Bearer adm_k_…`, and may do what its scopes say: `profile` reads who the user is; `admin:read` reads users, roles, clients and the audit, `admin` changes users and roles as well, both while the user is an administrator; `feed` hears what ends, for the key's audiences. Only administrators may give the last three. Whatever its scopes, a key is no good for passwords, names, sessions and API keys.",
		do:      taking((*call).apiMakeKey),
		example: `{"name": "nightly report", "scopes": ["profile"], "expires_in": 2592000}`,
		answers: []answers{{201, "The key, and its text this once", madeKey{}}},
		refuses: append([]*admit.Error{account.ErrTooMany}, keyRefusals...),
	}, {
		call: "DELETE " + p + "api-keys/{key}", id: "endAPIKey", summary: "End an API key", session: true,
		do:      bare((*call).apiEndKey),
		answers: []answers{{204, "Ended: its next request is refused", nil}},
		refuses: []*admit.Error{account.ErrUnknownAPIKey},
	}, {
		call: "GET " + p + "admin/users/{user}/api-keys", id: "adminListAPIKeys", summary: "The API keys of a user", session: true,
		do:      byAdmin((*call).adminAPIKeys),
		answers: []answers{{200, "The keys", apiKeys{}}},
		refuses: []*admit.Error{errRole, account.ErrMustChange, account.ErrUnknownUser, errUnknown},
	}, {
		call: "DELETE " + p + "admin/users/{user}/api-keys/{key}", id: "adminEndAPIKey", summary: "End an API key of a user", session: true, proof: account.RecentProof,
		query:   ofReason,
		do:      byAdmin((*call).adminEndAPIKey),
		answers: []answers{{204, "Ended", nil}},
		refuses: []*admit.Error{errRole, account.ErrReason, account.ErrUnknownUser, account.ErrUnknownAPIKey, errParameter, errUnknown},
	}}
}

// An APIKey is one as the API shows it, without its secret.
type APIKey struct {
	ID         string     `json:"id" doc:"The public id."`
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	Audiences  []string   `json:"audiences" doc:"Whose news it may hear."`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty" doc:"Absent of a key that never expires."`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"To the minute; absent of a key that was not used yet."`
}

// APIKeyOf returns k as the API shows it.
func APIKeyOf(k *account.APIKey) APIKey {
	optional := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = shown(t)
		return &t
	}
	return APIKey{
		ID: k.ID, Name: k.Name, Scopes: append([]string{}, k.Scopes...), Audiences: append([]string{}, k.Audiences...),
		CreatedAt: shown(k.CreatedAt), ExpiresAt: optional(k.ExpiresAt), LastUsedAt: optional(k.LastUsed),
	}
}

type apiKeys struct {
	APIKeys []APIKey `json:"api_keys"`
}

// APIKeysOf returns keys as the API shows them.
func APIKeysOf(keys []*account.APIKey) []APIKey {
	out := make([]APIKey, len(keys))
	for i, k := range keys {
		out[i] = APIKeyOf(k)
	}
	return out
}

func (c *call) apiKeys() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	keys, err := c.Accounts.APIKeys(c.r.Context(), a.Subject)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, apiKeys{APIKeysOf(keys)})
}

type makeKey struct {
	Name      string   `json:"name" doc:"What uses it."`
	Scopes    []string `json:"scopes"`
	Audiences []string `json:"audiences,omitempty" doc:"Whose news it may hear, with the scope feed."`
	ExpiresIn int64    `json:"expires_in,omitempty" doc:"Seconds, 366 days at most; 90 days where nothing is said."`
	Forever   bool     `json:"never_expires,omitempty"`
}

// A madeKey is the answer to who has made one.
type madeKey struct {
	APIKey APIKey `json:"api_key"`
	Token  string `json:"token" doc:"The key itself. It is shown this once."`
}

func (c *call) apiMakeKey(in *makeKey) error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	life := time.Duration(in.ExpiresIn) * time.Second
	if life/time.Second != time.Duration(in.ExpiresIn) {
		return &admit.FieldError{Field: "expires_in", Err: account.ErrKeyLife}
	}
	k, tok, err := c.Accounts.MakeAPIKey(c.r.Context(), a, account.NewAPIKey{
		Name: in.Name, Scopes: in.Scopes, Audiences: in.Audiences, Life: life, Forever: in.Forever,
	}, c.now)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, madeKey{APIKeyOf(k), tok.Reveal()})
}

func (c *call) apiEndKey() error {
	a, _, err := c.asker()
	if err != nil {
		return err
	}
	if err := c.Accounts.EndOwnAPIKey(c.r.Context(), a, c.named("key"), c.now); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) adminAPIKeys(asker) error {
	if _, err := c.query(); err != nil {
		return err
	}
	user, err := c.on()
	if err != nil {
		return err
	}
	keys, err := c.Accounts.APIKeys(c.r.Context(), user.ID)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, apiKeys{APIKeysOf(keys)})
}

func (c *call) adminEndAPIKey(a asker) error {
	return c.does(a, func(ctx context.Context, id string, by account.By) error {
		return c.Accounts.EndAPIKey(ctx, id, c.named("key"), by, c.now)
	})
}

// A keyRow is one of the user's keys on the page.
type keyRow struct {
	ID, Name string
	Scopes   []string // in words
	For      string   // its audiences
	Expired  bool
	Forever  bool
	Made     moment
	Expires  moment
	Used     moment
	Unused   bool
}

// A tick is a scope that may be chosen on the page.
type tick struct {
	Name, Label string
	Checked     bool
}

// A keyPage is what the page of API keys shows.
type keyPage struct {
	Rows  []keyRow
	Ticks []tick
	Lives []choice
	Text  string // of the key that was just made
	Of    string // its name
}

func (c *call) keyPage() (*page, account.Asker, error) {
	p, i, err := c.member("apikeys")
	if err != nil {
		return nil, account.Asker{}, err
	}
	a := c.askerOf(i)
	keys, err := c.Accounts.APIKeys(c.r.Context(), i.Subject)
	if err != nil {
		return nil, a, err
	}
	p.Form = c.keyForm(p.User.HasRole(account.RoleAdmin))
	d := &keyPage{Ticks: c.ticks(p.User.HasRole(account.RoleAdmin)), Lives: c.lives("90")}
	for _, k := range keys {
		d.Rows = append(d.Rows, c.keyRow(k))
	}
	p.Data = d
	return p, a, nil
}

func (c *call) keyForm(admin bool) *form {
	f := &form{
		Action: "/account/keys", Submit: c.say("apikeys.submit"),
		Fields: []field{
			{Name: "name", Label: c.say("apikeys.name"), Type: "text", Complete: "off", Hint: c.say("apikeys.named")},
			{Name: "scopes", Label: c.say("apikeys.scopes"), Optional: true}, // the ticks
		},
	}
	if admin {
		f.Fields = append(f.Fields, field{Name: "audiences", Label: c.say("apikeys.audiences"), Type: "text", Complete: "off", Optional: true, Hint: c.say("apikeys.heard")})
	}
	return f
}

// ticks are the scopes that the user may give; the first is the usual one.
func (c *call) ticks(admin bool) []tick {
	all := []tick{{account.ScopeProfile, c.scopeText(account.ScopeProfile), true}}
	if admin {
		for _, s := range account.Scopes[1:] {
			all = append(all, tick{s, c.scopeText(s), false})
		}
	}
	return all
}

func (c *call) scopeText(scope string) string {
	switch scope {
	case account.ScopeProfile:
		return c.say("scope.profile")
	case account.ScopeFeed:
		return c.say("scope.feed")
	case account.ScopeAdminRead:
		return c.say("scope.read")
	}
	return c.say("scope.admin")
}

// lives are the days that a key may be good for; 0 is for ever.
func (c *call) lives(chosen string) []choice {
	all := []choice{
		{Tag: "30", Name: c.say("apikeys.month")}, {Tag: "90", Name: c.say("apikeys.quarter")},
		{Tag: "365", Name: c.say("apikeys.year")}, {Tag: "0", Name: c.say("apikeys.ever")},
	}
	for i := range all {
		all[i].Current = all[i].Tag == chosen
	}
	return all
}

func (c *call) keyRow(k *account.APIKey) keyRow {
	r := keyRow{
		ID: k.ID, Name: k.Name, For: strings.Join(k.Audiences, " "), Expired: !k.Good(c.now), Forever: k.ExpiresAt.IsZero(),
		Made: c.moment(k.CreatedAt), Expires: c.moment(k.ExpiresAt), Used: c.moment(k.LastUsed), Unused: k.LastUsed.IsZero(),
	}
	for _, s := range k.Scopes {
		r.Scopes = append(r.Scopes, c.scopeText(s))
	}
	return r
}

// keysPage shows the form to who has proved recently who it is: what was typed
// would be lost on the way to a proof.
func (c *call) keysPage() error {
	p, a, err := c.keyPage()
	if err != nil {
		return err
	}
	if c.Accounts.Recent(c.r.Context(), a, c.now) != nil {
		p.Form = nil
	}
	return c.show(http.StatusOK, p)
}

// keysForm makes a key, or ends the one that a button names.
func (c *call) keysForm() error {
	p, a, err := c.keyPage()
	if err != nil {
		return err
	}
	in, err := c.posted()
	if err != nil {
		return err
	}
	if id := in.Get("end"); id != "" {
		// One that is over already is what was wanted.
		if err := c.Accounts.EndOwnAPIKey(c.r.Context(), a, id, c.now); err != nil && admit.KindOf(err) != admit.NotFound {
			return err
		}
		return c.done("api_key_ended", "/account/keys")
	}
	d := p.Data.(*keyPage)
	ask := account.NewAPIKey{Name: in.Get("name"), Audiences: strings.Fields(in.Get("audiences"))}
	for i, t := range d.Ticks {
		d.Ticks[i].Checked = in.Has("scope-" + t.Name)
		if d.Ticks[i].Checked {
			ask.Scopes = append(ask.Scopes, t.Name)
		}
	}
	days, err := number(in.Get("days"), "days", 90, 0, 365)
	if err != nil {
		return err
	}
	ask.Life, ask.Forever = time.Duration(days)*24*time.Hour, days == 0
	d.Lives = c.lives(in.Get("days"))
	if _, err = c.input(p.Form); err != nil {
		return c.refuse(p, err)
	}
	k, tok, err := c.Accounts.MakeAPIKey(c.r.Context(), a, ask, c.now)
	if err != nil {
		return c.refuse(p, err)
	}
	// It is shown here and now: a page that could be asked for again would have
	// to keep it.
	made := c.page("apikey")
	made.User, made.Data = p.User, &keyPage{Text: tok.Reveal(), Of: k.Name}
	return c.show(http.StatusCreated, made)
}
