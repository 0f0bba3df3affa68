package db_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/limit"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

// A desk is the core over a database, with sessions of a user called ann.
type desk struct {
	testing.TB
	file     string
	signing  *signing
	db       *db.DB
	line     string // of keys
	keys     *cookie.Keys
	accounts *account.Service
	near     *session.Near
	sessions *session.Manager[struct{}]
	named    *session.Named // by the credential of every request
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{TB: t, file: db.NewPlace(t), line: cookie.GenerateKey(), signing: newSigning(t)}
	d.open()
	t.Cleanup(func() { d.db.Close() })
	if err := d.db.Update(t.Context(), func(tx account.Tx) error { return addUser(tx, "ann") }); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) open() {
	d.Helper()
	var errs [5]error
	d.db, errs[0] = db.Open(d.Context(), d.file)
	d.keys, errs[1] = cookie.ParseKeys(d.line)
	passwords, err := password.New(nil)
	if err := errors.Join(errs[0], errs[1], err); err != nil {
		d.Fatal(err)
	}
	d.accounts, errs[2] = account.New(d.db, account.Options{
		Passwords: passwords, Limiter: limit.New(), Keys: d.keys, PublicURL: "https://id.example.org", Signing: d.signing,
	})
	var store *db.SessionStore
	store, errs[3] = d.db.Sessions(d.Context())
	d.near = session.NewNear(store, 0)
	d.db.Changed = d.near.Forget
	d.sessions, errs[4] = session.New[struct{}](d.near, &session.Options{Named: func(*http.Request) (*session.Named, error) { return d.named, nil }})
	if err := errors.Join(errs[2:]...); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) restart() {
	d.Helper()
	if err := d.db.Close(); err != nil {
		d.Fatal(err)
	}
	d.open()
}

// family begins a session with a family.
func (d *desk) family(g account.Grant, now time.Time) (sid string, t *account.Tokens) {
	d.Helper()
	s, err := d.sessions.Start(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), "ann", &session.StartOptions{JWT: true})
	if err != nil {
		d.Fatal(err)
	}
	if t, err = d.accounts.BeginFamily(d.Context(), s.SID, g, now); err != nil {
		d.Fatal(err)
	}
	return s.SID, t
}

func (d *desk) refresh(presented admit.Secret, jkt string, now time.Time) (*account.Tokens, error) {
	return d.accounts.Refresh(d.Context(), presented, jkt, account.Origin{}, now)
}

// A stranger who presents what he has made up must not keep the disk busy.
func TestARefreshTokenThatIsUnknownOrRepeatedCostsNoWrite(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	sid, first := d.family(account.Grant{Client: "admit"}, now)
	next, err := d.refresh(first.Refresh, "", now)
	if err != nil {
		t.Fatal(err)
	}
	before := d.db.Stats().Transactions
	for range 10 {
		if _, err := d.refresh(admit.NewSecret(token.New(token.Refresh).Reveal()), "", now); !errors.Is(err, account.ErrRefreshToken) {
			t.Errorf("a made-up token: %v", err)
		}
		if _, err := d.refresh(admit.NewSecret("adm_r_"), "", now); !errors.Is(err, account.ErrRefreshToken) {
			t.Errorf("half of one: %v", err)
		}
		if again, err := d.refresh(first.Refresh, "", now); err != nil || !again.Repeated || again.Refresh.Reveal() != next.Refresh.Reveal() {
			t.Errorf("a repeated one: %v", err)
		}
	}
	if err := d.sessions.EndAny(t.Context(), sid, "signed_out"); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		for _, old := range []admit.Secret{first.Refresh, admit.NewSecret(mustParse(t, next.Refresh).WithNewVerifier().Reveal())} {
			if _, err := d.refresh(old, "", now.Add(time.Minute)); !errors.Is(err, admit.Unauthenticated) {
				t.Errorf("of a session that is over: %v", err)
			}
		}
	}
	if got := d.db.Stats().Transactions - before; got > 0 {
		t.Errorf("%d transactions were written", got)
	}
}

func mustParse(t testing.TB, s admit.Secret) token.Token {
	t.Helper()
	tok, err := token.Parse(token.Refresh, s.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// Of any number of tabs that ask at once one rotates, and all get the same.
func TestParallelRefreshesOfOneTokenRotateOnce(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	_, first := d.family(account.Grant{Client: "admit"}, now)
	var rotated atomic.Int32
	var mu sync.Mutex
	got := map[string]int{}
	var work sync.WaitGroup
	for range 50 {
		work.Go(func() {
			next, err := d.refresh(first.Refresh, "", now)
			if err != nil {
				t.Error(err)
				return
			}
			if !next.Repeated {
				rotated.Add(1)
			}
			mu.Lock()
			defer mu.Unlock()
			got[next.Refresh.Reveal()]++
		})
	}
	work.Wait()
	if rotated.Load() != 1 || len(got) != 1 {
		t.Errorf("%d rotations to %d tokens, want one", rotated.Load(), len(got))
	}
}

// A key rotation in the ten seconds changes nothing; where the key is taken away
// the client signs in again, and no thief is cried.
func TestTheSuccessorIsTheSameAfterAKeyRotation(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	_, first := d.family(account.Grant{Client: "admit"}, now)
	next, err := d.refresh(first.Refresh, "", now)
	if err != nil {
		t.Fatal(err)
	}
	fresh := cookie.GenerateKey()
	turn := func(lines string) {
		t.Helper()
		keys, err := cookie.ParseKeys(lines)
		if err != nil {
			t.Fatal(err)
		}
		d.keys.Replace(keys)
	}
	turn(fresh + "\n" + d.line)
	if again, err := d.refresh(first.Refresh, "", now); err != nil || again.Refresh.Reveal() != next.Refresh.Reveal() {
		t.Errorf("behind a newer key: %v", err)
	}
	turn(fresh)
	if _, err := d.refresh(first.Refresh, "", now); !errors.Is(err, account.ErrRefreshToken) {
		t.Errorf("without the key: %v", err)
	}
	if _, err := d.refresh(next.Refresh, "", now); err != nil {
		t.Errorf("the successor: %v", err)
	}
}

// Who has no key learns nothing by a token that is bound to one, and ends
// nothing.
func TestAFamilyThatIsBoundToAKeyIsGoodWithItOnly(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	_, first := d.family(account.Grant{Client: "admit", JKT: "thumbprint"}, now)
	for _, jkt := range []string{"", "another"} {
		if _, err := d.refresh(first.Refresh, jkt, now); !errors.Is(err, account.ErrRefreshToken) {
			t.Errorf("with key %q: %v", jkt, err)
		}
	}
	next, err := d.refresh(first.Refresh, "thumbprint", now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.refresh(first.Refresh, "", now.Add(time.Minute)); !errors.Is(err, account.ErrRefreshToken) {
		t.Errorf("replayed without the key: %v", err)
	}
	if _, err := d.refresh(next.Refresh, "thumbprint", now.Add(time.Minute)); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// A request that was given up comes to its turn last, when what was sent in its
// place has been answered and used.
func TestAnAbandonedRequestIsTakenForNoThief(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	_, first := d.family(account.Grant{Client: "admit"}, now)
	next := first
	for range 2 {
		var err error
		if next, err = d.refresh(next.Refresh, "", now); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.accounts.Refresh(ctx, first.Refresh, "", account.Origin{}, now); err == nil {
		t.Error("an old token was good")
	}
	if _, err := d.refresh(next.Refresh, "", now); err != nil {
		t.Errorf("the family has ended: %v", err)
	}
}

// A role is taken away while a JWT that has it is good for minutes yet.
func TestAttackAJWTIsUsedWithARoleThatWasTakenAway(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	d.db.Raised = func(subject string, _ bool) { d.near.Forget(session.EpochKey(subject)) }
	role := func(roles ...string) {
		t.Helper()
		err := d.db.Update(t.Context(), func(tx account.Tx) error {
			u, err := tx.User("ann")
			if err != nil {
				return err
			}
			u.Roles = roles
			return errors.Join(tx.PutUser(u), tx.RaiseClaims("ann", now))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	role("admin")
	_, tokens := d.family(account.Grant{Client: account.OwnClient}, now)
	present := func() error {
		t.Helper()
		named, _, err := d.accounts.VerifyJWT(t.Context(), tokens.Access.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		d.named = named
		defer func() { d.named = nil }()
		_, err = d.sessions.Check(httptest.NewRequest("GET", "/", nil))
		return err
	}
	if err := present(); err != nil || len(claimsOf(t, tokens.Access).Roles) != 1 {
		t.Fatalf("with the role: %v", err)
	}
	role()
	if err := present(); !errors.Is(err, session.ErrStale) {
		t.Errorf("after it was taken away: %v", err)
	}
	var err error
	if tokens, err = d.refresh(tokens.Refresh, "", now); err != nil {
		t.Fatal(err)
	}
	if err := present(); err != nil || len(claimsOf(t, tokens.Access).Roles) != 0 {
		t.Errorf("the next one: %v, roles %v", err, claimsOf(t, tokens.Access).Roles)
	}
}

func TestFamiliesGoWithTheirUserAndWhenTheyHaveExpired(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	_, first := d.family(account.Grant{Client: "admit"}, now)
	_, second := d.family(account.Grant{Client: "admit"}, now)
	count := func() (n int) {
		for _, tokens := range []*account.Tokens{first, second} {
			err := d.db.View(t.Context(), func(tx account.Tx) error {
				f, err := tx.Family(claimsOf(t, tokens.Access).GID)
				if f != nil {
					n++
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	if n := count(); n != 2 {
		t.Fatalf("%d families, want 2", n)
	}
	if err := d.db.Update(t.Context(), func(tx account.Tx) error { return tx.SweepFamilies(now.Add(12*time.Hour+time.Minute), 1) }); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d families after a sweep of one, want 1", n)
	}
	if err := d.db.Update(t.Context(), func(tx account.Tx) error { return tx.DeleteUser("ann") }); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 0 {
		t.Errorf("%d families after their user, want none", n)
	}
}

// What the core and the database do for a refresh, without HTTP.
func BenchmarkRefresh(b *testing.B) {
	d := newDesk(b)
	now := time.Now()
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		_, t := d.family(account.Grant{Client: "admit"}, now)
		for pb.Next() {
			var err error
			if t, err = d.refresh(t.Refresh, "", now); err != nil {
				b.Error(err)
				return
			}
			n.Add(1)
		}
	})
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "refreshes/s")
}

// claimsOf reads a JWT, and verifies nothing.
func claimsOf(t testing.TB, jwt admit.Secret) (c access.Claims) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(jwt.Reveal(), ".")[1])
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func addUser(tx account.Tx, name string) error {
	return tx.PutUser(&account.User{ID: name, CreatedAt: time.UnixMilli(1), Identifiers: []account.Identifier{{Value: name, Kind: account.Username}}})
}
