package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/admit-auth/admit/access"
)

// What the page does, TestASinglePageAppSignsInAtAnotherOriginAndRefreshes of
// module conformance shows in a browser.
func TestThePageLetsItsOwnScriptTalkToAdmitAndNobodyElse(t *testing.T) {
	h, err := handler(t.Context(), "https://auth.example.org", "https://app.example.org", &access.Options{InsecureNoFeed: true})
	if err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{"/": `data-issuer="https://auth.example.org"`, "/app.js": "renew()"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %d\n%s", path, w.Code, w.Body)
		}
		if policy := w.Header().Get("Content-Security-Policy"); path == "/" && !strings.Contains(policy, "default-src 'none'; script-src 'self'; connect-src 'self' https://auth.example.org;") {
			t.Errorf("%s", policy)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/orders", nil))
	if w.Code != 401 {
		t.Errorf("/orders without a token: %d", w.Code)
	}
}
