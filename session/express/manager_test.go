package express

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

// with is a request with these sessions' cookies.
func with(m *Manager, sids ...string) *http.Request {
	r := httptest.NewRequest("GET", "http://site.test/", nil)
	for _, sid := range sids {
		r.Header.Add("Cookie", m.o.Name+"="+encodeURIComponent(m.secrets.Sign(sid)))
	}
	return r
}

// begun is a new session with one value.
func begun(t *testing.T, m *Manager, name string, v any) string {
	t.Helper()
	s, err := m.Update(httptest.NewRecorder(), with(m), func(d *Data) error { return d.Set(name, v) })
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

func count(d *Data) error {
	n := 0
	if err := d.Get("n", &n); err != nil {
		return err
	}
	return d.Set("n", n+1)
}

const browserCookie = `"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}`

func TestParallelUpdatesLoseNothing(t *testing.T) {
	store := newFake()
	here, there := manager(t, store, nil), manager(t, store, nil) // two processes
	sid := begun(t, here, "n", 0)
	seen := sync.Map{}
	var all sync.WaitGroup
	for i := range 50 {
		m := here
		if i%2 == 1 {
			m = there
		}
		all.Go(func() {
			s, err := m.Update(httptest.NewRecorder(), with(m, sid), count)
			if err != nil {
				t.Error(err)
				return
			}
			if _, twice := seen.LoadOrStore(s.Raw("n"), true); twice {
				t.Errorf("two got %s", s.Raw("n"))
			}
		})
	}
	all.Wait()
	if want := `{` + browserCookie + `,"n":50}`; store.json(sid) != want {
		t.Errorf("%s, want %s", store.json(sid), want)
	}
	if len(here.queue.lines)+len(there.queue.lines) != 0 {
		t.Error("a line is left")
	}
}

func TestAHotSessionCostsOneWriteEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		m := manager(t, store, nil)
		sid := begun(t, m, "n", 0)
		store.told()
		store.between = func(op, _ string) {
			if op == "swap" {
				time.Sleep(time.Millisecond)
			}
		}
		for range 32 {
			go m.Update(httptest.NewRecorder(), with(m, sid), count)
		}
		time.Sleep(time.Second)
		told := strings.Fields(store.told())
		if len(told) != 1+32 || !strings.Contains(store.json(sid), `"n":32}`) {
			t.Errorf("%d calls, %s", len(told), store.json(sid))
		}
	})
}

func TestAWriteOfExpressBetweenReadAndWriteIsKept(t *testing.T) {
	store := newFake()
	m := manager(t, store, nil)
	sid := begun(t, m, "n", 1)
	once := sync.Once{}
	store.between = func(op, _ string) {
		if op == "swap" {
			once.Do(func() { store.set(sid, `{"theirs":{"a":1.50},`+browserCookie+`,"n":7,"flash":["x"]}`, time.Time{}) })
		}
	}
	if _, err := m.Update(httptest.NewRecorder(), with(m, sid), count); err != nil {
		t.Fatal(err)
	}
	if want := `{"theirs":{"a":1.50},` + browserCookie + `,"n":8,"flash":["x"]}`; store.json(sid) != want {
		t.Errorf("%s, want %s", store.json(sid), want)
	}
}

func TestNothingIsWrittenOverADestroy(t *testing.T) {
	for _, o := range []*Options{nil, {Resave: true}} {
		for _, op := range []string{"swap", "touch"} {
			store := newFake()
			m := manager(t, store, o)
			sid := begun(t, m, "n", 1)
			store.between = func(this, _ string) {
				if this == op {
					store.destroy(sid)
				}
			}
			w := httptest.NewRecorder()
			var err error
			if op == "swap" {
				_, err = m.Update(w, with(m, sid), count)
			} else if o == nil {
				_, err = m.Use(w, with(m, sid))
			} else {
				continue // it swaps
			}
			if !errors.Is(err, session.ErrEnded) || len(store.all()) != 0 || len(w.Header()) != 0 {
				t.Errorf("%s: %v, %v, %v", op, err, store.all(), w.Header())
			}
		}
	}
}

func TestASessionThatEndsDuringARequestIsNotBegunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		m := manager(t, store, nil)
		sid := begun(t, m, "n", 1)
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, err := m.Load(r); err != nil || s.Raw("n") != "1" {
				t.Errorf("%v, %v", s, err)
			}
			time.Sleep(10 * time.Second) // and meanwhile he signs out elsewhere
			store.destroy(sid)
			for range 2 {
				if _, err := m.Update(w, r, count); !errors.Is(err, session.ErrEnded) {
					t.Errorf("Update: %v", err)
				}
			}
			if _, err := m.Load(r); !errors.Is(err, session.ErrEnded) {
				t.Errorf("Load: %v", err)
			}
		}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, with(m, sid))
		if len(store.all()) != 0 || len(w.Header()["Set-Cookie"]) != 0 {
			t.Errorf("%v, %v", store.all(), w.Header())
		}
	})
}

func TestExpiryIsCheckedOnLoad(t *testing.T) {
	now := time.Now().Truncate(time.Millisecond)
	record := func(maxAge string, expires time.Duration) string {
		return `{"cookie":{"originalMaxAge":` + maxAge + `,"expires":"` + now.Add(expires).UTC().Format("2006-01-02T15:04:05.000Z") + `","path":"/"}}`
	}
	for _, c := range []struct {
		name   string
		record string
		until  time.Duration // of the store; 0 for ever
		want   error
	}{
		{"before its end a session lives", record("60000", time.Minute), time.Minute, nil},
		{"past its end it does not, though the store keeps it for ever", record("60000", -time.Second), 0, session.ErrExpired},
		{"nor though the store keeps it for long", record("60000", -time.Second), time.Hour, session.ErrExpired},
		{"what Express has touched lives: its end has moved in the store alone", record("60000", -time.Second), 59 * time.Second, nil},
		{"an end without an age is not moved by touching", record("null", -time.Second), time.Second / 2, session.ErrExpired},
		{"without an end it lives as long as the store has it", `{` + browserCookie + `}`, 0, nil},
		{"an empty cookie has no end", `{"cookie":{}}`, 0, nil},
		{"an end that cannot be read is none, as in Express", `{"cookie":{"expires":"tomorrow"}}`, 0, nil},
		{"what is past the store's own end is gone", record("60000", time.Minute), -time.Second, session.ErrNone},
	} {
		store := newFake()
		m := manager(t, store, nil)
		until := now.Add(c.until)
		if c.until == 0 {
			until = time.Time{}
		}
		store.set("a", c.record, until)
		if _, err := m.Load(with(m, "a")); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestASessionLivesWhileItIsUsedAndThenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		m := manager(t, store, &Options{Cookie: Attributes{MaxAge: time.Minute}, Rolling: true})
		sid := begun(t, m, "n", 1)
		for range 5 {
			time.Sleep(50 * time.Second)
			w := httptest.NewRecorder()
			if _, err := m.Use(w, with(m, sid)); err != nil {
				t.Fatal(err)
			}
			want := "; Path=/; Expires=" + time.Now().Add(time.Minute).UTC().Format(http.TimeFormat) + "; HttpOnly"
			if line := w.Header().Get("Set-Cookie"); !strings.HasSuffix(line, want) {
				t.Errorf("%s, want %s", line, want)
			}
		}
		time.Sleep(time.Minute)
		if _, err := m.Load(with(m, sid)); !errors.Is(err, admit.Unauthenticated) {
			t.Error(err)
		}
	})
}

func TestUsesAreNotedAsSeldomAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		m := manager(t, store, &Options{Cookie: Attributes{MaxAge: time.Hour}, TouchAfter: time.Minute})
		sid := begun(t, m, "n", 1)
		store.told()
		for range 10 {
			time.Sleep(25 * time.Second)
			if _, err := m.Use(httptest.NewRecorder(), with(m, sid)); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(store.told(), "touch"); n != 3 {
			t.Errorf("%d touches in 250 s", n)
		}
	})
}

func TestOfTwoUsersCookiesNeitherCounts(t *testing.T) {
	store := newFake()
	m := manager(t, store, nil)
	alice, bob := begun(t, m, "user", "alice"), begun(t, m, "user", "bob")
	again := begun(t, m, "user", "alice")
	guest, other := begun(t, m, "n", 1), begun(t, m, "n", 2)
	passport := begun(t, m, "passport", map[string]any{"user": 7})
	expired := "expired"
	store.set(expired, `{"cookie":{"expires":"2020-01-02T03:04:05.678Z"},"user":"bob"}`, time.Time{})
	for _, c := range []struct {
		name string
		sent []string
		want string // "" for an error
	}{
		{"one is good", []string{alice}, alice},
		{"two users", []string{alice, bob}, ""},
		{"two users, one of passport", []string{alice, passport}, ""},
		{"a guest among them", []string{guest, alice, bob}, ""},
		{"one user twice: the first", []string{alice, again}, alice},
		{"the same cookie twice", []string{alice, alice}, alice},
		{"a guest's hides nobody", []string{guest, alice}, alice},
		{"two guests: the first, as in Express", []string{guest, other}, guest},
		{"junk hides nobody", []string{"gone", alice}, alice},
		{"what is expired does not count", []string{expired, alice}, alice},
	} {
		r := with(m, c.sent...)
		s, err := m.Load(r)
		if c.want == "" {
			if !errors.Is(err, session.ErrAmbiguous) {
				t.Errorf("%s: %v", c.name, err)
			}
			w := httptest.NewRecorder()
			if _, err := m.Update(w, r, count); !errors.Is(err, session.ErrAmbiguous) || !strings.HasPrefix(w.Header().Get("Set-Cookie"), "connect.sid=; Max-Age=0; Path=/") {
				t.Errorf("%s: Update: %v, %v", c.name, err, w.Header())
			}
			w = httptest.NewRecorder()
			if _, err := m.Use(w, r); !errors.Is(err, session.ErrAmbiguous) || !strings.HasPrefix(w.Header().Get("Set-Cookie"), "connect.sid=; Max-Age=0; Path=/") {
				t.Errorf("%s: Use: %v, %v", c.name, err, w.Header())
			}
		} else if err != nil || s.ID != c.want {
			t.Errorf("%s: %v, %v", c.name, s, err)
		}
	}
	// Whoever signs in is rid of them all.
	w := httptest.NewRecorder()
	s, err := m.Start(w, with(m, alice, bob), nil)
	lines := w.Header()["Set-Cookie"]
	if err != nil || len(lines) < 2 || !strings.HasPrefix(lines[len(lines)-1], "connect.sid=s%3A"+s.ID) {
		t.Errorf("%v, %v", lines, err)
	}
}

func TestASignInHasANewIdAndTheOldOneIsDead(t *testing.T) {
	store := newFake()
	m := manager(t, store, nil)
	for _, keep := range []bool{false, true} {
		old := begun(t, m, "cart", 3)
		sign := m.Start
		if keep {
			sign = m.Renew
		}
		w := httptest.NewRecorder()
		s, err := sign(w, with(m, old), func(d *Data) error { return d.Set("user", "alice") })
		if err != nil || s.ID == old || s.Raw("user") != `"alice"` || (s.Raw("cart") == "3") != keep {
			t.Errorf("keep %t: %v, %v", keep, s, err)
		}
		if _, err := m.Load(with(m, old)); !errors.Is(err, session.ErrNone) {
			t.Errorf("keep %t: the old id: %v", keep, err)
		}
		if got, err := m.Load(with(m, s.ID)); err != nil || got.JSON() != s.JSON() {
			t.Errorf("keep %t: the new id: %v, %v", keep, got, err)
		}
	}
}

func TestWhatIsKeptAtASignInIsWhatWasThereWhenTheOldIdDied(t *testing.T) {
	store := newFake()
	m := manager(t, store, nil)
	old := begun(t, m, "cart", 3)
	once := sync.Once{}
	store.between = func(op, _ string) {
		if op == "delete" {
			once.Do(func() { store.set(old, `{`+browserCookie+`,"cart":4}`, time.Time{}) })
		}
	}
	s, err := m.Renew(httptest.NewRecorder(), with(m, old), nil)
	if err != nil || s.Raw("cart") != "4" || len(store.all()) != 1 {
		t.Errorf("%v, %v, %v", s, err, store.all())
	}
	// And nothing, where it was ended meanwhile.
	store.between = func(op, sid string) {
		if op == "delete" {
			store.destroy(sid)
		}
	}
	if s, err := m.Renew(httptest.NewRecorder(), with(m, s.ID), nil); err != nil || s.Raw("cart") != "" {
		t.Errorf("%v, %v", s, err)
	}
}

func TestOneRequestKnowsWhatItDid(t *testing.T) {
	store := newFake()
	m := manager(t, store, nil)
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := m.Load(r); !errors.Is(err, session.ErrNone) {
			t.Error(err)
		}
		for range 2 {
			if _, err := m.Update(w, r, count); err != nil {
				t.Error(err)
			}
		}
		s, err := m.Start(w, r, func(d *Data) error { return d.Set("user", "alice") })
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Load(r); err != nil || got.ID != s.ID {
			t.Errorf("%v, %v", got, err)
		}
		if all := store.all(); len(all) != 1 || len(w.Header()["Set-Cookie"]) != 1 {
			t.Errorf("%v, %v", all, w.Header())
		}
		if err := m.End(w, r); err != nil {
			t.Error(err)
		}
	})).ServeHTTP(httptest.NewRecorder(), with(m))
}

func TestSignOutEndsEverySessionThatWasSentAndClearsTheCookie(t *testing.T) {
	store := newFake()
	m := manager(t, store, nil)
	one, two, stays := begun(t, m, "user", "alice"), begun(t, m, "user", "bob"), begun(t, m, "user", "carol")
	r := with(m, one, two)
	r.Header.Add("Cookie", "connect.sid="+encodeURIComponent(m.secrets.Sign(stays)+"x"))
	w := httptest.NewRecorder()
	if err := m.End(w, r); err != nil {
		t.Fatal(err)
	}
	if all := store.all(); len(all) != 1 || all[stays].JSON == "" {
		t.Error(all)
	}
	if !strings.HasPrefix(w.Header().Get("Set-Cookie"), "connect.sid=; Max-Age=0; Path=/") {
		t.Error(w.Header())
	}
}

func TestSecretsRotateWhileTheyAreUsed(t *testing.T) {
	store := newFake()
	m := manager(t, store, nil)
	sid := begun(t, m, "n", 1)
	r := with(m, sid)
	m.secrets.Replace(secrets(t, "new", "keyboard cat"))
	w := httptest.NewRecorder()
	if _, err := m.Use(w, r); err != nil {
		t.Fatal(err)
	}
	if want := "connect.sid=" + encodeURIComponent(secrets(t, "new").Sign(sid)) + "; Path=/; HttpOnly"; w.Header().Get("Set-Cookie") != want {
		t.Errorf("signed anew: %v, want %s", w.Header(), want)
	}
	w = httptest.NewRecorder()
	if _, err := m.Use(w, with(m, sid)); err != nil || len(w.Header()) != 0 {
		t.Errorf("signed with the first: %v, %v", err, w.Header())
	}
	m.secrets.Replace(secrets(t, "new"))
	if _, err := m.Load(r); !errors.Is(err, session.ErrNone) {
		t.Errorf("the old secret is gone: %v", err)
	}
}

func TestACookieIsReadInEverySpellingThatExpressReads(t *testing.T) {
	store := newFake()
	m := manager(t, store, nil)
	sid := begun(t, m, "n", 1)
	signed := m.secrets.Sign(sid)
	mac := signed[strings.LastIndexByte(signed, '.')+1:]
	for sent, want := range map[string]bool{
		encodeURIComponent(signed):             true,
		signed:                                 true,
		`"` + signed + `"`:                     true,
		`"` + encodeURIComponent(signed) + `"`: true,
		strings.TrimPrefix(signed, "s:"):       false,
		signed + "=":                           false,
		"s:" + sid + "." + strings.NewReplacer("+", "-", "/", "_").Replace(mac) + "=": false,
		"s:" + sid + ".":                false,
		"s:" + sid:                      false,
		"s:x" + sid + "." + mac:         false,
		"s:" + sid[1:] + "." + mac:      false,
		`j:{"a":1}`:                     false,
		"s%3A%zz" + signed[2:]:          false,
		signed[:len(signed)-1]:          false,
		secrets(t, "another").Sign(sid): false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", "a=b; connect.sid="+sent+"; c=d")
		if _, err := m.Load(r); (err == nil) != want {
			t.Errorf("%s: %v", sent, err)
		}
	}
}

func TestARecordThatCannotBeReadIsOneNewSession(t *testing.T) {
	for _, record := range []string{`{"isVisit":3}`, `[]`, `5`, `{"cookie":null}`, `{"cookie":{}`, ``, `null`, "\x00"} {
		store := newFake()
		var log bytes.Buffer
		m := manager(t, store, &Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		store.set("the-bearer", record, time.Time{})
		w := httptest.NewRecorder()
		s, err := m.Update(w, with(m, "the-bearer"), count)
		if err != nil || s.ID == "the-bearer" || s.Raw("n") != "1" || len(w.Header()["Set-Cookie"]) != 1 {
			t.Errorf("%q: %v, %v", record, s, err)
		}
		lines := 1
		if record == "null" { // which is no session in Express
			lines = 0
		}
		if strings.Count(log.String(), "\n") != lines || strings.Contains(log.String(), "the-bearer") {
			t.Errorf("%q: logged %q", record, log.String())
		}
	}
}

func TestAStoreThatIsAwayIsNeverTakenForNoSession(t *testing.T) {
	store := newFake()
	m := manager(t, store, nil)
	sid := begun(t, m, "n", 1)
	store.down = session.ErrUnavailable
	w := httptest.NewRecorder()
	r := with(m, sid)
	_, errLoad := m.Load(r)
	_, errUse := m.Use(w, r)
	_, errUpdate := m.Update(w, r, count)
	_, errStart := m.Start(w, r, nil)
	_, errNew := m.Start(w, with(m), nil)
	for i, err := range []error{errLoad, errUse, errUpdate, errStart, errNew, m.End(w, r)} {
		if admit.KindOf(err) != admit.Unavailable {
			t.Errorf("%d: %v", i, err)
		}
	}
	if len(w.Header()) != 0 {
		t.Errorf("%v", w.Header())
	}
}

func TestASecureCookieIsSentOverHTTPSOnly(t *testing.T) {
	for _, c := range []struct {
		name  string
		trust bool
		proto string
		tls   bool
		want  bool
	}{
		{"TLS", false, "", true, true},
		{"a trusted proxy", true, "https", false, true},
		{"the first of several proxies", true, " HTTPS , http", false, true},
		{"a proxy that is not trusted", false, "https", false, false},
		{"plain HTTP", true, "", false, false},
		{"a proxy without TLS", true, "http", false, false},
	} {
		store := newFake()
		m := manager(t, store, &Options{TrustProxy: c.trust, Cookie: Attributes{Secure: true, SameSite: http.SameSiteLaxMode}})
		r := with(m)
		r.Header.Set("X-Forwarded-Proto", c.proto)
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		w := httptest.NewRecorder()
		_, err := m.Update(w, r, count)
		if c.want != (err == nil) || c.want != strings.HasSuffix(w.Header().Get("Set-Cookie"), "; Path=/; HttpOnly; Secure; SameSite=Lax") {
			t.Errorf("%s: %v, %v", c.name, err, w.Header())
		}
		if !c.want && (!errors.Is(err, ErrInsecure) || len(store.all()) != 0) {
			t.Errorf("%s: %v, %v", c.name, err, store.all())
		}
	}
}

func TestAStrangerWhoWritesNothingIsNotKept(t *testing.T) {
	store := newFake()
	m := manager(t, store, nil)
	w := httptest.NewRecorder()
	s, err := m.Update(w, with(m), func(d *Data) error { return nil })
	if err != nil || s.ID != "" || len(store.all()) != 0 || len(w.Header()) != 0 {
		t.Errorf("%v, %v, %v, %v", s, err, store.all(), w.Header())
	}
	stop := errors.New("stop")
	if _, err := m.Update(w, with(m), func(d *Data) error { d.Set("a", 1); return stop }); !errors.Is(err, stop) || len(store.all()) != 0 {
		t.Errorf("%v, %v", err, store.all())
	}
}

func TestWhoWaitsForASessionMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		m := manager(t, store, nil)
		sid := begun(t, m, "n", 0)
		go m.Update(httptest.NewRecorder(), with(m, sid), func(d *Data) error { time.Sleep(time.Minute); return count(d) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Update(httptest.NewRecorder(), with(m, sid).WithContext(ctx), count); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := m.Update(httptest.NewRecorder(), with(m, sid), count); err != nil {
			t.Error(err)
		}
		if !strings.Contains(store.json(sid), `"n":2}`) || len(m.queue.lines) != 0 {
			t.Error(store.json(sid))
		}
	})
}

func TestWritersOfOneSessionDoNotWaitForAnotherOnesTimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		m := manager(t, store, nil)
		sid := begun(t, m, "n", 0)
		store.down, store.between = session.ErrUnavailable, func(string, string) { time.Sleep(2 * time.Second) }
		var all sync.WaitGroup
		for i := range 100 { // come one after the other, for 10 s
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				asked := time.Now()
				if _, err := m.Update(httptest.NewRecorder(), with(m, sid), count); admit.KindOf(err) != admit.Unavailable {
					t.Error(err)
				}
				if took := time.Since(asked); took > 3*time.Second {
					t.Errorf("one waits for %v", took)
				}
			})
		}
		all.Wait()
		store.down, store.between = nil, nil
		for range 2 {
			if _, err := m.Update(httptest.NewRecorder(), with(m, sid), count); err != nil {
				t.Error(err)
			}
		}
		if !strings.Contains(store.json(sid), `"n":2}`) || len(m.queue.lines) != 0 {
			t.Error(store.json(sid))
		}
	})
}

func TestNewRefusesWhatBrowsersWouldDrop(t *testing.T) {
	for _, o := range []*Options{
		{Name: "a b"},
		{Name: "__Host-sid"},
		{Cookie: Attributes{SameSite: http.SameSiteNoneMode}},
		{Cookie: Attributes{Priority: "urgent"}},
		{Cookie: Attributes{Path: "/\r\nx"}},
		{Cookie: Attributes{MaxAge: -1}},
	} {
		if _, err := New(newFake(), secrets(t, "s"), o); err == nil {
			t.Errorf("%+v", o)
		}
	}
	if _, err := NewSecrets(); err == nil {
		t.Error("no secret")
	}
	if _, err := NewSecrets(admit.NewSecret("")); err == nil {
		t.Error("an empty secret")
	}
}
