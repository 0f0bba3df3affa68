package session

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

// family is a manager whose sessions end with those of another one.
func family(t *testing.T) (parents, children *Manager[visit]) {
	t.Helper()
	parents = newManager(t, NewMemory(nil), nil)
	return parents, newManager(t, NewMemory(nil), &Options{Parents: parents})
}

func (b *browser) end(m *Manager[visit]) (err error) {
	b.do(func(w http.ResponseWriter, r *http.Request) { err = m.End(w, r, "signed_out") })
	return err
}

func TestASessionAndItsParentEndTogether(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, parents, children *Manager[visit], parent, child *browser, sid string) error{
		"the parent signs out": func(t *testing.T, parents, _ *Manager[visit], parent, _ *browser, _ string) error {
			return parent.end(parents)
		},
		"the child signs out": func(t *testing.T, _, children *Manager[visit], _, child *browser, _ string) error {
			return child.end(children)
		},
		"the child's session is ended from a list": func(t *testing.T, _, children *Manager[visit], _, _ *browser, sid string) error {
			return children.EndSID(t.Context(), "alice", sid, "listed")
		},
		"all of the subject's sessions end at the parent": func(t *testing.T, parents, _ *Manager[visit], _, _ *browser, _ string) error {
			return parents.EndAll(t.Context(), "alice", "", "everywhere")
		},
	} {
		t.Run(name, func(t *testing.T) {
			parents, children := family(t)
			parent, child, sibling := &browser{t: t}, &browser{t: t}, &browser{t: t}
			p := parent.start(parents, "alice", nil)
			c := child.start(children, "alice", &StartOptions{Parent: p.SID})
			sibling.start(children, "alice", &StartOptions{Parent: p.SID})
			if c.Parent != p.SID || c.SID == p.SID {
				t.Fatalf("the child is %s of %s, the parent %s", c.SID, c.Parent, p.SID)
			}
			if err := end(t, parents, children, parent, child, c.SID); err != nil {
				t.Fatal(err)
			}
			for who, err := range map[string]error{
				"the parent":  check(parents, parent),
				"the child":   check(children, child),
				"its sibling": check(children, sibling),
			} {
				if !errors.Is(err, ErrEnded) && !errors.Is(err, ErrNone) {
					t.Errorf("%s: %v, want it to have ended", who, err)
				}
			}
			if _, err := children.Find(t.Context(), c.SID); !errors.Is(err, ErrUnknown) {
				t.Errorf("Find: %v", err)
			}
			if all, err := children.List(t.Context(), "alice"); len(all) > 0 || err != nil {
				t.Errorf("%d are still listed, %v", len(all), err)
			}
		})
	}
}

func check(m *Manager[visit], b *browser) error {
	_, err := m.Check(b.request())
	return err
}

func TestASessionAndItsParentMayBeInOneStore(t *testing.T) {
	store := NewMemory(nil)
	parents := newManager(t, store, nil)
	children := newManager(t, store, &Options{Name: "__Host-other", Parents: newManager(t, store, nil)})
	parent, child := &browser{t: t}, &browser{t: t}
	p := parent.start(parents, "alice", nil)
	child.start(children, "alice", &StartOptions{Parent: p.SID})
	if err := check(children, child); err != nil {
		t.Fatal(err)
	}
	if err := parent.end(parents); err != nil {
		t.Fatal(err)
	}
	if err := check(children, child); !errors.Is(err, ErrEnded) {
		t.Errorf("the next request: %v, want ErrEnded", err)
	}
}

func TestANewSignInAtTheChildEndsNoParent(t *testing.T) {
	parents, children := family(t)
	parent, child := &browser{t: t}, &browser{t: t}
	p := parent.start(parents, "alice", nil)
	first := child.start(children, "alice", &StartOptions{Parent: p.SID})
	second := child.start(children, "alice", &StartOptions{Parent: p.SID})
	if err := errors.Join(check(parents, parent), check(children, child)); err != nil || first.SID == second.SID {
		t.Errorf("after two arrivals in one browser: %v", err)
	}
}

func TestUseOfAChildKeepsItsParentFromIdling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parents, children := family(t)
		parent, child := &browser{t: t}, &browser{t: t}
		p := parent.start(parents, "alice", nil)
		child.start(children, "alice", &StartOptions{Parent: p.SID})
		for range 10 {
			time.Sleep(30 * time.Minute)
			child.do(func(w http.ResponseWriter, r *http.Request) {
				if _, err := children.Use(w, r); err != nil {
					t.Fatal(err)
				}
			})
		}
		if err := check(parents, parent); err != nil {
			t.Error(err)
		}
		time.Sleep(12 * time.Hour)
		if err := check(children, child); err == nil {
			t.Error("the child outlives its parent")
		}
	})
}

// cutOff are parents that cannot be asked.
type cutOff struct{ Parents }

func (cutOff) Alive(context.Context, string) error          { return errors.New("cut off") }
func (cutOff) EndAny(context.Context, string, string) error { return errors.New("cut off") }

func TestParentsThatCannotBeAskedAreAnOutageAndSignNobodyOut(t *testing.T) {
	store := NewMemory(nil)
	parents := newManager(t, NewMemory(nil), nil)
	children := newManager(t, store, &Options{Parents: parents})
	b := &browser{t: t}
	p := (&browser{t: t}).start(parents, "alice", nil)
	b.start(children, "alice", &StartOptions{Parent: p.SID})
	away := newManager(t, store, &Options{Parents: cutOff{}})
	if err := check(away, b); admit.KindOf(err) != admit.Unavailable {
		t.Errorf("Check: %v, want unavailable", err)
	}
	cookie := b.cookie
	if err := b.end(away); admit.KindOf(err) != admit.Unavailable || b.cookie != cookie {
		t.Errorf("End: %v, want unavailable, and the cookie kept to try again", err)
	}
	if err := check(children, b); err != nil {
		t.Errorf("when they can be asked again: %v", err)
	}
	if err := check(newManager(t, store, nil), b); !errors.Is(err, ErrNone) {
		t.Errorf("where nobody knows of parents: %v, want ErrNone", err)
	}
}

func TestAParentIsAskedForOnlyByTheTokensHolder(t *testing.T) {
	parents, children := family(t)
	p := (&browser{t: t}).start(parents, "alice", nil)
	b := &browser{t: t}
	b.start(children, "alice", &StartOptions{Parent: p.SID})
	asked := &countingParents{Parents: parents}
	children.parents = asked
	name, text, _ := strings.Cut(b.cookie, "=")
	tok, err := token.Parse(token.Session, text)
	if err != nil {
		t.Fatal(err)
	}
	forged := &browser{t: t, cookie: name + "=" + tok.WithNewVerifier().Reveal()}
	if err := check(children, forged); err == nil || asked.n > 0 {
		t.Errorf("a forged token: %v, and the parents were asked %d times", err, asked.n)
	}
	if err := check(children, b); err != nil || asked.n != 1 {
		t.Errorf("the token: %v, and the parents were asked %d times", err, asked.n)
	}
}

type countingParents struct {
	Parents
	n int
}

func (p *countingParents) Alive(ctx context.Context, sid string) error {
	p.n++
	return p.Parents.Alive(ctx, sid)
}

func TestARecordWithAParentIsReadAsItWasWritten(t *testing.T) {
	for _, text := range [][5]string{{}, {"pwd otp", "2fa", "Firefox"}} {
		rec := record{created: 1, idle: 2, lifetime: 3, auth: 4, epoch: 5, parent: "0123456789abcdefghijkl", text: text, data: "{}"}
		value := rec.value([]byte(rec.data))
		var got record
		if !got.parse(value) || got != rec {
			t.Errorf("read as %+v, want %+v", got, rec)
		}
		for n := range len(value) - len(rec.data) {
			var cut record
			if cut.parse(value[:n]) {
				t.Errorf("a record cut at %d is read", n)
			}
		}
	}
}
