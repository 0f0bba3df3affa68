package sessiontest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/session"
)

// RunSealed checks sessions that travel in their cookies, with a store that keeps
// their guards: see [session.NewSealed]. Open is as for [Run], which checks the
// store itself.
func RunSealed(t *testing.T, open func(t testing.TB) Backend) {
	for _, c := range sealedChecks {
		t.Run(c.name, func(t *testing.T) { c.run(newSealedKit(t, open, nil)) })
	}
}

var sealedChecks = []check{
	{"points that were spent do not come back", spentOnce},
	{"an older cookie is refused once the newer one has been seen", olderRefused},
	{"a lost answer is made up for", lostAnswer},
	{"six parallel requests break nobody", sixAtOnce},
	{"of 50 parallel updates none is lost", noLostUpdate},
	{"an ended session is not revived by an update in flight", notRevived},
	{"a sign-in keeps the guest's data and kills its id", signIn},
	{"end all ends every session but one at once", endAll},
	{"a change of claims ends no session, and none that has ended comes back", claimsChange},
	{"sessions are listed", listSessions},
	{"a session ends with its guard", missingGuard},
	{"a proof leaves an older cookie behind", provedSealed},
	{"a cookie is good for one session, under one name, with one ring of keys", oneCookie},
	{"a planted cookie neither hides a session nor takes its place", plantedSealed},
	{"what a browser would drop is refused and changes nothing", tooBigSealed},
	{"the store sees no data, and soon keeps none", nothingKept},
	{"keys are changed and nobody is signed out", rotatedKeys},
}

// noticed is how long a manager of these checks rolls an older cookie forward, and
// a little more.
const noticed = 600 * time.Millisecond

// newSealedKit makes managers as build does, NewSealed for nil.
func newSealedKit(t testing.TB, open func(testing.TB) Backend, build func(session.Store, *cookie.Keys, *session.Options) (*session.Manager[visit], error)) *kit {
	t.Helper()
	k := newKit(t, open)
	k.line = cookie.GenerateKey()
	keys, err := cookie.ParseKeys(k.line)
	if err != nil {
		t.Fatal(err)
	}
	if build == nil {
		build = session.NewSealed[visit]
	}
	k.build = func(o *session.Options) (*session.Manager[visit], error) { return build(k.Store, keys, o) }
	k.keys = keys
	return k
}

func newKeys(t testing.TB) *cookie.Keys {
	t.Helper()
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// hasty returns a manager that notices soon what a browser has.
func (k *kit) hasty() *session.Manager[visit] {
	k.Helper()
	m, err := k.build(&session.Options{Idle: 10 * time.Second})
	if err != nil {
		k.Fatal(err)
	}
	return m
}

// set makes the count n.
func (k *kit) set(m *session.Manager[visit], b *browser, n int) {
	k.Helper()
	if _, err := b.update(m, func(v *visit) error { v.Count = n; return nil }); err != nil {
		k.Fatalf("Update: %v", err)
	}
}

// see returns what a request through Handler sees.
func (b *browser) see(m *session.Manager[visit]) (s *session.Session[visit], err error) {
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s, err = m.Load(r) })).ServeHTTP(w, b.request())
	b.take(w)
	return s, err
}

func (k *kit) sees(m *session.Manager[visit], b *browser, want int) *session.Session[visit] {
	k.Helper()
	s, err := b.see(m)
	if err != nil {
		k.Fatalf("Load: %v", err)
	}
	if s.Data.Count != want {
		k.Fatalf("the count is %d, want %d", s.Data.Count, want)
	}
	return s
}

// The attack: Mallory has 100 points, spends 20, and pastes the cookie from before.
func spentOnce(k *kit) {
	managers := []*session.Manager[visit]{k.manager(), k.manager()}
	mallory := &browser{}
	k.set(managers[0], mallory, 100)
	before := *mallory
	spend := func(v *visit) error {
		if v.Count -= 20; v.Count < 0 {
			return errors.New("no points left")
		}
		return nil
	}
	for n := range 5 {
		pasted := before
		s, err := pasted.update(managers[n%2], spend)
		if err != nil {
			return // refused: she gets nothing for it
		}
		if want := 80 - 20*n; s.Data.Count != want {
			k.Fatalf("after 20 of 100 points were spent %d times, %d are left", n+1, s.Data.Count)
		}
	}
	pasted := before
	if s, err := pasted.update(managers[1], spend); err == nil {
		k.Fatalf("100 points were spent six times by 20, %d are left", s.Data.Count)
	}
}

func olderRefused(k *kit) {
	m := k.hasty()
	b := &browser{}
	k.set(m, b, 1)
	before := *b
	for n := 2; n < 5; n++ { // until everybody knows that the browser has a newer one
		k.set(m, b, n)
		time.Sleep(noticed)
		k.sees(m, b, n)
	}
	w := httptest.NewRecorder()
	for name, try := range map[string]func(r *http.Request) error{
		"Load":   func(r *http.Request) error { _, err := m.Load(r); return err },
		"Update": func(r *http.Request) error { _, err := m.Update(w, r, count); return err },
	} {
		err := try(before.request())
		var ended *session.EndedError
		if !errors.As(err, &ended) || ended.Why != session.ReasonReplaced {
			k.Fatalf("%s of an old cookie: %v, want ErrEnded, replaced", name, err)
		}
	}
	if len(w.Result().Cookies()) > 0 {
		k.Fatal("the answer to an old cookie sets one")
	}
	if err := m.End(w, before.request(), "signed_out"); err != nil {
		k.Fatal(err)
	}
	k.sees(m, b, 4) // who has an old cookie cannot end the session either
}

func lostAnswer(k *kit) {
	m, other := k.hasty(), k.hasty()
	b := &browser{}
	k.start(m, b, "alice")
	for n := 1; n < 4; n++ {
		lost := *b
		k.set(m, &lost, n)
		time.Sleep(noticed)
		if s := k.alive(other, b); s.Data.Count != n {
			k.Fatalf("the count is %d, want %d", s.Data.Count, n)
		}
		older := b.cookie
		k.sees(other, b, n)
		if b.cookie == older {
			k.Fatal("the answer does not bring the newer cookie")
		}
		again := &browser{cookie: older}
		k.sees(other, again, n) // that answer was lost too
	}
}

func sixAtOnce(k *kit) {
	managers := []*session.Manager[visit]{k.hasty(), k.hasty()}
	b := &browser{}
	k.start(managers[0], b, "alice")
	for round := range 3 {
		var all sync.WaitGroup
		jars := make([]browser, 6)
		errs := make([]error, len(jars))
		for i := range jars {
			jars[i] = *b
			all.Go(func() { _, errs[i] = jars[i].update(managers[i%2], count) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			k.Fatal(err)
		}
		for i := range jars { // whichever answer came last
			k.sees(managers[i%2], &jars[i], 6*(round+1))
		}
		*b = jars[round]
	}
	ahead := *b
	k.set(managers[0], &ahead, 100)
	k.sees(managers[1], &ahead, 100) // the newer one is presented
	k.sees(managers[0], b, 100)      // and a request from before arrives
}

func missingGuard(k *kit) {
	m := k.manager()
	b := &browser{}
	k.set(m, b, 7)
	s := k.alive(m, b)
	if err := k.Store.Delete(k.ctx, s.SID); err != nil {
		k.Fatal(err)
	}
	if _, err := m.Load(b.request()); !errors.Is(err, session.ErrNone) {
		k.Fatalf("Load without a guard: %v, want ErrNone", err)
	}
	after, err := b.update(m, count)
	if err != nil {
		k.Fatal(err)
	}
	if after.SID == s.SID || after.Data.Count != 1 {
		k.Fatalf("an update without a guard goes on with %d in %q", after.Data.Count, after.SID)
	}
}

func provedSealed(k *kit) {
	m := k.manager()
	b := &browser{}
	k.start(m, b, "alice")
	k.set(m, b, 3)
	stolen := *b
	w := httptest.NewRecorder()
	if _, err := m.Prove(w, b.request(), "otp"); err != nil {
		k.Fatal(err)
	}
	b.take(w)
	k.ended(m, &stolen)
	k.sees(m, b, 3)
}

func oneCookie(k *kit) {
	m := k.manager()
	rich, poor := &browser{}, &browser{}
	k.start(m, rich, "alice")
	k.start(m, poor, "bob")
	k.set(m, rich, 100)
	k.set(m, poor, 1)
	mixed := *poor
	mixed.cookie = rich.cookie
	if s := k.sees(m, &mixed, 100); s.Subject != "alice" {
		k.Fatalf("the points of alice are %q's", s.Subject)
	}
	name, value, _ := strings.Cut(rich.cookie, "=")
	for i := 0; i < len(value); i += 1 + len(value)/40 {
		other := byte('A')
		if value[i] == other {
			other = 'B'
		}
		bent := &browser{cookie: name + "=" + value[:i] + string(other) + value[i+1:]}
		if _, err := m.Load(bent.request()); !errors.Is(err, session.ErrNone) {
			k.Fatalf("Load of a cookie altered at %d: %v, want ErrNone", i, err)
		}
	}
	elsewhere, err := k.build(&session.Options{Name: "__Host-other"})
	if err != nil {
		k.Fatal(err)
	}
	renamed := &browser{cookie: "__Host-other=" + value}
	if _, err := elsewhere.Load(renamed.request()); !errors.Is(err, session.ErrNone) {
		k.Fatalf("Load of another name's cookie: %v, want ErrNone", err)
	}
	foreign, err := session.NewSealed[visit](k.Store, newKeys(k), nil)
	if err != nil {
		k.Fatal(err)
	}
	if _, err := foreign.Load(rich.request()); !errors.Is(err, session.ErrNone) {
		k.Fatalf("Load with another key: %v, want ErrNone", err)
	}
}

func plantedSealed(k *kit) {
	m := k.hasty()
	b, mallory := &browser{}, &browser{}
	k.start(m, b, "alice")
	k.start(m, mallory, "mallory")
	k.set(m, b, 1)
	old := b.cookie
	for n := 2; n < 5; n++ {
		k.set(m, b, n)
		time.Sleep(noticed)
		k.sees(m, b, n)
	}
	name, _, _ := strings.Cut(b.cookie, "=")
	for what, planted := range map[string]string{"junk": name + "=junk", "an old cookie": old} {
		for _, both := range []string{planted + "; " + b.cookie, b.cookie + "; " + planted} {
			if s, err := m.Load((&browser{cookie: both}).request()); err != nil || s.Data.Count != 4 {
				k.Fatalf("Load with %s beside: %v", what, err)
			}
		}
	}
	two := &browser{cookie: mallory.cookie + "; " + b.cookie}
	if _, err := m.Load(two.request()); !errors.Is(err, session.ErrAmbiguous) {
		k.Fatalf("Load with another's session beside: %v, want ErrAmbiguous", err)
	}
}

func tooBigSealed(k *kit) {
	m := k.manager()
	b := &browser{}
	k.start(m, b, "alice")
	fill := func(n int) func(*visit) error {
		return func(v *visit) error {
			v.Count++
			v.Seen = map[string]int{strings.Repeat("x", n): 1}
			return nil
		}
	}
	fits, most := 0, 4096
	for most-fits > 1 {
		n := (fits + most) / 2
		w := httptest.NewRecorder()
		_, err := m.Update(w, b.request(), fill(n)) // and the answer is lost
		switch set := w.Result().Cookies(); {
		case err == nil && len(set) == 1 && len(set[0].Name)+len(set[0].Value) <= 4096:
			fits = n
		case errors.Is(err, session.ErrTooLarge) && errors.Is(err, cookie.ErrTooLarge) && len(set) == 0:
			most = n
		default:
			k.Fatalf("Update with %d bytes: %v, %d cookies", n, err, len(set))
		}
		s := k.alive(m, b)
		if len(s.Data.Seen) > 1 || fits > 0 && s.Data.Seen[strings.Repeat("x", fits)] != 1 {
			k.Fatal("what was refused is in the session, or what was kept is not")
		}
	}
	if fits < 2500 {
		k.Fatalf("no room for more than %d bytes", fits)
	}
}

func nothingKept(k *kit) {
	m := k.hasty()
	b := &browser{}
	k.start(m, b, "alice")
	for n := range 3 {
		if _, err := b.update(m, func(v *visit) error {
			v.Count, v.Seen = n, map[string]int{"a secret of hers": 1}
			return nil
		}); err != nil {
			k.Fatal(err)
		}
		it, err := k.Store.Get(k.ctx, k.alive(m, b).SID)
		if err != nil {
			k.Fatal(err)
		}
		if strings.Contains(it.Value, "secret") {
			k.Fatal("the store can read the data")
		}
		for range 2 {
			time.Sleep(noticed)
			k.sees(m, b, n)
		}
		if it, err = k.Store.Get(k.ctx, k.alive(m, b).SID); err != nil || len(it.Value) > 16 {
			k.Fatalf("the guard has %d bytes, %v; want 16 at most", len(it.Value), err)
		}
	}
}

func rotatedKeys(k *kit) {
	m := k.manager()
	b := &browser{}
	k.start(m, b, "alice")
	k.set(m, b, 5)
	lost := *b
	k.set(m, &lost, 6)
	both := fmt.Sprintf("%s\n%s", cookie.GenerateKey(), k.line)
	next, err := cookie.ParseKeys(both)
	if err != nil {
		k.Fatal(err)
	}
	k.keys.Replace(next)
	k.sees(m, b, 6)
	k.sees(m, b, 6)
	only, err := cookie.ParseKeys(strings.SplitN(both, "\n", 2)[0])
	if err != nil {
		k.Fatal(err)
	}
	k.keys.Replace(only)
	if s, err := b.see(m); err != nil || s.Data.Count != 6 {
		k.Fatalf("after the old key went: %v", err)
	}
}
