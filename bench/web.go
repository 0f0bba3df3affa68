package main

import (
	"net/http"
	"net/url"
	"strings"
)

// A writer is the smallest honest http.ResponseWriter: it keeps the header map
// between runs.
type writer struct {
	header http.Header
	code   int
}

func newWriter() *writer { return &writer{header: make(http.Header, 8)} }

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(p), nil
}

func (w *writer) reset() { clear(w.header); w.code = 0 }

// pair returns name=value of the response's cookie.
func (w *writer) pair() string {
	p, _, _ := strings.Cut(w.header.Get("Set-Cookie"), ";")
	return p
}

// request is what a browser of one user would send.
func request(cookie string) *http.Request {
	h := http.Header{
		"Accept":          {"text/html,application/xhtml+xml"},
		"Accept-Encoding": {"gzip, deflate, br"},
		"Accept-Language": {"en"},
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"},
	}
	if cookie != "" {
		h["Cookie"] = []string{cookie}
	}
	return &http.Request{
		Method: "GET", URL: &url.URL{Path: "/account"}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Host: "example.org", RequestURI: "/account", Body: http.NoBody,
	}
}

// findCookie is the floor of reading a cookie: a scan of the header.
func findCookie(h http.Header, name string) (string, bool) {
	for _, line := range h["Cookie"] {
		for line != "" {
			var part string
			part, line, _ = strings.Cut(line, ";")
			if len(part) > 0 && part[0] == ' ' {
				part = part[1:]
			}
			if len(part) > len(name) && part[len(name)] == '=' && part[:len(name)] == name {
				return part[len(name)+1:], true
			}
		}
	}
	return "", false
}

var body = []byte("ok")

// live is how many sessions exist while one is read.
const live = 1024

// signIns returns the Cookie line of each of live users who have signed in.
func signIns(signIn http.Handler) []string {
	lines := make([]string, live)
	for i := range lines {
		w := newWriter()
		signIn.ServeHTTP(w, request(""))
		lines[i] = "theme=dark; " + w.pair() + "; _ga=GA1.2.1234567.7654321"
	}
	return lines
}

// serve calls h with a request of each user in turn. Each call gets a shallow
// copy of one of so many that are kept, as a server makes a request for each:
// one allocation of the bare handler. One is enough: a server does not keep the
// requests of all its users either, and a thousand would be work for the
// collector that is counted as the library's.
func serve(h http.Handler, lines []string, kept int) work {
	w := newWriter()
	of := make([]*http.Request, kept)
	for i := range of {
		of[i] = request(lines[i])
	}
	i := 0
	return func(n int) {
		for range n {
			r := new(http.Request)
			*r = *of[i%len(of)]
			r.Header["Cookie"][0] = lines[i%len(lines)]
			i++
			w.reset()
			h.ServeHTTP(w, r)
			if w.code != http.StatusOK {
				panic("the session was not read back")
			}
		}
	}
}
