// Package expresstest checks that a place of Express's records keeps what
// express.Store promises.
//
// [Run] is the whole of it, on a store over the real thing. [Outage] takes the
// thing away.
package expresstest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/express"
)

// Run checks the promises. Open returns one more store over the same place each
// time, as another process would have it.
func Run(t *testing.T, open func(testing.TB) express.Store) {
	for _, p := range []struct {
		name  string
		check func(*testing.T, func() express.Store)
	}{
		{"what is kept comes back byte for byte", keeps},
		{"an id that is taken is not added", adds},
		{"of all swaps of one record one succeeds", races},
		{"a swap undoes nobody's write", swaps},
		{"what was deleted does not come back", ends},
		{"a delete that names its record deletes no other", deletes},
		{"a touch moves the end and makes nothing", touches},
		{"a record ends when its time is over", expires},
		{"an id that somebody made up does no harm", invents},
		{"a call does not outlive its context", stops},
		{"no update is lost among several servers", counts},
		{"no write comes after a sign-out", signsOut},
	} {
		t.Run(p.name, func(t *testing.T) { p.check(t, func() express.Store { return open(t) }) })
	}
}

// record is one as express-session writes it.
func record(until time.Time, members string) express.Record {
	const form = `{"cookie":{"originalMaxAge":60000,"expires":"%s","httpOnly":true,"path":"/"}%s}`
	return express.Record{JSON: fmt.Sprintf(form, until.UTC().Format("2006-01-02T15:04:05.000Z"), members), Until: until}
}

func soon() time.Time { return time.Now().Add(time.Minute).Truncate(time.Millisecond) }

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

// add adds a record under a new id.
func add(t *testing.T, s express.Store, rec express.Record) (sid string, kept express.Record) {
	t.Helper()
	sid = express.NewID()
	kept, err := s.Add(t.Context(), sid, rec)
	if err != nil {
		t.Fatal(err)
	}
	return sid, kept
}

func has(t *testing.T, s express.Store, sid, json string) express.Record {
	t.Helper()
	rec, err := s.Get(t.Context(), sid)
	if err != nil || rec.JSON != json {
		t.Errorf("Get = %s, %v, want %s", rec.JSON, err, json)
	}
	return rec
}

func keeps(t *testing.T, open func() express.Store) {
	s, other := open(), open()
	_, err := s.Get(t.Context(), express.NewID())
	want(t, "Get of nothing", err, session.ErrNotFound)
	for _, members := range []string{
		``, `,"isVisit":1`, `,"n":1.0,"e":1E2,"z":-0,"a":[ 1 , 2 ]`, `,"s":"<é& 😀> \u2028 \ud800 \\ \r\n"`, `,"data":` + "{\n\t\"a\":\r\n 1\r\n}",
		`,"b":1,"a":2,"10":3,"":4`, `,"big":"` + strings.Repeat("x", 30_000) + `"`,
	} {
		rec := record(soon(), members)
		sid, kept := add(t, s, rec)
		if kept.JSON != rec.JSON {
			t.Errorf("Add = %s, want %s", kept.JSON, rec.JSON)
		}
		if got := has(t, other, sid, rec.JSON); !got.Until.IsZero() && got.Until.Sub(rec.Until).Abs() > time.Second {
			t.Errorf("kept until %v, want %v", got.Until, rec.Until)
		}
		next := record(soon(), members+`,"more":true`)
		if kept, err = other.Swap(t.Context(), sid, kept, next); err != nil || kept.JSON != next.JSON {
			t.Errorf("Swap = %s, %v, want %s", kept.JSON, err, next.JSON)
		}
		has(t, s, sid, next.JSON)
	}
	// A cookie that ends with the browser: the store has a time of its own.
	sid, _ := add(t, s, express.Record{JSON: `{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}}`})
	if rec, err := other.Get(t.Context(), sid); err != nil || !rec.Until.IsZero() && time.Until(rec.Until) < time.Hour {
		t.Errorf("without a time: %+v, %v", rec, err)
	}
}

func adds(t *testing.T, open func() express.Store) {
	s := open()
	rec := record(soon(), "")
	sid, _ := add(t, s, rec)
	_, err := open().Add(t.Context(), sid, record(soon(), `,"user":"mallory"`))
	want(t, "Add", err, session.ErrConflict)
	has(t, s, sid, rec.JSON)
}

func races(t *testing.T, open func() express.Store) {
	sid, old := add(t, open(), record(soon(), ""))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []string
	for i := range 16 {
		s := open()
		wg.Go(func() {
			rec, err := s.Swap(t.Context(), sid, old, record(soon(), fmt.Sprintf(`,"n":%d`, i)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, rec.JSON)
			} else {
				want(t, "a swap that lost", err, session.ErrConflict)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d swaps of one record succeeded", len(won))
	}
	has(t, open(), sid, won[0])
}

func swaps(t *testing.T, open func() express.Store) {
	s, other := open(), open()
	sid, old := add(t, s, record(soon(), ""))
	next, err := other.Swap(t.Context(), sid, old, record(soon(), `,"a":1`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Swap(t.Context(), sid, old, record(soon(), `,"b":1`))
	want(t, "a swap of what is no more", err, session.ErrConflict)
	read := has(t, s, sid, next.JSON)
	if _, err = s.Swap(t.Context(), sid, read, record(soon(), `,"a":1,"b":1`)); err != nil {
		t.Errorf("a swap of what was read: %v", err)
	}
}

func ends(t *testing.T, open func() express.Store) {
	s, other := open(), open()
	sid, old := add(t, s, record(soon(), ""))
	if err := other.Delete(t.Context(), sid, express.Record{}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Swap(t.Context(), sid, old, record(soon(), `,"a":1`))
	want(t, "Swap", err, session.ErrNotFound)
	want(t, "Touch", s.Touch(t.Context(), sid, old, soon()), session.ErrNotFound)
	want(t, "Delete", s.Delete(t.Context(), sid, old), session.ErrNotFound)
	want(t, "Delete of whatever is there", s.Delete(t.Context(), sid, express.Record{}), nil)
	_, err = s.Get(t.Context(), sid)
	want(t, "Get", err, session.ErrNotFound)
}

func deletes(t *testing.T, open func() express.Store) {
	s := open()
	sid, old := add(t, s, record(soon(), ""))
	next, err := open().Swap(t.Context(), sid, old, record(soon(), `,"a":1`))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "Delete of what is no more", s.Delete(t.Context(), sid, old), session.ErrConflict)
	has(t, s, sid, next.JSON)
	want(t, "Delete", s.Delete(t.Context(), sid, next), nil)
	_, err = s.Get(t.Context(), sid)
	want(t, "Get", err, session.ErrNotFound)
}

func touches(t *testing.T, open func() express.Store) {
	s := open()
	want(t, "Touch of nothing", s.Touch(t.Context(), express.NewID(), record(soon(), ""), soon()), session.ErrNotFound)
	near := time.Now().Add(2 * time.Second)
	sid, old := add(t, s, record(near, `,"a":1`))
	if err := s.Touch(t.Context(), sid, old, soon()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(near) + 1500*time.Millisecond) // the server's own clock
	rec, err := open().Get(t.Context(), sid)
	if err != nil || !strings.Contains(rec.JSON, `"a":1`) || !rec.Until.IsZero() && time.Until(rec.Until) < 30*time.Second {
		t.Errorf("touched, and then %+v, %v", rec, err)
	}
	if _, err := s.Swap(t.Context(), sid, rec, record(soon(), `,"a":2`)); err != nil {
		t.Errorf("a swap of what was touched: %v", err)
	}
}

// expires allows for stores that keep a record for some seconds more: the
// Manager looks at its time too.
func expires(t *testing.T, open func() express.Store) {
	s := open()
	at := time.Now().Add(1200 * time.Millisecond)
	sid, old := add(t, s, record(at, ""))
	has(t, open(), sid, old.JSON)
	sessions := manager(t, s)
	for end := time.Now().Add(6 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := sessions.Load(presenting(sid))
		if err != nil {
			if early := time.Until(at); early > 0 {
				t.Errorf("ended %v early", early)
			}
			if !errors.Is(err, session.ErrExpired) {
				want(t, "Load", err, session.ErrNone)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatal("it is alive long after its end")
		}
	}
}

func invents(t *testing.T, open func() express.Store) {
	s := open()
	for _, sid := range []string{"a b", "a\r\nflush_all\r\n", "é漢", "\x00", "'; --", strings.Repeat("x", 300), strings.Repeat("漢", 200), "a\u00a0b", "*", "$where"} {
		if _, err := s.Get(t.Context(), sid); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Get(%.20q): %v", sid, err)
		}
		if err := s.Delete(t.Context(), sid, express.Record{}); err != nil {
			t.Errorf("Delete(%.20q): %v", sid, err)
		}
	}
}

func stops(t *testing.T, open func() express.Store) {
	s := open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sid, old := add(t, s, record(soon(), ""))
	_, err := s.Get(ctx, sid)
	want(t, "Get", err, context.Canceled)
	_, err = s.Swap(ctx, sid, old, record(soon(), `,"a":1`))
	want(t, "Swap", err, context.Canceled)
	want(t, "Touch", s.Touch(ctx, sid, old, soon()), context.Canceled)
	want(t, "Delete", s.Delete(ctx, sid, express.Record{}), context.Canceled)
	has(t, s, sid, old.JSON)
}

const name, secret = "connect.sid", "keyboard cat"

func secrets(t *testing.T) *express.Secrets {
	t.Helper()
	all, err := express.NewSecrets(admit.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func manager(t *testing.T, s express.Store) *express.Manager {
	t.Helper()
	m, err := express.New(s, secrets(t), &express.Options{Cookie: express.Attributes{MaxAge: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// presenting is a request with the cookie of a session.
func presenting(sid string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	s, _ := express.NewSecrets(admit.NewSecret(secret))
	r.Header.Set("Cookie", name+"="+s.Sign(sid)) // an id has nothing to escape
	return r
}

func increment(d *express.Data) error {
	n := 0
	if err := d.Get("n", &n); err != nil {
		return err
	}
	return d.Set("n", n+1)
}

func counts(t *testing.T, open func() express.Store) {
	s := open()
	sid, _ := add(t, s, record(soon(), ""))
	const servers, each = 4, 13
	var wg sync.WaitGroup
	for range servers {
		m := manager(t, open())
		for range each {
			wg.Go(func() {
				if _, err := m.Update(httptest.NewRecorder(), presenting(sid), increment); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	got, err := manager(t, s).Load(presenting(sid))
	if err != nil || got.Raw("n") != fmt.Sprint(servers*each) {
		t.Errorf("%d increments, and n is %v, %v", servers*each, got, err)
	}
}

func signsOut(t *testing.T, open func() express.Store) {
	s := open()
	sid, _ := add(t, s, record(soon(), `,"user":"ada"`))
	here, there := manager(t, open()), manager(t, open())
	_, err := here.Update(httptest.NewRecorder(), presenting(sid), func(d *express.Data) error {
		if err := there.End(httptest.NewRecorder(), presenting(sid)); err != nil {
			t.Error(err)
		}
		return increment(d)
	})
	want(t, "an update across a sign-out", err, session.ErrEnded)
	_, err = s.Get(t.Context(), sid)
	want(t, "Get", err, session.ErrNotFound)
}

// Outage checks what a store says while what it is over does not answer: that it
// is unavailable, soon, and nothing else. Pause stops that; what it returns lets
// it go on. The store's calls are bounded by no more than a second.
func Outage(t *testing.T, s express.Store, pause func() (resume func())) {
	sid, old := add(t, s, record(soon(), `,"n":1`))
	sessions := manager(t, s)
	resume := sync.OnceFunc(pause())
	defer resume()
	w := httptest.NewRecorder()
	for _, call := range []struct {
		name string
		do   func() error
	}{
		{"Get", func() error { _, err := s.Get(t.Context(), sid); return err }},
		{"Add", func() error { _, err := s.Add(t.Context(), express.NewID(), record(soon(), "")); return err }},
		{"Swap", func() error { _, err := s.Swap(t.Context(), sid, old, old); return err }},
		{"Touch", func() error { return s.Touch(t.Context(), sid, old, soon()) }},
		{"Delete of another", func() error { return s.Delete(t.Context(), express.NewID(), express.Record{}) }},
		{"Load", func() error { _, err := sessions.Load(presenting(sid)); return err }},
		{"Update", func() error { _, err := sessions.Update(w, presenting(sid), increment); return err }},
		{"Update of a stranger", func() error {
			_, err := sessions.Update(w, httptest.NewRequest("GET", "/", nil), increment)
			return err
		}},
	} {
		begin := time.Now()
		if err := call.do(); !errors.Is(err, admit.Unavailable) {
			t.Errorf("%s without an answer: %v", call.name, err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("%s took %v", call.name, took)
		}
	}
	if lines := w.Header()["Set-Cookie"]; lines != nil {
		t.Errorf("a cookie was set all the same: %q", lines)
	}
	resume()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got, err := sessions.Load(presenting(sid))
		if err == nil {
			if n := got.Raw("n"); n != "1" && n != "2" { // the update may have happened after all
				t.Errorf("n is %s", n)
			}
			return
		}
		if !errors.Is(err, admit.Unavailable) || time.Now().After(end) {
			t.Fatalf("it goes on, and Load says %v", err)
		}
	}
}
