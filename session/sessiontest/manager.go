package sessiontest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"github.com/admit-auth/admit/session"
)

// visit is the data of the sessions in these checks.
type visit struct {
	Count int
	Seen  map[string]int
}

func (k *kit) manager() *session.Manager[visit] {
	k.Helper()
	m, err := k.build(nil)
	if err != nil {
		k.Fatal(err)
	}
	return m
}

// A browser keeps the session's cookie.
type browser struct{ cookie string }

func (b *browser) request() *http.Request {
	r := httptest.NewRequest("GET", "https://example.org/", nil)
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	return r
}

// take keeps what a response set.
func (b *browser) take(w *httptest.ResponseRecorder) {
	for _, c := range w.Result().Cookies() {
		if b.cookie = c.Name + "=" + c.Value; c.MaxAge < 0 {
			b.cookie = ""
		}
	}
}

func (b *browser) update(m *session.Manager[visit], fn func(*visit) error) (*session.Session[visit], error) {
	w := httptest.NewRecorder()
	s, err := m.Update(w, b.request(), fn)
	b.take(w)
	return s, err
}

func count(v *visit) error { v.Count++; return nil }

func (k *kit) start(m *session.Manager[visit], b *browser, subject string) *session.Session[visit] {
	k.Helper()
	w := httptest.NewRecorder()
	s, err := m.Start(w, b.request(), subject, nil)
	if err != nil {
		k.Fatalf("Start: %v", err)
	}
	b.take(w)
	return s
}

// alive checks that a browser's session counts.
func (k *kit) alive(m *session.Manager[visit], b *browser) *session.Session[visit] {
	k.Helper()
	s, err := m.Load(b.request())
	if err != nil {
		k.Fatalf("Load: %v", err)
	}
	return s
}

func (k *kit) ended(m *session.Manager[visit], b *browser) {
	k.Helper()
	if _, err := m.Load(b.request()); !errors.Is(err, session.ErrEnded) {
		k.Fatalf("Load of an ended session: %v, want ErrEnded", err)
	}
}

// Two managers are two processes: neither waits for the other's turn.
func noLostUpdate(k *kit) {
	managers := []*session.Manager[visit]{k.manager(), k.manager()}
	b := &browser{}
	k.start(managers[0], b, "alice")
	const updates = 50
	var wg sync.WaitGroup
	errs := make([]error, updates)
	for i := range updates {
		wg.Go(func() {
			_, errs[i] = managers[i%2].Update(httptest.NewRecorder(), b.request(), func(v *visit) error {
				if v.Seen == nil {
					v.Seen = map[string]int{}
				}
				v.Count++
				v.Seen[fmt.Sprint(i)]++
				return nil
			})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		k.Fatal(err)
	}
	for _, m := range managers {
		s := k.alive(m, b)
		if s.Data.Count != updates || len(s.Data.Seen) != updates {
			k.Fatalf("after %d updates the count is %d, of %d", updates, s.Data.Count, len(s.Data.Seen))
		}
	}
}

// The attack: a slow request reads the session, its owner signs out, and the
// request writes back what it had read.
func notRevived(k *kit) {
	m := k.manager()
	for name, end := range map[string]func(*browser, *session.Session[visit]) error{
		"End": func(b *browser, _ *session.Session[visit]) error {
			return m.End(httptest.NewRecorder(), b.request(), "sign_out")
		},
		"EndSID": func(_ *browser, s *session.Session[visit]) error { return m.EndSID(k.ctx, s.Subject, s.SID, "ended") },
	} {
		b := &browser{}
		s := k.start(m, b, "alice")
		var once sync.Once
		w := httptest.NewRecorder()
		_, err := m.Update(w, b.request(), func(v *visit) error {
			once.Do(func() { // after it was read, before it is written
				if err := end(b, s); err != nil {
					k.Errorf("%s: %v", name, err)
				}
			})
			return count(v)
		})
		if !errors.Is(err, session.ErrEnded) {
			k.Errorf("Update of a session that %s ended meanwhile: %v, want ErrEnded", name, err)
		}
		if len(w.Result().Cookies()) > 0 {
			k.Errorf("Update of a session that %s ended meanwhile set a cookie", name)
		}
		k.ended(m, b)
	}
}

func signIn(k *kit) {
	m := k.manager()
	b := &browser{}
	for range 3 {
		if _, err := b.update(m, count); err != nil {
			k.Fatal(err)
		}
	}
	guest := *b
	s := k.start(m, b, "alice")
	if s.Data.Count != 3 || s.Subject != "alice" {
		k.Fatalf("after the sign-in: subject %q, count %d, want the guest's 3", s.Subject, s.Data.Count)
	}
	k.ended(m, &guest)
	if s := k.alive(m, b); s.Data.Count != 3 || s.Subject != "alice" {
		k.Fatalf("after the sign-in: subject %q, count %d, want the guest's 3", s.Subject, s.Data.Count)
	}
	if err := m.End(httptest.NewRecorder(), b.request(), "sign_out"); err != nil {
		k.Fatal(err)
	}
	k.ended(m, b)
	k.ended(m, &guest)
}

func endAll(k *kit) {
	m := k.manager()
	for _, subject := range []string{"alice", "张伟", "#"} {
		others := []*browser{{}, {}, {}}
		here, stranger := &browser{}, &browser{}
		for _, b := range others {
			k.start(m, b, subject)
		}
		sid := k.start(m, here, subject).SID
		k.start(m, stranger, "bob")
		if err := m.EndAll(k.ctx, subject, sid, "password_changed"); err != nil {
			k.Fatalf("EndAll: %v", err)
		}
		for _, b := range others {
			k.ended(m, b)
		}
		k.alive(m, here)
		if err := m.EndAll(k.ctx, subject, "", "sign_out_everywhere"); err != nil {
			k.Fatalf("EndAll: %v", err)
		}
		k.ended(m, here)
		k.alive(m, stranger)
		again := &browser{}
		k.start(m, again, subject)
		k.alive(m, again)
		k.ended(m, here)
	}
}

func claimsChange(k *kit) {
	m := k.manager()
	for _, subject := range []string{"alice", "张伟", "#"} {
		here, there, gone := &browser{}, &browser{}, &browser{}
		k.start(m, gone, subject)
		if err := m.EndAll(k.ctx, subject, "", "sign_out_everywhere"); err != nil {
			k.Fatalf("EndAll: %v", err)
		}
		epoch := k.start(m, here, subject).Epoch
		k.start(m, there, subject)
		for range 3 {
			if err := m.RaiseClaims(k.ctx, subject, "role_changed"); err != nil {
				k.Fatalf("RaiseClaims: %v", err)
			}
			epoch++
			for _, b := range []*browser{here, there} {
				if s := k.alive(m, b); s.Epoch != epoch {
					k.Fatalf("the epoch of %q is %d, want %d", subject, s.Epoch, epoch)
				}
			}
			k.ended(m, gone)
		}
		if err := m.EndAll(k.ctx, subject, k.alive(m, here).SID, "password_changed"); err != nil {
			k.Fatalf("EndAll: %v", err)
		}
		if err := m.RaiseClaims(k.ctx, subject, "role_changed"); err != nil {
			k.Fatalf("RaiseClaims: %v", err)
		}
		k.alive(m, here)
		k.ended(m, there)
		k.ended(m, gone)
	}
	if err := m.RaiseClaims(k.ctx, "nobody who ever signed in", "role_changed"); err != nil {
		k.Fatalf("RaiseClaims: %v", err)
	}
}

func listSessions(k *kit) {
	m := k.manager()
	if _, ok := k.Store.(session.Lister); !ok {
		if _, err := m.List(k.ctx, "alice"); !errors.Is(err, session.ErrNoList) {
			k.Fatalf("List where the store is no Lister: %v, want ErrNoList", err)
		}
		return
	}
	sids := func(subject string) (all []string) {
		k.Helper()
		infos, err := m.List(k.ctx, subject)
		if err != nil {
			k.Fatalf("List: %v", err)
		}
		for _, i := range infos {
			all = append(all, i.SID)
		}
		slices.Sort(all)
		return all
	}
	var want []string
	browsers := []*browser{{}, {}, {}}
	for _, b := range browsers {
		want = append(want, k.start(m, b, "alice").SID)
	}
	bob := k.start(m, &browser{}, "bob").SID
	if _, err := (&browser{}).update(m, count); err != nil {
		k.Fatal(err)
	}
	slices.Sort(want)
	if got := sids("alice"); !slices.Equal(got, want) {
		k.Fatalf("List gives %q, want %q", got, want)
	}
	if got := sids("bob"); !slices.Equal(got, []string{bob}) {
		k.Fatalf("List gives %q, want %q", got, bob)
	}
	if err := m.End(httptest.NewRecorder(), browsers[0].request(), "sign_out"); err != nil {
		k.Fatal(err)
	}
	if got := sids("alice"); len(got) != 2 {
		k.Fatalf("List gives %d sessions after one of three ended", len(got))
	}
	if err := m.EndAll(k.ctx, "alice", "", "sign_out_everywhere"); err != nil {
		k.Fatal(err)
	}
	if got := sids("alice"); len(got) != 0 {
		k.Fatalf("List gives %d sessions after all ended", len(got))
	}
}
