package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/admit-auth/admit/server"
)

func TestAPageOfTheProgramIsForThoseWhoSignedInAndOneForARole(t *testing.T) {
	data := t.TempDir()
	s, err := server.New(t.Context(), server.Config{Data: data, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := httptest.NewServer(site(s))
	defer srv.Close()
	base := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	get := func(path string) (status int, at, body string) {
		t.Helper()
		res, err := browser.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Request.URL.RequestURI(), string(text)
	}
	if _, at, _ := get("/notes"); at != "/signin?return_to=/notes" {
		t.Fatalf("a stranger is led to %s", at)
	}
	if status, _, _ := get("/notes/all"); status != http.StatusUnauthorized {
		t.Errorf("a stranger gets %d of what is for editors", status)
	}
	res, err := browser.PostForm(base+"/signup", url.Values{"identifier": {"ann"}, "password": {"correct horse battery"}, "return_to": {"/notes"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if _, at, body := get("/notes"); at != "/notes" || !strings.Contains(body, "Hello ann.") {
		t.Errorf("after the sign-up: %s\n%s", at, body)
	}
	if status, _, _ := get("/notes/all"); status != http.StatusForbidden {
		t.Errorf("who is no editor gets %d", status)
	}
	if status, _, body := get("/account"); status != 200 || !strings.Contains(body, "ann") {
		t.Errorf("admit's own page: %d", status)
	}
}
