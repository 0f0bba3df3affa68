package sharing

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
)

// noCookies is what Chromium's settings say where a user blocks cookies.
const noCookies = `{"profile":{"default_content_setting_values":{"cookies":2}}}`

var cookielessPage = template.Must(template.New("").Parse(`<!doctype html><title>visits</title>
<p>{{.Says}}</p>
<a id=next href="{{.Links.To "/?page=2"}}">next</a>
<a id=in href="{{.Links.To "/signin"}}">sign in</a>
<a id=out href="{{.Links.To "/signout"}}">sign out</a>
<a id=elsewhere href="{{.Links.To "https://other.two.test/"}}">elsewhere</a>
<form id=post method=post action="{{.Links.To "/signin"}}"><button name=as value=ann>sign in</button></form>
<form id=get action="/search">{{if .Name}}<input type=hidden name="{{.Name}}" value="{{.Value}}">{{end}}<button name=q value=x>search</button></form>
`))

func TestABrowserWithCookiesDisabledKeepsItsSessionInLinks(t *testing.T) {
	web := newWeb(t)
	sessions, err := session.New[visit](session.NewMemory(nil), &session.Options{InsecureURLSessions: true})
	if err != nil {
		t.Fatal(err)
	}
	show := func(w http.ResponseWriter, r *http.Request, s *session.Session[visit], says string) {
		var info *session.Info
		if s != nil {
			info = &s.Info
		}
		links, err := sessions.Links(w, r, info)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		name, value := links.Field()
		w.Header().Set("Content-Type", "text/html")
		cookielessPage.Execute(w, map[string]any{"Says": says, "Links": links, "Name": name, "Value": value})
	}
	count := func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Update(w, r, func(v *visit) error { v.Count++; return nil })
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		show(w, r, s, fmt.Sprintf("visit %d by %q in a %s", s.Data.Count, s.Subject, s.Credential()))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /signin", func(w http.ResponseWriter, r *http.Request) { show(w, r, nil, "please sign in") })
	mux.HandleFunc("POST /signin", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Start(w, r, r.FormValue("as"), nil)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		links, err := sessions.Links(w, r, &s.Info)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		http.Redirect(w, r, links.To("/"), http.StatusSeeOther)
	})
	mux.HandleFunc("GET /signout", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.End(w, r, "signed_out"); err != nil {
			problem.Write(w, err, "")
			return
		}
		show(w, r, nil, "goodbye")
	})
	mux.HandleFunc("GET /search", count)
	mux.HandleFunc("GET /{$}", count)
	web.serve("app.one.test", http.NewCrossOriginProtection().Handler(sessions.Handler(mux)))
	var mu sync.Mutex
	var came http.Header
	web.serve("other.two.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			mu.Lock()
			came = r.Header.Clone()
			mu.Unlock()
		}
		fmt.Fprint(w, "elsewhere")
	}))

	b := web.browser(noCookies)
	b.open("https://app.one.test/", `visit 1 by "" in a cookie`) // nobody knows yet
	b.press("#next", `visit 2 by "" in a url`)
	b.press("#next", `visit 3 by "" in a url`)
	b.press("#get button", `visit 4 by "" in a url`)
	b.press("#in", "please sign in")
	b.press("#post button", `visit 1 by "ann" in a url`) // what was in a link is not adopted
	b.press("#next", `visit 2 by "ann" in a url`)
	address := evaluate[string](b, `location.href`)
	if !strings.Contains(address, "session=adm_u_") {
		t.Errorf("the address is %s", address)
	}
	b.press("#elsewhere", "https://other.two.test/\nelsewhere")
	mu.Lock()
	if came == nil || strings.Contains(came.Get("Referer"), "session=") || len(came["Cookie"]) > 0 {
		t.Errorf("another site is told %v", came)
	}
	mu.Unlock()
	b.open(address, `visit 3 by "ann" in a url`) // back, within a minute
	b.press("#out", "goodbye")
	b.open(address, "session_ended")

	// A browser with cookies has them in its addresses for the first page only,
	// and an address of somebody else's does nothing there.
	keeps := web.browser("")
	keeps.open("https://app.one.test/", `visit 1 by "" in a cookie`)
	keeps.press("#next", `visit 2 by "" in a cookie`)
	keeps.press("#next", `visit 3 by "" in a cookie`)
	if at := evaluate[string](keeps, `location.href`); at != "https://app.one.test/?page=2" {
		t.Errorf("with cookies the address is %s", at)
	}
	b.open("https://app.one.test/signin", "please sign in")
	b.press("#post button", `visit 1 by "ann" in a url`)
	keeps.open(evaluate[string](b, `location.href`), `visit 4 by "" in a cookie`)
	// Nor where it has no session yet: it signs in by cookie.
	fresh := web.browser("")
	fresh.open(strings.Replace(evaluate[string](b, `location.href`), "/?", "/signin?", 1), "please sign in")
	fresh.press("#post button", `visit 1 by "ann" in a cookie`)
}

func TestAScriptWithoutCookiesSendsItsTokenInAHeader(t *testing.T) {
	web := newWeb(t)
	sessions, err := session.New[visit](session.NewMemory(nil), &session.Options{Bearer: true})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /signin", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Start(w, r, "ann", &session.StartOptions{Bearer: true})
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		fmt.Fprint(w, s.Token.Reveal())
	})
	mux.HandleFunc("POST /signout", signOut(sessions))
	mux.HandleFunc("GET /who", signedIn(sessions))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<p id=says>ready</p><script>
const ask = async (method, path, token) => (await fetch(path, {method, headers: token ? {Authorization: "Bearer " + token} : {}})).text()
const all = async () => {
	const said = [], token = await ask("POST", "/signin")
	said.push(await ask("GET", "/who", token), await ask("GET", "/who"), await ask("POST", "/signout", token), await ask("GET", "/who", token))
	document.getElementById("says").textContent = said.join(" | ") + " | cookies: " + document.cookie
}
all()
</script>`)
	})
	web.serve("app.one.test", http.NewCrossOriginProtection().Handler(sessions.Handler(mux)))
	web.browser(noCookies).open("https://app.one.test/",
		"signed in as ann at app.one.test | nobody: You are not signed in. | goodbye at app.one.test | nobody: This session has been ended. | cookies:")
}
