package db_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/limit"
)

// A texter is a service that sends texts for money, with an inbox of them.
type texter struct {
	*account.Service
	t       *testing.T
	d       *db.DB
	got     []account.Message
	refused map[string]int
}

func newTexter(t *testing.T) *texter {
	t.Helper()
	ring, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := password.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	x := &texter{t: t, d: database(t), refused: map[string]int{}}
	x.Service, err = account.New(x.d, account.Options{
		Passwords: passwords, Limiter: limit.New(), Keys: ring, CanMail: true, CanText: true, PublicURL: "https://id.example.org", Signing: newSigning(t),
		Texts:  account.TextBudget{Hour: 20 * account.Unit, Day: 100 * account.Unit, Prices: account.Prices},
		NoText: func(r account.TextRefusal) { x.refused[r.Why]++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// put makes a user whose names are proved.
func (x *texter) put(id string, names ...string) account.Asker {
	x.t.Helper()
	u := &account.User{ID: id, CreatedAt: time.Now()}
	for n, name := range names {
		parsed, err := account.ParseIdentifier(name)
		if err != nil {
			x.t.Fatal(err)
		}
		parsed.Verified, parsed.Primary = true, n == 0
		u.Identifiers = append(u.Identifiers, parsed)
	}
	if err := x.d.Update(x.t.Context(), func(tx account.Tx) error { return tx.PutUser(u) }); err != nil {
		x.t.Fatal(err)
	}
	return account.Asker{Subject: id}
}

func (x *texter) deliver(now time.Time) {
	x.t.Helper()
	_, err := x.Deliver(x.t.Context(), now, func(_ context.Context, m account.Message) error {
		x.got = append(x.got, m)
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

// counted is what has been sent to and proved of a prefix.
func (x *texter) counted(key string, now time.Time) (n account.TextCount) {
	x.t.Helper()
	err := x.d.View(x.t.Context(), func(tx account.Tx) (err error) {
		n, err = tx.Texted(key, now.Unix()/3600-23, now.Unix()/3600+1)
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return n
}

// The attack: "I forgot my password" for one number after the other of a range that
// shares what texts cost. Whether the number is somebody's makes no difference.
func TestAttackForgottenPasswordsPumpTexts(t *testing.T) {
	for _, somebody := range []bool{true, false} {
		x := newTexter(t)
		now := time.Now().Truncate(time.Hour)
		sent := 0
		for n := range 60 {
			number := fmt.Sprintf("+25261%07d", n)
			if somebody {
				x.put(fmt.Sprint("user", n), number)
			}
			_, err := x.Forgot(t.Context(), number, account.Origin{Address: fmt.Sprintf("198.51.%d.1", n)}, now)
			if err == nil {
				sent++
			} else if !errors.Is(err, account.ErrTexts) {
				t.Fatal(err)
			}
		}
		if sent == 0 || sent > 20 {
			t.Errorf("of somebody %v: %d of 60 were sent", somebody, sent)
		}
		x.deliver(now)
		if want := map[bool]int{true: sent}[somebody]; len(x.got) != want {
			t.Errorf("of somebody %v: %d texts went out, want %d", somebody, len(x.got), want)
		}
	}
}

func TestACodeByTextThatComesBackIsCountedWhateverItWasFor(t *testing.T) {
	x := newTexter(t)
	now := time.Now().Truncate(time.Hour)
	from := account.Origin{Address: "192.0.2.1"}
	ann := x.put("ann", "+4915112345678", "ann@example.org")
	ann.From, ann.Proved = from, now

	flow, err := x.Forgot(t.Context(), "+4915112345678", from, now)
	if err != nil {
		t.Fatal(err)
	}
	x.deliver(now)
	in := account.NewPassword{Flow: flow, Code: x.got[0].Code, Password: admit.NewSecret("correct horse battery")}
	if err := x.Recover(t.Context(), in, from, now); err != nil {
		t.Fatal(err)
	}
	if n := x.counted("prefix:491511", now); n.Sent != 1 || n.Proved != 1 {
		t.Errorf("after a recovery: %+v", n)
	}
	_, flow, err = x.AddIdentifier(t.Context(), ann, "+491511876543", now)
	if err != nil {
		t.Fatal(err)
	}
	x.deliver(now)
	code := ""
	for _, m := range x.got {
		if m.To == "+491511876543" {
			code = m.Code
		}
	}
	if _, err := x.VerifyIdentifier(t.Context(), ann, flow, code, now); err != nil {
		t.Fatal(err)
	}
	if n := x.counted("prefix:491511", now); n.Sent != 2 || n.Proved != 2 {
		t.Errorf("after an addition: %+v", n)
	}
}

// The attack: somebody who owns a number that pays for texts changes his account all
// day long. The owner of an honest account hears of what comes first, and by mail of
// all.
func TestAttackNoticesPumpTexts(t *testing.T) {
	x := newTexter(t)
	begun := time.Now().Truncate(time.Hour)
	a := x.put("eve", "+252612345678", "eve@example.org")
	for n := range 24 {
		now := begun.Add(time.Duration(n) * 30 * time.Minute)
		a.Proved = now
		if _, err := x.MakePrimary(t.Context(), a, []string{"eve@example.org", "+252612345678"}[n%2], now); err != nil {
			t.Fatal(err)
		}
		x.deliver(now)
	}
	byText := 0
	for _, m := range x.got {
		if m.Channel == "text" {
			byText++
		}
	}
	if mails := len(x.got) - byText; byText != 12 || mails != 24 || x.refused["notices"] != 12 {
		t.Errorf("%d texts and %d mails; refused %v", byText, mails, x.refused)
	}
	if n := x.counted("all", begun.Add(11*time.Hour)); n.Spent != 12*account.Dear {
		t.Errorf("they have cost %d", n.Spent)
	}
	if n := x.counted("prefix:252612", begun.Add(11*time.Hour)); n.Sent != 0 {
		t.Errorf("a notice counts as a code that did not come back: %+v", n)
	}
}

// The attack: nothing is done. A backup is restored, and people are told once more
// what happened days ago, with links that are void; and the removal of factors that
// the owner has stopped since the backup goes on.
func TestARestoredDatabaseSendsNothingThatWaitedAndRemovesNoFactors(t *testing.T) {
	for _, keep := range []bool{true, false} {
		x := newTexter(t)
		now := time.Now()
		x.put("ann", "ann@example.org")
		notice(t, x.Service, "bob", now)
		err := x.d.Update(t.Context(), func(tx account.Tx) error {
			return tx.PutFactorLoss(&account.FactorLoss{User: "ann", BegunAt: now, DueAt: now.Add(time.Hour), Told: 1})
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.d.Renew(t.Context(), keep, now); err != nil {
			t.Fatal(err)
		}
		if x.deliver(now); len(x.got) != 0 {
			t.Errorf("sent %s to %s", x.got[0].Name, x.got[0].To)
		}
		if l, err := x.LossOf(t.Context(), "ann"); l != nil || err != nil {
			t.Errorf("the removal of factors is %+v, %v", l, err)
		}
	}
}

// The attack: nothing is done. The server was away for more than a day: a code that
// has ended meanwhile is not sent, nor what was written to a number of nobody.
func TestWhatHasEndedIsNotSentHoweverLateItIs(t *testing.T) {
	x := newTexter(t)
	now := time.Now()
	if _, _, err := x.SignUp(t.Context(), account.SignUp{Identifier: "ann@example.org", Password: admit.NewSecret("correct horse battery")}, account.Origin{}, now); err != nil {
		t.Fatal(err)
	}
	for _, ask := range []func() (string, error){
		func() (string, error) { return x.Forgot(t.Context(), "+4915112345678", account.Origin{}, now) },
		func() (string, error) {
			return x.AskSignIn(t.Context(), "+4915112345679", false, "", account.Origin{}, now)
		},
	} {
		if _, err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	x.deliver(now.Add(25 * time.Hour))
	for _, m := range x.got {
		t.Errorf("sent %s to %q", m.Name, m.To)
	}
}

// The attack: somebody signs up elsewhere with an address that is not his. Its owner
// proves it here and has no password; then users are imported from there once more.
func TestAttackAnImportGivesAProvedAccountToWhoNeverProvedIt(t *testing.T) {
	for _, external := range []string{"", "old-7"} {
		x := newTexter(t)
		now := time.Now()
		x.put("ann", "ann@example.org")
		line := account.Arrival{
			Line: 1, ExternalID: external, Hash: "$2a$04$abcdefghijklmnopqrstuuJ4Nhzw1zqPfiIcXh5eVDSNrLKs0ihpO",
			User:    &account.User{Identifiers: []account.Identifier{{Value: "ann@example.org"}}},
			Factors: []account.ImportedFactor{{Kind: account.TOTP, Secret: []byte("12345678901234567890")}},
		}
		load := func(verified bool) (hash string, factors []*account.Factor, names int) {
			line := line
			line.User = &account.User{Identifiers: append([]account.Identifier(nil), line.User.Identifiers...)}
			line.User.Identifiers[0].Verified = verified
			in := account.Import{To: account.ImportState{ID: fmt.Sprint(verified), Lines: 1}, From: account.ImportState{ID: fmt.Sprint(verified)}, Mend: true, Arrivals: []account.Arrival{line}}
			if _, refused, err := x.ImportUsers(t.Context(), in, account.By{Actor: "operator"}, now); err != nil || len(refused) > 0 {
				t.Fatalf("%v, refused %v", err, refused)
			}
			err := x.d.View(t.Context(), func(tx account.Tx) (err error) {
				if hash, err = tx.PasswordHash("ann"); err == nil {
					factors, err = tx.FactorsOf("ann")
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			user, err := x.User(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			return hash, factors, len(user.Identifiers)
		}
		if hash, factors, names := load(false); hash != "" || len(factors) != 0 || names != 1 {
			t.Errorf("by %q: a stranger's password %q, %d factors, %d names", external, hash, len(factors), names)
		}
		if hash, factors, _ := load(true); hash == "" || len(factors) != 1 {
			t.Errorf("by %q: the owner's own line: %q, %d factors", external, hash, len(factors))
		}
	}
}

// The attack: one network asks again and again to replace the password of somebody,
// and signs up with her address. The owner, at a browser that is not known, asks all
// the same.
func TestAttackOneNetworkKeepsAnOwnerFromRecovery(t *testing.T) {
	x := newTexter(t)
	begun := time.Now()
	x.put("ann", "ann@example.org")
	refused := 0
	for n := range 60 {
		now := begun.Add(time.Duration(n) * 2 * time.Minute)
		from := account.Origin{Address: "198.51.100.1"}
		if _, err := x.Forgot(t.Context(), "ann@example.org", from, now); err != nil {
			refused++
		}
		_, _, _ = x.SignUp(t.Context(), account.SignUp{Identifier: "ann@example.org", Password: admit.NewSecret("correct horse battery")}, from, now)
	}
	if refused < 40 {
		t.Errorf("only %d of 60 were refused", refused)
	}
	if _, err := x.Forgot(t.Context(), "ann@example.org", account.Origin{Address: "192.0.2.1"}, begun.Add(2*time.Hour)); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

// The attack: somebody has stolen a cookie and knows the password, but has no second
// factor. "This was not me" takes off what was added since, and must not take that.
func TestAttackAStolenCookieDisownsTheSecondFactor(t *testing.T) {
	o := newOwner(t, "en")
	later := o.begun.Add(time.Hour)
	records, err := o.Activity(t.Context(), o.user.ID, 0, 10)
	if err != nil || len(records) == 0 {
		t.Fatal(len(records), err)
	}
	oldest := records[len(records)-1].ID
	o.enrol(o.begun)
	stale := o.at(o.begun)
	if err := o.Disown(t.Context(), stale, oldest, later); err != nil {
		t.Fatal(err)
	}
	if factors, err := o.FactorsOf(t.Context(), o.user.ID); err != nil || len(factors) != 2 {
		t.Errorf("a cookie has left %d factors, %v", len(factors), err)
	}
	// An owner who has just proved who he is gets rid of what a thief added.
	p := newOwner(t, "en")
	records, err = p.Activity(t.Context(), p.user.ID, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	p.enrol(later)
	if err := p.Disown(t.Context(), p.at(later), records[0].ID, later); err != nil {
		t.Fatal(err)
	}
	if factors, err := p.FactorsOf(t.Context(), p.user.ID); err != nil || len(factors) != 0 {
		t.Errorf("of a thief's factors %d are left, %v", len(factors), err)
	}
}
