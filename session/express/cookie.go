package express

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit/cookie"
)

// Attributes are those of the cookies of new sessions. The zero value is
// Express's: the path "/", HttpOnly, until the browser is closed. A session
// that lives keeps the attributes it began with, which are in its record.
type Attributes struct {
	MaxAge      time.Duration // how long a session waits for its next use; default: until the browser is closed
	Domain      string
	Path        string        // default: "/"
	Secure      bool          // sent over HTTPS only: give it to both sides
	SameSite    http.SameSite // default: not written, as in Express
	Partitioned bool
	Priority    string // "low", "medium", "high" or none

	// InsecureAllowScript leaves HttpOnly out: scripts of the page, injected
	// ones included, can read the cookie.
	InsecureAllowScript bool
}

var sameSites = map[http.SameSite]string{http.SameSiteLaxMode: "lax", http.SameSiteStrictMode: "strict", http.SameSiteNoneMode: "none"}

// check refuses what a browser would drop, and returns what clears the cookie.
func (a *Attributes) check(name string) (*cookie.Cookie, error) {
	if a.Priority != "" && priorities[a.Priority] == "" {
		return nil, fmt.Errorf("express: priority %q", a.Priority)
	}
	if a.MaxAge < 0 || a.MaxAge > maxAge*time.Millisecond {
		return nil, fmt.Errorf("express: a cookie's age of %v", a.MaxAge)
	}
	if a.SameSite != 0 && sameSites[a.SameSite] == "" {
		return nil, errors.New("express: unknown SameSite mode")
	}
	c, err := cookie.New(name, &cookie.Options{
		Domain: a.Domain, Path: a.Path, SameSite: a.SameSite, Partitioned: a.Partitioned,
		InsecureAllowHTTP: !a.Secure, InsecureAllowScript: a.InsecureAllowScript,
	})
	if err != nil {
		return nil, fmt.Errorf("express: %w", err)
	}
	return c, nil
}

// members returns the attributes as a record has them.
func (a *Attributes) members() []member {
	var all []member
	add := func(name string, v any) {
		raw, _ := stringify(v) // texts and truths always have a spelling
		set(&all, name, raw)
	}
	add("originalMaxAge", nil)
	if a.MaxAge > 0 {
		add("originalMaxAge", max(a.MaxAge.Milliseconds(), 1))
	}
	if a.Partitioned {
		add("partitioned", true)
	}
	if a.Priority != "" {
		add("priority", a.Priority)
	}
	add("expires", nil)
	if a.Secure {
		add("secure", true)
	}
	add("httpOnly", !a.InsecureAllowScript)
	if a.Domain != "" {
		add("domain", a.Domain)
	}
	path := a.Path
	if path == "" {
		path = "/"
	}
	add("path", path)
	if s := sameSites[a.SameSite]; s != "" {
		add("sameSite", s)
	}
	return all
}

var priorities = map[string]string{"low": "Low", "medium": "Medium", "high": "High"}

// line is express-session's Set-Cookie line: its attributes, in its order and
// spelling, and never Max-Age.
func (d *Data) line(name, signed string) string {
	text := func(name string) string {
		var s string
		if json.Unmarshal([]byte(value(d.cookie, name)), &s) != nil || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == ';' }) {
			return ""
		}
		return s
	}
	var b strings.Builder
	b.WriteString(name + "=" + encodeURIComponent(signed))
	if domain := text("domain"); domain != "" {
		b.WriteString("; Domain=" + domain)
	}
	if path := text("path"); path != "" {
		b.WriteString("; Path=" + path)
	} else if value(d.cookie, "path") == "" {
		b.WriteString("; Path=/")
	}
	if end := d.Expires(); !end.IsZero() {
		b.WriteString("; Expires=" + end.UTC().Format(http.TimeFormat))
	}
	if raw := value(d.cookie, "httpOnly"); raw == "" || truthy(raw) {
		b.WriteString("; HttpOnly")
	}
	if d.secure() {
		b.WriteString("; Secure")
	}
	if truthy(value(d.cookie, "partitioned")) {
		b.WriteString("; Partitioned")
	}
	if p := priorities[strings.ToLower(text("priority"))]; p != "" {
		b.WriteString("; Priority=" + p)
	}
	switch s := strings.ToLower(text("sameSite")); {
	case value(d.cookie, "sameSite") == "true", s == "strict":
		b.WriteString("; SameSite=Strict")
	case s == "lax":
		b.WriteString("; SameSite=Lax")
	case s == "none":
		b.WriteString("; SameSite=None")
	}
	return b.String()
}

func (d *Data) secure() bool { return truthy(value(d.cookie, "secure")) }

func truthy(raw string) bool {
	return !slices.Contains([]string{"", "null", "false", "0", `""`}, raw)
}

// put adds a Set-Cookie line, in place of earlier ones of the same cookie.
func put(h http.Header, line string) {
	lines := slices.DeleteFunc(h["Set-Cookie"], func(l string) bool { return place(l) == place(line) })
	h["Set-Cookie"] = append(lines, line)
}

// place returns what tells a browser's cookies apart: name, domain and path.
func place(line string) (p [3]string) {
	pair, rest, _ := strings.Cut(line, ";")
	p[0], _, _ = strings.Cut(pair, "=")
	for part := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case strings.EqualFold(name, "Domain"):
			p[1] = strings.ToLower(strings.TrimPrefix(value, "."))
		case strings.EqualFold(name, "Path"):
			p[2] = value
		}
	}
	return p
}

// plain returns a cookie's value as Express's cookie module does: without the
// quotes around it and percent-decoded, or as it is where that does not work.
func plain(raw string) string {
	if len(raw) > 1 && raw[0] == '"' && raw[len(raw)-1] == '"' {
		raw = raw[1 : len(raw)-1]
	}
	raw = latin1(raw)
	if strings.IndexByte(raw, '%') < 0 {
		return raw
	}
	if s, ok := decodeURIComponent(raw); ok {
		return s
	}
	return raw
}

// latin1 reads bytes of a header as Node does: each is a character.
func latin1(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// decodeURIComponent does as JavaScript's: it refuses a bad escape, and escapes
// that are no UTF-8.
func decodeURIComponent(s string) (string, bool) {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		var escaped []byte
		for ; i < len(s) && s[i] == '%'; i += 3 {
			if i+3 > len(s) {
				return "", false
			}
			c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			escaped = append(escaped, byte(c))
		}
		i--
		if !utf8.Valid(escaped) {
			return "", false
		}
		b = append(b, escaped...)
	}
	return string(b), true
}
