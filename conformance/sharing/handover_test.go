package sharing

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/handover"
)

// newDomains has people sign in at id.one.test, and shops at shop.two.test and
// shop.three.test. Requests that anybody made are noted.
func newDomains(t *testing.T) (w *web, seen func() []string) {
	t.Helper()
	w = newWeb(t)
	secret := admit.NewSecret("0123456789abcdef0123456789abcdef")
	store := session.NewMemory(nil)
	people, err := session.New[visit](store, nil)
	if err != nil {
		t.Fatal(err)
	}
	form := template.Must(template.New("").Parse(`<form method=post action="/signin"><input type=hidden name=to value="{{.}}"><button name=as value=ann>Sign in</button></form>`))
	var sites []handover.Site
	for _, name := range []string{"two", "three"} {
		sites = append(sites, handover.Site{Name: name, Callback: "https://shop." + name + ".test/arrive", Secret: secret})
	}
	origin, err := handover.NewOrigin(people, store, &handover.OriginOptions{Sites: sites, SignIn: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		form.Execute(w, r.URL.RequestURI())
	})})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /signin", func(w http.ResponseWriter, r *http.Request) {
		if _, err := people.Start(w, r, r.FormValue("as"), nil); err != nil {
			problem.Write(w, err, "")
			return
		}
		if to := r.FormValue("to"); strings.HasPrefix(to, "/handover/begin?") {
			http.Redirect(w, r, to, http.StatusSeeOther)
		}
	})
	mux.Handle("/handover/", origin)
	mux.HandleFunc("/signin", signIn(people))
	mux.HandleFunc("/signout", signOut(people))
	mux.HandleFunc("/", signedIn(people))
	var mu sync.Mutex
	var all []string
	w.serve("id.one.test", mux)
	for _, name := range []string{"two", "three"} {
		// The server of the shop asks the origin's over a connection of its own.
		target, err := handover.NewTarget(w.server.URL+"/handover", name, secret, &handover.TargetOptions{Remember: -1, Transport: asHost{w.server.Client().Transport, "id.one.test"}})
		if err != nil {
			t.Fatal(err)
		}
		sessions, err := session.New[visit](session.NewMemory(nil), &session.Options{Parents: target})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/begin", func(w http.ResponseWriter, r *http.Request) {
			if err := target.Begin(&elsewhere{w, "https://id.one.test"}, r, r.FormValue("to")); err != nil {
				problem.Write(w, err, "")
			}
		})
		mux.HandleFunc("/arrive", func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			all = append(all, r.URL.String())
			mu.Unlock()
			arrival, err := target.Arrive(w, r)
			if err == nil {
				_, err = sessions.Start(w, r, arrival.Subject, arrival.StartOptions())
			}
			if err != nil {
				problem.Write(w, err, "")
				return
			}
			http.Redirect(w, r, arrival.ReturnTo, http.StatusSeeOther)
		})
		mux.HandleFunc("/signout", signOut(sessions))
		mux.HandleFunc("/", signedIn(sessions))
		w.serve("shop."+name+".test", mux)
	}
	return w, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// asHost asks for a host by name at the address of the test's server.
type asHost struct {
	http.RoundTripper
	host string
}

func (a asHost) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = a.host
	return a.RoundTripper.RoundTrip(r)
}

// elsewhere sends browsers to the host's name, where they find the same server.
type elsewhere struct {
	http.ResponseWriter
	origin string
}

func (e *elsewhere) WriteHeader(status int) {
	if to := e.Header().Get("Location"); strings.HasPrefix(to, "https://127.0.0.1") {
		_, rest, _ := strings.Cut(strings.TrimPrefix(to, "https://"), "/")
		e.Header().Set("Location", e.origin+"/"+rest)
	}
	e.ResponseWriter.WriteHeader(status)
}

func TestASignInIsHandedOverBetweenTwoDomainsInChromium(t *testing.T) {
	web, _ := newDomains(t)
	ann := web.browser("")
	ann.open("https://shop.two.test/cart", "nobody")
	ann.open("https://shop.two.test/begin?to=/cart", "Sign in")
	ann.press("button", "https://shop.two.test/cart\nsigned in as ann at shop.two.test")
	// Now nobody is asked any more.
	ann.open("https://shop.three.test/begin?to=/news", "https://shop.three.test/news\nsigned in as ann at shop.three.test")
	if got := evaluate[string](ann, `document.cookie`); got != "" {
		t.Errorf("scripts see the cookies %q", got)
	}
	tab := ann.tab()
	for name, at := range map[string]string{"a target": "https://shop.two.test/signout", "the origin": "https://id.one.test/signout"} {
		tab.open(at, "goodbye")
		for _, host := range []string{"id.one.test", "shop.two.test", "shop.three.test"} {
			ann.open("https://"+host+"/", "nobody")
		}
		if name == "the origin" {
			break
		}
		ann.open("https://id.one.test/signin?as=ann", "welcome ann")
		ann.open("https://shop.two.test/begin?to=/", "signed in as ann")
		ann.open("https://shop.three.test/begin?to=/", "signed in as ann")
	}
}

func TestAttacksOnAHandOverFailInChromium(t *testing.T) {
	web, arrivals := newDomains(t)
	ann, mallory := web.browser(""), web.browser("")
	mallory.open("https://id.one.test/signin?as=mallory", "welcome")
	mallory.open("https://shop.two.test/begin?to=/", "signed in as mallory")
	code := arrivals()[0]
	// Her code is planted in ann's browser, also by a page of hers.
	web.serve("evil.three.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a href="https://shop.two.test%s">look here</a>`, template.HTMLEscapeString(code))
	}))
	ann.open("https://shop.two.test"+code, "handover_unsolicited")
	ann.open("https://evil.three.test/", "look here")
	ann.press("a", "handover_unsolicited")
	ann.open("https://shop.two.test/", "nobody")
	// Ann's own, stopped before it arrives, is of no use to mallory.
	ann.open("https://id.one.test/signin?as=ann", "welcome ann")
	ann.open("https://shop.two.test/begin?to=/", "signed in as ann")
	code = arrivals()[len(arrivals())-1]
	mallory.open("https://shop.two.test/signout", "goodbye")
	mallory.open("https://shop.two.test"+code, "handover_unsolicited")
	ann.open("https://shop.two.test"+code, "handover_unsolicited") // nor to herself, a second time
	ann.open("https://shop.two.test/", "signed in as ann")
	ann.open("https://shop.two.test/begin?to="+template.URLQueryEscaper("//evil.three.test/"), "handover_return")
	ann.open("https://id.one.test/handover/begin?site=evil&challenge=a&state=b", "handover_site")
}

func TestTabsOfOneBrowserAreHandedOverSideBySide(t *testing.T) {
	web, _ := newDomains(t)
	one := web.browser("")
	two := one.tab()
	one.open("https://shop.two.test/begin?to=/one", "Sign in")
	two.open("https://shop.two.test/begin?to=/two", "Sign in")
	two.press("button", "https://shop.two.test/two\nsigned in as ann")
	one.press("button", "https://shop.two.test/one\nsigned in as ann")
	two.open("https://shop.two.test/", "signed in as ann")
}
