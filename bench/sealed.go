package main

import (
	"crypto/rand"
	"encoding/gob"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/sessions"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/session"
)

// sealedRows compare sessions that travel in their cookies. Gorilla's can be
// replayed, and so costs no look at a guard.
func sealedRows() []row {
	compare := func(what string, g goal, handler func(site) http.Handler) row {
		of := func(newSite func() site) contender {
			return func() work {
				s := newSite()
				return browse(handler(s), signIns(s.signIn))
			}
		}
		return row{What: what, Goal: g, PeerName: "gorilla CookieStore, hash and AES",
			bare: of(bareSite), ours: of(sealedSite), peer: of(gorillaSite)}
	}
	return []row{
		compare("sealed: with its data (Load, JSON)", goal{CPU: 3000}, func(s site) http.Handler { return s.load }),
		compare("sealed: with its data (Use, JSON)", goal{CPU: 3000}, func(s site) http.Handler { return s.touch }),
		compare("sealed: read, modify, write (Update)", goal{CPU: 6000}, func(s site) http.Handler { return s.update }),
	}
}

// browse is serve with browsers that keep the cookies they are given.
func browse(h http.Handler, lines []string) work {
	w := newWriter()
	of := request("-")
	i := 0
	return func(n int) {
		for range n {
			r := new(http.Request)
			*r = *of
			line := &lines[i%len(lines)]
			r.Header["Cookie"][0] = *line
			i++
			w.reset()
			h.ServeHTTP(w, r)
			if w.code != http.StatusOK {
				panic("the session was not read back")
			}
			pair := unchanged // whoever sets none has the jar written just the same
			set := w.header["Set-Cookie"]
			if len(set) > 0 {
				pair, _, _ = strings.Cut(set[0], ";")
			}
			if next := "theme=dark; " + pair + "; _ga=GA1.2.1234567.7654321"; len(set) > 0 {
				*line = next
			}
		}
	}
}

var unchanged = "session=" + strings.Repeat("x", 320)

func sealedSite() site {
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	must(err)
	m, err := session.NewSealed[visit](session.NewMemory(nil), keys, nil)
	must(err)
	answering := func(load func(http.ResponseWriter, *http.Request) (*session.Session[visit], error)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := load(w, r)
			answer(w, err == nil && s.Subject == uid && s.Data.Count > 0)
		})
	}
	return site{
		signIn: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := m.StartWith(w, r, uid, nil, func(v *visit) { *v = visit{1, time.Now()} })
			answer(w, err == nil)
		}),
		load:  answering(func(_ http.ResponseWriter, r *http.Request) (*session.Session[visit], error) { return m.Load(r) }),
		touch: answering(m.Use),
		update: answering(func(w http.ResponseWriter, r *http.Request) (*session.Session[visit], error) {
			return m.Update(w, r, func(v *visit) error { v.Count++; return nil })
		}),
	}
}

func gorillaSite() site {
	gob.Register(time.Time{})
	hash, block := make([]byte, 32), make([]byte, 32)
	rand.Read(hash)
	rand.Read(block)
	store := sessions.NewCookieStore(hash, block)
	read := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := store.New(r, "session") // Get keeps it in the request's context
		answer(w, err == nil && s.Values["uid"] == uid && s.Values["count"].(int) > 0)
	})
	return site{
		signIn: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := store.New(r, "session")
			must(err)
			s.Values["uid"], s.Values["count"], s.Values["since"] = uid, 1, time.Now()
			answer(w, s.Save(r, w) == nil)
		}),
		load:  read,
		touch: read,
		update: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := store.New(r, "session")
			must(err)
			s.Values["count"] = s.Values["count"].(int) + 1
			answer(w, s.Save(r, w) == nil)
		}),
	}
}
