package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// admit builds and starts the real server, as the tutorial does.
func admit(t *testing.T) (at *url.URL, stop func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "admit")
	if out, err := exec.Command("go", "build", "-C", "../../server", "-o", file, "./cmd/admit").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	cmd := exec.Command(file, "serve", "--dev", "--listen", "localhost:"+port, "--data", t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	}
	t.Cleanup(stop)
	at = &url.URL{Scheme: "http", Host: "localhost:" + port}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if res, err := http.Get(at.String() + "/readyz"); err == nil {
			res.Body.Close()
			return at, stop
		}
	}
	stop()
	t.Fatalf("admit is not ready:\n%s", &out)
	return nil, nil
}

func TestAVisitorSignsInAndIsKnownToTheApp(t *testing.T) {
	at, stop := admit(t)
	site := httptest.NewServer(app(at))
	defer site.Close()
	base := strings.Replace(site.URL, "127.0.0.1", "localhost", 1)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	read := func(res *http.Response, err error) (status int, at, body string) {
		t.Helper()
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
	post := func(path string, form url.Values) (int, string, string) {
		t.Helper()
		r, err := http.NewRequest("POST", base+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", base)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		return read(browser.Do(r))
	}

	if _, where, _ := read(browser.Get(base + "/notes")); where != "/signin?return_to=/notes" {
		t.Fatalf("a stranger is led to %s", where)
	}
	status, where, body := post("/signup", url.Values{
		"identifier": {"ann"}, "name": {"Ann <Example>"}, "password": {"correct horse battery"}, "return_to": {"/notes"},
	})
	if status != 200 || where != "/notes" || !strings.Contains(body, "Hello Ann &lt;Example&gt;") {
		t.Fatalf("after the sign-up: %d at %s\n%s", status, where, body)
	}
	post("/signout", url.Values{})
	if _, _, body := post("/signup", url.Values{
		"identifier": {"bob"}, "password": {"correct horse battery"}, "return_to": {"/notes"},
	}); !strings.Contains(body, "Hello bob.") {
		t.Errorf("who gave no name is not called by what they sign in with:\n%s", body)
	}
	post("/signout", url.Values{})
	if _, where, _ := read(browser.Get(base + "/notes")); where != "/signin?return_to=/notes" {
		t.Errorf("after the sign-out one is led to %s", where)
	}
	stop()
	if status, _, _ := read(browser.Get(base + "/notes")); status != http.StatusServiceUnavailable {
		t.Errorf("while admit is away: %d, want 503, which signs nobody out", status)
	}
}
