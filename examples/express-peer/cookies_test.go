package main

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/express"
)

// A browser has a jar, and a site to visit.
type browser struct {
	t    *testing.T
	site string
	http.Client
}

func open(t *testing.T) *browser {
	t.Helper()
	mux := http.NewServeMux()
	signing, err := express.NewSecrets(secrets("new,old")...)
	if err == nil {
		err = cookiePages(mux, signing, secrets("new,old"), session.NewMemory(nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	jar, _ := cookiejar.New(nil)
	return &browser{t, srv.URL, http.Client{Jar: jar}}
}

func (b *browser) get(path string) (status int, body string) {
	b.t.Helper()
	res, err := b.Get(b.site + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	var text strings.Builder
	res.Write(&text)
	_, body, _ = strings.Cut(text.String(), "\r\n\r\n")
	return res.StatusCode, strings.TrimSpace(body)
}

func (b *browser) want(path, body string) {
	b.t.Helper()
	if _, got := b.get(path); got != body {
		b.t.Errorf("%s: %s, want %s", path, got, body)
	}
}

func TestCookiesAreReadAsTheyWereSet(t *testing.T) {
	b := open(t)
	b.want("/cookie/get?name=c", `{"plain":null,"signed":null}`)
	b.get("/cookie/set?name=c&value=a%20b")
	b.want("/cookie/get?name=c", `{"plain":"a b","signed":null}`)
	b.get("/cookie/set?name=c&signed=1&json=1&value=" + url.QueryEscape(`{"a":[1, "<é>"]}`))
	b.want("/cookie/get?name=c", `{"plain":null,"signed":{"a":[1,"<é>"]}}`)
	// The query is read as Node reads it, to which nothing is an error.
	for query, want := range map[string]string{"value=a;b": `"a;b"`, "value=%zz+%3c": `"%zz <"`, "value=%ff": "\"\uFFFD\"", "value=a&value=b": `["a","b"]`, "json=1&value=1e400": `"Infinity"`, "json=1&value=-1e400": `"-Infinity"`, "json=1&value=1.50": `"1.5"`} {
		b.get("/cookie/set?name=c&" + query)
		b.want("/cookie/get?name=c", `{"plain":`+want+`,"signed":null}`)
	}
	for _, bad := range []string{"/cookie/set?value=x", "/cookie/set?name=c&json=1&value={", "/cookie/set?name=c&maxAge=soon", "/cookie/clear"} {
		if status, body := b.get(bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
	b.get("/cookie/clear?name=c")
	b.want("/cookie/get?name=c", `{"plain":null,"signed":null}`)
}

func TestSeveralValuesOfANameAreAList(t *testing.T) {
	b := open(t)
	for _, kind := range []string{"cs", "cs256", "sealed"} {
		b.want("/"+kind+"/set?b=1&a=2&b=3", map[bool]string{true: `{"a":"2","b":["1","3"]}`, false: `{"b":["1","3"],"a":"2"}`}[kind == "sealed"])
	}
}

func TestACopyOfASealedCookieIsGoodForNothingAfterClear(t *testing.T) {
	b := open(t)
	site, _ := url.Parse(b.site)
	for _, kind := range []struct {
		name   string
		replay string // what a copy brings after clear
	}{
		{"cs", `{"n":1}`}, // cookie-session's own hole
		{"cs256", `{"n":1}`},
		{"sealed", `{}`},
	} {
		b.want("/"+kind.name+"/visit", `{"n":1}`)
		copied := b.Jar.Cookies(site)
		b.want("/"+kind.name+"/clear", `{}`)
		b.want("/"+kind.name+"/get", `{}`)
		b.Jar.SetCookies(site, copied)
		b.want("/"+kind.name+"/get", kind.replay)
	}
	if status, body := b.get("/sealed/visit"); status != http.StatusUnauthorized {
		t.Errorf("a visit with the copy: %d %s", status, body)
	}
}
