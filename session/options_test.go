package session

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAStrangerIsNotKeptUntilThereIsSomethingToRemember(t *testing.T) {
	store := NewMemory(nil)
	m := newManager(t, store, nil)
	b := &browser{t: t}
	for name, fn := range map[string]func(*visit) error{
		"nothing is changed":         func(*visit) error { return nil },
		"what is changed is undone":  func(v *visit) error { v.Count++; v.Count--; return nil },
		"the function gives it up":   func(v *visit) error { v.Count++; return errors.New("no") },
		"what is read was not there": func(v *visit) error { delete(v.Cart, "book"); return nil },
	} {
		b.do(func(w http.ResponseWriter, r *http.Request) {
			m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if s, err := m.Update(w, r, fn); err == nil && (s.SID != "" || !s.Guest()) {
					t.Errorf("%s: a session %q", name, s.SID)
				}
				m.Load(r)
				m.End(w, r, "sign_out")
			})).ServeHTTP(w, r)
		})
		if b.cookie != "" || store.Len() != 0 {
			t.Errorf("%s: cookie %q, %d records", name, b.cookie, store.Len())
		}
	}
	if s, err := b.visit(m); err != nil || s.SID == "" || b.cookie == "" || store.Len() != 1 {
		t.Errorf("something to remember: %+v, %v, cookie %q, %d records", s, err, b.cookie, store.Len())
	}
}

func TestSeveralNamedSessionsOfOneRequestKnowNothingOfEachOther(t *testing.T) {
	store := NewMemory(nil) // one store is enough, for ids are random
	shop := newManager(t, store, &Options{Name: "__Host-shop"})
	desk, err := New[map[string]string](store, &Options{Name: "__Host-desk"})
	if err != nil {
		t.Fatal(err)
	}
	jar := map[string]string{}
	send := func(page http.HandlerFunc) {
		r := httptest.NewRequest("GET", "https://example.org/", nil)
		for name, value := range jar {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		w := httptest.NewRecorder()
		shop.Handler(desk.Handler(page)).ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			if jar[c.Name] = c.Value; c.MaxAge < 0 {
				delete(jar, c.Name)
			}
		}
	}
	send(func(w http.ResponseWriter, r *http.Request) {
		if _, err := shop.Update(w, r, func(v *visit) error { v.Count = 7; return nil }); err != nil {
			t.Error(err)
		}
		if _, err := desk.StartWith(w, r, "clerk", nil, func(m *map[string]string) { *m = map[string]string{"till": "3"} }); err != nil {
			t.Error(err)
		}
	})
	send(func(w http.ResponseWriter, r *http.Request) {
		guest, err1 := shop.Load(r)
		clerk, err2 := desk.Load(r)
		if err := errors.Join(err1, err2); err != nil || guest.Data.Count != 7 || !guest.Guest() || clerk.Data["till"] != "3" || clerk.Subject != "clerk" {
			t.Errorf("%+v, %+v, %v", guest, clerk, err)
		}
		if err := desk.End(w, r, "sign_out"); err != nil {
			t.Error(err)
		}
	})
	send(func(w http.ResponseWriter, r *http.Request) {
		if _, err := desk.Check(r); !errors.Is(err, ErrNone) {
			t.Errorf("the desk after its sign-out: %v", err)
		}
		if s, err := shop.Load(r); err != nil || s.Data.Count != 7 {
			t.Errorf("the shop after the desk's sign-out: %+v, %v", s, err)
		}
	})
}

func TestAttackATokenIsMovedIntoTheCookieOfAnotherName(t *testing.T) {
	store := NewMemory(nil)
	shop := newManager(t, store, &Options{Name: "__Host-shop", Bearer: true})
	desk := newManager(t, store, &Options{Name: "__Host-desk", Bearer: true})
	b := &browser{t: t}
	s := b.start(shop, "4711", nil) // at the desk that number is somebody else
	b.cookie = "__Host-desk" + strings.TrimPrefix(b.cookie, "__Host-shop")
	if i, err := desk.Check(b.request()); !errors.Is(err, ErrNone) {
		t.Errorf("at the desk the shop's token is %+v, %v", i, err)
	}
	if err := desk.End(httptest.NewRecorder(), b.request(), "sign_out"); err != nil {
		t.Error(err)
	}
	b.cookie = "__Host-shop" + strings.TrimPrefix(b.cookie, "__Host-desk")
	if i, err := shop.Check(b.request()); err != nil || i.SID != s.SID {
		t.Errorf("the shop's session after that: %+v, %v", i, err)
	}
	r := b.request()
	r.Header.Del("Cookie")
	r.Header.Set("Authorization", "Bearer "+b.start(shop, "4711", &StartOptions{Bearer: true}).Token.Reveal())
	if i, err := desk.Check(r); !errors.Is(err, ErrNone) {
		t.Errorf("in the header it is %+v, %v", i, err)
	}
}

func TestARememberedSessionIsRenewedByUseUpToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), nil)
		b := &browser{t: t}
		const day = 24 * time.Hour
		b.start(m, "alice", &StartOptions{Persistent: true, Lifetime: 30 * day, Idle: 7 * day})
		for i := range 6 {
			time.Sleep(5 * day)
			w := httptest.NewRecorder()
			var err error
			m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, err = m.Check(r) })).ServeHTTP(w, b.request())
			if i == 5 {
				if !errors.Is(err, ErrExpired) {
					t.Errorf("after thirty days: %v", err)
				}
				return
			}
			left := min(7*day, 30*day-time.Duration(i+1)*5*day)
			if c := w.Result().Cookies(); err != nil || len(c) != 1 || c[0].MaxAge != int(left.Seconds()) {
				t.Fatalf("day %d: %v, cookies %v, want one of %v", 5*(i+1), err, c, left)
			}
		}
	})
}

func TestANoticeIsTakenByOnePageOnly(t *testing.T) {
	type data struct {
		Notices Flash[string] `json:"notices,omitempty"`
	}
	m, err := New[data](NewMemory(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t}
	b.do(func(w http.ResponseWriter, r *http.Request) {
		if _, err := m.Update(w, r, func(d *data) error { d.Notices.Add("Saved."); d.Notices.Add("Sent."); return nil }); err != nil {
			t.Fatal(err)
		}
	})
	var mu sync.Mutex
	var got []string
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			var notices []string
			if _, err := m.Update(httptest.NewRecorder(), b.request(), func(d *data) error { notices = d.Notices.Take(); return nil }); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got = append(got, notices...)
		})
	}
	wg.Wait()
	if len(got) != 2 || got[0] != "Saved." || got[1] != "Sent." {
		t.Errorf("twenty pages were shown %q", got)
	}
}

func ExampleFlash() {
	type Visit struct {
		Notices Flash[string] `json:"notices,omitempty"`
	}
	var v Visit // as Update hands it out
	v.Notices.Add("Saved.")
	v.Notices.Add("Sent to the printer.")

	fmt.Println(v.Notices.Take())
	fmt.Println(len(v.Notices.Take()))
	// Output:
	// [Saved. Sent to the printer.]
	// 0
}
