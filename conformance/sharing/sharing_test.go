package sharing

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A process of the app is this test's own program, started anew.
func TestMain(m *testing.M) {
	if at := os.Getenv("SHARING_APP"); at != "" {
		if err := app(at, os.Getenv("SHARING_REDIS")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// program returns a program's path. Where it is missing, it is a failure on the
// machine that is to test everything, and a loud skip elsewhere.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		for _, at := range []string{name, "/usr/sbin/" + name} {
			if path, err := exec.LookPath(at); err == nil {
				return path
			}
		}
	}
	how := names[0] + " is missing: make test SETUP=1 installs it"
	if os.Getenv("CI") == "true" {
		t.Fatal(how)
	}
	t.Skip("SKIPPED: " + how)
	return ""
}

// A web is hosts with names under .test, which are one server here.
type web struct {
	t      *testing.T
	mu     sync.Mutex
	hosts  map[string]http.Handler // guarded by mu
	server *httptest.Server
}

// serve adds a host, also while browsers ask for others.
func (w *web) serve(host string, h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[host] = h
}

// host returns what serves one, nil for nothing.
func (w *web) host(name string) http.Handler {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[name]
}

// newWeb serves the hosts over HTTPS until the test ends.
func newWeb(t *testing.T) *web {
	t.Helper()
	w := &web{t: t, hosts: map[string]http.Handler{}}
	w.server = httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if h := w.host(r.Host); h != nil {
			h.ServeHTTP(out, r)
			return
		}
		http.NotFound(out, r)
	}))
	t.Cleanup(w.server.Close)
	t.Cleanup(w.server.CloseClientConnections)
	return w
}

// A browser is a Chromium of its own.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// browser starts one that finds the hosts of the web under their names.
func (w *web) browser(preferences string) *browser {
	w.t.Helper()
	dir := w.t.TempDir()
	if preferences != "" {
		if err := os.Mkdir(filepath.Join(dir, "Default"), 0o700); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "Default", "Preferences"), []byte(preferences), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program(w.t, "chromium", "chromium-browser", "google-chrome")), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(dir),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("host-resolver-rules", "MAP *.test:443 "+w.server.Listener.Addr().String()),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	w.t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	w.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		w.t.Fatal("Chromium does not start: ", err)
	}
	return &browser{w.t, ctx}
}

// tab opens another tab of the same browser.
func (b *browser) tab() *browser {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatal(err)
	}
	return &browser{b.t, ctx}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// open goes to an address, and wants its page to say something.
func (b *browser) open(at, text string) {
	b.t.Helper()
	b.do(chromedp.Navigate(at))
	b.says(text)
}

// press clicks what a selector finds, and wants the next page to say something
// that this one does not.
func (b *browser) press(selector, text string) {
	b.t.Helper()
	if here := b.text(); strings.Contains(here, text) {
		b.t.Fatalf("%q does not tell the next page from this one:\n%s", text, here)
	}
	b.do(chromedp.Click(chromedp.CSS(selector)))
	b.says(text)
}

// says waits until the page says something.
func (b *browser) says(text string) {
	b.t.Helper()
	var got string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = b.text(); strings.Contains(got, text) {
			return
		}
	}
	b.t.Fatalf("no %q on this page:\n%s", text, got)
}

func (b *browser) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error() // between two pages
	}
	return text
}

// evaluate runs a script of the test.
func evaluate[T any](b *browser, script string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		b.t.Fatalf("%.80s: %v", script, err)
	}
	return v
}
