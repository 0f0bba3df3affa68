package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

const (
	deskIssuer   = "https://id.example.org"
	deskRedirect = "https://app.example.org/back"
	// Of RFC 7636 appendix B.
	deskVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	deskChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// A desk is a provider with a client, a person who is signed in, and what it tells.
type desk struct {
	testing.TB
	*Provider
	m   *Memory
	now time.Time

	mu    sync.Mutex
	told  []feed.Event // guarded by mu
	notes []Note       // guarded by mu
}

// Append implements feed.Sink.
func (d *desk) Append(_ context.Context, _ time.Time, all ...feed.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, all...)
	return nil
}

func (d *desk) note(n Note) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, n)
}

// deskKeys sign with one key for each algorithm.
type deskKeys struct {
	by  map[jose.Algorithm]*jose.Key
	set *jose.KeySet
}

func (k *deskKeys) Signing(alg jose.Algorithm) *jose.Key { return k.by[alg] }
func (k *deskKeys) KeySet(context.Context, string) (*jose.KeySet, error) {
	return k.set, nil
}
func (k *deskKeys) Published(context.Context) (*jose.KeySet, error) { return k.set, nil }

// To make an RSA key takes longer than all else here.
var deskSigning = sync.OnceValue(func() *deskKeys {
	k := &deskKeys{by: map[jose.Algorithm]*jose.Key{}}
	var public []*jose.Key
	for _, alg := range signingAlgorithms {
		key, err := jose.GenerateKey(alg, "")
		if err != nil {
			panic(err)
		}
		k.by[alg], public = key, append(public, key.Public())
	}
	k.set = jose.NewKeySet(public...)
	return k
})

func deskRing(t testing.TB, seeds ...string) *cookie.Keys {
	t.Helper()
	var lines []string
	for _, s := range seeds {
		lines = append(lines, base64.StdEncoding.EncodeToString([]byte(strings.Repeat(s, 32))))
	}
	k, err := cookie.ParseKeys(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{TB: t, now: time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)}
	d.m = NewMemory(&MemoryOptions{Feed: d, Note: d.note})
	d.m.PutUser(User{Subject: "alice", Epoch: 7, Roles: []string{"admin"}, Claims: map[string]any{
		"name": "Alice", "email": "alice@example.org", "email_verified": true, "sub": "mallory",
	}})
	d.m.PutSession(Session{
		SID: "s1", Subject: "alice", AuthTime: d.now.Add(-time.Minute), ACR: "aal1", AMR: []string{"pwd"}, Expires: d.now.Add(12 * time.Hour),
	})
	p, err := New(Options{
		Issuer: deskIssuer, Store: d.m, Keys: deskSigning(), Secrets: deskRing(t, "a"), People: deskPeople{}, InsecureLoopback: true,
		now: func() time.Time { return d.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Provider = p
	return d
}

// remade is a provider with other options.
func remade(t testing.TB, p *Provider, changes ...func(*Options)) *Provider {
	t.Helper()
	o := p.o
	for _, change := range changes {
		if change != nil {
			change(&o)
		}
	}
	made, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// deskPeople is never asked: no browser comes to this desk.
type deskPeople struct{ People }

// client registers one that can do everything, after change, and returns it with a secret.
func (d *desk) client(id string, change func(*Client)) (*Client, string) {
	d.Helper()
	secret := token.New(token.ClientSecret)
	c := Client{
		ID: id, Auth: SecretBasic, Secrets: []ClientSecret{{Selector: secret.Selector(), Digest: secret.Digest()}},
		RedirectURIs: []string{deskRedirect}, Grants: []GrantType{AuthorizationCode, RefreshToken, ClientCredentials},
		Scopes: []string{"openid", "profile", "email", "offline_access", "read", "write"}, Audiences: []string{"https://api.example.org", "https://b.example.org"},
	}
	if change != nil {
		change(&c)
	}
	d.m.PutClient(c)
	return &c, secret.Reveal()
}

// code makes a code of a client's, after change.
func (d *desk) code(client string, change func(*Code)) string {
	d.Helper()
	t := token.New(token.OneTime)
	s, _ := (&memoryTx{Memory: d.m}).Session("s1", d.now)
	if s == nil {
		d.Fatal("nobody is signed in")
	}
	c := &Code{
		Selector: t.Selector(), Digest: t.Digest(), Expires: d.now.Add(time.Minute), Session: *s,
		Asked: Asked{Client: client, RedirectURI: deskRedirect, Scopes: []string{"openid", "email", "read"}, Challenge: deskChallenge, Nonce: "n-0S6_WzA2Mj", At: d.now},
	}
	if change != nil {
		change(c)
	}
	if err := d.m.Update(d.Context(), func(tx Tx) error {
		k, err := tx.Consent(s.Subject, client)
		if k == nil {
			k = &Consent{Subject: s.Subject, Client: client, GivenAt: d.now, LastUsed: d.now}
		}
		k.Scopes, k.Audiences = c.Asked.Scopes, c.Asked.Audiences
		return errors.Join(err, tx.PutConsent(k), tx.AddCode(c))
	}); err != nil {
		d.Fatal(err)
	}
	return t.Reveal()
}

// fields are a form, from pairs.
func fields(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

// redeeming is the form of an exchange of a code.
func redeeming(code string) url.Values {
	return fields("grant_type", "authorization_code", "code", code, "redirect_uri", deskRedirect, "code_verifier", deskVerifier)
}

// A reply is what the token endpoint has said.
type reply struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

func (r *reply) string(name string) string { s, _ := r.json[name].(string); return s }

// basic is how a client with a secret asks.
func basic(id, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

// post sends a form to the token endpoint.
func (d *desk) post(f url.Values, more ...func(*http.Request)) *reply {
	d.Helper()
	r := httptest.NewRequest(http.MethodPost, deskIssuer+"/oauth/token", strings.NewReader(f.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, m := range more {
		m(r)
	}
	w := httptest.NewRecorder()
	d.Provider.token(w, r)
	a := &reply{status: w.Code, header: w.Header(), text: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &a.json); err != nil {
		d.Errorf("the answer is no JSON: %v: %q", err, a.text)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		d.Errorf("Cache-Control is %q", a.header.Get("Cache-Control"))
	}
	return a
}

// given checks that tokens were given.
func (d *desk) given(a *reply) *reply {
	d.Helper()
	if a.status != 200 || a.string("access_token") == "" || a.string("token_type") != "Bearer" {
		d.Fatalf("%d %s, want tokens", a.status, a.text)
	}
	return a
}

// refused checks that nothing was given, and what is said.
func (d *desk) refused(a *reply, code string) *reply {
	d.Helper()
	status := 400
	if code == "invalid_client" {
		status = 401
		if a.header.Get("WWW-Authenticate") == "" {
			d.Error("a 401 without WWW-Authenticate")
		}
	}
	if a.status != status || a.string("error") != code {
		d.Errorf("%d %s, want %d %s", a.status, a.text, status, code)
	}
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		if _, there := a.json[name]; there {
			d.Errorf("a refusal gives a %s", name)
		}
	}
	return a
}

// alive reports whether an opaque access token counts.
func (d *desk) alive(text string) (alive bool) {
	d.Helper()
	t, err := token.Parse(token.Access, text)
	if err != nil {
		d.Fatal(err)
	}
	if err := d.m.View(d.Context(), func(tx Tx) error {
		row, err := tx.Token(t.Selector())
		if err != nil || row == nil || !t.Matches(row.Digest) {
			return errors.Join(err, errors.New("there is no such token"))
		}
		g, err := tx.Grant(row.Grant)
		alive = g != nil && g.Ended == "" && d.now.Before(row.Expires)
		return err
	}); err != nil {
		d.Fatal(err)
	}
	return alive
}

// read returns an access token that counts, or ErrInvalidToken.
func (d *desk) read(ctx context.Context, text string, now time.Time) (*Token, error) {
	l, err := d.lookUp(ctx, text, now)
	if err != nil {
		return nil, err
	}
	return l.Token, nil
}
