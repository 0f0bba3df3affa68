package express

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit/cookie"
)

// CookieSessionOptions are the options of cookie-session. The zero value is its
// own: the path "/", HttpOnly, until the browser is closed, from other sites'
// pages too.
type CookieSessionOptions struct {
	MaxAge      time.Duration // Expires is this long from each write; 0 for none
	Expires     time.Time
	Domain      string
	Path        string        // default: "/"
	SameSite    http.SameSite // default: not written
	Priority    string        // "low", "medium", "high" or none
	Partitioned bool

	// Secure sends the cookies over HTTPS only. Without it that is so for those
	// which were set over HTTPS.
	Secure bool
	// HTTPS reports whether a request came over HTTPS; r.TLS != nil for nil. It
	// is for programs behind a proxy.
	HTTPS func(r *http.Request) bool

	// InsecureAllowScript leaves HttpOnly out: scripts of the page, injected
	// ones included, can read the session.
	InsecureAllowScript bool
}

// takenInCookie are the names that cookie-session's object has itself, and those
// of every object in JavaScript: members of these names are dropped at load.
var takenInCookie = map[string]bool{
	"_ctx": true, "isChanged": true, "isNew": true, "isPopulated": true,
	"constructor": true, "hasOwnProperty": true, "isPrototypeOf": true, "propertyIsEnumerable": true, "toLocaleString": true, "toString": true, "valueOf": true,
	"__defineGetter__": true, "__defineSetter__": true, "__lookupGetter__": true, "__lookupSetter__": true, "__proto__": true,
}

// A CookieSession keeps sessions in a pair of cookies, as cookie-session does, byte
// for byte: everybody who has them can read them, and nobody can change them. It
// is safe for use by several goroutines.
//
// Such a session cannot be ended. Clear asks the browser to forget it; whoever
// kept a copy, or a thief, is signed in with it for ever, and nothing compatible
// can change that. Where points are spent or people sign out, keep a session in a
// store, or seal it with a guard (package session).
type CookieSession struct {
	name, suffix string
	keys         *Keygrip
	options      CookieSessionOptions
}

// NewCookieSession returns the sessions in the cookie of this name; "session" is
// cookie-session's own. Nil options are the defaults.
func NewCookieSession(name string, keys *Keygrip, o *CookieSessionOptions) (*CookieSession, error) {
	if o == nil {
		o = &CookieSessionOptions{}
	}
	s := &CookieSession{name: name, keys: keys, options: *o}
	switch {
	case keys == nil:
		return nil, errors.New("express: a session in a cookie needs keys")
	case !tokenText.MatchString(name):
		return nil, fmt.Errorf("cookie %q: the name is no token (RFC 9110 5.6.2)", name)
	case o.Domain != "" && !domainText.MatchString(o.Domain), !pathText.MatchString(o.Path):
		return nil, fmt.Errorf("cookie %q: the domain or the path cannot stand in a cookie", name)
	case o.Priority != "" && priorities[o.Priority] == "":
		return nil, fmt.Errorf("cookie %q: unknown priority %q", name, o.Priority)
	case o.SameSite != 0 && sameSites[o.SameSite] == "":
		return nil, fmt.Errorf("cookie %q: unknown SameSite mode %d", name, o.SameSite)
	}
	if o.Domain != "" {
		s.suffix += "; domain=" + o.Domain
	}
	if o.Priority != "" {
		s.suffix += "; priority=" + o.Priority
	}
	if o.SameSite != 0 {
		s.suffix += "; samesite=" + sameSites[o.SameSite]
	}
	return s, nil
}

// Load returns the session that the request brought, an empty one where it
// brought none that is whole. Where an older key has signed it, it is signed anew,
// and a signature that is none is taken away: w is for that and may be nil.
func (s *CookieSession) Load(w http.ResponseWriter, r *http.Request) *Data {
	d, _ := s.load(w, r)
	return d
}

// load also returns the text that stands in the cookie, "" for none.
func (s *CookieSession) load(w http.ResponseWriter, r *http.Request) (d *Data, text string) {
	none := &Data{alone: true}
	text, ok := s.find(r, s.name)
	if !ok {
		return none, ""
	}
	digest, _ := s.find(r, s.name+".sig")
	if digest == "" {
		return none, ""
	}
	switch i := s.keys.Index(s.name+"="+text, digest); {
	case i < 0:
		if w != nil {
			s.put(w, r, s.name+".sig", "", time.Unix(0, 0))
		}
		return none, ""
	case i > 0 && w != nil:
		s.put(w, r, s.name+".sig", s.keys.Sign(s.name+"="+text), s.expires(time.Now()))
	}
	// Node reads both alphabets of base64, with padding or without.
	body, err := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "=")))
	if err != nil {
		return none, ""
	}
	all, err := members(strings.ToValidUTF8(string(body), "\uFFFD"))
	if err != nil {
		return none, ""
	}
	return &Data{members: all, alone: true}, text
}

// find returns a cookie's value as npm's cookies finds it: the first, with nothing
// decoded.
func (s *CookieSession) find(r *http.Request, name string) (string, bool) {
	for _, line := range r.Header["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			if value, ok := strings.CutPrefix(strings.TrimLeft(part, " "), name+"="); ok {
				if strings.HasPrefix(value, `"`) {
					value = value[1:max(len(value)-1, 1)]
				}
				return value, true
			}
		}
	}
	return "", false
}

// Update changes the session that the request brought, or a new one, and sets the
// cookies where that changed anything. A new session that stays empty is not set.
// Write the response after that. Two requests at once do not see each other's
// changes: the browser keeps what it hears last.
//
// What would be too large for a browser is [cookie.ErrTooLarge], and nothing is set.
func (s *CookieSession) Update(w http.ResponseWriter, r *http.Request, fn func(*Data) error) (*Data, error) {
	d, old := s.load(w, r)
	if err := fn(d); err != nil {
		return nil, err
	}
	text := base64.StdEncoding.EncodeToString([]byte(d.JSON()))
	if text == old || old == "" && len(d.members) == 0 {
		return d, nil
	}
	// The signature takes fewer bytes, and its own cookie.
	if n := len(s.name) + len(text); n > cookie.MaxSize {
		return nil, fmt.Errorf("cookie %q: name and value have %d bytes, %d over the limit of %d: %w", s.name, n, n-cookie.MaxSize, cookie.MaxSize, cookie.ErrTooLarge)
	}
	s.set(w, r, text, s.expires(time.Now()))
	return d, nil
}

// Clear asks the browser to forget the session. A copy of it stays good.
func (s *CookieSession) Clear(w http.ResponseWriter, r *http.Request) {
	s.set(w, r, "", time.Unix(0, 0))
}

func (s *CookieSession) set(w http.ResponseWriter, r *http.Request, text string, expires time.Time) {
	s.put(w, r, s.name, text, expires)
	s.put(w, r, s.name+".sig", s.keys.Sign(s.name+"="+text), expires)
}

func (s *CookieSession) expires(now time.Time) time.Time {
	if s.options.MaxAge > 0 {
		return now.Add(s.options.MaxAge)
	}
	return s.options.Expires
}

// put sets a cookie in place of an earlier one of its name in this response, with
// the attributes in the order of npm's cookies. That one loses all but the path
// where it signs anew, and so leaves an old signature in the browser beside the
// new one (cookies#22); here they stay.
func (s *CookieSession) put(w http.ResponseWriter, r *http.Request, name, value string, expires time.Time) {
	var b strings.Builder
	b.WriteString(name + "=" + value + "; path=")
	if s.options.Path == "" {
		b.WriteByte('/')
	}
	b.WriteString(s.options.Path)
	if !expires.IsZero() {
		b.WriteString("; expires=" + expires.UTC().Format(http.TimeFormat))
	}
	b.WriteString(s.suffix)
	if s.options.Secure || s.options.HTTPS != nil && s.options.HTTPS(r) || s.options.HTTPS == nil && r.TLS != nil {
		b.WriteString("; secure")
	}
	if !s.options.InsecureAllowScript {
		b.WriteString("; httponly")
	}
	if s.options.Partitioned {
		b.WriteString("; partitioned")
	}
	h := w.Header()
	var lines []string
	for _, line := range h["Set-Cookie"] {
		if !strings.HasPrefix(line, name+"=") {
			lines = append(lines, line)
		}
	}
	h["Set-Cookie"] = append(lines, b.String())
}
