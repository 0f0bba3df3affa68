// Package cookie reads and writes the cookies of a web server.
//
// Most programs make a [Cookie] once, with [New], and then use its methods:
//
//	var theme, err = cookie.New("__Host-theme", nil)
//
//	err = theme.Set(w, []byte("dark"), 30*24*time.Hour)
//	value, err := theme.Get(r)
//
// A value may hold any bytes. With [Keys] a value is signed ([Keys.Sign]:
// readable, tamper-evident) or sealed ([Keys.Seal]: encrypted too), and a
// [Vault] does both reading and writing. What a browser would drop without a
// word — a name's prefix that its attributes do not honour, too many bytes, too
// long a life — is an error here instead, before it is sent; [Explain] says
// why of any Set-Cookie line.
//
// Attributes and limits are those of draft-ietf-httpbis-rfc6265bis-22 ("6265bis"
// below) and of CHIPS for Partitioned.
package cookie

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
)

// Limits of browsers (6265bis 5.6) and of common servers in between.
const (
	MaxSize      = 4096                 // bytes of name and value together
	MaxAttribute = 1024                 // bytes of one attribute's value
	MaxAge       = 400 * 24 * time.Hour // browsers shorten a longer life
	WarnCount    = 20                   // cookies of one site that are still fine
	MaxCount     = 50                   // cookies of one site that browsers must keep (6265bis 6.1)
	MaxHeader    = 8 << 10              // bytes of a Cookie header that servers and proxies take by default
	maxValues    = 4                    // cookies of one name that Values returns
)

// Why a cookie was not set.
var (
	ErrTooLarge  = admit.Invalid.New("cookie_too_large", "A cookie is too large for a browser to keep.")
	ErrTooMany   = admit.Invalid.New("too_many_cookies", "There are more cookies than a browser must keep.")
	ErrMalformed = admit.Invalid.New("cookie_malformed", "A cookie's value cannot be read.")
	ErrMissing   = admit.NotFound.New("cookie_missing", "There is no such cookie.")
	ErrAmbiguous = admit.Invalid.New("ambiguous_cookie", "There are two different good cookies of one name, so neither counts.")
)

// Options are a cookie's attributes. The zero value is Secure, HttpOnly,
// SameSite=Lax, Path=/, this host only.
type Options struct {
	Domain      string        // also sent to sub-domains of it; default: this host only
	Path        string        // default: "/"
	SameSite    http.SameSite // default: Lax; None is written "SameSite=None"
	Partitioned bool          // a jar for each top-level site (CHIPS)

	// InsecureAllowHTTP leaves Secure out, for development on plain HTTP.
	InsecureAllowHTTP bool
	// InsecureAllowScript leaves HttpOnly out: scripts of the page, injected
	// ones included, can read the cookie.
	InsecureAllowScript bool
}

// A Cookie is a name with its attributes. It does not change and is safe for
// use by several goroutines.
type Cookie struct {
	name, suffix string
	domain, path string
	rest         string // the attributes after Domain and Path
}

// New checks a name against its attributes. It refuses what browsers would
// drop or misread: a name that is no token, a prefix whose rules are not kept
// (__Secure-, __Host-, __Http-, __Host-Http-, in any case), SameSite=None or
// Partitioned without Secure, attributes that are too long.
func New(name string, o *Options) (*Cookie, error) {
	if o == nil {
		o = &Options{}
	}
	c := &Cookie{name: name, domain: strings.TrimPrefix(o.Domain, "."), path: o.Path}
	if c.path == "" {
		c.path = "/"
	}
	var rest strings.Builder
	if !o.InsecureAllowHTTP {
		rest.WriteString("; Secure")
	}
	if !o.InsecureAllowScript {
		rest.WriteString("; HttpOnly")
	}
	switch o.SameSite {
	case 0, http.SameSiteDefaultMode, http.SameSiteLaxMode:
		rest.WriteString("; SameSite=Lax")
	case http.SameSiteStrictMode:
		rest.WriteString("; SameSite=Strict")
	case http.SameSiteNoneMode:
		rest.WriteString("; SameSite=None")
	default:
		return nil, fmt.Errorf("cookie %q: unknown SameSite mode %d", name, o.SameSite)
	}
	if o.Partitioned {
		rest.WriteString("; Partitioned")
	}
	c.rest = rest.String()
	c.suffix = attributes(c.domain, c.path) + c.rest
	if !isToken(name) {
		return nil, fmt.Errorf("cookie %q: the name is no token (RFC 9110 5.6.2)", name)
	}
	for _, v := range []string{c.domain, c.path} {
		if len(v) > MaxAttribute {
			return nil, fmt.Errorf("cookie %q: an attribute has %d bytes, %d over the limit: %w", name, len(v), len(v)-MaxAttribute, ErrTooLarge)
		}
		if strings.ContainsFunc(v, func(r rune) bool { return r < 0x20 || r > 0x7e || r == ';' }) {
			return nil, fmt.Errorf("cookie %q: an attribute holds a character that cannot stand in it", name)
		}
	}
	e := Explain(name+"=x"+c.suffix, Origin{Secure: true, Host: c.domain})
	if !e.Accepted {
		return nil, fmt.Errorf("cookie %q: %s", name, e.Problems[0].Text)
	}
	return c, nil
}

func attributes(domain, path string) string {
	s := "; Path=" + path
	if domain != "" {
		s = "; Domain=" + domain + s
	}
	return s
}

// Name returns the cookie's name.
func (c *Cookie) Name() string { return c.name }

// Set sets the cookie to a value of any bytes, for a life of maxAge; 0 is
// until the browser is closed. A cookie that was set before in the same
// response is replaced. ErrTooLarge and ErrTooMany say what a browser would
// have dropped.
func (c *Cookie) Set(w http.ResponseWriter, value []byte, maxAge time.Duration) error {
	return c.SetRaw(w, string(appendEscaped(nil, value)), maxAge)
}

// SetRaw is Set of a value that is already safe: cookie-octets (6265bis
// 4.1.1), as base64url, tokens and signed or sealed values are.
func (c *Cookie) SetRaw(w http.ResponseWriter, value string, maxAge time.Duration) error {
	if n := len(c.name) + len(value); n > MaxSize {
		return fmt.Errorf("cookie %q: name and value have %d bytes, %d over the limit of %d: %w", c.name, n, n-MaxSize, MaxSize, ErrTooLarge)
	}
	if maxAge < 0 || maxAge > MaxAge {
		return fmt.Errorf("cookie %q: a life of %v, at most %v: %w", c.name, maxAge, MaxAge, ErrTooLarge)
	}
	for i := range len(value) {
		if !octet(value[i]) {
			return fmt.Errorf("cookie %q: byte %d of the value cannot stand in a cookie: %w", c.name, i, ErrMalformed)
		}
	}
	var age [20]byte
	seconds := age[:0]
	if maxAge > 0 {
		seconds = strconv.AppendInt(append(seconds, "; Max-Age="...), max(int64(maxAge/time.Second), 1), 10)
	}
	return c.put(w, c.name+"="+value+string(seconds)+c.suffix)
}

// put adds a Set-Cookie line, in place of an earlier one of the same cookie.
func (c *Cookie) put(w http.ResponseWriter, line string) error {
	h := w.Header()
	lines := h["Set-Cookie"]
	for i, l := range lines {
		if c.same(l) {
			lines[i] = line
			return nil
		}
	}
	if len(lines) >= MaxCount {
		return fmt.Errorf("cookie %q: the response sets %d already: %w", c.name, len(lines), ErrTooMany)
	}
	h["Set-Cookie"] = append(lines, line)
	return nil
}

// same reports whether a line sets this cookie: this name, Domain and Path.
func (c *Cookie) same(line string) bool {
	pair, _, _ := strings.Cut(line, ";")
	name, _, _ := strings.Cut(pair, "=")
	rest := line[len(pair):]
	if age, ok := strings.CutPrefix(rest, "; Max-Age="); ok {
		rest = strings.TrimLeft(age, "0123456789")
	}
	return name == c.name && rest == c.suffix
}

// Delete tells the browser to forget the cookie.
func (c *Cookie) Delete(w http.ResponseWriter) {
	c.put(w, c.name+"=; Max-Age=0"+c.suffix)
}

// DeleteAll also forgets the places where somebody may have planted a cookie
// of the name that this browser sends with r: other domains above this host,
// and the paths above this request's. With a __Host- name there is only one
// place.
func (c *Cookie) DeleteAll(w http.ResponseWriter, r *http.Request) {
	c.Delete(w)
	if hasPrefixFold(c.name, "__Host-") {
		return
	}
	host := hostname(r.Host)
	domains := []string{""}
	for d := host; strings.Contains(d, ".") && len(domains) < 4; _, d, _ = strings.Cut(d, ".") {
		domains = append(domains, d)
	}
	paths := []string{"/"}
	for i, b := range []byte(r.URL.Path) {
		if i > 0 && b == '/' && len(paths) < 4 {
			paths = append(paths, r.URL.Path[:i])
		}
	}
	for _, d := range domains {
		for _, p := range paths {
			if d == c.domain && p == c.path || strings.ContainsFunc(d+p, func(r rune) bool { return r < 0x21 || r > 0x7e || r == ';' }) {
				continue
			}
			v := *c
			v.suffix = attributes(d, p) + c.rest
			v.Delete(w)
		}
	}
}

func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	if strings.HasPrefix(host, "[") || strings.Trim(host, "0123456789.") == "" {
		return "" // an address has no parent domains
	}
	return host
}

// Get returns the value that Set wrote. ErrMissing where there is none,
// ErrMalformed where it is none of ours, ErrAmbiguous where there are two
// different ones: nothing in an unsigned cookie tells which is meant.
func (c *Cookie) Get(r *http.Request) ([]byte, error) {
	var buf [maxValues]string
	all := Values(r.Header, c.name, buf[:0])
	if len(all) == 0 {
		return nil, ErrMissing
	}
	for _, v := range all[1:] {
		if v != all[0] {
			return nil, ErrAmbiguous
		}
	}
	b := []byte(all[0])
	n, ok := unescape(b)
	if !ok {
		return nil, ErrMalformed
	}
	return b[:n], nil
}

// Values appends to dst the raw values of the cookies with exactly this name,
// at most four: a browser sends more only when somebody planted them. Names
// are compared with case, for a browser guards the prefix __Host- in any case
// and another spelling is not ours. It allocates nothing where dst has room.
func Values(h http.Header, name string, dst []string) []string {
	n := 0
	for _, line := range h["Cookie"] {
		for line != "" && n < maxValues {
			var part string
			part, line, _ = strings.Cut(line, ";")
			for len(part) > 0 && blank(part[0]) {
				part = part[1:]
			}
			if len(part) > len(name) && part[len(name)] == '=' && part[:len(name)] == name {
				for blank(part[len(part)-1]) { // at the latest the = is none
					part = part[:len(part)-1]
				}
				dst = append(dst, part[len(name)+1:])
				n++
			}
		}
	}
	return dst
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// CheckBudget looks at all cookies of a request together and at those that the
// response sets. It returns ErrTooMany or ErrTooLarge once a browser or a
// server in between would begin to drop some, and else a warning, or "".
func CheckBudget(r *http.Request, w http.ResponseWriter) (warning string, err error) {
	count, size := 0, 0
	names := map[string]bool{}
	for _, line := range r.Header["Cookie"] {
		size += len(line)
		for part := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(strings.TrimSpace(part), "=")
			names[name] = true
			count++
		}
	}
	for _, line := range w.Header()["Set-Cookie"] {
		pair, _, _ := strings.Cut(line, ";")
		name, _, _ := strings.Cut(pair, "=")
		if !names[name] {
			names[name] = true
			count++
			size += len(pair) + 2
		}
	}
	switch {
	case count > MaxCount:
		return "", fmt.Errorf("%d cookies, %d over the limit of %d: %w", count, count-MaxCount, MaxCount, ErrTooMany)
	case size > MaxHeader:
		return "", fmt.Errorf("cookies of %d bytes together, %d over the limit of %d: %w", size, size-MaxHeader, MaxHeader, ErrTooLarge)
	case count > WarnCount:
		return fmt.Sprintf("%d cookies: browsers must keep %d, %d are still fine", count, MaxCount, WarnCount), nil
	}
	return "", nil
}

// octet reports whether a byte may stand in a cookie's value.
func octet(c byte) bool { return octets[c] }

var octets = func() (is [256]bool) {
	for c := byte(0x21); c < 0x7f; c++ {
		is[c] = c != '"' && c != ',' && c != ';' && c != '\\'
	}
	return is
}()

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= 0x20 || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
