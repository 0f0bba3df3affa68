// Package providertest checks that a store keeps the promises of [provider.Store].
//
// [Run] is all there is to call. It has no options and leaves nothing out: a store that
// fails is mended, or the promise is.
package providertest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/token"
)

// A Backend is a store to be checked, and what makes for it what a provider does not
// write: records refer to clients, users and sessions that there are.
type Backend struct {
	Store provider.Store

	Client     func(provider.Client)                                // registers one, in place of one with its id
	Invite     func(provider.Invite)                                // lets who has its token register clients
	User       func() (subject string)                              // makes one who may sign in
	Session    func(subject string, expires time.Time) (sid string) // signs one in
	EndSession func(sid string)
	Told       func() []feed.Event // everything that was told, in order
}

// Run checks a store. Open is called for every check, and gives an empty one; t is that
// check's, and t.Cleanup the place to close what was opened.
//
// Times are explicit, from now on, and in whole milliseconds: no expiry is waited for.
func Run(t *testing.T, open func(t testing.TB) Backend) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.run(newKit(t, open)) })
	}
}

// A check is one promise.
type check struct {
	name string
	run  func(*kit)
}

var checks = []check{
	{"what is not there is nil and no error", absent},
	{"a client comes back as it was registered", clientComesBack},
	{"a client that registers itself comes back, and goes with all that it was allowed", clientGoes},
	{"an invite is used as often as it says, until it expires", inviteIsUsed},
	{"a session lives until its end", sessionLives},
	{"a code comes back as it was added", codeComesBack},
	{"a device comes back as it was added, by either code", deviceComesBack},
	{"a grant comes back as it was added", grantComesBack},
	{"a token comes back as it was added", tokenComesBack},
	{"a consent comes back as it was put last", consentComesBack},
	{"a consent ends once, and is listed until then", consentEnds},
	{"no record is added in the place of another", notReplaced},
	{"a code is spent once, and tells what it became", codeIsSpent},
	{"a device is decided about once, and then spent once", deviceIsDecided},
	{"what is denied becomes nothing", deniedIsNothing},
	{"a device slows down", deviceSlows},
	{"an id is spent once for each purpose", idIsSpent},
	{"what was spent is known", spentIsKnown},
	{"deliveries are due in their order, until they are dropped", deliveriesAreDue},
	{"a pushed request comes back as it was added, and goes once", pushedGoesOnce},
	{"a rotation puts the next in the place of the current", rotates},
	{"a rotation of another number does not happen", rotatesThatOne},
	{"a grant ends once", grantEnds},
	{"what lives is found by subject, client and session", grantsAreFound},
	{"a token ends", tokenEnds},
	{"what was read stays as it was", readStays},
	{"records are kept until they expire", kept},
	{"an Update that fails leaves nothing", failsWhole},
	{"an Update that panics leaves nothing", panicsWhole},
	{"an Update sees what it has written", seesItself},
	{"what is told is told once, with what it is about", tells},
	{"an ended context does nothing", endedContext},
	{"of 64 that spend a code at once one is the first", oneSpendsCode},
	{"of 64 that decide about a device at once one is the first", oneDecides},
	{"of 64 that spend a device at once one is the first", oneSpendsDevice},
	{"of 64 that use an invite at once as many do as it says", someUseInvite},
	{"of 64 that spend an id at once one is the first", oneSpendsID},
	{"of 64 that drop a pushed request at once one is the first", oneDropsPushed},
	{"of 64 parallel rotations none is lost", noLostRotation},
	{"of 64 that end a grant at once one has ended it", oneEnds},
	{"a transaction sees one moment", oneMoment},
	{"what a transaction has read is so when it commits", noWriteSkew},
	{"a View says that it writes nothing", viewWritesNothing},
}

// A kit is what a check works with.
type kit struct {
	testing.TB
	Backend
	ctx     context.Context
	now     time.Time
	subject string
	sid     string
}

// app is the client of these checks, and other another one.
const app, other = "app", "https://other.example/it?a=b"

func newKit(t testing.TB, open func(testing.TB) Backend) *kit {
	t.Helper()
	k := &kit{TB: t, Backend: open(t), ctx: t.Context(), now: time.UnixMilli(time.Now().UnixMilli()).UTC()}
	if k.Store == nil {
		t.Fatal("no store to check")
	}
	for _, id := range []string{app, other} {
		k.Client(provider.Client{
			ID: id, Name: id, Auth: provider.NoAuth, Grants: []provider.GrantType{provider.AuthorizationCode},
			RedirectURIs: []string{"https://app.example/back"}, CreatedAt: k.now,
		})
	}
	k.subject = k.User()
	k.sid = k.Session(k.subject, k.now.Add(12*time.Hour))
	return k
}

// view reads in a transaction that must succeed.
func (k *kit) view(fn func(provider.Tx) error) {
	k.Helper()
	if err := k.Store.View(k.ctx, fn); err != nil {
		k.Fatalf("View: %v", err)
	}
}

// update writes in a transaction that must succeed.
func (k *kit) update(fn func(provider.Tx) error) {
	k.Helper()
	if err := k.Store.Update(k.ctx, fn); err != nil {
		k.Fatalf("Update: %v", err)
	}
}

// read returns what one look-up finds.
func read[V any](k *kit, fn func(provider.Tx) (V, error)) (v V) {
	k.Helper()
	k.view(func(tx provider.Tx) (err error) {
		v, err = fn(tx)
		return err
	})
	return v
}

func (k *kit) code(selector string) *provider.Code {
	k.Helper()
	return read(k, func(tx provider.Tx) (*provider.Code, error) { return tx.Code(selector) })
}

func (k *kit) device(selector string) *provider.Device {
	k.Helper()
	return read(k, func(tx provider.Tx) (*provider.Device, error) { return tx.Device(selector) })
}

func (k *kit) grant(id string) *provider.Grant {
	k.Helper()
	return read(k, func(tx provider.Tx) (*provider.Grant, error) { return tx.Grant(id) })
}

func (k *kit) token(selector string) *provider.Token {
	k.Helper()
	return read(k, func(tx provider.Tx) (*provider.Token, error) { return tx.Token(selector) })
}

// same checks that a record stands as it should.
func same[V any](k *kit, got, want *V) {
	k.Helper()
	if got == nil {
		k.Fatalf("the %T is not there", got)
	}
	if g, w := canonical(reflect.ValueOf(*got)), canonical(reflect.ValueOf(*want)); !reflect.DeepEqual(g, w) {
		k.Fatalf("it is\n%+v, want\n%+v", g, w)
	}
}

// canonical is a record in which a time is its instant, and an empty list is none.
func canonical(v reflect.Value) any {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		t := v.Interface().(time.Time)
		if t.IsZero() {
			return "never"
		}
		return t.UnixNano()
	case v.Kind() == reflect.Struct:
		all := map[string]any{}
		for i := range v.NumField() {
			all[v.Type().Field(i).Name] = canonical(v.Field(i))
		}
		return all
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return canonical(v.Elem())
	case v.Kind() == reflect.Slice:
		all := make([]any, v.Len())
		for i := range all {
			all[i] = canonical(v.Index(i))
		}
		return all
	case v.Kind() == reflect.Map:
		all := map[string]any{}
		for _, key := range v.MapKeys() {
			all[key.String()] = canonical(v.MapIndex(key))
		}
		return all
	}
	return v.Interface()
}

// newCode is a code in which every field says something.
func (k *kit) newCode() *provider.Code {
	t := token.New(token.OneTime)
	return &provider.Code{
		Selector: t.Selector(), Digest: t.Digest(), Expires: k.now.Add(time.Minute),
		Session: provider.Session{
			SID: k.sid, Subject: k.subject, AuthTime: k.now.Add(-time.Millisecond), ACR: "aal2", AMR: []string{"pwd", "otp"}, Expires: k.now.Add(time.Hour),
		},
		Asked: k.asked(),
	}
}

func (k *kit) asked() provider.Asked {
	return provider.Asked{
		Client: app, RedirectURI: "https://app.example/zurück?a=%20&b='\"", Scopes: []string{"openid", "email"},
		Audiences: []string{"https://api.example"}, Challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", Nonce: "n\t❤ '",
		Claims: &provider.ClaimsRequest{
			IDToken:  map[string]*provider.ClaimWish{"email": nil, "acr": {Essential: true, Values: []rawJSON{rawJSON(`"aal2"`)}}},
			UserInfo: map[string]*provider.ClaimWish{"name": {Value: rawJSON(`{"a":1}`)}},
		},
		JKT: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", At: k.now.Add(-2 * time.Second),
	}
}

// newGrant is a grant in which every field says something that a new one can.
func (k *kit) newGrant() *provider.Grant {
	t := token.New(token.Refresh)
	return &provider.Grant{
		ID: t.Selector(), Client: app, Subject: k.subject, SID: k.sid, Scopes: []string{"openid", "email"}, Asked: k.asked(),
		AuthTime: k.now.Add(-time.Second), ACR: "aal2", AMR: []string{"pwd", "otp"}, BegunAt: k.now, Expires: k.now.Add(time.Hour),
		JKT: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", Current: t.Digest(), RotatedAt: k.now,
	}
}

// newToken is an access token of a grant, in which every field says something.
func (k *kit) newToken(g *provider.Grant) *provider.Token {
	t := token.New(token.Access)
	return &provider.Token{
		Selector: t.Selector(), Digest: t.Digest(), Grant: g.ID, Client: g.Client, Subject: g.Subject, SID: g.SID, SEV: 1<<53 + 1,
		Scopes: []string{"email"}, Audience: []string{"https://a.example", "https://b.example"}, JKT: g.JKT,
		AuthTime: g.AuthTime, ACR: g.ACR, AMR: g.AMR, Issued: k.now, Expires: k.now.Add(5 * time.Minute),
		Actors: []string{g.Client, "another"},
	}
}

// addGrant adds a grant that must be taken.
func (k *kit) addGrant() *provider.Grant {
	k.Helper()
	g := k.newGrant()
	k.update(func(tx provider.Tx) error { return tx.AddGrant(g) })
	return g
}

// addCode adds a code that must be taken.
func (k *kit) addCode() *provider.Code {
	k.Helper()
	c := k.newCode()
	k.update(func(tx provider.Tx) error { return tx.AddCode(c) })
	return c
}
