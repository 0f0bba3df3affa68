package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/session"
	"github.com/chromedp/chromedp"
)

// members is a program that says who is asking, and keeps the cookie of the
// last sign-in.
type members struct {
	*httptest.Server
	cookie atomic.Pointer[http.Cookie]
}

func newMembers(t *testing.T) *members {
	t.Helper()
	sessions, err := session.New[struct{}](session.NewMemory(nil), &session.Options{InsecureAllowHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	m := &members{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Load(r)
		if err != nil {
			fmt.Fprint(w, "nobody")
			return
		}
		fmt.Fprint(w, s.Subject)
	})
	mux.HandleFunc("GET /signin", func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		if _, err := sessions.Start(answer, r, "ann", &session.StartOptions{Persistent: r.FormValue("remember") != ""}); err != nil {
			t.Error(err)
			return
		}
		c := answer.Result().Cookies()[0]
		m.cookie.Store(c)
		http.SetCookie(w, c)
	})
	m.Server = httptest.NewServer(mux)
	t.Cleanup(m.Close)
	return m
}

// visit opens a browser that has its profile in dir, goes to the addresses,
// closes it as people do, and returns what the last page said.
func visit(t *testing.T, dir string, addresses ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(dir))...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	for _, address := range addresses {
		if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
	return text
}

func TestClosingTheBrowserEndsNoSessionAndDropsOnlySomeCookies(t *testing.T) {
	const restores = `{"session": {"restore_on_startup": 1}}` // "Continue where you left off"
	for name, test := range map[string]struct{ preferences, signIn, want string }{
		"a cookie without Max-Age is dropped":                       {`{}`, "/signin", "nobody"},
		"one without Max-Age is kept by a browser that restores":    {restores, "/signin", "ann"},
		"a cookie with Max-Age is kept, whatever the browser does":  {`{}`, "/signin?remember=1", "ann"},
		"a cookie with Max-Age is kept, where it restores its tabs": {restores, "/signin?remember=1", "ann"},
	} {
		t.Run(name, func(t *testing.T) {
			site, dir := newMembers(t), t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "Default"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "Default", "Preferences"), []byte(test.preferences), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := visit(t, dir, site.URL+test.signIn, site.URL); got != "ann" {
				t.Fatalf("signed in, the page says %q", got)
			}
			if got := visit(t, dir, site.URL); got != test.want {
				t.Errorf("after the browser was closed and opened, the page says %q, want %q", got, test.want)
			}
			// Whoever has a copy of the cookie is still signed in.
			r := httptest.NewRequest("GET", "/", nil)
			r.AddCookie(site.cookie.Load())
			answer := httptest.NewRecorder()
			if site.Config.Handler.ServeHTTP(answer, r); answer.Body.String() != "ann" {
				t.Errorf("the session has ended at the server: %q", answer.Body)
			}
		})
	}
}

func TestLocalStorageOutlivesTheBrowser(t *testing.T) {
	site := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>kept</title><body><script>
			document.body.append(localStorage.token ?? "nothing", " ", sessionStorage.token ?? "nothing")
			localStorage.token = sessionStorage.token = "adm_s_example"
		</script>`)
	}))
	dir := t.TempDir()
	for _, want := range []string{"nothing nothing", "adm_s_example nothing"} {
		if got := visit(t, dir, site.URL); got != want {
			t.Errorf("the page finds %q, want %q", got, want)
		}
	}
}
