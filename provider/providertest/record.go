package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/token"
)

type rawJSON = json.RawMessage

func absent(k *kit) {
	k.view(func(tx provider.Tx) error {
		gone := token.New(token.Access).Selector()
		c, err := tx.Client("nobody")
		s, err2 := tx.Session(gone, k.now)
		u, err3 := tx.User("nobody")
		o, err4 := tx.Consent(k.subject, app)
		d, err5 := tx.Code(gone)
		g, err6 := tx.Grant(gone)
		t, err7 := tx.Token(gone)
		of, err8 := tx.GrantsOf(k.subject, "")
		behind, err9 := tx.GrantsBehind(k.sid)
		if c != nil || s != nil || u != nil || o != nil || d != nil || g != nil || t != nil || len(of)+len(behind) > 0 {
			k.Errorf("there is %v %v %v %v %v %v %v %v %v", c, s, u, o, d, g, t, of, behind)
		}
		return errors.Join(err, err2, err3, err4, err5, err6, err7, err8, err9)
	})
	k.update(func(tx provider.Tx) error {
		gone := token.New(token.Access).Selector()
		first, err := tx.SpendCode(gone, "x")
		ended, err2 := tx.EndGrant(gone, "x", k.now)
		if first || ended {
			k.Errorf("SpendCode of none = %v, EndGrant of none = %v", first, ended)
		}
		return errors.Join(err, err2, tx.EndToken(gone))
	})
}

func clientComesBack(k *kit) {
	key, err := jose.GenerateKey(jose.ES256, "k1")
	if err != nil {
		k.Fatal(err)
	}
	secret := func(expires time.Time) provider.ClientSecret {
		t := token.New(token.ClientSecret)
		return provider.ClientSecret{Selector: t.Selector(), Digest: t.Digest(), Expires: expires}
	}
	whole := provider.Client{
		ID: "whole", Name: "The whole 客户", URI: "https://app.example", Auth: provider.SecretPost,
		Secrets:      []provider.ClientSecret{secret(time.Time{}), secret(k.now)},
		RedirectURIs: []string{"https://app.example/back?a=b", "app:/x"}, Native: true,
		PostLogoutURIs: []string{"https://app.example/out"}, BackchannelLogoutURI: "https://app.example/logout",
		Grants: []provider.GrantType{provider.AuthorizationCode, provider.RefreshToken}, Scopes: []string{"openid", "read"},
		Audiences: []string{"https://api.example"}, FirstParty: true, DPoP: true, RequirePushed: true, RequireSigned: true, FAPI: true, JWT: true, Signs: jose.RS256,
		CodeLife: 30 * time.Second, AccessLife: time.Minute, GrantLife: time.Hour, CreatedAt: k.now, Disabled: true,
	}
	keyed := provider.Client{
		ID: "keyed", Auth: provider.PrivateKeyJWT, Keys: jose.NewKeySet(key.Public()), Grants: []provider.GrantType{provider.ClientCredentials}, CreatedAt: k.now,
	}
	remote := keyed
	remote.ID, remote.Keys, remote.KeysURI, remote.Sector = "remote", nil, "https://app.example/jwks", "app.example"
	for _, want := range []provider.Client{whole, keyed, remote} {
		k.Client(want)
		found := read(k, func(tx provider.Tx) (*provider.Client, error) { return tx.Client(want.ID) })
		if found == nil {
			k.Fatalf("the client %q is not there", want.ID)
		}
		got := *found // for it is everybody's
		has, err := json.Marshal(got.Keys)
		registered, err2 := json.Marshal(want.Keys)
		if err := errors.Join(err, err2); err != nil || !bytes.Equal(has, registered) {
			k.Fatalf("the keys are %s, want %s, %v", has, registered, err)
		}
		got.Keys, want.Keys = nil, nil
		same(k, &got, &want)
	}
	if c := read(k, func(tx provider.Tx) (*provider.Client, error) { return tx.Client("Whole") }); c != nil {
		k.Error("a client is found by its id in another case")
	}
	again := whole
	again.Name, again.Secrets, again.Disabled = "Another name", []provider.ClientSecret{secret(time.Time{})}, false
	k.Client(again)
	same(k, read(k, func(tx provider.Tx) (*provider.Client, error) { return tx.Client("whole") }), &again)
}

func sessionLives(k *kit) {
	find := func(sid string, at time.Time) *provider.Session {
		k.Helper()
		return read(k, func(tx provider.Tx) (*provider.Session, error) { return tx.Session(sid, at) })
	}
	end := k.now.Add(time.Hour)
	sid := k.Session(k.subject, end)
	if s := find(sid, k.now); s == nil || s.SID != sid || s.Subject != k.subject || s.AuthTime.IsZero() || s.Expires.After(end) {
		k.Fatalf("the session is %+v", s)
	}
	if find(sid, end) != nil {
		k.Error("a session lives when it has expired")
	}
	k.EndSession(sid)
	if find(sid, k.now) != nil {
		k.Error("a session lives that was ended")
	}
	if find(k.sid, k.now) == nil {
		k.Error("with a session another one has ended")
	}
	if u := read(k, func(tx provider.Tx) (*provider.User, error) { return tx.User(k.subject) }); u == nil || u.Subject != k.subject {
		k.Errorf("the user is %+v", u)
	}
}

func codeComesBack(k *kit) {
	a, b := k.newCode(), k.newCode()
	b.Asked = provider.Asked{Client: other, RedirectURI: "x", At: k.now}
	b.Session.ACR, b.Session.AMR = "", nil
	k.update(func(tx provider.Tx) error { return errors.Join(tx.AddCode(a), tx.AddCode(b)) })
	same(k, k.code(a.Selector), a)
	same(k, k.code(b.Selector), b)
}

func grantComesBack(k *kit) {
	a, b := k.newGrant(), k.newGrant()
	own := &provider.Grant{ID: k.newGrant().ID, Client: other, BegunAt: k.now, RotatedAt: k.now, Expires: k.now.Add(time.Minute)}
	b.SID, b.JKT, b.Asked, b.Current = "", "", provider.Asked{}, token.Digest{}
	k.update(func(tx provider.Tx) error { return errors.Join(tx.AddGrant(a), tx.AddGrant(b), tx.AddGrant(own)) })
	for _, g := range []*provider.Grant{a, b, own} {
		same(k, k.grant(g.ID), g)
	}
}

func tokenComesBack(k *kit) {
	g := k.addGrant()
	a, b := k.newToken(g), k.newToken(g)
	b.Scopes, b.Audience, b.JKT, b.SID, b.SEV = nil, nil, "", "", 0
	k.update(func(tx provider.Tx) error { return errors.Join(tx.AddToken(a), tx.AddToken(b)) })
	same(k, k.token(a.Selector), a)
	same(k, k.token(b.Selector), b)
}

func consentComesBack(k *kit) {
	find := func(subject, client string) *provider.Consent {
		k.Helper()
		return read(k, func(tx provider.Tx) (*provider.Consent, error) { return tx.Consent(subject, client) })
	}
	a := &provider.Consent{Subject: k.subject, Client: app, Scopes: []string{"openid", "email"}, Audiences: []string{"https://api.example"}, GivenAt: k.now, LastUsed: k.now}
	b := &provider.Consent{Subject: k.subject, Client: other, Scopes: []string{"openid"}, GivenAt: k.now, LastUsed: k.now}
	k.update(func(tx provider.Tx) error { return errors.Join(tx.PutConsent(a), tx.PutConsent(b)) })
	same(k, find(k.subject, app), a)
	same(k, find(k.subject, other), b)
	if find(k.User(), app) != nil {
		k.Error("somebody else has allowed it too")
	}
	next := *a
	next.Scopes, next.Audiences, next.LastUsed = []string{"openid"}, nil, k.now.Add(time.Hour)
	k.update(func(tx provider.Tx) error { return tx.PutConsent(&next) })
	same(k, find(k.subject, app), &next)
	same(k, find(k.subject, other), b)
}

func consentEnds(k *kit) {
	k.update(func(tx provider.Tx) error {
		return errors.Join(
			tx.PutConsent(&provider.Consent{Subject: k.subject, Client: app, Scopes: []string{"openid"}, GivenAt: k.now, LastUsed: k.now}),
			tx.PutConsent(&provider.Consent{Subject: k.subject, Client: other, GivenAt: k.now, LastUsed: k.now}),
		)
	})
	clients := func(subject string) (all []string) {
		k.Helper()
		k.view(func(tx provider.Tx) error {
			consents, err := tx.Consents(subject)
			for _, c := range consents {
				all = append(all, c.Client)
			}
			return err
		})
		slices.Sort(all)
		return all
	}
	if got := clients(k.subject); !slices.Equal(got, []string{app, other}) {
		k.Errorf("the subject has allowed %v", got)
	}
	if got := clients(k.User()); len(got) > 0 {
		k.Errorf("somebody else has allowed %v", got)
	}
	for _, want := range []bool{true, false} { // the second time there is none
		k.update(func(tx provider.Tx) error {
			was, err := tx.EndConsent(k.subject, app)
			if was != want {
				k.Errorf("EndConsent = %t, want %t", was, want)
			}
			return err
		})
	}
	if got := clients(k.subject); !slices.Equal(got, []string{other}) {
		k.Errorf("after one is taken back there is %v", got)
	}
}

func notReplaced(k *kit) {
	c, g := k.addCode(), k.addGrant()
	t := k.newToken(g)
	k.update(func(tx provider.Tx) error { return tx.AddToken(t) })
	for what, add := range map[string]func(provider.Tx) error{
		"AddCode":  func(tx provider.Tx) error { d := *c; d.Asked.Nonce = "2"; return tx.AddCode(&d) },
		"AddGrant": func(tx provider.Tx) error { h := *g; h.ACR = "2"; return tx.AddGrant(&h) },
		"AddToken": func(tx provider.Tx) error { u := *t; u.ACR = "2"; return tx.AddToken(&u) },
	} {
		if err := k.Store.Update(k.ctx, add); err == nil {
			k.Errorf("%s of a name that is taken is no error", what)
		}
	}
	same(k, k.code(c.Selector), c)
	same(k, k.grant(g.ID), g)
	same(k, k.token(t.Selector), t)
}

func codeIsSpent(k *kit) {
	a, b := k.addCode(), k.addCode()
	spend := func(selector, grant string) (first bool) {
		k.Helper()
		k.update(func(tx provider.Tx) (err error) {
			first, err = tx.SpendCode(selector, grant)
			return err
		})
		return first
	}
	if !spend(a.Selector, "g1") {
		k.Fatal("who spends a code first is told that he is not the first")
	}
	for range 2 {
		if spend(a.Selector, "g2") {
			k.Fatal("a code is spent twice")
		}
	}
	want := *a
	want.Grant = "g1"
	same(k, k.code(a.Selector), &want)
	same(k, k.code(b.Selector), b)
}

func idIsSpent(k *kit) {
	spend := func(purpose, id string, until time.Time) (first bool) {
		k.Helper()
		k.update(func(tx provider.Tx) (err error) {
			first, err = tx.Spend(purpose, id, until)
			return err
		})
		return first
	}
	until := k.now.Add(time.Hour)
	for _, c := range []struct {
		purpose, id string
		want        bool
	}{
		{"a", "1", true}, {"a", "1", false}, {"b", "1", true}, {"a", "2", true}, {"a", "A", true}, {"a", "a", true}, {"a1", "", true}, {"", "a1", true}, {"b", "1", false}, {"a", "A", false},
	} {
		if got := spend(c.purpose, c.id, until); got != c.want {
			k.Errorf("Spend(%q, %q) = %v", c.purpose, c.id, got)
		}
	}
}

func rotates(k *kit) {
	g, bystander := k.addGrant(), k.addGrant()
	want := *g
	for n := range uint64(3) {
		next, at := token.New(token.Refresh).Digest(), k.now.Add(time.Duration(n+1)*1500*time.Millisecond)
		k.update(func(tx provider.Tx) error { return tx.RotateGrant(g.ID, n, next, at) })
		want.N, want.Previous, want.Current, want.RotatedAt = n+1, want.Current, next, at
		same(k, k.grant(g.ID), &want)
	}
	same(k, k.grant(bystander.ID), bystander)
}

var errAgain = errors.New("it runs again")

// The transaction insists on what it has read long ago: it may fail, or run again.
func rotatesThatOne(k *kit) {
	g, ended := k.addGrant(), k.addGrant()
	next := token.New(token.Refresh).Digest()
	k.update(func(tx provider.Tx) error { return tx.RotateGrant(g.ID, 0, next, k.now) })
	k.update(func(tx provider.Tx) error {
		_, err := tx.EndGrant(ended.ID, "gone", k.now)
		return err
	})
	for _, c := range []struct {
		id string
		n  uint64
	}{{g.ID, 0}, {g.ID, 2}, {ended.ID, 0}, {"nobody", 0}} {
		runs := 0
		err := k.Store.Update(k.ctx, func(tx provider.Tx) error {
			if runs++; runs > 1 {
				return errAgain
			}
			return tx.RotateGrant(c.id, c.n, token.New(token.Refresh).Digest(), k.now)
		})
		if err == nil {
			k.Errorf("a rotation %d of %q has happened", c.n, c.id)
		}
	}
	if got := k.grant(g.ID); got.N != 1 || got.Current != next {
		k.Errorf("the grant is %+v", got)
	}
	if got := k.grant(ended.ID); got.N != 0 || got.Ended == "" {
		k.Errorf("the grant that has ended is %+v", got)
	}
}

func grantEnds(k *kit) {
	g, bystander := k.addGrant(), k.addGrant()
	end := func(reason string) (ended bool) {
		k.Helper()
		k.update(func(tx provider.Tx) (err error) {
			ended, err = tx.EndGrant(g.ID, reason, k.now)
			return err
		})
		return ended
	}
	if !end("first") {
		k.Error("who ends a grant is told that he has not")
	}
	if end("second") {
		k.Error("a grant ends twice")
	}
	want := *g
	want.Ended = "first"
	same(k, k.grant(g.ID), &want)
	same(k, k.grant(bystander.ID), bystander)
}

func grantsAreFound(k *kit) {
	subject2 := k.User()
	sid2 := k.Session(k.subject, k.now.Add(time.Hour))
	var ids []string
	add := func(client, subject, sid string) string {
		g := k.newGrant()
		g.Client, g.Subject, g.SID = client, subject, sid
		k.update(func(tx provider.Tx) error { return tx.AddGrant(g) })
		ids = append(ids, g.ID)
		return g.ID
	}
	a, b := add(app, k.subject, k.sid), add(app, k.subject, "")
	c, d := add(other, k.subject, sid2), add(app, subject2, "")
	add(app, "", "") // the client's own
	ended, alone := add(app, k.subject, k.sid), add(other, k.subject, k.sid)
	over, told := add(app, k.subject, ""), add(app, k.subject, k.sid)
	k.update(func(tx provider.Tx) error {
		var errs []error
		for _, id := range []string{ended, over, told} {
			_, err := tx.EndGrant(id, "gone", k.now)
			errs = append(errs, err)
		}
		return errors.Join(append(errs, tx.Outlive(alone), tx.Outlive(told), tx.Outlive("nobody's"))...)
	})
	if g := k.grant(alone); g == nil || g.SID != "" {
		k.Errorf("a grant that has outlived its session: %+v", g)
	}
	found := func(what string, got []*provider.Grant, want ...string) {
		k.Helper()
		var names []string
		for _, g := range got {
			names = append(names, g.ID)
		}
		slices.Sort(names)
		slices.Sort(want)
		if !slices.Equal(names, want) {
			k.Errorf("%s: %q, want %q", what, names, want)
		}
	}
	k.view(func(tx provider.Tx) error {
		all, err := tx.GrantsOf(k.subject, "")
		of, err2 := tx.GrantsOf(k.subject, app)
		second, err3 := tx.GrantsOf(subject2, "")
		none, err4 := tx.GrantsOf(subject2, other)
		behind, err5 := tx.GrantsBehind(k.sid)
		behind2, err6 := tx.GrantsBehind(sid2)
		found("of a subject", all, a, b, c, alone, ended)
		found("of a subject with a client", of, a, b, ended)
		found("of another subject", second, d)
		found("of a subject with a client that it has nothing with", none)
		found("behind a session, the one that has ended before it too", behind, a, ended)
		found("behind another session", behind2, c)
		return errors.Join(err, err2, err3, err4, err5, err6)
	})
	k.view(func(tx provider.Tx) error {
		all, err := tx.GrantsBehind(k.sid)
		if len(all) > 0 {
			one, err := tx.Grant(all[0].ID)
			if err != nil {
				return err
			}
			same(k, all[0], one)
		}
		return err
	})
}

func tokenEnds(k *kit) {
	g := k.addGrant()
	a, b := k.newToken(g), k.newToken(g)
	k.update(func(tx provider.Tx) error { return errors.Join(tx.AddToken(a), tx.AddToken(b)) })
	k.update(func(tx provider.Tx) error { return tx.EndToken(a.Selector) })
	if got := k.token(a.Selector); got != nil && k.now.Before(got.Expires) {
		k.Errorf("a token that has ended is %+v", got)
	}
	same(k, k.token(b.Selector), b)
}

func readStays(k *kit) {
	g := k.addGrant()
	before := k.grant(g.ID)
	next := token.New(token.Refresh).Digest()
	k.update(func(tx provider.Tx) error { return tx.RotateGrant(g.ID, 0, next, k.now) })
	same(k, before, g)
	after := k.grant(g.ID)
	after.N, after.Ended, after.ACR = 99, "by whoever read it", "x"
	if got := k.grant(g.ID); got.N != 1 || got.Ended != "" || got.ACR != g.ACR {
		k.Errorf("who has read a grant has changed it: %+v", got)
	}
	added := k.newCode()
	k.update(func(tx provider.Tx) error { return tx.AddCode(added) })
	want := *added
	added.Grant, added.Digest = "by whoever added it", token.Digest{}
	same(k, k.code(want.Selector), &want)
}

// What expires next to it, and what is added later, take nothing away before its time.
func kept(k *kit) {
	g, c := k.addGrant(), k.addCode()
	t := k.newToken(g)
	k.update(func(tx provider.Tx) error {
		first, err := tx.Spend("x", "kept", k.now.Add(time.Minute))
		if !first {
			k.Error("it is spent already")
		}
		return errors.Join(err, tx.AddToken(t))
	})
	for i := range 40 {
		at := k.now.Add(time.Duration(i) * time.Second)
		h := k.newGrant()
		h.BegunAt, h.RotatedAt, h.Expires = at, at, at.Add(2*time.Second)
		u := k.newToken(h)
		u.Issued, u.Expires = at, at.Add(time.Second)
		k.update(func(tx provider.Tx) error { return errors.Join(tx.AddGrant(h), tx.AddToken(u)) })
	}
	same(k, k.grant(g.ID), g)
	same(k, k.code(c.Selector), c)
	same(k, k.token(t.Selector), t)
	k.update(func(tx provider.Tx) error {
		first, err := tx.Spend("x", "kept", k.now.Add(time.Minute))
		if first {
			k.Error("an id is forgotten before its time")
		}
		return err
	})
}

// A token that is given in a View, and that nothing is left of, would be good nowhere.
func viewWritesNothing(k *kit) {
	g := k.addGrant()
	t := k.newToken(g)
	for what, write := range map[string]func(provider.Tx) error{
		"AddToken": func(tx provider.Tx) error { return tx.AddToken(t) },
		"Tell": func(tx provider.Tx) error {
			return tx.Tell(feed.GrantEnded(g.ID, k.subject, "x", k.now.Add(time.Hour)))
		},
		"Note": func(tx provider.Tx) error { return tx.Note(provider.Note{At: k.now, Event: "x", Client: app}) },
	} {
		if err := k.Store.View(k.ctx, write); !errors.Is(err, provider.ErrReadOnly) {
			k.Errorf("%s in a View: %v, want provider.ErrReadOnly", what, err)
		}
	}
}

var errFailed = errors.New("it fails")

// everything does all that a transaction can write, and returns what undone looks at.
func (k *kit) everything(tx provider.Tx, g *provider.Grant, c *provider.Code, t *provider.Token) (undone func(), err error) {
	newG, newC := k.newGrant(), k.newCode()
	newT := k.newToken(newG)
	first, err := tx.SpendCode(c.Selector, newG.ID)
	one, err2 := tx.Spend("x", "undone", k.now.Add(time.Hour))
	if !first || !one {
		k.Errorf("SpendCode = %v, Spend = %v", first, one)
	}
	newD := k.newDevice()
	err = errors.Join(err, err2, tx.AddGrant(newG), tx.AddCode(newC), tx.AddDevice(newD), tx.AddToken(newT),
		tx.RotateGrant(g.ID, g.N, token.New(token.Refresh).Digest(), k.now.Add(time.Minute)), tx.EndToken(t.Selector),
		tx.PutConsent(&provider.Consent{Subject: k.subject, Client: app, Scopes: []string{"openid"}, GivenAt: k.now, LastUsed: k.now}),
		tx.Tell(feed.GrantEnded(g.ID, k.subject, "undone", k.now.Add(time.Hour))),
		tx.Note(provider.Note{At: k.now, Event: "undone", Subject: k.subject, Client: app}))
	ended, err3 := tx.EndGrant(g.ID, "undone", k.now)
	if !ended {
		k.Error("EndGrant has not ended the grant")
	}
	return func() {
		k.Helper()
		same(k, k.grant(g.ID), g)
		same(k, k.code(c.Selector), c)
		same(k, k.token(t.Selector), t)
		if k.device(newD.Selector) != nil || k.deviceOf(newD.UserCode) != nil || k.grant(newG.ID) != nil || k.code(newC.Selector) != nil || k.token(newT.Selector) != nil {
			k.Error("something that was added is there")
		}
		k.view(func(tx provider.Tx) error {
			o, err := tx.Consent(k.subject, app)
			of, err2 := tx.GrantsOf(k.subject, "")
			behind, err3 := tx.GrantsBehind(k.sid)
			if o != nil || len(of) != 1 || len(behind) != 1 {
				k.Errorf("consent %+v, %d grants of the subject, %d behind the session", o, len(of), len(behind))
			}
			return errors.Join(err, err2, err3)
		})
		if told := k.Told(); len(told) > 0 {
			k.Errorf("told: %+v", told)
		}
		k.update(func(tx provider.Tx) error {
			first, err := tx.Spend("x", "undone", k.now.Add(time.Hour))
			again, err2 := tx.SpendCode(c.Selector, "again")
			if !first || !again {
				k.Errorf("Spend = %v, SpendCode = %v", first, again)
			}
			return errors.Join(err, err2)
		})
	}, errors.Join(err, err3)
}

func failsWhole(k *kit) {
	g, c := k.addGrant(), k.addCode()
	t := k.newToken(g)
	k.update(func(tx provider.Tx) error { return tx.AddToken(t) })
	var undone func()
	err := k.Store.Update(k.ctx, func(tx provider.Tx) (err error) {
		if undone, err = k.everything(tx, g, c, t); err != nil {
			k.Fatalf("write: %v", err)
		}
		return errFailed
	})
	if !errors.Is(err, errFailed) {
		k.Errorf("Update = %v, want the function's error", err)
	}
	undone()
}

func panicsWhole(k *kit) {
	g, c := k.addGrant(), k.addCode()
	t := k.newToken(g)
	k.update(func(tx provider.Tx) error { return tx.AddToken(t) })
	var undone func()
	func() {
		defer func() { recover() }()
		k.Store.Update(k.ctx, func(tx provider.Tx) (err error) {
			if undone, err = k.everything(tx, g, c, t); err != nil {
				k.Errorf("write: %v", err)
			}
			panic(errFailed)
		})
		k.Error("a panic has disappeared")
	}()
	undone()
}

func seesItself(k *kit) {
	k.update(func(tx provider.Tx) error {
		g, c := k.newGrant(), k.newCode()
		t := k.newToken(g)
		if err := errors.Join(tx.AddGrant(g), tx.AddCode(c), tx.AddToken(t)); err != nil {
			return err
		}
		_, err := tx.SpendCode(c.Selector, g.ID)
		again, err2 := tx.SpendCode(c.Selector, g.ID)
		hasG, err3 := tx.Grant(g.ID)
		hasC, err4 := tx.Code(c.Selector)
		hasT, err5 := tx.Token(t.Selector)
		of, err6 := tx.GrantsOf(k.subject, app)
		if again || hasG == nil || hasC == nil || hasC.Grant != g.ID || hasT == nil || len(of) != 1 {
			k.Errorf("SpendCode = %v, %v, %v, %v, %d grants", again, hasG, hasC, hasT, len(of))
		}
		return errors.Join(err, err2, err3, err4, err5, err6)
	})
}

func tells(k *kit) {
	g, h := k.addGrant(), k.addGrant()
	k.update(func(tx provider.Tx) error {
		_, err := tx.EndGrant(g.ID, "one", k.now)
		_, err2 := tx.EndGrant(h.ID, "two", k.now)
		return errors.Join(err, err2,
			tx.Tell(feed.GrantEnded(g.ID, k.subject, "one", k.now.Add(time.Hour))), tx.Tell(feed.GrantEnded(h.ID, k.subject, "two", k.now.Add(time.Hour))))
	})
	told := k.Told()
	if len(told) != 2 || told[0].Target != g.ID || told[1].Target != h.ID || told[0].Kind != feed.Grant || told[0].Reason != "one" || told[0].Subject != k.subject {
		k.Errorf("told: %+v", told)
	}
}
