package browser

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/server"
	"github.com/chromedp/chromedp"
)

// The example as it is run: its page is of another origin than admit, which
// answers it by CORS, and loses an answer on the way.
func TestASinglePageAppSignsInAtAnotherOriginAndRefreshes(t *testing.T) {
	program := filepath.Join(t.TempDir(), "single-page-app")
	build := exec.Command("go", "build", "-o", program, "./single-page-app")
	build.Dir = "../../examples"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	free, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.Replace(free.Addr().String(), "127.0.0.1", "localhost", 1)
	free.Close()

	var h atomic.Pointer[http.Handler]
	var lose, refreshes atomic.Int32
	admit := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" && r.URL.Path == "/api/v1/refresh" {
			refreshes.Add(1)
			if lose.Add(-1) >= 0 {
				(*h.Load()).ServeHTTP(lost{http.Header{}}, r)
				panic(http.ErrAbortHandler) // it was done, and nobody hears of it
			}
		}
		(*h.Load()).ServeHTTP(w, r)
	}))
	issuer := at(admit, "localhost")
	s, err := server.New(t.Context(), server.Config{
		Dev: true, Data: t.TempDir(), PublicURL: issuer, CORSOrigins: []string{"http://" + page}, Audiences: []string{"http://" + page},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	handler := s.Handler()
	h.Store(&handler)
	res, err := http.Post(issuer+"/api/v1/signup", "application/json", strings.NewReader(`{"identifier":"ann","password":"`+goodPassword+`"}`))
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatal(res, err)
	}
	res.Body.Close()

	run := exec.Command(program, "-listen", page, "-issuer", issuer, "-insecure-no-feed")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = run.Process.Kill(), run.Wait() }()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", page); err == nil {
			c.Close()
			break
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatal("the example does not listen")
		}
	}

	p := tab(t)
	p.do(chromedp.Navigate("http://" + page))
	until := func(text string) string {
		t.Helper()
		var said string
		for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if said = evaluate[string](p, `document.querySelector("[role=status]").textContent`); strings.Contains(said, text) {
				return said
			}
			if time.Since(begun) > 10*time.Second {
				t.Fatalf("the page says %q, want %q", said, text)
			}
		}
	}
	click := func(id string) { t.Helper(); evaluate[any](p, `document.getElementById("`+id+`").click()`) }
	in := func(password string) {
		t.Helper()
		p.fill("identifier", "ann")
		p.fill("password", password)
		evaluate[any](p, `document.querySelector("form button").click()`)
	}
	in("a guess of mine")
	until("The name or the password is wrong.")
	p.do(chromedp.Navigate("http://" + page))
	in(goodPassword)
	until("signed in")
	click("orders")
	first := until("no orders of")

	// A token that the API takes no more is renewed, though the answer is lost.
	lose.Store(1)
	evaluate[any](p, `(() => { const whole = window.fetch; let once = true
		window.fetch = (to, how) => to === "/orders" && once ? (once = false, Promise.resolve(new Response("", {status: 401}))) : whole(to, how) })()`)
	evaluate[any](p, `document.querySelector("[role=status]").textContent = ""`)
	click("orders")
	if again := until("no orders of"); again != first || refreshes.Load() != 2 {
		t.Errorf("%q, then %q, after %d refreshes", first, again, refreshes.Load())
	}
	if kept := evaluate[string](p, `JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie`); kept != "{}{}" {
		t.Errorf("the page keeps %s", kept)
	}
	click("out")
	until("signed out")
}

// lost is an answer that nobody gets.
type lost struct{ header http.Header }

func (l lost) Header() http.Header       { return l.header }
func (lost) Write(b []byte) (int, error) { return len(b), nil }
func (lost) WriteHeader(int)             {}
