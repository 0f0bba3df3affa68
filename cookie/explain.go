package cookie

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// An Origin is where a Set-Cookie line comes from.
type Origin struct {
	Secure bool   `json:"secure"` // https, or http://localhost where browsers trust it
	Host   string `json:"host"`   // "" if it does not matter
}

// An Explanation says what browsers make of a Set-Cookie line.
type Explanation struct {
	Accepted   bool              `json:"accepted"`
	Name       string            `json:"name"`
	Value      string            `json:"value"`
	Life       string            `json:"life"` // in words
	Sent       string            `json:"sent"` // to whom, in words
	Attributes map[string]string `json:"attributes"`
	Problems   []Finding         `json:"problems"` // why it is dropped
	Warnings   []Finding         `json:"warnings"` // what may surprise
}

// A Finding is one sentence with its source.
type Finding struct {
	Text    string `json:"text"`
	Section string `json:"section"` // of 6265bis, or another document's name
}

// Explain reads one Set-Cookie line, with or without the header's name, as
// browsers do: by the parser of 6265bis 5.6 and the storage model of 5.7.
func Explain(line string, from Origin) Explanation {
	e := Explanation{Attributes: map[string]string{}, Problems: []Finding{}, Warnings: []Finding{}}
	e.read(line)
	_, secure := e.Attributes["secure"]
	_, httpOnly := e.Attributes["httponly"]
	if secure && !from.Secure {
		e.drop("5.7", "It is Secure and comes over plain HTTP.")
	}
	domain, host := e.domain(from)
	path := e.Attributes["path"]
	if path != "" && path[0] != '/' {
		e.warn("5.1.4", "The path does not begin with “/”: the directory of the request counts instead.")
		path = ""
	}
	e.life()
	e.prefix(secure, httpOnly, host, path)
	e.sameSite(secure)
	if _, ok := e.Attributes["partitioned"]; ok && !secure {
		e.drop("CHIPS", "It is Partitioned without Secure.")
	}
	if !secure {
		e.warn("8.3", "Without Secure it is also sent over plain HTTP, where anybody on the way can read and change it.")
	}
	if !httpOnly {
		e.warn("8.2", "Without HttpOnly every script of the page can read it, injected ones too.")
	}
	e.Accepted = len(e.Problems) == 0
	where := "every path"
	switch {
	case path == "":
		where = "the directory of the request that set it"
	case path != "/":
		where = path + " and below"
	}
	e.Sent = fmt.Sprintf("to %s, %s", domain, where)
	return e
}

func (e *Explanation) drop(section, format string, args ...any) {
	e.Problems = append(e.Problems, Finding{fmt.Sprintf(format, args...), section})
}

func (e *Explanation) warn(section, format string, args ...any) {
	e.Warnings = append(e.Warnings, Finding{fmt.Sprintf(format, args...), section})
}

// read takes the line apart (6265bis 5.6).
func (e *Explanation) read(line string) {
	if name, rest, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(name), "Set-Cookie") {
		line = rest
	}
	if i := strings.IndexFunc(line, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }); i >= 0 {
		e.drop("5.6", "A control character stands at byte %d.", i)
	}
	pair, rest, _ := strings.Cut(line, ";")
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		name, value = "", pair
		e.warn("5.6", "There is no “=”: the whole text is the value of a cookie without a name.")
	}
	e.Name, e.Value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	if e.Name == "" && e.Value == "" {
		e.drop("5.6", "Name and value are both empty.")
	}
	if n := len(e.Name) + len(e.Value); n > MaxSize {
		e.drop("5.6", "Name and value have %d bytes together, %d over the limit of %d.", n, n-MaxSize, MaxSize)
	}
	for part := range strings.SplitSeq(rest, ";") {
		k, v, _ := strings.Cut(part, "=")
		k, v = strings.Trim(k, " \t"), strings.Trim(v, " \t")
		if k == "" {
			continue
		}
		key := strings.ToLower(k)
		if len(v) > MaxAttribute {
			e.warn("5.6", "The value of %s has more than %d bytes: the attribute is ignored.", k, MaxAttribute)
			continue
		}
		switch key {
		case "expires", "max-age", "domain", "path", "secure", "httponly", "samesite", "partitioned":
			if _, twice := e.Attributes[key]; twice {
				e.warn("5.7", "%s stands twice: the last one counts.", k)
			}
			e.Attributes[key] = v
		default:
			e.warn("5.6", "%s is no attribute that browsers know: it is ignored.", k)
		}
	}
}

// domain says to which hosts the cookie goes, and whether to one only.
func (e *Explanation) domain(from Origin) (words string, hostOnly bool) {
	d := strings.ToLower(strings.TrimPrefix(e.Attributes["domain"], "."))
	host := strings.ToLower(from.Host)
	if d == "" {
		return "this host only", true
	}
	if host != "" && host != d {
		_, ip := netip.ParseAddr(strings.Trim(host, "[]"))
		if ip == nil || !strings.HasSuffix(host, "."+d) {
			e.drop("5.7", "Domain is %s, which is neither %s nor above it.", d, host)
		}
	}
	if !strings.Contains(d, ".") && d != "localhost" && d != host {
		e.drop("5.7", "Domain is %s, a public suffix: everybody's sites would share it.", d)
	}
	e.warn("4.1.2.3", "With Domain it is sent to every host below %s, and each of them can set it too.", d)
	return d + " and every host below it", false
}

// life says how long the cookie is kept.
func (e *Explanation) life() {
	if v, ok := e.Attributes["max-age"]; ok {
		n, err := strconv.ParseInt(v, 10, 64)
		digits := strings.TrimLeft(strings.TrimPrefix(v, "-"), "0123456789") == "" && v != "" && v != "-"
		switch {
		case !digits:
			e.warn("5.6.2", "Max-Age is no whole number: it is ignored.")
		case err == nil && n <= 0 || strings.HasPrefix(v, "-"):
			e.Life = "deleted at once"
			return
		default:
			if err != nil || n > int64(MaxAge/time.Second) {
				e.warn("5.5", "Max-Age is over 400 days: browsers keep it for 400 days.")
				n = int64(MaxAge / time.Second)
			}
			e.Life = (time.Duration(n) * time.Second).String()
			if _, both := e.Attributes["expires"]; both {
				e.warn("4.1.2.2", "Max-Age and Expires are both there: Max-Age counts.")
			}
			return
		}
	}
	e.Life = "until the browser is closed; browsers that restore tabs may keep it"
	v, ok := e.Attributes["expires"]
	if !ok {
		return
	}
	t, err := http.ParseTime(v)
	if err != nil {
		e.warn("5.1.1", "Expires is no date in the form of RFC 9110: browsers may or may not read it.")
		return
	}
	e.Life = "until " + t.UTC().Format(time.RFC1123)
}

// prefix checks what the name promises (6265bis 5.7, steps for prefixes).
// Browsers compare prefixes without case.
func (e *Explanation) prefix(secure, httpOnly, hostOnly bool, path string) {
	name := e.Name
	if name == "" {
		for _, p := range []string{"__Secure-", "__Host-", "__Http-"} {
			if hasPrefixFold(e.Value, p) {
				e.drop("5.7", "It has no name, and a value that would read as a name with the prefix %s.", p)
			}
		}
		return
	}
	host := hasPrefixFold(name, "__Host-")
	script := hasPrefixFold(name, "__Http-") || hasPrefixFold(name, "__Host-Http-")
	if (host || script || hasPrefixFold(name, "__Secure-")) && !secure {
		e.drop("4.1.3", "Its prefix demands Secure.")
	}
	if script && !httpOnly {
		e.drop("layered-cookies", "Its prefix demands HttpOnly.")
	}
	if host && !hostOnly {
		e.drop("4.1.3.2", "The prefix __Host- forbids Domain.")
	}
	if host && path != "/" {
		e.drop("4.1.3.2", "The prefix __Host- demands Path=/.")
	}
}

func (e *Explanation) sameSite(secure bool) {
	v, ok := e.Attributes["samesite"]
	switch {
	case !ok:
		e.warn("5.6.7", "Without SameSite, Chromium takes Lax, and lets a cross-site POST carry it for two minutes; others may send it everywhere.")
	case strings.EqualFold(v, "none") && !secure:
		e.drop("5.7", "It has SameSite=None without Secure.")
	case strings.EqualFold(v, "none"):
		e.warn("8.8", "With SameSite=None it is sent with every cross-site request: only a check of the request's origin keeps forgery out.")
	case strings.EqualFold(v, "lax"), strings.EqualFold(v, "strict"):
	default:
		e.warn("5.6.7", "SameSite=%s is none that browsers know: it counts as if it were not there.", v)
	}
}
