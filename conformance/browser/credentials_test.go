package browser

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/admit-auth/admit/server"
	"github.com/chromedp/chromedp"
)

// blank serves an empty page, and sets the cookies that its address asks for.
func blank(w http.ResponseWriter, r *http.Request) {
	for _, line := range r.URL.Query()["set"] {
		w.Header().Add("Set-Cookie", line)
	}
	w.Header().Set("Content-Type", "text/html")
	io.WriteString(w, "<!doctype html><title>blank</title>")
}

// setting is the address of a blank page that sets cookies.
func setting(origin string, lines ...string) string {
	return origin + "/?" + url.Values{"set": lines}.Encode()
}

func listen(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// at is the server's origin under another name: every name below localhost is
// this machine.
func at(s *httptest.Server, host string) string {
	return strings.Replace(s.URL, "127.0.0.1", host, 1)
}

// tab is an empty tab with cookies and storage of its own.
func tab(t *testing.T) *profile { return (&site{}).profile(t, desktop) }

func await[T any](p *profile, script string) T {
	p.t.Helper()
	return evaluate[T](p, script, chromedp.EvalAwaitPromise)
}

func TestAScriptReadsLocalStorageAndNoHttpOnlyCookieButUsesBoth(t *testing.T) {
	api := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			blank(w, r)
			return
		}
		c, _ := r.Cookie("session")
		fmt.Fprint(w, c.String()+" "+r.Header.Get("Authorization"))
	}))
	p := tab(t)
	p.do(chromedp.Navigate(setting(api.URL, "session=secret; HttpOnly")))
	got := evaluate[string](p, `localStorage.token = sessionStorage.token = "adm_s_example"; document.cookie = "own=1; HttpOnly";
		[document.cookie, localStorage.token, sessionStorage.token].join("|")`)
	if got != "|adm_s_example|adm_s_example" {
		t.Errorf("a script reads %q, or sets an HttpOnly cookie", got)
	}
	got = await[string](p, `fetch("/use", {headers: {Authorization: "Bearer " + localStorage.token}}).then(r => r.text())`)
	if got != "session=secret Bearer adm_s_example" {
		t.Errorf("a script sends %q", got)
	}
}

// What a browser sends by itself is what a foreign page can make it send.
func TestABrowserSendsCookiesByItselfAndTokensNever(t *testing.T) {
	var mu sync.Mutex
	var sent string
	target := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/do" {
			mu.Lock()
			sent = strings.TrimSpace(r.Header.Get("Cookie") + r.Header.Get("Authorization"))
			mu.Unlock()
		}
		blank(w, r)
	}))
	other := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>other</title><form method="%s" action="%s"></form>`,
			html.EscapeString(r.FormValue("method")), html.EscapeString(at(target, "shop.localhost")+"/do"))
	}))
	for name, test := range map[string]struct{ from, method, want string }{
		"a foreign site's POST carries neither a Lax nor a Strict one": {other.URL, "post", ""},
		"a foreign site's link carries the Lax one":                    {other.URL, "get", "lax=1"},
		"the POST of another port is of the same site":                 {at(other, "shop.localhost"), "post", "lax=1; strict=1"},
		"the POST of a sub-domain is of the same site":                 {at(other, "evil.shop.localhost"), "post", "lax=1; strict=1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := tab(t)
			p.do(chromedp.Navigate(setting(at(target, "shop.localhost"), "lax=1; SameSite=Lax; HttpOnly", "strict=1; SameSite=Strict; HttpOnly")))
			evaluate[string](p, `localStorage.token = "adm_s_example"`)
			p.do(chromedp.Navigate(test.from + "/?method=" + test.method))
			mu.Lock()
			sent = "no request at all"
			mu.Unlock()
			ctx, cancel := p.within()
			defer cancel()
			if _, err := chromedp.RunResponse(ctx, chromedp.Evaluate[chromedp.Void](`document.forms[0].submit()`)); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if sent != test.want {
				t.Errorf("%q was sent, want %q", sent, test.want)
			}
		})
	}
}

func TestAPageOfAnotherOriginNeedsLeaveToUseATokenToo(t *testing.T) {
	friend, stranger := listen(t, http.HandlerFunc(blank)), listen(t, http.HandlerFunc(blank))
	s, err := server.New(t.Context(), server.Config{
		Listen: "localhost:0", Data: t.TempDir(), CORSOrigins: []string{friend.URL}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var mu sync.Mutex
	var asked []string
	api := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method)
		mu.Unlock()
		s.Handler().ServeHTTP(w, r)
	}))
	res, err := http.Post(api.URL+"/api/v1/signup", "application/json", strings.NewReader(`{"identifier": "ann", "password": "`+goodPassword+`", "as": "token"}`))
	if err != nil {
		t.Fatal(err)
	}
	var in struct{ Token string }
	if err := json.NewDecoder(res.Body).Decode(&in); err != nil || in.Token == "" {
		t.Fatalf("%s: no token: %v", res.Status, err)
	}
	res.Body.Close()
	mu.Lock()
	asked = nil
	mu.Unlock()
	for name, test := range map[string]struct {
		page        *httptest.Server
		want, asked string
	}{
		"an origin that is named":     {friend, "ann", "OPTIONS GET"},
		"an origin that is not named": {stranger, "TypeError", "OPTIONS"},
	} {
		p := tab(t)
		p.do(chromedp.Navigate(test.page.URL))
		got := await[string](p, fmt.Sprintf(`fetch(%q, {headers: {Authorization: %q}}).then(r => r.json()).then(b => b.user.identifiers[0].value, e => e.name)`,
			api.URL+"/api/v1/session", "Bearer "+in.Token))
		mu.Lock()
		if got != test.want || strings.Join(asked, " ") != test.asked {
			t.Errorf("%s: the page sees %q after the requests %q, want %q after %q", name, got, asked, test.want, test.asked)
		}
		asked = nil
		mu.Unlock()
	}
}

func TestACookieGoesToSubDomainsOnlyWithADomainAndEachCanPlantOne(t *testing.T) {
	site := listen(t, http.HandlerFunc(blank))
	p := tab(t)
	cookies := func(host string) string {
		p.do(chromedp.Navigate(at(site, host)))
		return evaluate[string](p, `document.cookie`)
	}
	p.do(chromedp.Navigate(setting(at(site, "shop.localhost"), "own=1", "shared=1; Domain=shop.localhost")))
	p.do(chromedp.Navigate(setting(at(site, "evil.shop.localhost"), "planted=1; Domain=shop.localhost", "other=1; Domain=bank.localhost")))
	for host, want := range map[string]string{
		"shop.localhost":      "own=1; shared=1; planted=1",
		"evil.shop.localhost": "shared=1; planted=1",
		"bank.localhost":      "",
	} {
		if got := cookies(host); got != want {
			t.Errorf("%s gets %q, want %q", host, got, want)
		}
	}
}

func TestABrowserKeepsAHundredCookiesAndFourKilobytesOfEach(t *testing.T) {
	site := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/many" {
			for i := range 100 {
				w.Header().Add("Set-Cookie", fmt.Sprintf("c%d=1", i))
			}
		}
		blank(w, r)
	}))
	p := tab(t)
	p.do(chromedp.Navigate(site.URL + "/many"))
	if n := evaluate[int](p, `document.cookie.split("; ").length`); n != 100 {
		t.Errorf("%d cookies are kept, want 100", n)
	}
	p = tab(t)
	p.do(chromedp.Navigate(site.URL))
	got := evaluate[string](p, `document.cookie = "a=" + "x".repeat(4095); document.cookie = "b=" + "x".repeat(4096); document.cookie.split("; ").map(c => c[0] + c.length).join()`)
	if got != "a4097" { // 4096 of name and value, and the sign between them
		t.Errorf("kept are %q", got)
	}
}

func TestANegativeMaxAgeDeletesACookie(t *testing.T) {
	site := listen(t, http.HandlerFunc(blank))
	p := tab(t)
	p.do(chromedp.Navigate(setting(site.URL, "a=1", "b=1", "c=1")), chromedp.Navigate(setting(site.URL, "a=2; Max-Age=-1", "b=2; Max-Age=0", "c=2")))
	if got := evaluate[string](p, `document.cookie`); got != "c=2" {
		t.Errorf("kept are %q", got)
	}
}
