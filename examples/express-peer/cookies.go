package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/express"
)

// cookiePages adds the pages of single cookies and of sessions in cookies.
func cookiePages(mux *http.ServeMux, signing *express.Secrets, keys []admit.Secret, guards session.Store) error {
	c := single{express.NewCookies(signing)}
	mux.HandleFunc("GET /cookie/set", c.set)
	mux.HandleFunc("GET /cookie/get", c.get)
	mux.HandleFunc("GET /cookie/clear", c.clear)

	for name, hash := range map[string]func() hash.Hash{"cs": sha1.New, "cs256": sha256.New} {
		grip, err := express.NewKeygrip(hash, keys...)
		if err != nil {
			return err
		}
		s, err := express.NewCookieSession(name, grip, &express.CookieSessionOptions{HTTPS: forwarded})
		if err != nil {
			return err
		}
		p := signed{s}
		mux.HandleFunc("GET /"+name+"/visit", p.visit)
		mux.HandleFunc("GET /"+name+"/get", p.get)
		mux.HandleFunc("GET /"+name+"/set", p.set)
		mux.HandleFunc("GET /"+name+"/clear", p.clear)
	}

	// Express has no such sessions: Go keeps them beside those of cookie-session,
	// for a program that leaves these.
	ring, err := sealing(keys)
	if err != nil {
		return err
	}
	s, err := session.NewSealed[map[string]json.RawMessage](guards, ring, &session.Options{Name: "sealed", InsecureAllowHTTP: true})
	if err != nil {
		return err
	}
	p := sealed{s}
	// Handler tells the guards which cookie has arrived.
	for name, page := range map[string]http.HandlerFunc{"visit": p.visit, "get": p.get, "set": p.set, "clear": p.clear} {
		mux.Handle("GET /sealed/"+name, s.Handler(page))
	}
	return nil
}

// forwarded believes the proxy, as the pages under /secure do.
func forwarded(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(first), "https")
}

// sealing makes keys of the length that sealing needs. A program that has no
// Express app's keys to go by makes them with cookie.GenerateKey.
func sealing(keys []admit.Secret) (*cookie.Keys, error) {
	var lines []string
	for _, k := range keys {
		sum := sha256.Sum256([]byte("express-peer sealed " + k.Reveal()))
		lines = append(lines, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return cookie.ParseKeys(strings.Join(lines, "\n"))
}

// single are the pages of cookies as cookie-parser and res.cookie have them.
type single struct{ cookies *express.Cookies }

func (p single) set(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	value, o := express.Text(q.Get("value")), &express.CookieOptions{}
	var err error
	if q.Get("json") == "1" {
		value, err = parsed(q.Get("value"))
	}
	if q.Has("maxAge") && err == nil {
		o.MaxAge, err = milliseconds(q.Get("maxAge"))
	}
	do := p.cookies.Set
	if q.Get("signed") == "1" {
		do = p.cookies.SetSigned
	}
	if err == nil {
		err = do(w, q.Get("name"), value, o)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{"ok": true})
}

// parsed is what res.cookie makes of JSON.parse(text): it writes an object, an
// array and null as JSON, and all else as the text that JavaScript prints.
func parsed(text string) (express.Value, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return express.Value{}, &admit.FieldError{Field: "value", Err: admit.Invalid.New("no_json", "This is no JSON.")}
	}
	switch v := v.(type) {
	case string:
		return express.Text(v), nil
	case bool:
		return express.Text(strconv.FormatBool(v)), nil
	case float64:
		number, err := json.Marshal(v + 0) // as JavaScript spells it; -0 is 0
		return express.Text(string(number)), err
	}
	return express.JSON(json.RawMessage(text))
}

func milliseconds(text string) (*time.Duration, error) {
	ms := fromText(text)
	if math.IsNaN(ms) || math.Abs(ms) > 1e14 {
		return nil, &admit.FieldError{Field: "maxAge", Err: admit.Invalid.New("bad_number", "This is no number of milliseconds.")}
	}
	return new(time.Duration(ms * float64(time.Millisecond))), nil
}

func (p single) get(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	read := func(get func(*http.Request, string) (express.Value, error)) any {
		switch v, err := get(r, name); {
		case err == nil:
			return v
		case errors.Is(err, cookie.ErrTampered):
			return false
		}
		return nil
	}
	answer(w, fields{"plain": read(p.cookies.Get), "signed": read(p.cookies.GetSigned)})
}

func (p single) clear(w http.ResponseWriter, r *http.Request) {
	if err := p.cookies.Clear(w, r.URL.Query().Get("name"), nil); err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{"ok": true})
}

// pairs calls fn with the query's names and values, in their order.
func pairs(r *http.Request, fn func(name, value string) error) error {
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		k, v, _ := strings.Cut(part, "=")
		name, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if part == "" || err1 != nil || err2 != nil {
			continue
		}
		if err := fn(name, value); err != nil {
			return err
		}
	}
	return nil
}

// signed are the pages of cookie-session.
type signed struct{ sessions *express.CookieSession }

func (p signed) visit(w http.ResponseWriter, r *http.Request) {
	d, err := p.sessions.Update(w, r, func(d *express.Data) error { return d.Set("n", number(d.Raw("n"))+1) })
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{"n": raw(d.Raw("n"))})
}

func (p signed) get(w http.ResponseWriter, r *http.Request) {
	answer(w, raw(p.sessions.Load(w, r).JSON()))
}

func (p signed) set(w http.ResponseWriter, r *http.Request) {
	d, err := p.sessions.Update(w, r, func(d *express.Data) error {
		return pairs(r, func(name, value string) error { return d.Set(name, value) })
	})
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, raw(d.JSON()))
}

func (p signed) clear(w http.ResponseWriter, r *http.Request) {
	p.sessions.Clear(w, r)
	answer(w, fields{})
}

// sealed are the same pages on a session that is sealed in its cookie, with a
// guard on the server: a copy of the cookie is good for nothing after clear.
type sealed struct {
	sessions *session.Manager[map[string]json.RawMessage]
}

func (p sealed) change(w http.ResponseWriter, r *http.Request, fn func(map[string]json.RawMessage) error) (map[string]json.RawMessage, bool) {
	s, err := p.sessions.Update(w, r, func(d *map[string]json.RawMessage) error {
		if *d == nil {
			*d = map[string]json.RawMessage{}
		}
		return fn(*d)
	})
	if err != nil {
		refuse(w, err)
		return nil, false
	}
	return s.Data, true
}

func (p sealed) visit(w http.ResponseWriter, r *http.Request) {
	d, ok := p.change(w, r, func(d map[string]json.RawMessage) error {
		n, err := json.Marshal(number(string(d["n"])) + 1)
		d["n"] = n
		return err
	})
	if ok {
		answer(w, fields{"n": d["n"]})
	}
}

func (p sealed) get(w http.ResponseWriter, r *http.Request) {
	switch s, err := p.sessions.Load(r); {
	case err == nil && s.Data != nil:
		answer(w, s.Data)
	case err == nil, errors.Is(err, admit.Unauthenticated):
		answer(w, fields{}) // none, or one that has ended
	default:
		refuse(w, err)
	}
}

func (p sealed) set(w http.ResponseWriter, r *http.Request) {
	d, ok := p.change(w, r, func(d map[string]json.RawMessage) error {
		return pairs(r, func(name, value string) (err error) {
			d[name], err = json.Marshal(value)
			return err
		})
	})
	if ok {
		answer(w, d)
	}
}

func (p sealed) clear(w http.ResponseWriter, r *http.Request) {
	if err := p.sessions.End(w, r, "signed_out"); err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{})
}
