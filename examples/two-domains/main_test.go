package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
)

func TestASignInAtOneSiteIsTakenOverToTheOtherAndBothEndTogether(t *testing.T) {
	for at, h := range map[string]http.Handler{home: origin(), shop: target()} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skipf("SKIPPED: %v", err) // the addresses are what the example is about
		}
		srv := &http.Server{Handler: h}
		go srv.Serve(l)
		t.Cleanup(func() { srv.Close() })
	}
	jar, _ := cookiejar.New(nil) // nil options do not fail
	ann := &http.Client{Jar: jar}
	get := func(at string) (string, *url.URL) {
		t.Helper()
		res, err := ann.Get("http://" + at)
		return body(t, res, err), res.Request.URL
	}
	if text, _ := get(shop); !strings.Contains(text, "Nobody") {
		t.Fatalf("a stranger sees %s", text)
	}
	text, at := get(shop + "/signin")
	if at.Host != home || !strings.Contains(text, "Who are you?") {
		t.Fatalf("at %s: %s", at, text)
	}
	res, err := ann.PostForm(at.String(), url.Values{"as": {"ann"}})
	if text := body(t, res, err); res.Request.URL.Host != shop || !strings.Contains(text, "Welcome, <b>ann</b>") {
		t.Fatalf("at %s: %s", res.Request.URL, text)
	}
	live, err := ann.Get("http://" + shop + "/live")
	if err != nil || live.StatusCode != 200 {
		t.Fatalf("%v, %v", live, err)
	}
	defer live.Body.Close()
	res, err = ann.PostForm("http://"+shop+"/signout", nil)
	body(t, res, err)
	if lines := bufio.NewScanner(live.Body); !lines.Scan() || lines.Text() != "event: over" {
		t.Errorf("the stream says %q", lines.Text())
	}
	if text, at := get(shop + "/signin"); at.Host != home || !strings.Contains(text, "Who are you?") {
		t.Errorf("after the sign-out, at %s: %s", at, text)
	}
}

func body(t *testing.T, res *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
