package db_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/provider/providertest"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

// A shop is a database with what a provider does not write.
type shop struct {
	testing.TB
	*db.DB
	place    string
	ctx      context.Context
	store    provider.Store
	sessions *session.Manager[struct{}]
	users    atomic.Int64
}

func newShop(t testing.TB) *shop {
	t.Helper()
	place := db.NewPlace(t)
	d, err := db.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	s := openShop(t, d)
	s.place = place
	return s
}

func openShop(t testing.TB, d *db.DB) *shop {
	t.Helper()
	kept, err := d.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := session.New[struct{}](kept, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &shop{TB: t, DB: d, ctx: t.Context(), store: d.Provider("https://id.example.org/status-lists"), sessions: sessions}
}

func (s *shop) do(fn func(account.Tx) error) {
	s.Helper()
	if err := s.Update(s.ctx, fn); err != nil {
		s.Fatal(err)
	}
}

func (s *shop) client(c provider.Client) {
	s.Helper()
	s.do(func(tx account.Tx) error { return tx.PutClient(&c) })
}

func (s *shop) invite(i provider.Invite) {
	s.Helper()
	s.do(func(tx account.Tx) error { return tx.PutInvite(&account.Invite{Invite: i, CreatedAt: time.Now()}) })
}

func (s *shop) user() string {
	s.Helper()
	name := fmt.Sprint("user", s.users.Add(1))
	s.do(func(tx account.Tx) error { return addUser(tx, name) })
	return name
}

func (s *shop) session(subject string, expires time.Time) string {
	s.Helper()
	life := time.Until(expires) - time.Second
	in, err := s.sessions.Start(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), subject, &session.StartOptions{
		Lifetime: life, Idle: life, AMR: []string{"pwd"}, ACR: "aal1",
	})
	if err != nil {
		s.Fatal(err)
	}
	return in.SID
}

func (s *shop) told() (all []feed.Event) {
	s.Helper()
	if err := s.View(s.ctx, func(tx account.Tx) (err error) {
		all, err = tx.Told(time.Now())
		return err
	}); err != nil {
		s.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e feed.Event) bool { return e.Kind != feed.Grant && e.Kind != feed.Client })
}

func TestTheDatabaseKeepsThePromisesOfAProviderStore(t *testing.T) {
	providertest.Run(t, func(t testing.TB) providertest.Backend {
		s := newShop(t)
		return providertest.Backend{
			Store: s.store, Client: s.client, Invite: s.invite, User: s.user, Session: s.session, Told: s.told,
			EndSession: func(sid string) {
				if err := s.sessions.EndAny(s.ctx, sid, "signed_out"); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// grant adds one, behind a session or behind none.
func (s *shop) grant(client, subject, sid string) *provider.Grant {
	return s.addGrant(client, subject, sid, false)
}

func (s *shop) addGrant(client, subject, sid string, offline bool) *provider.Grant {
	s.Helper()
	now := time.Now()
	g := &provider.Grant{ID: token.New(token.Access).Selector(), Client: client, Subject: subject, SID: sid, Offline: offline, BegunAt: now, Expires: now.Add(time.Hour)}
	s.update(func(tx provider.Tx) error { return tx.AddGrant(g) })
	return g
}

func (s *shop) update(fn func(provider.Tx) error) {
	s.Helper()
	if err := s.store.Update(s.ctx, fn); err != nil {
		s.Fatal(err)
	}
}

// lives reports whether a grant lives.
func (s *shop) lives(g *provider.Grant) (lives bool) {
	s.Helper()
	if err := s.store.View(s.ctx, func(tx provider.Tx) error {
		found, err := tx.Grant(g.ID)
		lives = found != nil && found.Ended == ""
		return err
	}); err != nil {
		s.Fatal(err)
	}
	return lives
}

// With what a grant stands on it ends, and verifiers are told of it, in the same
// transaction.
func TestAGrantEndsWithWhatItStandsOnAndIsToldOnce(t *testing.T) {
	byAccount := func(fn func(account.Tx, string, string) error) func(*shop, string, string) error {
		return func(s *shop, ann, sid string) error {
			return s.Update(s.ctx, func(tx account.Tx) error { return fn(tx, ann, sid) })
		}
	}
	for _, tt := range []struct {
		name string
		end  func(s *shop, ann, sid string) error
		// What lives after it: of the session that is ended or spared, of another one of
		// hers, of none; and nobody else's is ever touched.
		own, others, offline bool
	}{
		{"a session that its owner ends", func(s *shop, _, sid string) error { return s.sessions.EndAny(s.ctx, sid, "signed_out") }, false, true, true},
		{"a session that the core ends", byAccount(func(tx account.Tx, _, sid string) error { return tx.EndSession(sid, "stolen", time.Now()) }), false, true, true},
		{"every session but one", func(s *shop, ann, sid string) error { return s.sessions.EndAll(s.ctx, ann, sid, "ended_by_user") }, true, false, false},
		{"every session", func(s *shop, ann, _ string) error { return s.sessions.EndAll(s.ctx, ann, "", "ended_by_user") }, false, false, false},
		{"an epoch that the core raises for all but one", byAccount(func(tx account.Tx, ann, sid string) error { return tx.RaiseEpoch(ann, sid) }), true, false, false},
		{"an epoch that the core raises", byAccount(func(tx account.Tx, ann, _ string) error { return tx.RaiseEpoch(ann, "") }), false, false, false},
		{"claims that change", byAccount(func(tx account.Tx, ann, _ string) error { return tx.RaiseClaims(ann, time.Now()) }), true, true, true},
		{"a user that is deleted", byAccount(func(tx account.Tx, ann, _ string) error { return tx.DeleteUser(ann) }), false, false, false},
		{"a user that is erased", byAccount(func(tx account.Tx, ann, _ string) error { return tx.Erase(ann, "someone") }), false, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShop(t)
			s.client(provider.Client{ID: "app", CreatedAt: time.Now()})
			ann, bob, end := s.user(), s.user(), time.Now().Add(2*time.Hour)
			sid := s.session(ann, end)
			own, others, offline := s.grant("app", ann, sid), s.grant("app", ann, s.session(ann, end)), s.grant("app", ann, "")
			bystanders := []*provider.Grant{s.grant("app", bob, s.session(bob, end)), s.grant("app", bob, ""), s.grant("app", "", "")}
			if err := tt.end(s, ann, sid); err != nil {
				t.Fatal(err)
			}
			var ended []string
			for g, want := range map[*provider.Grant]bool{own: tt.own, others: tt.others, offline: tt.offline} {
				if got := s.lives(g); got != want {
					t.Errorf("a grant of the session, %v, of another, %v, or of none, %v, lives: %v", g == own, g == others, g == offline, got)
				}
				if !want {
					ended = append(ended, g.ID)
				}
			}
			for _, g := range bystanders {
				if !s.lives(g) {
					t.Error("a grant of somebody else has ended")
				}
			}
			var told []string
			for _, e := range s.told() {
				told = append(told, e.Target)
				if e.Subject != ann || e.Until.Before(time.Now().Add(10*time.Minute)) {
					t.Errorf("told: %+v", e)
				}
			}
			slices.Sort(told)
			slices.Sort(ended)
			if !slices.Equal(told, ended) {
				t.Errorf("told are %q, ended %q", told, ended)
			}
		})
	}
}

func (s *shop) deliveries() (all []*provider.Delivery) {
	s.Helper()
	if err := s.store.View(s.ctx, func(tx provider.Tx) (err error) {
		all, err = tx.Deliveries(time.Now().Add(time.Second), 100)
		return err
	}); err != nil {
		s.Fatal(err)
	}
	return all
}

// That a client must be told stands in the transaction that ends the session, too.
func TestEveryClientBehindASessionThatEndsIsToldOnce(t *testing.T) {
	s := newShop(t)
	s.client(provider.Client{ID: "app", BackchannelLogoutURI: "https://app.example.org/out", CreatedAt: time.Now()})
	s.client(provider.Client{ID: "deaf", CreatedAt: time.Now()})
	s.client(provider.Client{ID: "off", BackchannelLogoutURI: "https://off.example.org/out", Disabled: true, CreatedAt: time.Now()})
	ann, end := s.user(), time.Now().Add(time.Hour)
	sid, other := s.session(ann, end), s.session(ann, end)
	s.grant("app", ann, sid)
	s.grant("app", ann, sid)
	s.grant("deaf", ann, sid)
	s.grant("off", ann, sid)
	offline, elsewhere := s.addGrant("app", ann, sid, true), s.addGrant("app", ann, other, true)
	if err := s.sessions.EndAny(s.ctx, sid, "signed_out"); err != nil {
		t.Fatal(err)
	}
	all := s.deliveries()
	if len(all) != 1 || all[0].Client != "app" || all[0].SID != sid || all[0].Subject != ann {
		t.Fatalf("deliveries: %+v", all)
	}
	if !s.lives(offline) || !s.lives(elsewhere) {
		t.Error("offline access has ended with a session")
	}
	// It has outlived the session, and is behind it no more.
	if err := s.store.View(s.ctx, func(tx provider.Tx) error {
		g, err := tx.Grant(offline.ID)
		if g.SID != "" {
			t.Errorf("the grant that has outlived its session is %+v", g)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.sessions.EndAll(s.ctx, ann, "", "ended_by_user"); err != nil {
		t.Fatal(err)
	}
	all = s.deliveries()
	if len(all) != 2 || all[0].SID != other && all[1].SID != other {
		t.Errorf("deliveries: %+v %+v", all[0], all[len(all)-1])
	}
	if s.lives(offline) || s.lives(elsewhere) {
		t.Error("offline access has outlived a sign-out everywhere")
	}
}

func TestARefusedUpdateEndsNoGrant(t *testing.T) {
	s := newShop(t)
	s.client(provider.Client{ID: "app", CreatedAt: time.Now()})
	ann := s.user()
	g := s.grant("app", ann, s.session(ann, time.Now().Add(time.Hour)))
	err := s.Update(s.ctx, func(tx account.Tx) error {
		return errors.Join(tx.RaiseEpoch(ann, ""), account.ErrTaken)
	})
	if !errors.Is(err, account.ErrTaken) || !s.lives(g) || len(s.told()) > 0 {
		t.Errorf("%v; the grant lives: %v; told: %v", err, s.lives(g), s.told())
	}
}

// Whoever exchanges a code while the session ends gets a grant that ends with it, or
// none: never one that outlives it.
func TestNoGrantBeginsBehindASessionThatEnds(t *testing.T) {
	s := newShop(t)
	s.client(provider.Client{ID: "app", CreatedAt: time.Now()})
	ann := s.user()
	for range 40 {
		sid := s.session(ann, time.Now().Add(time.Hour))
		g := &provider.Grant{ID: token.New(token.Access).Selector(), Client: "app", Subject: ann, SID: sid, BegunAt: time.Now(), Expires: time.Now().Add(time.Hour)}
		ended := make(chan error, 1)
		go func() { ended <- s.sessions.EndAny(s.ctx, sid, "signed_out") }()
		s.update(func(tx provider.Tx) error {
			in, err := tx.Session(sid, time.Now())
			if err != nil || in == nil {
				return err
			}
			return tx.AddGrant(g)
		})
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if s.lives(g) {
			t.Fatal("a grant has outlived its session")
		}
	}
}

func TestWithAClientAllGoesThatItWasAllowed(t *testing.T) {
	s := newShop(t)
	now := time.Now()
	for _, id := range []string{"app", "other"} {
		s.client(provider.Client{ID: id, CreatedAt: now})
	}
	ann := s.user()
	consent := func(client string) {
		s.update(func(tx provider.Tx) error {
			return tx.PutConsent(&provider.Consent{Subject: ann, Client: client, GivenAt: now, LastUsed: now})
		})
	}
	consent("app")
	consent("other")
	g, kept := s.grant("app", ann, ""), s.grant("other", ann, "")
	own := s.grant("app", "", "")
	code := token.New(token.OneTime)
	s.update(func(tx provider.Tx) error {
		return errors.Join(tx.AddPushed(&provider.Pushed{Selector: code.Selector(), Client: "app", Expires: now.Add(time.Minute)}),
			tx.AddCode(&provider.Code{Selector: code.Selector(), Digest: code.Digest(), Expires: now.Add(time.Minute), Asked: provider.Asked{Client: "app", At: now}}))
	})
	for _, id := range []string{"app", "nobody"} {
		s.do(func(tx account.Tx) error { return tx.DeleteClient(id) })
	}
	s.client(provider.Client{ID: "app", CreatedAt: now}) // another one by its name
	if s.lives(g) || s.lives(own) || !s.lives(kept) {
		t.Errorf("live: %v, %v; another's: %v", s.lives(g), s.lives(own), s.lives(kept))
	}
	if err := s.store.View(s.ctx, func(tx provider.Tx) error {
		c, err := tx.Consent(ann, "app")
		d, err2 := tx.Consent(ann, "other")
		e, err3 := tx.Code(code.Selector())
		p, err4 := tx.Pushed(code.Selector())
		if c != nil || d == nil || e != nil || p != nil {
			t.Errorf("consents %v and %v, code %v, pushed request %v", c, d, e, p)
		}
		return errors.Join(err, err2, err3, err4)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAClientIsReadAsItIsAndNotAsItWas(t *testing.T) {
	s := newShop(t)
	read := func() (c *provider.Client) {
		if err := s.store.View(s.ctx, func(tx provider.Tx) (err error) {
			c, err = tx.Client("app")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	s.client(provider.Client{ID: "app", Name: "one"})
	first := read()
	if read() != first {
		t.Error("a client that is as it was is read again")
	}
	// What was undone has been seen by whoever did it, and by nobody after.
	err := s.Update(s.ctx, func(tx account.Tx) error {
		err := tx.PutClient(&provider.Client{ID: "app", Name: "undone"})
		if c, _ := tx.Client("app"); c == nil || c.Name != "undone" {
			t.Errorf("an update does not see the client that it has put: %+v", c)
		}
		return errors.Join(err, account.ErrTaken)
	})
	if !errors.Is(err, account.ErrTaken) || read().Name != "one" {
		t.Errorf("%v; the client is %q", err, read().Name)
	}
	s.client(provider.Client{ID: "app", Name: "two"})
	if read().Name != "two" || first.Name != "one" {
		t.Errorf("the client is %q", read().Name)
	}
	s.do(func(tx account.Tx) error { return tx.DeleteClient("app") })
	if read() != nil {
		t.Error("a client that was removed is there")
	}
}

func TestClientsAreToldOnlyAddressesThatWereProved(t *testing.T) {
	s := newShop(t)
	s.do(func(tx account.Tx) error {
		return tx.PutUser(&account.User{ID: "ann", Name: "Ann", Locale: "en", CreatedAt: time.Now(), Identifiers: []account.Identifier{
			{Value: "new@example.org", Kind: account.Email}, {Value: "old@example.org", Kind: account.Email, Verified: true},
			{Value: "ann@example.org", Kind: account.Email, Verified: true, Primary: true}, {Value: "+49301234567", Kind: account.Phone}, {Value: "ann", Kind: account.Username},
		}})
	})
	s.do(func(tx account.Tx) error {
		return tx.PutUser(&account.User{ID: "gone", Disabled: true, CreatedAt: time.Now()})
	})
	if err := s.store.View(s.ctx, func(tx provider.Tx) error {
		u, err := tx.User("ann")
		gone, err2 := tx.User("gone")
		want := map[string]any{"name": "Ann", "locale": "en", "email": "ann@example.org", "email_verified": true, "preferred_username": "ann"}
		if u == nil || fmt.Sprint(u.Claims) != fmt.Sprint(want) || gone != nil {
			t.Errorf("the user is %+v, and one who is disabled %+v", u, gone)
		}
		return errors.Join(err, err2)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatHasExpiredGoesInSmallSteps(t *testing.T) {
	s := newShop(t)
	now := time.UnixMilli(time.Now().UnixMilli())
	const old, step = 7, 3
	s.update(func(tx provider.Tx) (err error) {
		for i := range old + 1 {
			end := now
			if i == old {
				end = now.Add(time.Millisecond)
			}
			id := fmt.Sprint("n", i)
			_, spent := tx.Spend("x", id, end)
			err = errors.Join(err, spent, tx.AddCode(&provider.Code{Selector: id, Expires: end}), tx.AddPushed(&provider.Pushed{Selector: id, Expires: end}), tx.AddToken(&provider.Token{Selector: id, Expires: end}),
				tx.AddGrant(&provider.Grant{ID: id, Client: "app", Expires: end}))
		}
		return err
	})
	steps := 1
	for ; steps < 10; steps++ {
		more, err := s.SweepProvider(s.ctx, now, step)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
	}
	if steps != 3 {
		t.Errorf("%d rows of each sort go in %d steps of %d", old, steps, step)
	}
	left := 0
	s.update(func(tx provider.Tx) error {
		for i := range old + 1 {
			id := fmt.Sprint("n", i)
			c, err := tx.Code(id)
			g, err2 := tx.Grant(id)
			a, err3 := tx.Token(id)
			first, err4 := tx.Spend("x", id, now)
			p, err5 := tx.Pushed(id)
			if err := errors.Join(err, err2, err3, err4, err5); err != nil {
				return err
			}
			for _, there := range []bool{c != nil, g != nil, a != nil, !first, p != nil} {
				if there {
					left++
				}
			}
		}
		return nil
	})
	if left != 5 {
		t.Errorf("%d rows are left, want the 5 that have not expired", left)
	}
}

func TestATokensPlaceOnAListIsItsGrants(t *testing.T) {
	s := newShop(t)
	ann := s.user()
	place := func(gid string) (text string) {
		s.update(func(tx provider.Tx) error {
			b, err := tx.Place(ann, &provider.IDs{GID: gid}, time.Now().Add(time.Minute))
			text = string(b)
			return err
		})
		return text
	}
	if a, b := place("g"), place("g"); a != b || a == "" {
		t.Errorf("two tokens of a grant have the places %s and %s", a, b)
	}
	if none := s.DB.Provider(""); none.Update(s.ctx, func(tx provider.Tx) error {
		b, err := tx.Place(ann, &provider.IDs{GID: "g"}, time.Now())
		if b != nil {
			t.Errorf("where there are no lists a place is %s", b)
		}
		return err
	}) != nil {
		t.Error("no place is an error")
	}
}

// A backup does not know what was revoked after it.
func TestARestoredBackupRevivesNoGrantUnlessSessionsAreKept(t *testing.T) {
	for _, keep := range []bool{false, true} {
		s := newShop(t)
		s.client(provider.Client{ID: "app", CreatedAt: time.Now()})
		g := s.grant("app", s.user(), "")
		code := token.New(token.OneTime)
		s.update(func(tx provider.Tx) error {
			return errors.Join(tx.AddCode(&provider.Code{Selector: code.Selector(), Digest: code.Digest(), Expires: time.Now().Add(time.Minute)}),
				tx.AddPushed(&provider.Pushed{Selector: code.Selector(), Expires: time.Now().Add(time.Minute)}))
		})
		if _, err := s.Renew(s.ctx, keep, time.Now()); err != nil {
			t.Fatal(err)
		}
		if s.lives(g) != keep {
			t.Errorf("sessions kept: %v; a grant lives: %v", keep, s.lives(g))
		}
		if err := s.store.View(s.ctx, func(tx provider.Tx) error {
			c, err := tx.Code(code.Selector())
			p, err2 := tx.Pushed(code.Selector())
			if c != nil || p != nil {
				t.Error("a code or a pushed request is good that may have been spent since")
			}
			return errors.Join(err, err2)
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever fills the table with clients must come again each month.
func TestAStrangersClientGoesWhenNobodyUsesIt(t *testing.T) {
	s := newShop(t)
	now := time.Now()
	before := now.Add(-account.StrangersStay)
	stranger := func(id string, at time.Time, registered *provider.Registered) {
		s.client(provider.Client{ID: id, Name: id, CreatedAt: at, Registered: registered})
	}
	old := before.Add(-time.Hour)
	stranger("unused", old, &provider.Registered{})
	stranger("new", now, &provider.Registered{})
	stranger("invited", old, &provider.Registered{Invite: "x"})
	stranger("ours", old, nil)
	stranger("consented", old, &provider.Registered{})
	stranger("forgotten", old, &provider.Registered{})
	stranger("living", old, &provider.Registered{})
	stranger("ended", old, &provider.Registered{})
	ann := s.user()
	for id, used := range map[string]time.Time{"consented": now, "forgotten": old} {
		s.update(func(tx provider.Tx) error {
			return tx.PutConsent(&provider.Consent{Subject: ann, Client: id, GivenAt: old, LastUsed: used})
		})
	}
	s.grant("living", ann, "")
	gone := s.grant("ended", ann, "")
	s.update(func(tx provider.Tx) error { _, err := tx.EndGrant(gone.ID, "x", now); return err })
	var ids, known []string
	s.do(func(tx account.Tx) (err error) {
		ids, err = tx.UnusedStrangers(before, now, 10)
		all, err2 := tx.FindKnownClients("", 10)
		for _, c := range all {
			known = append(known, c.ID)
		}
		return errors.Join(err, err2)
	})
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"ended", "forgotten", "unused"}) {
		t.Errorf("unused are %v", ids)
	}
	if !slices.Equal(known, []string{"invited", "ours"}) {
		t.Errorf("known are %v", known)
	}
}

// A client whose access has ended before the session is told of its end as well, and once.
func TestAClientWhoseGrantHasEndedBeforeIsToldOnce(t *testing.T) {
	for name, end := range map[string]func(s *shop, ann, sid string) error{
		"a session":     func(s *shop, _, sid string) error { return s.sessions.EndAny(s.ctx, sid, "signed_out") },
		"every session": func(s *shop, ann, _ string) error { return s.sessions.EndAll(s.ctx, ann, "", "ended_by_user") },
		"an epoch of account": func(s *shop, ann, _ string) error {
			return s.Update(s.ctx, func(tx account.Tx) error { return tx.RaiseEpoch(ann, "") })
		},
	} {
		s := newShop(t)
		s.client(provider.Client{ID: "app", BackchannelLogoutURI: "https://app.example.org/out", CreatedAt: time.Now()})
		ann := s.user()
		sid := s.session(ann, time.Now().Add(time.Hour))
		g := s.grant("app", ann, sid)
		s.update(func(tx provider.Tx) error {
			_, err := tx.EndGrant(g.ID, "revoked", time.Now())
			return err
		})
		for range 2 {
			if err := end(s, ann, sid); err != nil && admit.KindOf(err) != admit.Unauthenticated && admit.KindOf(err) != admit.NotFound {
				t.Fatal(err)
			}
		}
		if all := s.deliveries(); len(all) != 1 || all[0].SID != sid {
			t.Errorf("%s: deliveries %+v", name, all)
		}
		for _, e := range s.told() {
			if e.Target == g.ID {
				t.Errorf("%s: a grant ends twice", name)
			}
		}
	}
}

// What a thief has answered is asked again, but for the apps of the session that goes on.
func TestAppsAskAgainAfterASignOutEverywhereElse(t *testing.T) {
	s := newShop(t)
	for _, id := range []string{"app", "evil"} {
		s.client(provider.Client{ID: id, CreatedAt: time.Now()})
	}
	ann, end := s.user(), time.Now().Add(time.Hour)
	sid := s.session(ann, end)
	s.grant("app", ann, sid)
	s.grant("evil", ann, s.session(ann, end))
	s.update(func(tx provider.Tx) error {
		return errors.Join(tx.PutConsent(&provider.Consent{Subject: ann, Client: "app", GivenAt: time.Now()}), tx.PutConsent(&provider.Consent{Subject: ann, Client: "evil", GivenAt: time.Now()}))
	})
	remembered := func() (all []string) {
		if err := s.store.View(s.ctx, func(tx provider.Tx) error {
			consents, err := tx.Consents(ann)
			for _, c := range consents {
				all = append(all, c.Client)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if err := s.sessions.EndAll(s.ctx, ann, sid, "ended_by_user"); err != nil {
		t.Fatal(err)
	}
	if got := remembered(); !slices.Equal(got, []string{"app"}) {
		t.Errorf("remembered are %q", got)
	}
	if err := s.Update(s.ctx, func(tx account.Tx) error { return tx.RaiseEpoch(ann, "") }); err != nil {
		t.Fatal(err)
	}
	if got := remembered(); len(got) > 0 {
		t.Errorf("after a new password remembered are %q", got)
	}
}
