package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/admit-auth/admit/cookie"
)

func TestTheCountIsInTheCookieAndNobodyCanChangeIt(t *testing.T) {
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	visit := func(jar string) (body, next string) {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil)
		if jar != "" {
			r.Header.Set("Cookie", jar)
		}
		handler(keys).ServeHTTP(w, r) // a new handler each time: the server keeps nothing
		next, _, _ = strings.Cut(w.Header().Get("Set-Cookie"), ";")
		return w.Body.String(), next
	}
	jar := ""
	for _, want := range []string{"visit 1\n", "visit 2\n", "visit 3\n"} {
		var got string
		if got, jar = visit(jar); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	other := "A"
	if strings.HasSuffix(jar, other) {
		other = "Q"
	}
	if got, _ := visit(jar[:len(jar)-1] + other); got != "visit 1\n" {
		t.Errorf("an altered cookie: %q, want a first visit", got)
	}
}
