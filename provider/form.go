package provider

import (
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	maxForm   = 64 << 10 // bytes of a request's parameters
	maxParam  = 16 << 10 // of one
	maxParams = 1000
)

// A form is the parameters of a request, each of which is there once (RFC 6749
// section 3.1): of two, one reader would take the first and another one the last. What
// is sent without a value counts as not sent.
type form map[string][]string

func (f form) get(name string) string {
	if v := f[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (f form) words(name string) []string { return strings.Fields(f.get(name)) }

// parseForm reads parameters. Resources may be there several times (RFC 8707). With an
// error it returns those that are good all the same, so that a client may be told.
func parseForm(text string) (form, error) {
	if len(text) > maxForm || strings.Count(text, "&") >= maxParams {
		return nil, because(ErrInvalidRequest, "The parameters are longer than 64 KiB, or more than 1,000.")
	}
	f := form{} // nil of a name that has come without a value
	var err error
	blank := false
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue
		}
		escaped, value, _ := strings.Cut(pair, "=")
		name, wrong := unescape(escaped)
		v, wrongValue := unescape(value)
		if wrong != nil || wrongValue != nil || strings.Contains(pair, ";") {
			return nil, because(ErrInvalidRequest, "The parameters are not form-encoded.")
		}
		all, twice := f[name]
		switch {
		case twice && name != "resource":
			err, all = because(ErrInvalidRequest, "A parameter is there twice: "+printable(name)+"."), nil
		case len(v) > maxParam || !utf8.ValidString(v) || strings.ContainsRune(v, 0):
			err = because(ErrInvalidRequest, "A parameter is too long, or no text: "+printable(name)+".")
		case v != "":
			all = append(all, v)
		}
		f[name], blank = all, blank || all == nil
	}
	if blank {
		maps.DeleteFunc(f, func(_ string, all []string) bool { return all == nil })
	}
	return f, err
}

// unescape is url.QueryUnescape, which looks at each byte: tokens are long, and hardly
// anything that is sent has something to unescape.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	return url.QueryUnescape(s)
}

// printable is a name as an error may tell it (RFC 6749 section 5.2 allows ASCII).
func printable(name string) string {
	if len(name) > 40 {
		name = name[:40]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, name)
}

// needsEscape reports what is not itself in URLs and forms (RFC 3986 section 2.3).
func needsEscape(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~", c)
}

// sent reads what a browser sends, which may have been led here, or post a form.
func sent(w http.ResponseWriter, r *http.Request) (form, error) {
	if r.Method == http.MethodPost {
		return posted(w, r)
	}
	return parseForm(r.URL.RawQuery)
}

// posted reads the form that a client posts. Nothing may stand in the query: it is
// logged on its way.
func posted(w http.ResponseWriter, r *http.Request) (form, error) {
	if !isForm(r.Header.Get("Content-Type")) {
		return nil, because(ErrInvalidRequest, "The body is not "+formMedia+".")
	}
	if r.URL.RawQuery != "" {
		return nil, because(ErrInvalidRequest, "The parameters belong into the body, and not into the address.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return nil, because(ErrInvalidRequest, "The body cannot be read, or is longer than 64 KiB.")
	}
	return parseForm(string(body))
}

const formMedia = "application/x-www-form-urlencoded"

func isForm(header string) bool {
	if header == formMedia {
		return true
	}
	media, _, err := mime.ParseMediaType(header)
	return err == nil && media == formMedia
}
