package provider

import (
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A destination is where a client is answered. There is none before a redirect URI was found
// to be the client's: until then nobody may be sent anywhere.
type destination struct {
	uri      string
	formPost bool // OAuth 2.0 Form Post Response Mode
	state    string
	issuer   string
	withheld bool // it is a stranger's, and the person has not decided
}

// destinationOf finds where a client is answered.
func (p *Provider) destinationOf(c *Client, q *request) (destination, error) {
	uri := q.get("redirect_uri")
	switch {
	case uri != "":
	case len(c.RedirectURIs) == 1 && !slices.Contains(q.words("scope"), scopeOpenID):
		uri = c.RedirectURIs[0] // OAuth 2.1; OpenID Connect Core section 3.1.2.1 demands one
	default:
		return destination{}, because(ErrInvalidRequest, "There is no redirect_uri.")
	}
	if !c.redirects(uri) {
		return destination{}, because(ErrInvalidRequest, "The redirect_uri is none that is registered for this client. It is compared letter by letter.")
	}
	if wrong := wrongRedirect(uri, c.Native, p.o.InsecureLoopback); wrong != "" {
		return destination{}, because(ErrInvalidRequest, "The redirect_uri "+wrong+".")
	}
	return destination{uri: uri, formPost: q.get("response_mode") == "form_post", state: q.get("state"), issuer: p.o.Issuer}, nil
}

// redirects reports whether a redirect URI is one of the client's, letter by letter: no
// pattern, no prefix, no other case or encoding. A native client listens on whatever
// port is free, so that of a loopback address may be any (RFC 8252 section 7.3); never
// that of "localhost", which a name server may lead elsewhere (section 8.3).
func (c *Client) redirects(uri string) bool {
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	if !c.Native {
		return false
	}
	host, rest, ok := cutLoopback(uri)
	return ok && slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		h, r, ok := cutLoopback(registered)
		return ok && h == host && r == rest
	})
}

// cutLoopback takes the port out of an http URI of a loopback address.
func cutLoopback(uri string) (host, rest string, ok bool) {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		rest, ok := strings.CutPrefix(uri, host)
		if !ok {
			continue
		}
		if port, ok := strings.CutPrefix(rest, ":"); ok {
			rest = strings.TrimLeft(port, "0123456789")
			if n := len(port) - len(rest); n < 1 || n > 5 {
				return "", "", false
			}
		}
		// Whatever else follows, such as @, makes another host of it.
		return host, rest, rest == "" || rest[0] == '/' || rest[0] == '?'
	}
	return "", "", false
}

// wrongRedirect returns what is wrong with an address of a client that is not to be
// registered ([Client.Check]): it is without TLS, with a fragment, or of a scheme that any
// program may have. It is looked at before each use, too, for a store may hold what was
// put there by other means.
func wrongRedirect(uri string, native, insecure bool) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil || strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' }):
		return "is none"
	case strings.Contains(uri, "#") || u.User != nil:
		return "has a fragment or a user name"
	case strings.HasPrefix(u.Scheme, "http") && strings.ContainsFunc(u.Host, notInHost):
		return "has a host that is none"
	case u.Scheme == "https" && u.Host != "":
		return ""
	case u.Scheme == "http" && loopback(u.Hostname()) && insecure:
		return ""
	case u.Scheme == "http" && u.Hostname() == "localhost" && native:
		// A name server may lead it elsewhere, and a program may listen on another interface
		// by it (RFC 8252 section 8.3).
		return "is at localhost: a program on a device is at http://127.0.0.1 or http://[::1], with any port"
	case u.Scheme == "http" && loopback(u.Hostname()) && native:
		return ""
	case u.Scheme == "http" || u.Scheme == "https":
		return "is not https"
	case native && strings.Contains(u.Scheme, "."):
		return "" // of a domain turned round (RFC 8252 section 7.1): never javascript or data
	}
	return "has a scheme that is not taken here"
}

// notInHost reports what cannot be in a host. Hosts stand in the policies of our pages
// ([Provider.Frames]), where a semicolon would begin another directive; url.Parse takes it.
func notInHost(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._:[]", c)
}

// send sends the browser back to the client.
func (d destination) send(w http.ResponseWriter, answer map[string]string) {
	params := url.Values{"iss": {d.issuer}} // RFC 9207: with it a client knows whose answer this is
	if d.state != "" {
		params.Set("state", d.state)
	}
	for name, v := range answer {
		params.Set(name, v)
	}
	if d.formPost {
		d.post(w, params)
		return
	}
	seeOther(w, withQuery(d.uri, params))
}

// withQuery adds parameters to an address, which may have some.
func withQuery(uri string, more url.Values) string {
	sep := "?"
	if strings.Contains(uri, "?") {
		sep = "&"
	}
	return uri + sep + more.Encode()
}

// seeOther is never 307, with which a browser would post a password or a decision to
// the client once more (RFC 9700 section 4.12).
func seeOther(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// The page that posts an answer. Its script is allowed by what it is and not by where
// it stands; a test says that the two belong together.
const (
	postScript = `document.forms[0].submit()`
	postPolicy = `default-src 'none'; script-src 'sha256-ePniVEkSivX/c7XWBGafqh8tSpiRrKiqYeqbG7N1TOE='; frame-ancestors 'none'; base-uri 'none'`
)

func (d destination) post(w http.ResponseWriter, params url.Values) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", postPolicy)
	// With same-origin the form would say "Origin: null".
	h.Set("Referrer-Policy", "strict-origin")
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Going on · 正在继续</title>\n<form method=\"post\" action=\"" + html.EscapeString(d.uri) + "\">\n")
	for _, name := range slices.Sorted(maps.Keys(params)) {
		b.WriteString(`<input type="hidden" name="` + html.EscapeString(name) + `" value="` + html.EscapeString(params.Get(name)) + "\">\n")
	}
	b.WriteString("<noscript><button>Go on · <span lang=\"zh-CN\">继续</span></button></noscript>\n</form>\n<script>" + postScript + "</script>\n")
	w.Write([]byte(b.String()))
}
