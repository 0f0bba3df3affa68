package session

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/token"
)

func (b *browser) prove(m *Manager[visit], amr ...string) (*Session[visit], error) {
	w := httptest.NewRecorder()
	s, err := m.Prove(w, b.request(), amr...)
	b.take(w)
	return s, err
}

func TestProveRenewsTheTokenAndTheTimeAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), nil)
		br := &browser{t: t}
		before := br.start(m, "alice", &StartOptions{AMR: []string{"pwd"}, Device: Device{Name: "phone"}})
		old := *br
		time.Sleep(20 * time.Minute)
		s, err := br.prove(m, "pwd", "otp")
		if err != nil {
			t.Fatal(err)
		}
		if s.SID != before.SID || s.Device != before.Device || !s.ExpiresAt.Equal(before.ExpiresAt) || s.Data.Count != before.Data.Count {
			t.Errorf("%+v became %+v", before, s)
		}
		if !s.AuthTime.Equal(before.AuthTime.Add(20 * time.Minute)) {
			t.Errorf("proved at %v, want 20 min after %v", s.AuthTime, before.AuthTime)
		}
		if got := s.AMR(); len(got) != 2 || got[0] != "pwd" || got[1] != "otp" {
			t.Errorf("amr %v", got)
		}
		if i, err := m.Check(br.request()); err != nil || i.SID != s.SID {
			t.Errorf("the new token: %v", err)
		}
		// A request that was under way is told so and replaces nothing.
		w := httptest.NewRecorder()
		_, err = m.Update(w, old.request(), func(v *visit) error { v.Count++; return nil })
		if e, ok := errors.AsType[*EndedError](err); !ok || e.Why != ReasonProved || len(w.Result().Cookies()) > 0 {
			t.Errorf("the token before it: %v, cookies %v", err, w.Result().Cookies())
		}
		time.Sleep(graveTime)
		if _, err := m.Check(old.request()); !errors.Is(err, ErrNone) {
			t.Errorf("the token before it, later: %v", err)
		}
	})
}

func TestProveGivesAClientWithoutCookiesItsNextToken(t *testing.T) {
	m := newManager(t, NewMemory(nil), &Options{Bearer: true})
	w := httptest.NewRecorder()
	s, err := m.Start(w, httptest.NewRequest("POST", "/", nil), "alice", &StartOptions{Bearer: true})
	if err != nil {
		t.Fatal(err)
	}
	with := func(token string) *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return r
	}
	w = httptest.NewRecorder()
	next, err := m.Prove(w, with(s.Token.Reveal()))
	if err != nil || next.Token.IsZero() || len(w.Result().Cookies()) > 0 {
		t.Fatalf("token %v, cookies %v, %v", next, w.Result().Cookies(), err)
	}
	if _, err := m.Check(with(next.Token.Reveal())); err != nil {
		t.Errorf("the new token: %v", err)
	}
	if _, err := m.Check(with(s.Token.Reveal())); !errors.Is(err, ErrEnded) {
		t.Errorf("the token before it: %v", err)
	}
}

func TestAGuestHasNothingToProve(t *testing.T) {
	m := newManager(t, NewMemory(nil), nil)
	br := &browser{t: t}
	br.visit(m)
	if _, err := br.prove(m); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
}

// Proofs, updates, an ending: whatever comes first, one proof counts, no update
// is lost, and nothing revives what has ended.
func TestParallelProofsAndUpdatesLoseNothingAndAnEndingWins(t *testing.T) {
	store := NewMemory(nil)
	m, other := newManager(t, store, nil), newManager(t, store, nil) // two processes
	br := &browser{t: t}
	sid := br.start(m, "alice", nil).SID
	var wg sync.WaitGroup
	var mu sync.Mutex
	var winner *browser
	proofs, updates := 0, 0 // guarded by mu
	for n := range 16 {
		wg.Go(func() {
			m, mine := []*Manager[visit]{m, other}[n%2], *br
			_, err := mine.prove(m, "pwd")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				proofs++
				winner = &mine
			} else if !errors.Is(err, ErrEnded) {
				t.Errorf("Prove: %v", err)
			}
		})
		wg.Go(func() {
			m := []*Manager[visit]{m, other}[n%2]
			_, err := m.Update(httptest.NewRecorder(), br.request(), func(v *visit) error { v.Count++; return nil })
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				updates++
			} else if !errors.Is(err, ErrEnded) {
				t.Errorf("Update: %v", err)
			}
		})
	}
	wg.Wait()
	if proofs != 1 {
		t.Fatalf("%d proofs count, want 1", proofs)
	}
	s, err := m.Load(winner.request())
	if err != nil || s.Data.Count != updates {
		t.Errorf("%d updates were acknowledged, %+v is kept: %v", updates, s, err)
	}
	for range 50 {
		br := &browser{t: t}
		sid = br.start(m, "alice", nil).SID
		mine := *br
		wg.Go(func() { mine.prove(m, "pwd") })
		wg.Go(func() {
			if err := other.EndAny(context.Background(), sid, "ended_by_operator"); err != nil {
				t.Errorf("EndAny: %v", err)
			}
		})
		wg.Wait()
		for _, b := range []*browser{br, &mine} {
			if _, err := m.Check(b.request()); err == nil {
				t.Fatal("a proof revived a session that had ended")
			}
		}
	}
}

func TestOnlyTheHolderOfTheTokenLearnsWhyASessionEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), nil)
		br := &browser{t: t}
		s := br.start(m, "alice", nil)
		if err := m.EndSID(t.Context(), "alice", s.SID, "ended_by_user"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute) // who was signed out from elsewhere comes late
		_, err := m.Check(br.request())
		if e, ok := errors.AsType[*EndedError](err); !ok || e.Why != "ended_by_user" || e.SID != s.SID || e.Subject != "alice" {
			t.Errorf("the holder: %#v", err)
		}
		// The id is public; with another secret nothing is told.
		tok, err := token.Parse(token.Session, strings.TrimPrefix(br.cookie, "__Host-session="))
		if err != nil {
			t.Fatal(err)
		}
		forged := &browser{t: t, cookie: "__Host-session=" + tok.WithNewVerifier().Reveal()}
		if _, err := m.Check(forged.request()); !errors.Is(err, ErrNone) {
			t.Errorf("somebody who knows the id: %v", err)
		}
		time.Sleep(31 * time.Minute)
		if _, err := m.Check(br.request()); !errors.Is(err, ErrNone) {
			t.Errorf("after the session would have expired: %v", err)
		}
	})
}

func TestATombstoneOfAnOlderVersionStillEndsASession(t *testing.T) {
	var rec record
	if !rec.parse(string([]byte{formatV1, flagEnded})+"signed_out") || !rec.ended() || rec.data != "signed_out" {
		t.Errorf("%+v", rec)
	}
}

// Who comes with the token of a proof made in another process may follow one who has read
// the record from before it.
func TestAProofElsewhereCountsForAnUpdateInLine(t *testing.T) {
	twoProcesses(t, func(here, there process, b *browser) {
		older := *b
		here.m.guesses = nil // the first has read what it begins with
		started, goOn := make(chan bool), make(chan bool)
		var wg sync.WaitGroup
		wg.Go(func() {
			ran := false
			here.update(&older, func(v *visit) error {
				if !ran {
					ran = true
					close(started)
					<-goOn
				}
				return more(v)
			})
		})
		<-started
		if _, err := b.prove(there.m, "otp"); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if s, _, err := here.update(b, more); err != nil || s.Data.Count != 2 {
				t.Errorf("with the token of the proof: %+v, %v", s, err)
			}
		})
		synctest.Wait() // it is in line
		close(goOn)
		wg.Wait()
	})
}
