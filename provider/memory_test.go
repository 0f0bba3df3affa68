package provider

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/token"
)

func TestMemoryForgetsWhatHasExpired(t *testing.T) {
	m := NewMemory(nil)
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	const each = 1000
	for i := range each {
		at := now.Add(time.Duration(i) * time.Second)
		if err := m.Update(t.Context(), func(tx Tx) error {
			g := &Grant{ID: fmt.Sprint(i), Subject: "alice", SID: "s", BegunAt: at, Expires: at.Add(5 * time.Second)}
			_, err := tx.Spend("x", g.ID, g.Expires)
			return errors.Join(err, tx.AddGrant(g), tx.AddCode(&Code{Selector: g.ID, Expires: g.Expires}), tx.AddPushed(&Pushed{Selector: g.ID, At: at, Expires: g.Expires}),
				tx.AddToken(&Token{Selector: g.ID, Grant: g.ID, Issued: at, Expires: g.Expires}))
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n := m.size(); n > 5*7 {
		t.Errorf("of %d records of which 25 live there are %d", 5*each, n)
	}
	if len(m.expiries) != m.size() || len(m.of["alice"]) != len(m.grants) || len(m.behind["s"]) != len(m.grants) {
		t.Errorf("%d expiries, %d and %d names of grants, %d grants", len(m.expiries), len(m.of["alice"]), len(m.behind["s"]), len(m.grants))
	}
}

// The attack: codes are asked for, and never exchanged.
func TestAttackMemoryFloodOfCodes(t *testing.T) {
	m := NewMemory(&MemoryOptions{MaxRecords: 100})
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 1000 {
		at := now.Add(time.Duration(i) * time.Second)
		c := &Code{Selector: token.New(token.OneTime).Selector(), Expires: at.Add(time.Minute), Asked: Asked{At: at}}
		if err := m.Update(t.Context(), func(tx Tx) error { return tx.AddCode(c) }); err != nil {
			t.Fatalf("after %d of which 60 live: %v", i, err)
		}
	}
}

// The attack: tokens are asked for until there is no memory.
func TestAttackMemoryFlood(t *testing.T) {
	m := NewMemory(&MemoryOptions{MaxRecords: 100})
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	add := func(at time.Time) error {
		return m.Update(t.Context(), func(tx Tx) error {
			g := &Grant{ID: token.New(token.Refresh).Selector(), BegunAt: at, Expires: at.Add(time.Minute)}
			return errors.Join(tx.AddGrant(g), tx.AddToken(&Token{Selector: g.ID, Grant: g.ID, Issued: at, Expires: g.Expires}))
		})
	}
	refused := 0
	for range 200 {
		if err := add(now); errors.Is(err, ErrFull) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if m.size() != 100 || refused != 150 || admit.KindOf(ErrFull) != admit.Unavailable {
		t.Errorf("there are %d records, and %d were refused", m.size(), refused)
	}
	// What cannot be added is not half added, and an old consent may still be changed.
	if len(m.grants) != len(m.tokens) || len(m.expiries) != 100 {
		t.Errorf("%d grants, %d tokens, %d expiries", len(m.grants), len(m.tokens), len(m.expiries))
	}
	later := now.Add(time.Hour)
	var err error
	for range 3 { // one tells the time, and the next finds room
		if err = add(later); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("when all has expired: %v", err)
	}
}

func TestAnUpdateOfMemoryFailsWhereNobodyCanBeTold(t *testing.T) {
	away := errors.New("the feed is away")
	m := NewMemory(&MemoryOptions{Feed: deaf{away}, Note: func(Note) { t.Error("it is noted") }})
	now := time.Now()
	g := &Grant{ID: "g", Subject: "alice", BegunAt: now, Expires: now.Add(time.Hour)}
	if err := m.Update(t.Context(), func(tx Tx) error { return tx.AddGrant(g) }); err != nil {
		t.Fatal(err)
	}
	err := m.Update(t.Context(), func(tx Tx) error {
		_, err := tx.EndGrant("g", "x", now)
		return errors.Join(err, tx.Tell(feed.GrantEnded("g", "alice", "x", now)), tx.Note(Note{}))
	})
	if !errors.Is(err, away) || m.grants["g"].Ended != "" {
		t.Errorf("Update = %v, and the grant is %+v", err, m.grants["g"])
	}
}

type deaf struct{ err error }

func (d deaf) Append(context.Context, time.Time, ...feed.Event) error { return d.err }

func TestAViewOfMemoryWritesNothing(t *testing.T) {
	m := NewMemory(nil)
	now := time.Now()
	if err := m.Update(t.Context(), func(tx Tx) error {
		return errors.Join(tx.AddGrant(&Grant{ID: "g", BegunAt: now, Expires: now.Add(time.Hour)}), tx.AddCode(&Code{Selector: "c", Expires: now.Add(time.Hour)}))
	}); err != nil {
		t.Fatal(err)
	}
	for what, write := range map[string]func(Tx) error{
		"PutConsent":  func(tx Tx) error { return tx.PutConsent(&Consent{}) },
		"AddCode":     func(tx Tx) error { return tx.AddCode(&Code{}) },
		"SpendCode":   func(tx Tx) error { _, err := tx.SpendCode("c", "g"); return err },
		"AddGrant":    func(tx Tx) error { return tx.AddGrant(&Grant{}) },
		"RotateGrant": func(tx Tx) error { return tx.RotateGrant("g", 0, token.Digest{1}, now) },
		"EndGrant":    func(tx Tx) error { _, err := tx.EndGrant("g", "x", now); return err },
		"AddToken":    func(tx Tx) error { return tx.AddToken(&Token{}) },
		"EndToken":    func(tx Tx) error { return tx.EndToken("t") },
		"Spend":       func(tx Tx) error { _, err := tx.Spend("a", "b", now); return err },
		"Tell":        func(tx Tx) error { return tx.Tell(feed.Event{}) },
		"Note":        func(tx Tx) error { return tx.Note(Note{}) },
	} {
		if err := m.View(t.Context(), write); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s in a View: %v", what, err)
		}
	}
	if m.size() != 2 || m.grants["g"].N != 0 || m.codes["c"].Grant != "" {
		t.Error("a View has written")
	}
}
