package handover_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/admit-auth/admit/session/handover"
)

// A page elsewhere leads Alice's browser to one long path of the shop after the other.
// Each begins a hand-over and leaves a cookie. Together they must not become so large
// that a proxy refuses her, and where she truly wanted to go is not forgotten.
func TestAttackAPageElsewhereFillsTheBrowserWithCookies(t *testing.T) {
	target, err := handover.NewTarget("https://id.example.org/handover", "shop", secretOf("shop"), nil)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	shop := &url.URL{Scheme: "https", Host: "shop.example.net", Path: "/"}
	begin := func(path string) {
		t.Helper()
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", shop.String(), nil)
		size := 0
		for _, c := range jar.Cookies(shop) {
			r.AddCookie(c)
			size += len(c.Name) + len(c.Value)
		}
		if size > 5000 {
			t.Errorf("the browser sends %d bytes of cookies", size)
		}
		if err := target.Begin(w, r, path); err != nil {
			t.Fatal(err)
		}
		res := http.Response{Header: w.Header()}
		jar.SetCookies(shop, res.Cookies())
	}
	for range 20 {
		begin("/" + strings.Repeat("x", 1999))
	}
	for range 20 {
		begin("/cart")
	}
	if n := len(jar.Cookies(shop)); n != 8 {
		t.Errorf("%d hand-overs are under way", n)
	}
}
