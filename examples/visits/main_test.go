package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"
)

func TestEachVisitorHasACountOfItsOwn(t *testing.T) {
	srv := httptest.NewTLSServer(handler())
	defer srv.Close()
	for range 2 {
		client := *srv.Client()
		client.Jar, _ = cookiejar.New(nil)
		for _, want := range []string{"visit 1\n", "visit 2\n", "visit 3\n"} {
			if got := get(t, &client, srv.URL); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
}

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s: %s, %v", url, res.Status, err)
	}
	return string(b)
}
