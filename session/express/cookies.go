package express

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
)

// Cookies reads single cookies as cookie-parser does and writes them as
// Express's res.cookie does, byte for byte. It is safe for use by several
// goroutines.
//
// Mind what such a signature does not say. The cookie's name is not in it: a
// value that was signed for one cookie is good in another, also in that of the
// sessions where the secret is the same. Nor is a time: it never expires. Where
// no Express app reads along, package cookie has better.
type Cookies struct{ secrets *Secrets }

// NewCookies returns the cookies of an app with these secrets. With nil there are
// no signed cookies.
func NewCookies(secrets *Secrets) *Cookies { return &Cookies{secrets} }

// A Value is what a cookie holds for cookie-parser: a text, or after "j:" some
// JSON. In JSON it is itself.
type Value struct {
	text   string // with its "j:"
	isJSON bool
}

// Text is a value that is a text.
func Text(s string) Value { return Value{text: s} }

// JSON is a value that res.cookie writes as JSON. Express has no other way for
// an object, an array and null; it writes a text, a number and a boolean as
// [Text]. What is in v is spelled as JavaScript does, a json.RawMessage too.
func JSON(v any) (Value, error) {
	raw, err := stringify(v)
	if err == nil && len(raw) <= cookie.MaxSize { // no browser takes more
		raw, err = respelled(raw)
	}
	if err != nil {
		return Value{}, fmt.Errorf("encode a cookie's value: %w", err)
	}
	return Value{"j:" + raw, true}, nil
}

// respelled is JSON.stringify(JSON.parse(text)) of a short text that is JSON.
func respelled(text string) (string, error) {
	text = strings.Trim(text, space)
	switch text[0] {
	case '{':
		all, err := members(text)
		if err != nil {
			return "", err
		}
		var sorted []member
		for _, m := range all {
			raw, err := respelled(m.value)
			if err == nil {
				err = set(&sorted, m.name, raw)
			}
			if err != nil {
				return "", err
			}
		}
		var b strings.Builder
		write(&b, sorted, nil)
		return b.String(), nil
	case '[':
		var all []json.RawMessage
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			return "", err
		}
		parts := make([]string, len(all))
		for i, raw := range all {
			var err error
			if parts[i], err = respelled(string(raw)); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(parts, ",") + "]", nil
	case '"':
		var s string
		if err := json.Unmarshal([]byte(text), &s); err != nil || strings.ContainsRune(s, utf8.RuneError) {
			return text, err // half a surrogate pair stays an escape
		}
		return stringify(s)
	case 't', 'f', 'n':
		return text, nil
	}
	n, _ := strconv.ParseFloat(text, 64)
	if math.IsInf(n, 0) {
		return "null", nil
	}
	return stringify(n + 0) // -0 is 0
}

// readValue is what cookie-parser makes of a text. What JavaScript takes for false
// stays the text that it was.
func readValue(text string) Value {
	raw, ok := strings.CutPrefix(text, "j:")
	return Value{text, ok && json.Valid([]byte(raw)) && isTrue(raw)}
}

func isTrue(raw string) bool {
	switch raw = strings.Trim(raw, " \t\r\n"); raw {
	case "null", "false", `""`:
		return false
	}
	if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' {
		f, _ := strconv.ParseFloat(raw, 64) // 1e-999 is 0 in JavaScript, too
		return f != 0
	}
	return true
}

// String returns the text as it stands in the cookie: with its "j:" where it
// has one.
func (v Value) String() string { return v.text }

// IsJSON reports whether the value is JSON rather than text.
func (v Value) IsJSON() bool { return v.isJSON }

// Decode reads a value that is JSON into what v points to.
func (v Value) Decode(into any) error {
	if !v.isJSON {
		return fmt.Errorf("express: the cookie holds a text: %w", cookie.ErrMalformed)
	}
	return json.Unmarshal([]byte(v.text[2:]), into)
}

// MarshalJSON gives the value as it stands in the cookie, in quotes where it is a
// text.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.isJSON {
		return []byte(v.text[2:]), nil
	}
	text, err := stringify(v.text)
	return []byte(text), err
}

// Get returns what req.cookies has under a name: the first cookie of that name,
// unless it is a signed one. Its error is [cookie.ErrMissing]. Anybody may have
// written it.
func (c *Cookies) Get(r *http.Request, name string) (Value, error) {
	text, ok := firstCookie(r.Header, name)
	if !ok || c.secrets != nil && strings.HasPrefix(text, "s:") {
		return Value{}, cookie.ErrMissing
	}
	return readValue(text), nil
}

// GetSigned returns what req.signedCookies has under a name. Its error is
// [cookie.ErrMissing] where the first cookie of that name is not signed, or
// [cookie.ErrTampered], for which cookie-parser says false, where none of the
// secrets has signed it.
func (c *Cookies) GetSigned(r *http.Request, name string) (Value, error) {
	text, ok := firstCookie(r.Header, name)
	if !ok || c.secrets == nil || !strings.HasPrefix(text, "s:") {
		return Value{}, cookie.ErrMissing
	}
	value, _, ok := c.secrets.Unsign(text)
	if !ok {
		return Value{}, cookie.ErrTampered
	}
	return readValue(value), nil
}

// firstCookie returns the value of the first cookie with this name. It may be
// sent raw, encoded or quoted.
func firstCookie(h http.Header, name string) (string, bool) {
	if name == "__proto__" { // which an object of JavaScript does not take
		return "", false
	}
	for _, line := range h["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			key, value, ok := strings.Cut(pair, "=")
			if ok && latin1(strings.Trim(key, " \t")) == name {
				if value = strings.Trim(value, " \t"); value == `"` {
					value = "" // npm's cookie takes it for both quotes
				}
				return plain(value), true
			}
		}
	}
	return "", false
}

// CookieOptions are the options of res.cookie. The zero value is Express's own,
// which is weak: a cookie that scripts can read and that is sent over HTTP and
// from other sites' pages.
type CookieOptions struct {
	Domain      string
	Path        string         // "/" for none
	MaxAge      *time.Duration // sets Expires, too
	Expires     time.Time
	HttpOnly    bool
	Secure      bool
	Partitioned bool
	Priority    string // low, medium or high; "" for none
	SameSite    http.SameSite
}

// Set sets a cookie as res.cookie does. What Express would send and a browser
// drop, for its size, is [cookie.ErrTooLarge].
func (c *Cookies) Set(w http.ResponseWriter, name string, v Value, o *CookieOptions) error {
	return setCookie(w, name, v.text, o)
}

// SetSigned is Set with the option signed.
func (c *Cookies) SetSigned(w http.ResponseWriter, name string, v Value, o *CookieOptions) error {
	if c.secrets == nil {
		return errors.New("express: no secret signs cookies")
	}
	return setCookie(w, name, c.secrets.Sign(v.text), o)
}

// Clear asks the browser to forget a cookie, as res.clearCookie does. Domain and
// Path must be those that it was set with.
func (c *Cookies) Clear(w http.ResponseWriter, name string, o *CookieOptions) error {
	var gone CookieOptions
	if o != nil {
		gone = *o
	}
	gone.MaxAge, gone.Expires = nil, time.UnixMilli(1)
	return setCookie(w, name, "", &gone)
}

// ErrCookie refuses what Express throws at, and what no browser would keep.
var ErrCookie = admit.Invalid.New("cookie_refused", "A cookie cannot have this name or these attributes.")

func setCookie(w http.ResponseWriter, name, value string, o *CookieOptions) error {
	if o == nil {
		o = &CookieOptions{}
	}
	if !utf8.ValidString(value) {
		return fmt.Errorf("cookie %q: the value is no UTF-8: %w", name, cookie.ErrMalformed)
	}
	pair := name + "=" + encodeURIComponent(value)
	if n := len(pair) - 1; n > cookie.MaxSize {
		return fmt.Errorf("cookie %q: name and value have %d bytes, %d over the limit of %d: %w", name, n, n-cookie.MaxSize, cookie.MaxSize, cookie.ErrTooLarge)
	}
	if !tokenText.MatchString(name) {
		return fmt.Errorf("cookie %q: the name is no token (RFC 9110 5.6.2): %w", name, ErrCookie)
	}
	attributes, err := o.attributes(time.Now())
	if err != nil {
		return fmt.Errorf("cookie %q: %w: %w", name, err, ErrCookie)
	}
	w.Header().Add("Set-Cookie", pair+attributes)
	return nil
}

// What npm's cookie lets stand in a line.
var (
	tokenText  = regexp.MustCompile("^[!#$%&'*+\\-.^_`|~0-9A-Za-z]+$")
	domainText = regexp.MustCompile(`(?i)^([.]?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)([.][a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	pathText   = regexp.MustCompile(`^[ -:=-~]*$`)
)

// attributes are in the order of npm's cookie.
func (o *CookieOptions) attributes(now time.Time) (string, error) {
	var b strings.Builder
	expires := o.Expires
	if o.MaxAge != nil {
		expires = now.Add(*o.MaxAge)
		seconds := *o.MaxAge / time.Second
		if *o.MaxAge < seconds*time.Second {
			seconds-- // Math.floor
		}
		b.WriteString("; Max-Age=" + strconv.FormatInt(int64(seconds), 10))
	}
	if o.Domain != "" {
		if !domainText.MatchString(o.Domain) {
			return "", errors.New("the domain cannot stand in a cookie")
		}
		b.WriteString("; Domain=" + o.Domain)
	}
	path := o.Path
	if path == "" {
		path = "/"
	}
	if !pathText.MatchString(path) {
		return "", errors.New("the path cannot stand in a cookie")
	}
	b.WriteString("; Path=" + path)
	if !expires.IsZero() {
		b.WriteString("; Expires=" + expires.UTC().Format(http.TimeFormat))
	}
	if o.HttpOnly {
		b.WriteString("; HttpOnly")
	}
	if o.Secure {
		b.WriteString("; Secure")
	}
	if o.Partitioned {
		b.WriteString("; Partitioned")
	}
	if o.Priority != "" {
		p := priorities[o.Priority]
		if p == "" {
			return "", fmt.Errorf("unknown priority %q", o.Priority)
		}
		b.WriteString("; Priority=" + p)
	}
	switch o.SameSite {
	case 0, http.SameSiteDefaultMode:
	case http.SameSiteLaxMode:
		b.WriteString("; SameSite=Lax")
	case http.SameSiteStrictMode:
		b.WriteString("; SameSite=Strict")
	case http.SameSiteNoneMode:
		b.WriteString("; SameSite=None")
	default:
		return "", fmt.Errorf("unknown SameSite mode %d", o.SameSite)
	}
	return b.String(), nil
}
