package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/cookie"
)

func TestAVisitIsRememberedForOneMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, err := cookie.ParseKeys(cookie.GenerateKey())
		if err != nil {
			t.Fatal(err)
		}
		h := handler(keys)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "https://example.org/", nil))
		set := w.Header().Get("Set-Cookie")
		if w.Body.String() != "welcome\n" || !strings.Contains(set, "; Max-Age=60;") {
			t.Fatalf("first visit: %q, %s", w.Body, set)
		}
		pair, _, _ := strings.Cut(set, ";")
		again := func(cookie string) string {
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.org/", nil)
			r.Header.Set("Cookie", cookie)
			h.ServeHTTP(w, r)
			return w.Body.String()
		}
		time.Sleep(59 * time.Second)
		if got := again(pair); !strings.HasPrefix(got, "welcome back") {
			t.Errorf("after 59 s: %q", got)
		}
		if got := again(strings.Replace(pair, "=2", "=1", 1)); got != "welcome\n" {
			t.Errorf("an altered time: %q", got)
		}
		time.Sleep(2 * time.Second) // the browser may keep it; the server does not believe it
		if got := again(pair); got != "welcome\n" {
			t.Errorf("after 61 s: %q", got)
		}
	})
}
