package db_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

// A counter is a provider over a shop, with an application that asks about tokens of its own
// and of ann.
type counter struct {
	*shop
	p         *provider.Provider
	app       provider.Client
	secret    admit.Secret
	ann, sid  string
	own, hers string // the tokens
	grant     string // behind hers
}

func newCounter(t testing.TB) *counter {
	t.Helper()
	d := &counter{shop: newShop(t)}
	d.p = newProvider(t, d.DB, cookie.GenerateKey())
	secret, kept := provider.NewSecret()
	d.secret, d.app = secret, provider.Client{
		ID: "app", Auth: provider.SecretBasic, Secrets: []provider.ClientSecret{kept}, CreatedAt: time.Now(),
		Grants: []provider.GrantType{provider.ClientCredentials}, Scopes: []string{"read"},
	}
	d.client(d.app)
	d.ann = d.user()
	d.sid = d.session(d.ann, time.Now().Add(2*time.Hour))
	g := d.shop.grant("app", d.ann, d.sid)
	d.grant = g.ID
	hers := token.New(token.Access)
	d.update(func(tx provider.Tx) error {
		u, err := tx.User(d.ann)
		if err != nil {
			return err
		}
		return tx.AddToken(&provider.Token{
			Selector: hers.Selector(), Digest: hers.Digest(), Grant: g.ID, Client: "app", Subject: d.ann, SID: d.sid, SEV: u.Epoch,
			Issued: time.Now(), Expires: time.Now().Add(time.Hour),
		})
	})
	d.hers = hers.Reveal()
	_, a := d.ask("/oauth/token", "grant_type=client_credentials")
	d.own, _ = a["access_token"].(string)
	return d
}

// ask asks as the application.
func (d *counter) ask(path, form string) (status int, answer map[string]any) {
	d.Helper()
	r := httptest.NewRequest("POST", issuer+path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app", d.secret.Reveal())
	w := httptest.NewRecorder()
	d.p.ServeHTTP(w, r)
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			d.Fatal(err)
		}
	}
	return w.Code, answer
}

// active reports whether a token counts. Twice, so that the second time is by a copy.
func (d *counter) active(text string) (active bool) {
	d.Helper()
	for range 2 {
		status, a := d.ask("/oauth/introspect", url.Values{"token": {text}}.Encode())
		is, told := a["active"].(bool)
		if status != http.StatusOK || !told {
			d.Fatalf("introspection: %d %v", status, a)
		}
		active = is
	}
	return active
}

// Each of the endings below would be found out by anybody who asks the database. So this
// says that nobody does: a row that is changed behind the server's back is not seen.
func TestATokenThatIsShownAgainIsNotLookedUp(t *testing.T) {
	db.OfAFile(t)
	d := newCounter(t)
	if !d.active(d.own) || !d.active(d.hers) {
		t.Fatal("the tokens do not count")
	}
	behind, err := sql.Open("sqlite", d.place)
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	for _, table := range []string{"access_tokens", "grants", "clients", "sessions", "users"} {
		if _, err := behind.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
	if !d.active(d.own) || !d.active(d.hers) {
		t.Error("a token was looked up that was looked at a moment ago")
	}
}

func TestACopyOfATokenEndsAtOnceWithWhatItStandsOn(t *testing.T) {
	byAccount := func(fn func(account.Tx, *counter) error) func(*counter) error {
		return func(d *counter) error { return d.Update(d.ctx, func(tx account.Tx) error { return fn(tx, d) }) }
	}
	byStore := func(fn func(provider.Tx, *counter) error) func(*counter) error {
		return func(d *counter) error {
			return d.store.Update(d.ctx, func(tx provider.Tx) error { return fn(tx, d) })
		}
	}
	for _, tt := range []struct {
		name      string
		end       func(*counter) error
		own, hers bool // what counts afterwards
	}{
		{"nothing", func(*counter) error { return nil }, true, true},
		{"her token is given back", func(d *counter) error { d.ask("/oauth/revoke", "token="+d.hers); return nil }, true, false},
		{"its own token is given back", func(d *counter) error { d.ask("/oauth/revoke", "token="+d.own); return nil }, false, true},
		{"the grant ends", byStore(func(tx provider.Tx, d *counter) error {
			_, err := tx.EndGrant(d.grant, "app_removed", time.Now())
			return err
		}), true, false},
		{"she signs out", func(d *counter) error { return d.sessions.EndAny(d.ctx, d.sid, "signed_out") }, true, false},
		{"the core ends her session", byAccount(func(tx account.Tx, d *counter) error { return tx.EndSession(d.sid, "stolen", time.Now()) }), true, false},
		{"she signs out everywhere", func(d *counter) error { return d.sessions.EndAll(d.ctx, d.ann, "", "ended_by_user") }, true, false},
		{"the core ends all that is hers", byAccount(func(tx account.Tx, d *counter) error { return tx.RaiseEpoch(d.ann, "") }), true, false},
		{"what is said of her changes", byAccount(func(tx account.Tx, d *counter) error { return tx.RaiseClaims(d.ann, time.Now()) }), true, false},
		{"she is disabled", byAccount(func(tx account.Tx, d *counter) error {
			return tx.PutUser(&account.User{ID: d.ann, Disabled: true, CreatedAt: time.UnixMilli(1)})
		}), true, false},
		{"she is deleted", byAccount(func(tx account.Tx, d *counter) error { return tx.DeleteUser(d.ann) }), true, false},
		{"the session's record is gone", func(d *counter) error {
			kept, err := d.Sessions(d.ctx)
			if err != nil {
				return err
			}
			return kept.Delete(d.ctx, d.sid)
		}, true, false},
		{"her epoch's record is gone", func(d *counter) error {
			kept, err := d.Sessions(d.ctx)
			if err != nil {
				return err
			}
			return kept.Delete(d.ctx, session.EpochKey(d.ann))
		}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newCounter(t)
			if !d.active(d.own) || !d.active(d.hers) {
				t.Fatal("the tokens do not count")
			}
			if err := tt.end(d); err != nil {
				t.Fatal(err)
			}
			if own, hers := d.active(d.own), d.active(d.hers); own != tt.own || hers != tt.hers {
				t.Errorf("the token of its own counts: %v, want %v; hers: %v, want %v", own, tt.own, hers, tt.hers)
			}
		})
	}
}

func TestACopyOfAClientIsThatOfNow(t *testing.T) {
	d := newCounter(t)
	d.active(d.own)
	put := func(change func(*provider.Client)) {
		c := d.app
		change(&c)
		d.client(c)
	}
	put(func(c *provider.Client) { c.Disabled = true })
	if status, _ := d.ask("/oauth/introspect", "token="+d.own); status != http.StatusUnauthorized {
		t.Errorf("a client that is disabled is answered %d", status)
	}
	put(func(c *provider.Client) { c.Secrets = nil })
	if status, _ := d.ask("/oauth/token", "grant_type=client_credentials"); status != http.StatusUnauthorized {
		t.Errorf("a secret that was taken away is answered %d", status)
	}
	put(func(*provider.Client) {})
	if !d.active(d.own) {
		t.Error("the client that is back has lost its token")
	}
}

// Of those who share a transaction each would prove itself once more, with its signature,
// while all others wait for their turn to write.
func TestACopyOfAClientIsOneWhileOthersWrite(t *testing.T) {
	db.OfAFile(t)
	d := newCounter(t)
	d.active(d.own)
	client := func(tx provider.Tx) *provider.Client {
		c, err := tx.Client("app")
		if err != nil || c == nil {
			t.Fatal(c, err)
		}
		return c
	}
	var looked *provider.Client
	if err := d.store.View(d.ctx, func(tx provider.Tx) error { looked = client(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	d.update(func(tx provider.Tx) error {
		if client(tx) != looked {
			t.Error("it is not that of before")
		}
		_, err := tx.Spend("assertion", "1", time.Now().Add(time.Minute))
		if client(tx) != looked {
			t.Error("it is another one once an assertion was spent")
		}
		return err
	})
	d.update(func(tx provider.Tx) error {
		less := *looked
		less.Name = "another"
		err := tx.PutClient(&less)
		if client(tx).Name != less.Name {
			t.Error("it is that of before it was written")
		}
		return err
	})
}

// Mallory had a client, which was removed; the next one who registers its id must not
// have her as himself.
func TestAttackATokenOfAClientThatHadTheIDBefore(t *testing.T) {
	d := newCounter(t)
	if !d.active(d.own) || !d.active(d.hers) {
		t.Fatal("the tokens do not count")
	}
	d.do(func(tx account.Tx) error { return tx.DeleteClient("app") })
	d.app.CreatedAt = d.app.CreatedAt.Add(time.Second)
	d.client(d.app)
	if d.active(d.own) || d.active(d.hers) {
		t.Error("a token of the client before counts as one of the client's that has its id")
	}
}

func TestACopyOfASessionProvesNoExpiry(t *testing.T) {
	d := newCounter(t)
	look := func(at time.Time) (found *provider.Session) {
		t.Helper()
		if err := d.store.View(d.ctx, func(tx provider.Tx) (err error) {
			found, err = tx.Session(d.sid, at)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	now := time.Now()
	first, second := look(now), look(now)
	if first == nil || second == nil || look(now.Add(3*time.Hour)) != nil {
		t.Error("a session counts for longer than it lives, or not at all")
	}
}

// While some look, others end: as soon as an ending was acknowledged nobody may find a
// copy that was made of what was read before.
func TestNoCopyOutlivesAnEndingThatWasAcknowledged(t *testing.T) {
	d := newCounter(t)
	const tokens = 40
	var looking sync.WaitGroup
	for range tokens {
		hers, sid := token.New(token.Access), d.session(d.ann, time.Now().Add(time.Hour))
		g := d.shop.grant("app", d.ann, sid)
		d.update(func(tx provider.Tx) error {
			return tx.AddToken(&provider.Token{
				Selector: hers.Selector(), Digest: hers.Digest(), Grant: g.ID, Client: "app", Subject: d.ann, SID: sid, SEV: 1 << 60,
				Issued: time.Now(), Expires: time.Now().Add(time.Hour),
			})
		})
		stop := make(chan struct{})
		for range 3 {
			looking.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						d.active(hers.Reveal())
					}
				}
			})
		}
		if err := d.sessions.EndAny(d.ctx, sid, "signed_out"); err != nil {
			t.Fatal(err)
		}
		if d.active(hers.Reveal()) {
			t.Error("a token counts after its session has ended")
		}
		close(stop)
	}
	looking.Wait()
}

// Mallory has a copy of a token of the client's own, and shows it all the time while the
// client gives it back together with others: that it is not given back yet must not be
// remembered for longer.
func TestAttackATokenIsShownWhileItIsGivenBack(t *testing.T) {
	d := newCounter(t)
	const rounds, together = 20, 4
	for range rounds {
		var looking, giving sync.WaitGroup
		stop := make(chan struct{})
		for range together {
			_, a := d.ask("/oauth/token", "grant_type=client_credentials")
			own, _ := a["access_token"].(string)
			if !d.active(own) {
				t.Fatal("the token does not count")
			}
			looking.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						d.active(own)
					}
				}
			})
			giving.Go(func() {
				if status, a := d.ask("/oauth/revoke", "token="+own); status != http.StatusOK {
					t.Errorf("to give it back: %d %v", status, a)
				}
				if d.active(own) {
					t.Error("a token counts after it was given back")
				}
			})
		}
		giving.Wait()
		close(stop)
		looking.Wait()
	}
}

// Whoever hangs up in the middle of a sign-out is not told what became of it. Where it has
// happened, it has happened to the copies, too.
func TestASignOutThatIsGivenUpLeavesNoCopy(t *testing.T) {
	d := newCounter(t)
	for i := range 30 {
		sid := d.session(d.ann, time.Now().Add(time.Hour))
		look := func() (found *provider.Session) {
			t.Helper()
			if err := d.store.View(d.ctx, func(tx provider.Tx) (err error) {
				found, err = tx.Session(sid, time.Now())
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return found
		}
		look()
		ctx, hangUp := context.WithCancel(d.ctx)
		var others sync.WaitGroup
		for range 3 { // so that it waits for its turn
			others.Go(func() { d.session(d.ann, time.Now().Add(time.Hour)) })
		}
		others.Go(func() {
			time.Sleep(time.Duration(i) * 50 * time.Microsecond) // anywhere in it
			hangUp()
		})
		_ = d.sessions.EndAny(ctx, sid, "signed_out") // whatever it says
		look()
		others.Wait()
		var lives bool
		if err := d.View(d.ctx, func(tx account.Tx) error {
			_, err := tx.Session(sid, time.Now())
			lives = err == nil
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := look() != nil; got != lives {
			t.Fatalf("by a copy the session lives: %v, by the database: %v", got, lives)
		}
	}
}

// A JWT of a client's own is given with no write where there is a place for it: one that
// is its own for as long as any verifier may take it.
func TestAPlaceIsGivenInAViewForAsLongAsItIsThere(t *testing.T) {
	d := newShop(t)
	now := time.Now()
	at := func(run func(context.Context, func(provider.Tx) error) error, grant string, until time.Time) (place string, err error) {
		err = run(d.ctx, func(tx provider.Tx) error {
			text, err := tx.Place("app", &provider.IDs{GID: grant}, until)
			place = string(text)
			return err
		})
		return place, err
	}
	refused := func(when, grant string, until time.Time) {
		t.Helper()
		if place, err := at(d.store.View, grant, until); !errors.Is(err, provider.ErrReadOnly) || errors.Is(err, admit.Unavailable) || place != "" {
			t.Errorf("%s a View gives %q, %v", when, place, err)
		}
	}
	given := func(grant string, until time.Time) (place string) {
		t.Helper()
		place, err := at(d.store.Update, grant, until)
		if err != nil || place == "" {
			t.Fatalf("an Update gives %q, %v", place, err)
		}
		for range 2 { // the second time it is by a copy
			if same, err := at(d.store.View, grant, until); err != nil || same != place {
				t.Errorf("a View gives %q, %v, want %q", same, err, place)
			}
		}
		return place
	}
	refused("before there is one", "g", now)
	first := given("g", now)
	refused("for longer than it is there", "g", now.Add(2*time.Minute))
	refused("for another client", "h", now)
	if longer := given("g", now.Add(2*time.Minute)); longer != first {
		t.Errorf("it has moved from %s to %s", first, longer)
	}
	// It is swept, and may be another one's. The clock goes on.
	over := now.Add(account.PlaceRest + 5*time.Minute)
	if n, err := d.SweepPlaces(d.ctx, over, 10); err != nil || n != 1 {
		t.Fatalf("%d places are swept: %v", n, err)
	}
	refused("after it was swept", "g", over)
}
