package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/gob"
	"net/http"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/gorilla/sessions"

	"github.com/admit-auth/admit/session"
)

const uid = "u_01J9ZK7Q4W8V2N6T5B3C"

// A visit is what a session remembers beside its user, in every library.
type visit struct {
	Count int       `json:"count"`
	Since time.Time `json:"since"`
}

// A site is the handlers that a site with sessions has.
type site struct{ signIn, check, load, noted, touch, update http.Handler }

// answer writes the page, or refuses.
func answer(w http.ResponseWriter, ok bool) {
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
	}
	w.Write(body)
}

// bareSite knows nobody: what a request costs before there is a session.
func bareSite() site {
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, true) })
	return site{bare, bare, bare, bare, bare, bare}
}

func ourSite() site { return siteOf(session.NewMemory(nil)) }

// siteOf is ours over a store.
func siteOf(store session.Store) site {
	m, err := session.New[visit](store, nil)
	must(err)
	check := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := m.Check(r)
		answer(w, err == nil && s.Subject == uid)
	})
	load := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := m.Load(r)
		answer(w, err == nil && s.Subject == uid && s.Data.Count > 0)
	})
	return site{
		signIn: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := m.StartWith(w, r, uid, nil, func(v *visit) { *v = visit{1, time.Now()} })
			answer(w, err == nil)
		}),
		check: check,
		load:  load,
		noted: m.Handler(check),
		touch: m.Handler(load),
		update: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := m.Update(w, r, func(v *visit) error { v.Count++; return nil })
			answer(w, err == nil && s.Subject == uid)
		}),
	}
}

func scsSite() site { return siteOfSCS(memstore.NewWithCleanupInterval(0)) }

func siteOfSCS(store scs.Store) site {
	gob.Register(time.Time{})
	m := scs.New()
	m.Store = store
	read := func(w http.ResponseWriter, r *http.Request) {
		answer(w, m.GetString(r.Context(), "uid") == uid)
	}
	return site{
		signIn: m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.Put(r.Context(), "uid", uid)
			m.Put(r.Context(), "count", 1)
			m.Put(r.Context(), "since", time.Now())
			answer(w, true)
		})),
		check: m.LoadAndSave(http.HandlerFunc(read)),
		load:  m.LoadAndSave(http.HandlerFunc(read)),
		noted: m.LoadAndSave(http.HandlerFunc(read)),
		touch: m.LoadAndSave(http.HandlerFunc(read)),
		update: m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.Put(r.Context(), "count", m.GetInt(r.Context(), "count")+1)
			answer(w, true)
		})),
	}
}

func siteOfGorilla(store sessions.Store) site {
	gob.Register(time.Time{})
	handle := func(fn func(w http.ResponseWriter, r *http.Request, s *sessions.Session) error) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := store.Get(r, "session")
			if err == nil {
				err = fn(w, r, s)
			}
			answer(w, err == nil && s.Values["uid"] == uid)
		})
	}
	read := handle(func(http.ResponseWriter, *http.Request, *sessions.Session) error { return nil })
	return site{
		signIn: handle(func(w http.ResponseWriter, r *http.Request, s *sessions.Session) error {
			s.Values["uid"], s.Values["count"], s.Values["since"] = uid, 1, time.Now()
			return s.Save(r, w)
		}),
		check: read, load: read, noted: read, touch: read,
		update: handle(func(w http.ResponseWriter, r *http.Request, s *sessions.Session) error {
			s.Values["count"] = s.Values["count"].(int) + 1
			return s.Save(r, w)
		}),
	}
}

// floorSite is what the work costs when nothing is wasted: find the cookie in
// the header, decode 16 bytes of id, look up a struct under a shard's lock. No
// digest, no context value, no serialising, no Set-Cookie.
func floorSite() site {
	type record struct {
		expires int64
		count   int
		uid     [24]byte
		length  uint8
	}
	type shard struct {
		mu sync.Mutex
		m  map[[16]byte]*record
		_  [48]byte
	}
	shards := make([]shard, 64)
	for i := range shards {
		shards[i].m = map[[16]byte]*record{}
	}
	handle := func(fn func(*record)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var src [22]byte
			var id [18]byte
			v, ok := findCookie(r.Header, "session")
			if ok = ok && copy(src[:], v) == len(v); ok {
				n, err := base64.RawURLEncoding.Decode(id[:], src[:])
				ok = err == nil && n == 16
			}
			if ok {
				s := &shards[id[0]%64]
				s.mu.Lock()
				rec := s.m[[16]byte(id[:16])]
				if ok = rec != nil && time.Now().UnixNano() < rec.expires && string(rec.uid[:rec.length]) == uid; ok {
					fn(rec)
				}
				s.mu.Unlock()
			}
			answer(w, ok)
		})
	}
	read := handle(func(*record) {})
	return site{
		signIn: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var id [16]byte
			rand.Read(id[:])
			rec := &record{expires: time.Now().Add(time.Hour).UnixNano(), count: 1, length: uint8(len(uid))}
			copy(rec.uid[:], uid)
			shards[id[0]%64].m[id] = rec
			http.SetCookie(w, &http.Cookie{Name: "session", Value: base64.RawURLEncoding.EncodeToString(id[:])})
			answer(w, true)
		}),
		check:  read,
		load:   read,
		noted:  read,
		touch:  read,
		update: handle(func(rec *record) { rec.count++ }),
	}
}
