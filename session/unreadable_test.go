package session

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDataThatCannotBeDecodedIsOneCleanSessionAndOneLogLine(t *testing.T) {
	var log bytes.Buffer
	store := NewMemory(nil)
	older := newManager(t, store, nil)
	newer, err := New[struct{ Count string }](store, &Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t}
	b.visit(older)
	b.start(older, "alice", nil)
	for range 3 {
		s, err := newer.Load(b.request())
		if err != nil || s.Subject != "alice" || s.Data.Count != "" {
			t.Fatalf("Load: %+v, %v; want alice, and no data", s, err)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d log lines, want 1: %s", n, log.String())
	}
	if s, err := older.Load(b.request()); err != nil || s.Data.Count != 1 {
		t.Errorf("whoever only reads it has harmed it: %+v, %v", s, err)
	}
	b.do(func(w http.ResponseWriter, r *http.Request) {
		s, err := newer.Update(w, r, func(d *struct{ Count string }) error { d.Count = "one"; return nil })
		if err != nil || s.Subject != "alice" {
			t.Errorf("Update: %+v, %v", s, err)
		}
	})
	if s, err := newer.Load(b.request()); err != nil || s.Data.Count != "one" {
		t.Errorf("after the update: %+v, %v", s, err)
	}
}

func TestARecordThatIsNoneOfOursIsOneNewSessionAndOneLogLine(t *testing.T) {
	var log bytes.Buffer
	store := NewMemory(nil)
	m := newManager(t, store, &Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	b := &browser{t: t}
	s := b.start(m, "alice", nil)
	it, err := store.Get(t.Context(), s.SID)
	if err != nil {
		t.Fatal(err)
	}
	it.Value = "junk"
	if _, err := store.Swap(t.Context(), s.SID, it.Version, it); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := m.Load(b.request()); !errors.Is(err, ErrNone) {
			t.Fatalf("Load: %v, want ErrNone", err)
		}
	}
	again, err := b.visit(m)
	if err != nil || again.SID == s.SID || !again.Guest() {
		t.Errorf("the next visit: %+v, %v; want a new guest", again, err)
	}
	if next, err := b.visit(m); err != nil || next.SID != again.SID || next.Data.Count != 2 {
		t.Errorf("the one after: %+v, %v", next, err)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d log lines, want 1: %s", n, log.String())
	}
}

func TestAChangeKeepsASessionAliveAsAnyUseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{Store: NewMemory(nil)}
		m := newManager(t, c, nil)
		guest, owner := &browser{t: t}, &browser{t: t}
		first, _ := guest.visit(m)
		owner.start(m, "alice", &StartOptions{Persistent: true})
		for range 10 {
			time.Sleep(40 * time.Minute)
			writes := c.writes
			s, err := guest.visit(m)
			if err != nil || s.SID != first.SID || !s.IdleExpiresAt.Equal(time.Now().Add(time.Hour)) || c.writes != writes+1 {
				t.Fatalf("%+v, %v, after %d writes; want the same session for another hour by one", s, err, c.writes-writes)
			}
			cookie := owner.cookie
			owner.cookie = ""
			owner.do(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("Cookie", cookie)
				if _, err := m.Update(w, r, func(v *visit) error { v.Count++; return nil }); err != nil {
					t.Fatal(err)
				}
			})
			if owner.cookie != cookie {
				t.Fatalf("the persistent cookie is %q, want %q set again", owner.cookie, cookie)
			}
		}
	})
}
