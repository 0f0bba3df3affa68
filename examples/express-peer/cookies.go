package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
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
	q := query(r)
	value, o := express.Text(q.Get("value")), &express.CookieOptions{}
	var err error
	switch {
	case q.Get("json") == "1":
		value, err = parsed(q.Get("value"))
	case len(q["value"]) > 1:
		value, err = express.JSON(q["value"])
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
	answer(w, fields{"ok", true})
}

// parsed is what res.cookie makes of JSON.parse(text): it writes an object, an
// array and null as JSON, and all else as the text that JavaScript prints.
func parsed(text string) (express.Value, error) {
	var v any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if !json.Valid([]byte(text)) || dec.Decode(&v) != nil {
		return express.Value{}, &admit.FieldError{Field: "value", Err: admit.Invalid.New("no_json", "This is no JSON.")}
	}
	switch v := v.(type) {
	case string:
		return express.Text(v), nil
	case bool:
		return express.Text(strconv.FormatBool(v)), nil
	case json.Number:
		n, _ := v.Float64() // beyond its range ±Inf
		if math.IsInf(n, 0) {
			return express.Text(strings.TrimSuffix(fmt.Sprint(n)[:1], "+") + "Infinity"), nil
		}
		spelled, err := json.Marshal(n + 0) // as JavaScript spells it; -0 is 0
		return express.Text(string(spelled)), err
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
	name := query(r).Get("name")
	read := func(get func(*http.Request, string) (express.Value, error)) any {
		switch v, err := get(r, name); {
		case err == nil:
			return v
		case errors.Is(err, cookie.ErrTampered):
			return false
		}
		return nil
	}
	answer(w, fields{"plain", read(p.cookies.Get), "signed", read(p.cookies.GetSigned)})
}

func (p single) clear(w http.ResponseWriter, r *http.Request) {
	if err := p.cookies.Clear(w, query(r).Get("name"), nil); err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{"ok", true})
}

// pairs calls fn with the query's names and values, in their order.
func pairs(r *http.Request, fn func(name, value string) error) error {
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		if err := fn(unescape(name), unescape(value)); err != nil {
			return err
		}
	}
	return nil
}

// query reads the query as Node does, to which nothing in it is an error.
func query(r *http.Request) url.Values {
	q := url.Values{}
	pairs(r, func(name, value string) error {
		q.Add(name, value)
		return nil
	})
	return q
}

// unescape leaves what is no escape as it is.
func unescape(s string) string {
	s = strings.ReplaceAll(s, "+", " ")
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// keep does Object.assign(session, req.query), in which several values of one
// name are a list.
func keep(r *http.Request, set func(name string, value any) error) error {
	q := query(r)
	return pairs(r, func(name, value string) error {
		if all := q[name]; len(all) > 1 {
			return set(name, all)
		}
		return set(name, value)
	})
}

// signed are the pages of cookie-session.
type signed struct{ sessions *express.CookieSession }

func (p signed) visit(w http.ResponseWriter, r *http.Request) {
	d, err := p.sessions.Update(w, r, func(d *express.Data) error { return d.Set("n", plusOne(d.Raw("n"))) })
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{"n", raw(d.Raw("n"))})
}

func (p signed) get(w http.ResponseWriter, r *http.Request) {
	answer(w, raw(p.sessions.Load(w, r).JSON()))
}

func (p signed) set(w http.ResponseWriter, r *http.Request) {
	d, err := p.sessions.Update(w, r, func(d *express.Data) error {
		return keep(r, d.Set)
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
		n, err := json.Marshal(plusOne(string(d["n"])))
		d["n"] = n
		return err
	})
	if ok {
		answer(w, fields{"n", d["n"]})
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
		return keep(r, func(name string, value any) (err error) {
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
