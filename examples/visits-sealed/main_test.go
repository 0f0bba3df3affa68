package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/session"
)

func TestTheCountIsInTheCookieAndNobodyCanChangeIt(t *testing.T) {
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	guards := session.NewMemory(nil)
	visit := func(jar string) (body, next string) {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil)
		if jar != "" {
			r.Header.Set("Cookie", jar)
		}
		handler(guards, keys).ServeHTTP(w, r) // another process each time
		next, _, _ = strings.Cut(w.Header().Get("Set-Cookie"), ";")
		return w.Body.String(), next
	}
	var jars []string
	jar := ""
	for _, want := range []string{"visit 1\n", "visit 2\n", "visit 3\n"} {
		var got string
		if got, jar = visit(jar); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		jars = append(jars, jar)
	}
	if got, _ := visit(jars[0]); got != "visit 4\n" {
		t.Errorf("the first cookie, pasted back: %q, want the fourth visit", got)
	}
	other := "A"
	if strings.HasSuffix(jar, other) {
		other = "Q"
	}
	if got, _ := visit(jar[:len(jar)-1] + other); got != "visit 1\n" {
		t.Errorf("an altered cookie: %q, want a first visit", got)
	}
}
